import pytest

from benchmarks import report
from benchmarks.measuring import agreement

_MACHINE = {"processor": "Some Processor", "cores": 2, "flags": ["avx2"]}


def _line(contestant, rate, round_number=0, p99=0.1, statuses=None):
    closed = {"what": "closed", "picture": "640x480", "clients": 8, "rate": rate}
    closed |= {
        "p50": p99 / 2,
        "p95": p99,
        "p99": p99,
        "statuses": statuses or {"200": 10},
        "memory": 10**8,
        "processor_seconds": 0.02,
        "refused_p50": None,
    }
    start = {"what": "start", "ready_seconds": 1.0, "first_seconds": 0.1, "memory": 10**8, "agreement": [9, 10]}
    unit = {"network": "net", "contestant": contestant, "arithmetic": "onnxruntime f32", "round": round_number}
    return unit | {"tuning": "1 x 2 x 1", "results": [start, closed]}


@pytest.fixture
def results():
    lines = [
        {"machine": _MACHINE, "arguments": {}},
        {"network": "net", "weights": "real", "multiply_adds": 10**9, "bytes": 1},
        *(_line("barevision", rate, number) for number, rate in enumerate((40.0, 60.0, 50.0))),
        _line("fastapi", 25.0, p99=0.4),
        _line("litserve", 20.0, statuses={"200": 9, "503": 1}),
        _line("bare loop", 100.0),
        {"network": "net", "contestant": "bentoml", "arithmetic": "openvino bf16", "round": 0, "failed": "no\nworker"},
    ]
    return report.aggregated(lines)


def test_rounds_become_a_median_with_its_spread(results):
    row = next(row for row in results["rows"] if row["contestant"] == "barevision")
    load = row["closed"]["640x480"]["8"]
    assert load["rate"] == [50.0, 40.0, 60.0]
    assert load["statuses"] == {"200": 30}


def test_what_failed_is_said_until_it_is_measured(results):
    assert "- net, bentoml, openvino bf16: no worker" in report._missing(results)


def test_the_readme_table_is_per_core_and_beside_the_best_peer(results):
    lines = report.per_core(results).splitlines()
    assert lines[2] == "| net | onnxruntime f32 | 25.0 | - | 12.5 | 9 of 10 |"
    assert "Some Processor, 2 cores" in lines[-1]


def test_accuracy_stands_beside_each_precision():
    row = {"precision": "bf16", "agreement": 0.989, "map50": 42.31, "map50_95": 21.52}
    results = report.aggregated([{"accuracy": "net", "by_precision": [row]}])
    assert "| bf16 | 42.31 | 21.52 | 98.9% |" in report._accuracies(results["accuracies"]["net"])


def test_barevision_is_held_against_the_loop_and_the_best_peer(results):
    assert report._compared(results["rows"]).splitlines()[2] == (
        "| onnxruntime f32 | 8 | 50.0 | 50% | fastapi: 2.00 | 1.00 | - |"
    )


def test_boxes_agree_by_label_and_overlap():
    one = {"label": "cat", "boxes": [0, 0, 10, 10]}
    near, far = {"label": "cat", "boxes": [2, 0, 10, 10]}, {"label": "cat", "boxes": [9, 0, 10, 10]}
    assert agreement([one], [near]) == (1, 1)
    assert agreement([one], [far, {"label": "dog", "boxes": [0, 0, 10, 10]}]) == (0, 1)
    # A box answers for one only.
    assert agreement([one, one], [near]) == (1, 2)
