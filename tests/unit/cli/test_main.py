"""The command as a whole: help, and failures in a line."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from barevision.cli import _COMMANDS, main
from tests.support.command_line import run


@pytest.mark.parametrize("command", [[], ["predict"], ["serve"], ["models"], ["models", "prepare"]])
def test_help_is_there(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["serv"]])
def test_what_needs_no_model_does_not_load_what_runs_them(arguments: list[str]) -> None:
    code = f"import sys; from barevision.cli import _COMMANDS, main; main({arguments}, standalone_mode=False)"
    code = f"try:\n  {code}\nfinally:\n  print('loaded', [name for name in ('cv2', 'onnx') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "loaded []" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["predict", "x.jpg", "--model", "nonsense"], {}, "unknown model 'nonsense'"),
        (["models", "prepare", "nonsense"], {}, "unknown model 'nonsense'"),
        (["models", "check", "roadsigns"], {"BAREVISION_MODLE": "x"}, "unknown setting BAREVISION_MODLE; known are"),
        (["models", "check", "roadsigns", "--url", "http://127.0.0.1:9"], {}, "does not answer"),
        (["models", "pull", "yolov3", "--models-dir", "/proc/nope"], {}, "yolov3 can't be fetched into /proc/nope: "),
        (
            ["models", "prepare", "roadsigns", "--models-dir", "/proc/nope"],
            {},
            "roadsigns can't be prepared in /proc/nope",
        ),
        (
            ["predict", __file__, "--url", "http://127.0.0.1:9", "--save", "x"],
            {"BAREVISION_NMS": "2"},
            "BAREVISION_NMS='2'",
        ),
    ],
)
def test_expected_failures_are_one_line(arguments: list[str], environment: dict[str, str], words: str) -> None:
    result = run(*arguments, **environment)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert words in result.stderr
    assert result.stderr.count("Error: ") == 1
    assert "Traceback" not in result.output


@pytest.mark.parametrize("name", _COMMANDS)
def test_help_without_the_commands_is_what_they_say_themselves(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command.get_short_help_str(200) == _COMMANDS[name]
