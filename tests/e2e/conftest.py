"""One lab for all end-to-end tests: a Debian 12 and a Debian 13 machine, taken down at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab import FORWARDING, FORWARDING_BEFORE, NEEDS_LAB, Lab, lab_tables


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips the tests of this folder where no lab can be made."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(NEEDS_LAB)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The machines debian-12 and debian-13, running. Afterwards nothing of them may be left."""
    lab = Lab(
        root=tmp_path_factory.mktemp("lab"),
        machines={"debian-12": "bookworm", "debian-13": "trixie"},
        measuring="debian-12",
    )
    lab.write_inventory()
    # A lab that was killed leaves what the switch was before it; the next one puts that back.
    forwarding = (FORWARDING_BEFORE if FORWARDING_BEFORE.exists() else FORWARDING).read_text()
    other_labs = lab_tables()
    try:
        lab.up()
        yield lab
    finally:
        lab.down()
    assert lab.traces() == []
    if not other_labs | lab_tables():
        assert FORWARDING.read_text() == forwarding
