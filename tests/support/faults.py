"""A network that breaks: a proxy on loopback that does to answers what it is told.

A fault is a function that gets one ``Exchange`` and speaks to the client itself::

    proxy.breaks("/image/targets/", cut(5000))

Every fault holds until ``proxy.heal``. Whatever waits ends with the proxy.
"""

from __future__ import annotations

import gzip
import re
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

END = b"\r\n\r\n"


@dataclass
class Exchange:
    """One request, and the honest answer to it.

    Attributes:
        method, path: of the request.
        asked: its ``Range``, or None.
        head: of the answer, with the empty line.
        body: of the answer.
        before: head and body of the last honest answer to another request.
    """

    client: socket.socket
    proxy: FaultProxy
    method: str
    path: str
    asked: str | None
    head: bytes
    body: bytes
    before: bytes

    def send(self, data: bytes) -> None:
        """Send some of an answer."""
        self.client.sendall(data)

    def say(self, head: str, body: bytes = b"") -> None:
        """Send another answer: its lines, and a body of the length that it has."""
        self.send(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    def with_header(self, name: str, value: str) -> bytes:
        """The head with one header set."""
        lines = [
            line
            for line in self.head.removesuffix(END).decode().split("\r\n")
            if not line.lower().startswith(f"{name.lower()}:")
        ]
        return "\r\n".join([*lines, f"{name}: {value}"]).encode() + END

    def reset(self) -> None:
        """End the connection with RST."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait; whether it is all over."""
        return self.proxy.over.wait(seconds)


Fault = Callable[[Exchange], None]


class FaultProxy(socketserver.ThreadingTCPServer):
    """Passes requests on, each by a connection of its own; a context manager.

    Attributes:
        upstream: base URL of the honest server; may be changed.
        seen: method, path and range of every request.
        over: set at the end.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.upstream = upstream
        self.seen: list[tuple[str, str, str | None]] = []
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.before = b""
        self._faults: dict[str, tuple[int, Fault]] = {}
        self._open: set[socket.socket] = set()

    def breaks(self, path: str, fault: Fault, *, after: int = 0) -> None:
        """Let ``fault`` answer requests whose path begins so, but for the first ``after``."""
        self._faults[path] = after, fault

    def heal(self) -> None:
        """No fault any more."""
        self._faults.clear()

    def fault(self, path: str) -> Fault | None:
        """What answers a request."""
        for start, (after, fault) in self._faults.items():
            if path.startswith(start):
                if after == 0:
                    return fault
                self._faults[start] = after - 1, fault
        return None

    def ranges(self, path: str) -> list[str | None]:
        """The ranges of all requests whose path begins so."""
        return [asked for _, found, asked in self.seen if found.startswith(path)]

    def handle_error(self, request: object, client_address: object) -> None:
        """A gateway that hangs up is no error here."""

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Connection(socketserver.StreamRequestHandler):
    server: FaultProxy

    def handle(self) -> None:
        self.server._open.add(self.request)
        try:
            while self._one():
                pass
        except OSError:
            return  # the client hung up, or the fault did
        finally:
            self.server._open.discard(self.request)

    def _one(self) -> bool:
        lines = []
        while (line := self.rfile.readline()) not in {b"\r\n", b""}:
            lines.append(line.decode().rstrip("\r\n"))
        if not lines:
            return False
        method, path, _ = lines[0].split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        proxy = self.server
        proxy.seen.append((method, path, headers.get("range")))
        kept = [line for line in lines if not line.lower().startswith("connection:")]
        answer = _answer(proxy.upstream, "\r\n".join([*kept, "Connection: close"]), body)
        head, _, rest = answer.partition(END)
        exchange = Exchange(
            self.request,
            proxy,
            method,
            path,
            headers.get("range"),
            head + END,
            rest,
            proxy.before or answer,
        )
        fault = proxy.fault(path)
        if fault is not None:
            fault(exchange)
            return fault in GOES_ON
        proxy.before = answer
        self.request.sendall(answer)
        return headers.get("connection", "") != "close"


def _answer(upstream: str, head: str, body: bytes) -> bytes:
    parts = urlsplit(upstream)
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port or 80)) as server:
        server.sendall(head.encode() + END + body)
        pieces = []
        while piece := server.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


# Faults


def lost(exchange: Exchange) -> None:
    """The answer never comes, and nobody says so."""
    exchange.wait()


def closed(exchange: Exchange) -> None:
    """The connection ends before an answer."""


def reset(exchange: Exchange) -> None:
    """The connection is reset before an answer."""
    exchange.reset()


def cut(count: int) -> Fault:
    """The connection ends after so many bytes of the body; from the end if negative."""

    def fault(exchange: Exchange) -> None:
        exchange.send(exchange.head + exchange.body[:count])

    return fault


def reset_after(count: int) -> Fault:
    """The connection is reset after so many bytes of the body."""

    def fault(exchange: Exchange) -> None:
        exchange.send(exchange.head + exchange.body[:count])
        exchange.reset()

    return fault


def lost_after(count: int) -> Fault:
    """Nothing comes any more after so many bytes of the body."""

    def fault(exchange: Exchange) -> None:
        exchange.send(exchange.head + exchange.body[:count])
        exchange.wait()

    return fault


def drip(exchange: Exchange) -> None:
    """A byte now and then: the shortest answer takes seconds, however idle the machine is."""
    for byte in exchange.head + exchange.body:
        exchange.send(bytes([byte]))
        if exchange.wait(0.05):
            return


def late(seconds: float) -> Fault:
    """The answer comes late, and whole."""

    def fault(exchange: Exchange) -> None:
        exchange.wait(seconds)
        exchange.send(exchange.head + exchange.body)

    return fault


def garbage(exchange: Exchange) -> None:
    """What is no HTTP."""
    exchange.send(b"\0\xff\x16\x03\x01 garbage\r\n\r\n" * 10)


def many_headers(exchange: Exchange) -> None:
    """More headers than anybody reads."""
    more = "".join(f"X-{number}: y\r\n" for number in range(200))
    exchange.send(exchange.head.removesuffix(b"\r\n") + more.encode() + b"\r\n" + exchange.body)


def long_header(exchange: Exchange) -> None:
    """A header longer than anybody reads."""
    exchange.send(exchange.with_header("X-Long", "y" * 100_000) + exchange.body)


def two_lengths(exchange: Exchange) -> None:
    """Two lengths that do not agree."""
    head = exchange.head.removesuffix(b"\r\n") + b"Content-Length: 7\r\n\r\n"
    exchange.send(head + exchange.body)


def no_length(exchange: Exchange) -> None:
    """No length, and an end too early."""
    head = re.sub(rb"(?i)content-length: [0-9]+\r\n", b"", exchange.head)
    exchange.send(head + exchange.body[: len(exchange.body) // 2])


def twice(exchange: Exchange) -> None:
    """The answer, and once more the same, where nobody asked for it."""
    exchange.send((exchange.head + exchange.body) * 2)


def displaced(exchange: Exchange) -> None:
    """The answer to another request: answers overtook one another."""
    exchange.send(exchange.before)


def zipped(exchange: Exchange) -> None:
    """Compressed, though nobody asked for it."""
    body = gzip.compress(exchange.body)
    exchange.say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip", body)


def elsewhere(exchange: Exchange) -> None:
    """A redirect."""
    exchange.say(f"HTTP/1.1 302 Found\r\nLocation: {exchange.proxy.upstream}{exchange.path}")


def says(status: int) -> Fault:
    """Another status, and a page for people."""

    def fault(exchange: Exchange) -> None:
        exchange.say(f"HTTP/1.1 {status} As the test wants it", b"<html>not now</html>")

    return fault


def part(content_range: str | None) -> Fault:
    """A part, which says of itself what it is not."""

    def fault(exchange: Exchange) -> None:
        line = f"\r\nContent-Range: {content_range}" if content_range else ""
        exchange.say(f"HTTP/1.1 206 Partial Content{line}", exchange.body)

    return fault


def another_validator(exchange: Exchange) -> None:
    """The same bytes under another validator: the server was rebuilt in the meantime."""
    exchange.send(exchange.with_header("ETag", '"of-another-build"') + exchange.body)


def flipped(exchange: Exchange) -> None:
    """One wrong bit in the middle."""
    body = bytearray(exchange.body)
    if body:
        body[len(body) // 2] ^= 1
    exchange.send(exchange.head + bytes(body))


GOES_ON: frozenset[Fault] = frozenset({twice, displaced, another_validator, flipped})
"""After these the connection stays, as if nothing were wrong."""
