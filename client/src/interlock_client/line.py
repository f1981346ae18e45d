"""Connections that a deadline can end, whatever they wait for (I/O).

A socket's time-out only bounds the silence between two bytes, and a peer who sends one now and
then, in a handshake, in headers or in a body, is never silent. So every new connection is kept
track of from its first moment, and ``cut`` shuts all of them down from another thread.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

MAX_WATCHED: Final = 32
"""Open connections that are watched: more than there can be servers."""


@dataclass
class Line:
    """Every connection that is open, for one exchange at a time.

    Attributes:
        requests: how many exchanges were begun.
        over: whether the deadline of the present one has passed.
    """

    requests: int = 0
    over: bool = False
    _open: list[socket.socket] = field(default_factory=list)

    def opened(self, connection: socket.socket) -> socket.socket:
        """Watch a new connection; one that comes after the deadline is ended at once."""
        # A duplicate: TLS takes the original over, and both mean the same connection.
        self._open.append(connection.dup())
        if len(self._open) > MAX_WATCHED:
            self._open.pop(0).close()
        if self.over:
            self.cut()
        return connection

    def begin(self) -> None:
        """An exchange begins."""
        self.requests += 1
        self.over = False

    def end(self) -> None:
        """Its deadline has passed: end it, whatever it waits for."""
        self.over = True
        self.cut()

    def cut(self) -> None:
        """End every connection."""
        while self._open:
            connection = self._open.pop()
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
