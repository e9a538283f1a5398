"""Which file system a path is on, by the facts of a machine."""

from __future__ import annotations

import pytest

from plugins.filter.mount_of import mount_of

MOUNTS = [{"mount": mount} for mount in ("/", "/opt", "/optional", "/var", "/var/lib/models")]


@pytest.mark.parametrize(
    ("path", "mount"),
    {
        "/": "/",
        "/etc/barevision": "/",
        "/opt": "/opt",
        "/opt/barevision": "/opt",
        "/optimum": "/",
        "/var/lib": "/var",
        "/var/lib/models": "/var/lib/models",
        "/var/lib/models/a/b": "/var/lib/models",
    }.items(),
)
def test_the_longest_mount_point_above_the_path_holds_it(path: str, mount: str) -> None:
    assert mount_of(MOUNTS, path) == {"mount": mount}
    assert mount_of(reversed(MOUNTS), path) == {"mount": mount}


def test_there_is_none_where_the_facts_leave_it_out() -> None:
    assert mount_of([{"mount": "/boot"}], "/opt/barevision") == {}
    assert mount_of([], "/opt/barevision") == {}
