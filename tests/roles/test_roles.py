"""The roles' house rules: specs that equal the defaults, names, one place for each number."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.roles.rendering import ROOT, SITE_ROLES, read_yaml

_TYPES = {"int": int, "float": (int, float), "str": str, "path": str, "list": list, "dict": dict, "bool": bool}


def play() -> dict:
    """The first play of site.yml."""
    return yaml.safe_load((ROOT / "site.yml").read_text("utf-8"))[0]


def options(role: str) -> dict:
    """The options of `role`, as its argument_specs describe them."""
    return read_yaml("roles", role, "meta", "argument_specs.yml")["argument_specs"]["main"]["options"]


def defaults(role: str) -> dict:
    """The defaults of `role`."""
    return read_yaml("roles", role, "defaults", "main.yml")


def test_site_lists_the_roles_in_the_tutorials_order() -> None:
    assert tuple(entry["role"] for entry in play()["roles"]) == SITE_ROLES


@pytest.mark.parametrize("role", SITE_ROLES)
class TestRole:
    def test_specs_equal_the_defaults(self, role: str) -> None:
        described = {name: option["default"] for name, option in options(role).items() if "default" in option}

        assert described == defaults(role)

    def test_an_option_without_a_default_is_required_and_given_by_site(self, role: str) -> None:
        handed = {name for name, option in options(role).items() if "default" not in option}

        assert all(options(role)[name].get("required") is True for name in handed)
        assert handed == {name for name in play()["vars"] if name.startswith(f"{role}_")}

    def test_defaults_have_their_type_and_every_option_a_description(self, role: str) -> None:
        for name, option in options(role).items():
            assert option["description"], name
            default = option.get("default")
            if default is not None and "{{" not in str(default):
                assert isinstance(default, _TYPES[option["type"]]), name

    def test_variables_are_named_after_the_role(self, role: str) -> None:
        internal = read_yaml("roles", role, "vars", "main.yml")

        assert all(name.startswith(f"{role}_") for name in options(role))
        assert all(name.startswith(f"_{role}_") for name in internal)

    def test_no_role_uses_what_another_one_owns(self, role: str) -> None:
        others = [name for name in SITE_ROLES if name != role]
        for path in (ROOT / "roles" / role).rglob("*.yml"):
            if path.parent.name == "meta":
                continue
            # In comments and messages, another role's variable is what the user has to set.
            expressions = re.findall(
                r"\{\{(.*?)\}\}|^\s*when: (.*)$", path.read_text("utf-8"), re.DOTALL | re.MULTILINE
            )
            code = re.sub(r"\"[^\"]*\"|'[^']*'", "", " ".join(part for pair in expressions for part in pair))
            used = {name for other in others for name in re.findall(rf"\b_{{0,2}}{other}_\w+", code)}
            assert not used, path

    def test_every_template_stands_where_its_target_does(self, role: str) -> None:
        text = "".join(path.read_text("utf-8") for path in (ROOT / "roles" / role).rglob("*.yml"))
        templates = ROOT / "roles" / role / "templates"
        for path in templates.rglob("*.j2"):
            relative = str(path.relative_to(templates))
            assert relative in text, "a template that no task uses"
            assert f"/{relative.removesuffix('.j2')}" in text

    def test_metadata(self, role: str) -> None:
        info = read_yaml("roles", role, "meta", "main.yml")["galaxy_info"]

        assert info["author"] == "The Barevision contributors"
        assert (info["license"], info["min_ansible_version"]) == ("MIT", "2.19")


def test_the_example_inventory_shows_every_default() -> None:
    text = (ROOT / "inventory" / "example" / "hosts.yml").read_text("utf-8")
    shown = yaml.safe_load(
        "\n".join(re.findall(r"^    # ?((?:    |  - )?[a-z_0-9]+:.*|  [a-z_0-9]+: [0-9a-f]{64})$", text, re.MULTILINE))
    )

    for role in SITE_ROLES:
        # Lists of packages are the roles' own business.
        wanted = {name: value for name, value in defaults(role).items() if not name.endswith("_packages")}
        assert {name: shown.get(name) for name in wanted} == wanted


def test_no_group_vars_stand_beside_site() -> None:
    """They would outrank the user's own inventory."""
    assert not (ROOT / "group_vars").exists()
    assert not (ROOT / "host_vars").exists()


def test_preflight_and_the_app_agree_on_python() -> None:
    wanted = SpecifierSet(tomllib.loads((ROOT / "app/pyproject.toml").read_text("utf-8"))["project"]["requires-python"])
    bounds = read_yaml("roles", "preflight", "vars", "main.yml")["_preflight_python"]

    assert SpecifierSet(f">={bounds['min']},<{bounds['below']}") == wanted
    assert Version(defaults("miniconda")["miniconda_python_version"]) in wanted


def test_preflight_allows_the_ansible_that_is_pinned() -> None:
    bounds = read_yaml("roles", "preflight", "vars", "main.yml")["_preflight_ansible"]
    pinned = re.search(r"^ansible-core==(\S+)", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)

    assert pinned
    assert Version(pinned[1]) in SpecifierSet(f">={bounds['min']},<{bounds['below']}")


def test_the_settings_file_and_the_trial_have_one_source() -> None:
    """What a release is tried with before it serves is what it then serves with."""
    template = Path(ROOT / "roles/app/templates/etc/barevision/barevision.env.j2").read_text("utf-8")

    assert "_app_settings.items()" in template
    assert "_app_settings |" in read_yaml("roles", "app", "vars", "main.yml")["_app_process_environment"]
