"""``/v1/ceremonies``: what key holders signed in a ceremony.

Whoever carries it needs no login: nobody can store what the thresholds of the roots did not sign.
"""

from __future__ import annotations

from flask import Blueprint
from werkzeug.wrappers import Response

from interlock_core.api import MAX_BODY
from interlock_server.ceremonies import Ceremonies
from interlock_server.web.bodies import answer, read_json


def blueprint(ceremonies: Ceremonies) -> Blueprint:
    """The call of ``docs/interfaces.md``."""
    routes = Blueprint("ceremonies", __name__, url_prefix="/v1/ceremonies")

    @routes.post("")
    def post() -> Response:
        in_force = ceremonies.post(read_json(MAX_BODY))
        return answer(in_force, 201 if in_force.changed else 200)

    return routes
