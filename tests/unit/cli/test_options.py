"""Options that commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import run


@pytest.mark.parametrize("option", ["--confidence", "--nms"])
@pytest.mark.parametrize("value", ["nan", "-0.1", "1.1"])
def test_thresholds_are_from_0_to_1(picture: Path, option: str, value: str) -> None:
    result = run("predict", picture, "--model", "roadsigns", option, value)
    assert result.exit_code == 2
    assert "is not in the range 0<=x<=1" in result.stderr
