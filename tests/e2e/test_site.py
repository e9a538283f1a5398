"""site.yml on bare machines: a dry run, a deployment, a prediction, and again. The tests stand in that order.

The first ones run all of it; later ones, most of them, the roles that they are about.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests

from barevision.client import Client
from barevision.detector import Detector
from barevision.errors import ServiceError
from barevision.objects import differences
from barevision.pictures.decode import decode_image
from tests.support.darknet_files import write_model
from tests.support.lab import FIXED_PLAN, REPOSITORY, Lab
from tests.support.machines import (
    GOLDEN,
    assert_answers_rightly,
    clone_repository,
    commit,
    journal,
    service_that_may_hang,
    service_with,
    signal_service,
    url,
    what_runs,
    workers,
)
from tests.support.problems import assert_problem
from tests.support.waiting import wait_until

MACHINES = ("debian-12", "debian-13")

each_machine = pytest.mark.parametrize("machine", MACHINES)


def test_a_dry_run_on_untouched_machines_changes_nothing(lab: Lab) -> None:
    run = lab.playbook("site.yml", "--check", "--diff")
    assert set(run.recap) >= set(MACHINES)
    assert run.changed > 0
    for machine in MACHINES:
        assert lab.ssh(machine, "ls /opt") == ""
        assert "nginx" not in lab.ssh(machine, "dpkg-query --show --showformat='${Package} '")


def test_one_run_makes_the_service(lab: Lab) -> None:
    lab.playbook("site.yml")
    for machine in MACHINES:
        assert_answers_rightly(lab, machine)


@each_machine
def test_everything_is_where_the_contract_says(lab: Lab, machine: str) -> None:
    git = ["git", "-C", REPOSITORY, "rev-parse", "HEAD"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    assert lab.ssh(machine, "readlink -f /opt/barevision/current") == f"/opt/barevision/releases/{commit}"
    assert lab.ssh(machine, "readlink -f /opt/barevision/current/env").startswith("/opt/barevision/envs/")
    assert lab.ssh(machine, "getent passwd barevision").endswith(":/usr/sbin/nologin")
    assert lab.ssh(machine, "stat -c '%U %G %a' /etc/barevision/barevision.env") == "root barevision 640"
    assert lab.ssh(machine, "stat -c '%U %G %a' /run/barevision/gunicorn.sock") == "root www-data 660"
    assert lab.ssh(machine, "ls /etc/nginx/sites-enabled") == "barevision"
    for question, answer in {"is-active": "active", "is-enabled": "enabled"}.items():
        found = lab.ssh(machine, f"systemctl {question} barevision.socket barevision.service nginx.service")
        assert found.split() == [answer] * 3


@each_machine
def test_real_photos_through_nginx(lab: Lab, machine: str, assets: Path, roadsigns: Detector) -> None:
    """The machine answers what this computer does: boxes on some, none on most."""
    photos = [assets / "calibration" / "000000000151.jpg", *sorted(assets.glob("photos/*.jpg"))]
    answers = []
    for photo in photos:
        data = photo.read_bytes()
        answers.append(Client(url(lab, machine), retries=0).predict(data))
        here = roadsigns.predict(decode_image(data, 50_000_000))
        assert differences(here, answers[-1]) == [], photo.name
    assert answers[0], "the photo with the stop sign"


@each_machine
def test_the_page_comes_through_nginx(lab: Lab, machine: str) -> None:
    page = requests.get(url(lab, machine, "/"), timeout=30)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    again = {"If-None-Match": page.headers["ETag"]}
    assert requests.get(url(lab, machine, "/"), headers=again, timeout=30).status_code == 304
    style = requests.get(url(lab, machine, "/" + re.search(r"web/\w+/page\.css", page.text)[0]), timeout=30)
    assert style.headers["Content-Encoding"] == "gzip"
    assert "immutable" in style.headers["Cache-Control"]
    assert requests.get(url(lab, machine, "/sample.jpg"), timeout=30).content == GOLDEN.picture


@each_machine
def test_errors_have_one_form_whoever_gives_them(lab: Lab, machine: str) -> None:
    assert_problem(requests.get(url(lab, machine, "/nothing"), timeout=30), 404)
    assert_problem(requests.get(url(lab, machine, "/predict"), timeout=30), 405)
    assert_problem(requests.post(url(lab, machine, "/predict"), data=b"no picture", timeout=30), 400)
    assert_problem(requests.post(url(lab, machine, "/predict"), data=bytes(21 * 2**20), timeout=30), 413)
    assert_problem(requests.get(url(lab, machine, "/" + "x" * 20_000), timeout=30), 414)
    for path in ("/healthz", "/readyz"):
        assert requests.get(url(lab, machine, path), timeout=30).status_code == 200


@each_machine
def test_nginx_log_is_rotated(lab: Lab, machine: str) -> None:
    assert lab.ssh(machine, "systemctl is-active logrotate.timer") == "active"
    assert "/var/log/nginx/access.log" in lab.ssh(machine, "sudo logrotate --debug /etc/logrotate.conf 2>&1")


@each_machine
def test_a_request_is_in_the_log_under_its_id(lab: Lab, machine: str) -> None:
    headers = {"X-Request-ID": f"deploy-test-{machine}"}
    response = requests.get(url(lab, machine, "/healthz"), headers=headers, timeout=30)
    assert response.headers["X-Request-ID"] == headers["X-Request-ID"]
    (line,) = [line for line in journal(lab, machine).splitlines() if headers["X-Request-ID"] in line]
    assert json.loads(line[line.index("{") :])["path"] == "/healthz"
    assert headers["X-Request-ID"] in lab.ssh(machine, "sudo cat /var/log/nginx/access.log")


@each_machine
def test_the_service_says_what_runs_and_its_numbers_to_the_machine_alone(lab: Lab, machine: str) -> None:
    info = requests.get(url(lab, machine, "/info"), timeout=30).json()
    assert lab.ssh(machine, "readlink /opt/barevision/current") == f"releases/{info['commit']}"
    assert_problem(requests.get(url(lab, machine, "/metrics"), timeout=30), 403)
    ask = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1/metrics').read().decode())"
    assert "process_resident_memory_bytes" in lab.ssh(machine, f'python3 -c "{ask}"')


def test_a_second_run_changes_nothing(lab: Lab) -> None:
    run = lab.playbook("site.yml")
    assert run.changed == 0, run.output
    assert set(run.recap) >= set(MACHINES)


def test_a_dry_run_on_finished_machines_finds_nothing_to_do(lab: Lab) -> None:
    run = lab.playbook("site.yml", "--check", "--diff")
    assert run.changed == 0, run.output


def test_what_a_run_wrote_that_ended_before_its_handlers_is_taken_up(lab: Lab) -> None:
    machine = MACHINES[0]
    files = {
        "barevision.service": "/etc/barevision/barevision.env",
        "barevision.socket": "/etc/systemd/system/barevision.socket",
        "nginx.service": "/etc/nginx/sites-available/barevision",
    }
    # A socket's restart is the service's, too.
    for units in (("barevision.service", "nginx.service"), ("barevision.socket",)):
        shows = [f"systemctl show --property StateChangeTimestampMonotonic {unit}" for unit in units]
        before = [lab.ssh(machine, show) for show in shows]
        lab.ssh(machine, f"sudo touch {' '.join(files[unit] for unit in units)}")
        assert lab.playbook("site.yml", "--limit", machine, "--tags", "gunicorn,nginx").changed > 0
        assert all(lab.ssh(machine, show) != known for show, known in zip(shows, before, strict=True))
    again = lab.playbook("site.yml", "--limit", machine)
    assert again.changed == 0, again.output
    assert_answers_rightly(lab, machine)


def test_a_service_that_does_not_start_is_reported_with_its_journal_and_undone(lab: Lab) -> None:
    machine = MACHINES[0]
    for _ in range(2):
        # Also the second time: the first one has left nothing.
        with pytest.raises(AssertionError, match=r"(?s)barevision\.service is not ready.*status=217/USER") as failure:
            lab.playbook("site.yml", "--limit", machine, "--tags", "gunicorn", "-e", "gunicorn_user=nobody-knows-it")
        assert "answers again, as it did before" in str(failure.value)
        assert_answers_rightly(lab, machine)
    again = lab.playbook("site.yml", "--limit", machine)
    assert again.changed == 0, again.output


def test_a_site_that_nginx_refuses_is_never_written(lab: Lab) -> None:
    """The site itself is right, but not with the lines that somebody gave it."""
    machine = MACHINES[0]
    own, digest = "/etc/nginx/barevision.d/own.conf", "sha256sum /etc/nginx/sites-available/barevision"
    before = lab.ssh(machine, digest)
    lab.ssh(machine, f"echo 'nonsense;' | sudo tee {own}")
    with pytest.raises(AssertionError, match=r'unknown\s+directive\s+\\*"nonsense'):
        lab.playbook("site.yml", "--limit", machine, "--tags", "nginx", "-e", "nginx_port=8080")
    assert lab.ssh(machine, digest) == before
    assert_answers_rightly(lab, machine)
    lab.ssh(machine, f"sudo rm {own}")
    lab.ssh(machine, "sudo nginx -t")
    assert lab.playbook("site.yml", "--limit", machine, "--tags", "nginx").changed > 0


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Another checkout of this repository."""
    return clone_repository(tmp_path / "clone")


