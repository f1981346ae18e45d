"""The API's edges over real HTTP: media types, sizes, methods, and errors that say what to do."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest
import urllib3

from interlock_core.api import MAX_BODY
from interlock_core.statement import MAX_ENVELOPE
from tests.server.conftest import Site
from tests.server.world import Bench

POSTS = (
    "/v1/publications",
    "/v1/statements",
    "/v1/challenges",
    "/v1/tokens",
    "/v1/enrolments",
    "/v1/reports",
)


LIMITS = [
    ("/v1/publications", MAX_BODY),
    ("/v1/statements", MAX_ENVELOPE),
    ("/v1/challenges", 1024),
    ("/v1/tokens", MAX_ENVELOPE),
    ("/v1/enrolments", MAX_ENVELOPE + 1024),
    ("/v1/reports", MAX_ENVELOPE),
]


def post(
    site: Site, path: str, body: bytes, content_type: str | None = "application/json"
) -> urllib3.BaseHTTPResponse:
    headers = {"Content-Type": content_type} if content_type else {}
    return site.http.request("POST", f"{site.url}{path}", body=body, headers=headers)


def problem(answer: urllib3.BaseHTTPResponse, status: int, reason: str) -> None:
    assert answer.status == status, answer.data
    assert answer.headers["Content-Type"] == "application/problem+json"
    said = answer.json()
    assert set(said) == {"type", "title", "status", "detail", "reason"}
    assert (said["status"], said["reason"]) == (status, reason)
    assert said["type"] == f"urn:interlock:problem:{reason}"
    assert said["detail"]


@pytest.mark.parametrize("path", POSTS)
def test_only_json_is_read(site: Site, path: str) -> None:
    for kind in (None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        problem(post(site, path, b"{}", kind), 415, "unsupported_media_type")
    problem(post(site, path, b"{", "application/json; charset=utf-8"), 400, "malformed")


@pytest.mark.parametrize(("path", "limit"), LIMITS)
def test_a_body_that_is_too_long_is_refused_before_it_is_read(
    site: Site, path: str, limit: int
) -> None:
    target = urlsplit(site.url)
    connection = http.client.HTTPConnection(target.hostname or "", target.port or 0, timeout=30)
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(limit + 1))
    connection.endheaders()
    # Not one byte of the body was sent.
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["reason"]) == (413, "too_large")
    connection.close()


@pytest.mark.parametrize(("path", "limit"), LIMITS)
def test_a_body_of_unknown_length_is_bounded_too(site: Site, path: str, limit: int) -> None:
    target = urlsplit(site.url)
    connection = http.client.HTTPConnection(target.hostname or "", target.port or 0, timeout=60)
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    left = limit
    while left:
        piece = min(left, 65_536)
        connection.send(b"%x\r\n%b\r\n" % (piece, b" " * piece))
        left -= piece
    # One byte too many, together with the end: nothing stays unread that would reset the answer.
    connection.send(b"1\r\n \r\n0\r\n\r\n")
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["reason"]) == (413, "too_large")
    connection.close()


def test_an_upload_must_announce_its_length(site: Site) -> None:
    answer = site.http.request(
        "PUT",
        f"{site.url}/v1/publications/{'0' * 64}/targets/{'0' * 64}",
        body=(piece for piece in (b"x",)),
        chunked=True,
    )
    problem(answer, 411, "length_required")


def test_unknown_routes_and_methods_are_problems(site: Site) -> None:
    for path in ("/", "/v1", "/v1/", "/v1/nothing", "/favicon.ico", "/v1//info", "/openapi"):
        problem(site.get(path), 404, "not_found")
    wrong = site.get("/v1/statements")
    problem(wrong, 405, "method_not_allowed")
    assert "POST" in wrong.headers["Allow"]
    problem(site.get("/v1/info", method="DELETE"), 405, "method_not_allowed")


def test_info_says_what_is_served(site: Site) -> None:
    answer = site.get("/v1/info")
    assert answer.json() == {
        "fleet": "north",
        "cohorts": ["canary", "st-anna", "st-bert"],
        "products": ["gateway"],
        "version": "0.1.0",
    }
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_bug_shows_nothing_to_the_caller_and_all_to_the_log(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: bytes) -> None:
        raise ValueError("the secret inside")

    monkeypatch.setattr(bench.services.statements, "post", broken)
    answer = bench.post("/v1/statements", {})
    assert (answer.status_code, answer.json["reason"]) == (500, "internal")
    assert "secret" not in answer.text
    assert "the secret inside" in caplog.text


def test_a_database_that_fails_is_a_fault_that_may_pass(bench: Bench) -> None:
    file = bench.settings.database_file
    assert file is not None
    bench.back.database.close()
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()
    file.write_bytes(b"this is not a database, though it is long enough" * 40)
    answer = bench.client.get("/v1/info")
    assert (answer.status_code, answer.json["reason"]) == (503, "database")
