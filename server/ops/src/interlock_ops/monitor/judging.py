"""What the monitor signs about one order now, and why it does not sign more (pure).

Rules (numbers are those of ``docs/wire-format.md``, "Signed statements"; letters are its own):

a.  Everything is read from statements that were verified against the roster of the moment, by the
    code that gateways decide with (``chain``), and at the monitor's own time.
b.  Nothing is signed about an order that is in force nowhere (superseded, or ended by the roster),
    has expired, is not open (people start it, 10), or has lapsed (only a resume revives, 13).
c.  Where a stop stands at a cohort, neither an opening nor a renewal is signed for it: not by any
    stop that ever counted, until a resume that meets the cohort's rule names it (15, 16). A stop
    for one site binds the gateways of that site, and holds no other hospital up; nor does the stop
    of somebody who may stop elsewhere alone.
d.  An opening is signed of the next stage alone, if its gate is ``auto`` (10), after the soak of
    the stage before, counted between signed times (11), if ``gate`` finds the evidence good, and if
    no cohort before it has fewer devices than people said: a server may hide enrolments too.
    Cohorts that were late get an opening of their own, at most one of a stage every hour.
e.  A renewal is signed of the newest stage that is live, when less than ``renew_before`` of it is
    left (12), not while the evidence asks for a stop, and not once every stage is open and every
    device is done.
f.  A stop is signed as soon as the order's own abort settings ask for it, while any cohort is live
    where the monitor may stop and no stop of the whole order stands that gateways there follow by
    the roster of the moment.
g.  What is signed lasts no longer than the order, than ``valid_for``, and than 30 days after the
    newest ``go`` of an operator (12). Where that gains nothing, an operator is called.
h.  A resume by rule is the word of people who knew the failures: those before it are not counted
    again (``counting``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from interlock_core.chain import (
    Chain,
    Papers,
    applies,
    cleared,
    read_chain,
    stop_counts,
    stop_roles,
)
from interlock_core.order import MAX_GO, Go, Order, Stop
from interlock_core.roster import MONITOR, Judge
from interlock_core.statement import Opened
from interlock_core.wire import format_time
from interlock_ops.monitor.gate import Evidence, gate_objection, stop_reason

BETWEEN_OPENINGS: Final = timedelta(hours=1)
"""Between two openings of one stage: consents that dribble in must not fill the directive."""

ActKind = Literal["open", "renew", "stop"]


@dataclass(frozen=True)
class Terms:
    """How long what is signed lasts, and when it is renewed."""

    valid_for: timedelta
    renew_before: timedelta


@dataclass(frozen=True)
class Case:
    """What is known of one order, verified.

    Attributes:
        stops: those that count now or ever counted (c).
        here: the cohorts in which this order is in force.
        evidence: what its devices did.
        short: cohorts of which fewer devices are known than people said that there are.
    """

    papers: Papers
    stops: Sequence[Opened[Stop]]
    here: frozenset[str]
    evidence: Evidence
    short: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Act:
    """One statement to sign.

    Attributes:
        stage: of an opening or a renewal.
        renews: of a renewal, the opening.
        opened_at: of a renewal, that of the opening; of an opening, when it is signed.
        until: when it ends, at the latest.
        why: what is signed as the reason.
    """

    kind: ActKind
    order: str
    why: str
    stage: int = 0
    renews: str | None = None
    opened_at: datetime | None = None
    until: datetime | None = None
    seq: int = 1

    @property
    def key(self) -> str:
        """Names what is to be done, whoever does it and in whatever words."""
        return f"{self.kind} {self.order} {self.stage} {self.renews or ''}".rstrip()


@dataclass(frozen=True)
class Waits:
    """Why something is not signed: a stable name and a sentence.

    Attributes:
        call: whether somebody must be told, since waiting alone will not mend it.
    """

    reason: str
    detail: str
    call: bool = False


@dataclass(frozen=True)
class Verdict:
    """What to sign about one order, and what waits.

    Attributes:
        free: the cohorts in which it is live and nothing stops it.
    """

    order: Opened[Order]
    acts: tuple[Act, ...]
    waits: tuple[Waits, ...]
    free: tuple[str, ...] = ()


def judge_order(judge: Judge, me: str, case: Case, terms: Terms) -> Verdict:
    """Decide about one order.

    Args:
        judge: the verified roster at the monitor's time.
        me: the monitor, as the roster names it.
        case: what is known of the order.
        terms: from the settings.
    """
    work = _Order(judge, me, case, terms)
    ended = work.ended()
    if ended is not None:
        return Verdict(case.papers.order, (), (ended,))
    work.stop()
    if not work.acts:
        work.open()
        work.renew()
    free = tuple(live_and_free(judge, case))
    return Verdict(case.papers.order, tuple(work.acts), tuple(work.waits), free)


def live_and_free(judge: Judge, case: Case) -> list[str]:
    """The cohorts in which the order is live and not stopped: where silence counts."""
    work = _Order(judge, "", case, Terms(MAX_GO, MAX_GO))
    if work.said.expires <= judge.now:
        return []
    return [cohort for cohort in work.live() if cohort not in work.blocked]


@dataclass
class _Order:
    """One order at work: chains by cohort, and what was found to do."""

    judge: Judge
    me: str
    case: Case
    terms: Terms
    acts: list[Act] = field(default_factory=list)
    waits: list[Waits] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.order = self.case.papers.order
        self.said = self.order.said
        self.now = self.judge.now
        self.here = sorted(self.case.here)
        self.chains: Mapping[str, Chain] = {
            cohort: read_chain(self.judge, self.case.papers, cohort) for cohort in self.here
        }
        self.blocked = {
            cohort: standing
            for cohort, chain in self.chains.items()
            if (standing := self._standing(cohort, chain))
        }

    def _standing(self, cohort: str, chain: Chain) -> list[Opened[Stop]]:
        over = cleared(chain)
        return [
            stop
            for stop in self.case.stops
            if stop.id not in over
            and stop.said.site is None
            and applies(stop.said.cohort, None, cohort, None)
            and (self._follows(stop, cohort) or not any(self._follows(stop, c) for c in self.here))
        ]

    def _follows(self, stop: Opened[Stop], cohort: str) -> bool:
        """Whether gateways of a cohort follow a stop; by one who was revoked, none does anew."""
        return stop_counts(self.judge, stop, cohort)

    def ended(self) -> Waits | None:
        """Why nothing at all is signed about it (b)."""
        if not self.case.here:
            return Waits("superseded_order", "it is in force nowhere")
        if self.said.expires <= self.now:
            return Waits("expired_order", f"it expired at {format_time(self.said.expires)}")
        if not any(chain.stages for chain in self.chains.values()):
            return Waits("stage_not_open", "people have not opened stage 0")
        if not self.live():
            return Waits("go_lapsed", "it has lapsed: only a resume revives it", call=True)
        if not any(self.judge.holds(self.me, MONITOR, cohort) for cohort in self.chains):
            return Waits("role_not_held", f"{self.me} is a monitor over none of its cohorts")
        return None

    def live(self) -> list[str]:
        """The cohorts in which it has not lapsed."""
        return [
            cohort
            for cohort, chain in self.chains.items()
            if (until := chain.live_until(0)) is not None and until > self.now
        ]

    def stop(self) -> None:
        """The automatic stop (f)."""
        why = stop_reason(self.said.abort, self.case.evidence)
        if why is None:
            return
        self.waits.append(Waits("abort_threshold", why, call=True))
        whole = [
            cohort
            for cohort, standing in self.blocked.items()
            if any(stop.said.cohort is None and self._follows(stop, cohort) for stop in standing)
        ]
        if any(cohort not in whole and self._may_stop(cohort) for cohort in self.live()):
            self.acts.append(Act("stop", self.order.id, why))

    def _may_stop(self, cohort: str) -> bool:
        return any(
            self.judge.holds(self.me, role, cohort) for role in stop_roles(self.judge, cohort)
        )

    # What lets a rollout go on

    def _mine(self, cohort: str) -> bool:
        """Whether the monitor may sign for this cohort, and nothing stands against it (c)."""
        return cohort not in self.blocked and self.judge.holds(self.me, MONITOR, cohort)

    def open(self) -> None:
        """The next stage, for the cohorts that are ready for it (d)."""
        ready: dict[int, list[str]] = {}
        for cohort in self.live():
            chain = self.chains[cohort]
            number = len(chain.stages)
            if number == len(self.said.stages):
                continue
            stage = self.said.stages[number]
            if stage.gate != "auto" or cohort not in stage.cohorts:
                continue
            if cohort in self.blocked:
                self._say_blocked(cohort)
                continue
            soak = timedelta(seconds=self.said.stages[number - 1].soak_seconds)
            earliest = chain.stages[-1].since + soak
            if self.now < earliest:
                detail = f"stage {number} of {cohort} soaks until {format_time(earliest)}"
                self.waits.append(Waits("soak", detail))
            elif self.judge.holds(self.me, MONITOR, cohort):
                ready.setdefault(number, []).append(cohort)
        for number, cohorts in sorted(ready.items()):
            self._open(number, cohorts)

    def _say_blocked(self, cohort: str) -> None:
        standing = self.blocked[cohort]
        by = ", ".join(sorted({stop.said.author for stop in standing}))
        self.waits.append(Waits("stopped", f"a stop by {by} stands at {cohort}"))

    def _open(self, number: int, cohorts: Sequence[str]) -> None:
        before = {one for stage in self.said.stages[:number] for one in stage.cohorts}
        short = sorted(before & self.case.short)
        if short:
            detail = f"stage {number}: devices of {', '.join(short)} are missing from the log"
            self.waits.append(Waits("devices_missing", detail))
            return
        objection = gate_objection(self.said.abort, self.case.evidence, number)
        if objection is not None:
            where = f"stage {number} ({', '.join(cohorts)})"
            self.waits.append(
                Waits(objection.reason, f"{where}: {objection.detail}", call=objection.call)
            )
            return
        shown = [
            go
            for go in self._goes()
            if (go.said.act, go.said.stage) == ("open", number)
            and go.said.at > self.now - BETWEEN_OPENINGS
            and any(self.judge.holds(go.said.author, MONITOR, one) for one in cohorts)
        ]
        if shown:
            detail = f"stage {number} was opened within the hour; {', '.join(cohorts)} wait"
            self.waits.append(Waits("opened_lately", detail))
            return
        until = self._until(min(self._bound(cohort) for cohort in cohorts))
        if until <= self.now:
            self._call_operator(cohorts)
            return
        why = f"the soak of stage {number - 1} is over: {self.case.evidence.says(number)}"
        self.acts.append(
            Act(
                "open",
                self.order.id,
                why,
                stage=number,
                opened_at=self.now,
                until=until,
                seq=self._seq(number),
            )
        )

    def renew(self) -> None:
        """What would lapse soon (e)."""
        if self._finished():
            self.waits.append(Waits("finished", "every stage is open and every device is done"))
            return
        found: dict[str, Act] = {}
        late: list[str] = []
        for cohort in self.live():
            chain = self.chains[cohort]
            number = max(n for n, end in enumerate(chain.valid_until) if end > self.now)
            left = chain.valid_until[number] - self.now
            if left >= self.terms.renew_before:
                continue
            if cohort in self.blocked:
                self._say_blocked(cohort)
                continue
            if not self._may_renew(number, cohort):
                continue
            until = self._until(self._bound(cohort))
            if until <= chain.valid_until[number]:
                late.append(cohort)
                continue
            opening = chain.stages[number].opening
            known = found.get(opening.id)
            found[opening.id] = Act(
                "renew",
                self.order.id,
                f"stage {number} would lapse at {format_time(chain.valid_until[number])}: "
                f"{self.case.evidence.says(number + 1)}",
                stage=number,
                renews=opening.id,
                opened_at=opening.said.opened_at,
                # Of several cohorts under one opening the nearest bound holds, or the renewal
                # would count for nobody there.
                until=until if known is None or known.until is None else min(until, known.until),
                seq=self._seq(number) + len(found) if known is None else known.seq,
            )
        self.acts += found.values()
        if late:
            self._call_operator(late)

    def _may_renew(self, number: int, cohort: str) -> bool:
        named = self.said.stages[number].cohorts
        judging = (cohort,) if cohort in named else named
        return any(self.judge.holds(self.me, MONITOR, one) for one in judging)

    def _finished(self) -> bool:
        opened = all(len(c.stages) == len(self.said.stages) for c in self.chains.values())
        return opened and self.case.evidence.all_done()

    def _call_operator(self, cohorts: Sequence[str]) -> None:
        detail = (
            f"{', '.join(cohorts)}: a monitor's signature lasts no longer than 30 days after an "
            f"operator's; 'interlock-ops rollout renew {self.order.id}' by an operator keeps it "
            "alive"
        )
        self.waits.append(Waits("operator_needed", detail, call=True))

    def _bound(self, cohort: str) -> datetime:
        by_operator = self.chains[cohort].by_operator
        assert by_operator is not None  # stage 0 is manual, and open where the cohort is live
        return by_operator + MAX_GO

    def _until(self, bound: datetime) -> datetime:
        return min(self.now + self.terms.valid_for, bound, self.said.expires)

    def _goes(self) -> list[Opened[Go]]:
        return [go for go in self.case.papers.goes if self.judge.signer_key(go) is not None]

    def _seq(self, stage: int) -> int:
        return 1 + max((go.said.seq for go in self._goes() if go.said.stage == stage), default=0)
