"""What people signed, as the monitor keeps it (I/O: reads memory).

Rule: opening judges nothing. Whose signature counts is asked of the roster of the moment.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from interlock_core import current
from interlock_core.chain import Papers
from interlock_core.exclusion import Exclusion
from interlock_core.order import Authorisation, Go, Order, Stop
from interlock_core.roster import Judge
from interlock_core.statement import Opened, Said, open_as, read_envelope
from interlock_ops.monitor.memory import Memory

_KEPT_OPEN: Final = 1024

Word = Opened[Authorisation]
S = TypeVar("S", bound=Said)


class Books:
    """Orders and what was signed about them."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        # The same few are asked for with every report.
        self._opened: dict[str, Opened[Order]] = {}

    def products(self) -> list[str]:
        """The products of which there are orders."""
        rows = self._memory.rows("SELECT DISTINCT about FROM paper WHERE kind = 'order'")
        return sorted(product for (product,) in rows)

    def orders(self, product: str) -> list[Opened[Order]]:
        """Every order of a product."""
        rows = self._memory.rows(
            "SELECT id FROM paper WHERE kind = 'order' AND about = ? ORDER BY rowid", product
        )
        return [order for (id_,) in list(rows) if (order := self.order(id_)) is not None]

    def order(self, id_: str) -> Opened[Order] | None:
        """The order of that id, if it is known."""
        if id_ not in self._opened:
            found = self._all(Order, "kind = 'order' AND id = ?", id_)
            if not found:
                return None
            if len(self._opened) >= _KEPT_OPEN:
                self._opened.clear()
            self._opened[id_] = found[0]
        return self._opened[id_]

    def papers(self, order: Opened[Order]) -> Papers:
        """The order with its chain and their authorisations."""
        goes = self._all(Go, "kind = 'go' AND about = ?", order.id)
        words = [
            word
            for id_ in (order.id, *(go.id for go in goes))
            for word in self._all(Authorisation, "kind = 'authorisation' AND about = ?", id_)
        ]
        return Papers(order, words, goes)

    def stops(self, order_id: str) -> list[tuple[Opened[Stop], bool]]:
        """The stops of an order, each with whether it ever counted."""
        rows = self._memory.rows(
            "SELECT envelope, counted FROM paper WHERE kind = 'stop' AND about = ?", order_id
        )
        return [(open_as(read_envelope(one), Stop), bool(counted)) for one, counted in rows]

    def stop(self, id_: str) -> Opened[Stop] | None:
        """The stop of that id, if it is known."""
        found = self._all(Stop, "kind = 'stop' AND id = ?", id_)
        return found[0] if found else None

    def exclusions(self, order_id: str) -> list[tuple[Opened[Exclusion], list[Word]]]:
        """The exclusions of an order, each with what was said about it."""
        return [
            (one, self._all(Authorisation, "kind = 'authorisation' AND about = ?", one.id))
            for one in self._all(Exclusion, "kind = 'exclusion' AND about = ?", order_id)
        ]

    def in_force(self, judge: Judge, product: str) -> dict[str, frozenset[str]]:
        """The orders of a product that are in force, by id: in which cohorts (``current``)."""
        orders = self.orders(product)
        papers: dict[str, Papers] = {}

        def asked(one: Opened[Order]) -> Papers:
            if one.id not in papers:
                papers[one.id] = self.papers(one)
            return papers[one.id]

        found: dict[str, set[str]] = {}
        for cohort in sorted({cohort for order in orders for cohort in order.said.cohorts()}):
            one = current.in_force(judge, orders, asked, cohort)
            if one is not None:
                found.setdefault(one.id, set()).add(cohort)
        return {id_: frozenset(cohorts) for id_, cohorts in found.items()}

    def order_of(self, said: Said) -> Opened[Order] | None:
        """The order that a statement is about."""
        match said:
            case Go() | Stop() | Exclusion():
                return self.order(said.order)
            case Authorisation(authorises="order"):
                return self.order(said.id)
            case Authorisation(authorises="go" | "exclusion"):
                row = self._memory.row("SELECT about FROM paper WHERE id = ?", said.id)
                return None if row is None else self.order(row[0])
        return None

    def _all(self, type_: type[S], where: str, *values: Any) -> list[Opened[S]]:
        rows = self._memory.rows(
            f"SELECT envelope FROM paper WHERE {where} ORDER BY rowid",  # noqa: S608  # ours
            *values,
        )
        return [open_as(read_envelope(envelope), type_) for (envelope,) in rows]
