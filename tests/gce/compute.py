"""A strict stand-in for the Compute API: what Google refuses it refuses, and what Google doesn't know it doesn't know.

Every request and every answer is held against Google's own description (discovery.py). This file has the machinery:
requests, operations, faults, lists. kinds.py has what each kind of resource does.
"""

from __future__ import annotations

import base64
import itertools
import re
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.gce import discovery, kinds
from tests.gce.base import PROJECT, REGIONS, WEB, ZONES, Effect, Request, Resource, now, shown
from tests.gce.failures import CutError, FailureError, Fault, invalid, not_found
from tests.gce.machines import Machines, PaperMachines

_CLAUSE = re.compile(r'\s*(?:(AND|OR)\s+)?(\()?\s*([\w.-]+)\s*(!=|=|:)\s*("[^"]*"|[^\s()"]+)\s*(\))?\s*')


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

    def fail(self, method: str, fault: Fault, times: int = 1_000) -> None:
        """The next `times` calls of a method, such as "compute.instances.insert", fail."""
        self._faults[method] = [fault] * times

    def heal(self) -> None:
        """No more faults; operations without end are done."""
        self._faults.clear()
        for done in self._done.values():
            done.set()

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
        fault = self._fault(method.id)
        if fault and fault.cut:
            raise CutError
        if fault and not fault.in_operation and not fault.endless:
            raise FailureError(fault.status, fault.reason, fault.message)
        try:
            discovery.check_query(method, query)
            discovery.check_body(method, body)
        except discovery.InvalidRequestError as error:
            raise invalid(str(error)) from None
        request = Request(method, query, body or {})
        document = self._handle(request, fault)
        discovery.check_answer(method, document)
        return document

    def _handle(self, request: Request, fault: Fault | None) -> Any:
        _require_place(request)
        verb = request.method.id.rpartition(".")[2]
        if request.method.parameters["project"] != PROJECT:
            return kinds.public_image(request)
        reading = {"get": self._get, "list": self._list, "aggregatedList": self._aggregated, "wait": self._wait}
        if verb in reading:
            return reading[verb](request)
        handler = getattr(kinds, f"{request.collection}_{_snake(verb)}", None)
        if handler is None:
            raise NotImplementedError(request.method.id)
        if verb.startswith("get"):
            return handler(self, request)
        return self._operate(request, fault, handler)

    def _operate(self, request: Request, fault: Fault | None, handler: Callable[..., Effect]) -> Resource:
        request_id = request.query.get("requestId", str(uuid.uuid4()))
        if not _is_request_id(request_id):
            raise invalid(f"Invalid value for field 'requestId': '{request_id}'. Must be a valid UUID.")
        with self.lock:
            known = self._by_request.get((request.method.id, request_id))
            if known:
                return shown(self.resources[known])
            if request.method.id.endswith(".insert"):
                self._require_new(request.path)
            effect = _nothing if fault else handler(self, request)
            path = f"projects/{PROJECT}/{request.scope}/operations/operation-{next(self._ids)}"
            self.resources[path] = self._operation(request, path, request_id)
            self._by_request[request.method.id, request_id] = path
            self._done[path] = threading.Event()
            document = shown(self.resources[path])
        thread = threading.Thread(target=self._run, args=(path, effect, fault))
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
            "status": "PENDING",
            "insertTime": now(),
            "selfLink": WEB + path,
            **({scope.removesuffix("s"): f"{WEB}projects/{PROJECT}/{request.scope}"} if place else {}),
        }

    def _run(self, path: str, effect: Effect, fault: Fault | None) -> None:
        operation = self.resources[path]
        operation["status"] = "RUNNING"
        if fault and fault.endless:
            self._done[path].wait()
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
        operation["endTime"] = now()
        operation["status"] = "DONE"
        self._done[path].set()

    def _end_badly(self, operation: Resource, failure: FailureError) -> None:
        operation["error"] = {"errors": [{"code": failure.reason, "message": str(failure)}]}
        operation["httpErrorStatusCode"] = failure.status
        operation["httpErrorMessage"] = "FORBIDDEN" if failure.status == 403 else "SERVICE UNAVAILABLE"

    def _get(self, request: Request) -> Resource:
        return shown(self.find(request.path))

    def _wait(self, request: Request) -> Resource:
        self.find(request.path)
        # Google waits for two minutes. Tests of what is never done have less patience.
        self._done[request.path].wait(1)
        return self._get(request)

    def _list(self, request: Request) -> Resource:
        page, token = self._page(request, f"projects/{PROJECT}/{request.scope}/")
        kind = request.collection.removesuffix("s") if request.collection != "addresses" else "address"
        return {"kind": f"compute#{kind}List", "items": page, **token}

    def _aggregated(self, request: Request) -> Resource:
        page, token = self._page(request, f"projects/{PROJECT}/")
        scopes: dict[str, Any] = {f"zones/{zone}": {} for zone in ZONES} | {
            f"regions/{region}": {} for region in REGIONS
        }
        for resource in page:
            scope = "/".join(resource["selfLink"].split("/")[7:-2])
            scopes.setdefault(scope, {}).setdefault(request.collection, []).append(resource)
        nothing = {"code": "NO_RESULTS_ON_PAGE", "message": "There are no results for this scope on this page."}
        items = {scope: found or {"warning": nothing} for scope, found in scopes.items()}
        return {"items": items, **token}

    def _page(self, request: Request, prefix: str) -> tuple[list[Resource], Resource]:
        matches = parse_filter(request.query.get("filter", ""))
        with self.lock:
            found = [
                shown(resource)
                for path, resource in sorted(self.resources.items())
                if path.startswith(prefix) and path.split("/")[-2] == request.collection and matches(shown(resource))
            ]
        start = int(base64.b64decode(request.query.get("pageToken", "MA==")))
        size = min(self.page_size, int(request.query.get("maxResults", 500)))
        following = base64.b64encode(str(start + size).encode()).decode()
        return found[start : start + size], {"nextPageToken": following} if start + size < len(found) else {}

    def find(self, path: str) -> Resource:
        """The resource at a path, or 404."""
        with self.lock:
            if path not in self.resources:
                raise not_found(path)
            return self.resources[path]

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
            return [shown(found) for path, found in self.resources.items() if path.split("/")[-2] == collection]

    def _fault(self, method: str) -> Fault | None:
        with self.lock:
            faults = self._faults.get(method)
            return faults.pop() if faults else None


