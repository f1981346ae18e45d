"""The bodies of the HTTP API under ``/v1/``, said once for the server and for those who call it.

Rules:

1. Nothing here is believed by a gateway: what matters inside is signed.
2. Errors are RFC 9457 problem documents; ``reason`` is a stable name.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta

from interlock_core.names import Digest, Name, TargetPath
from interlock_core.statement import Envelope
from interlock_core.wire import Record

MAX_METADATA: Final = 5_000_000
"""The longest targets metadata that ``tuf.ngclient`` reads, in bytes."""
MAX_BODY: Final = MAX_METADATA + 1_000_000
MAX_ANSWER: Final = 16 * 1024 * 1024
PAGE: Final = 100


class Problem(Record, frozen=True, kw_only=True):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    reason: str


class PublicationRequest(Record, frozen=True, kw_only=True):
    """Signed metadata of one role, exactly as it will be served."""

    metadata: Annotated[
        dict[Name, Annotated[str, Meta(max_length=MAX_METADATA)]], Meta(min_length=1, max_length=1)
    ]


class MissingTarget(Record, frozen=True, kw_only=True):
    """Bytes that the publication names and that the server does not hold yet."""

    path: TargetPath
    length: Annotated[int, Meta(ge=0)]
    sha256: Digest


class Publication(Record, frozen=True, kw_only=True):
    """Where a publication stands."""

    id: Digest
    role: Name
    version: int
    state: Literal["waiting", "published"]
    missing: tuple[MissingTarget, ...]


class Accepted(Record, frozen=True, kw_only=True):
    """A statement that the server has stored."""

    id: Digest
    type: str


class Challenge(Record, frozen=True, kw_only=True):
    """To be signed in a ``session`` statement."""

    challenge: str
    expires: datetime


class Token(Record, frozen=True, kw_only=True):
    """Reads, and nothing else, until it expires."""

    token: str
    expires: datetime


class Info(Record, frozen=True, kw_only=True):
    """What the server serves."""

    fleet: Name
    cohorts: tuple[Name, ...]
    products: tuple[Name, ...]
    version: str


RolloutState = Literal[
    "waiting_for_approval", "ready", "scheduled", "running", "paused", "stopped", "finished"
]
"""Of ``style``'s states those that statements alone determine."""


class RolloutSummary(Record, frozen=True, kw_only=True):
    """One line of a list of rollouts."""

    id: Digest
    product: Name
    seq: int
    kind: str
    author: str
    at: datetime
    expires: datetime
    state: RolloutState
    in_force: bool


class RolloutPage(Record, frozen=True, kw_only=True):
    """A page of rollouts, newest first."""

    items: tuple[RolloutSummary, ...]
    next: int | None


class CohortView(Record, frozen=True, kw_only=True):
    """How the statements read for one cohort, by the same code as the gateway's."""

    cohort: Name
    accepted_at: datetime | None
    missing: tuple[str, ...]
    stages_open: int
    objection: str | None
    live_until: datetime | None
    standing_stops: tuple[Digest, ...]
    in_force: bool


class Rollout(Record, frozen=True, kw_only=True):
    """One rollout with everything that was signed about it."""

    summary: RolloutSummary
    order: Envelope
    authorisations: tuple[Envelope, ...]
    goes: tuple[Envelope, ...]
    stops: tuple[Envelope, ...]
    cohorts: tuple[CohortView, ...]
