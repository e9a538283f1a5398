"""How right the answers at each precision are, on photos with labels that people made."""

from __future__ import annotations

from barevision.detector import Detector, load_detector
from barevision.errors import EngineError
from barevision.quantizing import Judge, require_packages
from barevision.settings import load_settings
from benchmarks.networks import MODELS, MissingError, Network, quantized
from tests.support.assets import ASSETS

_FOLDER = ASSETS / "coco64"


def measured(network: Network) -> list[dict]:
    """The share of f32's boxes that is found at each precision which this processor carries, 0 to 1, and the mean
    average precision at an overlap of 50 %, and of 50 to 95 %, 0 to 100 each.

    :raises MissingError: there are no photos with labels, or NNCF's packages are missing.
    """
    pictures = sorted((_FOLDER / "images").glob("*.jpg"))
    if not pictures:
        raise MissingError(f"accuracy: there are no photos with labels in {_FOLDER}")
    require_packages()
    judge = Judge(_loaded(network, "onnxruntime", "f32"), pictures, _FOLDER / "labels")
    rows = [_row("f32", 1.0, *judge.accuracy)]
    for precision in ("bf16", "f16", "int8"):
        try:
            computed = quantized(network) if precision == "int8" else network
            detector = _loaded(computed, "openvino", precision)
        except (MissingError, EngineError) as error:
            print(f"accuracy: {error}", flush=True)
            continue
        judgement = judge.judge(precision, detector)
        rows.append(_row(precision, judgement.agreement, *judgement.accuracy))
    return rows


def _loaded(network: Network, engine: str, precision: str) -> Detector:
    return load_detector(
        load_settings(model=network.reference, models_dir=str(MODELS), engine=engine, precision=precision, threads=1)
    )


def _row(precision: str, agreement: float, map50: float, map50_95: float) -> dict:
    return {"precision": precision, "agreement": agreement, "map50": map50, "map50_95": map50_95}