def test_a_commit_that_answers_wrongly_never_serves(lab: Lab, clone: Path) -> None:
    """The run fails at the golden image, and the service stays as it was."""
    machine = MACHINES[0]
    before = what_runs(lab, machine)
    golden = clone / "app" / "barevision" / "models" / "roadsigns" / "golden.json"
    golden.write_text(json.dumps([{**detection.to_json(), "label": "elephant"} for detection in GOLDEN.expected]))
    commit(clone, "Break the golden answer")

    with pytest.raises(AssertionError, match="missing: elephant"):
        lab.playbook(str(clone / "site.yml"), "--limit", machine, "--tags", "app")

    assert what_runs(lab, machine) == before
    assert_answers_rightly(lab, machine)


def test_a_commit_that_runs_only_outside_of_the_sandbox_never_serves(lab: Lab, clone: Path) -> None:
    machine = MACHINES[0]
    before = what_runs(lab, machine)
    wsgi = clone / "app" / "barevision" / "serving" / "wsgi.py"
    wsgi.write_text(wsgi.read_text("utf-8") + "\nimport socket\nsocket.create_server(('127.0.0.1', 0))\n", "utf-8")
    commit(clone, "Listen on a port")

    with pytest.raises(AssertionError, match=r"(?s)barevision-trial\.service is not ready.*Address family"):
        lab.playbook(str(clone / "site.yml"), "--limit", machine, "--tags", "app")

    assert what_runs(lab, machine) == before
    assert "barevision-trial" not in lab.ssh(machine, "systemctl list-units --all 'barevision*'")
    assert_answers_rightly(lab, machine)


