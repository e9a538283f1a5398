"""A list, also where it was given as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.validation import check_type_list

DOCUMENTATION = r"""
name: as_list
short_description: Makes a list of what a variable of the type list may be given as
description:
  - What C(-e NAME=VALUE) hands over is text. A role's argument specs take it for a list, since it can be made one, but
    the role still gets the text.
  - Takes JSON, and elements that are separated by commas, in brackets and quotes or not. A list stays as it is. An
    empty text and null are an empty list.
options:
  _input:
    description: A list, or a text.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Print two addresses
  ansible.builtin.debug:
    msg: "{{ '192.0.2.7, 192.0.2.8' | as_list }}"
"""

RETURN = r"""
_value:
  description: The list.
  type: list
  sample: [192.0.2.7, 192.0.2.8]
"""


def as_list(value: Any) -> list[Any]:
    """What RETURN describes.

    :raises AnsibleFilterError: `value` can't be a list.
    """
    try:
        if not isinstance(value, str):
            return [] if value is None else check_type_list(value)
        text = value.strip()
        if text.startswith("["):
            try:
                return json.loads(text)
            except ValueError:
                # As Python and YAML write lists, too. YAML itself would take the colons of IPv6 for its own.
                if not text.endswith("]"):
                    raise
                text = text[1:-1]
        elements = (element.strip(" \t\n'\"") for element in text.split(","))
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"{value!r} is no list: {error}") from None
    return [element for element in elements if element]


class FilterModule:
    """See DOCUMENTATION."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"as_list": as_list}
