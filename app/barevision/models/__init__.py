"""Where models come from: names, folders, downloads, and the ONNX files prepared from them."""

from barevision.models.catalogue import ModelSource, catalogue_names, find_source
from barevision.models.errors import ModelError
from barevision.models.golden import Golden, differences
from barevision.models.store import PreparedModel, prepare, pull, requirements

__all__ = [
    "Golden",
    "ModelError",
    "ModelSource",
    "PreparedModel",
    "catalogue_names",
    "differences",
    "find_source",
    "prepare",
    "pull",
    "requirements",
]
