"""NGINX on this machine, with the site that the role makes for a VM."""

from __future__ import annotations

import os
from pathlib import Path


def write_nginx_conf(folder: Path, site: str, connections: int = 512) -> Path:
    """Writes a whole configuration into `folder`, where NGINX then keeps all of its files, and returns its path.

    :param site: the role's site; lines of the users' own come from the folder ``barevision.d``.
    :param connections: what a worker may have open.
    """
    text = site.replace("/var/log/nginx/access.log", str(folder / "access.log"))
    for own in ("barevision.d", "barevision.maintenance.json"):
        text = text.replace(f"/etc/nginx/{own}", str(folder / own))
    (folder / "site").write_text(text)
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{name}_temp_path {folder}/{name}; " for name in names)
    user = "user root; " if os.geteuid() == 0 else ""
    conf = folder / "nginx.conf"
    conf.write_text(
        f"{user}daemon off; worker_processes auto; pid {folder}/pid; error_log {folder}/error.log; "
        f"events {{ worker_connections {connections}; }} http {{ {temporary} include {folder}/site; }}"
    )
    return conf