def test_a_release_goes_back_with_its_unit_and_settings_and_loses_no_request(lab: Lab, clone: Path) -> None:
    machine = MACHINES[0]
    show = "systemctl show --property TimeoutStopUSec barevision.service; sudo cat /etc/barevision/barevision.env"
    before, serves = lab.ssh(machine, show), lab.ssh(machine, "readlink /opt/barevision/current")
    other = commit(clone, "Change nothing")
    changes = ("-e", "gunicorn_graceful_timeout=7", "-e", "app_confidence=0.25")
    with four_clients(lab, machine) as wait_for_answers:
        wait_for_answers(10)
        lab.playbook(str(clone / "playbooks" / "deploy.yml"), "--limit", machine, *changes)
        assert lab.ssh(machine, "readlink /opt/barevision/current") == f"releases/{other}"
        assert "17s" in lab.ssh(machine, show)
        wait_for_answers(10)
        lab.playbook("playbooks/rollback.yml", "--limit", machine)
        wait_for_answers(10)
    assert lab.ssh(machine, show) == before
    assert lab.ssh(machine, "readlink /opt/barevision/current") == serves
    history = [json.loads(line) for line in lab.ssh(machine, "tail -n 2 /opt/barevision/releases.log").splitlines()]
    assert [line["event"] for line in history] == ["deployed", "rolled back"]
    assert [line["release"] for line in history] == [other, serves.removeprefix("releases/")]
    again = lab.playbook("site.yml", "--limit", machine)
    assert again.changed == 0, again.output


def test_a_deployment_may_be_killed_at_any_task(lab: Lab, clone: Path) -> None:
    """What serves goes on, and the next run finishes the work."""
    machine = MACHINES[0]
    serves = lab.ssh(machine, "readlink /opt/barevision/current")
    (clone / "app" / "requirements.txt").write_bytes((clone / "app" / "requirements.txt").read_bytes() + b"\n")
    other = commit(clone, "Want another environment")
    deploy = (str(clone / "playbooks" / "deploy.yml"), "--limit", machine)
    with four_clients(lab, machine) as wait_for_answers:
        for task in (
            "Build the environment that the lock file describes",
            "Wait until the trial is ready",
            "Restart Barevision",
        ):
            lab.kill_playbook(*deploy, at=task)
            wait_for_answers(4)
        run = lab.playbook(*deploy)
        assert "has ended without freeing" in " ".join(run.output.split())
        assert lab.ssh(machine, "readlink /opt/barevision/current") == f"releases/{other}"
        assert lab.ssh(machine, "ls /run/systemd/system | grep trial; cat /run/barevision.lock") == ""
        begin = time.monotonic()
        lab.playbook("playbooks/rollback.yml", "--limit", machine)
        print(f"rolled back in {time.monotonic() - begin:.1f} s")
    assert lab.ssh(machine, "readlink /opt/barevision/current") == serves
    again = lab.playbook("site.yml", "--limit", machine)
    assert again.changed == 0, again.output


