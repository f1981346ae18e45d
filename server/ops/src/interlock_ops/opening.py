"""Which stage to open next (pure).

Rules (numbers are those of ``docs/wire-format.md``, "Signed statements"):

1. A stage opens after the soak of the one before (11), by an operator over the cohort. Auto stages
   are the monitor's (10).
2. Stage 0 is opened by ``start``, later ones by ``advance``. A stage may be opened again, for
   cohorts that consented late.
3. Where an opening waits only for other people's signatures, another is not signed by mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from interlock_core.chain import Chain
from interlock_core.errors import Exit
from interlock_core.order import Go
from interlock_core.roster import OPERATOR, Judge
from interlock_core.statement import Opened
from interlock_core.wire import format_time
from interlock_ops.dossier import Dossier
from interlock_ops.objection import Objection, asks, chains_of, ended, next_seq


@dataclass(frozen=True)
class Opening:
    """A stage to open.

    Attributes:
        opens_for: the cohorts for which it would open.
        not_for: the others that it names, and why not.
        asks: who must authorise it, by cohort.
    """

    stage: int
    opened_at: datetime
    seq: int
    opens_for: tuple[str, ...]
    not_for: Mapping[str, str]
    asks: Mapping[str, Mapping[str, int]]


def plan_opening(
    judge: Judge,
    dossier: Dossier,
    me: str,
    *,
    stage: int | None,
    opened_at: datetime | None = None,
    again: bool = False,
) -> Opening | Objection:
    """The opening of ``stage``, or of the next one after those that are open (rule 2).

    Args:
        judge: the verified roster, now.
        dossier: what was signed about the order.
        me: who signs.
        stage: 0 for ``start``; None for the next.
        opened_at: by default now, and for stage 0 not before the order begins.
        again: sign another opening even where one waits for signatures.
    """
    order = dossier.order.said
    over = ended(judge, dossier)
    if over is not None:
        return over
    chains = chains_of(judge, dossier)
    number = stage if stage is not None else max(len(chain.stages) for chain in chains.values())
    wrong = _wrong_stage(dossier, number, asked=stage is not None)
    if wrong is not None:
        return wrong
    if opened_at is None:
        opened_at = max(judge.now, order.not_before) if number == 0 else judge.now
    case = _Case(judge, dossier, me, number, opened_at)
    for cohort in order.stages[number].cohorts:
        case.sort(cohort, chains[cohort])
    if not case.opens_for:
        return case.objection()
    if not again and all(cohort in case.pending for cohort in case.opens_for):
        waiting = case.pending[case.opens_for[0]]
        at = waiting.said.opened_at
        when = f", for {format_time(at)}" if at > judge.now else ""
        return Objection(
            "waiting_for_approval",
            f"An opening of stage {number} by {waiting.said.author} stands already{when}: have it "
            f"authorised ('interlock-ops rollout authorise --go {waiting.id}'), or pass --again.",
        )
    return Opening(
        stage=number,
        opened_at=opened_at,
        seq=next_seq(judge, dossier, number),
        opens_for=tuple(case.opens_for),
        not_for=case.not_for,
        asks={cohort: asks(judge, "open", number, cohort) for cohort in case.opens_for},
    )


@dataclass
class _Case:
    """The cohorts of one stage, sorted by what an opening would do there."""

    judge: Judge
    dossier: Dossier
    me: str
    number: int
    opened_at: datetime
    opens_for: list[str] = field(default_factory=list)
    not_for: dict[str, str] = field(default_factory=dict)
    early: dict[str, datetime] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    pending: dict[str, Opened[Go]] = field(default_factory=dict)

    def sort(self, cohort: str, chain: Chain) -> None:
        order = self.dossier.order.said
        if self.judge.roster.rules_for(cohort) is None:
            self.not_for[cohort] = "the roster does not cover this cohort"
        elif not self.judge.holds(self.me, OPERATOR, cohort):
            self.not_for[cohort] = f"{self.me} is no operator over it"
        elif len(chain.stages) > self.number:
            self.done.add(cohort)
            self.not_for[cohort] = f"open since {format_time(chain.stages[self.number].since)}"
        elif len(chain.stages) < self.number:
            why = f" ({chain.objection})" if chain.objection else ""
            self.not_for[cohort] = f"stage {len(chain.stages)} is not open there yet{why}"
        else:
            earliest = order.not_before
            if self.number:
                soak = timedelta(seconds=order.stages[self.number - 1].soak_seconds)
                earliest = chain.stages[-1].since + soak
            if self.opened_at < earliest:
                self.early[cohort] = earliest
                self.not_for[cohort] = f"not before {format_time(earliest)}"
                return
            self.opens_for.append(cohort)
            for go in self.dossier.goes:
                if (
                    (go.said.act, go.said.stage) == ("open", self.number)
                    and go.said.opened_at >= earliest
                    and self.judge.author_is(go, (OPERATOR,), cohort) is not None
                ):
                    self.pending[cohort] = go

    def objection(self) -> Objection:
        why = "; ".join(f"{cohort}: {text}" for cohort, text in self.not_for.items())
        if self.early:
            when = format_time(min(self.early.values()))
            return Objection(
                "too_early",
                f"Stage {self.number} cannot open before {when} ({why}): wait, or pass "
                f"--opened-at {when}.",
                Exit.DEFERRED,
            )
        if self.done == set(self.not_for):
            return Objection("already_open", f"Stage {self.number} is open: {why}.", Exit.DONE)
        return Objection("stage_not_open", f"Stage {self.number} would open nowhere: {why}.")


def _wrong_stage(dossier: Dossier, number: int, *, asked: bool) -> Objection | None:
    stages = dossier.order.said.stages
    if number == 0 and not asked:
        return Objection(
            "not_started",
            f"Stage 0 is open nowhere: 'interlock-ops rollout start {dossier.order.id}'.",
        )
    if number >= len(stages):
        if asked:
            return Objection(
                "no_such_stage", f"The order has the stages 0 to {len(stages) - 1}.", Exit.USAGE
            )
        return Objection("already_open", "Every stage is open.", Exit.DONE)
    if stages[number].gate == "auto":
        return Objection(
            "auto_stage",
            f"Stage {number} is opened by the monitor once its soak is over: nobody else can.",
        )
    return None
