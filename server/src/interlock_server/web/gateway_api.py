"""What gateways call: to be enrolled, and to report. They need no login: what they send is signed.

A poll is no call: gateways read static files (``read_path``).
"""

from __future__ import annotations

from typing import Final

from flask import Blueprint
from werkzeug.wrappers import Response

from interlock_core.errors import NotFoundError
from interlock_core.statement import MAX_ENVELOPE
from interlock_server.enrolments import MAX_REQUEST
from interlock_server.web.bodies import answer, is_digest, read_json
from interlock_server.wiring import Services

REPORTS: Final = "gateways.post_report"
"""Flask's name of the call that takes reports."""


def blueprint(services: Services) -> Blueprint:
    """The gateways' calls of ``docs/interfaces.md``."""
    routes = Blueprint("gateways", __name__, url_prefix="/v1")

    @routes.post("/enrolments")
    def post_enrolment() -> Response:
        enrolled, new = services.enrolments.post(read_json(MAX_REQUEST))
        return answer(enrolled, 201 if new else 200)

    @routes.get("/enrolments/<id_>")
    def get_enrolment(id_: str) -> Response:
        if not is_digest(id_):
            raise NotFoundError("That is no id of an enrolment.", reason="unknown_enrolment")
        return answer(services.enrolments.get(id_))

    @routes.post("/reports")
    def post_report() -> Response:
        received, new = services.reports.post(read_json(MAX_ENVELOPE))
        return answer(received, 201 if new else 200)

    return routes
