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
    operator signs it; a monitor's reaches at most 30 days beyond the newest ``go`` of an operator.
13. A stage is live while a ``go`` that counts is unexpired; mine is, while any opened stage at or
    above mine is. A renewal signed after the lapse counts for nothing: only a resume revives.
15. A stop stands until a resume that meets the rule names its id. A resume opens no stage.

Nothing dated after now counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from interlock_core.order import MAX_GO, Authorisation, Go, Order, Stop
from interlock_core.placement import inside
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
    """

    stages: tuple[OpenStage, ...]
    claims: int
    objection: str | None
    valid_until: tuple[datetime, ...]
    openings: tuple[OpenStage, ...]
    renewals: tuple[Opened[Go], ...]
    resumes: tuple[Opened[Go], ...]

    def live_until(self, stage: int) -> datetime | None:
        """When the stage lapses (13), or None if it was never opened."""
        return max(self.valid_until[stage:], default=None)


def accepted_at(judge: Judge, papers: Papers, cohort: str) -> datetime | None:
    """When the order was fully authorised for ``cohort`` (5), or None if it is not."""
    rules = judge.roster.rules_for(cohort)
    order = papers.order
    if rules is None or cohort not in order.said.cohorts():
        return None
    if judge.author_is(order, (OPERATOR,), cohort) is None or order.said.at > judge.now:
        return None
    since = judge.authorised_at(order, rules.start, papers.authorisations, cohort)
    return since if since is not None and since <= judge.now else None


def first_stage(order: Order, cohort: str, point: int) -> int | None:
    """The first stage that has this cohort's device inside, or None if none ever has."""
    for number, stage in enumerate(order.stages):
        if cohort in stage.cohorts and inside(point, stage.basis_points):
            return number
    return None


def _judging_cohorts(order: Order, stage: int, mine: str) -> tuple[str, ...]:
    named = order.stages[stage].cohorts
    return (mine,) if mine in named else named


def _opened_for(judge: Judge, papers: Papers, go: Opened[Go], cohort: str) -> datetime | None:
    """When this opening took effect for ``cohort``, or None if it does not count there."""
    order_since = accepted_at(judge, papers, cohort)
    rules = judge.roster.rules_for(cohort)
    if order_since is None or rules is None:
        return None
    if papers.order.said.stages[go.said.stage].gate == "auto":
        if judge.author_is(go, (MONITOR,), cohort) is None:
            return None
        since: datetime | None = go.said.opened_at
    else:
        if judge.author_is(go, (OPERATOR,), cohort) is None:
            return None
        rule = rules.start if go.said.stage == 0 else rules.advance
        since = judge.authorised_at(go, rule, papers.authorisations, cohort)
    if since is None:
        return None
    since = max(since, go.said.opened_at, order_since)
    return since if since <= judge.now else None


def _openings(
    judge: Judge, papers: Papers, number: int, not_before: datetime, cohort: str
) -> tuple[list[OpenStage], str | None]:
    """The openings of a stage that count, and why one that was shown does not."""
    counting: list[OpenStage] = []
    objection: str | None = None
    for go in papers.goes:
        if go.said.act != "open" or go.said.stage != number:
            continue
        if go.said.at > judge.now or go.said.opened_at > judge.now:
            objection = f"an opening of stage {number} is dated in the future"
            continue
        if go.said.opened_at < not_before:
            objection = f"stage {number} was opened before {format_time(not_before)}"
            continue
        times = [
            since
            for judging in _judging_cohorts(papers.order.said, number, cohort)
            if (since := _opened_for(judge, papers, go, judging)) is not None
        ]
        if times:
            counting.append(OpenStage(number, go, min(times)))
        else:
            objection = f"an opening of stage {number} lacks signatures that the rule asks for"
    return counting, objection


