"""``/v1/challenges`` and ``/v1/tokens``: how somebody who signs gets a token."""

from __future__ import annotations

from typing import Final

from flask import Blueprint
from werkzeug.wrappers import Response

from interlock_core import wire
from interlock_core.statement import MAX_ENVELOPE
from interlock_server.sessions import Sessions
from interlock_server.web.bodies import answer, read_json
from interlock_server.web.routes import Nothing

MAX_EMPTY: Final = 1024


def blueprint(sessions: Sessions) -> Blueprint:
    """The two calls of ``docs/interfaces.md``."""
    routes = Blueprint("tokens", __name__, url_prefix="/v1")

    @routes.post("/challenges")
    def post_challenge() -> Response:
        wire.decode(read_json(MAX_EMPTY), Nothing, limit=MAX_EMPTY, what="body")
        return answer(sessions.challenge(), 201)

    @routes.post("/tokens")
    def post_token() -> Response:
        return answer(sessions.token(read_json(MAX_ENVELOPE)), 201)

    return routes
