"""The statements that were accepted, as the database keeps them (I/O, reading).

Rules:

1. An envelope is opened anew each time it is read: no column of the database is believed about
   what was signed. The columns only find it.
2. What is opened here is not judged: that is for ``director`` and ``rollouts``, by the roster of
   the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from interlock_core.acts import POSTED
from interlock_core.api import PAGE
from interlock_core.chain import Papers
from interlock_core.exclusion import Exclusion
from interlock_core.hold import Hold
from interlock_core.order import (
    Assignment,
    Authorisation,
    Go,
    Order,
    Stop,
)
from interlock_core.recall_papers import RECALL_STATEMENTS
from interlock_core.report import Claim, Enrolment
from interlock_core.statement import (
    Envelope,
    Opened,
    S,
    Said,
    open_as,
    open_statement,
    read_envelope,
)
from interlock_server.db.fleet_tables import EnrolmentRow
from interlock_server.db.tables import StatementRow

KEPT: Final = (Order, Authorisation, Go, Stop, Claim, Assignment, Exclusion, Enrolment)
"""What a directive follows from, and what is looked at for it."""

_BESIDE: Final = tuple(type_.PREDICATE for type_ in RECALL_STATEMENTS)
"""What stands beside an order, and no directive follows from."""

MAX_AHEAD: Final = timedelta(minutes=2)
"""How far ahead of ours the clock of somebody who signs may be."""


@dataclass(frozen=True)
class OnFile:
    """Accepted statements by kind, in the order of acceptance; opened, not judged.

    Attributes:
        assignments: those that are not over.
        enrolments: those that the assignments name.
        holds: those that have not expired, and the releases of such.
        sites: by cohort, the sites of these holds that have devices there.
    """

    orders: tuple[Opened[Order], ...]
    authorisations: tuple[Opened[Authorisation], ...]
    goes: tuple[Opened[Go], ...]
    stops: tuple[Opened[Stop], ...]
    exclusions: tuple[Opened[Exclusion], ...] = ()
    assignments: tuple[Opened[Assignment], ...] = ()
    enrolments: tuple[Opened[Enrolment], ...] = ()
    holds: tuple[Opened[Hold], ...] = ()
    sites: Mapping[str, Collection[str]] = field(default_factory=dict)

    @cached_property
    def _orders(self) -> Mapping[str, Sequence[Opened[Order]]]:
        return _grouped(self.orders, lambda order: order.product)

    @cached_property
    def _goes(self) -> Mapping[str, Sequence[Opened[Go]]]:
        return _grouped(self.goes, lambda go: go.order)

    @cached_property
    def _stops(self) -> Mapping[str, Sequence[Opened[Stop]]]:
        return _grouped(self.stops, lambda stop: stop.order)

    @cached_property
    def _words(self) -> Mapping[str, Sequence[Opened[Authorisation]]]:
        return _grouped(self.authorisations, lambda word: word.id)

    def orders_of(self, product: str) -> Sequence[Opened[Order]]:
        """The orders of one product."""
        return self._orders.get(product, ())

    def papers(self, order: Opened[Order]) -> Papers:
        """All that was said about one order, as ``chain`` takes it."""
        goes = self._goes.get(order.id, ())
        words = [
            word for id_ in (order.id, *(go.id for go in goes)) for word in self._words.get(id_, ())
        ]
        return Papers(order, words, goes)

    def words(self, id_: str) -> Sequence[Opened[Authorisation]]:
        """Every authorisation of the statement of this id."""
        return self._words.get(id_, ())

    @cached_property
    def enrolled(self) -> Mapping[str, Opened[Enrolment]]:
        """The enrolments by id."""
        return {one.id: one for one in self.enrolments}

    def stops_of(self, order: Opened[Order]) -> Sequence[Opened[Stop]]:
        """The stops that name an order."""
        return self._stops.get(order.id, ())

    def exclusions_of(self, order: Opened[Order]) -> Sequence[Opened[Exclusion]]:
        """The known issues that are to be left out of an order's counts."""
        return [one for one in self.exclusions if one.said.order == order.id]

    def judging_time(self, now: datetime) -> datetime:
        """Now, or a little later if somebody's clock is ahead of ours.

        Nothing dated after the time of decision counts. What was accepted a moment ago from a
        clock that is seconds ahead would otherwise wait for the next refresh; gateways judge by
        their own clocks anyway.
        """
        kinds: tuple[Iterable[Opened[Said]], ...] = (
            self.orders,
            self.authorisations,
            self.goes,
            self.stops,
            self.exclusions,
            self.assignments,
            self.holds,
        )
        dated = (opened.said.at for kind in kinds for opened in kind)
        return latest(now, dated)


