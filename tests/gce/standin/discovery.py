"""Google's own description of its Compute API, and what it says of a request.

The discovery document comes with the PyPI package google-api-python-client. What it doesn't know, Google doesn't know.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jsonschema

_OUTPUT_ONLY = re.compile(r"^(Output only\.|\[Output Only\])", re.IGNORECASE)
# Google takes these back as it gave them.
_ECHOED = {"fingerprint", "labelFingerprint"}


class InvalidRequestError(Exception):
    """A request that Google would answer with 400, and why."""


@dataclass(frozen=True)
class Method:
    """A method of the API, such as compute.instances.setTags, for a path with these parameters."""

    id: str
    description: dict[str, Any]
    parameters: dict[str, str]

    @property
    def path(self) -> str:
        """Such as "projects/demo-project/aggregated/disks"."""
        return self.description["path"].format(**self.parameters)


@cache
def document() -> dict[str, Any]:
    """The discovery document of compute v1."""
    folder = resources.files("googleapiclient") / "discovery_cache" / "documents"
    return json.loads((folder / "compute.v1.json").read_text("utf-8"))


def find(verb: str, path: str) -> Method | None:
    """The method for a verb and a path such as "projects/p/global/networks"; None where the API has none."""
    for pattern, description in _routes().get(verb, []):
        if matched := pattern.fullmatch(path):
            return Method(description["id"], description, matched.groupdict())
    return None


@cache
def method_ids() -> set[str]:
    """Such as "compute.instances.insert"."""
    return {method["id"] for resource in document()["resources"].values() for method in resource["methods"].values()}


def has_field(method: Method, collection: str, keys: tuple[str, ...]) -> bool:
    """Whether what a list method lists has a field, such as ("labels", "role")."""
    schemas = document()["schemas"]
    items = schemas[method.description["response"]["$ref"]]["properties"]["items"]
    if "additionalProperties" in items:
        items = schemas[items["additionalProperties"]["$ref"]]["properties"][collection]
    schema = items["items"]
    for key in keys:
        schema = schemas[schema["$ref"]] if "$ref" in schema else schema
        schema = schema.get("items", schema)
        schema = schemas[schema["$ref"]] if "$ref" in schema else schema
        schema = schema.get("properties", {}).get(key) or schema.get("additionalProperties")
        if schema is None:
            return False
    return True


def check_query(method: Method, query: dict[str, str]) -> None:
    """Raises InvalidRequestError for query parameters that are unknown, missing, or not of their type."""
    of_method = {name: spec for name, spec in method.description["parameters"].items() if spec["location"] == "query"}
    known = {**document()["parameters"], **of_method}
    for name, value in query.items():
        if name not in known:
            raise InvalidRequestError(
                f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter.'
            )
        _check_parameter(name, known[name], value)
    missing = [name for name, spec in known.items() if spec.get("required") and name not in query]
    if missing:
        raise InvalidRequestError(f"Required field '{missing[0]}' not specified")


def check_body(method: Method, body: Any) -> None:
    """Raises InvalidRequestError for a body that is missing, superfluous, or not as the method's schema has it."""
    if "request" not in method.description:
        if body:
            raise InvalidRequestError(f"{method.id} takes no body")
        return
    if not isinstance(body, dict):
        raise InvalidRequestError(f"{method.id} needs a body")
    if method.description["httpMethod"] == "PATCH":
        # A merge patch takes a field away with null (RFC 7396).
        body = {key: value for key, value in body.items() if value is not None}
    name = method.description["request"]["$ref"]
    _validate(body, {**_definitions(requests_of=method.id), "$ref": f"#/$defs/{name}"})


def check_answer(method: Method, answer: Any) -> None:
    """Raises InvalidRequestError for an answer that Google could not give."""
    name = method.description["response"]["$ref"]
    _validate(answer, {**_definitions(requests_of=None), "$ref": f"#/$defs/{name}"})


def _validate(value: Any, schema: dict[str, Any]) -> None:
    formats = jsonschema.FormatChecker(())
    formats.checks("int64", (TypeError, ValueError))(lambda value: -(2**63) <= int(value) < 2**63)
    formats.checks("uint64", (TypeError, ValueError))(lambda value: 0 <= int(value) < 2**64)
    validator = jsonschema.Draft202012Validator(schema, format_checker=formats)
    error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    if error:
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        raise InvalidRequestError(f"Invalid value for field 'resource{place}': {error.message}")


