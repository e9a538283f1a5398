#!/usr/bin/python
"""The network of a lab: a bridge on this computer, from which the machines reach what the computer reaches."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: lab_network
short_description: Makes the network of a lab on this computer, or removes it
description:
  - A lab's network is a bridge with an address, a firewall table that masquerades what comes from it, and the kernel's
    switch for forwarding IPv4 packets.
  - The bridge and the table carry the lab's mark. What is not marked is never changed or removed.
  - Several labs can stand on one computer. The first one notes how the forwarding switch was, and the last one puts it
    back.
  - Fails before it has changed anything where the bridge's name is taken, where the subnet is in use, and where the
    firewall drops what is forwarded.
  - Needs root, C(ip) and C(nft).
options:
  bridge:
    description: Name of the bridge, which also names the firewall table.
    type: str
    required: true
  subnet:
    description: First three numbers of the network, which is a /24. The bridge has the address that ends in C(.1).
    type: str
    required: true
  state:
    description: Whether the network is there.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
author:
  - The Barevision contributors
"""

EXAMPLES = r"""
- name: Make the lab's network
  lab_network:
    bridge: bvlab0
    subnet: "10.213.74"

- name: Remove the lab's network
  lab_network:
    bridge: bvlab0
    subnet: "10.213.74"
    state: absent
"""

RETURN = r"""
gateway:
  description: The bridge's address, which is the machines' gateway.
  type: str
  returned: always
  sample: 10.213.74.1
mtu:
  description:
    - The largest packet of the bridge, in bytes. It is that of the interface with the default route, or large packets
      would vanish where that is below 1500, as in many clouds and VPNs.
  type: int
  returned: always
  sample: 1500
"""

_ALIAS = "barevision-lab"
_TABLE_PREFIX = "barevision-lab-"
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_FORWARDING_BEFORE = Path("/run/barevision-lab.ip_forward")
_LOCK = Path("/run/lock/barevision-lab")

State = dict[str, Any]


