"""The directive: what a cohort's director says.

Rules:

1. It is the signed statements in force, as they were signed, and nothing of the server's own: no
   percentage, no stage number, no state. The gateway derives the open stage itself, so there is
   nothing that a server could enlarge.
2. Empty means that nothing is wanted.
3. The chain of ``go`` holds every opening, resume and renewal that counts: only all renewals
   together show that a stage never lapsed (docs/adr/0003).
4. Holds of sites concern every product. Where there is none the field is absent, so that the
   directive of a fleet without holds is what it always was (docs/adr/0013).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from interlock_core.names import Name
from interlock_core.statement import Envelope
from interlock_core.wire import Record, decode_canonical

MAX_DIRECTIVE: Final = 4 * 1024 * 1024
MAX_STOPS: Final = 64
MAX_HOLDS: Final = 256


class ProductDirective(Record, frozen=True, kw_only=True):
    """The order in force for one product, and what was signed about it."""

    order: Envelope | None
    authorisations: Annotated[tuple[Envelope, ...], Meta(max_length=256)]
    chain: Annotated[tuple[Envelope, ...], Meta(max_length=256)]
    stops: Annotated[tuple[Envelope, ...], Meta(max_length=MAX_STOPS)]
    assignments: Annotated[tuple[Envelope, ...], Meta(max_length=256)]


class Directive(Record, frozen=True, kw_only=True):
    """What one cohort should run: the content of ``directive.json``."""

    type: Literal["urn:interlock:directive:v1"] = "urn:interlock:directive:v1"
    fleet: Name
    cohort: Name
    products: Annotated[dict[Name, ProductDirective], Meta(max_length=64)]
    holds: Annotated[tuple[Envelope, ...], Meta(min_length=1, max_length=MAX_HOLDS)] | UnsetType = (
        UNSET
    )


def read_directive(data: bytes) -> Directive:
    """Read ``directive.json``.

    Raises:
        WireError: too large or malformed.
    """
    return decode_canonical(data, Directive, limit=MAX_DIRECTIVE, what="directive")
