"""Request bodies in, JSON answers out.

Rules:

1. A body is read only up to the limit of its kind, and only if it says that it is JSON; a longer
   one is refused before it is read when its length was announced.
2. Answers are canonical JSON that no cache keeps: much of it is for one reader. What is read has a
   strong validator, so that a client which kept an answer itself asks whether it is still so.
"""

from __future__ import annotations

import re
from typing import Final

from flask import request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.wrappers import Response

from interlock_core import wire
from interlock_core.errors import WireError
from interlock_core.names import DIGEST_PATTERN

JSON: Final = "application/json"
MAX_DIGITS: Final = 9

_DIGEST: Final = re.compile(DIGEST_PATTERN)


def is_digest(text: str) -> bool:
    """Whether a part of a URL can be the id of anything."""
    return _DIGEST.match(text) is not None


def read_json(limit: int) -> bytes:
    """The bytes of the request's JSON body (rule 1).

    Raises:
        HTTPException: 400, 413 or 415.
    """
    if request.mimetype != JSON:
        raise UnsupportedMediaType("Send JSON, with Content-Type: application/json.")
    if (request.content_length or 0) <= limit:
        # One byte more than allowed shows that a body of unknown length is too long.
        request.max_content_length = limit + 1
        try:
            data = request.get_data(cache=False)
        except (OSError, ParseException) as e:
            # The caller hung up, or sent chunks that are none.
            raise BadRequest("The body cannot be read to its end: send it again.") from e
        if len(data) <= limit:
            return data
    raise RequestEntityTooLarge(f"At most {limit} bytes are read here.")


def page_number() -> int:
    """The page that the request asks for, from 1 on.

    Raises:
        WireError: ``bad_page``.
    """
    return number("page", "1")


def number(name: str, default: str = "") -> int:
    """A number from 1 on that the request gives.

    Args:
        name: of the parameter; a ``bad_<name>`` is what is wrong with it.
        default: where it is not given.

    Raises:
        WireError: it is none.
    """
    text = request.args.get(name, default)
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and int(text) >= 1):
        raise WireError(f"The {name} must be a number from 1 on.", reason=f"bad_{name}")
    return int(text)


def answer(value: object, status: int = 200) -> Response:
    """A JSON answer (rule 2)."""
    response = Response(wire.encode(value), status=status, content_type=JSON)
    response.headers["Cache-Control"] = "no-store"
    if request.method in {"GET", "HEAD"}:
        response.set_etag(wire.sha256_hex(response.get_data()))
        response.make_conditional(request)
    return response
