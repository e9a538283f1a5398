"""Where models come from: names, folders, downloads, and the ONNX files prepared from them."""

from barevision.models.catalogue import (
    ModelSource,
    catalogue_names,
    check_sha256,
    find_source,
    parse_reference,
    pulled_names,
    url_source,
)
from barevision.models.errors import ModelError
from barevision.models.golden import Golden, differences
from barevision.models.store import (
    PreparedModel,
    is_downloaded,
    is_prepared,
    measured_seconds,
    prepare,
    pull,
    remember_seconds,
    remove,
    requirements,
)

__all__ = [
    "Golden",
    "ModelError",
    "ModelSource",
    "PreparedModel",
    "catalogue_names",
    "check_sha256",
    "differences",
    "find_source",
    "is_downloaded",
    "is_prepared",
    "measured_seconds",
    "parse_reference",
    "prepare",
    "pull",
    "pulled_names",
    "remember_seconds",
    "remove",
    "requirements",
    "url_source",
]
