"""The settings file, read as systemd reads it: by a table, and compared with systemd's own parser where it is."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies

from barevision.serving.environment_file import parse_environment

_LIBRARIES = [*Path("/usr/lib").glob("**/systemd/libsystemd-shared-*.so")]

SPELLINGS = {
    'A="x"\nB="y"\n': {"A": "x", "B": "y"},
    "": {},
    "\n\n  # A=1\n;B=2\n\t\n": {},
    "A=x": {"A": "x"},
    "A=": {"A": ""},
    'A=""': {"A": ""},
    "A=x\nA=y": {"A": "y"},
    "  A  =  x y  \t\n": {"A": "x y"},
    # What shells and dotenv read otherwise.
    "A=yolov4-csp#sha256=00": {"A": "yolov4-csp#sha256=00"},
    "A=x # y": {"A": "x # y"},
    'A="x" # y': {"A": "x# y"},
    'A="x"y': {"A": "xy"},
    'A=x"y"': {"A": 'x"y"'},
    "A='x' \"y\"z": {"A": "xyz"},
    "A='x\\'": {"A": "x\\"},
    'A="x\\"\\\\\\`\\$\\n"': {"A": 'x"\\`$\\n'},
    "A=x\\ny\\ \\\\": {"A": "xny \\"},
    "A=x\\   \n": {"A": "x "},
    "A=x\\\ny": {"A": "xy"},
    'A="x\\\ny\nz"\nB=1': {"A": "xy\nz", "B": "1"},
    "A='x\ny'": {"A": "x\ny"},
    "A=$B ${B}": {"A": "$B ${B}"},
    "A=x\r\nB=y\r\n": {"A": "x", "B": "y"},
    "A=ä": {"A": "ä"},
}


@pytest.mark.parametrize("text", SPELLINGS)
def test_spellings(text: str) -> None:
    assert parse_environment(text) == SPELLINGS[text]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A=1\nB\nC=3", "B"),
        ("export A=1", "export A=1"),
        ("1A=1", "1A=1"),
        ("=1", "=1"),
        ('A="x\nB=1', 'A="x'),
        ("A='x", "A='x"),
        ("B=1\nA=x\\", "A=x\\"),
        # Up to version 253, systemd takes the next line for a part of the comment.
        ("# A \\\nB=1", "# A \\"),
    ],
)
def test_what_systemd_would_leave_out_is_an_error(text: str, line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f'the line {line!r}, expected NAME="value"')):
        parse_environment(text)


@pytest.fixture(scope="module")
def systemds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """systemd's own parser, which is in its library but not in its interface."""
    try:
        load = ctypes.CDLL(str(_LIBRARIES[0])).load_env_file
    except (IndexError, OSError, AttributeError):
        pytest.skip("systemd's library is not here, or has another parser")
    path = tmp_path_factory.mktemp("systemd") / "env"

    def parse(text: str) -> dict[str, str]:
        path.write_text(text, "utf-8", newline="")
        lines = ctypes.POINTER(ctypes.c_char_p)()
        assert load(None, str(path).encode(), ctypes.byref(lines)) == 0
        found = {}
        while lines and lines[len(found)]:
            name, _, value = lines[len(found)].decode().partition("=")
            found[name] = value
        return found

    return parse


@pytest.mark.parametrize("text", SPELLINGS)
def test_systemd_reads_these_spellings_so(systemds: Callable[[str], dict[str, str]], text: str) -> None:
    assert systemds(text) == SPELLINGS[text]


def test_systemd_reads_any_text_so(systemds: Callable[[str], dict[str, str]]) -> None:
    pieces = strategies.sampled_from(["A", "B", "=", "'", '"', "\\", "\n", "\r", " ", "\t", "#", ";", "$", "x", "ä"])

    @settings(max_examples=3000, derandomize=True, database=None, deadline=None)
    @given(strategies.lists(pieces, max_size=25).map("".join))
    def check(text: str) -> None:
        try:
            expected = parse_environment(text)
        except ValueError:
            return
        assert systemds(text) == expected

    check()
