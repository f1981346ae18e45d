"""Takes statements in: about rollouts, and about the fleet (I/O).

Rules:

1. A statement is judged by the roster in force before it is stored (``acceptance``,
   ``admission``). A refusal has a name, is logged, and is counted.
2. The author's signature is all that is kept of an envelope's signatures: it alone counts, and
   whoever relays a statement could have added others.
3. The same statement again is success. Directives follow before the answer; if they cannot be
   published, the statement stays stored, the answer says so, and the same call again publishes.
4. A cohort is due from the moment that something is stored which its directive must show until that
   was published. Who sends a statement that is known and shown costs no turn and no publication.
5. A word about an enrolment, or its end, is judged again under the turn: what follows from it is
   noted then (``standing``), and must not be noted by a roster that somebody replaced meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from interlock_core.acts import POSTED
from interlock_core.api import Accepted
from interlock_core.clock import Clock
from interlock_core.ending import Decommission, Revocation
from interlock_core.errors import InterlockError, RefusedError, TransientError
from interlock_core.order import Authorisation
from interlock_core.roster import Judge
from interlock_core.statement import Opened, Said, open_statement, read_envelope
from interlock_core.store import Store
from interlock_server.acceptance import Ground, check_statement
from interlock_server.admission import check_of_the_fleet, is_of_the_fleet
from interlock_server.db.session import Database
from interlock_server.db.tables import CohortRow
from interlock_server.engine import Engine
from interlock_server.filing import concerned, keep, known
from interlock_server.heads import Publisher
from interlock_server.image import read_released
from interlock_server.onfile import trimmed
from interlock_server.outward import told
from interlock_server.refusals import Refusals


class Statements:
    """Where statements are posted.

    Args:
        database: where they are kept.
        store: what is published.
        publisher: publishes directives.
        engine: looks at the rollouts that a statement is about, after it is out.
        refusals: counts them.
        clock: now.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        publisher: Publisher,
        engine: Engine,
        refusals: Refusals,
        clock: Clock,
    ) -> None:
        self._database = database
        self._store = store
        self._publisher = publisher
        self._engine = engine
        self._refusals = refusals
        self._clock = clock

    def post(self, data: bytes) -> tuple[Accepted, bool]:
        """Accept one statement and publish what follows; returns it, and whether it is new.

        Args:
            data: the envelope's bytes.

        Raises:
            WireError: malformed.
            RefusedError, ConflictError: the reason names the rule (rule 1).
            TransientError: the database failed and nothing was stored; or, with the reason
                ``not_published``, it is stored and the directives are not out yet (rule 3).
        """
        opened = open_statement(read_envelope(data), POSTED)
        with self._refusals.counted("statement"):
            new, due, order_id = self._accept(opened)
        if due:
            self._publish(opened, due)
        if order_id is not None and new:
            self._engine.attend(order_id)
        return Accepted(id=opened.id, type=opened.said.PREDICATE), new

    def _publish(self, opened: Opened[Any], due: Collection[str]) -> None:
        try:
            self._publisher.publish_cohorts(due)
        except InterlockError as e:
            raise TransientError(
                f"The statement {opened.id[:12]} is stored, but the directives could not be "
                f"published: {told(e)} Send it again, or run 'interlock-server refresh'.",
                reason="not_published",
            ) from e

    def _ground(self, session: Session) -> Ground:
        """What a statement is judged against, as it is published now."""
        released = read_released(self._store)
        if released.roster is None:
            raise RefusedError(
                "No roster is published, so nobody is entitled yet: publish one.",
                reason="no_roster",
            )
        cohorts = frozenset(session.scalars(select(CohortRow.name)))
        return Ground(Judge(released.roster, self._clock()), released, cohorts, session)

    def _accept(self, opened: Opened[Any]) -> tuple[bool, list[str], str | None]:
        """Store a statement; whether it is new, the cohorts that are due with it, and its order."""
        order_id: str | None = None
        # Signatures are checked before the turn is taken: rubbish must not keep writers waiting.
        with self._database.reading() as session:
            ground = self._ground(session)
            judge = ground.judge
            if is_of_the_fleet(opened):
                check_of_the_fleet(opened, ground)
            else:
                order_id = check_statement(opened, ground)
            kept = known(session, opened)
            if kept is not None and judge.signer_key(kept) is not None:
                touched = concerned(session, opened, order_id, judge.now)
                return False, _due(session, touched), order_id
        alone = trimmed(opened, lambda one: judge.signer_key(one) is not None)
        with self._database.writing() as session:
            if _stays(opened.said):
                ground = self._ground(session)
                judge = ground.judge
                check_of_the_fleet(alone, ground)
            new = keep(session, alone, judge, order_id)
            touched = concerned(session, opened, order_id, judge.now)
            session.execute(update(CohortRow).where(CohortRow.name.in_(touched)).values(due=True))
            return new, _due(session, touched), order_id


def _stays(said: Said) -> bool:
    """Whether what follows is noted, and would stay noted if the roster changed meanwhile."""
    return isinstance(said, Revocation | Decommission) or (
        isinstance(said, Authorisation) and said.authorises == "enrolment"
    )


def _due(session: Session, cohorts: Collection[str]) -> list[str]:
    wanted = select(CohortRow.name).where(CohortRow.name.in_(cohorts), CohortRow.due.is_(True))
    return list(session.scalars(wanted))
