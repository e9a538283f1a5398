"""A strict stand-in for the Compute API: what Google refuses it refuses, and what Google doesn't know it doesn't know.

Every request and every answer is held against Google's own description (discovery.py). This file has the machinery:
requests, operations, faults, lists. methods/ has what each method does.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from tests.gce.standin import discovery, filters, methods
from tests.gce.standin.base import PROJECT, REGIONS, WEB, ZONES, Effect, Request, Resource, nothing, now, visible, whole
from tests.gce.standin.failures import CutError, FailureError, Fault, invalid, not_found
from tests.gce.standin.machines import Machines, PaperMachines
from tests.gce.standin.offerings import OFFERINGS

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# What a permission is called, where it isn't as the method.
_PERMISSIONS = {"insert": "create", "list": "list", "aggregatedList": "list"}
_READABLE = {
    *("networks", "firewalls", "addresses", "disks", "instances", "images", "snapshots", "operations"),
    *("projects", "zones", "regions", "machineTypes", "diskTypes"),
}
# What else Google knows would change the answer, and isn't silently left out.
_QUERY = {
    *("requestId", "filter", "maxResults", "pageToken", "returnPartialSuccess", "includeAllScopes", "prettyPrint"),
    *("deletionProtection", "networkInterface", "accessConfig", "queryPath"),
}


@dataclass
class Call:
    """A request that came in, whatever became of it."""

    verb: str
    path: str
    query: dict[str, str]
    body: Any
    status: int = 0

    def __str__(self) -> str:
        short = re.sub(r"^projects/[^/]+/(global|(zones|regions)/[^/]+|aggregated)/", "", self.path)
        return f"{self.verb} {short}"


@dataclass
class Compute:
    """One project, demo-project, in memory.

    `operation_seconds` is how long each operation takes at least, `page_size` the longest page of a list. `bugs` has
    what must never happen, ours and a test's alike: look at it after each test.
    """

    machines: Machines = field(default_factory=PaperMachines)
    operation_seconds: float = 0.02
    page_size: int = 500
    wait_seconds: float = 1
    resources: dict[str, Resource] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    bugs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self._ids = itertools.count(4_000_000_000_000_000_000)
        self._faults: dict[str, list[Fault | None]] = {}
        self._done: dict[str, threading.Event] = {}
        self._by_request: dict[tuple[str, str], str] = {}
        self._threads: list[threading.Thread] = []
        self._healed = threading.Event()

    def fail(self, method: str, fault: Fault, times: int = 1_000) -> None:
        """The next `times` calls of a method, such as "compute.instances.insert", fail.

        :raises ValueError: where the API has no such method, whose failure would prove nothing.
        """
        if method not in discovery.method_ids():
            raise ValueError(f"no method of the API: {method}")
        self._faults[method] = [fault] * times

    def heal(self) -> None:
        """No more faults; operations without end go on to theirs."""
        with self.lock:
            self._faults.clear()
            self._healed.set()
            self._healed = threading.Event()

    @property
    def changes(self) -> list[str]:
        """The calls so far that changed something, such as "POST instances/web-1/setTags"."""
        return [str(call) for call in self.calls if call.verb != "GET" and "/operations/" not in call.path]

    @property
    def left(self) -> list[str]:
        """The paths of all resources, operations apart."""
        return sorted(path for path in self.resources if "/operations/" not in path)

    def close(self) -> None:
        """Waits for the operations that are going on."""
        self.heal()
        for thread in self._threads:
            thread.join()

    def answer(self, verb: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """Answers a request for a path such as "projects/demo-project/global/networks" with a status and a document.

        :raises CutError: where the connection is to end without an answer.
        """
        call = Call(verb, path, query, body)
        with self.lock:
            self.calls.append(call)
        try:
            call.status, document = 200, self._answer(verb, path, query, body)
        except FailureError as failure:
            call.status, document = failure.status, failure.body
        except CutError:
            raise
        except Exception:
            self.bugs.append(f"{call}: {traceback.format_exc()}")
            call.status, document = 500, FailureError(500, "internalError", "a bug of the stand-in").body
        return call.status, document

    def _answer(self, verb: str, path: str, query: dict[str, str], body: Any) -> Any:
        method = discovery.find(verb, path)
        if method is None:
            raise FailureError(404, "notFound", f"The requested URL /compute/v1/{path} was not found on this server.")
        with self.lock:
            faults = self._faults.get(method.id)
            fault = faults.pop() if faults else None
        if fault and fault.cut:
            raise CutError
        if fault and fault.status and not fault.in_operation:
            raise _ordered(fault, method, body)
        try:
            discovery.check_query(method, query)
            discovery.check_body(method, body)
        except discovery.InvalidRequestError as error:
            raise invalid(str(error)) from None
        request = Request(method, query, body or {})
        document = self._handle(request, fault)
        discovery.check_answer(method, document)
        if fault and fault.lost:
            raise CutError
        return document

    def _handle(self, request: Request, fault: Fault | None) -> Any:
        _require_place(request)
        _require_known(request)
        verb = request.method.id.rpartition(".")[2]
        if request.method.parameters["project"] != PROJECT:
            return methods.images.public(request)
        reading = {"get": self._get, "list": self._list, "aggregatedList": self._aggregated, "wait": self._wait}
        if verb in reading and request.collection in _READABLE:
            return reading[verb](request)
        function = methods.function_for(request)
        if verb.startswith("get"):
            return function(self, request)
        return self._operate(request, fault, function)

    def _operate(self, request: Request, fault: Fault | None, handler: Callable[..., Effect]) -> Resource:
        request_id = request.query.get("requestId", str(uuid.uuid4()))
        with self.lock:
            known = self._by_request.get((request.method.id, request_id))
            if known:
                return visible(self.resources[known])
            if request.method.id.endswith(".insert"):
                self._require_new(request.path)
            effect = nothing if fault and fault.in_operation else handler(self, request)
            path = f"projects/{PROJECT}/{request.scope}/operations/operation-{next(self._ids)}"
            self.resources[path] = self._operation(request, path, request_id)
            self._by_request[request.method.id, request_id] = path
            self._done[path] = threading.Event()
            document = visible(self.resources[path])
            thread = threading.Thread(target=self._run, args=(path, effect, fault, self._healed))
            self._threads.append(thread)
        thread.start()
        return document

    def _operation(self, request: Request, path: str, request_id: str) -> Resource:
        scope, _, place = request.scope.partition("/")
        return {
            "kind": "compute#operation",
            "id": str(next(self._ids)),
            "name": path.rpartition("/")[2],
            "operationType": request.method.id.rpartition(".")[2],
            "clientOperationId": request_id,
            "targetLink": WEB + request.path,
            **({"targetId": self.resources[request.path]["id"]} if request.path in self.resources else {}),
            "user": "deployer@demo-project.iam.gserviceaccount.com",
            "status": "PENDING",
            "progress": 0,
            "insertTime": now(),
            "selfLink": WEB + path,
            **({scope.removesuffix("s"): f"{WEB}projects/{PROJECT}/{request.scope}"} if place else {}),
        }

    def _run(self, path: str, effect: Effect, fault: Fault | None, healed: threading.Event) -> None:
        operation = self.resources[path]
        with self.lock:
            operation.update(status="RUNNING", startTime=now())
        if fault and fault.endless:
            healed.wait()
        time.sleep(self.operation_seconds)
        try:
            if fault and fault.in_operation:
                raise FailureError(fault.status, fault.reason, fault.message)
            effect()
        except FailureError as failure:
            self._end_badly(operation, failure)
        except Exception:
            self.bugs.append(traceback.format_exc())
            self._end_badly(operation, FailureError(500, "INTERNAL_ERROR", "a bug of the stand-in"))
        with self.lock:
            operation.update(endTime=now(), progress=100, status="DONE")
        self._done[path].set()

    def _end_badly(self, operation: Resource, failure: FailureError) -> None:
        with self.lock:
            operation["error"] = {"errors": [{"code": failure.reason, "message": str(failure)}]}
            operation["httpErrorStatusCode"] = failure.status
            operation["httpErrorMessage"] = HTTPStatus(failure.status).phrase.upper()

    def _get(self, request: Request) -> Resource:
        with self.lock:
            return visible(self.find(request.path))

    def _wait(self, request: Request) -> Resource:
        self.find(request.path)
        # Google waits for two minutes. Tests of what is never done have less patience.
        self._done[request.path].wait(self.wait_seconds)
        return self._get(request)

    def _list(self, request: Request) -> Resource:
        is_of_places = request.collection in ("zones", "regions")
        page, more = self._page(request, f"projects/{PROJECT}/{'' if is_of_places else request.scope + '/'}")
        kind = request.collection.removesuffix("s") if request.collection != "addresses" else "address"
        return {"kind": f"compute#{kind}List", **({"items": page} if page else {}), **more}

    def _aggregated(self, request: Request) -> Resource:
        page, more = self._page(request, f"projects/{PROJECT}/")
        scopes: dict[str, Any] = {f"zones/{zone}": {} for zone in ZONES} | {
            f"regions/{region}": {} for region in REGIONS
        }
        for resource in page:
            scope = "/".join(resource["selfLink"].split("/")[7:-2])
            scopes.setdefault(scope, {}).setdefault(request.collection, []).append(resource)
        kind = request.collection.removesuffix("s") if request.collection != "addresses" else "address"
        nothing = {"code": "NO_RESULTS_ON_PAGE", "message": "There are no results for this scope on this page."}
        items = {scope: found or {"warning": nothing} for scope, found in scopes.items()}
        return {"kind": f"compute#{kind}AggregatedList", "items": items, **more}

    def _page(self, request: Request, prefix: str) -> tuple[list[Resource], Resource]:
        matches = filters.parse(
            request.query.get("filter", ""),
            lambda keys: discovery.has_field(request.method, request.collection, keys),
        )
        with self.lock:
            found = [
                visible(resource)
                for path, resource in sorted({**OFFERINGS, **self.resources}.items())
                if path.startswith(prefix) and path.split("/")[-2] == request.collection and matches(visible(resource))
            ]
        start, size = _start(request), min(self.page_size, _size(request))
        about = {"id": request.method.path, "selfLink": WEB + request.method.path}
        if start + size < len(found):
            about["nextPageToken"] = _page_token(request, start + size)
        return found[start : start + size], about

    def find(self, path: str) -> Resource:
        """The resource at a path, or at an address in any of the spellings that Google takes, or 404."""
        path = whole(path)
        with self.lock:
            if path not in self.resources and path not in OFFERINGS:
                raise not_found(path)
            return self.resources.get(path) or OFFERINGS[path]

    def add(self, path: str, resource: Resource) -> Resource:
        """Takes a new resource in, such as one that was made by hand, with what Google fills in."""
        with self.lock:
            self._require_new(path)
            scope, _, place = path.split("/", 2)[2].rpartition("/")[0].rpartition("/")[0].partition("/")
            kind = path.split("/")[-2].removesuffix("s").removesuffix("e" if "addresses" in path else "")
            self.resources[path] = {
                **resource,
                "kind": f"compute#{kind}",
                "id": str(next(self._ids)),
                "name": path.rpartition("/")[2],
                "creationTimestamp": now(),
                "selfLink": WEB + path,
                **({scope.removesuffix("s"): f"{WEB}projects/{PROJECT}/{scope}/{place}"} if place else {}),
            }
            return self.resources[path]

    def remove(self, path: str) -> None:
        """Takes a resource out."""
        with self.lock:
            self.resources.pop(path, None)

    def _require_new(self, path: str) -> None:
        if path in self.resources:
            raise FailureError(409, "alreadyExists", f"The resource '{path}' already exists")

    def apply_network(self) -> None:
        """Tells the machines which of their ports answer to whom."""
        with self.lock:
            firewalls = self.all("firewalls")
            instances = [
                instance for instance in self.all("instances") if instance["networkInterfaces"][0].get("networkIP")
            ]
        self.machines.apply_network(firewalls, instances)

    def all(self, collection: str) -> list[Resource]:
        """All resources of a collection, as they are shown."""
        with self.lock:
            return [visible(found) for path, found in self.resources.items() if path.split("/")[-2] == collection]


def _ordered(fault: Fault, method: discovery.Method, body: Any) -> FailureError:
    request = Request(method, {}, body if isinstance(body, dict) else {})
    collection, _, verb = method.id.rpartition(".")
    action = f"{collection}.{_PERMISSIONS.get(verb, verb)}"
    # What has no name yet, or is many, belongs to the project.
    is_one = "name" in request.body or verb not in _PERMISSIONS
    path = request.path if is_one else f"projects/{PROJECT}"
    message = fault.message.replace("{action}", action).replace("{path}", path)
    return FailureError(fault.status, fault.reason, message, fault.detail)


def _size(request: Request) -> int:
    size = int(request.query.get("maxResults", 500))
    if size > 500:
        raise invalid(f"Invalid value for field 'maxResults': '{size}'. Acceptable values are 0 to 500, inclusive.")
    if size == 0:
        raise NotImplementedError("maxResults=0")
    return size


def _page_token(request: Request, start: int) -> str:
    # A token is only good for the list that it came with.
    content = [start, request.method.path, request.query.get("filter", "")]
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def _start(request: Request) -> int:
    token = request.query.get("pageToken")
    if token is None:
        return 0
    try:
        start = int(json.loads(base64.urlsafe_b64decode(token))[0])
    except (ValueError, LookupError, TypeError):
        start = -1
    if start < 0 or _page_token(request, start) != token:
        raise invalid(f"Invalid value for field 'pageToken': '{token}'.")
    return start


def _require_known(request: Request) -> None:
    request_id = request.query.get("requestId")
    if request_id is not None and not (_UUID.fullmatch(request_id) and uuid.UUID(request_id).int):
        raise invalid(f"Invalid value for field 'requestId': '{request_id}'. Must be a valid UUID.")
    unknown = sorted(name for name, _ in request.query.items() - {("alt", "json")} if name not in _QUERY)
    unknown += sorted(request.body.keys() - methods.accepted_fields(request))
    if unknown:
        raise NotImplementedError(f"{request.method.id} with {unknown}")


def _require_place(request: Request) -> None:
    zone, region = request.method.parameters.get("zone"), request.method.parameters.get("region")
    if zone is not None and zone not in ZONES:
        raise invalid(f"Invalid value for field 'zone': '{zone}'. Unknown zone.")
    if region is not None and region not in REGIONS:
        raise invalid(f"Invalid value for field 'region': '{region}'. Unknown region.")
