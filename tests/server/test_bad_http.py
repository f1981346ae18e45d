"""Bytes that are no HTTP request, or two, over real sockets: an answer or a closed connection, and
the next one is served. (What is HTTP and still bad is in ``tests/sweep``.)
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.server.conftest import Site

HOST: Final = b"Host: gateway.invalid\r\n"
POST: Final = b"POST /v1/statements HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
CHUNKED: Final = POST + b"Transfer-Encoding: chunked\r\n\r\n"

BAD: Final[dict[str, bytes]] = {
    "nothing": b"",
    "an empty line": b"\r\n\r\n",
    "binary": bytes(range(256)) * 8,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "a word": b"GET\r\n\r\n",
    "no version": b"GET /v1/info\r\n\r\n",
    "a version that is none": b"GET /v1/info HTTP/9.9\r\n" + HOST + b"\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method that is none": b"G\x00T /v1/info HTTP/1.1\r\n" + HOST + b"\r\n",
    "a long line": b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a line without end": b"GET /" + b"x" * 10_000,
    "a long header": b"GET /v1/info HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    "a hundred headers": b"GET /v1/info HTTP/1.1\r\n" + b"X: y\r\n" * 100 + b"\r\n",
    "a header without a colon": b"GET /v1/info HTTP/1.1\r\n" + HOST + b"X\r\n\r\n",
    "a header with a space": b"GET /v1/info HTTP/1.1\r\n" + HOST + b"X y: z\r\n\r\n",
    "a header with a NUL": b"GET /v1/info HTTP/1.1\r\n" + HOST + b"X: \x00\r\n\r\n",
    "a folded header": b"GET /v1/info HTTP/1.1\r\n" + HOST + b"X: y\r\n z\r\n\r\n",
    "headers that end early": b"GET /v1/info HTTP/1.1\r\n" + HOST,
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "a length and chunks": POST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n{}",
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "a length in hexadecimal": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "a length that is none": POST + b"Content-Length: many\r\n\r\n{}",
    "a huge length": POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}",
    "a body that breaks off": POST + b"Content-Length: 100\r\n\r\n{}",
    "another coding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding that is none": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a chunk that is none": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "a chunk of a negative length": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "a huge chunk": CHUNKED + b"f" * 30 + b"\r\n{}\r\n0\r\n\r\n",
    "a chunk that breaks off": CHUNKED + b"64\r\n{}",
    "chunks without end": CHUNKED + b"2\r\n{}\r\n",
    "an expectation that is none": POST + b"Expect: x\r\nContent-Length: 2\r\n\r\n{}",
}


def talk(url: str, data: bytes) -> bytes:
    """Everything that is answered to these bytes, and nothing more."""
    target = urlsplit(url)
    with socket.create_connection((target.hostname, target.port), timeout=20) as connection:
        answer = b""
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65_536):
                answer += chunk
        except (BrokenPipeError, ConnectionResetError):
            # It did not want to read on, which is an answer too.
            pass
        return answer


def status_of(answer: bytes) -> int:
    words = answer.split(b" ", 2)
    assert words[0].startswith(b"HTTP/1."), answer[:200]
    return int(words[1])


@pytest.mark.parametrize("what", BAD)
def test_the_server_lives_on(site: Site, what: str) -> None:
    before = site.get("/poll/canary").data
    answer = talk(site.url, BAD[what])
    if answer:
        status = status_of(answer)
        # What HTTP has a 5xx for: a coding, or a version, that is not implemented.
        assert 400 <= status < 500 or status in {501, 505}, answer[:300]
        assert b"Traceback" not in answer
    assert site.get("/v1/info").status == 200
    assert site.get("/poll/canary").data == before


@pytest.mark.parametrize("what", [what for what in BAD if not BAD[what].startswith(POST)])
def test_the_health_listener_lives_on(site: Site, what: str) -> None:
    answer = talk(site.health_url, BAD[what].replace(b"/v1/info", b"/nothing"))
    assert not answer.startswith(b"HTTP/") or 400 <= status_of(answer) < 600
    assert b"Traceback" not in answer
    assert site.http.request("GET", f"{site.health_url}/healthz").status == 200


def test_two_tokens_are_none(site: Site) -> None:
    twice = b"GET /v1/rollouts HTTP/1.1\r\n" + HOST + b"Authorization: Bearer x\r\n" * 2
    answer = talk(site.url, twice + b"Connection: close\r\n\r\n")
    assert status_of(answer) == 401
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["reason"] == "bad_token"


def test_a_whole_address_is_read_like_its_path(site: Site) -> None:
    lines = b"GET http://evil.example/v1/info HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    answer = talk(site.url, lines)
    assert status_of(answer) in {200, 400, 404}
    assert b"evil.example" not in answer


def test_nothing_behind_a_broken_body_is_a_request(site: Site) -> None:
    hidden = b"GET /v1/info HTTP/1.1\r\n" + HOST + b"\r\n"
    for broken in (b"zz\r\n", b"-2\r\n{}\r\n", b"2\r\n{}XX\r\n0\r\n\r\n"):
        answer = talk(site.url, CHUNKED + broken + hidden)
        assert b'"cohorts"' not in answer


def test_the_first_two_requests_may_come_together() -> None:
    """An application is made with every type ready: what is ready needs no names any more."""
    code = """
from unittest.mock import MagicMock
import msgspec
from interlock_core import statement
from interlock_server.app import create_app

create_app(MagicMock())
del statement.Signature
try:
    msgspec.convert({}, statement.Envelope)
except msgspec.ValidationError:
    print("ready")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ready\n"
