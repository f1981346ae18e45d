"""Calling the API, against a real server on loopback: bodies, limits, and the map of errors."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from interlock_core.api import MAX_ANSWER, Accepted, Challenge, Problem
from interlock_core.errors import (
    ConfigurationError,
    ConflictError,
    InterlockError,
    NotFoundError,
    RefusedError,
    TransientError,
    WireError,
)
from interlock_core.http import Api, make_pool
from interlock_core.wire import encode

ACCEPTED = Accepted(id=64 * "a", type="urn:interlock:stop:v1")


class Recorder(BaseHTTPRequestHandler):
    """Answers as the test says, and keeps what it was sent."""

    protocol_version = "HTTP/1.1"
    status: ClassVar[int]
    headers_sent: ClassVar[dict[str, str]]
    answer: ClassVar[bytes]
    seen: ClassVar[list[tuple[str, str, dict[str, str], bytes]]]

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.command, self.path, dict(self.headers), body))
        self.send_response(self.status)
        for name, value in ({"Content-Length": str(len(self.answer))} | self.headers_sent).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.answer)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815  the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(
    status: int = 200, answer: bytes = encode(ACCEPTED), **headers: str
) -> Iterator[tuple[Api, list[tuple[str, str, dict[str, str], bytes]]]]:
    seen: list[tuple[str, str, dict[str, str], bytes]] = []
    fields = {"status": status, "answer": answer, "headers_sent": headers, "seen": seen}
    answering = type("Answer", (Recorder,), fields)
    with ThreadingHTTPServer(("127.0.0.1", 0), answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        api = Api(f"http://127.0.0.1:{server.server_port}/")
        try:
            yield api, seen
        finally:
            api._pool.clear()
            server.shutdown()
            thread.join()


def problem(status: int, reason: str = "because") -> bytes:
    return encode(
        Problem(type="about:blank", title="No", status=status, detail="Do this.", reason=reason)
    )


def test_an_answer_is_decoded() -> None:
    with serving() as (api, seen):
        assert api.get("/v1/x?page=2", Accepted, token="t0ken") == ACCEPTED
    [(method, path, headers, _)] = seen
    assert (method, path, headers["Authorization"]) == ("GET", "/v1/x?page=2", "Bearer t0ken")


def test_a_chunk_of_negative_length_ends_the_answer() -> None:
    """More in ``test_answers``."""
    with (
        serving(200, b"-ff\r\naaa", **{"Transfer-Encoding": "chunked"}) as (api, _),
        pytest.raises(TransientError),
    ):
        api.get("/v1/x", Accepted)


def test_a_body_is_posted_as_canonical_json() -> None:
    with serving(201) as (api, seen):
        assert api.post("/v1/statements", {"b": 1, "a": "ä"}, Accepted) == ACCEPTED
    [(method, _, headers, body)] = seen
    assert (method, headers["Content-Type"]) == ("POST", "application/json")
    assert body == '{"a":"ä","b":1}'.encode()
    assert "Authorization" not in headers


@pytest.mark.parametrize("length", [0, 1, 100_000])
def test_exactly_the_announced_bytes_are_put(length: int) -> None:
    file = io.BytesIO(b"before" + b"x" * length + b"after")
    file.seek(6)
    with serving(200, b"") as (api, seen):
        api.put("/v1/bytes", file, length)
        # What came after them did not spoil the connection.
        api.put("/v1/bytes", io.BytesIO(b"more"), 4)
    assert [body for *_, body in seen] == [b"x" * length, b"more"]
    assert file.read() == b"after"


@pytest.mark.parametrize(
    ("status", "family"),
    [
        (400, RefusedError),
        (401, RefusedError),
        (403, RefusedError),
        (404, NotFoundError),
        (409, ConflictError),
        (410, NotFoundError),
        (413, RefusedError),
        (422, RefusedError),
        (429, TransientError),
        (500, TransientError),
        (502, TransientError),
        (503, TransientError),
        (504, TransientError),
        (507, TransientError),
    ],
)
def test_a_problem_is_an_error_of_its_family(status: int, family: type[InterlockError]) -> None:
    with serving(status, problem(status, "unknown_role")) as (api, _):
        with pytest.raises(family, match=r"^Do this\.$") as caught:
            api.get("/v1/x", Accepted)
        assert caught.value.reason == "unknown_role"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>Bad gateway</html>",
        b"\xff",
        b"{}",
        b'{"type":"about:blank","title":"No","status":403,"detail":"Do this."}',
    ],
)
def test_an_error_that_is_no_problem_document_is_transient(answer: bytes) -> None:
    with (
        serving(403, answer) as (api, _),
        pytest.raises(TransientError, match="answered 403 without saying why"),
    ):
        api.get("/v1/x", Accepted)


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b'{"id":"x"}', b"\xff", encode(ACCEPTED)[:-1] + b',"more":1}']
)
def test_an_answer_of_another_form_is_refused(answer: bytes) -> None:
    with serving(200, answer) as (api, _), pytest.raises(WireError, match="answer"):
        api.post("/v1/x", {}, Accepted)


def test_an_endless_answer_is_read_up_to_the_limit() -> None:
    with (
        serving(200, b" " * (MAX_ANSWER + 2)) as (api, _),
        pytest.raises(WireError, match=f"at most {MAX_ANSWER} are read"),
    ):
        api.get("/v1/x", Accepted)


def test_a_redirect_is_not_followed() -> None:
    with serving() as (elsewhere, seen):
        location = {"Location": f"{elsewhere.url}/v1/x"}
        with serving(302, b"", **location) as (api, _), pytest.raises(TransientError):
            api.get("/v1/x", Accepted)
    assert seen == []


def test_an_answer_that_is_cut_off_is_transient() -> None:
    cut = {"Content-Length": "500", "Connection": "close"}
    with serving(200, b"{}", **cut) as (api, _), pytest.raises(TransientError):
        api.get("/v1/x", Accepted)


def test_a_server_that_is_not_there_is_transient() -> None:
    with serving() as (api, _):
        pass
    with pytest.raises(TransientError, match="check the address and the network"):
        api.get("/v1/challenges", Challenge)


@pytest.mark.parametrize("proxy", ["http://[", "ftp://proxy.example.org:21", "proxy"])
def test_a_proxy_that_is_none_is_a_setting_to_mend(proxy: str) -> None:
    with pytest.raises(ConfigurationError, match="is no proxy URL"):
        make_pool(proxy=proxy)


def test_plain_http_beyond_loopback_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="use https"):
        Api("http://updates.example.org")


def test_what_has_not_changed_is_not_sent_again() -> None:
    with serving(ETag='"one"') as (api, seen):
        assert api.get_if_changed("/v1/x", Accepted) == (ACCEPTED, '"one"')
        assert "If-None-Match" not in seen[0][2]
    with serving(304, b"") as (api, seen):
        assert api.get_if_changed("/v1/x", Accepted, etag='"one"') is None
        assert seen[0][2]["If-None-Match"] == '"one"'
        with pytest.raises(TransientError, match="304"):
            api.get("/v1/x", Accepted)
    with serving() as (api, _):
        assert api.get_if_changed("/v1/x", Accepted, etag='"one"') == (ACCEPTED, None)


def answering_in_turn(*codes: int, after: str = "3") -> Any:
    """A class whose answers take turns; the last one stays."""

    class Turns(Recorder):
        turn: ClassVar[list[int]] = list(codes)

        def _serve(self) -> None:
            type(self).status = self.turn.pop(0) if len(self.turn) > 1 else self.turn[0]
            type(self).headers_sent = {"Retry-After": after} if self.status >= 400 else {}
            type(self).answer = encode(ACCEPTED) if self.status < 400 else problem(self.status)
            super()._serve()

        do_GET = do_POST = do_PUT = _serve  # noqa: N815  the names that http.server calls

    return Turns


@pytest.mark.parametrize(
    ("codes", "after", "slept", "fails"),
    [
        ((429, 201), "3", [3], False),
        ((429, 429, 201), "3", [3, 3], False),
        ((429,), "3", [3, 3], True),
        ((429, 201), "61", [], True),
        ((429, 201), "soon", [], True),
        ((503, 201), "3", [], True),
    ],
)
def test_whoever_has_no_room_is_asked_again_when_it_says(
    codes: tuple[int, ...], after: str, slept: list[int], fails: bool
) -> None:
    waited: list[float] = []
    with serving() as (_, seen):
        answering = answering_in_turn(*codes, after=after)
        answering.seen = seen
        with ThreadingHTTPServer(("127.0.0.1", 0), answering) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            api = Api(f"http://127.0.0.1:{server.server_port}", sleep=waited.append)
            try:
                if fails:
                    with pytest.raises(TransientError):
                        api.post("/x", {}, Accepted)
                else:
                    assert api.post("/x", {}, Accepted) == ACCEPTED
            finally:
                api._pool.clear()
                server.shutdown()
                thread.join()
    assert waited == slept
    assert len(seen) == len(slept) + 1
