import onnx
import pytest

from benchmarks import ceiling
from tests.support.darknet_files import TINY_CFG, build


def test_operations_are_counted_as_darknet_counts_them(tmp_path):
    path = tmp_path / "tiny.onnx"
    onnx.save(build(TINY_CFG), path)
    # 16x32 outputs of 8 filters of 3x3x3, then 8x16 of 14 filters of 1x1x8.
    assert ceiling.multiply_adds(path) == 16 * 32 * 8 * 27 + 8 * 16 * 14 * 8


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_quantized_convolutions_count_as_others(precision, tmp_path, monkeypatch):
    monkeypatch.setattr(ceiling, "BUILD", tmp_path)
    path = ceiling.convolution(precision)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert ceiling.multiply_adds(path) == 52 * 52 * (256 * 3 + 4 * 256 * 256 * 9)
