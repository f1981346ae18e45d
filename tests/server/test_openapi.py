"""The API is what its table says: every endpoint, every type, every problem, its document."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from interlock_core.errors import (
    ConflictError,
    InterlockError,
    NotFoundError,
    RefusedError,
    TransientError,
    WireError,
)
from interlock_server.app import create_app
from interlock_server.web.openapi import document, reasons_of
from interlock_server.web.problem_list import PROBLEMS, TYPE_PREFIX
from interlock_server.web.problems import of_error
from interlock_server.web.routes import BY_NAME, ROUTES, Auth, Nothing
from tests.packaging.tree import TOP
from tests.server.world import Bench, sha256

FAMILIES: dict[str, type[InterlockError]] = {
    type_.__name__: type_
    for type_ in (WireError, NotFoundError, ConflictError, RefusedError, TransientError)
}


def test_the_table_is_what_the_application_answers(bench: Bench) -> None:
    found = {
        f"{method} {rule.rule}"
        for rule in create_app(bench.services).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert found == set(BY_NAME)
    assert len(BY_NAME) == len(ROUTES)


def test_an_endpoint_that_nobody_declared_is_closed(bench: Bench) -> None:
    app = create_app(bench.services)
    app.add_url_rule("/v1/forgotten", "forgotten", lambda: "open")
    answer: Any = app.test_client().get("/v1/forgotten")
    assert (answer.status_code, answer.json["reason"]) == (403, "not_declared")


def test_every_parameter_of_an_address_is_typed() -> None:
    for route in ROUTES:
        assert set(re.findall(r"<(\w+)>", route.rule)) == set(route.path), route.name
        assert (route.auth is Auth.TOKEN) == bool(route.readers), route.name


def test_the_document_describes_every_call(bench: Bench) -> None:
    answer = bench.client.get("/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    said = answer.json
    assert said["openapi"] == "3.1.0"
    operations = {
        f"{method.upper()} {path.replace('{', '<').replace('}', '>')}": operation
        for path, those in said["paths"].items()
        for method, operation in those.items()
    }
    assert operations.keys() == BY_NAME.keys()
    assert len({one["operationId"] for one in operations.values()}) == len(operations)
    for name, operation in operations.items():
        assert (operation["security"] == [{"token": []}]) == (BY_NAME[name].auth is Auth.TOKEN)
    # What is referred to is there, and no pattern is spelt as only Python reads it.
    text = answer.text
    names = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert names <= said["components"]["schemas"].keys()
    assert names >= {"Problem", "Rollout", "Envelope", "Publication"}
    assert "\\\\Z" not in text


def test_the_document_has_a_validator_and_never_changes(bench: Bench) -> None:
    first = bench.client.get("/openapi.json")
    assert first.headers["ETag"] == f'"{sha256(document())}"'
    again = bench.client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_whatever_is_read_has_a_strong_validator(bench: Bench) -> None:
    token = bench.token()
    for path in ("/v1/rollouts", "/v1/cohorts", "/v1/info"):
        first = bench.client.get(path, headers=token)
        tag = first.headers["ETag"]
        assert tag == f'"{sha256(first.data)}"'
        held = bench.client.get(path, headers={**token, "If-None-Match": tag})
        assert (held.status_code, held.data, held.headers["ETag"]) == (304, b"", tag)
        other = bench.client.get(path, headers={**token, "If-None-Match": '"x"'})
        assert (other.status_code, other.data) == (200, first.data)


def test_a_validator_opens_nothing(bench: Bench) -> None:
    assert bench.client.get("/v1/rollouts", headers={"If-None-Match": "*"}).status_code == 401


def raised() -> dict[str, set[tuple[str, Path]]]:
    """What the server's own modules raise by name, that the web turns into a problem."""
    found: dict[str, set[tuple[str, Path]]] = {}
    for path in sorted((TOP / "server/src").rglob("*.py")):
        if "cli" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(getattr(node, "func", None), "id", None)
            if not isinstance(node, ast.Call) or name not in FAMILIES:
                continue
            for word in node.keywords:
                if word.arg == "reason" and isinstance(word.value, ast.Constant):
                    found.setdefault(str(word.value.value), set()).add((name, path))
    return found


NO_ANSWER = {"address_in_use", "later_ceremony"}
"""What commands say and no call does."""


def test_every_problem_is_listed_with_its_status() -> None:
    found = raised()
    assert len(found) > 60
    for reason, places in found.items():
        if reason in NO_ANSWER:
            continue
        assert reason in PROBLEMS, f"{reason} ({places}) is in no list of problems"
        for family, path in places:
            status = of_error(FAMILIES[family]("x", reason=reason)).status_code
            assert status in PROBLEMS[reason][0], f"{reason}: {status} in {path}"


def test_every_problem_is_documented() -> None:
    text = (TOP / "docs" / "problems.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (.*) \|$", text, re.MULTILINE))
    said = {
        reason: f"{', '.join(map(str, statuses))} | {meaning}"
        for reason, (statuses, meaning) in PROBLEMS.items()
    }
    assert rows == said
    assert TYPE_PREFIX in text


def test_every_call_names_problems_that_exist() -> None:
    used = frozenset[str]().union(*(reasons_of(route) for route in ROUTES))
    assert used <= PROBLEMS.keys()


SENT = [route for route in ROUTES if route.method != "GET" and route.body is not Nothing]


def test_what_is_sent_is_known_by_its_content() -> None:
    said = json.loads(document())["paths"]
    for route in SENT:
        path = re.sub(r"<(.*?)>", r"{\1}", route.rule)
        expected = "no: a new one each time" if route.rule == "/v1/tokens" else "by content"
        assert said[path][route.method.lower()]["x-idempotent"] == expected


@pytest.mark.parametrize("path", ["/v1/rollouts", "/v1/devices", "/v1/claims", "/v1/sites"])
def test_pages_begin_at_one(bench: Bench, path: str) -> None:
    answer = bench.client.get(f"{path}?page=0", headers=bench.token())
    assert (answer.status_code, answer.json["type"]) == (400, f"{TYPE_PREFIX}bad_page")


@pytest.mark.parametrize("query", ["stat=waiting", "state=waiting&state=revoked", "page=1&x"])
def test_a_mistyped_question_is_not_answered(bench: Bench, query: str) -> None:
    answer = bench.client.get(f"/v1/devices?{query}", headers=bench.token())
    assert (answer.status_code, answer.json["reason"]) == (400, "bad_parameter")
    # Nor is anybody told who may not ask.
    assert bench.client.get(f"/v1/devices?{query}").status_code == 401
