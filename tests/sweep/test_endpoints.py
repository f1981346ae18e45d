"""Every endpoint with everything bad that may come in: a 4xx problem document and never a 5xx,
nothing stored, and the next good request is taken.

The endpoints are found in the application's URL map: one that has no entry in ``endpoints.py``
fails ``test_every_endpoint_has_an_entry``, and is named by it. What the read path, which stands
before the URL map, and the health listener do is in ``test_listeners.py``. Hypothesis sends
whatever it thinks of in ``tests/server/test_fuzz.py``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest

from interlock_core import wire
from interlock_server.app import create_app
from interlock_server.sessions import TOKEN_LIFETIME
from tests.server.world import V2, Bench, sha256
from tests.support.papers import countersign
from tests.sweep.endpoints import (
    ASKS,
    ENDPOINTS,
    METHODS,
    PARTS,
    QUERIES,
    STATEMENTS,
    TOKENS,
    WIDE,
    Held,
    Request,
    address,
    ask,
    broken,
    encoded,
    good,
    unsent,
    variants,
)

BODIES = sorted(name for name, endpoint in ENDPOINTS.items() if endpoint.body is not None)
ADDRESSES = sorted(name for name in ENDPOINTS if "<" in name)
READERS = sorted(name for name, endpoint in ENDPOINTS.items() if endpoint.query)


@pytest.fixture(scope="module")
def held(bench: Bench) -> Held:
    return Held(bench)


def problem_of(answer: Any) -> str | None:
    """What is wrong with an answer that must be a problem document."""
    if not 400 <= answer.status_code < 500:
        return f"{answer.status_code}: {answer.text[:200]}"
    if answer.content_type != "application/problem+json":
        return f"{answer.status_code} as {answer.content_type}"
    said = json.loads(answer.data)
    expected = {
        "status": answer.status_code,
        "title": HTTPStatus(answer.status_code).phrase,
        "type": f"urn:interlock:problem:{said.get('reason')}",
    }
    if said.keys() != {*expected, "detail", "reason"} or not said["detail"]:
        return f"the fields are {said}"
    if any(said[name] != value for name, value in expected.items()):
        return f"it says {said}"
    return None if said["detail"].isprintable() else f"it is not printable: {said['detail']!r}"


def sweep(bench: Bench, held: Held, requests: Iterable[Request]) -> None:
    """Make every request, and see that each is refused and none leaves anything behind."""
    before = held.now()
    wrong, made = [], 0
    for request in requests:
        made += 1
        fault = problem_of(ask(bench, request))
        if fault is not None:
            wrong.append(f"{request.method} {request.path[:80]!r}, {request.name}: {fault}")
    assert made, "nothing was swept"
    assert not wrong, "\n".join(wrong[:20])
    assert held.now() == before


def taken(bench: Bench, name: str, token: Mapping[str, str]) -> None:
    answer = ask(bench, good(bench, name, token))
    assert answer.status_code in {200, 201, 204}, answer.text


@pytest.fixture(scope="module")
def token(bench: Bench) -> dict[str, str]:
    return bench.token()


def test_every_endpoint_has_an_entry(bench: Bench) -> None:
    rules = create_app(bench.services).url_map.iter_rules()
    found = {
        f"{method} {rule.rule}"
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    missing = found - ENDPOINTS.keys()
    assert not missing, f"add {sorted(missing)} to the sweep's endpoints"
    assert not ENDPOINTS.keys() - found, "an entry's endpoint is gone"


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_other_methods(bench: Bench, held: Held, token: dict[str, str], name: str) -> None:
    right = good(bench, name, token)
    known = {key.partition(" ")[0] for key in ENDPOINTS if key.endswith(name.partition(" ")[2])}
    sweep(
        bench,
        held,
        (replace(right, name="method", method=word) for word in METHODS if word not in known),
    )
    taken(bench, name, token)


@pytest.mark.parametrize("name", BODIES)
def test_bad_bodies(bench: Bench, held: Held, name: str) -> None:
    right = unsent(bench, name)
    tree = json.loads(right.data)
    texts = {**broken(right.data), **{what: encoded(bad) for what, bad in variants(tree)}}
    sweep(bench, held, (replace(right, name=what, data=text) for what, text in texts.items()))
    taken(bench, name, {})


@pytest.mark.parametrize("name", sorted(set(BODIES) - {"POST /v1/challenges", "POST /v1/tokens"}))
def test_the_same_again_is_answered_alike(bench: Bench, held: Held, name: str) -> None:
    """What is sent is known by its content, so nobody needs a key for idempotency."""
    once = ask(bench, good(bench, name, {}))
    before = held.now()
    again = ask(bench, good(bench, name, {}))
    assert (again.status_code, again.data) == (once.status_code, once.data)
    assert once.status_code in {200, 201}
    assert held.now() == before


@pytest.mark.parametrize("name", BODIES)
def test_bad_lengths_and_types(bench: Bench, held: Held, name: str) -> None:
    right, limit = unsent(bench, name), ENDPOINTS[name].limit
    data = right.data
    announced = {
        "a length that is longer": str(len(data) + 100),
        "a length that is shorter": str(len(data) - 1),
        "no length": "",
        "a negative length": "-1",
        "a length that is no number": "many",
        "a length in other digits": WIDE * 2,
        "a huge length": "9" * 30,
        "a length with a sign": f"+{limit + 1}",
    }
    types = (
        "",
        "text/plain",
        "application/jsonx",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json\\",
        "*/*",
        "\xff",
        "x" * 5000,
    )

    def requests() -> Iterator[Request]:
        for what, length in announced.items():
            yield replace(right, name=what, environ={"CONTENT_LENGTH": length})
        for kind in types:
            yield replace(right, name=f"as {kind[:40]!r}", headers={"Content-Type": kind})
        yield replace(right, name="as nothing", headers={})
        padded = data + b" " * (limit + 1 - len(data))
        yield replace(right, name="too long", data=padded)
        yield replace(right, name="too long, in chunks", data=padded, chunked=True)
        yield replace(right, name="nothing, in chunks", data=b"", chunked=True)
        yield replace(right, name="a half, in chunks", data=data[: len(data) // 2], chunked=True)

    sweep(bench, held, requests())
    taken(bench, name, {})


@pytest.mark.parametrize("kind", sorted(STATEMENTS))
def test_every_field_of_every_statement(bench: Bench, held: Held, kind: str) -> None:
    """Inside the envelope: nothing that its author did not sign so, whatever its form."""
    envelope = json.loads(wire.encode(STATEMENTS[kind].envelope))
    payload = json.loads(base64.b64decode(envelope["payload"]))
    few: tuple[Any, ...] = (None, True, -1, 2**60, 1.5, "", "\0", "../x", [], {})

    def requests() -> Iterator[Request]:
        for what, bad in variants(payload, few):
            inside = base64.b64encode(encoded(bad)).decode()
            data = encoded(envelope | {"payload": inside})
            yield Request(what, "POST", b"/v1/statements", data)
        for what, text in broken(encoded(payload)).items():
            inside = base64.b64encode(text).decode()
            yield Request(what, "POST", b"/v1/statements", encoded(envelope | {"payload": inside}))

    sweep(bench, held, requests())


@pytest.mark.parametrize("name", ADDRESSES)
def test_bad_addresses(bench: Bench, held: Held, token: dict[str, str], name: str) -> None:
    right = good(bench, name, token)
    sweep(
        bench,
        held,
        (
            replace(right, name=f"{part} is {bad[:40]!r}", path=address(bench, name, **{part: bad}))
            for part in ENDPOINTS[name].path(bench)
            for bad in PARTS
        ),
    )
    taken(bench, name, token)


@pytest.mark.parametrize("name", READERS)
def test_bad_questions(bench: Bench, held: Held, token: dict[str, str], name: str) -> None:
    """A question may have an empty answer; it is never a fault."""
    before, wrong = held.now(), []
    for parameter in (*ENDPOINTS[name].query, "nobody-asked"):
        for bad in QUERIES:
            query = parameter.encode() + b"=" + bad
            answer = ask(bench, replace(good(bench, name, token), query=query))
            fault = None if answer.status_code == 200 else problem_of(answer)
            if fault is not None:
                wrong.append(f"{query!r}: {fault}")
    assert not wrong, "\n".join(wrong)
    assert held.now() == before


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_bad_tokens(bench: Bench, held: Held, token: dict[str, str], name: str) -> None:
    mine = token["Authorization"]
    text, _, signature = mine.rpartition(".")
    others = (
        text,
        f"{text}.{signature[::-1]}",
        f"{mine}x",
        mine.replace("Bearer ", "Bearer ey"),
        f"{mine},{mine}",
        "Bearer " + bench.post("/v1/challenges", {}).json["challenge"],
    )
    right = good(bench, name, {})
    bad = [replace(right, headers=dict(right.headers) | {"Authorization": word})
           for word in (*TOKENS, *others)]  # fmt: skip
    if not ENDPOINTS[name].token:
        # Nobody looks at it.
        headers = {"Authorization": "Bearer x"}
        assert ask(bench, good(bench, name, headers)).status_code in {200, 201, 204}
        return
    assert all(ask(bench, one).status_code == 401 for one in (right, *bad))
    sweep(bench, held, (right, *bad))
    then = bench.clock.now
    bench.clock.now += TOKEN_LIFETIME + timedelta(seconds=1)
    try:
        assert ask(bench, good(bench, name, token)).json["reason"] == "bad_token"
    finally:
        bench.clock.now = then
    taken(bench, name, token)


def test_a_target_that_is_not_whole_is_not_stored(bench: Bench, held: Held) -> None:
    name = "PUT /v1/publications/<id_>/targets/<sha256>"
    data = V2.sbom
    path = address(bench, name, sha256=sha256(data).encode())
    right = replace(good(bench, name, {}), path=path, data=data)
    lengths = ("", "-1", "many", WIDE, "9" * 30, str(len(data) + 1), str(len(data) - 1))
    sweep(
        bench,
        held,
        (
            replace(right, name="nothing", data=b""),
            replace(right, name="a half", data=data[: len(data) // 2]),
            replace(right, name="one byte more", data=data + b"x"),
            replace(right, name="other bytes", data=data[::-1]),
            replace(right, name="no length", chunked=True),
            *(
                replace(right, name=f"the length {length!r}", environ={"CONTENT_LENGTH": length})
                for length in lengths
            ),
        ),
    )
    taken(bench, name, {})


def test_the_sweep_would_see_what_is_stored(bench: Bench, held: Held) -> None:
    before = held.now()
    assert bench.say(countersign(ASKS)).status_code == 201
    assert held.now() != before
