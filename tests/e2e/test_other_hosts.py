"""site.yml on a machine that isn't the lab's: a slow first boot, a proxy, no IPv6, and other sites in its NGINX.

The tests stand in their order, on one machine.
"""

from __future__ import annotations

import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import trustme
from requests.adapters import HTTPAdapter

from barevision.client import Client
from barevision.models.catalogue import find_source
from barevision.objects import differences
from tests.support.lab import Lab
from tests.support.proxy import PASSWORD_IN_ADDRESS, Proxy, proxy
from tests.support.waiting import wait_until

HOST = "other-host"
GOLDEN = find_source("roadsigns").golden
SITE = "/etc/nginx/sites-available/barevision"

# What a cloud gives a machine: a script for its first boot, which fails, and leaves something behind that installs.
USER_DATA = """\
#cloud-config
users: []
ssh_deletekeys: false
preserve_hostname: true
apt: {preserve_sources_list: true}
runcmd:
  - setsid python3 /usr/local/bin/hold-lock &
  - sleep 15
  - "false"
"""
HOLD_LOCK = """\
import fcntl, pathlib, time
file = open("/var/lib/dpkg/lock-frontend", "a")
fcntl.lockf(file, fcntl.LOCK_EX)
time.sleep(30)
pathlib.Path("/var/log/lock-freed").touch()
"""
# As with ipv6.disable=1 on the kernel's command line: there is no such address, and NGINX can't make such a socket.
NO_IPV6 = {
    "/etc/sysctl.d/no-ipv6.conf": "net.ipv6.conf.all.disable_ipv6 = 1",
    "/etc/systemd/system/nginx.service.d/no-ipv6.conf": "[Service]\nRestrictAddressFamilies=~AF_INET6",
}
# What Certbot 4.0 leaves in a site.
CERTBOT = """\
    listen 443 ssl; # managed by Certbot
    ssl_certificate /etc/ssl/detector.pem; # managed by Certbot
    ssl_certificate_key /etc/ssl/detector.pem; # managed by Certbot
"""


def write(lab: Lab, path: str, text: str) -> None:
    """Writes a file in the machine, as root."""
    lab.ssh(HOST, f"sudo mkdir -p $(dirname {path}) && sudo tee {path} >/dev/null <<'THE-END'\n{text}\nTHE-END")


def reboot(lab: Lab) -> None:
    """Reboots the machine, and returns as soon as it lets us log in again."""
    boot_id = "cat /proc/sys/kernel/random/boot_id"
    before = lab.ssh(HOST, boot_id)
    # A moment later, so that ssh can say goodbye.
    lab.ssh(HOST, "sudo systemd-run --on-active=1 --timer-property=AccuracySec=100ms systemctl reboot")

    def is_back() -> bool:
        try:
            return lab.ssh(HOST, boot_id, timeout=10) != before
        except (AssertionError, subprocess.TimeoutExpired):
            return False

    wait_until(is_back, f"{HOST} is back", 120)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with the machine in its first boot: cloud-init is at work, and it has no IPv6."""
    lab = Lab(tmp_path_factory.mktemp("lab"), {HOST: "trixie"}, number=1)
    lab.write_inventory()
    try:
        lab.up()
        lab.ssh(
            HOST, "sudo apt-get update -qq && sudo apt-get install -qq --no-install-recommends cloud-init 2>&1", 300
        )
        write(lab, "/var/lib/cloud/seed/nocloud/meta-data", "instance-id: first-boot")
        write(lab, "/var/lib/cloud/seed/nocloud/user-data", USER_DATA)
        write(lab, "/etc/cloud/cloud.cfg.d/99-own.cfg", "datasource_list: [NoCloud]\nnetwork: {config: disabled}")
        write(lab, "/usr/local/bin/hold-lock", HOLD_LOCK)
        for path, text in NO_IPV6.items():
            write(lab, path, text)
        reboot(lab)
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="module")
def company(host: Lab) -> Iterator[Proxy]:
    """A proxy that is the machine's only way out."""
    if urllib.request.getproxies():
        pytest.skip("this computer's own way out is a proxy, and ours asks no other one")
    nowhere = {"models.example": (f"{host.subnet}.1", 9)}
    with proxy(f"{host.subnet}.1", nowhere) as running:
        host.ssh(HOST, "sudo ip route delete default")
        yield running


def site(lab: Lab, company: Proxy, *arguments: str, tags: str = "all") -> str:
    """What `site.yml` says of the machine; and whether it changed something, in its recap."""
    given = ("--limit", HOST, "--tags", tags, "-e", f"preflight_proxy={company.url}", *arguments)
    return lab.playbook("site.yml", *given).output


def assert_answers_rightly(lab: Lab) -> None:
    client = Client(f"http://{lab.address(HOST)}", retries=0)
    assert differences(GOLDEN.expected, client.predict(GOLDEN.picture)) == []


def test_a_slow_first_boot_is_waited_for_and_everything_comes_through_the_proxy(host: Lab, company: Proxy) -> None:
    host.ssh(HOST, "cloud-init status | grep running && ! test -e /var/log/lock-freed")

    said = site(host, company, "-v")

    installed = "/var/lib/dpkg/info/nginx-common.list"
    host.ssh(HOST, f"test {installed} -nt /var/log/lock-freed && test {installed} -nt /run/cloud-init/result.json")
    assert "Wait for cloud-init to end the first boot" in said
    assert "WARNING: cloud-init ended with errors on other-host, and the run goes on." in said
    assert PASSWORD_IN_ADDRESS not in said
    # There was no other way out.
    host.ssh(HOST, "! ip route get 192.0.2.1")
    assert company.asked
    assert_answers_rightly(host)


