"""The tree of errors: that nothing is missing in it or in its drawing."""

from __future__ import annotations

import importlib
import pkgutil
import re

import barevision
from barevision import errors
from barevision.errors import BarevisionError, ServiceError

# These start something when they are imported.
_PROGRAMS = ("barevision.__main__", "barevision.serving.wsgi")


def below(error: type[Exception]) -> set[type[Exception]]:
    """`error` and what derives from it."""
    return {error}.union(*(below(child) for child in error.__subclasses__()))


def drawn() -> dict[str, str | None]:
    """The errors in the drawing of the module's docstring, each with the one above it."""
    above: list[tuple[int, str]] = []
    parents: dict[str, str | None] = {}
    for branches, name in re.findall(r"^    ([ │├└─]*)(\w+Error)\b", errors.__doc__, re.MULTILINE):
        above = [(depth, parent) for depth, parent in above if depth < len(branches)]
        parents[name] = above[-1][1] if above else None
        above.append((len(branches), name))
    return parents


def test_the_drawing_is_the_tree() -> None:
    tree = {error.__name__: error.__base__.__name__ for error in below(BarevisionError)}
    assert drawn() == {**tree, "BarevisionError": None}


def test_whatever_barevision_raises_as_its_own_is_in_the_tree() -> None:
    for module in pkgutil.walk_packages(barevision.__path__, "barevision."):
        if module.name not in _PROGRAMS:
            importlib.import_module(module.name)
    own = {error for error in below(Exception) if error.__module__.partition(".")[0] == "barevision"}
    assert own == below(BarevisionError)
    assert {error.__module__ for error in own} == {"barevision.errors"}


def test_a_services_error_has_the_status_of_a_refusal() -> None:
    assert ServiceError("it refused", 503).status == 503
    assert ServiceError("it does not answer").status is None