def latest(now: datetime, dated: Iterable[datetime]) -> datetime:
    """The newest of ``dated`` that is not ahead by more than a clock may be, if it is after now."""
    return max([now, *(at for at in dated if at <= now + MAX_AHEAD)])


# Opening costs a parse and a second encoding, and every publication reads what the last one read.
@lru_cache(maxsize=4096)
def open_kept(envelope: bytes) -> Opened[Any]:
    """Open an envelope as it was kept.

    Raises:
        WireError: the database was damaged.
    """
    return open_statement(read_envelope(envelope), POSTED)


# Another memory: a large fleet's enrolments must not drive out what every directive is made from.
@lru_cache(maxsize=4096)
def open_enrolment(envelope: bytes) -> Opened[Enrolment]:
    """Open an enrolment as it was kept.

    Raises:
        WireError: the database was damaged.
    """
    return open_as(read_envelope(envelope), Enrolment)


def trimmed(opened: Opened[S], counts: Callable[[Opened[S]], bool]) -> Opened[S]:
    """The same statement with its author's signature alone.

    It alone counts, and whoever relays a statement could have added others.

    Args:
        counts: whether the author signed; true of ``opened``.
    """
    if len(opened.envelope.signatures) == 1:
        return opened
    for signature in opened.envelope.signatures:
        alone = Envelope(
            payload=opened.envelope.payload,
            payload_type=opened.envelope.payload_type,
            signatures=(signature,),
        )
        candidate = Opened(opened.said, opened.id, opened.payload, alone)
        if counts(candidate):
            return candidate
    raise AssertionError("the author's signature was verified before")


def _grouped(
    opened: Iterable[Opened[S]], key: Callable[[S], str]
) -> Mapping[str, Sequence[Opened[S]]]:
    groups: dict[str, list[Opened[S]]] = {}
    for one in opened:
        groups.setdefault(key(one.said), []).append(one)
    return groups


def collect(opened: Iterable[Opened[Any]]) -> OnFile:
    """Sort statements by kind."""
    kinds: dict[type[Said], list[Opened[Any]]] = {type_: [] for type_ in KEPT}
    for one in opened:
        kinds[type(one.said)].append(one)
    return OnFile(
        orders=tuple(kinds[Order]),
        authorisations=tuple(kinds[Authorisation]),
        goes=tuple(kinds[Go]),
        stops=tuple(kinds[Stop]),
        exclusions=tuple(kinds[Exclusion]),
        assignments=tuple(kinds[Assignment]),
        enrolments=tuple(kinds[Enrolment]),
    )


def read_on_file(session: Session, orders: Sequence[str] | None = None) -> OnFile:
    """What directives follow from: all, or what concerns the orders of these ids."""
    wanted = select(StatementRow.envelope).where(StatementRow.type.not_in(_BESIDE))
    wanted = wanted.order_by(StatementRow.number)
    if orders is not None:
        wanted = wanted.where(StatementRow.order_id.in_(orders))
    return collect(open_kept(envelope) for envelope in session.scalars(wanted))


def find(session: Session, id_: str) -> Opened[Any] | None:
    """One statement about a rollout by its id, or None."""
    envelope = session.scalar(select(StatementRow.envelope).where(StatementRow.id == id_))
    return None if envelope is None else open_kept(envelope)


def at_sites(
    session: Session, envelopes: Sequence[bytes], sites: Collection[str] | None
) -> list[bytes]:
    """Those of the envelopes that are about no device, or about one of these sites; None: all."""
    if sites is None:
        return list(envelopes)
    about = [getattr(open_kept(envelope).said, "enrolment", None) for envelope in envelopes]
    wanted = select(EnrolmentRow.id).where(
        EnrolmentRow.id.in_([id_ for id_ in about if id_]), EnrolmentRow.site.in_(sites)
    )
    seen = {None, *session.scalars(wanted)}
    return [envelope for envelope, id_ in zip(envelopes, about, strict=True) if id_ in seen]


def beside(session: Session, order_id: str, page: int) -> list[bytes]:
    """A page of the envelopes that stand beside an order, and one more if there are more."""
    wanted = select(StatementRow.envelope).where(
        StatementRow.order_id == order_id, StatementRow.type.in_(_BESIDE)
    )
    wanted = wanted.order_by(StatementRow.number).offset((page - 1) * PAGE).limit(PAGE + 1)
    return list(session.scalars(wanted))
