"""Describing a site, holding it, and releasing it (pure).

Rules (numbers are those of ``docs/wire-format.md``, "Who is believed"):

1. ``add`` begins, ``edit`` changes what it names and keeps the rest; each signs the whole (23).
2. A hold or a description that would count for nothing is not signed (22, 23).
3. A release names each hold that its author may end; what he may not is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from interlock_core.errors import Exit
from interlock_core.hold import HOLDERS, MAX_HOLD, Hold, hold_role
from interlock_core.roster import Judge
from interlock_core.site import DESCRIBERS, Contact
from interlock_core.statement import Opened
from interlock_ops.objection import Objection
from interlock_ops.site_view import SiteView


@dataclass(frozen=True)
class Description:
    """What is to be signed about a site."""

    time_zone: str
    contacts: tuple[Contact, ...]
    notes: str
    seq: int


def plan_add(
    judge: Judge, me: str, view: SiteView | None, site: str, first: Description
) -> Description | Objection:
    """The first description of a site."""
    if view is not None and view.described is not None:
        return Objection(
            "known_site",
            f"{site} is described already, by {view.described.said.author}: 'interlock-ops site "
            f"edit {site}' changes that.",
        )
    return _signable(judge, me, site) or Description(
        first.time_zone, first.contacts, first.notes, 1 + (view.highest if view else 0)
    )


def plan_edit(
    judge: Judge,
    me: str,
    view: SiteView,
    *,
    time_zone: str | None,
    contacts: Sequence[Contact] | None,
    notes: str | None,
) -> Description | Objection:
    """The next description of a site; None keeps what stands (rule 1)."""
    if view.described is None:
        return Objection(
            "not_described",
            f"Nobody whom the roster names has described {view.name}: 'interlock-ops site add "
            f"{view.name}' does.",
        )
    said = view.described.said
    made = Description(
        said.time_zone if time_zone is None else time_zone,
        said.contacts if contacts is None else tuple(contacts),
        said.notes if notes is None else notes,
        view.highest + 1,
    )
    if (made.time_zone, made.contacts, made.notes) == (said.time_zone, said.contacts, said.notes):
        return Objection("unchanged", f"{view.name} is described like that already.", Exit.DONE)
    return _signable(judge, me, view.name) or made


def _signable(judge: Judge, me: str, site: str) -> Objection | None:
    if any(judge.holds_at(me, role, site) for role in DESCRIBERS):
        return None
    return Objection(
        "role_not_held",
        f"{me} is no operator and no engineer whose grant counts at {site}: by the roster "
        f"{judge.roster.seq} this would count for nothing.",
    )


def object_to_hold(
    judge: Judge, me: str, site: str, begins: datetime, until: datetime
) -> Objection | None:
    """Why ``me`` should not hold a site then; None if it would count (rule 2)."""
    if not any(judge.holds_at(me, role, site) for role in HOLDERS):
        return Objection(
            "role_not_held",
            f"{me} is no engineer of {site} and no operator: by the roster {judge.roster.seq} this "
            "would count for nothing.",
        )
    if until <= judge.now:
        return Objection("expired", "It would be over already: mend --until.")
    if not begins < until <= begins + MAX_HOLD:
        return Objection(
            "too_long", "A hold ends after it begins, and at most 90 days later: mend --until."
        )
    return None


def plan_release(
    judge: Judge, me: str, view: SiteView, cohorts: Sequence[str], only: Sequence[str]
) -> tuple[Opened[Hold], ...] | Objection:
    """The holds that ``me`` may end, of those that stand or of those named (rule 3)."""
    wanted = [one for one in view.holds if not only or one.id in only]
    if not wanted:
        return Objection("nothing_held", f"No such hold of {view.name} stands.", Exit.DONE)
    mine = tuple(one for one in wanted if _may_end(judge, me, one, cohorts))
    if not mine:
        one = wanted[0]
        return Objection(
            "role_not_held",
            f"{one.said.author} holds {view.name}, and {me} does not hold the role in which that "
            "counts: what a hospital's engineer holds, an engineer of that hospital releases.",
        )
    return mine


def _may_end(judge: Judge, me: str, hold: Opened[Hold], cohorts: Sequence[str]) -> bool:
    roles = {(cohort, hold_role(judge, hold, cohort)) for cohort in cohorts}
    return any(
        role is not None and judge.holds(me, role, cohort, hold.said.site) for cohort, role in roles
    )
