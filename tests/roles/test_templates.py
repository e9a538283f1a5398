"""What the roles write, rendered as Ansible renders it, with the defaults and with a user's own values."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from barevision.api import admission
from barevision.engines import ENGINES
from barevision.serving import gunicorn_conf
from barevision.settings import load_settings
from tests.roles.rendering import FACTS, ROOT, Site, settings, unit_values

_SITE = "etc/nginx/sites-available/barevision"
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
    "app_max_wait": 4,
    "gunicorn_socket": "/run/detector/socket",
    "gunicorn_timeout": 90,
    "gunicorn_graceful_timeout": 45,
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


@pytest.fixture(scope="module")
def gunicorn_settings(site: Site) -> dict[str, str]:
    """Gunicorn's settings as it understands the unit's command, by name; the app is one that needs no model."""
    (line,) = unit_values(site.render("gunicorn", _SERVICE), "ExecStart")
    _, *arguments = line.removesuffix("barevision.serving.wsgi:app").split()
    command = [sys.executable, *arguments, "--print-config", "wsgiref.simple_server:demo_app"]
    done = subprocess.run(command, cwd=ROOT / "app", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^(\w+) += (.*)$", done.stdout, re.MULTILINE))


def test_every_file_says_who_manages_it(site: Site) -> None:
    for role, path in (
        ("app", _SETTINGS),
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
    assert found.max_wait == site.value("app_max_wait")
    assert found.log_level == site.value("app_log_level")
    assert (found.confidence, found.nms) == (0.5, 0.3)


def test_all_settings_of_the_app_can_be_given() -> None:
    rendered = settings(
        Site(
            app_threads=2, app_cors_origins=["*"], app_check_after=20, app_hung_after=60, app_keys_file="/etc/keys"
        ).render("app", _SETTINGS)
    )

    known = {f"BAREVISION_{name.upper()}" for name in type(load_settings()).model_fields}
    assert set(rendered) == known


def test_threads_are_left_to_the_app_unless_given() -> None:
    assert "BAREVISION_THREADS" not in settings(Site().render("app", _SETTINGS))
    assert settings(Site(app_threads=3).render("app", _SETTINGS))["BAREVISION_THREADS"] == "3"


@pytest.mark.parametrize("origins", [["https://a.example", "http://b.example:3000"], "https://a.example", "*", []])
def test_the_app_and_nginx_know_the_same_origins(origins: list[str] | str, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(app_cors_origins=origins)
    for name, value in settings(site.render("app", _SETTINGS)).items():
        monkeypatch.setenv(name, value)
    expected = (origins,) if isinstance(origins, str) else tuple(origins)
    assert load_settings().cors_origins == expected
    rendered = site.render("nginx", _SITE)
    for origin in expected:
        assert ("default *;" if origin == "*" else f'"{origin}" $http_origin;') in rendered


def test_quotes_in_a_setting_are_escaped_for_systemd() -> None:
    text = Site(**_OWN).render("app", _SETTINGS)

    assert 'BAREVISION_MODEL="/srv/models/my \\"best\\" \\\\ model"' in text.splitlines()


def test_body_sizes_agree(site: Site) -> None:
    limit = site.value("app_max_body_bytes")

    text = site.render("nginx", _SITE)

    assert nginx_values(text, "client_max_body_size") == [str(limit)]
    assert f"larger than {limit} bytes" in text
    assert settings(site.render("app", _SETTINGS))["BAREVISION_MAX_BYTES"] == str(limit)


def test_timeouts_grow_outwards(site: Site, gunicorn_settings: dict[str, str]) -> None:
    """The one nearest to the work gives up first, so that its answer still arrives."""
    queue = float(settings(site.render("app", _SETTINGS))["BAREVISION_MAX_WAIT"])
    nginx = [
        value
        for name in ("proxy_read_timeout", "proxy_send_timeout", "proxy_connect_timeout", "proxy_next_upstream_timeout")
        for value in nginx_values(site.render("nginx", _SITE), name)
    ]
    stop = int(unit(site.render("gunicorn", _SERVICE))["Service"]["TimeoutStopSec"])

    assert len(nginx) == 4
    assert queue < int(gunicorn_settings["timeout"]) < int(nginx[0].removesuffix("s"))
    assert len(set(nginx)) == 1
    assert int(gunicorn_settings["graceful_timeout"]) < stop


def test_every_connection_that_waits_may_be_an_open_file(site: Site) -> None:
    files = int(unit(site.render("gunicorn", _SERVICE))["Service"]["LimitNOFILE"])

    assert files >= 2 * gunicorn_conf.worker_connections


def test_nginx_refuses_what_the_service_would(site: Site) -> None:
    assert site.value("_nginx_most_predictions") == admission.MOST_INSIDE
    assert site.value("_nginx_connections") >= 2 * gunicorn_conf.worker_connections


def test_an_inventory_sets_two_of_gunicorns_settings(site: Site, gunicorn_settings: dict[str, str]) -> None:
    names = ("timeout", "graceful_timeout")

    assert {name: int(gunicorn_settings[name]) for name in names} == {
        name: site.value(f"gunicorn_{name}") for name in names
    }
    # What no inventory sets comes from the app.
    assert "barevision.serving.worker" in gunicorn_settings["worker_class"]


def test_the_command_line_serves_with_the_settings_of_a_vm() -> None:
    assert {name: getattr(gunicorn_conf, name) for name in ("timeout", "graceful_timeout")} == {
        name: Site().value(f"gunicorn_{name}") for name in ("timeout", "graceful_timeout")
    }


def test_paths_agree(site: Site) -> None:
    service = unit(site.render("gunicorn", _SERVICE))["Service"]
    socket = unit(site.render("gunicorn", _SOCKET))["Socket"]
    settings_path = site.value("app_settings_path")
    root = site.value("app_root")

    assert nginx_values(site.render("nginx", _SITE), "server")[0].split()[0] == f"unix:{socket['ListenStream']}"
    assert socket["ListenStream"] == site.value("gunicorn_socket")
    assert service["EnvironmentFile"] == settings_path
    assert f"BAREVISION_SETTINGS_FILE={settings_path}" in unit_values(site.render("gunicorn", _SERVICE), "Environment")
    assert service["WorkingDirectory"] == f"{root}/current/app"
    assert service["ExecStart"].split()[0] == f"{root}/current/env/bin/python"
    assert service["User"] == service["Group"] == site.value("app_user")


def test_nginx_takes_no_ipv6_address_where_there_is_none() -> None:
    assert nginx_values(Site().render("nginx", _SITE), "listen") == ["80 default_server", "[::]:80 default_server"]
    without = Site(facts=FACTS | {"lo": {"ipv4": {"address": "127.0.0.1"}}})
    assert nginx_values(without.render("nginx", _SITE), "listen") == ["80 default_server"]


def test_a_site_with_a_name_of_its_own_is_not_the_default_one() -> None:
    text = Site(nginx_server_name="detector.example other.example", nginx_port="8080").render("nginx", _SITE)

    assert nginx_values(text, "listen") == ["8080", "[::]:8080"]
    # By its address the machine asks itself.
    assert nginx_values(text, "server_name") == ["detector.example other.example 127.0.0.1"]


def test_tasks_have_no_proxy_unless_one_is_given() -> None:
    assert Site().environment() == {}
    assert Site(preflight_proxy=None).environment() == {}


@pytest.mark.parametrize("exceptions", ["mirror.example,.example.org", ["mirror.example", ".example.org"]])
def test_tasks_have_the_proxy_but_for_the_machine_itself_and_what_is_excepted(exceptions: object) -> None:
    environment = Site(preflight_proxy="http://proxy.example:3128", preflight_no_proxy=exceptions).environment()

    assert environment == {
        "http_proxy": "http://proxy.example:3128",
        "https_proxy": "http://proxy.example:3128",
        "no_proxy": "localhost,127.0.0.1,::1,mirror.example,.example.org",
    }


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


def test_systemd_accepts_the_units(site: Site, tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed here")
    # systemd-analyze expects the program and the folder to exist; everything else is as on the machine.
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


@pytest.mark.parametrize("engine", ["auto", *ENGINES])
def test_only_openvino_may_write_the_code_that_it_runs(engine: str) -> None:
    (value,) = unit_values(Site(app_engine=engine).render("gunicorn", _SERVICE), "MemoryDenyWriteExecute")
    assert value == ("no" if engine in ("auto", "openvino") else "yes")


@pytest.mark.parametrize("engine", ["auto", *ENGINES])
def test_systemd_finds_little_that_the_service_is_exposed_to(engine: str, tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed here")
    path = tmp_path / "barevision.service"
    path.write_text(Site(app_engine=engine).render("gunicorn", _SERVICE))

    # From 0, safe, to 100, unsafe: ten times what systemd prints.
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=3", "--no-pager", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
