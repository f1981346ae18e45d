"""Who may make a call: decided before any handler runs, from the table of routes alone.

Rules:

1. A call that the table says needs a token is refused without one (``bad_token``), and with one
   whose person holds no grant that may read this (``not_your_reading``).
2. An endpoint that the table does not name is refused to everybody (``not_declared``), so that one
   that somebody forgot to declare opens nothing.
3. A parameter that the call does not know, or that stands twice, is refused (``bad_parameter``):
   ``?stat=waiting`` must not show everything.
4. What a handler shows to somebody who sees some sites only is narrowed by ``sites_in_sight``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import g, request
from werkzeug.wrappers import Response

from interlock_core.errors import RefusedError, WireError
from interlock_server.config import LimitsSection
from interlock_server.sessions import Reading, Sessions
from interlock_server.web.limits import LOGIN, OPEN, Buckets, address_of
from interlock_server.web.problems import problem
from interlock_server.web.routes import BY_NAME, Auth, Route

MAX_TOKEN: Final = 2048
LOGINS: Final = frozenset({"/v1/challenges", "/v1/tokens"})


def route_of_request() -> Route | None:
    """The table's row of the request; None if no endpoint was found, or none is declared."""
    if request.url_rule is None:
        return None
    method = "GET" if request.method == "HEAD" else request.method
    return BY_NAME.get(f"{method} {request.url_rule.rule}")


def reading_now() -> Reading:
    """Who asks, of a call that needs a token."""
    reading: Reading = g.reading
    return reading


def sites_in_sight() -> frozenset[str] | None:
    """The sites that whoever asks sees; None for all (rule 4)."""
    return reading_now().sites


def limit(allowed: LimitsSection, monotonic: Callable[[], float]) -> Callable[[], Response | None]:
    """What is asked first of all: whether the address called too often (``limits``).

    Args:
        allowed: how often.
        monotonic: seconds, from whenever.

    Returns:
        A function that answers 429, or nothing.
    """
    per_minute = {LOGIN: allowed.logins_per_minute, OPEN: allowed.calls_per_minute}
    buckets = Buckets(per_minute, monotonic)

    def check() -> Response | None:
        route = route_of_request()
        if route is not None and route.auth is Auth.TOKEN and "Authorization" in request.headers:
            # Whether it is a token of ours costs one HMAC, no more than to count.
            return None
        address = address_of(
            request.remote_addr, request.headers.get("X-Forwarded-For"), allowed.trusted_proxies
        )
        if address is None:
            return None
        kind = LOGIN if route is not None and route.rule in LOGINS else OPEN
        seconds = buckets.take(address, kind)
        if not seconds:
            return None
        detail = f"Too many calls came from this address: send the same again in {seconds} s."
        return problem(429, "too_many_requests", detail, [("Retry-After", str(seconds))])

    return check


def guard(sessions: Sessions) -> Callable[[], None]:
    """What is asked before each request.

    Args:
        sessions: whose tokens count.

    Returns:
        A function that raises ``RefusedError``: ``bad_token``, ``not_your_reading``,
        ``not_declared``, or as ``Sessions.reader``; and ``WireError``: ``bad_parameter``.
    """

    def check() -> None:
        if request.url_rule is None or request.method == "OPTIONS":
            return
        route = route_of_request()
        if route is None:
            raise RefusedError("This call is not declared.", reason="not_declared")
        if route.auth is Auth.TOKEN:
            g.reading = reading = sessions.reader(_bearer())
            if not reading.kinds & route.readers:
                raise RefusedError(
                    f"No grant of {reading.person} may read this: see the readers of "
                    f"{route.name} in /openapi.json.",
                    reason="not_your_reading",
                )
        for name, values in request.args.lists():
            if name not in route.query or len(values) > 1:
                raise WireError(
                    f"The parameter {name[:40]!r} is not known here or stands twice: see "
                    f"{route.name} in /openapi.json.",
                    reason="bad_parameter",
                )

    return check


def _bearer() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN:
        raise RefusedError(
            "Send a token: Authorization: Bearer …; POST /v1/challenges begins.", reason="bad_token"
        )
    return token
