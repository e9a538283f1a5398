"""Options that commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from barevision.cli.options import progress
from tests.support.command_line import run


@pytest.mark.parametrize("option", ["--confidence", "--nms"])
@pytest.mark.parametrize("value", ["nan", "-0.1", "1.1"])
def test_thresholds_are_from_0_to_1(picture: Path, option: str, value: str) -> None:
    result = run("predict", picture, "--model", "roadsigns", option, value)
    assert result.exit_code == 2
    assert "is not in the range 0<=x<=1" in result.stderr


def test_a_download_is_told_in_tenths_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    show = progress()
    for mebibytes in range(41):
        show("net.weights", mebibytes * 2**20, 40 * 2**20)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["net.weights: 0.0 of 40.0 MiB (0 %)", "net.weights: 4.0 of 40.0 MiB (10 %)"]
    assert (len(lines), lines[-1]) == (11, "net.weights: 40.0 of 40.0 MiB (100 %)")


def test_a_download_of_unknown_size_is_told_every_ten_mebibytes(capsys: pytest.CaptureFixture[str]) -> None:
    show = progress()
    for mebibytes in range(25):
        show("best.onnx", mebibytes * 2**20, None)
    assert capsys.readouterr().err.splitlines() == [f"best.onnx: {count}.0 MiB" for count in (0, 10, 20)]
