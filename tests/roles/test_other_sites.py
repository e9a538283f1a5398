"""The nginx role beside other sites, in a copy of /etc/nginx that only the run sees, and without systemd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.roles.ansible import Run
from tests.roles.rendering import ROOT, Site, environment

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a run with an /etc/nginx of its own takes root"),
    pytest.mark.skipif(not Path("/etc/nginx/sites-enabled").is_dir(), reason="nginx is not installed here"),
]
_STAND_INS = Path(__file__).parent / "standins"
_SITE = Path("sites-available/barevision")
_HANDED = {
    "nginx_upstream_socket": "/run/s",
    "nginx_upstream_timeout": "60",
    "nginx_max_body_bytes": "1000",
    "nginx_cors_origins": "[]",
    "nginx_tls_folder": "",
    "nginx_tls_webroot": "",
    "nginx_tls_is_trusted": "false",
}


@pytest.fixture
def nginx_folder(tmp_path: Path) -> Path:
    """A folder in place of /etc/nginx, where nobody has added anything."""
    folder = tmp_path / "nginx"
    shutil.copytree("/etc/nginx", folder, symlinks=True)
    for path in (*(folder / "sites-enabled").iterdir(), *(folder / "conf.d").iterdir()):
        path.unlink()
    (folder / _SITE).unlink(missing_ok=True)
    return folder


def converge(folder: Path, **variables: str) -> Run:
    """Runs the role. /etc/nginx is `folder` meanwhile, and systemd has no units of this machine's own."""
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "roles": ["nginx"]}]
    (folder.parent / "playbook.yml").write_text(yaml.safe_dump(play))
    given = _HANDED | variables
    units = folder.parent / "units"
    units.mkdir(exist_ok=True)
    mounts = f"mount --bind {folder} /etc/nginx; mount --bind {units} /etc/systemd/system"
    done = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-ec", f'{mounts}; exec "$@"', "sh"),
            *(Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", folder.parent / "playbook.yml"),
            *(word for name, value in given.items() for word in ("-e", f"{name}={value}")),
        ],
        cwd=ROOT,
        env=environment() | {"PATH": f"{_STAND_INS}:/usr/sbin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return Run(done.returncode, done.stdout + done.stderr)


def test_a_site_of_ours_goes_in_beside_others_and_over_the_one_before(nginx_folder: Path) -> None:
    (nginx_folder / "conf.d" / "shop.conf").write_text("server { listen 8097; server_name shop.example; }")
    before = Site(nginx_client_timeout=7, **_HANDED).render("nginx", "etc/nginx/sites-available/barevision")
    # As the role wrote it before it sealed what it writes.
    (nginx_folder / _SITE).write_text(before)

    run = converge(nginx_folder, nginx_port="8097")

    assert run.status == 0, run.output
    assert "client_header_timeout 30s;" in (nginx_folder / _SITE).read_text()
    numbers = re.findall(r"worker_(rlimit_nofile|connections) (\d+);", (nginx_folder / "nginx.conf").read_text())
    assert numbers == [("rlimit_nofile", "8192"), ("connections", "4096")]
    assert [path.name for path in (nginx_folder / "sites-enabled").iterdir()] == ["barevision"]
    again = converge(nginx_folder, nginx_port="8097")
    assert (again.status, again.changed) == (0, 0), again.output


@pytest.mark.parametrize("own", ["worker_rlimit_nofile 3000;\nevents { worker_connections 900; }", "events {}"])
def test_who_set_the_limits_of_nginx_keeps_them(nginx_folder: Path, own: str) -> None:
    path = nginx_folder / "nginx.conf"
    text = re.sub(r"events\s*\{[^}]*\}", own, path.read_text())
    path.write_text(text)

    assert converge(nginx_folder, nginx_port="8097").status == 0
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("conf.d/mine.conf", "nonsense;", 'Mend it first: .*unknown directive "nonsense"'),
        ("nginx.conf", "events {} http {}", "does not read /etc/nginx/sites-enabled, .*Add a line"),
        (
            "sites-enabled/shop",
            "server { listen 8097; }",
            "would take requests from /etc/nginx/sites-enabled/shop, which answers port 8097 .*nginx_server_name",
        ),
        (
            "sites-available/barevision",
            "server { listen 8097; } # by hand",
            r"Somebody changed /etc/nginx/sites-available/barevision .*\[''server { listen 8097; } # by hand''\]",
        ),
    ],
    ids=["broken", "elsewhere", "nameless", "foreign"],
)
def test_the_role_stops_before_it_changes_what_is_not_its_own(
    nginx_folder: Path, file: str, text: str, said: str
) -> None:
    (nginx_folder / file).write_text(text)

    run = converge(nginx_folder, nginx_port="8097")

    assert (run.status, run.changed) == (2, 0)
    assert re.search(said, run.words)
    assert (nginx_folder / file).read_text() == text
    assert not (nginx_folder / "sites-enabled" / "barevision").exists()
