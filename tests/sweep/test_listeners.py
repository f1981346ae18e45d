"""What stands before the URL map and beside it, with everything bad that may come in: the read
path and the health listener.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from werkzeug.test import Client

from interlock_server.web.health import health_app
from tests.server.world import V1, Bench, sha256
from tests.sweep.endpoints import METHODS, PARTS, Held, Request, ask
from tests.sweep.test_endpoints import problem_of

READ: Final = {
    "a head": "image/metadata/timestamp.json",
    "a root": "image/metadata/1.root.json",
    "a bundle": "poll/canary",
    "a director's head": "director/canary/metadata/timestamp.json",
    "a target": f"image/targets/gateway/1.0.0/{sha256(V1.content)}.image.img",
}
RANGES: Final = (
    "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-1", "bytes=0", "items=0-1", "bytes=--1",
    "bytes=-0", "bytes=" + "9" * 40 + "-", "bytes=0-" + "9" * 40, "bytes=0-0,1-1,2-2", "bytes=\xff",
    "bytes=" + ",".join(["0-0"] * 1000), "bytes=0x0-0x1", "bytes=+0-1",
)  # fmt: skip
TAGS: Final = ("", "*", '"', '"x', "x", 'W/"x"', '"x",' * 1000, "\xff", '"' + "x" * 6000 + '"')
CODINGS: Final = ("", "gzip;q=x", "gzip;q=-1", "gzip;q=9e9", "*;q=0", "gzip," * 1000, "\xff", ";")
HEADERS: Final = {
    "Range": RANGES,
    "If-Range": TAGS,
    "If-None-Match": TAGS,
    "If-Match": TAGS,
    "If-Modified-Since": ("", "yesterday", "9" * 40, "Mon, 99 Xxx 9999 99:99:99 GMT", "\xff"),
    "Accept-Encoding": CODINGS,
    "Content-Length": ("-1", "many", "9" * 30),
    "Host": ("", "x" * 3000, "a b", "\xff", "[::1", "evil.example:99999"),
}
NAMES: Final = (
    b"", b".", b"metadata", b"metadata/", b"metadata/timestamp.json/", b"metadata//timestamp.json",
    b"metadata/./timestamp.json", b"metadata/../metadata/timestamp.json", b"metadata/.hidden",
    b"metadata/0.root.json", b"metadata/01.root.json", b"metadata/1.ROOT.json",
    b"metadata/" + b"9" * 30 + b".root.json", b"targets/../../../server.sqlite3",
    b"targets/gateway/1.0.0/", b"canary/metadata/timestamp.json\n",
)  # fmt: skip


@pytest.fixture(scope="module")
def held(bench: Bench) -> Held:
    return Held(bench)


def at(bench: Bench, key: str) -> Path:
    return bench.settings.store_directory / key


def test_no_other_method_reads(bench: Bench, held: Held) -> None:
    before = held.now()
    for key in READ.values():
        for method in {*METHODS, "OPTIONS"} - {"GET"}:
            answer = ask(bench, Request(method, method, f"/{key}".encode()))
            assert (answer.status_code, problem_of(answer)) == (405, None), (method, key)
    assert held.now() == before


def test_nothing_lies_at_an_address_that_is_none(bench: Bench, held: Held) -> None:
    before = held.now()
    for prefix in (b"/image/", b"/director/", b"/director/canary/", b"/poll/"):
        for part in (*PARTS, *NAMES):
            answer = ask(bench, Request("address", "GET", prefix + part))
            assert (answer.status_code, problem_of(answer)) == (404, None), prefix + part
    assert held.now() == before


@pytest.mark.parametrize("what", READ)
def test_headers_that_nobody_understands(bench: Bench, what: str) -> None:
    key = READ[what]
    whole = at(bench, key).read_bytes()
    for name, values in HEADERS.items():
        for value in values:
            answer = ask(bench, Request(name, "GET", f"/{key}".encode(), headers={name: value}))
            with closing(answer):
                fault = _unlike(answer, whole)
            assert fault is None, (name, value[:60], fault)


def _unlike(answer: Any, whole: bytes) -> str | None:
    """What is wrong with an answer to a question for an object whose bytes are ``whole``."""
    if answer.status_code in {412, 416}:
        return problem_of(answer)
    if answer.status_code == 304:
        return None
    packed = answer.headers.get("Content-Encoding") == "gzip"
    data = gzip.decompress(answer.data) if packed else answer.data
    right = data in whole if answer.status_code == 206 else data == whole
    return None if right and answer.status_code in {200, 206} else f"{answer.status_code}"


HEALTH: Final = ("/healthz", "/readyz", "/metrics")


def test_the_health_listener_answers_nothing_else(bench: Bench, held: Held) -> None:
    before, client = held.now(), Client(health_app(bench.back))
    for path in HEALTH:
        assert client.get(path).status_code == 200
        for method in {*METHODS, "OPTIONS"} - {"GET"}:
            assert client.open(path, method=method, data=b"x" * 9000).status_code == 405
        for name, values in HEADERS.items():
            for value in values:
                assert _get(client, path, {name: value}).status_code == 200, (name, value)
    for part in (*PARTS, *NAMES, *(f"{path}/..".encode() for path in HEALTH)):
        overrides = {"PATH_INFO": b"/".decode() + part.decode("latin-1")}
        answer: Any = client.get("/", environ_overrides=overrides)
        assert answer.status_code == 404, part
        assert b"/healthz" in answer.data
    assert held.now() == before


def _get(client: Client, path: str, headers: Mapping[str, str]) -> Any:
    return client.get(path, headers=dict(headers))
