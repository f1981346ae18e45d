"""Which server URLs may be called (pure).

Rules:

1. HTTPS anywhere; plain HTTP on loopback only.
2. A URL names a server and perhaps a path: no query, no fragment, no user name.
3. It is visible ASCII without a backslash: readers of URLs differ about anything else, and what
   was checked must be what is called.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from interlock_core.errors import ConfigurationError

_PLAIN: Final = re.compile(r"[!-\[\]-~]+\Z")


def check_url(url: str) -> str:
    """Return ``url`` without a trailing slash if it may be called (rules 1 to 3).

    Raises:
        ConfigurationError: it may not.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        # What no resolver takes: an empty label, or one that is too long.
        (host or "").encode("idna")
    except ValueError as e:
        raise ConfigurationError(f"{url!r} is no URL: {e}.") from e
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigurationError(f"{url!r} is no server URL: write https://host[:port][/path].")
    if _PLAIN.match(url) is None:
        raise ConfigurationError(f"{url!r} holds a character that no URL holds: write it plainly.")
    if any(mark in url for mark in "?#@"):
        raise ConfigurationError(f"{url!r} must hold no query, fragment or user name.")
    if parts.scheme == "http" and not _loopback(host):
        raise ConfigurationError(f"{url!r} is plain HTTP beyond loopback: use https.")
    return url.rstrip("/")


def check_proxy(url: str) -> str:
    """Return ``url`` if it may name an HTTP proxy: a scheme, a host, perhaps a user and a port.

    Raises:
        ConfigurationError: it may not; the message holds nothing of it, for there may be a
            password.
    """
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
    except ValueError as e:
        raise ConfigurationError("`proxy` is no URL: write http://host:port.") from e
    if wrong or _PLAIN.match(url) is None:
        raise ConfigurationError("`proxy` is no proxy: write http://host:port.")
    return url


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
