"""Which plan is chosen from which trials."""

from __future__ import annotations

import pytest

from barevision.choosing.agreement import Agreement
from barevision.choosing.choice import Trial, choose
from barevision.engines import Plan

SAME, OTHER = Agreement(10, 10, 0.01), Agreement(10, 9, 0.2)
SMALL, LARGE = 4_000_000, 248_000_000


def trial(way: str, rate: float, alone: float = 0.01, agreement: Agreement | None = SAME) -> Trial:
    """What `way` ("onnxruntime f32 2x1") came to; `alone` in seconds."""
    engine, precision, cores = way.split()
    streams, threads = map(int, cores.split("x"))
    return Trial(Plan(engine, precision, streams, threads), alone, rate, 100_000_000, agreement)


def chosen(trials: list[Trial], least: float | None = 1, network_bytes: int = SMALL) -> str:
    plan = choose(trials, least, network_bytes).plan
    alone = f"+{plan.lone_threads}" if plan.lone_threads else ""
    return f"{plan.engine} {plan.precision} {plan.streams}x{plan.threads}{alone}"


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({"onnxruntime f32 2x1": 100, "openvino f32 2x1": 120, "openvino bf16 2x1": 285}, "openvino bf16 2x1"),
        ({"onnxruntime f32 2x1": 100, "openvino f32 2x1": 120, "openvino bf16 2x1": 110}, "openvino f32 2x1"),
        # Less than a tenth faster.
        ({"onnxruntime f32 2x1": 100, "openvino f32 2x1": 109, "openvino bf16 2x1": 109}, "onnxruntime f32 2x1"),
        ({"onnxruntime f32 2x1": 100, "openvino f32 2x1": 130, "openvino bf16 2x1": 140}, "openvino f32 2x1"),
        ({"onnxruntime f32 2x1": 100}, "onnxruntime f32 2x1"),
        ({"opencv f32 1x2": 20}, "opencv f32 1x2"),
    ],
)
def test_the_fastest_is_chosen_if_it_brings_a_tenth(rates: dict[str, float], expected: str) -> None:
    assert chosen([trial(way, rate) for way, rate in rates.items()]) == expected


def test_what_answers_otherwise_is_not_chosen_and_said() -> None:
    trials = [trial("onnxruntime f32 1x2", 100), trial("openvino bf16 1x2", 300, agreement=OTHER)]
    choice = choose(trials, 1, SMALL)
    assert choice.plan == Plan("onnxruntime", "f32", 1, 2)
    assert choice.reason.endswith("the answers of bf16 are too far from f32's")
    assert chosen(trials, least=0.9) == "openvino bf16 1x2"
    # As of a precision that somebody named.
    assert chosen(trials, least=None) == "openvino bf16 1x2"


def test_without_a_comparison_only_f32_is_right() -> None:
    trials = [trial("openvino f32 1x2", 100, agreement=None), trial("openvino bf16 1x2", 300, agreement=None)]
    assert chosen(trials) == "openvino f32 1x2"


def test_what_does_not_run_is_not_chosen() -> None:
    broken = Trial(Plan("openvino", "bf16", 2, 1), problem="can't run here: no such instruction")
    assert chosen([trial("onnxruntime f32 2x1", 100), broken]) == "onnxruntime f32 2x1"
    assert choose([broken], 1, SMALL) is None


@pytest.mark.parametrize(
    ("alone", "network_bytes", "expected"),
    [
        # (of two at once, of one on both cores), in seconds.
        ((0.0050, 0.0040), SMALL, "openvino bf16 2x1"),
        ((0.0080, 0.0040), SMALL, "openvino bf16 2x1+2"),
        ((0.160, 0.140), LARGE, "openvino bf16 2x1"),
        ((0.250, 0.140), LARGE, "openvino bf16 2x1"),
        ((0.250, 0.140), 50_000_000, "openvino bf16 2x1+2"),
    ],
)
def test_a_small_network_is_loaded_twice_where_a_lone_picture_would_wait(
    alone: tuple[float, float], network_bytes: int, expected: str
) -> None:
    trials = [trial("openvino bf16 2x1", 285, alone[0]), trial("openvino bf16 1x2", 215, alone[1])]
    trials.append(trial("onnxruntime f32 1x2", 100, 0.001))
    assert chosen(trials, network_bytes=network_bytes) == expected


def test_of_equally_fast_ways_that_with_the_shorter_wait_is_chosen() -> None:
    trials = [trial("onnxruntime f32 2x1", 100, 0.02), trial("onnxruntime f32 2x2", 97, 0.01)]
    assert chosen(trials) == "onnxruntime f32 2x2"


@pytest.mark.parametrize(("network_bytes", "expected"), [(SMALL, "openvino bf16 2x1+2"), (LARGE, "openvino bf16 1x2")])
def test_of_equally_fast_ways_a_crowd_gets_a_core_each_where_a_copy_is_small(network_bytes: int, expected: str) -> None:
    """With all cores for each inference, what else a request needs would hold all of them up."""
    trials = [trial("openvino bf16 2x1", 150, 0.0125), trial("openvino bf16 1x2", 154, 0.0065)]
    assert chosen(trials, network_bytes=network_bytes) == expected


def test_the_reason_has_the_figures() -> None:
    trials = [trial("onnxruntime f32 2x1", 150), trial("openvino bf16 2x1", 285, 0.008)]
    trials.append(trial("openvino bf16 1x2", 215, 0.004))
    choice = choose(trials, 1, SMALL)
    assert choice.reason == (
        "openvino bf16, 2 at once on 1 core each, a lone one on up to 2 cores, in 2 processes: 285 pictures a "
        "second, 1.9 times onnxruntime f32; a lone one takes 4.0 instead of 8.0 ms with a copy of the network"
    )
    assert (choice.rate, choice.alone, choice.memory) == (285, 0.004, 2 * (100_000_000 + SMALL))


@pytest.mark.parametrize(
    ("way", "rate", "processes"),
    [
        ("openvino bf16 2x1", 200, 1),
        ("openvino bf16 2x1", 201, 2),
        ("openvino bf16 2x1", 2000, 2),
        ("openvino bf16 1x2", 500, 1),
        ("openvino bf16 8x1", 500, 3),
        ("openvino bf16 64x1", 100_000, 32),
        ("onnxruntime f32 8x1", 500, 3),
        # Those share helpers.
        ("onnxruntime f32 8x8", 500, 1),
    ],
)
def test_a_network_that_is_asked_often_has_more_processes(way: str, rate: float, processes: int) -> None:
    choice = choose([trial(way, rate)], 1, SMALL)
    assert (choice.plan.processes, choice.memory) == (processes, processes * 100_000_000)
