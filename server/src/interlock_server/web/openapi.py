"""``/openapi.json``: the API described (OpenAPI 3.1), made of the table of routes and the types.

It is the same for one version of the program, so it is made once and has a strong validator.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec
from flask import Blueprint
from werkzeug.wrappers import Response

from interlock_core import wire
from interlock_core.api import Problem
from interlock_server import __version__
from interlock_server.web.bodies import JSON, answer
from interlock_server.web.problem_list import (
    ANY_CALL,
    PROBLEMS,
    WITH_BODY,
    WITH_NAME,
    WITH_PAGE,
    WITH_TOKEN,
)
from interlock_server.web.problems import PROBLEM_TYPE
from interlock_server.web.routes import ROUTES, Auth, Nothing, Route

_REFERENCE: Final = "#/components/schemas/{name}"
_PART: Final = re.compile(r"<([a-z0-9_]+)>")


def reasons_of(route: Route) -> frozenset[str]:
    """By which names a call may be refused."""
    found = {*ANY_CALL, *route.reasons}
    if route.body is not None or route.method == "POST":
        found.update(WITH_BODY)
    if route.auth is Auth.TOKEN:
        found.update(WITH_TOKEN)
    if "page" in route.query:
        found.update(WITH_PAGE)
    if {"product", "cohort", "site", "role"} & {*route.query, *route.path}:
        found.update(WITH_NAME)
    return frozenset(found)


@cache
def document() -> bytes:
    """The document, as canonical JSON."""
    types = _types()
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = dict(zip(map(_key, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for route in ROUTES:
        path = _PART.sub(r"{\1}", route.rule)
        paths[path][route.method.lower()] = _operation(route, schema_of)
    tree = {
        "openapi": "3.1.0",
        "info": {
            "title": "Interlock",
            "version": __version__,
            "description": (
                "What is sent is signed by whoever says it. Nothing that is read here is believed "
                "by a gateway. Gateways read static files, which are not described here."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "From POST /v1/tokens, for a signed challenge; 15 minutes.",
                }
            },
        },
    }
    return wire.encode(_portable(tree))


def blueprint() -> Blueprint:
    """The one call."""
    routes = Blueprint("openapi", __name__)

    @routes.get("/openapi.json")
    def get() -> Response:
        return answer(msgspec.Raw(document()))

    return routes


def _types() -> list[Any]:
    found: dict[str, Any] = {_key(Problem): Problem}
    for route in ROUTES:
        bodies = [*route.answers.values(), *([route.body] if route.body is not bytes else [])]
        for type_ in (*bodies, *route.query.values(), *route.path.values()):
            if type_ is not None:
                found.setdefault(_key(type_), type_)
    return list(found.values())


def _key(type_: Any) -> str:
    return repr(type_)


def _operation(route: Route, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "parameters": list(_parameters(route, schema_of)),
        "responses": _responses(route, schema_of),
        "security": [{"token": []}] if route.auth is Auth.TOKEN else [],
        "x-auth": route.auth.value,
    }
    if route.readers:
        operation["x-readers"] = sorted(reader.value for reader in route.readers)
    if route.method != "GET":
        made = route.body is not Nothing and "/v1/tokens" not in route.rule
        operation["x-idempotent"] = "by content" if made else "no: a new one each time"
    if route.body is bytes:
        content: dict[str, Any] = {"application/octet-stream": {"schema": {}}}
        operation["requestBody"] = {"required": True, "content": content}
    elif route.body is not None:
        content = {JSON: {"schema": schema_of[_key(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"[a-z0-9]+", route.rule.removeprefix("/v1"))
    return "_".join([route.method.lower(), *words])


def _parameters(route: Route, schema_of: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in _PART.findall(route.rule):
        schema = schema_of[_key(route.path[name])]
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    for name, type_ in route.query.items():
        yield {"name": name, "in": "query", "required": False, "schema": schema_of[_key(type_)]}
    if route.method == "GET":
        yield {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}


def _responses(route: Route, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, type_ in route.answers.items():
        found[str(status)] = {"description": HTTPStatus(status).phrase}
        if type_ is not None:
            found[str(status)]["content"] = {JSON: {"schema": schema_of[_key(type_)]}}
        if route.method == "GET":
            found[str(status)]["headers"] = {
                "ETag": {"required": True, "schema": {"type": "string", "pattern": '^"'}}
            }
    if route.method == "GET":
        found["304"] = {"description": "What If-None-Match names is still so."}
    by_status: dict[int, list[str]] = defaultdict(list)
    for reason in sorted(reasons_of(route)):
        for status in PROBLEMS[reason][0]:
            by_status[status].append(reason)
    for status, reasons in by_status.items():
        content = {PROBLEM_TYPE: {"schema": schema_of[_key(Problem)]}}
        found[str(status)] = {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(reasons)}",
            "content": content,
        }
    return found


def _portable(tree: Any) -> Any:
    r"""The tree with patterns as JSON Schema spells them: Python's ``\Z`` is ECMAScript's ``$``."""
    if isinstance(tree, dict):
        return {
            name: value.replace(r"\Z", "$")
            if name == "pattern" and isinstance(value, str)
            else _portable(value)
            for name, value in tree.items()
        }
    if isinstance(tree, list | tuple):
        return [_portable(item) for item in tree]
    return tree
