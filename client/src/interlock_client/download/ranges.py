"""What a server's answer to a request for a part means (pure; RFC 9110, sections 8.8.3, 13, 14).

Rules:

1. A part is asked for from where the download stands to the signed end. With a strong validator
   that this very server gave before, the part is wanted only if its copy is still the same
   (``If-Range``). A weak validator, or none, is no help, and none is needed: what counts is the
   signed digest at the end.
2. 206 is believed if it begins where it was asked to and speaks of the signed length. 200 is the
   whole from its beginning. Everything else is no answer.
3. Another length than the signed one is told before a byte of the body is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PARTIAL: Final = 206
OK: Final = 200
UNSATISFIABLE: Final = 416

_STRONG: Final = re.compile(r'"[\x21\x23-\x7e]{1,254}"\Z')
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)\Z")


@dataclass(frozen=True)
class Asked:
    """What is asked for: the bytes from ``offset`` up to ``end`` of a file of ``length``."""

    offset: int
    end: int
    length: int
    validator: str | None = None

    def headers(self) -> dict[str, str]:
        """The headers of the request (rule 1); none for a whole file."""
        if self.offset == 0 and self.end == self.length:
            return {}
        headers = {"Range": f"bytes={self.offset}-{self.end - 1}"}
        if self.validator is not None:
            headers["If-Range"] = self.validator
        return headers


@dataclass(frozen=True)
class Begins:
    """A body follows: ``count`` bytes of the file, from ``offset`` on."""

    offset: int
    count: int


@dataclass(frozen=True)
class OtherLength:
    """The server has another file under this name: so long, as far as it says."""

    length: str


@dataclass(frozen=True)
class NoAnswer:
    """The server answered, but not with what was asked for; ``why`` if its status does not say."""

    why: str | None = None


def strong(etag: str | None) -> str | None:
    """A strong validator, or None for a weak one, for none, or for what is no validator."""
    return etag if etag is not None and _STRONG.match(etag) else None


def understood(
    asked: Asked, status: int, headers: Mapping[str, str | None]
) -> Begins | OtherLength | NoAnswer:
    """What an answer means (rules 2 and 3).

    Args:
        asked: the request.
        status: of the answer.
        headers: ``Content-Length`` and ``Content-Range`` of the answer; None if missing.
    """
    announced = headers["Content-Length"]
    if status == OK:
        if announced is not None and announced != str(asked.length):
            return OtherLength(announced[:20])
        return Begins(0, asked.length)
    if status == UNSATISFIABLE:
        return OtherLength("fewer than were asked for")
    if status != PARTIAL:
        return NoAnswer()
    found = _CONTENT_RANGE.match(headers["Content-Range"] or "")
    if found is None:
        return NoAnswer("answered with a part and did not say which")
    first, last = int(found[1]), int(found[2])
    if found[3] not in {"*", str(asked.length)}:
        return OtherLength(found[3])
    if first != asked.offset or not first <= last < asked.end:
        return NoAnswer("answered with another part than was asked for")
    count = last - first + 1
    if announced is not None and announced != str(count):
        return NoAnswer("answered with a part of another length than it says")
    return Begins(first, count)
