"""The rollout lock: orders, authorisations, goes, stops and assignments.

Rules (numbers are those of ``docs/wire-format.md``, "Signed statements"):

- An order names everything that people authorise: targets by digest, cohorts, shares, soaks,
  gates, window, expiry. Nothing of it can be changed without another signature.
- Stage 0 is never automatic: its opening meets the rule ``start`` (5), and a monitor alone never
  starts anything (10).
- A cohort's share never falls from stage to stage, so that who was inside stays inside.
- A ``go`` is an opening, a renewal or a resume (12, 15). A stop has no number (15).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType, field

from interlock_core.names import (
    DeviceId,
    Digest,
    Name,
    TargetPath,
    check_product,
    split_path,
)
from interlock_core.statement import Said, Subject, subject
from interlock_core.wire import Record

MAX_GO: Final = timedelta(days=30)
"""The longest that one signature can keep a stage open (12)."""
DEFAULT_GO: Final = timedelta(days=7)
MAX_STAGES: Final = 16
MAX_TARGETS: Final = 16
FULL: Final = 10_000
"""All of a cohort, in basis points."""

Seconds = Annotated[int, Meta(ge=0, le=90 * 86_400)]
Seq = Annotated[int, Meta(ge=1, le=2**53 - 1)]
TimeOfDay = Annotated[str, Meta(pattern=r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]\Z")]
Length = Annotated[int, Meta(ge=1, le=2**40)]


class Target(Record, frozen=True, kw_only=True):
    """One wanted image: exactly these bytes under this path of the image repository."""

    path: TargetPath
    length: Length
    sha256: Digest


class Stage(Record, frozen=True, kw_only=True):
    """One step of a rollout.

    Attributes:
        cohorts: the cohorts that this stage is for.
        basis_points: their share that is inside, 1 to 10,000.
        soak_seconds: how long this stage must have been open before the next may open.
        gate: who opens it: ``manual`` people by the rule, ``auto`` the monitor.
    """

    cohorts: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=256)]
    basis_points: Annotated[int, Meta(ge=1, le=FULL)]
    soak_seconds: Seconds
    gate: Literal["auto", "manual"]


class Abort(Record, frozen=True, kw_only=True):
    """When the monitor stops the rollout by itself, in the terms of AWS IoT's abort settings."""

    failure_type: Literal["failed", "rolled_back", "timed_out", "all"]
    threshold_basis_points: Annotated[int, Meta(ge=1, le=FULL)]
    min_executed: Annotated[int, Meta(ge=1, le=1_000_000)]


class Window(Record, frozen=True, kw_only=True):
    """Gateway local time in which it may be changed; ``opens`` after ``closes`` spans midnight."""

    opens: TimeOfDay
    closes: TimeOfDay

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.opens == self.closes:
            raise ValueError("a window that opens and closes at the same minute is never open")


class Order(Said, frozen=True, kw_only=True):
    """What, to whom, in which stages.

    Attributes:
        seq: rises per product over the fleet; the highest accepted order wins (7).
        kind: ``update`` and ``baseline`` never lower the release counter; ``recall`` may (8).
        targets: the wanted one first; later ones are steps for gateways that a barrier holds (9).
        window: gateway local time, beside the gateway's own.
        spread_seconds: installations are spread over this much time by hash.
        deadline_seconds: silence after this counts as a failure.
        supersedes: the id of the running order whose place this update takes on purpose
            (``supersede``); absent where it takes none's. It tells people, and decides nothing on a
            gateway.
    """

    PREDICATE = "urn:interlock:order:v1"

    product: Name
    seq: Seq
    kind: Literal["update", "recall", "baseline"]
    targets: Annotated[tuple[Target, ...], Meta(min_length=1, max_length=MAX_TARGETS)]
    stages: Annotated[tuple[Stage, ...], Meta(min_length=1, max_length=MAX_STAGES)]
    abort: Annotated[tuple[Abort, ...], Meta(max_length=8)]
    not_before: datetime
    expires: datetime
    window: Window | None
    spread_seconds: Seconds
    deadline_seconds: Annotated[int, Meta(ge=60, le=90 * 86_400)]
    supersedes: Digest | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        check_product(self.product)
        if self.expires <= self.not_before:
            raise ValueError("`expires` must be after `not_before`")
        paths = [target.path for target in self.targets]
        if len(set(paths)) != len(paths):
            raise ValueError("`targets` names one path twice")
        if any(split_path(path)[0] != self.product for path in paths):
            raise ValueError("`targets` must lie under the order's product")
        if self.stages[0].gate != "manual":
            raise ValueError("the gate of stage 0 must be manual: people start a rollout")
        share: dict[str, int] = {}
        for number, stage in enumerate(self.stages):
            if len(set(stage.cohorts)) != len(stage.cohorts):
                raise ValueError(f"stage {number} names one cohort twice")
            for cohort in stage.cohorts:
                if stage.basis_points < share.get(cohort, 0):
                    raise ValueError(f"the share of cohort {cohort} falls in stage {number}")
                share[cohort] = stage.basis_points

    def cohorts(self) -> tuple[str, ...]:
        """Every cohort that the order names, sorted."""
        return tuple(sorted({cohort for stage in self.stages for cohort in stage.cohorts}))

    def subjects(self) -> tuple[Subject, ...]:
        """The wanted images, by path."""
        return tuple(subject(target.path, target.sha256) for target in self.targets)


