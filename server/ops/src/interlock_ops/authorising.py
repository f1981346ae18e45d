"""Whether my authorisation would count (pure).

Rules (numbers are those of ``docs/wire-format.md``, "Who is believed"):

1. An author's own approval does not count, and a person's first word about a subject is the one
   that counts (1, 2).
2. What is authorised must be signed by its author, and he must be entitled (3, 5).
3. The role must be one that a cohort's rule asks for and that I hold there; to have ``reviewed``
   counts for no rule, so the role need only be held.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock_core.order import Go, Meaning
from interlock_core.roster import COUNTING_MEANINGS, MONITOR, OPERATOR, Judge
from interlock_core.statement import Opened
from interlock_ops.dossier import Dossier
from interlock_ops.objection import Objection, asks, ended, said_already


def object_to_authorisation(
    judge: Judge,
    dossier: Dossier,
    go: Opened[Go] | None,
    me: str,
    role: str,
    meaning: Meaning,
) -> Objection | None:
    """Why ``me`` should not authorise the order, or ``go``; None if it would count (rule 5)."""
    subject = go if go is not None else dossier.order
    cohorts = _cohorts_of(dossier, go)
    what = "go" if go is not None else "order"
    if subject.said.author == me:
        return Objection(
            "own_approval",
            f"{me} is the author of this {what}, and your own approval does not count: have "
            "somebody else authorise it.",
        )
    if not any(judge.author_is(subject, (OPERATOR, MONITOR), cohort) for cohort in cohorts):
        return Objection(
            "unauthorised_rollout",
            f"This {what} is not signed by an operator whom the roster names over its cohorts "
            f"(it claims to be {subject.said.author}'s): do not authorise it.",
        )
    over = ended(judge, dossier)
    if over is not None:
        return over
    if meaning in COUNTING_MEANINGS:
        asked = {
            cohort: rule for cohort in cohorts if (rule := _asks_for(judge, dossier, go, cohort))
        }
        roles = sorted({name for rule in asked.values() for name in rule})
        cohorts = tuple(cohort for cohort, rule in asked.items() if role in rule)
        if not cohorts:
            return Objection(
                "role_not_asked",
                f"No cohort of this {what} asks for the role {role}"
                f"{': asked for are ' + ', '.join(roles) if roles else ', nor for any other'}.",
            )
    if not any(judge.holds(me, role, cohort) for cohort in cohorts):
        return Objection(
            "role_not_held",
            f"{me} does not hold the role {role} over {', '.join(cohorts)}: by the roster "
            f"{judge.roster.seq} this would count for nothing.",
        )
    return said_already(judge, dossier.authorisations, subject.id, me, role, meaning)


def _cohorts_of(dossier: Dossier, go: Opened[Go] | None) -> tuple[str, ...]:
    order = dossier.order.said
    if go is None or go.said.act == "resume" or go.said.stage >= len(order.stages):
        return order.cohorts()
    return order.stages[go.said.stage].cohorts


def _asks_for(
    judge: Judge, dossier: Dossier, go: Opened[Go] | None, cohort: str
) -> Mapping[str, int]:
    if go is None:
        return asks(judge, "order", 0, cohort)
    stages = dossier.order.said.stages
    if go.said.act == "renew" or go.said.stage >= len(stages):
        return {}
    if go.said.act == "open" and stages[go.said.stage].gate == "auto":
        return {}
    return asks(judge, go.said.act, go.said.stage, cohort)
