"""What the roles write, rendered as Ansible renders it, with the defaults and with a user's own values."""

from __future__ import annotations

import configparser
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from gunicorn.config import KNOWN_SETTINGS

from barevision.api.admission import SPARE_THREADS, places
from barevision.serving import gunicorn_conf
from barevision.settings import load_settings
from tests.roles.rendering import Site, settings

_SITE = "etc/nginx/sites-available/barevision"
_CONFIG = "etc/barevision/gunicorn.conf.py"
_SETTINGS = "etc/barevision/barevision.env"
_SERVICE = "etc/systemd/system/barevision.service"
_SOCKET = "etc/systemd/system/barevision.socket"

_OWN = {
    "app_root": "/srv/detector",
    "app_user": "detector",
    "app_model": '/srv/models/my "best" \\ model',
    "app_models_dir": "/srv/models/prepared",
    "app_settings_path": "/etc/detector/settings.env",
    "app_max_body_bytes": 5_000_000,
    "app_threads": 3,
    "app_queue_seconds": 4,
    "gunicorn_socket": "/run/detector/socket",
    "gunicorn_timeout": 90,
    "gunicorn_graceful_timeout": 45,
    "gunicorn_threads": 5,
    "nginx_port": 8080,
    "nginx_server_name": "detector.example",
    "app_log_level": "warning",
}


@pytest.fixture(scope="module", params=[{}, _OWN], ids=["defaults", "own"])
def site(request: pytest.FixtureRequest) -> Site:
    return Site(**request.param)


def nginx_values(text: str, directive: str) -> list[str]:
    """The arguments of every `directive` of an NGINX configuration."""
    return re.findall(rf"^\s*{directive} (.+);$", text, re.MULTILINE)


