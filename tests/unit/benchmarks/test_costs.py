import pytest

from benchmarks import costs

_MACHINE = {"processor": "Some Processor", "model": "1", "cores": 2, "flags": ["avx2", "avx512f"]}


def _row(contestant: str, arithmetic: str, seconds: float) -> dict:
    loads = {"1": {"processor_seconds": [2 * seconds] * 3}, "8": {"processor_seconds": [seconds] * 3}}
    return {"network": "net", "contestant": contestant, "arithmetic": arithmetic, "closed": {"640x480": loads}}


@pytest.fixture
def results() -> dict:
    rows = [_row("flask sync", "onnxruntime f32", 0.5), _row("barevision", "auto", 0.02)]
    return {"machine": _MACHINE, "rows": rows}


def test_measured_is_what_barevision_takes_under_load(results: dict) -> None:
    lines = costs.measured(results, "full").splitlines()
    assert "| net | 20.0 | 50.0 |" in lines


def test_a_type_brings_what_its_vcpus_compute_for_its_price(results: dict) -> None:
    lines = costs.scaled(results).splitlines()
    # 2 vCPUs as fast as the measured ones: 100 a second, 360,000 an hour.
    assert "| n4-highcpu-2 | Intel Emerald Rapids | 2 | 0.0800 | 1 | 4,502 (100) |" in lines
    # One that is half as fast.
    assert "| e2-medium | any, with AVX2 | 1 | 0.0335 | 0.5 | 2,686 (25) |" in lines


def test_without_avx512_others_with_avx2_are_as_fast(results: dict) -> None:
    results["machine"]["flags"] = ["avx2"]
    assert "| e2-medium | any, with AVX2 | 1 | 0.0335 | 1 | 5,372 (50) |" in costs.scaled(results)


def test_the_page_has_places_for_both_tables() -> None:
    text = (costs.ROOT / "docs" / "costs.md").read_text("utf-8")
    for place in ("measured", "scaled"):
        assert text.index(f"<!-- {place} -->") < text.index(f"<!-- {place}: end -->")
