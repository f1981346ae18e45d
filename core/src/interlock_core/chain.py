"""What an order's signed chain says: accepted, opened how far, live, stopped.

Pure. The gateway decides with it, the server publishes with it, and the operator's ``explain``
reads it, so that the three never disagree.

Rules (numbers are those of ``docs/wire-format.md``, "Signed statements"):

4.  A link that names my cohort is judged by my cohort's rule; another by the rule of at least one
    cohort that it names. So one absent hospital blocks no other, and nobody fakes a canary.
5.  The order and the opening of stage 0 each meet ``start``; the opening of a manual stage meets
    ``advance``; a resume meets ``resume``.
10. An auto stage is opened by a monitor alone; other stages never by a monitor. Stage k needs an
    opening of every stage 0 to k.
11. A stage opens for a cohort at the later of its ``opened_at`` and the newest authorisation that
    the rule needed, of the opening and of the order. The next ``opened_at`` follows by the soak.
    Of several openings of one stage the earliest that counts is taken.
12. A renewal copies order, stage and ``opened_at`` of an opening that counts. One monitor or one
    operator signs it. What a monitor signed, renewal or opening, keeps a stage open for at most
    30 days beyond the newest ``go`` of an operator.
13. A stage is live while a ``go`` that counts is unexpired; mine is, while any opened stage at or
    above mine is. What was signed after the lapse keeps nothing open, be it a renewal, an opening
    shown again or the opening of a further stage: only a resume revives. Of one second a resume is
    read first, then openings, then renewals: what people do in one go counts as they did it.
15. A stop stands until a resume that meets the rule names its id. A resume opens no stage.

Nothing dated after now counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from interlock_core.order import MAX_GO, Authorisation, Go, Order, Stop
from interlock_core.placement import inside, point
from interlock_core.roster import MONITOR, OPERATOR, Judge
from interlock_core.statement import Opened
from interlock_core.wire import format_time


@dataclass(frozen=True)
class Papers:
    """The statements about one order, opened but not judged."""

    order: Opened[Order]
    authorisations: Sequence[Opened[Authorisation]]
    goes: Sequence[Opened[Go]]


@dataclass(frozen=True)
class OpenStage:
    """An opening that counts, and when it took effect for the cohort that it was judged for."""

    number: int
    opening: Opened[Go]
    since: datetime


@dataclass(frozen=True)
class Chain:
    """How far an order is open for a cohort.

    Attributes:
        stages: the stages opened without a gap, from 0.
        claims: the highest stage of which an opening was shown, whether it counts or not; -1 if
            none was.
        objection: why the first opening after ``stages`` does not count, if one was shown.
        valid_until: per opened stage, when its newest ``go`` that counts ends.
        openings: every opening of an opened stage that counts.
        renewals: the renewals that count, in the order of signing.
        resumes: the resumes that count.
        by_operator: when an operator signed the newest ``go`` that counts: what a monitor signs
            lasts no longer than 30 days after it (12). None where no stage is open.
    """

    stages: tuple[OpenStage, ...]
    claims: int
    objection: str | None
    valid_until: tuple[datetime, ...]
    openings: tuple[OpenStage, ...]
    renewals: tuple[Opened[Go], ...]
    resumes: tuple[Opened[Go], ...]
    by_operator: datetime | None

    def live_until(self, stage: int) -> datetime | None:
        """When the stage lapses (13), or None if it was never opened."""
        return max(self.valid_until[stage:], default=None)


def accepted_at(judge: Judge, papers: Papers, cohort: str) -> datetime | None:
    """When the order was fully authorised for ``cohort`` (5), or None if it is not."""
    return _Reading(judge, papers).accepted_at(cohort)


def first_stage(order: Order, cohort: str, at: int) -> int | None:
    """The first stage that has this cohort's device inside, or None if none ever has.

    Args:
        at: the device's point (``placement.point``).
    """
    for number, stage in enumerate(order.stages):
        if cohort in stage.cohorts and inside(at, stage.basis_points):
            return number
    return None


def stage_of(order: Order, cohort: str, wanted_sha256: str, device: str) -> int | None:
    """The first stage that has a device inside which takes this target, or None."""
    return first_stage(order, cohort, point(wanted_sha256, device))


def read_chain(judge: Judge, papers: Papers, cohort: str) -> Chain:
    """Judge the whole chain for one cohort."""
    reading = _Reading(judge, papers)
    order = papers.order.said
    stages: list[OpenStage] = []
    openings: list[OpenStage] = []
    objection: str | None = None
    not_before = order.not_before
    for number, stage in enumerate(order.stages):
        counting, objection = reading.openings(number, not_before, cohort)
        if not counting:
            break
        objection = None
        openings += counting
        stages.append(min(counting, key=lambda opened: (opened.since, opened.opening.id)))
        not_before = stages[-1].since + timedelta(seconds=stage.soak_seconds)
    claims = max((go.said.stage for go in reading.goes if go.said.act == "open"), default=-1)
    if objection is None and len(stages) <= claims < len(order.stages):
        objection = f"no opening of stage {len(stages)} was shown"
    resumes = tuple(go for go in reading.goes if reading.resume_counts(go, cohort))
    until, renewals, by_operator = _lifetimes(reading, openings, resumes, cohort)
    return Chain(
        stages=tuple(stages),
        claims=claims,
        objection=objection,
        valid_until=tuple(until[stage.number] for stage in stages),
        openings=tuple(openings),
        renewals=renewals,
        resumes=resumes,
        by_operator=by_operator,
    )


class _Reading:
    """Whose word counts for what in the papers of one order.

    What a server shows is bounded but large: the words about each statement are found once, and
    the order is judged once for each cohort.
    """

    def __init__(self, judge: Judge, papers: Papers) -> None:
        self.judge = judge
        self.order = papers.order
        self.goes = [go for go in papers.goes if go.said.order == papers.order.id]
        self._named = frozenset(papers.order.said.cohorts())
        self._accepted: dict[str, datetime | None] = {}
        self._words: dict[str, list[Opened[Authorisation]]] = {}
        for word in papers.authorisations:
            self._words.setdefault(word.said.id, []).append(word)

    def accepted_at(self, cohort: str) -> datetime | None:
        if cohort not in self._accepted:
            self._accepted[cohort] = self._accepted_at(cohort)
        return self._accepted[cohort]

    def _accepted_at(self, cohort: str) -> datetime | None:
        rules = self.judge.rules_for(cohort)
        if rules is None or cohort not in self._named:
            return None
        return self._said_at(self.order, rules.start, cohort)

    def _said_at(
        self, subject: Opened[Order] | Opened[Go], rule: Mapping[str, int], cohort: str
    ) -> datetime | None:
        """When an operator over ``cohort`` and the others whom ``rule`` asks for had all signed."""
        if self.judge.author_is(subject, (OPERATOR,), cohort) is None:
            return None
        words = self._words.get(subject.id, ())
        since = self.judge.authorised_at(subject, rule, words, cohort)
        return since if since is not None and since <= self.judge.now else None

    def judging_cohorts(self, stage: int, mine: str) -> tuple[str, ...]:
        """By whose rules a link of this stage may be judged (4)."""
        named = self.order.said.stages[stage].cohorts
        return (mine,) if mine in named else named

    def openings(
        self, number: int, not_before: datetime, cohort: str
    ) -> tuple[list[OpenStage], str | None]:
        """The openings of a stage that count, and why one that was shown does not."""
        counting: list[OpenStage] = []
        objection: str | None = None
        for go in self.goes:
            if go.said.act != "open" or go.said.stage != number:
                continue
            if go.said.at > self.judge.now or go.said.opened_at > self.judge.now:
                objection = f"an opening of stage {number} is dated in the future"
                continue
            if go.said.opened_at < not_before:
                objection = f"stage {number} was opened before {format_time(not_before)}"
                continue
            times = [
                since
                for judging in self.judging_cohorts(number, cohort)
                if (since := self._opened_for(go, judging)) is not None
            ]
            if times:
                counting.append(OpenStage(number, go, min(times)))
            else:
                objection = f"an opening of stage {number} lacks signatures that the rule asks for"
        return counting, objection

    def _opened_for(self, go: Opened[Go], cohort: str) -> datetime | None:
        """When this opening took effect for ``cohort``, or None if it does not count there."""
        order_since = self.accepted_at(cohort)
        rules = self.judge.rules_for(cohort)
        if order_since is None or rules is None:
            return None
        if self.order.said.stages[go.said.stage].gate == "auto":
            if self.judge.author_is(go, (MONITOR,), cohort) is None:
                return None
            return max(go.said.opened_at, order_since)
        rule = rules.start if go.said.stage == 0 else rules.advance
        since = self._said_at(go, rule, cohort)
        return None if since is None else max(since, go.said.opened_at, order_since)

    def resume_counts(self, go: Opened[Go], cohort: str) -> bool:
        rules = self.judge.rules_for(cohort)
        return (
            go.said.act == "resume"
            and rules is not None
            and self._said_at(go, rules.resume, cohort) is not None
        )

    def renewer(self, go: Opened[Go], cohort: str) -> str | None:
        """In which role its author may renew this stage, if he may."""
        for judging in self.judging_cohorts(go.said.stage, cohort):
            role = self.judge.author_is(go, (OPERATOR, MONITOR), judging)
            if role is not None:
                return role
        return None


_OF_ONE_SECOND: Final = ("resume", "open", "renew")


def _order_of_reading(go: Opened[Go]) -> tuple[datetime, int, int, str]:
    return go.said.at, _OF_ONE_SECOND.index(go.said.act), go.said.seq, go.id


def _lifetimes(
    reading: _Reading,
    openings: Sequence[OpenStage],
    resumes: Sequence[Opened[Go]],
    cohort: str,
) -> tuple[dict[int, datetime], tuple[Opened[Go], ...], datetime | None]:
    """When the newest ``go`` of each opened stage ends, and the renewals that count (12, 13).

    The third is when an operator signed the newest ``go`` that counts.
    """
    stages = reading.order.said.stages
    opened = {(o.number, o.opening.id, o.opening.said.opened_at) for o in openings}
    numbers = {o.number for o in openings}
    renewals = [
        go
        for go in reading.goes
        if go.said.act == "renew"
        and go.said.at <= reading.judge.now
        and (go.said.stage, go.said.renews, go.said.opened_at) in opened
    ]
    manual = [o.opening.said.at for o in openings if stages[o.number].gate == "manual"]
    by_operator = max([*manual, *(go.said.at for go in resumes)], default=None)
    until: dict[int, datetime] = {}
    kept: list[Opened[Go]] = []
    # An opening that its last signature reached too late never kept anything open.
    alive = [o.opening for o in openings if o.since < o.opening.said.valid_until]
    # In the order of signing, so that each is held against what was in force before it.
    links = [*alive, *resumes, *renewals]
    for go in sorted(links, key=_order_of_reading):
        said, end = go.said, go.said.valid_until
        if said.stage not in numbers:
            continue
        assert by_operator is not None  # stage 0 is manual, and no stage is open without it
        if said.act == "renew":
            role = reading.renewer(go, cohort)
            if role is None or said.at >= until.get(said.stage, said.at):
                continue
            if role == MONITOR and end > by_operator + MAX_GO:
                continue
            if role == OPERATOR:
                by_operator = max(by_operator, said.at)
            kept.append(go)
        elif said.act == "open":
            if stages[said.stage].gate == "auto":
                end = min(end, by_operator + MAX_GO)
            if until and said.at >= (lapse := max(until.values())):
                end = lapse
        until[said.stage] = max(until.get(said.stage, end), end)
    for o in openings:
        until.setdefault(o.number, o.opening.said.valid_until)
    return until, tuple(kept), by_operator


def stop_counts(judge: Judge, stop: Opened[Stop], cohort: str) -> bool:
    """Whether one person entitled to stop at ``cohort``, at its site or anywhere, signed it."""
    return judge.author_is(stop, stop_roles(judge, cohort), cohort, stop.said.site) is not None


def stop_roles(judge: Judge, cohort: str) -> tuple[str, ...]:
    """The roles of which each alone may stop at ``cohort``."""
    rules = judge.rules_for(cohort)
    return (OPERATOR, MONITOR, *(rules.stop if rules is not None else ()))


def cleared(chain: Chain) -> frozenset[str]:
    """The ids of the stops that a resume has ended (15)."""
    return frozenset(stop for go in chain.resumes for stop in go.said.clears)


def applies(stop_cohort: str | None, stop_site: str | None, cohort: str, site: str | None) -> bool:
    """Whether a stop's scope covers a gateway; one that does not know its site is covered."""
    return stop_cohort in (None, cohort) and (
        stop_site is None or site is None or stop_site == site
    )


def goes_in_force(chain: Chain) -> tuple[Opened[Go], ...]:
    """What a directive holds of the goes of one order: every one that counts.

    All renewals too, since only together they show that no stage lapsed (docs/adr/0003).
    """
    return (*(o.opening for o in chain.openings), *chain.resumes, *chain.renewals)
