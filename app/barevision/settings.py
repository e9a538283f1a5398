"""Settings: environment variables that start with BAREVISION_, checked once at the start."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from barevision.engines import EngineName, Precision
from barevision.errors import SettingsError

#: How the environment variables of settings begin.
PREFIX = "BAREVISION_"
#: Names the file with a service's settings, for serving/reload.py. It is not a setting itself.
SETTINGS_FILE = "BAREVISION_SETTINGS_FILE"
#: The key that the command line sends to a service that needs one. It is not a setting either.
KEY = "BAREVISION_KEY"
#: Read by the tests, not by the service.
_TEST_PREFIX = "BAREVISION_TEST_"


def _default_models_dir() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "barevision" / "models"


def _split(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _checked_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    # Browsers write an origin so, and it is compared letter for letter.
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[a-z0-9._:\[\]-]+", origin):
            raise ValueError(f"{origin!r} is no origin; expected one like https://app.example.com:8443, or *")
    return origins


class Settings(BaseSettings):
    """The settings of the service and the command line."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    model: str = Field(
        "roadsigns",
        description="A name from the catalogue, a folder, an .onnx file or its https address; yolov3@608 gives the "
        "network's input another size.",
    )
    models_dir: Path = Field(
        default_factory=_default_models_dir, description="Where models are downloaded to and prepared."
    )
    engine: Literal["auto"] | EngineName = Field(
        "auto",
        description="What runs the network: auto for what is fastest on this machine; onnxruntime; openvino; or "
        "opencv, which is slower and answers the same.",
    )
    precision: Literal["auto"] | Precision = Field(
        "auto",
        description="The numbers that the network computes with: auto for the fastest that answer as f32 does; f32, "
        "which answers as the tutorial does; bf16 and f16, of 16 bits, where the processor has them; int8 for a model "
        "that was quantized.",
    )
    agreement: float = Field(
        1,
        ge=0,
        le=1,
        description="The share of boxes that a faster precision has to answer as f32 does to be chosen; 0 to 1.",
    )
    threads: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        ge=1,
        description="Cores that predictions use in all.",
    )
    max_wait: float = Field(
        10,
        gt=0,
        le=3600,
        description="Seconds: a request that would wait longer for its turn is answered 503 at once, and Retry-After "
        "says how long; up to 3600.",
    )
    check_after: float = Field(
        15,
        gt=0,
        description="Seconds without a successful prediction after which the golden image is predicted again; if it is "
        "answered wrongly, the service is not ready.",
    )
    hung_after: float | None = Field(
        None,
        ge=1,
        description="Seconds after which a prediction counts as hung: the service is not ready then, and starts anew.",
    )
    max_bytes: int = Field(
        20 * 2**20, ge=1024, description="Largest request body in bytes; larger ones are answered 413."
    )
    max_pixels: int = Field(
        50_000_000,
        ge=1024,
        description="Largest picture in pixels, by its header and before decoding; larger ones are answered 413.",
    )
    max_side: int = Field(
        20_000, ge=32, description="Longest side of a picture in pixels; longer ones are answered 413."
    )
    reduce_jpegs: bool = Field(
        True,
        description="Decode large JPEGs at a half, a quarter or an eighth of their size, which is faster; false "
        "answers exactly as the tutorial does.",
    )
    confidence: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Detections above it are answered, where the request does not say otherwise; 0 to 1.",
    )
    nms: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Largest overlap (intersection over union) of two answered boxes, where the request does not say "
        "otherwise; 0 to 1.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_checked_origins)] = (
        Field(
            (),
            description="Origins, such as https://app.example.com, whose pages may read this service's answers in a "
            "browser; * for all.",
        )
    )
    keys_file: Path | None = Field(
        None,
        description="The file with the hashes of the keys of which a request needs one. Without it, everybody may ask.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        description="The least that is logged: debug, info (a line for each request), warning (what was refused or "
        "failed) or error.",
    )


def load_settings(**overrides: object) -> Settings:
    """The settings from the environment, `overrides` first.

    :raises SettingsError: an unknown BAREVISION_ variable or a bad value; the message names each.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    # pydantic-settings reads them in any case.
    unknown = [
        name
        for name in os.environ
        if name.upper().startswith(PREFIX)
        and not name.startswith(_TEST_PREFIX)
        and name.upper() not in {*known, SETTINGS_FILE, KEY}
    ]
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(_in_words(error)) from None


def _in_words(error: ValidationError) -> str:
    return "; ".join(
        f"{PREFIX}{str(item['loc'][0]).upper()}={item['input']!r}: {item['msg']}" for item in error.errors()
    )
