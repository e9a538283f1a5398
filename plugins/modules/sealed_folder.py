#!/usr/bin/python
"""A folder that is marked as complete, once all of it is on the disk."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.seals import describe_files, read_seal, write_seal

DOCUMENTATION = r"""
module: sealed_folder
short_description: Marks a folder as complete, once all of it is on the disk
description:
  - Writes the folder's file system out to the disk, and then the file C(.complete) with the size, the mode, the time of
    change and the SHA-256 of each of its files. After a power cut, a folder with that file has all the others.
  - The module M(release_info) compares the files with that list later.
  - A folder whose list says what is there stays as it is.
options:
  path:
    description: The folder.
    type: path
    required: true
  excluded:
    description: Names directly in the folder that may change after it is complete.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
author:
  - The Barevision contributors
"""

EXAMPLES = r"""
- name: Mark the release as complete
  sealed_folder:
    path: /opt/barevision/releases/9a93efd0a2b2ce7a3c3b8a4f4b9c43a1ad0a3e55
    excluded: [env, .proven]
"""

RETURN = r"""
files:
  description: How many files and links the folder consists of.
  type: int
  returned: success
  sample: 120
"""

_ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "excluded": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    module = AnsibleModule(argument_spec=_ARGUMENTS, supports_check_mode=True)
    folder = Path(module.params["path"])
    if not folder.is_dir():
        module.fail_json(msg=f"{folder} is not a folder")
    before, after = read_seal(folder), describe_files(folder, module.params["excluded"])
    if before != after and not module.check_mode:
        module.run_command(["sync", "--file-system", str(folder)], check_rc=True)
        write_seal(folder, after)
    lines = ["".join(f"{name} {file}\n" for name, file in files.items()) for files in (before, after)]
    module.exit_json(changed=before != after, files=len(after), diff={"before": lines[0], "after": lines[1]})


if __name__ == "__main__":
    main()
