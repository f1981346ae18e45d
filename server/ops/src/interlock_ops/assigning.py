"""Moving a device to another cohort, and authorising that (pure).

Rules (numbers are those of ``docs/wire-format.md``, "Who is believed"):

1. An assignment is signed by an operator over both cohorts, from where the device is now: by its
   newest verified report, or else its enrolment (18). ``seq`` rises per enrolment.
2. It counts when others have authorised it by the rule ``assign`` of both cohorts.
3. One that would count for nothing is not signed, and neither is an authorisation of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from interlock_core.ending import ENDED
from interlock_core.errors import Exit
from interlock_core.order import Assignment, Meaning
from interlock_core.roster import COUNTING_MEANINGS, OPERATOR, Judge
from interlock_core.statement import Opened
from interlock_core.wire import MAX_INTEGER, format_time
from interlock_ops.device_view import DeviceView
from interlock_ops.objection import Objection, said_already


@dataclass(frozen=True)
class Assigning:
    """An assignment to sign, and who must authorise it by the rules of both cohorts."""

    enrolment: str
    device: str
    from_cohort: str
    to_cohort: str
    seq: int
    asks: Mapping[str, Mapping[str, int]]


def plan_assignment(
    judge: Judge, view: DeviceView, me: str, to_cohort: str, seq: int | None = None
) -> Assigning | Objection:
    """The assignment of a device to ``to_cohort`` (rule 1)."""
    if view.enrolment is None or view.cohort is None or view.state == "forged":
        return Objection(view.faults[0].reason, f"{view.device}: {view.faults[0].detail}.")
    if view.countersigned is None:
        return Objection(
            "not_countersigned",
            f"{view.device} waits for a countersignature, and nothing moves it before that.",
        )
    if view.state == "superseded":
        return Objection("superseded", f"{view.device}: a later enrolment took this one's place.")
    if view.state in ENDED:
        return Objection(view.state, f"{view.device}: its enrolment is over for good.")
    if view.cohort == to_cohort:
        return Objection("already_there", f"{view.device} is in {to_cohort}.", Exit.DONE)
    asks: dict[str, Mapping[str, int]] = {}
    for cohort in (view.cohort, to_cohort):
        rules = judge.rules_for(cohort)
        if rules is None:
            return Objection(
                "cohort_denied", f"Roster {judge.roster.seq} has no pattern for {cohort}."
            )
        if not judge.holds(me, OPERATOR, cohort):
            return Objection(
                "role_not_held",
                f"{me} is no operator over {cohort}: an assignment takes one over both cohorts.",
            )
        asks[cohort] = rules.assign
    signed = [
        move.assignment.said.seq
        for move in view.moves
        if all(
            judge.author_is(move.assignment, (OPERATOR,), cohort) is not None
            for cohort in (move.assignment.said.from_cohort, move.assignment.said.to_cohort)
        )
    ]
    following = 1 + max(signed, default=0)
    if seq is None and following > MAX_INTEGER:
        return Objection(
            "seq_too_high",
            f"An assignment {following - 1} of {view.device} was signed, and no number is left "
            "after that: enrol it anew, and find out who signed it.",
        )
    waiting = [
        move.assignment
        for move in view.moves
        if move.lacking
        and move.assignment.said.expires > judge.now
        and (move.assignment.said.from_cohort, move.assignment.said.to_cohort)
        == (view.cohort, to_cohort)
        and judge.author_is(move.assignment, (OPERATOR,), to_cohort) is not None
    ]
    if waiting and seq is None:
        return Objection(
            "waiting_for_approval",
            f"An assignment to {to_cohort} by {waiting[0].said.author} stands already: have it "
            f"authorised ('interlock-ops device authorise {waiting[0].id}'), or pass --seq.",
        )
    return Assigning(
        enrolment=view.enrolment.id,
        device=view.device,
        from_cohort=view.cohort,
        to_cohort=to_cohort,
        seq=following if seq is None else seq,
        asks=asks,
    )


def object_to_expiry(expires: datetime, now: datetime) -> Objection | None:
    """Why an assignment that ends then moves nothing."""
    if expires <= now:
        return Objection("expired_assignment", "It would have expired already: mend --expires.")
    return None


def object_to_authorising(
    judge: Judge,
    view: DeviceView,
    assignment: Opened[Assignment],
    me: str,
    role: str,
    meaning: Meaning,
) -> Objection | None:
    """Why ``me`` should not authorise the assignment; None if it would count (rule 3)."""
    said = assignment.said
    cohorts = (said.from_cohort, said.to_cohort)
    if said.author == me:
        return Objection(
            "own_approval",
            f"{me} is the author of this assignment, and your own approval does not count: have "
            "somebody else authorise it.",
        )
    for cohort in cohorts:
        if judge.author_is(assignment, (OPERATOR,), cohort) is None:
            return Objection(
                "unauthorised_assignment",
                f"This assignment is not signed by an operator over {cohort} whom the roster names "
                f"(it claims to be {said.author}'s): do not authorise it.",
            )
    if said.expires <= judge.now:
        return Objection(
            "expired_assignment",
            f"The assignment expired at {format_time(said.expires)}: have a new one signed.",
        )
    if view.cohort != said.from_cohort:
        return Objection(
            "moved_already",
            f"{view.device} is in {view.cohort}, not in {said.from_cohort}: it does not apply.",
            Exit.DONE if view.cohort == said.to_cohort else Exit.REFUSED,
        )
    if meaning in COUNTING_MEANINGS:
        asked = {
            cohort: rules.assign
            for cohort in cohorts
            if (rules := judge.rules_for(cohort)) is not None
        }
        roles = sorted({name for rule in asked.values() for name in rule})
        cohorts_asking = [cohort for cohort, rule in asked.items() if role in rule]
        if not cohorts_asking:
            return Objection(
                "role_not_asked",
                f"Neither cohort asks for the role {role}"
                f"{': asked for are ' + ', '.join(roles) if roles else ', nor for any other'}.",
            )
    else:
        cohorts_asking = list(cohorts)
    if not any(judge.holds(me, role, cohort) for cohort in cohorts_asking):
        return Objection(
            "role_not_held",
            f"{me} does not hold the role {role} over {', '.join(cohorts_asking)}: by the roster "
            f"{judge.roster.seq} this would count for nothing.",
        )
    return said_already(judge, view.words, assignment.id, me, role, meaning)
