import pytest

from benchmarks import costs

_MACHINE = {"processor": "Some Processor", "model": "1", "cores": 2, "flags": ["avx2", "avx512f"]}
# Two vCPUs that multiply and add 16 numbers in each of 3,000,000,000 clocks a second.
_CEILINGS = {"onnxruntime f32": 2 * 96e9, "openvino f32": 2 * 90e9, "openvino int8": 2 * 400e9}


def _row(contestant: str, arithmetic: str, seconds: float) -> dict:
    loads = {"1": {"processor_seconds": [2 * seconds] * 3}, "8": {"processor_seconds": [seconds] * 3}}
    return {"network": "net", "contestant": contestant, "arithmetic": arithmetic, "closed": {"640x480": loads}}


@pytest.fixture
def results() -> dict:
    rows = [
        _row("flask sync", "onnxruntime f32", 0.5),
        _row("barevision", "onnxruntime f32", 0.02),
        _row("barevision", "auto", 0.01),
    ]
    return {"machine": _MACHINE, "ceilings": _CEILINGS, "rows": rows}


def test_measured_is_what_barevision_takes_under_load(results: dict) -> None:
    lines = costs.measured(results, "full").splitlines()
    assert "| net | 20.0 | 50.0 | 10.0 | 100.0 |" in lines


def test_a_type_brings_what_its_vcpus_compute_for_its_price(results: dict) -> None:
    lines = costs.scaled(results).splitlines()
    # 2 vCPUs as fast as the measured ones: 100 a second, 360,000 an hour.
    assert "| n4-highcpu-2 | Intel Emerald Rapids | 2 | 0.0800 | 1.00 | 4,502 (100) |" in lines
    # One that is half as fast.
    assert "| e2-medium | any, with AVX2 | 1 | 0.0335 | 0.50 | 2,686 (25) |" in lines


def test_a_vcpu_that_computes_twice_as_much_as_others_is_not_taken_for_theirs(results: dict) -> None:
    results["ceilings"] = {name: 2 * rate for name, rate in _CEILINGS.items()}
    assert "| n4-highcpu-2 | Intel Emerald Rapids | 2 | 0.0800 | 0.50 | 2,251 (50) |" in costs.scaled(results)


def test_the_page_has_places_for_both_tables() -> None:
    text = (costs.ROOT / "docs" / "costs.md").read_text("utf-8")
    for place in ("measured", "scaled"):
        assert text.index(f"<!-- {place} -->") < text.index(f"<!-- {place}: end -->")
