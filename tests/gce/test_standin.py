"""The stand-in refuses what Google refuses. A lenient one would prove nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.gce.compute import Compute
from tests.gce.door import Door

BASE = "https://compute.googleapis.com/compute/v1/projects/demo-project"
ZONE = "zones/us-central1-a"
NET = {"name": "net", "autoCreateSubnetworks": True}
RULE = {"name": "rule", "network": "global/networks/net", "allowed": [{"IPProtocol": "tcp"}]}
DISK = {"name": "vm", "sourceImage": "projects/debian-cloud/global/images/family/debian-12"}
VM = {
    "name": "vm",
    "machineType": f"{ZONE}/machineTypes/e2-medium",
    "disks": [{"boot": True, "source": f"{ZONE}/disks/vm"}],
    "networkInterfaces": [{"network": "global/networks/net"}],
}

Ask = Callable[..., requests.Response]


@pytest.fixture
def ask(door: Door, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Sends a request through the door, with a login."""
    for name, value in door.environment.items():
        monkeypatch.setenv(name, value)
    headers = {"Authorization": f"Bearer {door.environment['GCP_ACCESS_TOKEN']}"}

    def send(verb: str, path: str, body: Any = None, **query: str) -> requests.Response:
        return requests.request(verb, f"{BASE}/{path}", json=body, params=query, headers=headers, timeout=10)

    return send


@pytest.fixture
def make(ask: Ask) -> Callable[..., dict]:
    """Changes something, and waits."""

    def wait(verb: str, path: str, body: Any = None, **query: str) -> dict:
        answer = ask(verb, path, body, **query)
        assert answer.status_code == 200, answer.text
        operation = answer.json()["selfLink"].partition("/demo-project/")[2]
        return ask("POST", f"{operation}/wait").json()

    return wait


@pytest.fixture
def vm(make: Callable[..., dict]) -> None:
    """A running instance."""
    make("POST", "global/networks", NET)
    make("POST", f"{ZONE}/disks", DISK)
    make("POST", f"{ZONE}/instances", VM)


@pytest.mark.parametrize(
    ("verb", "path", "body", "query", "status", "message"),
    [
        ("PUT", f"{ZONE}/autoscalers/a", {}, {}, 404, "was not found on this server"),
        ("GET", "global/nothing", None, {}, 404, "was not found on this server"),
        ("GET", "global/networks/none", None, {}, 404, "networks/none' was not found"),
        ("GET", "zones/mars-a/disks", None, {}, 400, "Unknown zone"),
        ("POST", "global/networks", {**NET, "colour": "red"}, {}, 400, "'colour' was unexpected"),
        ("POST", "global/networks", {**NET, "selfLink": "x"}, {}, 400, "'selfLink' was unexpected"),
        ("POST", "global/networks", {**NET, "name": "Net_1"}, {}, 400, "does not match"),
        ("POST", "global/networks", {"autoCreateSubnetworks": True}, {}, 400, "'name' is a required property"),
        ("POST", "global/networks", {**NET, "autoCreateSubnetworks": "yes"}, {}, 400, "not of type 'boolean'"),
        ("POST", "global/networks", None, {}, 400, "needs a body"),
        ("POST", "global/networks", NET, {"force": "true"}, 400, 'Unknown name "force"'),
        ("POST", "global/networks", NET, {"requestId": "1"}, 400, "Must be a valid UUID"),
        ("POST", "global/networks", NET, {"requestId": str(uuid.UUID(int=0))}, 400, "Must be a valid UUID"),
        ("DELETE", "global/networks/net", {"a": 1}, {}, 400, "takes no body"),
        ("POST", "global/firewalls", RULE, {}, 404, "networks/net' was not found"),
        ("GET", "global/networks", None, {"filter": "name is net"}, 400, "Invalid list filter"),
        ("GET", "global/networks", None, {"maxResults": "many"}, 400, "Invalid value for field 'maxResults'"),
        ("POST", f"{ZONE}/disks", {**DISK, "sizeGb": "5"}, {}, 400, "at least that of the image"),
        ("POST", f"{ZONE}/disks", {**DISK, "sourceImage": "global/images/none"}, {}, 404, "none' was not found"),
        ("POST", f"{ZONE}/disks", {**DISK, "labels": {"A": "b"}}, {}, 400, "lower case"),
        ("POST", f"{ZONE}/instances", VM, {}, 404, "networks/net' was not found"),
    ],
)
def test_a_wrong_request_is_refused(
    ask: Ask, make: Callable[..., dict], verb: str, path: str, body: Any, query: dict, status: int, message: str
) -> None:
    if path == f"{ZONE}/instances":
        make("POST", f"{ZONE}/disks", DISK)
    answer = ask(verb, path, body, **query)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("verb", "path", "body", "query", "status", "message"),
    [
        ("POST", f"{ZONE}/instances", VM, {}, 409, "already exists"),
        ("POST", f"{ZONE}/instances", {**VM, "name": "vm2"}, {}, 400, "already being used"),
        ("POST", f"{ZONE}/instances/vm/setTags", {"items": ["a"]}, {}, 412, "fingerprint"),
        ("POST", f"{ZONE}/instances/vm/setTags", {"items": ["a"], "fingerprint": "b2xk"}, {}, 412, "fingerprint"),
        ("POST", f"{ZONE}/instances/vm/setTags", {"items": ["A"], "fingerprint": "b2xk"}, {}, 400, "does not match"),
        ("POST", f"{ZONE}/instances/vm/setMetadata", {"items": []}, {}, 412, "fingerprint"),
        ("POST", f"{ZONE}/instances/vm/setLabels", {"labels": {}}, {}, 412, "fingerprint"),
        ("POST", f"{ZONE}/disks/vm/setLabels", {"labels": {}}, {}, 412, "fingerprint"),
        ("POST", f"{ZONE}/instances/vm/setMachineType", {"machineType": "x"}, {}, 400, "must be stopped"),
        ("PATCH", f"{ZONE}/instances/vm/updateShieldedInstanceConfig", {}, {}, 400, "must be stopped"),
        ("POST", f"{ZONE}/instances/vm/start", None, {}, 400, "must be stopped"),
        ("POST", f"{ZONE}/disks/vm/resize", {"sizeGb": "5"}, {}, 400, "must be larger"),
        ("DELETE", f"{ZONE}/disks/vm", None, {}, 400, "already being used"),
        ("DELETE", "global/networks/net", None, {}, 400, "already being used"),
        (
            "POST",
            f"{ZONE}/instances/vm/addAccessConfig",
            {"natIP": "203.0.113.77"},
            {"networkInterface": "nic0"},
            400,
            "was not found",
        ),
        ("POST", f"{ZONE}/instances/vm/addAccessConfig", {}, {}, 400, "'networkInterface' not specified"),
    ],
)
def test_a_wrong_change_is_refused(
    ask: Ask, vm: None, verb: str, path: str, body: Any, query: dict, status: int, message: str
) -> None:
    answer = ask(verb, path, body, **query)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]["message"]