def test_two_runs_at_once_are_told_of_each_other(lab: Lab) -> None:
    machine = MACHINES[0]
    other = {"by": "ada", "host": "elsewhere", "process": 7, "since": time.time(), "renewed": time.time()}
    lab.ssh(machine, f"echo {shlex.quote(json.dumps(other))} | sudo tee /run/barevision.lock")
    with pytest.raises(AssertionError, match="a run of ada on elsewhere"):
        lab.playbook("site.yml", "--limit", machine, "--tags", "gunicorn")
    other["renewed"] -= 4000
    lab.ssh(machine, f"echo {shlex.quote(json.dumps(other))} | sudo tee /run/barevision.lock")
    run = lab.playbook("site.yml", "--limit", machine, "--tags", "gunicorn")
    assert "has ended without freeing" in " ".join(run.output.split())
    assert lab.ssh(machine, "cat /run/barevision.lock") == ""


def test_a_firewall_lets_in_what_the_machine_is_for(lab: Lab) -> None:
    machine = MACHINES[0]
    lab.ssh(machine, "sudo systemd-run --unit=other-port python3 -m http.server 8000")
    other = url(lab, machine, ":8000/")
    wait_until(lambda: answers(other), "the other port")
    firewall = ("site.yml", "--limit", machine, "--tags", "firewall", "-e", "firewall_enabled=true")
    assert lab.playbook(*firewall, "--check").changed > 0
    assert answers(other)
    lab.playbook("site.yml", "--limit", machine, "--tags", "apt_packages,firewall", "-e", firewall[-1])
    assert not answers(other)
    assert_answers_rightly(lab, machine)
    assert lab.playbook(*firewall).changed == 0
    lab.ssh(machine, "sudo nft delete table inet barevision; sudo systemctl restart barevision-firewall.service")
    assert not answers(other)
    assert lab.playbook(*firewall, "-e", "firewall_more_ports=8000").changed > 0
    assert answers(other)


def test_a_firewall_that_would_lock_everybody_out_is_taken_back(lab: Lab) -> None:
    machine = MACHINES[0]
    rules = lab.ssh(machine, "sudo nft list ruleset; sudo cat /etc/barevision/firewall.nft")
    closed = ("-e", "firewall_ssh_sources=192.0.2.1", "-e", "firewall_undo_after=15")
    with pytest.raises(AssertionError, match="UNREACHABLE"):
        lab.playbook("site.yml", "--limit", machine, "--tags", "firewall", "-e", "firewall_enabled=true", *closed)
    wait_until(lambda: lets_us_in(lab, machine), "ssh", 60)
    assert lab.ssh(machine, "sudo nft list ruleset; sudo cat /etc/barevision/firewall.nft") == rules
    # It may be closed while ssh is not.
    assert_answers_rightly(lab, machine)
    lab.ssh(machine, "sudo systemctl stop other-port; sudo systemctl disable --now barevision-firewall.service")
    lab.ssh(machine, "sudo nft delete table inet barevision; sudo rm /etc/barevision/firewall.nft")


def test_a_hardened_machine_takes_keys_alone_and_its_upgrades_by_itself(lab: Lab) -> None:
    machine = MACHINES[0]
    tags = ("--tags", "apt_packages,hardening", "-e", "hardening_enabled=true")
    # A container has its host's clock.
    run = ("site.yml", "--limit", machine, *tags, "-e", "hardening_time=false", "-e", "hardening_journal_max=100M")
    lab.playbook(*run)
    assert lab.playbook(*run).changed == 0
    effective = lab.ssh(machine, "sudo sshd -T").splitlines()
    assert {"passwordauthentication no", "kbdinteractiveauthentication no", "x11forwarding no"} <= set(effective)
    upgrades = lab.ssh(machine, "apt-config dump")
    assert 'APT::Periodic::Unattended-Upgrade "1";' in upgrades
    assert 'Unattended-Upgrade::Automatic-Reboot-Time "02:00";' in upgrades
    assert "SystemMaxUse=100M" in lab.ssh(machine, "systemd-analyze cat-config systemd/journald.conf")
    assert lab.ssh(machine, "ls /var/log/journal")
    assert_answers_rightly(lab, machine)


