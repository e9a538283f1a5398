"""What the OpenAPI document says of a view, said beside the view.

``@operation`` notes it; `openapi_document` collects it from the application's own routes, so that nothing can be
described that isn't there. Schemas are pydantic's, of the models that check requests and tests::

    @bp.get("/healthz")
    @operation("Whether the process lives", answers={200: {"application/json": Healthy}})
    def healthz() -> dict:
        return {"status": "ok"}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from apispec import APISpec
from flask import Flask
from pydantic import BaseModel, TypeAdapter
from werkzeug.routing import Rule

from barevision import __version__
from barevision.api.errors import RETRY_HEADER, ProblemDocument
from barevision.api.record import HEADERS

View = TypeVar("View", bound=Callable)
#: A JSON schema, or a type to make one of.
Schema = Any
#: By media type.
Content = dict[str, Schema]

_REF = "#/components/schemas/{model}"


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
    :param errors: the statuses of its errors.
    :param error: what those answers contain, by media type; a problem document if not given.
    :param headers: the request headers that it reads, by name, each with its schema; none is required.
    """

    def note(view: View) -> View:
        view.operation = Operation(summary, **described)
        return view

    return note


def openapi_document(app: Flask, choices: dict[str, list[str]]) -> dict:
    """The OpenAPI 3.1 document of all described views of `app`.

    :param choices: the values that the comma-separated query parameters of these names may have.
    """
    spec = APISpec(
        "Barevision",
        __version__,
        "3.1.0",
        info={"description": "Finds objects on pictures.", "license": {"name": "MIT", "identifier": "MIT"}},
    )
    for name, header in {**HEADERS, **RETRY_HEADER}.items():
        spec.components.header(name, {**header, "schema": {"type": "string"}})
    for name in app.blueprints:
        spec.tag({"name": name})
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = app.view_functions[rule.endpoint]
        described: Operation | None = getattr(view, "operation", None)
        if described is None:
            continue
        responses = {
            str(status): _response(spec, "The answer", content, HEADERS)
            for status, content in described.answers.items()
        }
        for status in described.errors:
            with_retry = {**HEADERS, **RETRY_HEADER} if status == 503 else HEADERS
            responses[str(status)] = _response(spec, "What went wrong", described.error, with_retry)
        operations = {}
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            operations[method.lower()] = {
                "operationId": "_".join([method.lower(), *re.findall(r"\w+", rule.rule)]),
                "summary": described.summary,
                "description": " ".join((view.__doc__ or "").split()),
                "tags": [rule.endpoint.partition(".")[0]],
                "parameters": _parameters(rule, described, choices),
                "responses": responses,
            }
            if described.body:
                content = _content(spec, described.body)
                operations[method.lower()]["requestBody"] = {"required": True, "content": content}
        spec.path(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), operations=operations)
    return spec.to_dict()


def text_schemas(model: type[BaseModel]) -> dict[str, Schema]:
    """The fields of `model` by name, for a query or a form, where null is said by leaving a field out."""
    schemas = model.model_json_schema(ref_template=_REF)["properties"]
    for schema in schemas.values():
        del schema["title"]
        if schema["default"] is None:
            del schema["default"]
        (schema_of_text, *_) = [one for one in schema.pop("anyOf", [{}]) if one != {"type": "null"}]
        schema.update(schema_of_text)
    return schemas


def _response(spec: APISpec, description: str, content: Content, headers: Iterable[str]) -> dict:
    # apispec makes references of the headers' names.
    return {"description": description, "content": _content(spec, content), "headers": {name: name for name in headers}}


def _parameters(rule: Rule, described: Operation, choices: dict[str, list[str]]) -> list[dict]:
    """The parameters in the path, the query and the headers, in OpenAPI's words."""
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in sorted(rule.arguments)
    ]
    for name, schema in text_schemas(described.query).items() if described.query else ():
        parameter = {"name": name, "in": "query", "description": schema.pop("description", "")}
        if name in choices:
            several = {"type": "array", "items": {"type": "string", "enum": choices[name]}, "minItems": 1}
            parameters.append({**parameter, "schema": several, "style": "form", "explode": False})
        else:
            parameters.append({**parameter, "schema": schema})
    for name, schema in described.headers.items():
        parameters.append({"name": name, "in": "header", "required": False, "schema": schema})
    return parameters


def _content(spec: APISpec, content: Content) -> dict:
    """`content` with the schemas of its types, which are added to the document's components."""
    schemas = {}
    for media_type, schema in content.items():
        if not isinstance(schema, dict):
            model, schema = schema, TypeAdapter(schema).json_schema(ref_template=_REF)
            definitions = schema.pop("$defs", {})
            if isinstance(model, type) and issubclass(model, BaseModel):
                definitions[model.__name__] = schema
                schema = {"$ref": _REF.format(model=model.__name__)}
            for name, definition in definitions.items():
                if name not in spec.components.schemas:
                    spec.components.schema(name, definition)
        schemas[media_type] = {"schema": schema}
    return schemas
