"""What a model is called, taken apart by the app's own grammar."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

# The grammar of the checkout that Ansible runs from counts, whatever else of that name is installed.
sys.path.insert(0, str(Path(__file__).parents[2] / "app"))
from barevision.errors import ModelError
from barevision.models.reference import parse_reference

DOCUMENTATION = r"""
name: model_reference
short_description: Takes apart what a model is called
description:
  - Takes C(WHAT[@SIZE][#sha256=HASH]) apart, as the app does, and tells whether WHAT is a path on this computer.
options:
  _input:
    description: A name of the catalogue, a folder, an C(.onnx) file or its address, with a size or a hash.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Print the input's size of a model
  ansible.builtin.debug:
    msg: "{{ ('yolov3@640x384' | model_reference).size }}"
"""

RETURN = r"""
_value:
  description:
    - C(what), the model without size and hash.
    - C(size), as WIDTHxHEIGHT, and C(sha256). Each is empty where it is not given.
    - C(is_path), whether C(what) is a path. It begins with a slash, a dot or a tilde.
    - C(local_path), the absolute path on this computer. Empty where C(what) is no path, or nothing is there.
  type: dict
"""


def model_reference(text: str) -> dict[str, Any]:
    """What RETURN describes.

    :raises AnsibleFilterError: the size or the hash can't be one.
    """
    try:
        reference = parse_reference(text)
    except ModelError as error:
        raise AnsibleFilterError(str(error)) from None
    is_path = reference.what.startswith(("/", ".", "~"))
    path = Path(os.path.abspath(os.path.expanduser(reference.what)))  # noqa: PTH100, PTH111 (no link is followed)
    return {
        "what": reference.what,
        "size": f"{reference.size[1]}x{reference.size[0]}" if reference.size else "",
        "sha256": reference.sha256 or "",
        "is_path": is_path,
        "local_path": str(path) if is_path and path.exists() else "",
    }


class FilterModule:
    """See DOCUMENTATION."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"model_reference": model_reference}