def test_a_site_without_ipv6_is_made_where_there_is_none(host: Lab, company: Proxy) -> None:
    assert "[::]" not in host.ssh(HOST, f"cat {SITE}; ss --tcp --listening --numeric 'sport = :80'")
    assert " changed=0 " in site(host, company)


def test_a_model_comes_through_the_proxy_too(host: Lab, company: Proxy) -> None:
    address = ("-e", "app_model=https://models.example/best.onnx", "-e", f"app_model_sha256={'0' * 64}")
    with pytest.raises(AssertionError, match=r"models\.example"):
        site(host, company, *address, tags="app")
    assert "CONNECT models.example:443" in company.asked
    assert_answers_rightly(host)


def test_another_default_site_is_not_robbed(host: Lab, company: Proxy) -> None:
    """Neither before, nor when ours gets a name of its own and stands beside it."""
    other = "/etc/nginx/sites-enabled/0-shop"
    before = host.ssh(HOST, f"sha256sum {SITE}")
    write(host, other, "server { listen 8080 default_server; return 200 shop; }")
    with pytest.raises(AssertionError, match=r"would\s+take\s+requests\s+from\s+/etc/nginx/sites-enabled/0-shop"):
        site(host, company, "-e", "nginx_port=8080", tags="nginx")
    assert host.ssh(HOST, f"sha256sum {SITE}") == before

    named = ("-e", "nginx_port=8080", "-e", "nginx_server_name=detector.example")
    # With the smoke test, which asks by address.
    site(host, company, *named, tags="nginx,smoke")
    url = f"http://{host.address(HOST)}:8080/readyz"
    assert requests.get(url, timeout=30).text == "shop"
    assert requests.get(url, headers={"Host": "detector.example"}, timeout=30).json()

    host.ssh(HOST, f"sudo rm {other}")
    site(host, company, tags="nginx,smoke")


def test_another_program_on_the_port_is_named(host: Lab, company: Proxy) -> None:
    host.ssh(HOST, "sudo systemd-run --unit=other python3 -m http.server 8081")
    wait_until(lambda: ":8081" in host.ssh(HOST, "ss --tcp --listening --numeric"), "the program listens", 30)
    with pytest.raises(AssertionError, match=r"python3\s+listens\s+on\s+port\s+8081"):
        site(host, company, "-e", "nginx_port=8081", tags="nginx")
    host.ssh(HOST, "sudo systemctl stop other")


def test_ipv6_that_comes_later_is_listened_on(host: Lab, company: Proxy) -> None:
    host.ssh(HOST, f"sudo rm {' '.join(NO_IPV6)}")
    reboot(host)

    site(host, company, tags="nginx,smoke")

    assert "[::]:80" in host.ssh(HOST, "ss --tcp --listening --numeric 'sport = :80'")


def test_a_default_site_that_somebody_changed_is_left_alone(host: Lab, company: Proxy) -> None:
    host.ssh(HOST, "sudo ln --symbolic /etc/nginx/sites-available/default /etc/nginx/sites-enabled/default")
    write(host, "/var/www/html/index.html", "a page of somebody's")
    with pytest.raises(AssertionError, match=r"would\s+take\s+requests\s+from\s+/etc/nginx/sites-enabled/default"):
        site(host, company, tags="nginx")
    assert "default" in host.ssh(HOST, "ls /etc/nginx/sites-enabled")

    host.ssh(HOST, "sudo rm /var/www/html/index.html")
    site(host, company, tags="nginx")
    assert host.ssh(HOST, "ls /etc/nginx/sites-enabled") == "barevision"


def test_the_lines_of_certbot_stop_the_run_and_stay_in_a_file_of_their_own(
    host: Lab, company: Proxy, tmp_path: Path
) -> None:
    authority = trustme.CA()
    identity = authority.issue_cert("detector.example")
    write(host, "/etc/ssl/detector.pem", identity.private_key_and_cert_chain_pem.bytes().decode())
    write(host, "/tmp/certbot", CERTBOT)
    host.ssh(HOST, f"sudo sed -i '/server_tokens off/r /tmp/certbot' {SITE} && sudo nginx -t")
    before = host.ssh(HOST, f"sha256sum {SITE}")
    with pytest.raises(AssertionError, match=r"Certbot\s+changed\s+/etc/nginx/sites-available/barevision"):
        site(host, company, tags="nginx")
    assert host.ssh(HOST, f"sha256sum {SITE}") == before

    write(host, "/etc/nginx/barevision.d/https.conf", CERTBOT)
    host.ssh(HOST, f"sudo rm {SITE}")
    site(host, company, tags="nginx,smoke")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    session = requests.Session()
    session.mount("https://", _Named(tmp_path / "authority.pem"))
    answer = session.get(f"https://{host.address(HOST)}/readyz", headers={"Host": "detector.example"}, timeout=30)
    assert answer.json()
    assert " changed=0 " in site(host, company, tags="nginx")


class _Named(HTTPAdapter):
    """Asks for the certificate of detector.example, whatever the address."""

    def __init__(self, authority: Path) -> None:
        self._authority = authority
        super().__init__()

    def init_poolmanager(self, *args: object, **kwargs: object) -> None:
        context = ssl.create_default_context(cafile=self._authority)
        names = {"server_hostname": "detector.example", "assert_hostname": "detector.example"}
        super().init_poolmanager(*args, ssl_context=context, **names, **kwargs)
