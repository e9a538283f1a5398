"""What the modules for Compute Engine have in common."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib
from ansible.module_utils.gce_api import HAS_GOOGLE_AUTH, Api
from ansible.module_utils.gce_kinds import KINDS

RESOURCE_ARGUMENTS = {
    "kind": {"required": True, "choices": list(KINDS)},
    "zone": {},
    "region": {},
}
ARGUMENTS = {
    "project": {"fallback": (env_fallback, ["GCP_PROJECT"]), "required": True},
    "access_token": {"fallback": (env_fallback, ["GCP_ACCESS_TOKEN"]), "no_log": True},
    "service_account_file": {"fallback": (env_fallback, ["GCP_SERVICE_ACCOUNT_FILE"]), "type": "path"},
    "timeout": {"type": "float", "default": 300.0},
}


def connect(module: AnsibleModule) -> Api:
    """The API with the module's credentials; ends the module where the library for it is missing.

    :raises ApiError: for credentials that can't be read.
    """
    if not HAS_GOOGLE_AUTH:
        module.fail_json(msg=missing_required_lib("google-auth[requests]"))
    return Api(**{name: module.params[name] for name in ARGUMENTS})


def collection_path(resource: dict[str, Any]) -> str:
    """The path of the collection that `kind`, `zone` and `region` name, such as "zones/us-central1-a/instances".

    :raises ValueError: where a kind needs a zone or region that isn't given.
    """
    kind, scope = resource["kind"], KINDS[resource["kind"]].scope
    if scope == "global":
        return f"global/{kind}"
    place = resource[scope.removesuffix("s")]
    if not place:
        raise ValueError(f"{kind} are in {scope}: say which {scope.removesuffix('s')}")
    return f"{scope}/{place}/{kind}"
