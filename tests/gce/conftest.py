"""The modules' own code, as Ansible gives it to them, and the stand-in for Google."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ansible.module_utils
import pytest

from tests.conftest import ROOT
from tests.gce.standin.compute import Compute
from tests.gce.standin.door import Door, opened
from tests.gce.user import User

ansible.module_utils.__path__.append(str(ROOT / "plugins" / "module_utils"))


@pytest.fixture
def compute() -> Iterator[Compute]:
    """An empty project, whose machines are only on paper. Nothing may happen in it that Google doesn't know."""
    compute = Compute()
    yield compute
    compute.close()
    assert compute.bugs == []


@pytest.fixture
def door(compute: Compute, tmp_path: Path) -> Iterator[Door]:
    """A door to the project."""
    folder = tmp_path / "door"
    folder.mkdir()
    with opened(compute, folder) as door:
        yield door


@pytest.fixture
def user(door: Door, tmp_path: Path) -> User:
    """Somebody with a login to the project."""
    return User(door, tmp_path)
