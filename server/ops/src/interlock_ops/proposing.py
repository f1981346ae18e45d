"""Whether an order of mine would count, and what to warn about (pure).

Rules:

1. Targets are those of the verified image repository, and a digest in the order file agrees.
2. An order that gateways would never accept is not signed: a cohort that the roster does not cover,
   or over which its author is no operator, or a number that the roster has ended.
3. What a stolen monitor key could do with auto stages is said before people sign, and so is that a
   share of a small cohort is a probability.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from interlock_core.order import FULL, Order, Target
from interlock_core.roster import OPERATOR, Judge
from interlock_ops.objection import Objection
from interlock_ops.order_file import Facts, OrderPlan
from interlock_ops.units import show_percent

SMALL_COHORT = 10
"""Gateways; the size of the example in the warning about shares."""


def object_to_facts(plan: OrderPlan, facts: Sequence[Facts]) -> Objection | None:
    """Why the digests in the order file rule out what the image repository holds (rule 1)."""
    for wanted, found in zip(plan.wanted, facts, strict=True):
        if wanted.sha256 not in (None, found.sha256):
            return Objection(
                "order_mismatch",
                f"{wanted.path} has the SHA-256 {found.sha256} in the image repository, and "
                f"{wanted.sha256} in the order file: find out which is meant.",
            )
    return None


def object_to_targets(targets: Sequence[Target], facts: Sequence[Facts]) -> Objection | None:
    """Why an order does not name what the image repository holds: gateways would refuse it."""
    for target, found in zip(targets, facts, strict=True):
        if (target.length, target.sha256) != (found.length, found.sha256):
            return Objection(
                "order_mismatch",
                f"The order names {target.path} with the SHA-256 {target.sha256} and "
                f"{target.length} bytes; the image repository holds {found.sha256} with "
                f"{found.length}: do not sign for it.",
            )
    return None


def object_to_order(judge: Judge, order: Order, me: str) -> Objection | None:
    """Why an order by ``me`` would count for nothing (rule 2)."""
    for cohort in order.cohorts():
        if judge.roster.rules_for(cohort) is None:
            return Objection(
                "cohort_denied",
                f"Roster {judge.roster.seq} has no pattern for the cohort {cohort}: mend the "
                "order, or have the roster renewed with a rule for it.",
            )
        if not judge.holds(me, OPERATOR, cohort):
            return Objection(
                "role_not_held",
                f"{me} is no operator over the cohort {cohort}, which would never accept this "
                "order: leave it out, or have its operator propose.",
            )
    least = judge.roster.min_order_seq.get(order.product, 0)
    if order.seq < least:
        return Objection(
            "superseded_order",
            f"The roster ended orders of {order.product} below {least}: pass --seq {least}.",
        )
    if order.expires <= judge.now:
        return Objection("expired_order", "The order would have expired already: mend `expires`.")
    return None


def warnings(order: Order) -> Iterator[str]:
    """What its author should know before he signs (rule 3)."""
    auto = [str(number) for number, stage in enumerate(order.stages) if stage.gate == "auto"]
    if auto:
        named = f"Stage {auto[0]} opens" if len(auto) == 1 else f"Stages {', '.join(auto)} open"
        yield (
            f"{named} automatically: whoever steals the monitor's key and the server's online "
            "keys can open what remains of them at once, without waiting for reports. Use the "
            "gate 'manual' where that is not acceptable."
        )
    shares = sorted({stage.basis_points for stage in order.stages if stage.basis_points < FULL})
    if shares:
        none = (1 - shares[0] / FULL) ** SMALL_COHORT
        yield (
            "A share below 100 % is a probability for each gateway. In a cohort of "
            f"{SMALL_COHORT}, {show_percent(shares[0])} holds nobody {none:.0%} of the time."
        )
