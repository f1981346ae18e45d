"""How an enrolment ends: its key is revoked, or its device is taken out of service (pure).

Rules (numbers are those of ``docs/wire-format.md``, "Who is believed"):

24. A revocation or a decommissioning is signed by whoever could countersign the enrolment: an
    operator over its cohort, or an engineer of its site over that cohort, alone. It ends that
    enrolment for good, whatever becomes of its author: no report under it is taken, no assignment
    moves it, nobody countersigns it, and its key is in no other. The device itself may be enrolled
    again, with another key, by another claim and another countersignature.
25. A decommissioning says which report was the last, and what ran by it.

Nothing that a gateway installs depends on it: one whose enrolment ended updates all the same.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta

from interlock_core.fleet import COUNTERSIGNERS
from interlock_core.names import DeviceId, Digest
from interlock_core.report import Enrolment
from interlock_core.roster import Judge
from interlock_core.statement import Opened, Said, Subject, subject
from interlock_core.wire import Record

REVOKED: Final = "revoked"
DECOMMISSIONED: Final = "decommissioned"
ENDED: Final = frozenset({REVOKED, DECOMMISSIONED})
"""The states of an enrolment that is over for good."""


class Revocation(Said, frozen=True, kw_only=True):
    """Nothing that this enrolment's key signs counts any more."""

    PREDICATE = "urn:interlock:revocation:v1"

    enrolment: Digest
    device: DeviceId

    def subjects(self) -> tuple[Subject, ...]:
        """The enrolment, by id."""
        return (subject("enrolment", self.enrolment),)


class LastReport(Record, frozen=True, kw_only=True):
    """The last report of an enrolment: its number and its id."""

    number: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    id: Digest


class Decommission(Said, frozen=True, kw_only=True):
    """A device is out of service.

    Attributes:
        report: the last report that was taken; null if there never was one.
        running: digest of what ran by that report; null where it did not say.
    """

    PREDICATE = "urn:interlock:decommission:v1"

    enrolment: Digest
    device: DeviceId
    report: LastReport | None
    running: Digest | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.report is None and self.running is not None:
            raise ValueError("what was `running` is known from a `report` alone")

    def subjects(self) -> tuple[Subject, ...]:
        """The enrolment, by id."""
        return (subject("enrolment", self.enrolment),)


Ending = Revocation | Decommission
ENDINGS: Final = (Revocation, Decommission)


def ends_as(ending: Ending) -> str:
    """The state of the enrolment from then on."""
    return REVOKED if isinstance(ending, Revocation) else DECOMMISSIONED


def ending_counts(judge: Judge, ending: Opened[Any], enrolment: Opened[Enrolment]) -> bool:
    """Whether somebody entitled ended exactly this enrolment (24)."""
    said, of = ending.said, enrolment.said
    return (
        (said.enrolment, said.device) == (enrolment.id, of.device)
        and said.at <= judge.now
        and judge.author_is(ending, COUNTERSIGNERS, of.cohort, of.site) is not None
    )
