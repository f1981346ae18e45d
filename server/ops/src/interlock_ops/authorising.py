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
from typing import Literal

from interlock_core.exclusion import Exclusion, asked
from interlock_core.order import Go, Meaning
from interlock_core.roster import COUNTING_MEANINGS, MONITOR, OPERATOR, Judge
from interlock_core.statement import Opened
from interlock_ops.dossier import Dossier
from interlock_ops.objection import Objection, asks, ended, said_already


def object_to_authorisation(
    judge: Judge,
    dossier: Dossier,
    about: Opened[Go] | Opened[Exclusion] | None,
    me: str,
    role: str,
    meaning: Meaning,
) -> Objection | None:
    """Why ``me`` should not authorise the order, or what is about it; None if it would count."""
    subject = about if about is not None else dossier.order
    cohorts = _cohorts_of(dossier, about)
    what = kind_of(about)
    authors = (OPERATOR,) if what == "exclusion" else (OPERATOR, MONITOR)
    if subject.said.author == me:
        return Objection(
            "own_approval",
            f"{me} is the author of this {what}, and your own approval does not count: have "
            "somebody else authorise it.",
        )
    if not any(judge.author_is(subject, authors, cohort) for cohort in cohorts):
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
            cohort: rule for cohort in cohorts if (rule := _asks_for(judge, dossier, about, cohort))
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


def kind_of(about: Opened[Go] | Opened[Exclusion] | None) -> Literal["order", "go", "exclusion"]:
    """What is authorised, as an authorisation names it."""
    if about is None:
        return "order"
    return "go" if isinstance(about.said, Go) else "exclusion"


def _cohorts_of(dossier: Dossier, about: Opened[Go] | Opened[Exclusion] | None) -> tuple[str, ...]:
    order = dossier.order.said
    go = about.said if about is not None else None
    if not isinstance(go, Go) or go.act == "resume" or go.stage >= len(order.stages):
        return order.cohorts()
    return order.stages[go.stage].cohorts


def _asks_for(
    judge: Judge, dossier: Dossier, about: Opened[Go] | Opened[Exclusion] | None, cohort: str
) -> Mapping[str, int]:
    if about is None:
        return asks(judge, "order", 0, cohort)
    said = about.said
    if isinstance(said, Exclusion):
        return asked(judge, cohort) or {}
    stages = dossier.order.said.stages
    if said.act == "renew" or said.stage >= len(stages):
        return {}
    if said.act == "open" and stages[said.stage].gate == "auto":
        return {}
    return asks(judge, said.act, said.stage, cohort)