@cache
def _routes() -> dict[str, list[tuple[re.Pattern[str], dict[str, Any]]]]:
    routes: dict[str, list[tuple[re.Pattern[str], dict[str, Any]]]] = {
        verb: [] for verb in ("GET", "POST", "PUT", "PATCH", "DELETE")
    }
    for resource in document()["resources"].values():
        for description in resource["methods"].values():
            routes[description["httpMethod"]].append((_pattern(description), description))
    return routes


def _pattern(description: dict[str, Any]) -> re.Pattern[str]:
    def group(matched: re.Match[str]) -> str:
        spec = description["parameters"][matched[1]]
        return f"(?P<{matched[1]}>{spec.get('pattern') or '[^/]+'})"

    return re.compile(re.sub(r"\{(\w+)\}", group, description["path"]))


def _check_parameter(name: str, spec: dict[str, Any], value: str) -> None:
    accepted = {
        "integer": re.compile(r"\d+" if spec.get("minimum") == "0" else r"-?\d+"),
        "boolean": re.compile("true|false"),
        "string": re.compile(spec.get("pattern", ".*"), re.DOTALL),
    }[spec["type"]]
    if not accepted.fullmatch(value) or value not in spec.get("enum", [value]):
        raise InvalidRequestError(f"Invalid value for field '{name}': '{value}'.")


@cache
def _definitions(requests_of: str | None) -> dict[str, Any]:
    """The schemas, for bodies of the method `requests_of`, or else for answers."""
    schemas = {name: _Converter(requests_of).schema(schema) for name, schema in document()["schemas"].items()}
    return {"$defs": schemas}


@dataclass(frozen=True)
class _Converter:
    """From the discovery document's dialect of JSON schema to today's."""

    requests_of: str | None

    def schema(self, old: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in old:
            return {"$ref": f"#/$defs/{old['$ref']}"}
        new = {key: old[key] for key in ("enum",) if key in old}
        if "pattern" in old:
            new["pattern"] = f"^(?:{old['pattern']})$"
        return {**new, **getattr(self, f"_{old['type']}")(old)}

    def _object(self, old: dict[str, Any]) -> dict[str, Any]:
        if "additionalProperties" in old:
            return {"type": "object", "additionalProperties": self.schema(old["additionalProperties"])}
        properties = old.get("properties", {})
        wanted = {name: self.schema(p) for name, p in properties.items() if not self._is_forbidden(name, p)}
        required = [
            name
            for name, p in properties.items()
            if self.requests_of and self.requests_of in p.get("annotations", {}).get("required", [])
        ]
        return {"type": "object", "properties": wanted, "additionalProperties": False, "required": required}

    def _is_forbidden(self, name: str, spec: dict[str, Any]) -> bool:
        is_output = spec.get("readOnly") or _OUTPUT_ONLY.match(spec.get("description", ""))
        return bool(self.requests_of and is_output and name not in _ECHOED)

    def _array(self, old: dict[str, Any]) -> dict[str, Any]:
        # A pattern of a list is one for each of its texts.
        items = {**old["items"], "pattern": old["pattern"]} if "pattern" in old else old["items"]
        return {"type": "array", "items": self.schema(items)}

    def _string(self, old: dict[str, Any]) -> dict[str, Any]:
        if old.get("format") in ("int64", "uint64"):
            # A number, too, in requests; always a text in answers.
            sign = "" if old["format"] == "uint64" else "-?"
            return {
                "type": ["string", "integer"] if self.requests_of else "string",
                "pattern": rf"^{sign}\d{{1,20}}$",
                "format": old["format"],
            }
        return {"type": "string"}

    def _integer(self, old: dict[str, Any]) -> dict[str, Any]:
        low = 0 if old.get("format") == "uint32" else -(2**31)
        return {"type": "integer", "minimum": low, "maximum": low + 2**32 - 1}

    def _number(self, _old: dict[str, Any]) -> dict[str, Any]:
        return {"type": "number"}

    def _boolean(self, _old: dict[str, Any]) -> dict[str, Any]:
        return {"type": "boolean"}

    def _any(self, _old: dict[str, Any]) -> dict[str, Any]:
        return {}
