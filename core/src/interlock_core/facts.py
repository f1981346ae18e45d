"""What a gateway knows when it decides, and what a decision is (pure types).

Rules:

1. Everything that a decision may depend on stands here: nothing else is looked at.
2. A refusal is a value with a stable name; the names stand in reports, exit statuses and documents.
3. What was learned is part of the decision, and is made durable before anybody acts on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Final

from interlock_core.directive import Directive
from interlock_core.errors import Exit
from interlock_core.names import CohortPattern
from interlock_core.order import Assignment, Target, Window
from interlock_core.release import Image, Permit
from interlock_core.roster import Roster
from interlock_core.statement import Opened


class Phase(Enum):
    """What a grant is asked for. Each phase asks everything that the one before asked."""

    DOWNLOAD = "download"
    INSTALL = "install"
    REBOOT = "reboot"


class Reason(StrEnum):
    """Why not. Stable names: they stand in reports, exit statuses and documents."""

    NOTHING_WANTED = "nothing_wanted"
    ALREADY_INSTALLED = "already_installed"
    MOVED = "moved"

    NOT_BEFORE = "not_before"
    NOT_STARTED = "not_started"
    NOT_IN_STAGE = "not_in_stage"
    LOCAL_HOLD = "local_hold"
    SITE_HOLD = "site_hold"
    OUTSIDE_WINDOW = "outside_window"
    SPREAD = "spread"
    INTERLOCK_NOT_CLEAR = "interlock_not_clear"

    EXPIRED_METADATA = "expired_metadata"
    ROSTER_STALE = "roster_stale"
    ROLLBACK = "rollback"
    WRONG_COHORT = "wrong_cohort"
    WRONG_FLEET = "wrong_fleet"
    WRONG_PRODUCT = "wrong_product"
    WRONG_HARDWARE = "wrong_hardware"
    WRONG_MARKET = "wrong_market"
    COHORT_DENIED = "cohort_denied"
    MALFORMED = "malformed"
    ORDER_MISMATCH = "order_mismatch"
    UNAUTHORISED_ROLLOUT = "unauthorised_rollout"
    SUPERSEDED_ORDER = "superseded_order"
    EXPIRED_ORDER = "expired_order"
    STOPPED = "stopped"
    STAGE_NOT_OPEN = "stage_not_open"
    GO_LAPSED = "go_lapsed"
    REPOSITORIES_DISAGREE = "repositories_disagree"
    BELOW_FLOOR = "below_floor"
    BARRIER_NOT_MET = "barrier_not_met"
    ROLLED_BACK_HERE = "rolled_back_here"
    SLOT_MISMATCH = "slot_mismatch"

    NO_SPACE = "no_space"


_NOTHING_TO_DO: Final = frozenset({Reason.NOTHING_WANTED, Reason.ALREADY_INSTALLED, Reason.MOVED})
_DEFERRED: Final = frozenset(
    {
        Reason.NOT_BEFORE,
        Reason.NOT_STARTED,
        Reason.NOT_IN_STAGE,
        Reason.LOCAL_HOLD,
        Reason.SITE_HOLD,
        Reason.OUTSIDE_WINDOW,
        Reason.SPREAD,
        Reason.INTERLOCK_NOT_CLEAR,
    }
)


def exit_of(reason: Reason) -> Exit:
    """The exit code of a refusal (the outside contract)."""
    if reason in _NOTHING_TO_DO:
        return Exit.DONE
    if reason in _DEFERRED:
        return Exit.DEFERRED
    return Exit.TRANSIENT if reason is Reason.NO_SPACE else Exit.REFUSED


@dataclass(frozen=True)
class TargetInfo:
    """What TUF metadata says of a target: length in bytes and hexadecimal hashes by algorithm."""

    length: int
    hashes: Mapping[str, str]


@dataclass(frozen=True)
class Expiry:
    """One verified metadata file: ``image/timestamp``, ``director/targets`` …"""

    role: str
    expires: datetime


@dataclass(frozen=True)
class Trusted:
    """What both repositories say, verified by TUF.

    Attributes:
        expiries: of every metadata file in use; without any, nothing is believed.
        director_cohorts: the signed field ``cohort`` of the director's timestamp, snapshot and
            targets; None where one has none.
        director_targets: everything that the director's targets role lists.
        director_delegates: whether the director's targets role delegates.
        image_targets: of the wanted targets, those that the image repository has.
        images: their facts, from the image repository's ``custom`` alone.
        permits: permits of the product's role, by the digest of the permit target.
        permits_missing: those that are listed for the very move and could not be had, by digest,
            and why: they permit nothing, and are named where one was needed.
    """

    expiries: Sequence[Expiry]
    roster: Roster
    directive: Directive
    director_cohorts: Sequence[str | None]
    director_targets: Mapping[str, TargetInfo]
    director_delegates: bool
    image_targets: Mapping[str, TargetInfo]
    images: Mapping[str, Image]
    permits: Mapping[str, Permit] = field(default_factory=dict)
    permits_missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Gateway:
    """Who I am, what runs here and what I remember.

    Attributes:
        running_sha256: digest of what runs, None before the first confirmed update.
        running_counter: its release counter, 0 when unknown.
        highest_confirmed_counter: the highest counter ever confirmed here.
        release_floor: nothing below this counter without a permit.
        rolled_back: (order id, digest) pairs that rolled back here.
        spent_permits: digests of permit targets already used.
        enrolment: id of its enrolment, None before it has one.
        cohort_patterns: cohorts that a signed assignment may move it to.
    """

    fleet: str
    device: str
    product: str
    cohort: str
    hardware: str
    market: str
    site: str | None = None
    running_sha256: str | None = None
    running_counter: int = 0
    highest_confirmed_counter: int = 0
    release_floor: int = 0
    rolled_back: frozenset[tuple[str, str]] = frozenset()
    spent_permits: frozenset[str] = frozenset()
    enrolment: str | None = None
    cohort_patterns: Sequence[CohortPattern] = ()


@dataclass(frozen=True)
class KnownStop:
    """A validly signed stop, as recorded on the gateway."""

    id: str
    order: str
    cohort: str | None
    site: str | None
    author: str = ""


@dataclass(frozen=True)
class Floors:
    """What was accepted before, for this product and cohort.

    Attributes:
        roster_seq: the highest roster seen.
        order_seq: the highest order accepted; 0 before the first.
        order_id: its id.
        stops: recorded stops (at most 64).
        assignment_seq: of the last assignment obeyed under the present enrolment.
    """

    roster_seq: int = 0
    order_seq: int = 0
    order_id: str | None = None
    stops: tuple[KnownStop, ...] = ()
    assignment_seq: int = 0


@dataclass(frozen=True)
class InterlockAnswer:
    """The clinical interlock's answer; anything but a clear yes is a no."""

    clear: bool
    detail: str


