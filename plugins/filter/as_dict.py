"""A dictionary, also where it was given as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.validation import check_type_dict

DOCUMENTATION = r"""
name: as_dict
short_description: Makes a dictionary of what a variable of the type dict may be given as
description:
  - What C(-e NAME=VALUE) hands over is text. A role's argument specs take it for a dictionary, since it can be made
    one, but the role still gets the text.
  - Takes what argument specs take, which is JSON, and C(KEY=VALUE) separated by commas. A dictionary stays as it is.
options:
  _input:
    description: A dictionary, or a text.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Print a dictionary
  ansible.builtin.debug:
    msg: "{{ 'environment=test,team=vision' | as_dict }}"
"""

RETURN = r"""
_value:
  description: The dictionary.
  type: dict
  sample: {environment: test, team: vision}
"""


def as_dict(value: Any) -> dict[str, Any]:
    """What RETURN describes.

    :raises AnsibleFilterError: `value` can't be a dictionary.
    """
    try:
        return check_type_dict(value)
    except TypeError as error:
        raise AnsibleFilterError(f"{value!r} is no dictionary: {error}") from None


class FilterModule:
    """See DOCUMENTATION."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"as_dict": as_dict}
