"""Settings: what the environment says, what is refused, and what counts where nothing is said."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from barevision.errors import SettingsError
from barevision.settings import load_settings
from tests.conftest import FIXED_PLAN


def test_what_nobody_sets_is_the_tutorials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FIXED_PLAN:
        monkeypatch.delenv(name)
    settings = load_settings()
    assert (settings.engine, settings.precision, settings.agreement) == ("auto", "auto", 1)
    assert (settings.model, settings.confidence, settings.nms) == ("roadsigns", 0.5, 0.3)
    assert settings.threads == len(os.sched_getaffinity(0))


def test_variables_count_in_any_case_and_what_the_caller_says_counts_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BAREVISION_THREADS")
    monkeypatch.setenv("BAREVISION_MODEL", "yolov3")
    monkeypatch.setenv("barevision_threads", "3")
    assert (load_settings().model, load_settings().threads) == ("yolov3", 3)
    assert load_settings(model="yolov4", threads=None).model == "yolov4"
    assert load_settings(model=None).model == "yolov3"


def test_models_are_kept_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert load_settings().models_dir == tmp_path / "xdg" / "barevision" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load_settings().models_dir == tmp_path / "home" / ".cache" / "barevision" / "models"


@pytest.mark.parametrize("name", ["BAREVISION_MODLE", "barevision_modle", "BAREVISION_"])
def test_an_unknown_variable_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "yolov3")
    with pytest.raises(SettingsError, match=f"unknown setting {name}; known are BAREVISION_AGREEMENT, ") as raised:
        load_settings()
    assert "BAREVISION_MODEL," in str(raised.value)


def test_variables_of_the_tests_and_of_other_programs_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAREVISION_TEST_ASSETS", "/somewhere")
    monkeypatch.setenv("VISION_MODEL", "yolov3")
    assert load_settings().model == "roadsigns"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ENGINE", "tensorrt", "'onnxruntime'"),
        ("MAX_WAIT", "inf", "less than or equal to 3600"),
        ("MAX_WAIT", "3601", "less than or equal to 3600"),
        ("MAX_WAIT", "0", "greater than 0"),
        ("CONFIDENCE", "nan", "Input should be"),
        ("NMS", "1.1", "less than or equal to 1"),
        ("MAX_BYTES", "20M", "valid integer"),
        ("REDUCE_JPEGS", "perhaps", "valid boolean"),
        ("CORS_ORIGINS", "https://a.example/", "'https://a.example/' is no origin; expected one like https://"),
        ("CORS_ORIGINS", "a.example", "is no origin"),
        ("CORS_ORIGINS", "https://A.example", "is no origin"),
        ("CORS_ORIGINS", "*, https://*.example", "'https://[*].example' is no origin"),
    ],
)
def test_a_bad_value_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    monkeypatch.setenv(f"BAREVISION_{name}", value)
    with pytest.raises(SettingsError, match=f"^BAREVISION_{name}='{re.escape(value)}': .*{words}"):
        load_settings()


def test_all_bad_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAREVISION_THREADS", "0")
    with pytest.raises(SettingsError, match=r"BAREVISION_THREADS='0': [^;]*; BAREVISION_NMS=2: [^;]*$"):
        load_settings(nms=2)


@pytest.mark.parametrize(
    "text", ["https://a.example,http://b.example:3000", " https://a.example , http://b.example:3000"]
)
def test_origins_stand_with_commas_between_them(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert load_settings().cors_origins == ()
    monkeypatch.setenv("BAREVISION_CORS_ORIGINS", text)
    assert load_settings().cors_origins == ("https://a.example", "http://b.example:3000")