@pytest.fixture
def pebble(lab: Lab) -> Iterator[tuple[str, ...]]:
    """An ACME server on the first machine, and the variables that have the machine ask it."""
    machine = MACHINES[0]
    config = {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000", "httpPort": 80}
    config |= {"certificate": "/etc/pebble.pem", "privateKey": "/etc/pebble.key", "tlsPort": 443}
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    for command in (
        "sudo apt-get install --yes --no-install-recommends pebble openssl 2>&1",
        f"echo {shlex.quote(json.dumps({'pebble': config}))} | sudo tee /etc/pebble.json",
        "sudo openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost "
        f"-addext {names} -keyout /etc/pebble.key -out /etc/pebble.pem 2>&1",
        "echo 127.0.0.1 detector.test other.test | sudo tee --append /etc/hosts",
        "sudo systemd-run --unit=pebble --setenv=PEBBLE_VA_NOSLEEP=1 pebble -config /etc/pebble.json",
    ):
        lab.ssh(machine, command, timeout=300)
    yield (
        *("-e", "tls_source=acme", "-e", "tls_names=detector.test", "-e", "tls_acme_ca=/etc/pebble.pem"),
        *("-e", "tls_acme_directory=https://localhost:14000/dir"),
    )
    lab.ssh(machine, "sudo systemctl stop pebble; sudo sed -i /detector.test/d /etc/hosts")


def served_certificate(lab: Lab, machine: str) -> dict:
    """Serial number and issuer of what NGINX has."""
    command = "openssl s_client -connect 127.0.0.1:443 </dev/null 2>/dev/null | openssl x509 -noout -serial -issuer"
    return dict(line.split("=", 1) for line in lab.ssh(machine, command).splitlines())


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_a_certificate_is_obtained_and_renewed_and_a_failing_server_takes_nothing(
    lab: Lab, pebble: tuple[str, ...]
) -> None:
    machine = MACHINES[0]
    run = ("site.yml", "--limit", machine, "--tags", "apt_packages,tls,nginx", *pebble)
    lab.playbook(*run)
    first = served_certificate(lab, machine)
    assert "Pebble" in first["issuer"]
    assert lab.playbook(*run).changed == 0

    # A POST is sent on as one.
    answer = requests.post(url(lab, machine, "/predict"), data=GOLDEN.picture, timeout=30, verify=False)
    assert [step.status_code for step in answer.history] == [308]
    assert answer.url == f"https://{lab.address(machine)}/predict"
    assert answer.status_code == 200
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    weak = "openssl s_client -tls1_1 -cipher ALL:@SECLEVEL=0 -connect 127.0.0.1:443 </dev/null 2>&1 || echo refused"
    assert "refused" in lab.ssh(machine, weak)

    with four_clients(lab, machine, verify=False) as wait_for_answers:
        wait_for_answers(4)
        soon = "s/^# renew_before_expiry.*/renew_before_expiry = 9999 days/"
        lab.ssh(machine, f"sudo sed -i '{soon}' /etc/letsencrypt/renewal/*.conf")
        lab.ssh(machine, "sudo systemctl start certbot.service")
        wait_for_answers(4)
    renewed = served_certificate(lab, machine)
    assert "Pebble" in renewed["issuer"]
    assert renewed["serial"] != first["serial"]

    lab.ssh(machine, "sudo systemctl stop pebble")
    with pytest.raises(AssertionError, match="certbot"):
        lab.playbook(*run, "-e", "tls_names=detector.test,other.test")
    assert served_certificate(lab, machine) == renewed
    assert lab.playbook("site.yml", "--limit", machine, "--tags", "nginx").changed > 0
    assert_answers_rightly(lab, machine)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=3).ok
    except requests.RequestException:
        return False


def lets_us_in(lab: Lab, machine: str) -> bool:
    try:
        return lab.ssh(machine, "echo in", timeout=10) == "in"
    except (AssertionError, subprocess.TimeoutExpired):
        return False


def test_a_model_of_ones_own_and_a_changed_setting_reach_the_service_and_go_back(lab: Lab, tmp_path: Path) -> None:
    machine = MACHINES[0]
    changes = {"app_confidence": 0.99999, **FIXED_PLAN, "app_engine": "openvino"}
    own = json.dumps({"app_model": str(write_model(tmp_path / "mine")), **changes})
    tags = ("--tags", "app,gunicorn")
    assert lab.playbook("site.yml", "--limit", machine, *tags, "-e", own).changed > 0
    info = Client(url(lab, machine)).info()
    assert (info["model"]["name"], info["engine"]["name"]) == ("mine", "openvino")
    assert Client(url(lab, machine), retries=0).predict(GOLDEN.picture) == []
    again = lab.playbook("site.yml", "--limit", machine, *tags, "-e", own)
    assert again.changed == 0, again.output
    assert lab.playbook("site.yml", "--limit", machine, *tags).changed > 0
    assert_answers_rightly(lab, machine)
    assert "mine" not in lab.ssh(machine, "sudo find /var/lib/barevision -name '*mine*.onnx' -or -path '*/own/*'")