Meaning = Literal["reviewed", "approved", "consented"]


class Authorisation(Said, frozen=True, kw_only=True):
    """Another person's signature under a statement, with its meaning.

    Under an enrolment it is the countersignature that lets the device in.
    """

    PREDICATE = "urn:interlock:authorisation:v1"

    authorises: Literal["order", "go", "assignment", "enrolment", "exclusion"]
    id: Digest
    role: Name
    meaning: Meaning

    def subjects(self) -> tuple[Subject, ...]:
        """What is authorised, by id."""
        return (subject(self.authorises, self.id),)


class Go(Said, frozen=True, kw_only=True):
    """An opening, a renewal or a resume of a stage.

    Attributes:
        renews: of a renewal, the id of the opening that it prolongs (12).
        clears: of a resume, the ids of the stops that it ends (15); none revives a lapsed stage.
        opened_at: when the stage opened; a renewal copies it (11, 12).
        valid_until: when this signature stops keeping the stage open (13).
        seq: orders the renewals of one (order, stage), and nothing else (14).
    """

    PREDICATE = "urn:interlock:go:v1"

    order: Digest
    stage: Annotated[int, Meta(ge=0, lt=MAX_STAGES)]
    act: Literal["open", "renew", "resume"]
    renews: Digest | None
    clears: Annotated[tuple[Digest, ...], Meta(max_length=64)]
    opened_at: datetime
    valid_until: datetime
    seq: Seq

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.renews is not None) != (self.act == "renew"):
            raise ValueError("`renews` belongs to a renewal, and to nothing else")
        if self.clears and self.act != "resume":
            raise ValueError("`clears` belongs to a resume, and to nothing else")
        if len(set(self.clears)) != len(self.clears):
            raise ValueError("`clears` names one stop twice")
        if not self.at < self.valid_until <= self.at + MAX_GO:
            raise ValueError("`valid_until` must lie after `at`, by at most 30 days")

    def subjects(self) -> tuple[Subject, ...]:
        """The order, by id."""
        return (subject("order", self.order),)


class Stop(Said, frozen=True, kw_only=True):
    """One signature that stops an order, everywhere or at one cohort or site."""

    PREDICATE = "urn:interlock:stop:v1"

    order: Digest
    cohort: Name | None
    site: Name | None

    def subjects(self) -> tuple[Subject, ...]:
        """The order, by id."""
        return (subject("order", self.order),)


class Assignment(Said, frozen=True, kw_only=True):
    """Moves one enrolled device to another cohort (18)."""

    PREDICATE = "urn:interlock:assignment:v1"

    enrolment: Digest
    device: DeviceId
    from_cohort: Name = field(name="from")
    to_cohort: Name = field(name="to")
    seq: Seq
    expires: datetime

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.from_cohort == self.to_cohort:
            raise ValueError("`from` and `to` are the same cohort")

    def subjects(self) -> tuple[Subject, ...]:
        """The enrolment, by id."""
        return (subject("enrolment", self.enrolment),)


ROLLOUT_STATEMENTS: Final = (Order, Authorisation, Go, Stop, Assignment)
"""What operators and the monitor post to the server."""
