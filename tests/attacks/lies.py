"""Answers of a server that lies: how bytes are sent, where honest bytes are not the point.

Each is an ``Answer`` for ``Web.lies``; what never ends by itself ends with the server.
"""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from functools import partial

from tests.client.web import Answer, Handler

PIECE = bytes(1 << 16)
TAKEN_AT_MOST = 32 << 20
"""What two sockets' buffers may swallow of a stream that nobody reads to its end, and more."""


class Endless:
    """``head``, and then zeros: more of them than anybody may want.

    Attributes:
        sent: how many bytes the reader, or the buffers before it, took.
    """

    def __init__(self, head: bytes = b"") -> None:
        self.head = head
        self.sent = 0

    def __call__(self, handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(self.head)
        # Beyond twice that it has shown what it is for, and would only fill the memory.
        while not handler.server.web.over.is_set() and self.sent <= 2 * TAKEN_AT_MOST:
            handler.wfile.write(PIECE)
            self.sent += len(PIECE)
        handler.close_connection = True


def drip(handler: Handler) -> None:
    """One byte now and then."""
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.web.over.wait(0.05):
        handler.wfile.write(b"x")


def begun_and_dripping(data: bytes) -> Answer:
    """Half of it at once, and the rest byte by byte."""

    def answer(handler: Handler) -> None:
        half = len(data) // 2
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:half])
        for byte in data[half:]:
            if handler.server.web.over.wait(0.05):
                return
            handler.wfile.write(bytes([byte]))

    return answer


def drip_headers(handler: Handler) -> None:
    """One header now and then, and never a body."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.server.web.over.wait(0.05):
        handler.wfile.write(b"X-More: yes\r\n")


def silent(handler: Handler) -> None:
    """Nothing at all."""
    handler.server.web.over.wait()


def announced(length: int) -> Answer:
    """A length, and nothing after it."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()

    return answer


def broken_off(data: bytes, *, length: int | None) -> Answer:
    """Some of what was announced, or of what never was, and the end of the connection."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        if length is not None:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = True

    return answer


def begun(data: bytes, part: str | None, asked: list[str | None]) -> Answer:
    """The first 99 bytes of ``data``, and to whoever goes on another part than was asked for.

    Args:
        data: what was asked for.
        part: what the part is said to be; ``{}`` is the length of the whole.
        asked: takes the ranges that were asked for.
    """
    first = broken_off(data[:99], length=len(data))
    said = part and part.format(len(data))

    def answer(handler: Handler) -> None:
        asked.append(handler.headers.get("Range"))
        if len(asked) == 1:
            first(handler)
        else:
            handler.say(206, b"?" * 99, '"mine"', said)

    return answer


def packed(data: bytes) -> Answer:
    """``data`` compressed, though nobody asked for that."""
    small = gzip.compress(data)

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(small)))
        handler.end_headers()
        handler.wfile.write(small)

    return answer


def elsewhere(url: str) -> Answer:
    """Go and ask at ``url``."""

    def answer(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", url)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def validated(data: bytes, etag: str) -> Answer:
    """``data`` under a validator of the attacker's choice."""
    return partial(Handler.say, status=200, data=data, etag=etag)


def unchanged(handler: Handler) -> None:
    """Nothing changed, whatever was asked."""
    handler.say(304, b"")


def doing(act: Callable[[], object], *, at: int = 0) -> Answer:
    """Honest answers; ``act`` is done before the one of this number, counted from 0."""
    left = itertools.count(-at)

    def answer(handler: Handler) -> None:
        if next(left) == 0:
            act()
        handler.serve(handler.path)

    return answer