def test_who_has_no_key_is_refused_where_one_is_needed(lab: Lab) -> None:
    machine, needed = MACHINES[0], ("-e", "app_keys_file=/etc/barevision/keys.json")
    site = ("site.yml", "--limit", machine, "--tags", "app,gunicorn,smoke")
    lab.playbook(*site, *needed)
    made = lab.playbook("playbooks/keys.yml", "--limit", machine, *needed, "-e", "create=camera")
    (key,) = re.findall(r"camera: ([A-Za-z0-9]{40})\b", made.output)
    assert key not in lab.ssh(machine, "sudo cat /etc/barevision/keys.json")
    assert lab.playbook(*site, *needed).changed == 0
    assert_answers_rightly(lab, machine, key=key)
    with pytest.raises(ServiceError, match="401"):
        assert_answers_rightly(lab, machine)
    lab.playbook("playbooks/keys.yml", "--limit", machine, *needed, "-e", "revoke=camera")
    with pytest.raises(ServiceError, match="not known"):
        assert_answers_rightly(lab, machine, key=key)
    assert lab.playbook(*site).changed > 0
    assert_answers_rightly(lab, machine)


def test_changed_units_are_applied(lab: Lab) -> None:
    machine = MACHINES[0]
    show = "systemctl show --property TimeoutStopUSec,Listen,NeedDaemonReload barevision.service barevision.socket"
    before = lab.ssh(machine, show)
    path = "/run/barevision/other.sock"
    tags = ("--tags", "gunicorn,nginx")
    changes = ("-e", "gunicorn_graceful_timeout=7", "-e", f"gunicorn_socket={path}")
    assert lab.playbook("site.yml", "--limit", machine, *tags, *changes).changed > 0
    changed = lab.ssh(machine, show)
    assert "TimeoutStopUSec=17s" in changed
    assert f"Listen={path} (Stream)" in changed
    assert "NeedDaemonReload=yes" not in changed
    assert f"unix:{path}" in lab.ssh(machine, "cat /etc/nginx/sites-available/barevision")
    assert_answers_rightly(lab, machine)
    assert lab.playbook("site.yml", "--limit", machine, *tags).changed > 0
    assert lab.ssh(machine, show) == before
    assert_answers_rightly(lab, machine)


def test_a_reload_brings_another_model_unless_it_cannot_serve(lab: Lab) -> None:
    machine = MACHINES[0]

    def sees() -> list[int]:
        return requests.get(url(lab, machine, "/info"), timeout=30).json()["model"]["input_size"]

    before = sees()
    other = 's/^BAREVISION_MODEL=.*/BAREVISION_MODEL="roadsigns@256"/'
    lab.ssh(machine, f"sudo sed -i '{other}' /etc/barevision/barevision.env")
    # The service can't write: it serves what is prepared.
    with pytest.raises(AssertionError):
        lab.ssh(machine, "sudo systemctl reload barevision")
    assert "roadsigns can't be prepared" in journal(lab, machine)
    lab.ssh(machine, "sudo kill -HUP $(systemctl show --property=MainPID --value barevision)")
    refused = "Nothing is reloaded, the service goes on as it was: Error: roadsigns can't be prepared"
    wait_until(lambda: refused in journal(lab, machine), "the signal alone is refused too", 120)
    assert sees() == before
    command = "env -C /opt/barevision/current/app ../env/bin/python -m barevision models prepare roadsigns@256"
    lab.ssh(machine, f"sudo runuser -u barevision -- {command} --models-dir /var/lib/barevision/models")
    lab.ssh(machine, "sudo systemctl reload barevision")
    wait_until(lambda: sees() == [256, 256], "the other size serves", 120)
    assert lab.playbook("site.yml", "--limit", machine, "--tags", "app,gunicorn").changed > 0
    assert sees() == before
    assert_answers_rightly(lab, machine)


@contextlib.contextmanager
def four_clients(lab: Lab, machine: str, verify: bool = True) -> Iterator[Callable[[int], None]]:
    """Clients that ask again as soon as they are answered; all have to be answered.

    :param verify: whether they ask who has signed the certificate.
    :returns: what waits for so many more answers.
    """
    statuses: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            response = requests.post(url(lab, machine, "/predict"), data=GOLDEN.picture, timeout=100, verify=verify)
            statuses.append(response.status_code)

    def wait_for(more: int) -> None:
        goal = len(statuses) + more
        wait_until(lambda: len(statuses) >= goal, f"{more} answers", 120)

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask) for _ in range(4)]
        try:
            yield wait_for
        finally:
            stop.set()
    for client in clients:
        client.result()
    assert set(statuses) == {200}, (statuses, journal(lab, machine))


