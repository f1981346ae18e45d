"""Leaving failures out of the counts: whom it concerns, and what the counts become (pure).

Rules:

1. Whose signatures count is core's (``exclusion``), and is found here from the signed statements.
   Whom an exclusion concerns follows from the server's counters, of which nothing is signed: the
   monitor, which reads the signed reports, leaves out by its own count.
2. An exclusion that would count nowhere is not signed, nor is one that stands already.
3. It is shown what would be left out and what would remain, before it is signed and before it is
   authorised. One by reason leaves out whoever fails so later, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from msgspec import structs
from rich.console import RenderableType

from interlock_core.abort import Counts, Place
from interlock_core.action import KNOWN_ISSUE, Action, counts_of
from interlock_core.api import DeviceAction, RolloutStages
from interlock_core.errors import Exit
from interlock_core.exclusion import Exclusion, asked, excluded_since
from interlock_core.order import Order
from interlock_core.roster import OPERATOR, Judge
from interlock_core.statement import Opened
from interlock_ops.dossier import Dossier
from interlock_ops.objection import Objection, ended
from interlock_ops.show import fact, heading, line, roles
from interlock_ops.tally import SHOWN
from interlock_ops.units import show_percent, show_time
from interlock_ops.watching import too_bad

What = tuple[str | None, str | None]
"""A device, or a reason for which devices fail: exactly one of them."""


@dataclass(frozen=True)
class AtCohort:
    """How an exclusion reads at one cohort.

    Attributes:
        since: since when it counts there; None if it does not.
        by_operator: whether its author is an operator there.
        missing: who must still authorise it there, by role.
    """

    cohort: str
    since: datetime | None
    by_operator: bool
    missing: Mapping[str, int]


# Whose signatures count


def read_exclusion(judge: Judge, dossier: Dossier, one: Opened[Exclusion]) -> tuple[AtCohort, ...]:
    """How an exclusion reads at each cohort of its order (rule 1)."""
    words = dossier.authorisations
    found = []
    for cohort in dossier.order.said.cohorts():
        rule = asked(judge, cohort)
        found.append(
            AtCohort(
                cohort=cohort,
                since=excluded_since(judge, one, words, cohort),
                by_operator=judge.author_is(one, (OPERATOR,), cohort) is not None,
                missing=judge.missing(one, rule, words, cohort) if rule is not None else {},
            )
        )
    return tuple(found)


def plan_exclusions(
    judge: Judge, dossier: Dossier, me: str, wanted: Sequence[What], *, again: bool
) -> dict[str, Mapping[str, int]] | Objection:
    """Who must authorise, by cohort where ``me`` may exclude; or why not to sign (rule 2)."""
    over = ended(judge, dossier)
    if over is not None:
        return over
    cohorts = dossier.order.said.cohorts()
    asks = {
        cohort: rule
        for cohort in cohorts
        if judge.holds(me, OPERATOR, cohort) and (rule := asked(judge, cohort)) is not None
    }
    if not asks:
        return Objection("role_not_held", f"{me} is no operator over {', '.join(cohorts)}.")
    if not again:
        for what in wanted:
            standing = _standing(judge, dossier, what, asks)
            if standing is not None:
                return standing
    return asks


def _standing(
    judge: Judge, dossier: Dossier, what: What, cohorts: Iterable[str]
) -> Objection | None:
    """What was signed already about the same failures, where it counts or waits."""
    mine = set(cohorts)
    for one in dossier.exclusions:
        if (one.said.device, one.said.failure) != what:
            continue
        here = [at for at in read_exclusion(judge, dossier, one) if at.cohort in mine]
        if all(at.since is not None for at in here):
            return Objection(
                "excluded",
                f"{words(one.said)} is left out already, by {one.said.author} ({one.id}).",
                Exit.DONE,
            )
        if all(at.by_operator for at in here):
            return Objection(
                "waiting_for_approval",
                f"{one.said.author} signed that already and it waits: have it authorised "
                f"('interlock-ops rollout authorise --exclusion {one.id}'), or pass --again.",
            )
    return None


# Whom it concerns


def concerned(actions: Iterable[DeviceAction], said: Iterable[Exclusion]) -> list[DeviceAction]:
    """The failures among ``actions`` that are counted and that one of these would leave out."""
    known = tuple(said)
    return [
        one
        for one in actions
        if one.counted
        and one.excluded is None
        and any(exclusion.covers(one.device, one.vote_reason or "") for exclusion in known)
    ]


def not_shown(told: RolloutStages, actions: Iterable[DeviceAction]) -> int:
    """How many counted failures are not among ``actions``: whose grants name sites sees theirs."""
    shown = sum(one.counted and one.excluded is None for one in actions)
    return max(0, sum(stage.counts.failures() for stage in told.stages) - shown)


def without(told: RolloutStages, left_out: Iterable[DeviceAction]) -> RolloutStages:
    """The server's counters as they would be without these failures (rule 3)."""
    changes: dict[Place, list[Action]] = {}
    for one in left_out:
        changes.setdefault((one.stage, one.cohort), []).append(_action(one))
    stages = tuple(
        structs.replace(
            stage, counts=_without(stage.counts, changes.get((stage.stage, stage.cohort), ()))
        )
        for stage in told.stages
    )
    return structs.replace(told, stages=stages)


