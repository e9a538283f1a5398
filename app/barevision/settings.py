"""Settings: environment variables that start with BAREVISION_, checked once at the start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

_PREFIX = "BAREVISION_"
#: Names the file with a service's settings, for serving/reload.py. It is not a setting itself.
SETTINGS_FILE = "BAREVISION_SETTINGS_FILE"
#: Read by the tests, not by the service.
_TEST_PREFIX = "BAREVISION_TEST_"


class SettingsError(ValueError):
    """A setting that doesn't exist or has an impossible value."""


def _default_models_dir() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "barevision" / "models"


class Settings(BaseSettings):
    """What the service and the command line can be told."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True)

    model: str = Field(
        "roadsigns",
        description="A name from the catalogue, a folder with .cfg, .weights and .names, an .onnx file or its address",
    )
    models_dir: Path = Field(default_factory=_default_models_dir, description="Where models are kept")
    engine: Literal["onnxruntime", "opencv"] = Field("onnxruntime", description="What runs the network")
    threads: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        ge=1,
        description="Cores that one inference uses",
    )
    concurrency: int = Field(1, ge=1, description="Pictures that are decoded and predicted at once")
    queue_seconds: float = Field(
        10, gt=0, le=3600, description="How long a request waits for its turn before it is refused"
    )
    max_bytes: int = Field(20 * 2**20, ge=1024, description="Largest request body")
    max_pixels: int = Field(50_000_000, ge=1024, description="Largest picture")
    max_side: int = Field(20_000, ge=32, description="Longest side of a picture")
    reduce_jpegs: bool = Field(
        True, description="Decode a large JPEG at a half, a quarter or an eighth of its size, which is faster"
    )
    confidence: float = Field(0.5, ge=0, le=1, description="Detections above it are answered")
    nms: float = Field(0.3, ge=0, le=1, description="Largest overlap of two answered boxes")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged")


def load_settings(**overrides: object) -> Settings:
    """The settings from the environment, `overrides` first.

    :raises SettingsError: an unknown BAREVISION_ variable or a bad value; the message names each.
    """
    known = {_PREFIX + name.upper() for name in Settings.model_fields}
    # pydantic-settings reads them in any case.
    unknown = [
        name
        for name in os.environ
        if name.upper().startswith(_PREFIX)
        and not name.startswith(_TEST_PREFIX)
        and name.upper() not in {*known, SETTINGS_FILE}
    ]
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(_in_words(error)) from None


def _in_words(error: ValidationError) -> str:
    return "; ".join(
        f"{_PREFIX}{str(item['loc'][0]).upper()}={item['input']!r}: {item['msg']}" for item in error.errors()
    )
