"""``/v1/challenges`` and ``/v1/tokens``, and the token that a request carries."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, request
from werkzeug.wrappers import Response

from interlock_core import wire
from interlock_core.errors import RefusedError
from interlock_core.statement import MAX_ENVELOPE
from interlock_server.sessions import Sessions
from interlock_server.web.bodies import answer, read_json

MAX_EMPTY: Final = 1024
MAX_TOKEN: Final = 2048


class _Nothing(wire.Record, frozen=True, kw_only=True):
    """An empty object."""


def bearer(sessions: Sessions) -> str:
    """The person whose token the request carries.

    Raises:
        RefusedError: ``bad_token``, or as ``Sessions.person``.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN:
        raise RefusedError(
            "Send a token: Authorization: Bearer …; POST /v1/challenges begins.", reason="bad_token"
        )
    return sessions.person(token)


def blueprint(sessions: Sessions) -> Blueprint:
    """The two calls of ``docs/interfaces.md``."""
    routes = Blueprint("tokens", __name__, url_prefix="/v1")

    @routes.post("/challenges")
    def post_challenge() -> Response:
        wire.decode(read_json(MAX_EMPTY), _Nothing, limit=MAX_EMPTY, what="body")
        return answer(sessions.challenge(), 201)

    @routes.post("/tokens")
    def post_token() -> Response:
        return answer(sessions.token(read_json(MAX_ENVELOPE)), 201)

    return routes
