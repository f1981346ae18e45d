"""Errors become RFC 9457 problem documents here, once.

Rules:

1. The family of an error decides the status, its ``reason`` is the stable name, its message the
   detail: what is wrong and what to do next.
2. What is our own fault (a bug, wrong settings, a disk, database or KMS that fails) says nothing of
   its cause to the caller (``outward``); the log has all of it.
3. Unknown routes, methods, media types and sizes are problems like any other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from interlock_core import wire
from interlock_core.api import Problem
from interlock_core.errors import (
    ConflictError,
    InterlockError,
    NotFoundError,
    RefusedError,
    TransientError,
    WireError,
)
from interlock_server.outward import told
from interlock_server.web.problem_list import TYPE_PREFIX

PROBLEM_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = "5"

_FAMILIES: Final[tuple[tuple[type[InterlockError], int], ...]] = (
    (WireError, 400),
    (NotFoundError, 404),
    (ConflictError, 409),
    (RefusedError, 403),
    (TransientError, 503),
)
_BY_REASON: Final[Mapping[str, int]] = {
    # Refused for what was sent, not for who sent it.
    "hash_mismatch": 400,
    "wrong_length": 400,
    # Who is asking is not known.
    "bad_token": 401,
}
_NAMES: Final[Mapping[int, str]] = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    411: "length_required",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
}

_log = logging.getLogger(__name__)


def problem(
    status: int, reason: str, detail: str, headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """A problem document."""
    body = wire.encode(
        Problem(
            type=f"{TYPE_PREFIX}{reason}",
            title=HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            reason=reason,
        )
    )
    response = Response(body, status=status, content_type=PROBLEM_TYPE)
    response.headers["Cache-Control"] = "no-store"
    response.headers.extend(headers)
    return response


def of_error(error: InterlockError) -> Response:
    """The problem document of one of our errors (rules 1 and 2)."""
    status = _BY_REASON.get(error.reason) or next(
        (status for family, status in _FAMILIES if isinstance(error, family)), 500
    )
    if status == 500:
        _log.error("a request failed: %s", error)
        return _internal()
    headers = []
    if status == 503:
        _log.error("a request must be repeated (%s): %s", error.reason, error)
        if isinstance(error.__cause__, InterlockError):
            _log.error("what kept it: %s", error.__cause__)
        headers.append(("Retry-After", RETRY_AFTER_SECONDS))
    if status == 401:
        headers.append(("WWW-Authenticate", "Bearer"))
    return problem(status, error.reason, told(error), headers)


def _of_http(error: HTTPException) -> Response:
    status = error.code or 500
    if status == 500:
        return _internal()
    kept = [
        (name, value)
        for name, value in error.get_headers()
        if name in {"Allow", "Content-Range", "Location"}
    ]
    detail = error.description or HTTPStatus(status).phrase
    return problem(status, _NAMES.get(status, "bad_request"), detail, kept)


def _of_bug(error: Exception) -> Response:
    # The web's outermost edge: nothing may get out but a problem document.
    _log.error("a request failed", exc_info=error)
    return _internal()


def _internal() -> Response:
    return problem(
        500, "internal", "The server failed at this request; its log says why. Nothing was done."
    )


def register(app: Flask) -> None:
    """Let every error of an application become a problem document."""
    app.register_error_handler(InterlockError, of_error)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(Exception, _of_bug)
