"""Counts what devices did under the orders in force (I/O: memory; the rules are core's ``action``).

Rules:

1. When a stage opens for a cohort by signatures that count, the devices that stand there are placed
   by core (``placed``), and each that is inside gets its action. That set is frozen: who
   comes later has no vote.
2. Each report that was taken moves the actions of its device, in the order of the log. An order is
   looked at again after each statement about it, so that a report is held against what was signed
   before it.
3. Silence becomes a failure by the monitor's own clock, once the whole log was read, and only where
   the order is live and nothing stops it.
4. A device that is quarantined, or whose enrolment somebody ended, is left out of the counts; a
   vote that it gave stays.
5. A resume by rule is remembered with the counts of its moment (``abort``, rule 6), and what time
   the order stood still is not the devices' silence.
6. Where another order came into force, the actions of this one are let go; were it to come back,
   they would be made again from the newest reports.
7. Failures that two people named as a known issue (``exclusion``) are left out of both sides, as
   long as their signatures count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from interlock_core import wire
from interlock_core.abort import FAILURES, Counts, Place
from interlock_core.action import (
    KNOWN_ISSUE,
    PATIENCE,
    Action,
    Event,
    Excluded,
    Extended,
    Included,
    Tick,
    counts_of,
    opened,
    reported,
    step,
)
from interlock_core.catalogue import Catalogue
from interlock_core.chain import Chain, read_chain
from interlock_core.exclusion import excluded_since
from interlock_core.order import Go, Order
from interlock_core.placed import Placing
from interlock_core.report import Enrolment, Report
from interlock_core.roster import Judge
from interlock_core.statement import Opened, open_as, read_envelope
from interlock_ops.monitor.books import Books
from interlock_ops.monitor.gate import Evidence
from interlock_ops.monitor.memory import Memory

_COLUMNS: Final = (
    "device, stage, cohort, counted, since, deadline, patience, state, reason, vote, vote_reason, "
    "excluded"
)
_AT_ONCE: Final = 500
_OVER: Final = """e.ended IS NOT NULL AND NOT EXISTS
    (SELECT 1 FROM enrolment o WHERE o.device = e.device AND o.stands = 1)"""
"""A device whose enrolment ended, and that has no other in force."""

Row = tuple[Any, ...]


class Counting:
    """The actions of every order; what changes them is inside ``Memory.writing``.

    Args:
        memory: where they are kept.
        books: what was signed.
        catalogue: what a product has released, verified; asked for when a stage opens.
    """

    def __init__(self, memory: Memory, books: Books, catalogue: Callable[[str], Catalogue]) -> None:
        self._memory = memory
        self._books = books
        self._catalogue = catalogue

    # What moves actions

    def settle_product(self, judge: Judge, product: str) -> None:
        """See which stages are open of the orders of a product (rules 1, 5 and 6)."""
        here = self._books.in_force(judge, product)
        begun = {id_ for (id_,) in self._memory.rows("SELECT DISTINCT order_id FROM stage")}
        for id_ in sorted(begun | set(here)):
            order = self._books.order(id_)
            if order is not None and order.said.product == product:
                self._settle(judge, order, here.get(id_, frozenset()))

    def _settle(self, judge: Judge, order: Opened[Order], here: frozenset[str]) -> None:
        papers = self._books.papers(order)
        for cohort in order.said.cohorts():
            if cohort not in here:
                for table in ("action", "stage", "forgiven"):
                    self._memory.run(
                        f"DELETE FROM {table} WHERE order_id = ? AND cohort = ?",  # noqa: S608  # ours
                        order.id,
                        cohort,
                    )
                continue
            chain = read_chain(judge, papers, cohort)
            for stage in chain.stages:
                self._begin(order, cohort, stage.number, stage.since)
            self._forgive(order, cohort, chain)
            self.exclude(judge, order, cohort)

    def _begin(self, order: Opened[Order], cohort: str, number: int, since: datetime) -> None:
        new = self._memory.run(
            "INSERT OR IGNORE INTO stage VALUES (?, ?, ?, ?)",
            order.id,
            number,
            cohort,
            _seconds(since),
        )
        if not new:
            return
        placed = Placing(order.said, self._catalogue(order.said.product))
        begun = opened(number, since, order.said.deadline_seconds)
        for device, heard, envelope, signed in self._standing(cohort, order.said.product):
            hardware = open_as(read_envelope(signed), Enrolment).said.hardware
            report = None if envelope is None else open_as(read_envelope(envelope), Report).said
            running = report.running if report is not None else None
            digest = running.sha256 if running is not None else None
            if placed.stage(cohort, device, hardware, digest) != number:
                continue
            action = begun
            if report is not None:
                word = reported(order, report, _time(heard))
                action = action if word is None else step(action, word)
            self._insert(order.id, device, cohort, action, heard)

    def _standing(self, cohort: str, product: str) -> Iterator[Row]:
        """Devices that count, a part at a time, so that the table may be changed meanwhile."""
        last = ""
        while True:
            rows = list(
                self._memory.rows(
                    "SELECT device, heard_at, report, envelope FROM enrolment WHERE cohort = ? AND "
                    "product = ? AND stands = 1 AND quarantined IS NULL AND device > ? "
                    "ORDER BY device LIMIT ?",
                    cohort,
                    product,
                    last,
                    _AT_ONCE,
                )
            )
            if not rows:
                return
            yield from rows
            last = rows[-1][0]

    def report(self, report: Report, now: datetime) -> None:
        """Move the actions of one device (rule 2)."""
        mine = list(
            self._memory.rows(
                f"SELECT order_id, {_COLUMNS} FROM action WHERE device = ?",  # noqa: S608  # ours
                report.author,
            )
        )
        for order_id, *row in mine:
            order = self._books.order(order_id)
            word = reported(order, report, now) if order is not None else None
            action = _action(row)
            moved = action if word is None else step(action, word)
            if moved != action:
                self._update(order_id, report.author, moved)
            self._memory.run(
                "UPDATE action SET heard_at = ? WHERE order_id = ? AND device = ?",
                _seconds(now),
                order_id,
                report.author,
            )

    def leave_out(self) -> None:
        """Leave devices out that are quarantined or were taken out of service (rule 4)."""
        for why, which in (
            ("quarantined", "e.stands = 1 AND e.quarantined IS NOT NULL"),
            ("ended", _OVER),
        ):
            devices = list(
                self._memory.rows(
                    "SELECT a.order_id, a.device FROM action a JOIN enrolment e ON "  # noqa: S608
                    f"e.device = a.device WHERE {which} AND a.excluded IS NULL AND a.vote IS NULL"
                )
            )
            for order_id, device in devices:
                self._one(order_id, device, Excluded(why))

    def exclude(self, judge: Judge, order: Opened[Order], cohort: str) -> None:
        """Leave known issues out that two people named, and no others (rule 7)."""
        known = [
            one.said
            for one, words in self._books.exclusions(order.id)
            if excluded_since(judge, one, words, cohort) is not None
        ]
        which = f"excluded = '{KNOWN_ISSUE}'" + (" OR excluded IS NULL" if known else "")
        failed = list(
            self._memory.rows(
                "SELECT device, vote, vote_reason, excluded FROM action WHERE order_id = ? AND "  # noqa: S608  # ours
                f"cohort = ? AND vote IS NOT NULL AND ({which})",
                order.id,
                cohort,
            )
        )
        for device, vote, why, excluded in failed:
            named = vote in FAILURES and any(one.covers(device, why) for one in known)
            if named != (excluded is not None):
                self._one(order.id, device, Excluded(KNOWN_ISSUE) if named else Included())

    def tick(self, order: Opened[Order], cohort: str, now: datetime) -> int:
        """Let silence become failure (rule 3); returns how many devices it was."""
        late = "over = 0 AND deadline <= ?"
        return self._each(order.id, cohort, late, (_seconds(now),), Tick(now))

    def _forgive(self, order: Opened[Order], cohort: str, chain: Chain) -> None:
        """Remember what people knew when they resumed (rule 5)."""
        key = f"resume {order.id} {cohort}"
        seen = set(filter(None, (self._memory.get(key) or "").split(" ")))
        fresh = [go for go in chain.resumes if go.id not in seen]
        if not fresh:
            return
        self._memory.put(key, " ".join(sorted(seen | {go.id for go in fresh})))
        for (stage, at), counts in self._counts(order.id).items():
            if at == cohort:
                self._memory.run(
                    "INSERT OR REPLACE INTO forgiven VALUES (?, ?, ?, ?)",
                    order.id,
                    stage,
                    cohort,
                    wire.encode(counts),
                )
        since = min((stage.since for stage in chain.stages), default=None)
        stood_still = max((self._stood_still(go, since) for go in fresh), default=timedelta(0))
        if stood_still > timedelta(0):
            self._each(order.id, cohort, "over = 0", (), Extended(stood_still))

    def _stood_still(self, resume: Opened[Go], since: datetime | None) -> timedelta:
        """For how long it stood still: not from before it began, whatever a stop is dated."""
        stops = (self._books.stop(id_) for id_ in resume.said.clears)
        begun = min((stop.said.at for stop in stops if stop is not None), default=resume.said.at)
        return resume.said.at - (begun if since is None else max(begun, since))

    # What they come to

    def evidence(self, order: Opened[Order], now: datetime) -> Evidence:
        """What the devices of an order did (``gate``)."""
        since = _seconds(now - PATIENCE)
        silent = {
            (stage, cohort): number
            for stage, cohort, number in self._memory.rows(
                "SELECT a.stage, a.cohort, count(*) FROM action a JOIN stage s ON "
                "s.order_id = a.order_id AND s.stage = a.stage AND s.cohort = a.cohort WHERE "
                "a.order_id = ? AND a.over = 0 AND a.excluded IS NULL AND "
                "coalesce(a.heard_at, 0) < max(s.since, ?) GROUP BY a.stage, a.cohort",
                order.id,
                since,
            )
        }
        forgiven = {
            (stage, cohort): wire.decode(text, Counts, limit=4096, what="counts")
            for stage, cohort, text in self._memory.rows(
                "SELECT stage, cohort, counts FROM forgiven WHERE order_id = ?", order.id
            )
        }
        return Evidence(self._counts(order.id), silent, forgiven)

    def _counts(self, order_id: str) -> dict[Place, Counts]:
        found: dict[Place, Counts] = {}
        groups = self._memory.rows(
            "SELECT stage, cohort, counted, state, vote, excluded, count(*) FROM action "
            "WHERE order_id = ? GROUP BY stage, cohort, counted, state, vote, excluded",
            order_id,
        )
        for stage, cohort, counted, state, vote, excluded, number in groups:
            moment = _time(0)
            one = Action(
                stage,
                moment,
                moment,
                timedelta(0),
                state=state,
                vote=vote,
                excluded=excluded,
                counted=bool(counted),
            )
            place = (stage, cohort)
            found[place] = found.get(place, Counts()) + times(counts_of(one), number)
        return found

    # Rows

    def _each(
        self, order_id: str, cohort: str, where: str, values: Iterable[Any], event: Event
    ) -> int:
        devices = list(
            self._memory.rows(
                f"SELECT device FROM action WHERE order_id = ? AND cohort = ? AND {where}",  # noqa: S608  # ours
                order_id,
                cohort,
                *values,
            )
        )
        for (device,) in devices:
            self._one(order_id, device, event)
        return len(devices)

    def _one(self, order_id: str, device: str, event: Event) -> None:
        row = self._memory.row(
            f"SELECT {_COLUMNS} FROM action WHERE order_id = ? AND device = ?",  # noqa: S608  # ours
            order_id,
            device,
        )
        action = _action(row)
        moved = step(action, event)
        if moved != action:
            self._update(order_id, device, moved)

    def _insert(
        self, order_id: str, device: str, cohort: str, action: Action, heard: int | None
    ) -> None:
        self._memory.run(
            "INSERT OR IGNORE INTO action VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            order_id,
            device,
            cohort,
            *_values(action),
            heard,
        )

    def _update(self, order_id: str, device: str, action: Action) -> None:
        self._memory.run(
            "UPDATE action SET stage = ?, counted = ?, since = ?, deadline = ?, patience = ?, "
            "state = ?, reason = ?, vote = ?, vote_reason = ?, excluded = ?, over = ? "
            "WHERE order_id = ? AND device = ?",
            *_values(action),
            order_id,
            device,
        )


def _values(action: Action) -> tuple[Any, ...]:
    return (
        action.stage,
        int(action.counted),
        _seconds(action.since),
        _seconds(action.deadline),
        int(action.patience.total_seconds()),
        action.state,
        action.reason,
        action.vote,
        action.vote_reason,
        action.excluded,
        int(action.over),
    )


def _action(row: Any) -> Action:
    _, stage, _, counted, since, deadline, patience, state, reason, vote, why, excluded = row
    return Action(
        stage=stage,
        since=_time(since),
        deadline=_time(deadline),
        patience=timedelta(seconds=patience),
        state=state,
        reason=reason,
        vote=vote,
        vote_reason=why,
        excluded=excluded,
        counted=bool(counted),
    )


def times(counts: Counts, number: int) -> Counts:
    """The counts of ``number`` actions that stand alike."""
    return Counts(
        started=counts.started * number,
        joined=counts.joined * number,
        excluded=counts.excluded * number,
        recovered=counts.recovered * number,
        reverted=counts.reverted * number,
        states={name: n * number for name, n in counts.states.items()},
        votes={name: n * number for name, n in counts.votes.items()},
    )


def _seconds(time: datetime) -> int:
    return int(time.timestamp())


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
