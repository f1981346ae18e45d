"""What to renew, and how to resume (pure).

Rules (numbers are those of ``docs/wire-format.md``, "Signed statements"):

1. A renewal names an opening that counts, while its stage is live (12, 13).
2. A resume names every stop that is shown as standing (15), and stands at the newest open stage of
   each cohort that is stopped or lapsed, since it revives no higher one (13).
3. Where a resume waits only for other people's signatures, another is not signed by mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from interlock_core.errors import Exit
from interlock_core.roster import OPERATOR, Judge
from interlock_core.wire import format_time
from interlock_ops.dossier import Dossier
from interlock_ops.objection import Objection, asks, chains_of, ended, next_seq
from interlock_ops.view import missing_for, standing_stops


@dataclass(frozen=True)
class Renewal:
    """One opening to renew."""

    stage: int
    renews: str
    opened_at: datetime
    seq: int
    cohorts: tuple[str, ...]
    until: datetime


@dataclass(frozen=True)
class Resume:
    """One stage to resume at."""

    stage: int
    clears: tuple[str, ...]
    opened_at: datetime
    seq: int
    asks: Mapping[str, Mapping[str, int]]


def plan_renewals(
    judge: Judge, dossier: Dossier, me: str, *, stage: int | None
) -> tuple[Renewal, ...] | Objection:
    """Renewals of the highest open stage, or of ``stage`` (rule 3)."""
    over = ended(judge, dossier)
    if over is not None:
        return over
    chains = chains_of(judge, dossier)
    highest = max(len(chain.stages) for chain in chains.values()) - 1
    number = highest if stage is None else stage
    if not 0 <= number <= highest:
        return Objection("not_started", f"Stage {max(number, 0)} is open nowhere.")
    found: dict[str, Renewal] = {}
    why: dict[str, str] = {}
    for cohort, chain in chains.items():
        if len(chain.stages) <= number:
            continue
        opening, until = chain.stages[number].opening, chain.valid_until[number]
        if until <= judge.now:
            why[cohort] = f"lapsed at {format_time(until)}"
        elif not _may_renew(judge, dossier, me, number, cohort):
            why[cohort] = f"{me} is no operator over it"
        else:
            known = found.get(opening.id)
            found[opening.id] = Renewal(
                stage=number,
                renews=opening.id,
                opened_at=opening.said.opened_at,
                seq=next_seq(judge, dossier, number) + (len(found) if known is None else 0),
                cohorts=(*(known.cohorts if known else ()), cohort),
                until=min(until, known.until) if known else until,
            )
    if not found:
        lapsed = any(text.startswith("lapsed") for text in why.values())
        named = "; ".join(f"{cohort}: {text}" for cohort, text in why.items())
        advice = " Revive it with 'interlock-ops rollout resume'." if lapsed else ""
        return Objection(
            "go_lapsed" if lapsed else "role_not_held",
            f"Stage {number} can be renewed nowhere: {named}.{advice}",
        )
    return tuple(found.values())


def _may_renew(judge: Judge, dossier: Dossier, me: str, stage: int, cohort: str) -> bool:
    named = dossier.order.said.stages[stage].cohorts
    judging = (cohort,) if cohort in named else named
    return any(judge.holds(me, OPERATOR, one) for one in judging)


def plan_resumes(
    judge: Judge,
    dossier: Dossier,
    me: str,
    *,
    clears: Sequence[str] = (),
    again: bool = False,
) -> tuple[Resume, ...] | Objection:
    """Resumes that end the stops shown as standing, or those named, and revive what lapsed."""
    over = ended(judge, dossier)
    if over is not None:
        return over
    chains = chains_of(judge, dossier)
    stops: set[str] = set(clears)
    stages: dict[int, list[str]] = {}
    for cohort, chain in chains.items():
        standing = {one.stop.id for one in standing_stops(judge, dossier, cohort, chain)}
        until = chain.live_until(0)
        lapsed = until is not None and until <= judge.now
        if not clears:
            stops |= standing
        if lapsed or standing or clears:
            stages.setdefault(max(len(chain.stages) - 1, 0), []).append(cohort)
    if not stages:
        return Objection("not_stopped", "No stop stands, and nothing has lapsed.", Exit.DONE)
    cohorts = sorted({cohort for named in stages.values() for cohort in named})
    if not any(judge.holds(me, OPERATOR, cohort) for cohort in cohorts):
        return Objection("role_not_held", f"{me} is no operator over {', '.join(cohorts)}.")
    if not again:
        waiting = _waiting_resume(judge, dossier, stops, cohorts)
        if waiting is not None:
            return waiting
    return tuple(
        Resume(
            stage=stage,
            clears=tuple(sorted(stops)),
            opened_at=judge.now,
            seq=next_seq(judge, dossier, stage),
            asks={cohort: asks(judge, "resume", stage, cohort) for cohort in named},
        )
        for stage, named in sorted(stages.items())
    )


def _waiting_resume(
    judge: Judge, dossier: Dossier, stops: set[str], cohorts: Iterable[str]
) -> Objection | None:
    if not stops:
        return None
    for go in dossier.goes:
        if go.said.act != "resume" or not stops <= set(go.said.clears):
            continue
        if any(missing_for(judge, dossier, go, cohort) for cohort in cohorts):
            return Objection(
                "waiting_for_approval",
                f"A resume by {go.said.author} stands already and waits: have it authorised "
                f"('interlock-ops rollout authorise --go {go.id}'), or pass --again.",
            )
    return None