def test_killing_every_process_of_the_service_loses_no_request(lab: Lab) -> None:
    """Twice, but each time only when the service is at work again: a request is sent a second time, not a third."""
    machine = MACHINES[0]
    with four_clients(lab, machine) as wait_for_answers:
        for _ in range(2):
            wait_for_answers(20)
            before = what_runs(lab, machine)
            signal_service(lab, machine, "KILL")
            wait_for_answers(20)
            assert what_runs(lab, machine) != before


def test_what_is_damaged_is_named_and_made_again(lab: Lab) -> None:
    machine = MACHINES[0]
    model = lab.ssh(machine, r"""sudo grep -o '/[^"]*\.onnx' /opt/barevision/current/.proven""")
    lab.ssh(machine, f"printf X | sudo dd of={model} bs=1 seek=1000 conv=notrunc && sudo systemctl restart barevision")
    wait_until(lambda: f"{model} is damaged" in journal(lab, machine), "the service says what is wrong")
    files, environment = "sudo find /opt/barevision/current/app -type f", "readlink -f /opt/barevision/current/env"
    damaged = lab.ssh(machine, environment)
    lab.ssh(
        machine,
        f"{files} -name '*.pyc' -exec dd if=/dev/zero of={{}} bs=1 seek=40 count=9 conv=notrunc status=none ';'",
    )
    lab.ssh(machine, f"{files} -not -name '*.pyc' -exec truncate --size 0 {{}} +")
    lab.ssh(machine, "sudo sh -c 'rm /opt/barevision/current/env/lib/python3*/site-packages/flask/app.py'")

    dry = lab.playbook("site.yml", "--check", "--diff", "--limit", machine, "--tags", "app")
    assert dry.changed > 0
    for path in (model, "app/barevision/serving/wsgi.py"):
        assert path in dry.output
    run = lab.playbook("site.yml", "--limit", machine)
    # Which environment is the release's stands in a file that was empty.
    assert "flask/app.py" in run.output
    assert_answers_rightly(lab, machine)
    again = lab.playbook("site.yml", "--limit", machine)
    assert again.changed == 0, again.output
    assert lab.ssh(machine, environment) == f"{damaged}-2"
    assert Path(damaged).name not in lab.ssh(machine, "ls /opt/barevision/envs").split(), "the damaged one has gone"


def test_a_service_that_hangs_is_restarted(lab: Lab) -> None:
    """As one does whose run ended between the restart and its readiness."""
    machine = MACHINES[0]
    signal_service(lab, machine, "STOP")
    run = lab.playbook("site.yml", "--limit", machine, "--tags", "gunicorn", "-e", "gunicorn_ready_timeout=5")
    assert run.changed > 0
    assert_answers_rightly(lab, machine)


def test_nginx_comes_back_when_it_dies(lab: Lab) -> None:
    machine = MACHINES[0]
    show = "systemctl show --property MainPID --value nginx.service"
    before = lab.ssh(machine, show)
    # The master first, which would start workers anew. All, because systemd itself can't end them where the host's
    # control groups can't be written.
    lab.ssh(machine, f"sudo sh -c 'kill -KILL {before} $(pidof -o {before} nginx)'")
    wait_until(lambda: lab.ssh(machine, show) not in ("0", before), "another NGINX")
    assert_answers_rightly(lab, machine)


def test_a_prediction_that_never_returns_is_answered_by_another_process(lab: Lab) -> None:
    """What hangs is one process alone, which a file names."""
    machine = MACHINES[0]
    with service_that_may_hang(lab, machine):
        hung = min(workers(lab, machine), key=int)
        lab.ssh(machine, f"echo {hung} | sudo tee /run/hang/pid")
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(assert_answers_rightly, lab, machine) for _ in range(4)]
        for answer in asked:
            answer.result()
        assert hung not in workers(lab, machine)
        assert re.search(r"ends, because a prediction has been running for \d+ seconds", journal(lab, machine))


def test_who_stands_still_or_decodes_for_long_does_not_hang(lab: Lab) -> None:
    machine = MACHINES[0]
    large = cv2.imencode(".tiff", np.zeros((7000, 7000, 3), np.uint8))[1].tobytes()
    with service_with(lab, machine, "BAREVISION_HUNG_AFTER=4"), four_clients(lab, machine) as wait_for_answers:
        before = workers(lab, machine)
        wait_for_answers(10)
        signal_service(lab, machine, "STOP")
        time.sleep(6)
        signal_service(lab, machine, "CONT")
        wait_for_answers(10)
        assert requests.post(url(lab, machine, "/predict"), data=large, timeout=60).ok
        assert before <= workers(lab, machine)


