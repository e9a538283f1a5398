"""Filter expressions of lists: AIP-160's, or Google's older ones with regular expressions. Never both at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.gce.standin.failures import invalid

_TERM = re.compile(
    r"(?P<open>\(?)\s*(?P<field>[A-Za-z][\w.-]*)\s*(?P<operator>!=|=|:|\b(?:eq|ne)\b)\s*"
    r"""(?P<value>"[^"]*"|'[^']*'|[^\s()"']+)\s*(?P<close>\)?)"""
)
_JOINT = re.compile(r"\s+(?:(AND|OR)\s+)?")


@dataclass(frozen=True)
class Term:
    """Such as labels.role = "detector"."""

    keys: tuple[str, ...]
    operator: str
    value: str

    def holds(self, resource: dict[str, Any]) -> bool:
        """Whether it is true of a resource."""
        found: Any = resource
        for key in self.keys:
            if isinstance(found, list):
                raise NotImplementedError(f"a filter for what is in a list: {'.'.join(self.keys)}")
            found = found.get(key) if isinstance(found, dict) else None
        text = found if isinstance(found, str) else json.dumps(found)
        if self.operator == ":":
            return found is not None and (self.value == "*" or self.value in text)
        if self.operator in ("eq", "ne"):
            matched = re.fullmatch(self.value, "" if found is None else text)
            return bool(matched) == (self.operator == "eq")
        return (found is not None and text == self.value) == (self.operator == "=")


def parse(text: str, is_field: Callable[[tuple[str, ...]], bool]) -> Callable[[dict[str, Any]], bool]:
    """A filter expression as a test of a resource; an empty one lets everything through.

    :param is_field: whether the listed resources have a field, such as ("labels", "role").
    :raises FailureError: 400, for what isn't an expression, or speaks of a field that isn't there.
    """
    groups = _groups(text)
    terms = [term for group in groups for term in group]
    older = [term.operator in ("eq", "ne") for term in terms]
    if any(older) and (not all(older) or len(groups) < len(terms)):
        raise _not_a_filter(text)
    if not all(is_field(term.keys) for term in terms):
        raise _not_a_filter(text)
    # OR binds more tightly than AND (AIP-160).
    return lambda resource: all(any(term.holds(resource) for term in group) for group in groups)


def _groups(text: str) -> list[list[Term]]:
    groups: list[list[Term]] = []
    joint, has_brackets, position, rest = "", True, 0, text.strip()
    while position < len(rest):
        matched = _TERM.match(rest, position)
        if not matched or bool(matched["open"]) != bool(matched["close"]):
            raise _not_a_filter(text)
        # Only brackets may stand side by side without a word between them.
        if groups and not joint and not (has_brackets and matched["open"]):
            raise _not_a_filter(text)
        term = Term(tuple(matched["field"].split(".")), matched["operator"], matched["value"].strip("\"'"))
        if matched["operator"] in ("eq", "ne"):
            _require_regex(text, term.value)
        if joint == "OR":
            groups[-1].append(term)
        else:
            groups.append([term])
        has_brackets, position = bool(matched["close"]), matched.end()
        # The blanks after an unbracketed value belong to what comes next.
        while not has_brackets and rest[position - 1].isspace():
            position -= 1
        between = _JOINT.match(rest, position)
        joint = (between and between[1]) or ""
        position = between.end() if between else position
        if joint and position == len(rest):
            raise _not_a_filter(text)
    return groups


def _require_regex(text: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error:
        raise _not_a_filter(text) from None


def _not_a_filter(text: str) -> Exception:
    return invalid(f"Invalid value for field 'filter': '{text}'. Invalid list filter expression.")
