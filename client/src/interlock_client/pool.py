"""Connections for everything but the question whether anything changed (I/O).

urllib3 costs more to load than that one question costs to ask, so it is loaded when first needed.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from interlock_client.line import Line
from interlock_client.tls import Tls
from interlock_core.answers import BoundedResponse


def make_pool(
    line: Line,
    *,
    connect_seconds: float,
    silence_seconds: float,
    proxy: str | None,
    tls: Tls,
) -> urllib3.PoolManager:
    """Connections that verify TLS, retry nothing, and show themselves to ``line``.

    Args:
        line: watches every new connection.
        connect_seconds: for a connection.
        silence_seconds: between two bytes.
        proxy: URL of an HTTP proxy, or None.
        tls: how connections are secured.
    """
    settings: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=connect_seconds, read=silence_seconds),
        "retries": False,
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": str(tls.ca_file) if tls.ca_file else None,
    }
    if tls.tunnel is not None:
        # It asks the proxy itself.
        proxy = None
    pool = _by(proxy, settings) if proxy else urllib3.PoolManager(**settings)
    pool.pool_classes_by_scheme = _watched(line, tls, silence_seconds)
    return pool


def _by(proxy: str, settings: dict[str, Any]) -> urllib3.ProxyManager:
    """By a proxy, which is told the user and password of its URL: urllib3 leaves them out."""
    parts = urlsplit(proxy)
    headers = None
    if parts.username is not None:
        # UTF-8 (RFC 7617): urllib3's own helper takes Latin-1 alone.
        who = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers = {"Proxy-Authorization": f"Basic {b64encode(who).decode()}"}
    return urllib3.ProxyManager(proxy, proxy_headers=headers, **settings)


def _watched(
    line: Line, tls: Tls, silence_seconds: float
) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        response_class = BoundedResponse

        def _new_conn(self) -> socket.socket:
            return line.opened(super()._new_conn())

    class Secure(HTTPSConnection):
        response_class = BoundedResponse

        def _new_conn(self) -> socket.socket:
            return line.opened(super()._new_conn())

        def connect(self) -> None:
            if tls.tunnel is None:
                # For servers alone: what is said to a proxy has a context of its own. Not before
                # there is a server to verify: it loads all certificates of the system.
                self.ssl_context = tls.context
                super().connect()
                return
            self.sock = line.opened(tls.tunnel.open(self.host, self.port))
            self.sock.settimeout(silence_seconds)
            self.is_verified = True

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