def test_systemd_waits_a_minute_for_a_word_of_gunicorns(lab: Lab) -> None:
    show = "systemctl show --property WatchdogUSec --value barevision.service"
    assert lab.ssh(MACHINES[0], show) == "1min"


def test_before_it_stops_the_service_is_not_ready_and_answers(lab: Lab) -> None:
    machine = MACHINES[0]
    lab.playbook("site.yml", "--limit", machine, "--tags", "gunicorn", "-e", "gunicorn_drain_seconds=5")
    try:
        lab.ssh(machine, "sudo systemctl restart --no-block barevision.service")
        wait_until(lambda: requests.get(url(lab, machine, "/readyz"), timeout=30).status_code == 503, "it drains")
        answer = requests.get(url(lab, machine, "/readyz"), timeout=30)
        assert assert_problem(answer, 503)["detail"] == "the service is about to stop"
        assert_answers_rightly(lab, machine)
        wait_until(lambda: requests.get(url(lab, machine, "/readyz"), timeout=30).ok, "it is back")
    finally:
        lab.playbook("site.yml", "--limit", machine, "--tags", "gunicorn")
    assert_answers_rightly(lab, machine)


def test_maintenance_keeps_everybody_out_but_the_machine_itself(lab: Lab) -> None:
    machine, playbook = MACHINES[0], "playbooks/maintenance.yml"
    on = ("--limit", machine, "-e", "maintenance=on", "-e", '{"reason": "back at noon"}')
    assert lab.playbook(playbook, *on, "--check", "--diff").changed == 1
    assert_answers_rightly(lab, machine)
    assert lab.playbook(playbook, *on).changed == 1
    try:
        for path in ("/predict", "/readyz"):
            answer = requests.post(url(lab, machine, path), data=GOLDEN.picture, timeout=30)
            assert answer.headers["Retry-After"] == "60"
            assert assert_problem(answer, 503)["detail"] == "back at noon"
        assert requests.get(url(lab, machine, "/healthz"), timeout=30).ok
        assert lab.playbook(playbook, *on).changed == 0
        lab.playbook("playbooks/smoke.yml", "--limit", machine)
        lab.ssh(machine, "sudo systemctl restart nginx")
        assert requests.get(url(lab, machine, "/readyz"), timeout=30).status_code == 503
    finally:
        run = lab.playbook(playbook, "--limit", machine, "-e", "maintenance=off")
    assert run.changed == 1
    assert_answers_rightly(lab, machine)


def test_many_who_ask_without_a_pause_are_all_answered_and_the_smoke_test_too(lab: Lab) -> None:
    machine = MACHINES[0]
    statuses: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            response = requests.post(url(lab, machine, "/predict"), data=GOLDEN.picture, timeout=100)
            statuses.append(response.status_code)

    with ThreadPoolExecutor(64) as pool:
        clients = [pool.submit(ask) for _ in range(64)]
        try:
            for _ in range(2):
                lab.playbook("playbooks/smoke.yml", "--limit", machine)
        finally:
            stop.set()
    for client in clients:
        client.result()
    assert set(statuses) == {200}


def test_a_thousand_who_ask_at_once_are_answered_or_told_to_come_back(lab: Lab) -> None:
    """Each has a connection of its own, more than Debian's NGINX takes."""
    machine = MACHINES[0]
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(GOLDEN.picture)}\r\n\r\n"

    async def ask() -> int:
        reader, writer = await asyncio.open_connection(lab.address(machine), 80)
        writer.write(head.encode() + GOLDEN.picture)
        answer = await reader.read()
        writer.close()
        return int(answer.split()[1])

    async def ask_all() -> list[int]:
        return await asyncio.gather(*(ask() for _ in range(1200)))

    statuses = Counter(asyncio.run(ask_all()))
    assert set(statuses) <= {200, 503}, statuses
    assert statuses[200] > 300
    assert_answers_rightly(lab, machine)


@each_machine
def test_the_service_comes_back_after_a_reboot(lab: Lab, machine: str) -> None:
    boot_id = "cat /proc/sys/kernel/random/boot_id"
    before = lab.ssh(machine, boot_id)
    # A moment later, so that ssh can say goodbye.
    lab.ssh(machine, "sudo systemd-run --on-active=1 --timer-property=AccuracySec=100ms systemctl reboot")
    wait_until(lambda: has_come_back(lab, machine, boot_id, before), f"{machine} answers after its reboot", 120)
    assert_answers_rightly(lab, machine)


def has_come_back(lab: Lab, machine: str, boot_id: str, before: str) -> bool:
    try:
        return lab.ssh(machine, boot_id) != before and requests.get(url(lab, machine, "/readyz"), timeout=5).ok
    except (AssertionError, requests.RequestException, subprocess.TimeoutExpired):
        return False
