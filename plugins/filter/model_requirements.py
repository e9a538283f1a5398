"""What a model takes on a machine, by this checkout's catalogue or the files on this computer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The catalogue of the checkout that Ansible runs from counts, whatever else of that name is installed.
sys.path.insert(0, str(Path(__file__).parents[2] / "app"))

DOCUMENTATION = r"""
name: model_requirements
short_description: Finds out what a model takes, and whether there is such a model
description:
  - Asks the app of the checkout that Ansible runs from, and fetches nothing.
positional: pixels
options:
  _input:
    description: What the app takes for a model. A name of the catalogue, an address, or a path on this computer.
    type: str
    required: true
  pixels:
    description: How many pixels of pictures the service may have in hand at once.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Print the bytes of memory that a model takes
  ansible.builtin.debug:
    msg: "{{ ('yolov3-tiny' | model_requirements(50000000)).memory_bytes }}"
"""

RETURN = r"""
_value:
  description:
    - C(error), what is wrong with the model's name or files. Empty for a model that can be served.
    - C(name), what the model is called in the models directory. Empty where there is an error.
    - C(verified), whether the content of every file is known beforehand.
    - C(disk_bytes) and C(memory_bytes). Each is 0 where nobody knows how large the model is.
  type: dict
"""


def model_requirements(text: str, pixels: int) -> dict[str, Any]:
    """What RETURN describes."""
    answer = {"error": "", "name": "", "verified": False, "disk_bytes": 0, "memory_bytes": 0}
    try:
        # Only here: the app's models take a while to import, and most templates need none of them.
        from barevision.errors import ModelError
        from barevision.models.catalogue import find_source
    except ImportError as error:
        return answer | {
            "error": f"{error}; install what this checkout needs: .venv/bin/pip install -r requirements.txt"
        }
    try:
        source = find_source(text)
    except ModelError as error:
        return answer | {"error": str(error)}
    disk, memory = source.requirements(pixels)
    known = {"name": source.name, "verified": source.verified}
    return answer | known | {"disk_bytes": disk or 0, "memory_bytes": memory or 0}


class FilterModule:
    """See DOCUMENTATION."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"model_requirements": model_requirements}
