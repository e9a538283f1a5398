"""Reading a .cfg file: what is accepted, and that every error names the file and the line."""

from __future__ import annotations

import re

import pytest

from barevision.darknet.config import parse_config
from tests.support.darknet_files import TINY_CFG, build, error_of, error_with


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("[maxpool]", "[lstm]", 13, "unknown section [lstm]"),
        ("[net]", "[convolutional]", 1, "expected [net] first"),
        ("[maxpool]", "[net]\nwidth=64\n[maxpool]", 13, "a second [net]; the first is in line 1"),
        ("stride=2\npad", "stride=2\ndilation=2\npad", 10, "unknown option 'dilation'"),
        ("filters=8", "filters=9\nfilters=8", 8, "filters is given twice, first in line 7"),
        ("filters=8", "filters 8", 7, "expected 'option = value'"),
        ("anchors = 4,6, 10,12, 20,30\n", "", 24, "option 'anchors' is missing"),
        ("activation=leaky", "activation=selu", 11, "activation='selu', expected one of leaky, linear"),
        ("filters=8", "filters=eight", 7, "filters='eight', expected whole numbers"),
        ("filters=8", "filters=0", 7, "filters=0, expected a whole number of at least 1"),
        ("20,30", "20,nan", 26, "expected decimal numbers"),
        ("num=3", "num=3\nscale_x_y=1e999", 29, "expected decimal numbers"),
    ],
)
def test_an_error_names_file_line_and_what_was_expected(old: str, new: str, line: int, words: str) -> None:
    message = error_with(old, new)
    assert re.match(rf"a\.cfg, line {line}\b", message)
    assert words in message


def test_a_text_that_is_not_a_configuration_is_refused() -> None:
    assert "before the first [section]" in error_of(parse_config, "<!DOCTYPE html>\n<html>", "a.cfg")
    assert "no sections" in error_of(parse_config, "", "a.cfg")


def test_comments_and_spaces_are_ignored() -> None:
    noisy = re.sub(r"(?m)^(\w+)=", r"  \1 = ", TINY_CFG).replace("[yolo]", "# the head\n; really\n[yolo]  # here")
    assert build(noisy) == build(TINY_CFG)
