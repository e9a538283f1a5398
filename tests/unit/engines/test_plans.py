"""Which ways of running a network are worth a trial on a processor."""

from __future__ import annotations

import pytest

from barevision.engines import EngineName, Plan, Precision
from barevision.engines.plans import divisions, possible_plans, shared
from barevision.engines.processor import Processor


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        (1, [(1, 1)]),
        (2, [(2, 1), (1, 2)]),
        (3, [(3, 1), (1, 3)]),
        (4, [(4, 1), (1, 4), (2, 2)]),
        (8, [(8, 1), (1, 8), (4, 2)]),
        (16, [(16, 1), (1, 16), (8, 2), (4, 4)]),
    ],
)
def test_cores_are_shared_in_a_few_ways(cores: int, expected: list[tuple[int, int]]) -> None:
    assert divisions(cores) == expected


def test_onnx_runtimes_inferences_share_the_cores() -> None:
    assert shared(1) == [(1, 1)]
    assert shared(2) == [(2, 2), (2, 1)]
    assert shared(4) == [(4, 4), (4, 1), (2, 4)]


def test_every_precision_of_the_processor_is_tried_and_no_other() -> None:
    assert possible_plans(Processor("old", frozenset({"avx2"}), 8), cores=1) == [
        Plan("onnxruntime", "f32"),
        Plan("openvino", "f32"),
    ]
    plans = possible_plans(Processor("new", frozenset({"avx512_bf16"}), 8), cores=2)
    assert {(plan.engine, plan.precision) for plan in plans} == {
        ("onnxruntime", "f32"),
        ("openvino", "f32"),
        ("openvino", "bf16"),
    }
    assert Plan("openvino", "bf16", streams=2, threads=1) in plans


@pytest.mark.parametrize(
    ("engine", "precision", "ways"),
    [
        ("onnxruntime", None, {("onnxruntime", "f32")}),
        ("openvino", None, {("openvino", "f32"), ("openvino", "f16")}),
        (None, "f32", {("onnxruntime", "f32"), ("openvino", "f32")}),
        # Flags may be hidden; the engine itself then refuses or not.
        (None, "bf16", {("openvino", "bf16")}),
        ("onnxruntime", "bf16", set()),
        ("opencv", None, {("opencv", "f32")}),
    ],
)
def test_a_name_narrows_what_is_tried(
    engine: EngineName | None, precision: Precision | None, ways: set[tuple[str, str]]
) -> None:
    arm = Processor("Neoverse", frozenset({"asimd", "asimdhp", "asimddp"}), 4)
    plans = possible_plans(arm, 4, engine, precision)
    assert {(plan.engine, plan.precision) for plan in plans} == ways


def test_a_quantized_network_runs_with_int8_alone() -> None:
    processor = Processor("new", frozenset({"amx_bf16", "avx512_vnni"}), 8)
    plans = possible_plans(processor, 2, quantized=True)
    assert {(plan.engine, plan.precision) for plan in plans} == {("openvino", "int8"), ("onnxruntime", "int8")}
    assert possible_plans(processor, 2, "openvino", "int8", quantized=True) == [
        Plan("openvino", "int8", 2, 1),
        Plan("openvino", "int8", 1, 2),
    ]
    assert not possible_plans(processor, 2, precision="bf16", quantized=True)
    assert "int8" not in {plan.precision for plan in possible_plans(processor, 2)}