class Network:
    """The network as the kernel has it. What can't be done ends the module with a message."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.bridge = module.params["bridge"]
        self.subnet = f"{module.params['subnet']}.0/24"
        self.gateway = f"{module.params['subnet']}.1"
        self.table = f"{_TABLE_PREFIX}{self.bridge}"
        self.links = self._ip("-details", "address", "show")
        self.link = next((link for link in self.links if link["ifname"] == self.bridge), None)
        self.is_ours = self.link is None or self.link.get("ifalias") == _ALIAS
        self.tables = [item["table"]["name"] for item in self._nft("list", "tables", "ip") if "table" in item]

    @property
    def mtu(self) -> int:
        uplinks = {route["dev"] for route in self._ip("route", "show", "table", "all", "default") if "dev" in route}
        return min((link["mtu"] for link in self.links if link["ifname"] in uplinks), default=1500)

    def read(self) -> State:
        """The network as it is."""
        bridge = None
        if self.link and self.is_ours:
            addresses = [address["local"] for address in self.link["addr_info"] if address["family"] == "inet"]
            bridge = {
                "address": self.gateway if self.gateway in addresses else ", ".join(addresses),
                "mtu": self.link["mtu"],
                "up": "UP" in self.link["flags"],
            }
        rules = self._run("nft", "list", "table", "ip", self.table) if self.table in self.tables else None
        return {
            "bridge": bridge,
            "firewall": self._masquerade if rules and self._masquerade in rules else rules,
            "forwards": _FORWARDING.read_text() == "1\n",
        }

    def present(self) -> State:
        """The network as it has to be for machines to run."""
        bridge = {"address": self.gateway, "mtu": self.mtu, "up": True}
        return {"bridge": bridge, "firewall": self._masquerade, "forwards": True}

    def absent(self) -> State:
        """The network as it has to be without the lab."""
        switch = _FORWARDING_BEFORE if self._is_last_lab() else _FORWARDING
        return {"bridge": None, "firewall": None, "forwards": switch.read_text() == "1\n"}

    def refuse_conflicts(self) -> None:
        """Fails where the network can't be made beside what this computer has."""
        if not self.is_ours:
            self.module.fail_json(
                msg=f"{self.bridge} exists on this computer, and the lab did not make it. Pick another name for the "
                "lab's bridge: -e lab_machine_bridge=bvlab1"
            )
        show = ("route", "show", "table", "all")
        for route in self._ip(*show, "root", self.subnet) + self._ip(*show, "match", self.subnet):
            if route["dst"] != "default" and route.get("dev", self.bridge) != self.bridge:
                self.module.fail_json(
                    msg=f"The lab's subnet {self.subnet} is in use on this computer: {route['dst']} on {route['dev']}. "
                    "Pick another one: -e lab_machine_subnet=10.99.1, or in inventory/lab/group_vars/all.yml."
                )
        # A packet has to pass the tables of all programs, so a rule of the lab's own would not help.
        filter_table = self._nft("list", "table", "ip", "filter") if "filter" in self.tables else []
        chains = [item["chain"] for item in filter_table if "chain" in item]
        drops = any(chain["name"] == "FORWARD" and chain.get("policy") == "drop" for chain in chains)
        if drops and f'"{self.bridge}"' not in json.dumps(filter_table):
            self.module.fail_json(
                msg="This computer's firewall drops what it forwards, as Docker makes it do: the machines would reach "
                f"nothing. Let the lab through: iptables -I DOCKER-USER -i {self.bridge} -j ACCEPT && "
                f"iptables -I DOCKER-USER -o {self.bridge} -j ACCEPT (without Docker: FORWARD in place of DOCKER-USER)"
            )

    def make(self, before: State, after: State) -> None:
        """Makes what differs. An interrupted run is continued by the next one."""
        if before["bridge"] != after["bridge"]:
            numbers = [f"{int(number):02x}" for number in self.gateway.split(".")]
            # Without a hardware address of its own the bridge takes a machine's, and changes it when that machine goes.
            add = f"link add name {self.bridge} address {':'.join(['02', '00', *numbers])} type bridge"
            # One call of ip, so that hardly anything can come between the bridge and its mark.
            commands = [
                *([] if self.link else [add]),
                f"link set dev {self.bridge} alias {_ALIAS}",
                f"address flush dev {self.bridge} scope global",
                f"address add {self.gateway}/24 dev {self.bridge}",
                f"link set dev {self.bridge} mtu {self.mtu} up",
            ]
            self._run("ip", "-batch", "-", data="\n".join(commands))
        if before["firewall"] != after["firewall"]:
            # To delete a table that doesn't exist is an error, so it is made first. All of it happens at once.
            rules = f"""
                table ip {self.table}
                delete table ip {self.table}
                table ip {self.table} {{
                    chain postrouting {{
                        type nat hook postrouting priority srcnat;
                        {self._masquerade}
                    }}
                }}
            """
            self._run("nft", "--file", "-", data=rules)
        # Last: another lab that is taken down meanwhile sees by the table that forwarding is still needed.
        if not before["forwards"]:
            _FORWARDING_BEFORE.write_text(_FORWARDING.read_text())
            _FORWARDING.write_text("1\n")

    def remove(self, before: State) -> None:
        """Removes what is there. An interrupted run is continued by the next one."""
        if before["bridge"]:
            self._run("ip", "link", "delete", "dev", self.bridge)
        if before["firewall"]:
            self._run("nft", "delete", "table", "ip", self.table)
        if self._is_last_lab():
            _FORWARDING.write_text(_FORWARDING_BEFORE.read_text())
            _FORWARDING_BEFORE.unlink()

    @property
    def _masquerade(self) -> str:
        return f'ip saddr {self.subnet} oifname != "{self.bridge}" masquerade'

    def _is_last_lab(self) -> bool:
        others = [table for table in self.tables if table.startswith(_TABLE_PREFIX) and table != self.table]
        return not others and _FORWARDING_BEFORE.exists()

    def _ip(self, *arguments: str) -> list[dict[str, Any]]:
        # Without routes ip says nothing at all, rather than "[]".
        return json.loads(self._run("ip", "-json", *arguments) or "[]")

    def _nft(self, *arguments: str) -> list[dict[str, Any]]:
        return json.loads(self._run("nft", "--json", *arguments))["nftables"]

    def _run(self, program: str, *arguments: str, data: str | None = None) -> str:
        # The sbin folders, where Ansible looks too, are not on everybody's path.
        path = self.module.get_bin_path(program, required=True)
        return self.module.run_command([path, *arguments], data=data, check_rc=True)[1]


def run(module: AnsibleModule) -> dict[str, Any]:
    """Makes or removes the network, unless in check mode, and returns the module's result."""
    # Of two labs made at once, the second one would note the forwarding of the first one as what was before both.
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _converged(module)


def _converged(module: AnsibleModule) -> dict[str, Any]:
    network = Network(module)
    before = network.read()
    if module.params["state"] == "present":
        network.refuse_conflicts()
        after = network.present()
        if before != after and not module.check_mode:
            network.make(before, after)
    else:
        after = network.absent()
        if before != after and not module.check_mode:
            network.remove(before)
    return {
        "changed": before != after,
        "diff": {"before": before, "after": after},
        "gateway": network.gateway,
        "mtu": network.mtu,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "bridge": {"required": True},
            "subnet": {"required": True},
            "state": {"choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    module.exit_json(**run(module))


if __name__ == "__main__":
    main()
