"""The file system that a path is on, or would be made on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any

DOCUMENTATION = r"""
name: mount_of
short_description: Finds the mounted file system of a path
description:
  - Takes the list C(ansible_facts['mounts']) and returns the entry of the file system that holds a path, whether the
    path exists or not.
  - Compares names, and so knows no links. Of a path that leads over one, pass where it leads to.
  - Empty where the list has none, as Ansible leaves out what has no device of its own, such as an overlay.
positional: path
options:
  _input:
    description: The list of mounts.
    type: list
    elements: dict
    required: true
  path:
    description: An absolute path.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Print the bytes that are free for models
  ansible.builtin.debug:
    msg: "{{ (ansible_facts['mounts'] | mount_of('/var/lib/models')).size_available }}"
"""

RETURN = r"""
_value:
  description: The entry with its keys C(mount), C(size_available) and others, or an empty dict.
  type: dict
"""


def mount_of(mounts: Iterable[dict[str, Any]], path: str) -> dict[str, Any]:
    """The entry of `mounts` with the longest mount point that `path` is below; {} where there is none."""
    holding = [mount for mount in mounts if PurePosixPath(path).is_relative_to(mount["mount"])]
    return max(holding, key=lambda mount: len(mount["mount"]), default={})


class FilterModule:
    """See DOCUMENTATION."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"mount_of": mount_of}
