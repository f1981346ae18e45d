"""One round of the monitor: read, count, decide, read again, sign, send (I/O).

Rules:

1. A round stands still, and says why, whenever it does not know: the roster does not verify, the
   log contradicts itself or is not shown whole, the server cannot be read, or the clock went back.
   Then nothing is signed; a stop that was signed before is sent all the same.
2. Silence becomes failure only after the whole log was read.
3. Before anything is signed, the spool and the log are read once more: what somebody else did
   meanwhile is not done twice, and what somebody stopped meanwhile is not renewed.
4. Everything that must survive is in ``memory``, so a round may be cut off anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from interlock_core import wire
from interlock_core.catalogue import Catalogue
from interlock_core.chain import stop_counts
from interlock_core.errors import InterlockError, RefusedError, TransientError
from interlock_core.exclusion import Exclusion
from interlock_core.order import Authorisation, Go, Order, Stop
from interlock_core.roster import Judge
from interlock_core.statement import Envelope, Opened, open_statement
from interlock_ops.monitor import spool
from interlock_ops.monitor.acting import Acting, Sent, turn
from interlock_ops.monitor.alerts import Alert
from interlock_ops.monitor.books import Books
from interlock_ops.monitor.config import MonitorSettings
from interlock_ops.monitor.counting import Counting
from interlock_ops.monitor.feed import CURSOR, Feed
from interlock_ops.monitor.intake import KEPT, Intake
from interlock_ops.monitor.judging import Act, Case, Verdict, judge_order, live_and_free
from interlock_ops.monitor.memory import Memory
from interlock_ops.recall_reads import catalogue
from interlock_ops.session import Session

LAST: Final = "last_round"
_ROLLOUT: Final = (Order, Authorisation, Go, Exclusion)


@dataclass
class Result:
    """What one round came to.

    Attributes:
        read: entries of the log that were read.
        verdicts: about each order in force.
        sent: what became of each statement that was to be sent.
        error: why the round stands still, or None.
    """

    at: datetime
    read: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    error: InterlockError | None = None


class Round:
    """One round.

    Args:
        settings: of the monitor.
        memory: its own.
        session: that sees repository and log as they are now, with the key opened.
        now: when.
        alive: called from time to time: reading a large log for the first time takes long.

    Attributes:
        alerts: what people must know.
    """

    def __init__(
        self,
        settings: MonitorSettings,
        memory: Memory,
        session: Session,
        now: datetime,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._alive = alive
        self._settings = settings
        self._memory = memory
        self._session = session
        self._now = now
        self._books = Books(memory)
        self._counting = Counting(memory, self._books, self._catalogue)
        self._acting = Acting(memory, session, session.signer)
        self.alerts: list[Alert] = []

    def run(self) -> Result:
        """Do it all.

        Raises:
            InterlockError: the memory cannot be used.
        """
        result = Result(self._now)
        try:
            self._check_clock()
            self._begin()
            self._read(result)
            self._decide_and_sign(result)
        except InterlockError as e:
            result.error = e
        result.sent = self._acting.send(None if result.error else self._wanted(result))
        return result

    # Before anything else

    def _check_clock(self) -> None:
        last = self._memory.get(LAST)
        if last is not None and self._now < datetime.fromtimestamp(int(last), UTC):
            raise TransientError(
                f"It is {wire.format_time(self._now)} by this machine, which is before the last "
                "round: set its clock right.",
                reason="clock_went_back",
            )

    def _begin(self) -> None:
        """See who this is in the verified roster, and judge the devices by it.

        Only a time at which the metadata verifies is remembered: a clock that is years ahead for
        one round must not keep every later one standing still.
        """
        assert self._turn >= 0
        with self._memory.writing():
            self._memory.put(LAST, str(int(self._now.timestamp())))
            Intake(self._memory, self._judge).settle_all(self._judge.roster.seq)

    @cached_property
    def _judge(self) -> Judge:
        return Judge(self._session.roster, self._now)

    @cached_property
    def _turn(self) -> int:
        return turn(self._judge, self._session.public_key)

    def _catalogue(self, product: str) -> Catalogue:
        """What a product has released; nothing is listed of one that publishes nothing."""
        try:
            return catalogue(self._session, product)
        except RefusedError as e:
            if e.reason != "no_such_target":
                raise
            return Catalogue(product, ())

    # Reading (rules 2 and 3)

    def _read(self, result: Result) -> None:
        self._take_spool()
        feed = Feed(self._session, self._memory)
        for end, page in feed.pages():
            start = feed.cursor
            with self._memory.writing():
                intake = Intake(self._memory, self._judge)
                for _, envelope in page:
                    if envelope is not None:
                        self._take(intake, envelope)
                self._note_trouble(intake)
                self._memory.put(CURSOR, str(end))
            result.read += end - start
            self._alive()
        with self._memory.writing():
            # By what was signed for a time that is only now past, and by a new roster.
            for product in self._books.products():
                self._counting.settle_product(self._judge, product)

    def _take(self, intake: Intake, envelope: Envelope) -> None:
        if intake.take(envelope) != "kept":
            return
        said = open_statement(envelope, KEPT).said
        if isinstance(said, _ROLLOUT):
            order = said if isinstance(said, Order) else None
            known = self._books.order_of(said) if order is None else None
            product = order.product if order else known.said.product if known else None
            if product is not None:
                self._counting.settle_product(self._judge, product)
        for report in intake.reported:
            self._counting.report(report, self._now)
        intake.reported.clear()

    def _note_trouble(self, intake: Intake) -> None:
        if intake.left_out:
            self._counting.leave_out()
        for name, times in intake.trouble.items():
            self._memory.run(
                "INSERT INTO trouble VALUES (?, ?, 0) ON CONFLICT (name) DO UPDATE SET "
                "times = times + excluded.times",
                name,
                times,
            )

    def _take_spool(self) -> None:
        directory = self._settings.stops
        if directory is None:
            return
        for delivered in spool.look(directory):
            stop = delivered.stop
            why = delivered.why if stop is None else self._keep_stop(stop)
            if why:
                name = delivered.path.name
                self.alerts.append(Alert("bad_delivery", name, f"{name}: {why}", lasts=False))
                spool.put_aside(delivered.path)
            else:
                spool.let_go(delivered.path)

    def _keep_stop(self, stop: Opened[Stop]) -> str:
        """Take a stop that was delivered, and see that it is sent on; returns what is wrong."""
        with self._memory.writing():
            taken = Intake(self._memory, self._judge).take(stop.envelope)
            if taken not in {"kept", "known"}:
                return f"its author {stop.said.author} did not sign it by the roster ({taken})"
            if taken == "kept":
                why = f"by {stop.said.author}: {stop.said.reason}"
                envelope = wire.encode(stop.envelope)
                self._acting.keep(stop.id, f"stop {stop.id} delivered", self._now, why, envelope)
        return ""

    # Deciding

    def _decide_and_sign(self, result: Result) -> None:
        self._tick()
        cases, verdicts = self._verdicts()
        ripe = self._ripe(verdicts)
        if ripe:
            before = self._memory.get(CURSOR)
            self._read(result)
            if self._memory.get(CURSOR) != before or self._settings.stops is not None:
                cases, verdicts = self._verdicts()
            still = {act.key for verdict in verdicts for act in verdict.acts}
            for act in ripe:
                if act.key in still:
                    self._sign(act, cases[act.order])
        result.verdicts = verdicts

    def _tick(self) -> None:
        """Let silence become failure where the order is live and nothing stops it (rule 2)."""
        with self._memory.writing():
            for case in self._cases().values():
                for cohort in live_and_free(self._judge, case):
                    self._counting.tick(case.papers.order, cohort, self._now)
                for cohort in case.here:
                    self._counting.exclude(self._judge, case.papers.order, cohort)

    def _verdicts(self) -> tuple[dict[str, Case], list[Verdict]]:
        cases = self._cases()
        me, terms = self._session.me, self._settings.terms
        return cases, [judge_order(self._judge, me, one, terms) for one in cases.values()]

    def _cases(self) -> dict[str, Case]:
        short = frozenset(self._short())
        cases: dict[str, Case] = {}
        for product in self._books.products():
            for id_, here in sorted(self._books.in_force(self._judge, product).items()):
                order = self._books.order(id_)
                assert order is not None
                stops = [
                    stop
                    for stop, counted in self._books.stops(id_)
                    if counted or any(stop_counts(self._judge, stop, c) for c in here)
                ]
                evidence = self._counting.evidence(order, self._now)
                cases[id_] = Case(self._books.papers(order), stops, here, evidence, short)
        return cases

    def _short(self) -> Sequence[str]:
        """The cohorts of which too few devices are known."""
        found = []
        for cohort, least in self._settings.least_devices.items():
            (number,) = self._memory.row(
                "SELECT count(*) FROM enrolment WHERE cohort = ? AND stands = 1", cohort
            )
            if number < least:
                found.append(cohort)
                detail = f"{number} devices of {cohort} are in the log, and there are {least}"
                self.alerts.append(Alert("devices_missing", cohort, detail))
        return found

    def _ripe(self, verdicts: Sequence[Verdict]) -> list[Act]:
        acts = [act for verdict in verdicts for act in verdict.acts]
        return self._acting.ripe(acts, self._now, self._turn * self._settings.stagger)

    def _sign(self, act: Act, case: Case) -> None:
        try:
            checkpoint = self._session.checkpoint
            self._acting.sign(self._judge, self._session.me, act, case, checkpoint)
        except InterlockError as e:
            if e.reason != "would_not_count":
                raise
            self.alerts.append(Alert("would_not_count", act.order, str(e), lasts=False))

    def _wanted(self, result: Result) -> set[str]:
        """The orders that may go on somewhere: about others nothing is sent but stops."""
        return {
            verdict.order.id
            for verdict in result.verdicts
            if verdict.free and not any(one.reason == "abort_threshold" for one in verdict.waits)
        }