def parse_filter(text: str) -> Callable[[Resource], bool]:
    """A filter expression (AIP-160: =, !=, :, joined by AND, OR or brackets) as a test; 400 for what isn't one."""
    alternatives: list[list[tuple[list[str], str, str]]] = [[]]
    position = 0
    while position < len(text):
        matched = _CLAUSE.match(text, position)
        if not matched or bool(matched[2]) != bool(matched[6]):
            raise invalid(f"Invalid value for field 'filter': '{text}'. Invalid list filter expression.")
        if matched[1] == "OR":
            alternatives.append([])
        alternatives[-1].append((matched[3].split("."), matched[4], matched[5].strip('"')))
        position = matched.end()
    return lambda resource: any(all(_fulfils(resource, *clause) for clause in clauses) for clauses in alternatives)


def _fulfils(resource: Resource, keys: list[str], operator: str, wanted: str) -> bool:
    found: Any = resource
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    if operator == ":":
        return found is not None and (wanted == "*" or wanted in str(found))
    return (str(found) == wanted) == (operator == "=")


def _snake(camel: str) -> str:
    return re.sub("([A-Z])", r"_\1", camel).lower()


def _nothing() -> None:
    pass


def _is_request_id(text: str) -> bool:
    try:
        return uuid.UUID(text).int != 0
    except ValueError:
        return False


def _require_place(request: Request) -> None:
    zone, region = request.method.parameters.get("zone"), request.method.parameters.get("region")
    if zone is not None and zone not in ZONES:
        raise invalid(f"Invalid value for field 'zone': '{zone}'. Unknown zone.")
    if region is not None and region not in REGIONS:
        raise invalid(f"Invalid value for field 'region': '{region}'. Unknown region.")
