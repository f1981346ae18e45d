"""Whether a script makes sense, and the plan that it gives (pure).

Rules:

1. The same check is made before a ceremony and by every audit of it, at the time at which it was
   held.
2. What a script says is held against itself, and a later one against what is in force.
"""

from __future__ import annotations

from datetime import datetime

from interlock_ceremony import plan as plans
from interlock_ceremony import quorum, recovery
from interlock_ceremony.changes import Changes, quorum_problems
from interlock_ceremony.forms import Later, Script
from interlock_ceremony.plan import Plan
from interlock_ceremony.recovery import Reserve
from interlock_ceremony.script import Problem
from interlock_ceremony.standing import Standing
from interlock_ceremony.taken import Taken
from interlock_core.wire import format_time


def genesis(script: Script, now: datetime) -> tuple[Plan, list[Problem]]:
    """The plan of a genesis, and what is wrong with it."""
    plan = plans.genesis(script)
    problems = quorum.problems(script, now)
    if not problems:
        problems += recovery.problems(script, reserves(plan, None))
    return plan, problems


def later(
    script: Later, now: datetime, before: Standing, taken: Taken
) -> tuple[Plan, list[Problem]]:
    """The plan of a later ceremony, and what is wrong with it."""
    changes = Changes(script, before)
    plan = plans.later(script, before, changes.outcome, taken.version)
    problems = [
        *quorum.path_problems(script),
        *_fleet(script, before),
        *quorum.clock_problems(script, now),
        *_clock(now, before),
        *changes.problems,
    ]
    if not changes.problems:
        problems += quorum.person_problems(script, plan)
        problems += quorum_problems(plan)
        problems += recovery.problems(script, reserves(plan, taken))
        if script.targets is None and any(s.role == "targets" for s in plan.signings):
            problems.append(
                Problem(
                    ("targets",),
                    "image.targets is signed anew here: name the newest published "
                    "<m>.targets.json, whose delegations it takes over.",
                )
            )
    return plan, problems


def reserves(plan: Plan, taken: Taken | None) -> list[Reserve]:
    """What happens, role by role, if one more key is lost."""
    targets = taken.targets if taken else None
    return recovery.reserves(plan.roles, targets, plan.script.accepted_risks)


def _clock(now: datetime, before: Standing) -> list[Problem]:
    if now >= before.ended:
        return []
    says = (
        f"this machine's clock says {format_time(now)}, and ceremony {before.number} ended at "
        f"{format_time(before.ended)}; set the clock first."
    )
    return [Problem((), says)]


def _fleet(script: Later, before: Standing) -> list[Problem]:
    if script.fleet == before.fleet:
        return []
    says = f"the ceremony before was of the fleet {before.fleet!r}; write that, or name another."
    return [Problem(("fleet",), says)]