@dataclass(frozen=True)
class Local:
    """What only this place knows, now.

    Attributes:
        hold: why the hospital holds updates back, or None.
        window: the gateway's own window in local time, or None for always.
        utc_offset: local time minus UTC.
        interlock: the answer asked for this very decision; None if nobody asked.
        free_bytes: room for what is still to be written.
        needed_bytes: how much that is; None for the whole target.
        slot_digests: by slot name, the digest of what the inactive side holds in the length that
            was signed for that slot, read back for this very decision; empty if nobody read.
    """

    hold: str | None = None
    window: Window | None = None
    utc_offset: timedelta = timedelta(0)
    interlock: InterlockAnswer | None = None
    free_bytes: int = 0
    needed_bytes: int | None = None
    slot_digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Grant:
    """Go on with this phase, for exactly this target."""

    order: str
    target: Target
    image: Image
    stage: int
    permit: str | None = None


@dataclass(frozen=True)
class Refusal:
    """Not now, and why: a stable name and a sentence for people."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class Check:
    """One rule's outcome, for ``explain`` and the journal."""

    rule: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Decision:
    """A verdict, and what was learned whatever the verdict says.

    Attributes:
        floors: to be made durable before anything else is done.
        wanted: the target chosen by rule 9, when one could be.
        checks: every rule that ran, in order.
        moved: the assignment to another cohort that is to be obeyed from now on.
    """

    verdict: Grant | Refusal
    floors: Floors
    wanted: Target | None
    order: str | None
    checks: tuple[Check, ...]
    moved: Opened[Assignment] | None = None
