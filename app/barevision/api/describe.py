"""What the OpenAPI document says of a view, said beside the view.

``@operation`` notes it; `openapi_document` collects it from the application's own routes, so that nothing can be
described that isn't there. Schemas are pydantic's, of the models that check requests and tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from apispec import APISpec
from flask import Flask
from pydantic import BaseModel, TypeAdapter

from barevision import __version__

View = TypeVar("View", bound=Callable)
#: A JSON schema, or a type to make one of.
Schema = Any
#: By media type.
Content = dict[str, Schema]

_REF = "#/components/schemas/{model}"
_PICTURE = {"type": "string", "contentMediaType": "application/octet-stream"}
#: A picture as the whole body.
PICTURE_BODY: Content = {"application/octet-stream": {}, "image/jpeg": {}, "image/png": {}}
#: A picture as a file of a form. Other fields' names will do too, which OpenAPI can't say.
PICTURE_FORM = {"type": "object", "properties": {"image": _PICTURE}, "required": ["image"]}
#: Of answers.
_HEADERS = {
    "X-Request-ID": {"description": "The request's own, or one made for it: it is in the logs", "required": True},
    "Server-Timing": {"description": "Milliseconds by stage, and in total", "required": True},
    "Retry-After": {"description": "Seconds after which to come back"},
}
_ALWAYS = ("X-Request-ID", "Server-Timing")
_ERROR_HEADERS = {503: (*_ALWAYS, "Retry-After")}


class ProblemDocument(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


@dataclass(frozen=True)
class Operation:
    """See `operation`."""

    summary: str
    answers: dict[int, Content]
    query: type[BaseModel] | None = None
    body: Content | None = None
    errors: Iterable[int] = ()
    error: Content = field(default_factory=lambda: {"application/problem+json": ProblemDocument})
    headers: dict[str, Schema] = field(default_factory=dict)


def operation(summary: str, **described: Any) -> Callable[[View], View]:
    """Describes a view.

    :param answers: what it answers, by status and media type.
    :param query: its query parameters.
    :param body: what it takes, by media type.
    :param errors: the statuses that it answers with `error`, by media type: a problem document if not given.
    :param headers: request headers that it needs.
    """

    def note(view: View) -> View:
        view.operation = Operation(summary, **described)
        return view

    return note


def openapi_document(app: Flask, labels: list[str]) -> dict:
    """The OpenAPI 3.1 document of all described views of `app`.

    :param labels: the model's, which alone a parameter `classes` may have.
    """
    spec = APISpec(
        "Barevision",
        __version__,
        "3.1.0",
        info={"description": "Finds objects on pictures.", "license": {"name": "MIT", "identifier": "MIT"}},
    )
    for name, header in _HEADERS.items():
        spec.components.header(name, {**header, "schema": {"type": "string"}})
    for name in app.blueprints:
        spec.tag({"name": name})
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = app.view_functions[rule.endpoint]
        described = getattr(view, "operation", None)
        if described is not None:
            methods = sorted(rule.methods - {"HEAD", "OPTIONS"})
            operations = {method.lower(): _operation(spec, described, rule, view, method, labels) for method in methods}
            spec.path(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), operations=operations)
    return spec.to_dict()


def _operation(spec: APISpec, described: Operation, rule: Any, view: Callable, method: str, labels: list[str]) -> dict:
    found = {
        "operationId": "_".join([method.lower(), *re.findall(r"\w+", rule.rule)]),
        "summary": described.summary,
        "description": " ".join((view.__doc__ or "").split()),
        "tags": [rule.endpoint.partition(".")[0]],
        "parameters": [*_path_parameters(rule), *_query(described.query, labels), *_headers(described.headers)],
        "responses": {
            **{
                str(status): _response(spec, "The answer", content, _ALWAYS)
                for status, content in described.answers.items()
            },
            **{
                str(status): _response(spec, "What went wrong", described.error, _ERROR_HEADERS.get(status, _ALWAYS))
                for status in described.errors
            },
        },
    }
    if described.body:
        found["requestBody"] = {"required": True, "content": _content(spec, described.body)}
    return found


def _response(spec: APISpec, description: str, content: Content, headers: Iterable[str]) -> dict:
    # By name: apispec makes references of them.
    return {"description": description, "content": _content(spec, content), "headers": {name: name for name in headers}}


def _path_parameters(rule: Any) -> list[dict]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in sorted(rule.arguments)
    ]


def _headers(headers: dict[str, Schema]) -> list[dict]:
    return [{"name": name, "in": "header", "required": False, "schema": schema} for name, schema in headers.items()]


def _query(model: type[BaseModel] | None, labels: list[str]) -> list[dict]:
    if model is None:
        return []
    properties = model.model_json_schema(ref_template=_REF)["properties"]
    return [{"name": name, "in": "query", **_parameter(name, schema, labels)} for name, schema in properties.items()]


def _parameter(name: str, schema: dict, labels: list[str]) -> dict:
    described = {"description": schema.pop("description", "")}
    if name == "classes":
        several = {"type": "array", "items": {"type": "string", "enum": labels}, "minItems": 1}
        return {**described, "schema": several, "style": "form", "explode": False}
    del schema["title"]
    # Left out is how a query says null.
    kinds = [kind for kind in schema.pop("anyOf", []) if kind != {"type": "null"}]
    if schema["default"] is None:
        del schema["default"]
    return {**described, "schema": {**schema, **(kinds or [{}])[0]}}


def _content(spec: APISpec, content: Content) -> dict:
    return {kind: {"schema": _schema(spec, schema)} for kind, schema in content.items()}


def _schema(spec: APISpec, schema: Schema) -> dict:
    if isinstance(schema, dict):
        return schema
    described = TypeAdapter(schema).json_schema(ref_template=_REF)
    definitions = described.pop("$defs", {})
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        definitions[schema.__name__] = described
        described = {"$ref": _REF.format(model=schema.__name__)}
    for name, definition in definitions.items():
        if name not in spec.components.schemas:
            spec.components.schema(name, definition)
    return described
