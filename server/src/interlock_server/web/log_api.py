"""``/v1/log``: proofs for everybody, and what stands behind the entries, for those with a token.

Entries and checkpoints themselves are static files (``read_path``).
"""

from __future__ import annotations

from flask import Blueprint, request
from werkzeug.wrappers import Response

from interlock_core.api import LogProof
from interlock_core.errors import WireError
from interlock_server import logbook
from interlock_server.log_records import page_of_records
from interlock_server.web.access import reading_now
from interlock_server.web.bodies import answer
from interlock_server.wiring import Services

_MAX_DIGITS = 15


def _number(name: str, default: int) -> int:
    text = request.args.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise WireError(f"{name!r} must be a number of entries.", reason="bad_size")
    return int(text)


def blueprint(services: Services) -> Blueprint:
    """The two calls of ``docs/interfaces.md``."""
    routes = Blueprint("log", __name__, url_prefix="/v1/log")
    back = services.backstage

    @routes.get("/consistency")
    def consistency() -> Response:
        with back.database.reading() as session:
            newest = logbook.size(session)
        proof = back.checkpoints.prove(_number("old", 0), _number("new", newest))
        hashes = tuple(one.hex() for one in proof.hashes)
        return answer(LogProof(old=proof.old, new=proof.new, hashes=hashes))

    @routes.get("/records")
    def records() -> Response:
        services.monitors.heard(reading_now().person)
        return answer(page_of_records(back.database, _number("from", 0)))

    return routes
