"""The bodies of the HTTP API under ``/v1/``, said once for the server and for those who call it.

Rules:

1. Nothing here is believed by a gateway: what matters inside is signed.
2. Errors are RFC 9457 problem documents; ``reason`` is a stable name.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta

from interlock_core.abort import Counts, Vote
from interlock_core.names import DeviceId, Digest, Name, TargetPath
from interlock_core.report import Outcome, ReasonName, Secret
from interlock_core.rollout import State
from interlock_core.statement import Envelope
from interlock_core.wire import Record, encode

MAX_METADATA: Final = 5_000_000
"""The longest targets metadata that ``tuf.ngclient`` reads, in bytes."""
MAX_BODY: Final = MAX_METADATA + 1_000_000
MAX_TOGETHER: Final = 64
"""How many roles one publication may hold."""
MAX_ROOTS: Final = 1025
"""How many roots of a repository a ceremony sends: one that is held, and as many as a client
follows at once (``tuf_metadata.MAX_ROOT_ROTATIONS``, which is out of reach of what is pure)."""
TARGETS_ROLE: Final = "targets"
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
    """Signed metadata, exactly as it will be served: of one role, or of several at once.

    Several are ``targets`` and roles whose new holders it names: neither holds without the other.
    """

    metadata: Annotated[
        dict[Name, Annotated[str, Meta(max_length=MAX_METADATA)]],
        Meta(min_length=1, max_length=MAX_TOGETHER),
    ]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.metadata) > 1 and TARGETS_ROLE not in self.metadata:
            raise ValueError("several roles are published at once only with `targets`")

    @property
    def role(self) -> str:
        """The role that the publication is for: of several, ``targets``."""
        return TARGETS_ROLE if len(self.metadata) > 1 else next(iter(self.metadata))

    @property
    def text(self) -> bytes:
        """What its id is the SHA-256 of: the one text, or the canonical form of all."""
        return encode(self) if len(self.metadata) > 1 else self.metadata[self.role].encode()


class MissingTarget(Record, frozen=True, kw_only=True):
    """Bytes that the publication names and that the server does not hold yet."""

    path: TargetPath
    length: Annotated[int, Meta(ge=0)]
    sha256: Digest


class Publication(Record, frozen=True, kw_only=True):
    """Where a publication stands.

    Attributes:
        versions: of every role in it.
    """

    id: Digest
    role: Name
    version: int
    versions: dict[Name, int]
    state: Literal["waiting", "published"]
    missing: tuple[MissingTarget, ...]


class CeremonyRequest(Record, frozen=True, kw_only=True):
    """What a later ceremony signed, exactly as it will be served.

    Attributes:
        image: roots of the image repository, rising by one; those in force may be among them.
        director: the same of the directors.
        targets: the newest top-level targets metadata; None leaves the one in force.
    """

    image: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAX_ROOTS)]
    director: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAX_ROOTS)]
    targets: Annotated[str, Meta(max_length=MAX_METADATA)] | None


class MetadataInForce(Record, frozen=True, kw_only=True):
    """One metadata file that gateways are led to."""

    version: int
    sha256: Digest


class CeremonyInForce(Record, frozen=True, kw_only=True):
    """What is in force; ``changed`` says whether this call made it so."""

    fleet: Name
    image_root: MetadataInForce
    director_root: MetadataInForce
    targets: MetadataInForce
    changed: bool


class PublicationSummary(Record, frozen=True, kw_only=True):
    """One publication of a version: what somebody else should know of it.

    Attributes:
        signed_by: the ids of the keys whose signatures it carries.
        installs: images that it lists and that were not published before, the first few.
    """

    id: Digest
    role: Name
    version: int
    state: Literal["waiting", "published"]
    posted_at: datetime
    signed_by: Annotated[tuple[Digest, ...], Meta(max_length=64)]
    installs: Annotated[tuple[TargetPath, ...], Meta(max_length=64)]


class PublicationList(Record, frozen=True, kw_only=True):
    """Publications, the newest first: those that wait, and those that are out."""

    items: Annotated[tuple[PublicationSummary, ...], Meta(max_length=PAGE)]


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


class MonitorView(Record, frozen=True, kw_only=True):
    """When the server heard one monitor of the roster: its word, for people who wonder.

    Attributes:
        seen_at: when it read the log last; None if it never did.
        signed_at: when the newest statement of its own came.
    """

    name: Name
    seen_at: datetime | None
    signed_at: datetime | None


class MonitorList(Record, frozen=True, kw_only=True):
    """Every monitor in the roster, by name."""

    items: tuple[MonitorView, ...]


class RolloutSummary(Record, frozen=True, kw_only=True):
    """One line of a list of rollouts.

    Attributes:
        state: where the server's engine last saw it, as in ``RolloutStages``.
    """

    id: Digest
    product: Name
    seq: int
    kind: str
    author: str
    at: datetime
    expires: datetime
    state: State
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
    """One rollout with everything that was signed about it.

    Attributes:
        exclusions: the known issues that are left out of its counts, each with its authorisations.
    """

    summary: RolloutSummary
    order: Envelope
    authorisations: tuple[Envelope, ...]
    goes: tuple[Envelope, ...]
    stops: tuple[Envelope, ...]
    cohorts: tuple[CohortView, ...]
    exclusions: tuple[Envelope, ...] = ()


class StageCounts(Record, frozen=True, kw_only=True):
    """How the devices of one stage stand at one cohort.

    Attributes:
        opened_at: since when the stage counts as open there, as it was signed.
        forgiven: the counts as people knew them when they last resumed there; None if never.
    """

    stage: int
    cohort: Name
    opened_at: datetime
    counts: Counts
    forgiven: Counts | None


class CohortStanding(Record, frozen=True, kw_only=True):
    """Where a rollout stands at one cohort, as the server last saw it (``rollout.Part``).

    Attributes:
        opened: how many stages were opened there.
        held: the server publishes the order there without its goes.
        still: why it does not go on there; None while it does.
        over: why it is over there for good.
    """

    cohort: Name
    opened: int
    held: bool
    still: ReasonName | None
    still_since: datetime | None
    over: ReasonName | None


class Transition(Record, frozen=True, kw_only=True):
    """One change of a rollout's state by the engine; the log commits to its canonical bytes.

    Attributes:
        nth: counts the changes of this rollout, from 1.
        why: a stable name.
        evidence: what was too much, where the server holds it; None otherwise.
    """

    order: Digest
    nth: int
    at: datetime
    before: State
    after: State
    why: ReasonName
    evidence: str | None


class RolloutStages(Record, frozen=True, kw_only=True):
    """How far a rollout is, from the server's counters: nothing here is signed.

    Attributes:
        changed_at: when the state was entered.
        held_since: since when the server holds it; None if it does not.
        held_why: what was too much, in a sentence.
        stages: one for each stage and cohort that was opened, in that order.
        transitions: the newest 100 changes of its state, oldest first.
    """

    order: Digest
    state: State
    changed_at: datetime
    held_since: datetime | None
    held_why: str | None
    cohorts: tuple[CohortStanding, ...]
    stages: tuple[StageCounts, ...]
    transitions: tuple[Transition, ...] = ()


class DeviceAction(Record, frozen=True, kw_only=True):
    """How far one order is on one device, by the server's count (``action.Action``).

    Attributes:
        enrolment: the one under which the device was last heard, or was opened for.
        counted: whether it was inside when its stage opened; others have no vote.
    """

    device: DeviceId
    enrolment: Digest
    site: Name
    cohort: Name
    stage: int
    state: Outcome
    reason: ReasonName
    since: datetime
    deadline: datetime
    vote: Vote | None
    vote_reason: ReasonName | None
    excluded: ReasonName | None
    counted: bool


class ActionPage(Record, frozen=True, kw_only=True):
    """A page of actions, in the order in which they were opened."""

    items: tuple[DeviceAction, ...]
    next: int | None


class RecallPage(Record, frozen=True, kw_only=True):
    """A page of what was signed about a recall beside its order, in the order of acceptance.

    Attributes:
        items: notices and dispositions.
    """

    items: Annotated[tuple[Envelope, ...], Meta(max_length=PAGE)]
    next: int | None


class EnrolmentRequest(Record, frozen=True, kw_only=True):
    """A device asks to be let in: the claim's secret, and what its own key signed.

    Without a claim only a rotation may ask, which the key in force has signed too.
    """

    claim: Secret | None
    enrolment: Envelope


EnrolmentState = Literal[
    "waiting", "countersigned", "superseded", "quarantined", "revoked", "decommissioned"
]
"""``waiting`` for a countersignature; ``superseded`` by a later enrolment of the same device;
``revoked`` and ``decommissioned`` for good."""


class Enrolled(Record, frozen=True, kw_only=True):
    """Where an enrolment stands."""

    id: Digest
    state: EnrolmentState


class Received(Record, frozen=True, kw_only=True):
    """A report was taken, now or before; ``next`` is the number that is expected then."""

    id: Digest
    number: int
    next: int


class Device(Record, frozen=True, kw_only=True):
    """One enrolment, with everything that was signed about it: believe the envelopes alone.

    Attributes:
        enrolment: signed by the device.
        state: as the server reads it.
        words: authorisations of the enrolment and of the assignments.
        assignments: newest first.
        report: the newest that was taken, signed by the device.
        received_at: when the server took it.
        quarantined: since when and why nothing that it says is counted.
        refused: security counters: what was refused in its name, by reason.
        ending: the statement that ended it for good, if one did.
    """

    enrolment: Envelope
    state: EnrolmentState
    words: tuple[Envelope, ...]
    assignments: tuple[Envelope, ...]
    report: Envelope | None
    received_at: datetime | None
    quarantined: str | None
    refused: dict[ReasonName, int]
    ending: Envelope | None = None


class DevicePage(Record, frozen=True, kw_only=True):
    """A page of devices, by device id."""

    items: tuple[Device, ...]
    next: int | None


class Place(Record, frozen=True, kw_only=True):
    """A cohort or a site, and how many devices there are by state.

    Attributes:
        served: whether the server publishes a director for it; always true of a site.
        quarantined: of those that are countersigned.
        descriptions: of a site, what was signed about it, newest first.
        holds: of a site, the holds that have not expired, and the releases that end them.
    """

    name: Name
    served: bool
    waiting: int
    countersigned: int
    quarantined: int
    descriptions: tuple[Envelope, ...] = ()
    holds: tuple[Envelope, ...] = ()


class PlacePage(Record, frozen=True, kw_only=True):
    """A page of cohorts or sites, by name."""

    items: tuple[Place, ...]
    next: int | None


class OpenClaim(Record, frozen=True, kw_only=True):
    """A claim as it was signed, and what became of it."""

    claim: Envelope
    used_by: DeviceId | None
    expired: bool


class ClaimPage(Record, frozen=True, kw_only=True):
    """A page of claims, newest first."""

    items: tuple[OpenClaim, ...]
    next: int | None


class LogProof(Record, frozen=True, kw_only=True):
    """That the log of ``new`` entries begins with that of ``old`` (RFC 9162, 2.1.4.1)."""

    old: Annotated[int, Meta(ge=0)]
    new: Annotated[int, Meta(ge=0)]
    hashes: Annotated[tuple[Digest, ...], Meta(max_length=106)]


class LogRecord(Record, frozen=True, kw_only=True):
    """What stands behind an entry of the log: the statement, or a state's evidence."""

    number: Annotated[int, Meta(ge=0)]
    envelope: Envelope


class LogRecordPage(Record, frozen=True, kw_only=True):
    """A page of records, by the number of the entry; ``next`` is the number to ask from."""

    items: tuple[LogRecord, ...]
    next: int | None