def _action(one: DeviceAction) -> Action:
    return Action(
        stage=one.stage,
        since=one.since,
        deadline=one.deadline,
        patience=one.deadline - one.since,
        state=one.state,
        reason=one.reason,
        vote=one.vote,
        vote_reason=one.vote_reason,
        excluded=one.excluded,
        counted=one.counted,
    )


def _without(counts: Counts, actions: Iterable[Action]) -> Counts:
    for action in actions:
        before, after = counts_of(action), counts_of(replace(action, excluded=KNOWN_ISSUE))
        counts = Counts(
            started=counts.started,
            joined=counts.joined,
            excluded=counts.excluded + after.excluded,
            recovered=counts.recovered - before.recovered,
            reverted=counts.reverted - before.reverted,
            states=_less(counts.states, before.states),
            votes=_less(counts.votes, before.votes),
        )
    return counts


def _less(one: Mapping[Any, int], other: Mapping[Any, int]) -> dict[Any, int]:
    left = {name: number - other.get(name, 0) for name, number in one.items()}
    return {name: number for name, number in left.items() if number}


# In words


def words(said: Exclusion) -> str:
    """What is left out."""
    if said.device is not None:
        return f"the failure of {said.device}"
    return f"every failure by {said.failure}"


def effect_lines(
    order: Order, told: RolloutStages | None, left_out: Sequence[DeviceAction]
) -> list[RenderableType]:
    """Whom it leaves out, and what the counts would be (rule 3)."""
    shown: list[RenderableType] = [heading("Left out, by the server's counters:")]
    shown += [
        fact(
            one.device,
            f"{one.vote} by {one.vote_reason}, stage {one.stage} at {one.cohort}, site {one.site}",
        )
        for one in left_out[:SHOWN]
    ]
    if len(left_out) > SHOWN:
        shown.append(fact("", f"and {len(left_out) - SHOWN} more; --json names all"))
    if not left_out:
        shown.append(line("  Nobody yet: no failure that is counted is of that kind."))
    if told is None:
        return [*shown, line("  The counts could not be read.", "red")]
    after = without(told, left_out)
    for before, then in zip(told.stages, after.stages, strict=True):
        if before != then:
            shown.append(
                fact(
                    f"stage {before.stage}",
                    f"{before.cohort}: {_failed(before.counts)}; then {_failed(then.counts)}",
                )
            )
    was, remains = too_bad(order, told), too_bad(order, after)
    if was is not None:
        shown.append(fact("too bad", was))
        shown.append(fact("then", remains or "no longer too bad; a resume lets it go on"))
    return shown


def _failed(counts: Counts) -> str:
    failed, of = counts.failures(), counts.eligible
    share = f" ({show_percent(round(10_000 * failed / of))})" if failed and of else ""
    return f"{failed} of {of} failed{share}"


def exclusion_lines(judge: Judge, dossier: Dossier) -> list[RenderableType]:
    """The exclusions of an order, and whether they count yet; nothing where there is none."""
    shown: list[RenderableType] = []
    for one in dossier.exclusions:
        shown += [
            line(""),
            heading(f"Exclusion by {one.said.author}: leaves out {words(one.said)}"),
            fact("id", one.id),
            fact("reason", one.said.reason),
        ]
        shown += [fact(at.cohort, _counts(at)) for at in read_exclusion(judge, dossier, one)]
    return shown


def _counts(at: AtCohort) -> str:
    if at.since is not None:
        return f"counts since {show_time(at.since)}"
    if not at.by_operator:
        return "does not count: its author is no operator here by the present roster"
    return f"does not count yet: missing {roles(at.missing)}"


# For machines


def exclusion_facts(judge: Judge, dossier: Dossier) -> list[dict[str, Any]]:
    """The exclusions of an order, for machines."""
    return [
        {
            "id": one.id,
            "author": one.said.author,
            "device": one.said.device,
            "failure": one.said.failure,
            "cohorts": {
                at.cohort: {
                    "counts_since": show_time(at.since) if at.since is not None else None,
                    "author_counts": at.by_operator,
                    "missing": dict(at.missing),
                }
                for at in read_exclusion(judge, dossier, one)
            },
        }
        for one in dossier.exclusions
    ]


def effect_facts(
    order: Order, told: RolloutStages | None, left_out: Sequence[DeviceAction]
) -> dict[str, Any]:
    """Whom it leaves out, and what the counts would be, for machines."""
    after = None if told is None else without(told, left_out)
    return {
        "left_out": [
            {
                "device": one.device,
                "site": one.site,
                "cohort": one.cohort,
                "stage": one.stage,
                "vote": one.vote,
                "reason": one.vote_reason,
            }
            for one in left_out
        ],
        "counts": _numbers(told),
        "counts_then": _numbers(after),
        "too_bad": None if told is None else too_bad(order, told),
        "too_bad_then": None if after is None else too_bad(order, after),
    }


def _numbers(told: RolloutStages | None) -> list[dict[str, Any]] | None:
    if told is None:
        return None
    return [
        {
            "stage": one.stage,
            "cohort": one.cohort,
            "failures": one.counts.failures(),
            "of": one.counts.eligible,
        }
        for one in told.stages
    ]
