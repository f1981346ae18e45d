"""Signed statements → what to show (pure).

Rules:

1. Everything shown is computed here from the statements that the server returned and the verified
   roster, by the code that gateways decide with. What the server says about them is only compared.
2. A stop is shown as standing until a resume that the cohort's rule accepts names it. One whose
   author the roster no longer knows is shown too: gateways that saw it keep it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from interlock_core.chain import (
    Chain,
    accepted_at,
    applies,
    cleared,
    read_chain,
    stop_counts,
)
from interlock_core.order import Go, Order, Stop
from interlock_core.roster import OPERATOR, Judge
from interlock_core.statement import Opened
from interlock_core.wire import format_time
from interlock_ops.dossier import Dossier

State = Literal[
    "denied",
    "waiting_for_approval",
    "superseded",
    "expired",
    "paused",
    "lapsed",
    "running",
    "scheduled",
    "ready",
]


@dataclass(frozen=True)
class Waiting:
    """An opening that lacks only signatures: how many of which role."""

    go: Opened[Go]
    missing: Mapping[str, int]


@dataclass(frozen=True)
class Standing:
    """A stop that no resume has ended.

    Attributes:
        counts: whether the roster in force lets its author stop here.
    """

    stop: Opened[Stop]
    counts: bool


@dataclass(frozen=True)
class StageStatus:
    """One stage at one cohort.

    Attributes:
        since: when it opened here, or None.
        soak_ends: of the newest open stage, when the next may open; None where nothing follows.
        valid_until: when its newest ``go`` that counts ends.
        waiting: openings that lack signatures.
    """

    number: int
    since: datetime | None
    soak_ends: datetime | None
    valid_until: datetime | None
    waiting: tuple[Waiting, ...]


@dataclass(frozen=True)
class CohortStatus:
    """How everything reads for one cohort.

    Attributes:
        missing: who must still authorise the order, beside its author.
        author_counts: whether the order's author signed it and is an operator here.
        objection: why an opening that was shown does not count.
        live_until: when everything lapses unless somebody renews.
        superseded_by: a later order that is accepted here, or the roster's own end of orders.
    """

    cohort: str
    state: State
    accepted_at: datetime | None
    author_counts: bool
    missing: Mapping[str, int]
    stages: tuple[StageStatus, ...]
    objection: str | None
    live_until: datetime | None
    standing: tuple[Standing, ...]
    superseded_by: str | None


@dataclass(frozen=True)
class Status:
    """An order's status at one instant.

    Attributes:
        differences: where the server's account differs from the signatures.
    """

    dossier: Dossier
    now: datetime
    cohorts: tuple[CohortStatus, ...]
    differences: tuple[str, ...] = field(default=())


def read_status(judge: Judge, dossier: Dossier, later: Iterable[Dossier] = ()) -> Status:
    """Judge everything (rule 1).

    Args:
        judge: the verified roster, at the time to judge at.
        dossier: what was signed about the order.
        later: orders of the same product with higher numbers.
    """
    newer = sorted(later, key=lambda d: -d.order.said.seq)
    cohorts = tuple(
        _cohort(judge, dossier, cohort, newer) for cohort in dossier.order.said.cohorts()
    )
    return Status(dossier, judge.now, cohorts, tuple(_differences(dossier, cohorts)))


def standing_stops(
    judge: Judge, dossier: Dossier, cohort: str, chain: Chain
) -> tuple[Standing, ...]:
    """The stops that stand for ``cohort`` or a site in it (rule 2)."""
    over = cleared(chain)
    return tuple(
        Standing(stop, stop_counts(judge, stop, cohort))
        for stop in dossier.stops
        if stop.id not in over and applies(stop.said.cohort, stop.said.site, cohort, None)
    )


def missing_for(judge: Judge, dossier: Dossier, go: Opened[Go], cohort: str) -> dict[str, int]:
    """Who must still authorise ``go`` by the rule of ``cohort``; empty where it asks for nobody."""
    rules = judge.roster.rules_for(cohort)
    stage = go.said.stage
    stages = dossier.order.said.stages
    if rules is None or go.said.act == "renew" or stage >= len(stages):
        return {}
    if go.said.act == "resume":
        rule = rules.resume
    elif stages[stage].gate == "auto":
        return {}
    else:
        rule = rules.start if stage == 0 else rules.advance
    return judge.missing(go, rule, dossier.authorisations, cohort)


def _cohort(judge: Judge, dossier: Dossier, cohort: str, newer: Sequence[Dossier]) -> CohortStatus:
    order = dossier.order
    rules = judge.roster.rules_for(cohort)
    chain = read_chain(judge, dossier.papers, cohort)
    accepted = accepted_at(judge, dossier.papers, cohort)
    missing = (
        judge.missing(order, rules.start, dossier.authorisations, cohort)
        if rules is not None
        else {}
    )
    standing = standing_stops(judge, dossier, cohort, chain)
    superseded = _superseded(judge, dossier, cohort, newer)
    stages = tuple(_stages(judge, dossier, chain, cohort))
    status = CohortStatus(
        cohort=cohort,
        state="ready",
        accepted_at=accepted,
        author_counts=judge.author_is(order, (OPERATOR,), cohort) is not None,
        missing=missing,
        stages=stages,
        objection=chain.objection,
        live_until=chain.live_until(0),
        standing=standing,
        superseded_by=superseded,
    )
    state: State = "denied" if rules is None else _state(status, order.said, judge.now)
    return replace(status, state=state)


def _state(status: CohortStatus, order: Order, now: datetime) -> State:
    if status.accepted_at is None:
        return "waiting_for_approval"
    if status.superseded_by is not None:
        return "superseded"
    if order.expires <= now:
        return "expired"
    if any(standing.counts for standing in status.standing):
        return "paused"
    own = [s for s in status.stages if status.cohort in order.stages[s.number].cohorts]
    if status.live_until is not None and any(stage.since is not None for stage in own):
        return "running" if status.live_until > now else "lapsed"
    waiting = [one.go.said.opened_at for stage in own for one in stage.waiting]
    if order.not_before > now or any(opened_at > now for opened_at in waiting):
        return "scheduled"
    return "ready"


def _stages(judge: Judge, dossier: Dossier, chain: Chain, cohort: str) -> Iterable[StageStatus]:
    order = dossier.order.said
    for number, stage in enumerate(order.stages):
        opened = chain.stages[number] if number < len(chain.stages) else None
        newest = number == len(chain.stages) - 1 and number + 1 < len(order.stages)
        yield StageStatus(
            number=number,
            since=opened.since if opened else None,
            soak_ends=(
                opened.since + timedelta(seconds=stage.soak_seconds) if opened and newest else None
            ),
            valid_until=chain.valid_until[number] if opened else None,
            waiting=() if opened else tuple(_waiting(judge, dossier, number, cohort)),
        )


def _waiting(judge: Judge, dossier: Dossier, number: int, cohort: str) -> Iterable[Waiting]:
    """Openings by people who may open it, which lack other signatures or the time."""
    if cohort not in dossier.order.said.stages[number].cohorts:
        return
    for go in dossier.goes:
        if (go.said.act, go.said.stage) == ("open", number) and judge.author_is(
            go, (OPERATOR,), cohort
        ):
            yield Waiting(go, missing_for(judge, dossier, go, cohort))


def _superseded(
    judge: Judge, dossier: Dossier, cohort: str, newer: Sequence[Dossier]
) -> str | None:
    order = dossier.order.said
    least = judge.roster.min_order_seq.get(order.product, 0)
    if order.seq < least:
        return f"the roster, which ended orders below {least}"
    for other in newer:
        if (
            other.order.said.product == order.product
            and other.order.said.seq > order.seq
            and accepted_at(judge, other.papers, cohort) is not None
        ):
            return f"order {other.order.said.seq} ({other.order.id[:12]})"
    return None


def _differences(dossier: Dossier, cohorts: Sequence[CohortStatus]) -> Iterable[str]:
    """Where the server's account is not what the signatures say (rule 1)."""
    told = {view.cohort: view for view in dossier.told.cohorts}
    order, summary = dossier.order.said, dossier.told.summary
    if (summary.id, summary.product, summary.seq, summary.kind, summary.author) != (
        dossier.order.id,
        order.product,
        order.seq,
        order.kind,
        order.author,
    ):
        yield "the server's summary names another order than the one that was signed"
    if dossier.left_out:
        yield f"{dossier.left_out} statement(s) that it sent are unreadable or about another order"
    for cohort in sorted(set(told) - {one.cohort for one in cohorts}):
        yield f"{cohort}: the server lists it, and the order does not name it"
    for one in cohorts:
        view = told.get(one.cohort)
        if view is None:
            yield f"{one.cohort}: the server does not list it"
            continue
        opened = sum(stage.since is not None for stage in one.stages)
        stops = {standing.stop.id for standing in one.standing if standing.counts}
        pairs: tuple[tuple[str, object, object], ...] = (
            ("accepted at", _time(view.accepted_at), _time(one.accepted_at)),
            ("open stages", view.stages_open, opened),
            ("live until", _time(view.live_until), _time(one.live_until)),
            ("standing stops", _ids(view.standing_stops), _ids(stops)),
        )
        for what, theirs, ours in pairs:
            if theirs != ours:
                yield f"{one.cohort}: {what}: the server says {theirs}, the signatures {ours}"
        if view.in_force and (one.superseded_by is not None or one.accepted_at is None):
            yield f"{one.cohort}: the server calls it in force, and it is not by the signatures"


def _time(time: datetime | None) -> str:
    return format_time(time) if time is not None else "never"


def _ids(ids: Iterable[str]) -> str:
    return " ".join(sorted(one[:12] for one in ids)) or "none"
