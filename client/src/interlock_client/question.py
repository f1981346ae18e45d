"""The question whether anything changed, asked with the standard library (I/O).

Rules:

1. One conditional GET on a connection of its own: the poll of a gateway at rest, which needs
   nothing that a pool of connections offers. A gateway behind a proxy asks through the pool.
2. TLS is as everywhere (``tls``); the connection is watched from its first moment, before the
   handshake.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from interlock_client.line import Line
from interlock_client.tls import Tls
from interlock_core.answers import BoundedResponse

if TYPE_CHECKING:
    from interlock_client.tunnel import Tunnel


class _Plain(http.client.HTTPConnection):
    response_class = BoundedResponse
    line: Line
    silence_seconds: float

    def connect(self) -> None:
        """Connect, show the connection to the line, and bound its silence from now on."""
        super().connect()
        self.sock.settimeout(self.silence_seconds)
        self.line.opened(self.sock)


class _Secure(http.client.HTTPSConnection, _Plain):
    """TLS is put on what ``_Plain`` connected: it is next in line after the library's class."""


class _Tunnelled(_Plain):
    """TLS is spoken by what it is connected to (``tunnel``)."""

    default_port = http.client.HTTPS_PORT
    tunnel: Tunnel

    def connect(self) -> None:
        self.sock = self.tunnel.open(self.host, self.port)
        self.sock.settimeout(self.silence_seconds)
        self.line.opened(self.sock)


def ask(
    url: str,
    headers: Mapping[str, str],
    line: Line,
    *,
    connect_seconds: float,
    silence_seconds: float,
    tls: Tls,
) -> http.client.HTTPResponse:
    """GET ``url``, and return the response with its body unread.

    Args:
        url: whole, with a host.
        headers: to send.
        line: watches the connection.
        connect_seconds: for the connection.
        silence_seconds: between two bytes.
        tls: how the connection is secured.

    Raises:
        InterlockError: the client certificate cannot be used.
        OSError, http.client.HTTPException: the network, or the server, did not do it.
    """
    parts = urlsplit(url)
    connection: _Plain
    if parts.scheme == "https":
        if tls.tunnel is not None:
            connection = _Tunnelled(parts.netloc, timeout=connect_seconds)
            connection.tunnel = tls.tunnel
        else:
            connection = _Secure(parts.netloc, timeout=connect_seconds, context=tls.context)
    else:
        connection = _Plain(parts.netloc, timeout=connect_seconds)
    connection.line, connection.silence_seconds = line, silence_seconds
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    try:
        connection.request("GET", path, headers={"Connection": "close", **headers})
        response = connection.getresponse()
        if connection.sock is not None:
            # A server that would keep it open: it ends with the response, which still reads it.
            connection.sock.close()
    except BaseException:
        connection.close()
        raise
    return response