def test_a_rule_keeps_its_network_and_put_replaces_all(ask: Ask, make: Callable[..., dict]) -> None:
    make("POST", "global/networks", NET)
    make("POST", "global/networks", {**NET, "name": "other"})
    make("POST", "global/firewalls", {**RULE, "sourceTags": ["a"], "description": "x"})
    moved = ask("PUT", "global/firewalls/rule", {**RULE, "network": "global/networks/other"})
    assert (moved.status_code, "cannot be updated" in moved.text) == (400, True)

    make("PATCH", "global/firewalls/rule", {"name": "rule", "priority": 5})
    patched = ask("GET", "global/firewalls/rule").json()
    assert (patched["priority"], patched["description"], patched["sourceTags"]) == (5, "x", ["a"])
    make("PUT", "global/firewalls/rule", RULE)
    replaced = ask("GET", "global/firewalls/rule").json()
    assert (replaced["priority"], replaced.get("description"), replaced["sourceRanges"]) == (1000, None, ["0.0.0.0/0"])


def test_the_same_request_is_carried_out_once(ask: Ask, compute: Compute) -> None:
    request = {"requestId": str(uuid.uuid4())}
    first, second = (ask("POST", "global/networks", NET, **request).json()["name"] for _ in range(2))
    assert first == second
    assert ask("POST", "global/networks", NET).status_code == 409


def test_what_is_stopped_loses_its_ephemeral_address(make: Callable[..., dict], ask: Ask, vm: None) -> None:
    make("POST", f"{ZONE}/instances/vm/addAccessConfig", {}, networkInterface="nic0")
    (config,) = ask("GET", f"{ZONE}/instances/vm").json()["networkInterfaces"][0]["accessConfigs"]
    assert config["natIP"].startswith("203.0.113.")
    make("POST", f"{ZONE}/instances/vm/stop")
    (config,) = ask("GET", f"{ZONE}/instances/vm").json()["networkInterfaces"][0]["accessConfigs"]
    assert "natIP" not in config


def test_only_google_is_behind_the_door(door: Door, ask: Ask) -> None:
    with pytest.raises(requests.exceptions.ProxyError):
        requests.get("https://example.com/", timeout=10)
    without = requests.get(f"{BASE}/global/networks", timeout=10)
    assert (without.status_code, without.json()["error"]["errors"][0]["reason"]) == (401, "authError")
