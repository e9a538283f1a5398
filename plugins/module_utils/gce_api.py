"""The Compute Engine API: a login, requests that may be repeated, operations that are awaited, errors in words.

https://cloud.google.com/compute/docs/reference/rest/v1
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from itertools import accumulate
from typing import Any
from urllib.parse import quote

try:
    import google.auth
    import requests
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
    from google.auth.transport.requests import AuthorizedSession
    from google.oauth2 import credentials as token_credentials
    from google.oauth2 import service_account
except ImportError:
    google = None

HAS_GOOGLE_AUTH = google is not None

_HOST = "https://compute.googleapis.com/compute/v1/"
_SCOPE = "https://www.googleapis.com/auth/compute"
# Google ends a wait for an operation after two minutes.
_CONNECT_SECONDS, _READ_SECONDS = 10, 130
# Too many requests are a 429, or a 403 with one of these reasons, which only the answer's body tells from a refusal.
_TOO_MANY = {
    *("rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "429"),
    *("CONCURRENT_OPERATIONS_QUOTA_EXCEEDED", "RESOURCE_OPERATION_RATE_EXCEEDED"),
}
# Some limits are told with the reason of a quota, which doesn't pass. Only the message tells them apart.
_LIMIT_OF_A_TIME = re.compile(r"Quota exceeded for quota metric .* per (minute|100 seconds)")
# A network that was just made is not ready for moments, although Google says that its operation is done.
_NOT_READY = {"resourceNotReady", "RESOURCE_NOT_READY"}
# What passes is asked for again after these seconds. Together they are longer than the longest time that Google counts
# requests in, 100 seconds.
_PAUSES = (1, 2, 4, 8, 15, 30, 45)

# What an organization forbids, and what here keeps to it.
_CONSTRAINT = re.compile(r"\b(?:constraints|customConstraints)/[A-Za-z0-9_.]*[A-Za-z0-9_]")
_KEPT_BY = {
    "constraints/compute.vmExternalIpAccess": "gce_instance_address: none (the machines then need Cloud NAT)",
    "constraints/compute.requireOsLogin": "gce_instance_os_login: true",
    "constraints/compute.requireShieldedVm": "gce_instance_secure_boot: true",
    "constraints/compute.trustedImageProjects": "gce_instance_image to an image of a project that the policy lists",
    "constraints/compute.storageResourceUseRestrictions": "gce_instance_image to an image that the policy lists",
    "constraints/gcp.resourceLocations": "gce_instance_zone to a place that the policy lists",
    "constraints/compute.disableSerialPortAccess": "gce_instance_metadata without serial-port-enable",
}

# What Google calls a failure, and the way out of it. The first one that fits counts.
_WAYS_OUT = (
    (
        _TOO_MANY,
        "Google limits the number of requests a minute, and repeating them did not help: run again later.",
    ),
    (
        {"QUOTA_EXCEEDED", "quotaExceeded"},
        "Use fewer or smaller machines or another region, or ask for more: "
        "https://console.cloud.google.com/iam-admin/quotas?project={project}",
    ),
    (
        {"ZONE_RESOURCE_POOL_EXHAUSTED", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "resourcePoolExhausted"},
        "The zone has no such machines left at the moment: try again later, or another zone or machine type.",
    ),
    (
        {"accessNotConfigured", "SERVICE_DISABLED"},
        "Enable the API first, which takes a few minutes: gcloud services enable compute.googleapis.com "
        "--project={project}",
    ),
    (_NOT_READY, "It is not ready yet, and waiting for it did not help: run again in a few minutes."),
    (
        {"SERVICE_ACCOUNT_ACCESS_DENIED"},
        "Whoever deploys needs the role roles/iam.serviceAccountUser on the service account of the machines: "
        "docs/gce.md says how to give it.",
    ),
    ({"authError", "required", "401"}, "The login has expired or is not valid. {login}"),
    (
        {"forbidden", "PERMISSION_DENIED", "403"},
        "The account lacks this right in project {project}: docs/gce.md lists the roles that it needs. A role that was "
        "just given counts after a few minutes.",
    ),
    (
        {"conditionNotMet", "CONDITION_NOT_MET", "412"},
        "Somebody else changed it at the same moment: run again.",
    ),
    (
        {"alreadyExists", "RESOURCE_ALREADY_EXISTS", "409"},
        "Somebody else made it at the same moment: run again.",
    ),
    (
        {"resourceInUseByAnotherResource", "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE"},
        "Remove what uses it first.",
    ),
    (
        {"backendError", "internalError", "INTERNAL_ERROR", "500", "502", "503", "504"},
        "A failure at Google: run again.",
    ),
)
_LOGIN = (
    "Log in again: gcloud auth application-default login; or give a service account's file (GCP_SERVICE_ACCOUNT_FILE) "
    "or a fresh token (GCP_ACCESS_TOKEN=$(gcloud auth print-access-token))."
)


class ApiError(Exception):
    """What went wrong, in words that name what was asked for and the way out.

    `status` is the HTTP status, 0 where there was none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """The API for one project.

    :param access_token: an OAuth 2 token; or else
    :param service_account_file: the path of a service account's JSON key; or else the application default credentials.
    :param timeout: seconds to wait for one operation, and at most for what Google says will pass.
    :raises ApiError: for credentials that can't be read, and for a project's number in place of its id.
    """

    def __init__(
        self,
        project: str,
        access_token: str | None = None,
        service_account_file: str | None = None,
        timeout: float = 300,
    ) -> None:
        if project.isdigit():
            raise ApiError(f"{project} is the number of a project. Say its id, which the links of its resources have.")
        self.project = project
        self.timeout = timeout
        self._session = AuthorizedSession(_credentials(access_token, service_account_file))
        # A repeated request carries the id of the first one: what Google has done already it does not do again.
        retries = requests.adapters.Retry(
            total=5,
            backoff_factor=0.5,
            status_forcelist=(500, 502, 503, 504),
            allowed_methods=None,
            raise_on_status=False,
        )
        self._session.mount("https://", requests.adapters.HTTPAdapter(max_retries=retries))

    def get(self, path: str, query: dict[str, str] | None = None) -> dict[str, Any] | None:
        """The resource at `path`, such as "zones/us-central1-a/instances/web-1"; None where there is none.

        A path that begins with "projects/" may be in another project.
        """
        try:
            return self._request("GET", path, query=query)
        except ApiError as error:
            # A project that isn't there is a 404, too.
            missing_project = (f"'projects/{self.project}' was not found", "Failed to find project")
            if error.status == 404 and not any(text in str(error) for text in missing_project):
                return None
            raise

    def find(self, collection: str, condition: str, everywhere: bool) -> Iterator[dict[str, Any]]:
        """All resources of a collection that fulfil a filter expression, such as 'labels.barevision = "web"'.

        :param everywhere: in all zones and regions, rather than in the global collection.
        :raises ApiError: also where Google could not reach a part of them. A machine that the list lacks would be taken
            for one that is gone.
        """
        path = f"aggregated/{collection}" if everywhere else f"global/{collection}"
        query = {"filter": condition}
        while True:
            page = self._request("GET", path, query=query)
            scopes = page.get("items", {}).values() if everywhere else [{collection: page.get("items", [])}]
            warnings = [part["warning"] for part in (page, *scopes) if "warning" in part]
            missing = [warning["message"] for warning in warnings if warning["code"] != "NO_RESULTS_ON_PAGE"]
            missing += page.get("unreachables", [])
            if missing:
                raise ApiError(f"GET {path}: the list is incomplete: {'; '.join(missing)}. Run again later.")
            for scope in scopes:
                yield from scope.get(collection, [])
            if not page.get("nextPageToken"):
                return
            query = {**query, "pageToken": page["nextPageToken"]}

    def change(self, method: str, path: str, body: dict[str, Any] | None, query: dict[str, str]) -> None:
        """Changes something, and waits until that is done.

        :raises ApiError: where Google refuses or fails, or isn't done within the timeout.
        """
        for pause in self._pauses():
            # The labels of what is global have a fingerprint only: Google refuses the id of a request to set them.
            takes_id = not re.fullmatch(r"global/[^/]+/[^/]+/setLabels", path)
            request_id = {"requestId": str(uuid.uuid4())} if takes_id else {}
            operation = self._done(f"{method} {path}", self._request(method, path, body, {**query, **request_id}))
            errors = operation.get("error", {}).get("errors", [])
            if not errors:
                return
            codes = [error["code"] for error in errors]
            if pause is None or not (_TOO_MANY | _NOT_READY).intersection(codes):
                break
            time.sleep(pause)
        raise ApiError(
            self._in_words(f"{method} {path}", codes, [error["message"] for error in errors]),
            operation.get("httpErrorStatusCode", 0),
        )

    def _pauses(self) -> Iterator[float | None]:
        """The seconds between one try and the next, together no more than the timeout; None after the last try."""
        yield from (pause for pause, spent in zip(_PAUSES, accumulate(_PAUSES), strict=True) if spent <= self.timeout)
        yield None

    def _done(self, what: str, operation: dict[str, Any]) -> dict[str, Any]:
        """Waits for an operation, and returns it as it is at its end."""
        deadline = time.monotonic() + self.timeout
        while operation["status"] != "DONE":
            if time.monotonic() > deadline:
                raise ApiError(
                    f"{what}: not done after {self.timeout:g} seconds. Google goes on with it (operation "
                    f"{operation['name']}): run again in a while, or with a longer timeout."
                )
            operation_path = operation["selfLink"][operation["selfLink"].index("projects/") :]
            operation = self._request("POST", f"{operation_path}/wait")
            if operation["status"] != "DONE":
                time.sleep(0.5)
        return operation

    def _request(
        self, method: str, path: str, body: dict[str, Any] | None = None, query: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Sends a request, again where what Google says will pass, and returns the document of the answer."""
        what = f"{method} {path}"
        url = _HOST + quote(path if path.startswith("projects/") else f"projects/{self.project}/{path}")
        for pause in self._pauses():
            try:
                response = self._session.request(
                    method, url, json=body, params=query, timeout=(_CONNECT_SECONDS, _READ_SECONDS)
                )
            except RefreshError as error:
                raise ApiError(f"{what}: The login has expired or is not valid ({error}). {_LOGIN}", 401) from None
            except (GoogleAuthError, requests.RequestException) as error:
                raise ApiError(f"{what}: Google can't be reached: {error}") from None
            if response.ok:
                return response.json()
            status = response.status_code
            try:
                error = response.json()["error"]
                # What limits of operations are called stands in the details only.
                entries = (*error.get("errors", []), *error.get("details", []))
                codes = [entry["reason"] for entry in entries if "reason" in entry] + [str(status)]
                message = error.get("message", response.reason)
            except (requests.JSONDecodeError, KeyError, TypeError):
                raise ApiError(f"{what}: answered {status} {response.reason}", status) from None
            if _LIMIT_OF_A_TIME.search(message):
                codes.append("rateLimitExceeded")
            if pause is None or not (_TOO_MANY | _NOT_READY).intersection(codes):
                break
            time.sleep(pause)
        raise ApiError(self._in_words(what, codes, [message]), status)

    def _in_words(self, what: str, codes: list[str], messages: list[str]) -> str:
        """What failed, what Google says of it, and the way out."""
        message = " ".join(dict.fromkeys(messages)).rstrip(".")
        if forbidden := _CONSTRAINT.search(message):
            # The same constraint may be one of the older or of the newer, managed ones.
            setting = _KEPT_BY.get(forbidden[0].replace(".managed.", "."))
            way_out = (
                f"A policy of the organization, {forbidden[0]}, forbids it. "
                f"{f'Set {setting}, or ask' if setting else 'Ask'} for an exception: "
                f"https://console.cloud.google.com/iam-admin/orgpolicies?project={self.project}"
            )
        else:
            # Google tells this one under several names, such as a badRequest.
            is_about_account = "does not have access to service account" in message
            told = {"SERVICE_ACCOUNT_ACCESS_DENIED"} if is_about_account else set(codes)
            ways_out = (way_out for known, way_out in _WAYS_OUT if known & told)
            way_out = next(ways_out, "").format(project=self.project, login=_LOGIN)
        return f"{what}: {message} ({codes[0]}). {way_out}".rstrip()


def _credentials(access_token: str | None, service_account_file: str | None) -> Any:
    if access_token:
        return token_credentials.Credentials(access_token)
    try:
        if service_account_file:
            return service_account.Credentials.from_service_account_file(service_account_file, scopes=[_SCOPE])
        return google.auth.default(scopes=[_SCOPE])[0]
    except (DefaultCredentialsError, ValueError) as error:
        where = service_account_file or "no credentials"
        raise ApiError(f"{where}: {error}. {_LOGIN}") from None
    except OSError as error:
        raise ApiError(f"{service_account_file} can't be read: {error.strerror}. {_LOGIN}") from None
