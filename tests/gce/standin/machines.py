"""What the stand-in's instances are: here only on paper. lab_machines.py has real ones."""

from __future__ import annotations

import base64
import hashlib
from ipaddress import IPv4Network
from typing import Any, Protocol


class Machines(Protocol):
    """Machines, by the names of their instances. Each method returns when it is done.

    `external_network` is what the instances' external addresses are taken from.
    """

    external_network: IPv4Network

    def create(self, name: str, image_family: str, metadata: dict[str, str]) -> str:
        """Makes a machine and starts it. Returns its internal IPv4 address."""

    def start(self, name: str) -> None:
        """Starts a machine that was stopped."""

    def stop(self, name: str) -> None:
        """Shuts a machine down in an orderly way."""

    def reset(self, name: str) -> None:
        """Switches a machine off and on."""

    def delete(self, name: str) -> None:
        """Ends a machine and removes its files."""

    def set_metadata(self, name: str, metadata: dict[str, str]) -> None:
        """Tells a machine its metadata, after create and after every change."""

    def host_keys(self, name: str) -> dict[str, str]:
        """The public ssh host keys, such as {"ssh-ed25519": "AAAA..."}."""

    def apply_network(self, firewalls: list[dict[str, Any]], instances: list[dict[str, Any]]) -> None:
        """The whole truth, as the API's resources, after every change of one that matters."""

    def close(self) -> None:
        """Takes everything down."""


class PaperMachines:
    """Machines that have an address and a host key, and nothing else."""

    external_network = IPv4Network("203.0.113.0/24")

    def __init__(self) -> None:
        self._made = 0

    def create(self, name: str, image_family: str, metadata: dict[str, str]) -> str:
        """See Machines."""
        self._made += 1
        return f"10.128.0.{self._made + 1}"

    def start(self, name: str) -> None:
        """See Machines."""

    def stop(self, name: str) -> None:
        """See Machines."""

    def reset(self, name: str) -> None:
        """See Machines."""

    def delete(self, name: str) -> None:
        """See Machines."""

    def set_metadata(self, name: str, metadata: dict[str, str]) -> None:
        """See Machines."""

    def host_keys(self, name: str) -> dict[str, str]:
        """See Machines."""
        return {
            "ssh-ed25519": base64.b64encode(
                b"\0\0\0\x0bssh-ed25519\0\0\0 " + hashlib.sha256(name.encode()).digest()
            ).decode()
        }

    def apply_network(self, firewalls: list[dict[str, Any]], instances: list[dict[str, Any]]) -> None:
        """See Machines."""

    def close(self) -> None:
        """See Machines."""
