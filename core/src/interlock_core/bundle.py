"""The poll bundle: what an update check needs, in one small object.

Rules:

1. It carries no authority. Every text is verified as if it had come from its own URL; a missing
   or wrong bundle only costs requests.
2. ``files`` maps URL paths to exact texts: both timestamps, both snapshots, the director's targets
   and the directive. ``roots`` says which root version of each repository is the newest.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from interlock_core.names import Name
from interlock_core.wire import Record, decode

MAX_BUNDLE: Final = 8 * 1024 * 1024


class Roots(Record, frozen=True, kw_only=True):
    """The newest root version of each repository."""

    image: Annotated[int, Meta(ge=1)]
    director: Annotated[int, Meta(ge=1)]


class Bundle(Record, frozen=True, kw_only=True):
    """The content of ``poll/<cohort>``: exact texts by URL path."""

    type: Literal["urn:interlock:poll:v1"] = "urn:interlock:poll:v1"
    cohort: Name
    roots: Roots
    files: Annotated[dict[str, str], Meta(max_length=16)]


def read_bundle(data: bytes) -> Bundle:
    """Read ``poll/<cohort>``.

    Raises:
        WireError: too large or malformed; the caller then fetches from the ordinary URLs.
    """
    return decode(data, Bundle, limit=MAX_BUNDLE, what="poll bundle")
