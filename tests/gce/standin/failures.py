"""How Google says no, and failures to order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class FailureError(Exception):
    """An answer that is an error, in Google's form."""

    def __init__(self, status: int, reason: str, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.detail = detail

    @property
    def body(self) -> dict[str, Any]:
        """The answer."""
        message = str(self)
        errors = [{"message": message, "domain": "global", "reason": self.reason}]
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": self.detail}
        details = {"details": [info]} if self.detail else {}
        return {"error": {"code": self.status, "message": message, "errors": errors, **details}}


class CutError(Exception):
    """The connection ends without an answer."""


@dataclass(frozen=True)
class Fault:
    """A failure to order: an HTTP error, a cut connection, or an operation that fails or never ends.

    `cut` ends the connection before anything is done, `lost` after it: only the answer doesn't arrive. In `message`,
    {action} and {path} are what was asked for. `detail` is the reason that stands in the answer's details only.
    """

    status: int = 0
    reason: str = ""
    message: str = ""
    detail: str = ""
    in_operation: bool = False
    cut: bool = False
    lost: bool = False
    endless: bool = False


PERMISSION = Fault(403, "forbidden", "Required '{action}' permission for '{path}'")
API_DISABLED = Fault(403, "accessNotConfigured", "Compute Engine API has not been used in project demo-project before")
RATE_LIMIT = Fault(429, "rateLimitExceeded", "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'")
RATE_LIMIT_403 = Fault(403, "rateLimitExceeded", "Rate Limit Exceeded")
QUOTA_OF_A_MINUTE = Fault(
    403,
    "quotaExceeded",
    "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute' of service 'compute'.",
)
# How Google says that too many operations are going on at once, with what is meant in the details only.
TOO_MANY_OPERATIONS = Fault(403, "forbidden", "Rate Limit Exceeded", "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED")
OPERATION_RATE = Fault(403, "RESOURCE_OPERATION_RATE_EXCEEDED", "Operation rate exceeded.", in_operation=True)
NOT_READY = Fault(400, "resourceNotReady", "The resource 'projects/demo-project/global/networks/web' is not ready")
NOT_READY_LATER = Fault(400, "RESOURCE_NOT_READY", "The resource 'projects/x' is not ready", in_operation=True)
NO_ACCOUNT_USER = Fault(
    400,
    "SERVICE_ACCOUNT_ACCESS_DENIED",
    "The user does not have access to service account 'x@demo-project.iam.gserviceaccount.com'.",
    in_operation=True,
)
NO_ACCOUNT_USER_AT_ONCE = Fault(403, "forbidden", NO_ACCOUNT_USER.message)
UNAVAILABLE = Fault(503, "backendError", "The service is currently unavailable.")
CUT = Fault(cut=True)
ANSWER_LOST = Fault(lost=True)
QUOTA = Fault(403, "QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.  Limit: 8.0 in region us-central1.", in_operation=True)
STOCKOUT = Fault(
    503,
    "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
    "The zone 'projects/demo-project/zones/us-central1-a' does not have enough resources available.",
    in_operation=True,
)
ENDLESS = Fault(endless=True)


def policy(constraint: str, in_operation: bool = False) -> Fault:
    """412, for what an organization forbids, such as "constraints/compute.vmExternalIpAccess"."""
    reason = "CONDITION_NOT_MET" if in_operation else "conditionNotMet"
    return Fault(412, reason, f"Constraint {constraint} violated for project demo-project.", in_operation=in_operation)


def invalid(message: str, reason: str = "invalid") -> FailureError:
    """400."""
    return FailureError(400, reason, message)


def not_found(path: str) -> FailureError:
    """404."""
    return FailureError(404, "notFound", f"The resource '{path}' was not found")


def in_use(path: str, user: str) -> FailureError:
    """400, for what something else uses."""
    return invalid(f"The resource '{path}' is already being used by '{user}'", "resourceInUseByAnotherResource")