def unit(text: str) -> Mapping[str, Mapping[str, str]]:
    """A systemd unit by section and name; of a name given twice, the last value."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(text)
    return parser


@pytest.fixture
def gunicorn_settings(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return runpy.run_path(str(write_config(site, tmp_path)))


def write_config(site: Site, folder: Path) -> Path:
    """Gunicorn's settings file, with the service's own beside it."""
    path, own = folder / "gunicorn.conf.py", folder / "barevision.env"
    own.write_text(site.render("app", _SETTINGS))
    path.write_text(site.render("gunicorn", _CONFIG).replace(site.value("app_settings_path"), str(own)))
    return path


@pytest.mark.parametrize("site", [{}], indirect=True)
def test_the_command_line_serves_with_the_same_settings(gunicorn_settings: dict) -> None:
    deployed = gunicorn_settings
    known = {setting.name for setting in KNOWN_SETTINGS}
    ours = {name: value for name, value in vars(gunicorn_conf).items() if name in known}
    assert {name for name in deployed if name in known} - set(ours) == {"chdir"}
    hooks = {name for name, value in ours.items() if callable(value)}
    assert hooks == {"when_ready"}
    assert all(ours[name] == deployed[name] for name in set(ours) - hooks)


def test_every_file_says_who_manages_it(site: Site) -> None:
    for role, path in (
        ("app", _SETTINGS),
        ("gunicorn", _CONFIG),
        ("gunicorn", _SERVICE),
        ("gunicorn", _SOCKET),
        ("nginx", _SITE),
    ):
        assert site.render(role, path).startswith("#\n# Ansible managed\n#\n"), path


def test_the_app_takes_its_settings(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings(site.render("app", _SETTINGS)).items():
        monkeypatch.setenv(name, value)

    found = load_settings()

    assert found.max_bytes == site.value("app_max_body_bytes")
    assert str(found.models_dir) == site.value("app_models_dir")
    assert found.queue_seconds == site.value("app_queue_seconds")
    assert found.log_level == site.value("app_log_level")
    assert (found.confidence, found.nms) == (0.5, 0.3)


def test_all_settings_of_the_app_can_be_given() -> None:
    rendered = settings(Site(app_threads=2).render("app", _SETTINGS))

    known = {f"BAREVISION_{name.upper()}" for name in type(load_settings()).model_fields}
    assert set(rendered) == known


def test_threads_are_left_to_the_app_unless_given() -> None:
    assert "BAREVISION_THREADS" not in settings(Site().render("app", _SETTINGS))
    assert settings(Site(app_threads=3).render("app", _SETTINGS))["BAREVISION_THREADS"] == "3"


def test_quotes_in_a_setting_are_escaped_for_systemd() -> None:
    text = Site(**_OWN).render("app", _SETTINGS)

    assert 'BAREVISION_MODEL="/srv/models/my \\"best\\" \\\\ model"' in text.splitlines()


def test_body_sizes_agree(site: Site) -> None:
    limit = site.value("app_max_body_bytes")

    text = site.render("nginx", _SITE)

    assert nginx_values(text, "client_max_body_size") == [str(limit)]
    assert f"larger than {limit} bytes" in text
    assert settings(site.render("app", _SETTINGS))["BAREVISION_MAX_BYTES"] == str(limit)


def test_timeouts_grow_outwards(site: Site, gunicorn_settings: dict) -> None:
    """The one nearest to the work gives up first, so that its answer still arrives."""
    queue = float(settings(site.render("app", _SETTINGS))["BAREVISION_QUEUE_SECONDS"])
    nginx = [
        value
        for name in ("proxy_read_timeout", "proxy_send_timeout", "proxy_connect_timeout", "proxy_next_upstream_timeout")
        for value in nginx_values(site.render("nginx", _SITE), name)
    ]
    stop = int(unit(site.render("gunicorn", _SERVICE))["Service"]["TimeoutStopSec"])

    assert len(nginx) == 4
    assert queue < gunicorn_settings["timeout"] < int(nginx[0].removesuffix("s"))
    assert len(set(nginx)) == 1
    assert gunicorn_settings["graceful_timeout"] < stop


def test_gunicorn_has_threads_for_health_checks_when_the_service_is_busy(site: Site, gunicorn_settings: dict) -> None:
    concurrency = int(settings(site.render("app", _SETTINGS))["BAREVISION_CONCURRENCY"])
    waiting_and_running = places(gunicorn_settings["threads"])

    assert concurrency < waiting_and_running == gunicorn_settings["threads"] - SPARE_THREADS


def test_paths_agree(site: Site) -> None:
    service = unit(site.render("gunicorn", _SERVICE))["Service"]
    socket = unit(site.render("gunicorn", _SOCKET))["Socket"]
    root = site.value("app_root")

    assert nginx_values(site.render("nginx", _SITE), "server")[0].split()[0] == f"unix:{socket['ListenStream']}"
    assert socket["ListenStream"] == site.value("gunicorn_socket")
    assert service["EnvironmentFile"] == site.value("app_settings_path")
    assert f'Path("{service["EnvironmentFile"]}")' in site.render("gunicorn", _CONFIG)
    assert service["WorkingDirectory"] == f"{root}/current/app"
    assert service["ExecStart"].split()[0] == f"{root}/current/env/bin/python"
    assert site.value("gunicorn_config_path") in service["ExecStart"].split()
    assert service["User"] == service["Group"] == site.value("app_user")


def test_a_dead_gunicorn_costs_no_request(site: Site) -> None:
    text = site.render("nginx", _SITE)
    path = site.value("gunicorn_socket")

    assert nginx_values(text, "server") == [f"unix:{path} max_fails=0", f"unix:{path} max_fails=0 backup"]
    assert nginx_values(text, "proxy_next_upstream") == ["error non_idempotent"]
    assert nginx_values(text, "proxy_request_buffering") == ["on"]
    assert "proxy_intercept_errors on" not in text


def test_nginx_listens_on_both_protocols(site: Site) -> None:
    text = site.render("nginx", _SITE)
    port = site.value("nginx_port")

    assert nginx_values(text, "listen") == [f"{port} default_server", f"[::]:{port} default_server"]
    assert nginx_values(text, "server_name") == [site.value("nginx_server_name")]
    assert nginx_values(text, "server_tokens") == ["off"]


def test_what_nginx_answers_itself_is_a_problem_document(site: Site) -> None:
    text = site.render("nginx", _SITE)
    bodies = dict(re.findall(r"^    (\d{3}) '(.+)';$", text, re.MULTILINE))
    answered = [value.split() for value in nginx_values(text, "error_page")]

    for status, body in bodies.items():
        document = json.loads(body)
        assert (document["type"], document["status"]) == ("about:blank", int(status))
        assert document["title"]
        assert document["detail"]
    assert {words[-2].removeprefix("=") for words in answered} == set(bodies)
    assert {code for words in answered for code in words[:-2]} >= {
        "400",
        "403",
        "404",
        "413",
        "414",
        "494",
        "502",
        "503",
        "504",
    }
    # Not there is a reason to ask again, whatever NGINX calls it.
    assert ["502", "503", "=503", "/.problem"] in answered


def test_the_model_is_loaded_once_and_after_the_fork(site: Site, gunicorn_settings: dict) -> None:
    assert gunicorn_settings["workers"] == 1
    assert gunicorn_settings["worker_class"] == "barevision.serving.worker.Worker"
    assert gunicorn_settings["threads"] == site.value("gunicorn_threads")
    assert gunicorn_settings["preload_app"] is False
    assert gunicorn_settings["control_socket_disable"] is True
    assert "bind" not in gunicorn_settings


def test_a_request_has_one_line_in_the_log_and_that_is_the_apps(gunicorn_settings: dict) -> None:
    assert gunicorn_settings["accesslog"] is None


def test_gunicorn_takes_its_settings(site: Site, tmp_path: Path) -> None:
    path = write_config(site, tmp_path)
    command = [sys.executable, "-m", "gunicorn", "--check-config", "--config", str(path)]

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, "wsgiref.simple_server:demo_app"], capture_output=True, text=True, check=False)

    assert check().returncode == 0, check().stderr
    path.write_text(path.read_text() + 'timeout = "soon"\n')
    assert check().returncode != 0


def test_the_service_is_shut_in(site: Site) -> None:
    text = site.render("gunicorn", _SERVICE)
    service = unit(text)["Service"]

    assert service["ProtectSystem"] == "strict"
    assert service["PrivateNetwork"] == "yes"
    assert service["RestrictAddressFamilies"] == "AF_UNIX"
    assert service["CapabilityBoundingSet"] == ""
    # Without it, a forbidden call kills the worker again and again.
    assert service["SystemCallErrorNumber"] == "EPERM"
    # It hides the processor's features from ONNX Runtime.
    assert "ProcSubset" not in service
    assert set(re.findall(r"^Environment=(.+)$", text, re.MULTILINE)) == {
        "ORT_DISABLE_TELEMETRY=1",
        "MALLOC_MMAP_THRESHOLD_=8388608",
        "MALLOC_ARENA_MAX=1",
    }


def test_only_nginx_may_connect(site: Site) -> None:
    socket = unit(site.render("gunicorn", _SOCKET))["Socket"]

    assert (socket["SocketUser"], socket["SocketGroup"], socket["SocketMode"]) == ("root", "www-data", "0660")


def test_systemd_accepts_the_units(site: Site, tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed here")
    # It wants the program and the folder to exist; everything else is as on the machine.
    service = site.render("gunicorn", _SERVICE)
    service = re.sub(r"^(Exec\w+=)\S+/python", rf"\1{sys.executable}", service, flags=re.MULTILINE)
    for name, text in (("barevision.service", service), ("barevision.socket", site.render("gunicorn", _SOCKET))):
        (tmp_path / name).write_text(text)

    done = subprocess.run(
        [
            "systemd-analyze",
            "verify",
            "--man=no",
            str(tmp_path / "barevision.service"),
            str(tmp_path / "barevision.socket"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    complaints = [line for line in done.stderr.splitlines() if "barevision." in line]
    assert not complaints
    assert done.returncode == 0, done.stderr
