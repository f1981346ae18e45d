"""What must be in the log: every fact that the database holds (I/O, reading).

Rules:

1. What was on file before there was a log is recorded when the log begins, in the order in which
   it came, under the time of the beginning (``begin``). The same call again adds nothing.
2. Of metadata the fact is the role's file, whatever else was published with it.
3. What a ceremony published is in the Store alone: ``ceremonies`` records it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from interlock_core import wire
from interlock_core.api import Transition
from interlock_core.genesis import IMAGE
from interlock_core.log import (
    Entry,
    Fact,
    metadata_fact,
    state_fact,
    statement_fact,
    transition_fact,
)
from interlock_core.order import Assignment, Authorisation
from interlock_core.report import Claim, Enrolment, Report
from interlock_server.db.fleet_tables import (
    ActRow,
    AssignmentRow,
    ClaimRow,
    EnrolmentRow,
    ForkRow,
    ReportRow,
    WordRow,
)
from interlock_server.db.rollout_tables import RolloutRow, TransitionRow
from interlock_server.db.tables import FleetRow, PublicationRow, StatementRow
from interlock_server.logbook import record, unrecorded
from interlock_server.offline import read_parts

_AT_ONCE: Final = 1000
MAX_TRANSITION: Final = 16 * 1024
"""How long a change of a rollout's state may be, as JSON."""
_TYPED: Final[tuple[Any, ...]] = (StatementRow, ActRow)

Kept = tuple[datetime, int, Fact]


def begin(session: Session, fleet: FleetRow, now: datetime) -> int:
    """Begin the log, and record what is on file and not in it (rule 3).

    Args:
        session: one that writes, and holds the turn.
        fleet: ours.
        now: when.

    Returns:
        How many entries this adds.
    """
    found = missing(session, fleet)
    for fact in found:
        record(session, now, fact)
    return len(found)


def missing(session: Session, fleet: FleetRow) -> list[Fact]:
    """What is on file and not in the log: there should be nothing."""
    return unrecorded(session, (_founding(fleet), *on_file(session)))


def _founding(fleet: FleetRow) -> Fact:
    return Fact(kind="begun", name=fleet.name, id=fleet.image_root, sha256=fleet.director_root)


def unfounded(session: Session, fleet: FleetRow, logged: Sequence[Entry]) -> list[Entry]:
    """Entries whose fact is not on file.

    A statement may since have been signed anew under another key, and an enrolment may stand
    elsewhere now, so of those only the id must be known.
    """
    facts = [_founding(fleet), *on_file(session)]
    exact = set(facts)
    ids = {fact.id for fact in facts if fact.kind == "statement"}
    return [
        entry
        for entry in logged
        if entry.fact not in exact
        and not (entry.fact.kind in {"statement", "state", "transition"} and entry.fact.id in ids)
        # Which roots and targets a ceremony left is for the Store to say (``inspection``).
        and entry.fact.kind != "metadata"
    ]


def on_file(session: Session) -> list[Fact]:
    """All facts that the database holds, in the order in which they came."""
    found: list[Kept] = []
    found += [
        (row.received_at, row.number, statement_fact(row.type, row.id, row.envelope))
        for table in _TYPED
        for row in session.scalars(select(table))
    ]
    for table, predicate in (
        (ClaimRow, Claim.PREDICATE),
        (EnrolmentRow, Enrolment.PREDICATE),
        (WordRow, Authorisation.PREDICATE),
        (AssignmentRow, Assignment.PREDICATE),
    ):
        found += _statements(session, table, predicate)
    found += _statements(session, ReportRow, Report.PREDICATE)
    for at, enrolment, evidence in session.execute(
        select(ForkRow.received_at, EnrolmentRow.id, ForkRow.envelope).join(
            EnrolmentRow, EnrolmentRow.number == ForkRow.enrolment
        )
    ):
        found.append((at, 0, state_fact("quarantined", enrolment, evidence)))
    for order, kept in session.execute(
        select(RolloutRow.order_id, TransitionRow.kept)
        .join(RolloutRow, RolloutRow.number == TransitionRow.rollout)
        .order_by(TransitionRow.number)
    ):
        said = wire.decode(kept, Transition, limit=MAX_TRANSITION, what="kept transition")
        found.append((said.at, said.nth, transition_fact(said.after, order, kept)))
    published = select(PublicationRow).where(PublicationRow.state == "published")
    for publication in session.scalars(published):
        for part in read_parts(publication.role, publication.metadata_text).each:
            version = part.targets.version
            fact = metadata_fact(IMAGE, part.role, version, part.text)
            found.append((publication.posted_at, version, fact))
    return [fact for _, _, fact in sorted(found, key=lambda one: one[:2])]


def _statements(session: Session, table: Any, predicate: str) -> Iterator[Kept]:
    wanted = select(table.received_at, table.number, table.id, table.envelope)
    rows = session.execute(wanted.execution_options(yield_per=_AT_ONCE))
    for at, number, id_, envelope in rows:
        yield at, number, statement_fact(predicate, id_, envelope)