def read_chain(judge: Judge, papers: Papers, cohort: str) -> Chain:
    """Judge the whole chain for one cohort."""
    order = papers.order.said
    goes = [go for go in papers.goes if go.said.order == papers.order.id]
    papers = Papers(papers.order, papers.authorisations, goes)
    stages: list[OpenStage] = []
    openings: list[OpenStage] = []
    objection: str | None = None
    not_before = order.not_before
    for number, stage in enumerate(order.stages):
        counting, objection = _openings(judge, papers, number, not_before, cohort)
        if not counting:
            break
        objection = None
        openings += counting
        stages.append(min(counting, key=lambda opened: (opened.since, opened.opening.id)))
        not_before = stages[-1].since + timedelta(seconds=stage.soak_seconds)
    claims = max((go.said.stage for go in goes if go.said.act == "open"), default=-1)
    if objection is None and len(stages) <= claims < len(order.stages):
        objection = f"no opening of stage {len(stages)} was shown"
    resumes = tuple(go for go in goes if _resume_counts(judge, papers, go, cohort))
    until, renewals = _lifetimes(judge, papers, openings, resumes, cohort)
    return Chain(
        stages=tuple(stages),
        claims=claims,
        objection=objection,
        valid_until=tuple(until[stage.number] for stage in stages),
        openings=tuple(openings),
        renewals=renewals,
        resumes=resumes,
    )


def _resume_counts(judge: Judge, papers: Papers, go: Opened[Go], cohort: str) -> bool:
    rules = judge.roster.rules_for(cohort)
    if go.said.act != "resume" or rules is None or go.said.at > judge.now:
        return False
    if judge.author_is(go, (OPERATOR,), cohort) is None:
        return False
    since = judge.authorised_at(go, rules.resume, papers.authorisations, cohort)
    return since is not None and since <= judge.now


def _lifetimes(
    judge: Judge,
    papers: Papers,
    openings: Sequence[OpenStage],
    resumes: Sequence[Opened[Go]],
    cohort: str,
) -> tuple[dict[int, datetime], tuple[Opened[Go], ...]]:
    """When the newest ``go`` of each opened stage ends, and the renewals that count (12, 13)."""
    order = papers.order.said
    counting = {(o.number, o.opening.id, o.opening.said.opened_at) for o in openings}
    renewals = [
        go
        for go in papers.goes
        if go.said.act == "renew"
        and go.said.at <= judge.now
        and (go.said.stage, go.said.renews, go.said.opened_at) in counting
    ]
    by_operator = [o.opening.said.at for o in openings if order.stages[o.number].gate == "manual"]
    by_operator += [go.said.at for go in resumes]
    until: dict[int, datetime] = {}
    kept: list[Opened[Go]] = []
    # In the order of signing, so that a renewal is held against what was in force before it.
    links = [*(o.opening for o in openings), *resumes, *renewals]
    for go in sorted(links, key=lambda go: (go.said.at, go.said.act, go.said.seq, go.id)):
        stage = go.said.stage
        if go.said.act == "renew":
            role = _renewer(judge, order, go, cohort)
            if role is None or stage not in until or go.said.at > until[stage]:
                continue
            if role == MONITOR and go.said.valid_until > max(by_operator) + MAX_GO:
                continue
            if role == OPERATOR:
                by_operator.append(go.said.at)
            kept.append(go)
        elif go.said.act == "resume" and not any(o.number == stage for o in openings):
            continue
        until[stage] = max(until.get(stage, go.said.valid_until), go.said.valid_until)
    return until, tuple(kept)


def _renewer(judge: Judge, order: Order, go: Opened[Go], cohort: str) -> str | None:
    if go.said.stage >= len(order.stages):
        return None
    for judging in _judging_cohorts(order, go.said.stage, cohort):
        role = judge.author_is(go, (OPERATOR, MONITOR), judging)
        if role is not None:
            return role
    return None


def stop_counts(judge: Judge, stop: Opened[Stop], cohort: str) -> bool:
    """Whether one person entitled to stop at ``cohort`` signed it."""
    rules = judge.roster.rules_for(cohort)
    roles = (OPERATOR, MONITOR, *(rules.stop if rules is not None else ()))
    return judge.author_is(stop, roles, cohort) is not None


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
