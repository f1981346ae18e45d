"""The server that tests own: static files over real HTTP, and every lie that a test wants told."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from interlock_core.errors import InterlockError
from interlock_core.store import FileStore
from interlock_core.wire import sha256_hex

Answer = Callable[["Handler"], None]
"""Answers one request itself, through the handler."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    # Head and body are two writes: without this the second waits for an acknowledgement.
    disable_nagle_algorithm = True
    server: _Server
    body = b""

    def handle(self) -> None:
        """One connection: who speaks is noted once TLS stands."""
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.do_handshake()
            shown: Any = self.connection.getpeercert()
            subject = dict(pair[0] for pair in shown["subject"]) if shown else {}
            self.server.web.callers.append(subject.get("commonName"))
        super().handle()

    def do_GET(self) -> None:  # the name that http.server looks for
        web = self.server.web
        lie = next((lie for path, lie in web.lies.items() if self.path.startswith(path)), None)
        if lie is not None:
            web.requests.append(self.path)
            lie(self)
            return
        self.serve(self.path)

    def do_POST(self) -> None:  # the name that http.server looks for
        web = self.server.web
        self.body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        lie = next((lie for path, lie in web.lies.items() if self.path.startswith(path)), None)
        web.requests.append(self.path)
        if lie is not None:
            lie(self)
        else:
            # A server of static files.
            self.say(405, b"<html>not here</html>")

    def serve(self, path: str) -> None:
        """Answer honestly with what lies at ``path``."""
        web = self.server.web
        web.requests.append(self.path)
        try:
            data = web.store.get(path.removeprefix("/"))
        except InterlockError:
            self.say(404, b"nothing here")
            return
        etag = f'"{sha256_hex(data)[:32]}"'
        if self.headers.get("If-None-Match") == etag:
            self.say(304, b"", etag)
            return
        self.say_part(data, etag)

    def say_part(self, data: bytes, etag: str | None = None) -> None:
        """Answer with what is asked for of ``data``, as nginx does: a part, or the whole."""
        asked = re.match(r"bytes=([0-9]+)-([0-9]+)\Z", self.headers.get("Range", ""))
        if asked is None or self.headers.get("If-Range", etag) != etag:
            self.say(200, data, etag)
            return
        first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
        if first >= len(data):
            self.say(416, b"", etag)
            return
        self.say(206, data[first : last + 1], etag, f"bytes {first}-{last}/{len(data)}")

    def say(
        self, status: int, data: bytes, etag: str | None = None, part: str | None = None
    ) -> None:
        """Answer with ``data``."""
        self.send_response(status)
        if etag is not None:
            self.send_header("ETag", etag)
        if part is not None:
            self.send_header("Content-Range", part)
        if status != 304:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its signature
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    web: Web

    def handle_error(self, request: object, client_address: object) -> None:
        """A gateway that hangs up is no error here."""


class Web:
    """Serves a Store on a loopback port; a context manager.

    Args:
        store: what is served.
        certificate: PEM file of a certificate and its key; HTTP without one.
        clients: PEM file of the authority whose client certificates are asked for, or None.

    Attributes:
        requests: the path of every request so far.
        lies: answers by the beginning of a path, instead of what the Store holds.
        callers: the common name in the client certificate of every connection, None without one.
        over: set when the server stops, so that a slow lie can end.
    """

    def __init__(
        self, store: FileStore, *, certificate: Path | None = None, clients: Path | None = None
    ) -> None:
        self.store = store
        self.requests: list[str] = []
        self.lies: dict[str, Answer] = {}
        self.callers: list[str | None] = []
        self.over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.web = self
        scheme = "http"
        if certificate is not None:
            scheme = "https"
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
            if clients is not None:
                tls.verify_mode = ssl.CERT_REQUIRED
                tls.load_verify_locations(clients)
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def rewrite(self, path: str, instead: str) -> None:
        """Answer requests below ``path`` with what lies below ``instead``."""
        self.lies[path] = lambda handler: handler.serve(handler.path.replace(path, instead, 1))

    def answer(self, path: str, data: bytes, status: int = 200) -> None:
        """Answer requests below ``path`` with ``data``."""
        self.lies[path] = lambda handler: handler.say(status, data)

    def count(self, act: Callable[[], object]) -> int:
        """How many requests ``act`` makes."""
        before = len(self.requests)
        act()
        return len(self.requests) - before
