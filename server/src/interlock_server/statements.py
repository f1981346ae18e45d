"""Takes statements in: orders, authorisations, goes and stops (I/O).

Rules:

1. A statement is judged by the roster in force before it is stored (``acceptance``). A refusal has
   a name, is logged, and is counted.
2. The author's signature is all that is kept of an envelope's signatures: it alone counts, and
   whoever relays a statement could have added others.
3. The same statement again is success. Directives follow before the answer; if they cannot be
   published, the statement stays stored, the answer says so, and the same call again publishes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from interlock_core import wire
from interlock_core.api import Accepted
from interlock_core.clock import Clock
from interlock_core.errors import ConflictError, InterlockError, RefusedError, TransientError
from interlock_core.order import Order
from interlock_core.roster import Judge
from interlock_core.statement import Envelope, Opened, open_statement, read_envelope
from interlock_core.store import Store
from interlock_server.acceptance import Ground, check_statement
from interlock_server.db.session import Database
from interlock_server.db.tables import CohortRow, StatementRow
from interlock_server.heads import Publisher
from interlock_server.image import read_released
from interlock_server.onfile import POSTED, find
from interlock_server.refusals import counted


def _trimmed(opened: Opened[Any], judge: Judge) -> Opened[Any]:
    """The same statement with the author's signature alone (rule 3)."""
    for signature in opened.envelope.signatures:
        alone = Envelope(
            payload=opened.envelope.payload,
            payload_type=opened.envelope.payload_type,
            signatures=(signature,),
        )
        candidate = open_statement(alone, POSTED)
        if Judge(judge.roster, judge.now).signer_key(candidate) is not None:
            return candidate
    raise AssertionError("the author's signature was verified before")


class Statements:
    """Where statements are posted.

    Args:
        database: where they are kept.
        store: what is published.
        publisher: publishes directives.
        clock: now.
    """

    def __init__(
        self, database: Database, store: Store, publisher: Publisher, clock: Clock
    ) -> None:
        self._database = database
        self._store = store
        self._publisher = publisher
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
        with counted(self._database, self._clock, "statement"):
            new, cohorts = self._accept(opened)
        try:
            self._publisher.publish_cohorts(cohorts)
        except InterlockError as e:
            raise TransientError(
                f"The statement {opened.id[:12]} is stored, but the directives could not be "
                f"published: {e} Send it again, or run 'interlock-server refresh'.",
                reason="not_published",
            ) from e
        return Accepted(id=opened.id, type=opened.said.PREDICATE), new

    def _accept(self, opened: Opened[Any]) -> tuple[bool, tuple[str, ...]]:
        released = read_released(self._store)
        if released.roster is None:
            raise RefusedError(
                "No roster is published, so nobody is entitled yet: publish one.",
                reason="no_roster",
            )
        judge = Judge(released.roster, self._clock())
        # Signatures are checked before the turn is taken: rubbish must not keep writers waiting.
        with self._database.reading() as session:
            cohorts = frozenset(session.scalars(select(CohortRow.name)))
            order_id = check_statement(opened, Ground(judge, released, cohorts, session))
        kept = _trimmed(opened, judge)
        with self._database.writing() as session:
            new = _keep(session, kept, judge, order_id)
            order = find(session, order_id)
        assert order is not None
        return new, tuple(cohort for cohort in order.said.cohorts() if cohort in cohorts)


def _keep(session: Session, opened: Opened[Any], judge: Judge, order_id: str) -> bool:
    envelope = wire.encode(opened.envelope)
    known = find(session, opened.id)
    if known is not None:
        # The same words under a key that the roster has since taken away: the new signature lives.
        if Judge(judge.roster, judge.now).signer_key(known) is None:
            session.execute(
                update(StatementRow).where(StatementRow.id == opened.id).values(envelope=envelope)
            )
        return False
    order = opened.said if isinstance(opened.said, Order) else None
    if order is not None:
        _check_seq(session, order)
    session.add(
        StatementRow(
            id=opened.id,
            type=opened.said.PREDICATE,
            author=opened.said.author,
            order_id=order_id,
            product=order.product if order else None,
            seq=order.seq if order else None,
            received_at=judge.now,
            envelope=envelope,
        )
    )
    session.flush()
    return True


def _check_seq(session: Session, order: Order) -> None:
    """One number, one order (rule 7 of the statements)."""
    same = (StatementRow.product == order.product, StatementRow.seq == order.seq)
    if session.scalar(select(StatementRow.id).where(*same)) is not None:
        raise ConflictError(
            f"Another order of {order.product} has seq {order.seq}: propose this one again with a "
            "higher one.",
            reason="seq_taken",
        )
