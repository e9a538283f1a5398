"""The modules' own code, as Ansible gives it to them."""

from __future__ import annotations

import ansible.module_utils

from tests.conftest import ROOT

ansible.module_utils.__path__.append(str(ROOT / "plugins" / "module_utils"))
