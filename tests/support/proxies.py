"""An HTTP proxy that carries what TLS protects (CONNECT), as hospitals have them."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class Proxy:
    """Listens on loopback, and joins what it is asked to; a context manager.

    Attributes:
        asked: the first line of every request.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._begin(self._listen)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for connection in self._open:
            connection.close()

    def _begin(self, what: object, *args: object) -> None:
        thread = threading.Thread(target=what, args=args)  # type: ignore[arg-type]  # a method
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._open.append(near)
                self._begin(self._join, near)

    def _join(self, near: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            more = near.recv(1)
            if not more:
                return
            head += more
        line = head.split(b"\r\n", 1)[0].decode()
        self.asked.append(line)
        method, there, _ = line.split(" ")
        if method != "CONNECT":
            near.sendall(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
            return
        host, _, port = there.rpartition(":")
        far = socket.create_connection((host, int(port)))
        self._open.append(far)
        near.sendall(b"HTTP/1.1 200 Joined\r\n\r\n")
        self._begin(self._carry, far, near)
        self._carry(near, far)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
