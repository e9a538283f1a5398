"""The roles' house rules: specs that equal the defaults, names, one place for each number."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from barevision.settings import Settings
from tests.roles.rendering import ROOT, SITE_ROLES, Site, read_yaml, settings

_TYPES = {"int": int, "float": (int, float), "str": str, "path": str, "list": list, "dict": dict, "bool": bool}


def play() -> dict:
    """The first play of site.yml."""
    return yaml.safe_load((ROOT / "site.yml").read_text("utf-8"))[0]


def options(role: str) -> dict:
    """The options of `role`, as its argument_specs describe them."""
    return read_yaml("roles", role, "meta", "argument_specs.yml")["argument_specs"]["main"]["options"]


def description(role: str, name: str) -> str:
    """What the spec of `role` says of its option `name`, as one text."""
    text = options(role)[name]["description"]
    return text if isinstance(text, str) else " ".join(text)


def defaults(role: str) -> dict:
    """The defaults of `role`."""
    return read_yaml("roles", role, "defaults", "main.yml")


def conditions(part: object) -> list[str]:
    """Every expression in the YAML `part` of a role that stands without braces."""
    if isinstance(part, list):
        return [text for entry in part for text in conditions(entry)]
    if not isinstance(part, dict):
        return []
    keys = ("when", "that", "until", "changed_when", "failed_when")
    own = [text for key in keys for text in (part.get(key) if isinstance(part.get(key), list) else [part.get(key)])]
    return [text for text in own if isinstance(text, str)] + conditions(list(part.values()))


def tasks(part: object) -> list[dict]:
    """Every task, and every block, in the YAML `part` of a role."""
    if not isinstance(part, list):
        return []
    inner = [task for entry in part for key in ("block", "rescue", "always") for task in tasks(entry.get(key))]
    return part + inner


def test_site_lists_the_roles_in_the_tutorials_order() -> None:
    imported = [task.get("ansible.builtin.import_role", {}) for task in tasks(play()["tasks"])]
    assert tuple(role["name"] for role in imported if "name" in role and "tasks_from" not in role) == SITE_ROLES


@pytest.mark.parametrize("role", sorted(path.name for path in (ROOT / "roles").iterdir()))
def test_a_tasks_own_variables_are_named_after_the_role(role: str) -> None:
    files = [yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "roles" / role / "tasks").glob("*.yml")]

    names = {name for file in files for task in tasks(file) for name in task.get("vars", {})}
    assert {name for name in names if not name.startswith(f"_{role}_")} == set()


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
        others = "|".join(name for name in SITE_ROLES if name != role)
        for path in (ROOT / "roles" / role).rglob("*.*"):
            if path.suffix not in (".yml", ".j2") or path.parent.name == "meta":
                continue
            text = path.read_text("utf-8")
            # In comments and messages, another role's variable is what the user has to set.
            code = re.findall(r"\{[{%](.*?)[%}]\}", text, re.DOTALL)
            if path.suffix == ".yml":
                code += conditions(yaml.safe_load(text))
            used = re.findall(rf"\b_{{0,2}}(?:{others})_\w+", re.sub(r"\"[^\"]*\"|'[^']*'", "", " ".join(code)))
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
        # What one role hands to another is nothing to set.
        handed = ("_packages", "app_python", "_restart_paths", "app_served_model", "tls_folder", "tls_webroot")
        settable = {name: value for name, value in defaults(role).items() if not name.endswith(handed)}
        assert {name: shown.get(name) for name in settable} == settable


def test_a_variable_of_the_example_inventory_is_set_by_taking_its_mark_away() -> None:
    text = (ROOT / "inventory" / "example" / "hosts.yml").read_text("utf-8")
    names = re.findall(r"^    # ([a-z_0-9]+): \S", text, re.MULTILINE)
    assert len(names) > 40
    for name in names:
        inventory = yaml.safe_load(text.replace(f"    # {name}:", f"    {name}:"))
        assert name in inventory["barevision"]["vars"]


@pytest.mark.parametrize("role", SITE_ROLES)
def test_the_example_inventory_describes_a_variable_as_its_role_does(role: str) -> None:
    text = (ROOT / "inventory" / "example" / "hosts.yml").read_text("utf-8")
    comments = {
        name: " ".join(line.strip(" #") for line in comment.splitlines() if not line.startswith("    # ----"))
        for comment, name in re.findall(r"^((?:    # (?! |[a-z_0-9]+:).*\n)*)    # ([a-z_0-9]+):", text, re.MULTILINE)
    }

    for name in defaults(role).keys() & comments.keys():
        assert comments[name] == description(role, name)


def test_a_setting_is_described_in_one_sentence_everywhere() -> None:
    """In the code, in the table of docs/settings.md, and by the variable of the app role that sets it."""
    table = dict(
        re.findall(
            r"^\| `BAREVISION_(\w+)` \| .*? \| (.*) \|$", (ROOT / "docs/settings.md").read_text("utf-8"), re.MULTILINE
        )
    )
    variables = {"max_bytes": "app_max_body_bytes"}

    assert set(table) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        assert table[name.upper()] == field.description
        assert description("app", variables.get(name, f"app_{name}")).startswith(field.description)


def test_the_smoke_test_asks_at_nginx_port() -> None:
    """It does not run NGINX's role, and so does not know the role's default."""
    text = (ROOT / "playbooks" / "smoke.yml").read_text("utf-8")

    assert f"nginx_port | default({defaults('nginx')['nginx_port']})" in text


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


def test_a_release_is_tried_with_the_settings_that_it_then_serves_with() -> None:
    site = Site(app_threads=3, app_model="yolov3@608", app_model_sha256="c" * 64)
    written = settings(site.render("app", "etc/barevision/barevision.env"))

    assert written == site.value("_app_settings")
    assert written.items() <= site.value("_app_process_environment").items()
