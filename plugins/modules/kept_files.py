#!/usr/bin/python
"""Keeps what is in files, and brings it back."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.whole_files import write_whole

DOCUMENTATION = r"""
module: kept_files
short_description: Keeps what is in files, and brings it back
description:
  - Notes the content, mode, owner and group of text files in one file, or makes the files as they are noted there.
  - A file that was not there when it was noted is removed. Each file is written beside the old one, and takes its place
    only when all of it is on the disk.
options:
  path:
    description: The file that the notes are in. Nobody but its owner may read it.
    type: path
    required: true
  files:
    description: The files to note. Needed with O(state=kept).
    type: list
    elements: path
  spared:
    description: With O(state=restored), files to leave as they are.
    type: list
    elements: path
    default: []
  facts:
    description: What to note beside them, such as the port that one of them names.
    type: dict
    default: {}
  state:
    description: V(kept) notes the files as they are; V(restored) makes them as they are noted.
    type: str
    choices: [kept, restored]
    default: kept
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
author:
  - The Barevision contributors
"""

EXAMPLES = r"""
- name: Keep what the machine runs the release with
  kept_files:
    path: /opt/barevision/releases/9a93efd0a2b2ce7a3c3b8a4f4b9c43a1ad0a3e55/.machine
    files: [/etc/systemd/system/barevision.service, /etc/nginx/sites-available/barevision]
    facts: {port: 80}

- name: Bring back what an earlier release was run with
  kept_files:
    path: /opt/barevision/releases/1f0c2f3c9f0a4d61b0a3e55c3b8a4f4b9c43a1ad/.machine
    state: restored
  register: __kept
"""

RETURN = r"""
facts:
  description: What is noted beside the files.
  type: dict
  returned: success
files:
  description: The files that are noted.
  type: list
  elements: str
  returned: success
"""

_ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "files": {"type": "list", "elements": "path"},
    "spared": {"type": "list", "elements": "path", "default": []},
    "facts": {"type": "dict", "default": {}},
    "state": {"type": "str", "choices": ["kept", "restored"], "default": "kept"},
}

# What a file is, as it is noted; None for one that is not there.
Note = dict[str, Any] | None


def note(path: Path) -> Note:
    """What the text file at `path` is."""
    try:
        content, status = path.read_text("utf-8"), path.stat()
    except FileNotFoundError:
        return None
    mode = oct(stat.S_IMODE(status.st_mode))
    return {"content": content, "mode": mode, "owner": status.st_uid, "group": status.st_gid}


def make(path: Path, noted: Note) -> None:
    """Makes the file at `path` as it was noted."""
    if noted is None:
        path.unlink(missing_ok=True)
        return
    write_whole(path, noted["content"], int(noted["mode"], 8), noted["owner"], noted["group"])


def read_notes(path: Path) -> tuple[dict[str, Note], dict[str, Any]]:
    """The files and the facts that are noted in the file at `path`; none if it is not there or not whole."""
    try:
        notes = json.loads(path.read_text("utf-8"))
        return dict(notes["files"]), dict(notes["facts"])
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return {}, {}


def as_text(notes: dict[str, Note]) -> str:
    """The files one after the other, to be compared by a reader."""
    heads = {
        path: noted and " ".join(str(noted[key]) for key in ("mode", "owner", "group")) for path, noted in notes.items()
    }
    return "".join(f"{path} {heads[path]}\n{noted['content']}" for path, noted in notes.items() if noted)


def main() -> None:
    module = AnsibleModule(
        argument_spec=_ARGUMENTS, required_if=[("state", "kept", ["files"])], supports_check_mode=True
    )
    path, keeps = Path(module.params["path"]), module.params["state"] == "kept"
    noted, facts = read_notes(path)
    if not keeps and not noted:
        module.fail_json(msg=f"{path} has no notes of any file")
    noted = {name: wanted for name, wanted in noted.items() if name not in module.params["spared"]}
    found = {name: note(Path(name)) for name in (module.params["files"] if keeps else noted)}
    before, after = (noted, found) if keeps else (found, noted)
    changed = before != after
    if keeps:
        changed |= facts != module.params["facts"]
        facts = module.params["facts"]
    if changed and not module.check_mode:
        if keeps:
            write_whole(path, json.dumps({"files": after, "facts": facts}), 0o600, os.getuid(), os.getgid())
        else:
            for name, wanted in noted.items():
                if found[name] != wanted:
                    make(Path(name), wanted)
    diff = {"before": as_text(before), "after": as_text(after)}
    module.exit_json(changed=changed, files=list(after), facts=facts, diff=diff)


if __name__ == "__main__":
    main()
