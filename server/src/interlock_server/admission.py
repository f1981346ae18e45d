"""Whether a statement about the fleet may be stored: named refusals, by the roster in force.

The rules are those of ``acceptance``. Further:

3. A claim is taken from an operator over its cohort, or an engineer of its site over that cohort,
   unless its secret stands in another claim. It is not taken for a cohort that has no director.
4. A word about an enrolment is taken from such an operator or engineer, one about an assignment
   from whoever holds the role that it names over either cohort. A countersignature would put the
   enrolment in the place of the one in force: whoever could not countersign that one may not. One
   that a key asked for which was ended or found in two places since is let in by nobody (24, 26).
5. An assignment is taken from an operator over both cohorts, for an enrolment that was
   countersigned. Both cohorts have directors here, and its ``seq`` is above every earlier one of
   that enrolment, by a step that leaves room: any operator may sign one, and none may use the
   numbers up. Whether the device is in ``from`` is for the device to say: reports may be late.
6. What is on file already may have expired since. Nobody countersigns or moves what was revoked or
   taken out of service. One person's words about sites and ends are for ``acts``.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from interlock_core.ending import ENDED, Decommission, Revocation
from interlock_core.errors import ConflictError, RefusedError
from interlock_core.fleet import COUNTERSIGNERS, may_countersign
from interlock_core.hold import Hold
from interlock_core.order import Assignment, Authorisation
from interlock_core.report import Claim, Enrolment
from interlock_core.roster import COUNTING_MEANINGS, OPERATOR, Judge
from interlock_core.site import Site
from interlock_core.statement import Opened
from interlock_core.wire import format_time
from interlock_server.acceptance import Ground, check_author, check_not_own, enrolment_of, not_held
from interlock_server.acts import check_act, check_not_ended
from interlock_server.db.fleet_tables import ActRow, AssignmentRow, ClaimRow, EnrolmentRow, WordRow
from interlock_server.onfile import open_enrolment, open_kept
from interlock_server.standing import enrolment_row

NOT_COUNTERSIGNED = "not_countersigned"
MAX_STEP = 1000
"""How far above the one before it the number of an assignment may be."""


def is_of_the_fleet(opened: Opened[Any]) -> bool:
    """Whether a statement is about the fleet, and not about a rollout."""
    said = opened.said
    return isinstance(said, Claim | Assignment | Hold | Site | Revocation | Decommission) or (
        isinstance(said, Authorisation) and said.authorises in {"enrolment", "assignment"}
    )


def table_of(
    opened: Opened[Any],
) -> type[ClaimRow | AssignmentRow | WordRow | ActRow]:
    """Where a statement about the fleet is kept."""
    match opened.said:
        case Claim():
            return ClaimRow
        case Assignment():
            return AssignmentRow
        case Authorisation():
            return WordRow
    return ActRow


def find_of_the_fleet(session: Session, opened: Opened[Any]) -> Opened[Any] | None:
    """The same statement as it was kept, or None."""
    table = table_of(opened)
    envelope = session.scalar(select(table.envelope).where(table.id == opened.id))
    return None if envelope is None else open_kept(envelope)


def check_of_the_fleet(opened: Opened[Any], ground: Ground) -> None:
    """Judge one statement about the fleet.

    Raises:
        RefusedError, ConflictError: the reason says which rule.
    """
    check_author(opened, ground.judge)
    match opened.said:
        case Claim():
            _check_claim(opened, ground)
        case Assignment():
            _check_assignment(opened, ground)
        case Authorisation():
            _check_word(opened, ground)
        case _:
            check_act(opened, ground)


def _check_served(ground: Ground, cohort: str) -> None:
    if cohort not in ground.cohorts:
        raise RefusedError(
            f"This server has no director for cohort {cohort}: name one of "
            f"{', '.join(sorted(ground.cohorts))}, or add it with 'interlock-server cohort add'.",
            reason="cohort_not_served",
        )


def _check_unexpired(said: Claim | Assignment, judge: Judge) -> None:
    if judge.now >= said.expires:
        raise RefusedError(
            f"It expired at {format_time(said.expires)}: sign a new one.", reason="expired"
        )


def _check_claim(opened: Opened[Claim], ground: Ground) -> None:
    said = opened.said
    if ground.judge.author_is(opened, COUNTERSIGNERS, said.cohort, said.site) is None:
        raise not_held(said.author, said.cohort, said.site)
    if find_of_the_fleet(ground.session, opened) is not None:
        return
    _check_unexpired(said, ground.judge)
    _check_served(ground, said.cohort)
    check_secret_is_new(ground.session, said)


def check_secret_is_new(session: Session, claim: Claim) -> None:
    """See that no other claim has this secret.

    Raises:
        ConflictError: ``secret_taken``.
    """
    wanted = select(ClaimRow.id).where(ClaimRow.secret_sha256 == claim.secret_sha256)
    if session.scalar(wanted) is not None:
        raise ConflictError(
            "Another claim has this secret: make a new one; a secret lets one device ask, once.",
            reason="secret_taken",
        )


def _check_assignment(opened: Opened[Assignment], ground: Ground) -> None:
    said, judge = opened.said, ground.judge
    for cohort in (said.from_cohort, said.to_cohort):
        if judge.author_is(opened, (OPERATOR,), cohort) is None:
            raise RefusedError(
                f"{said.author} does not hold the role {OPERATOR} over {cohort}: a move needs an "
                "operator over both cohorts.",
                reason="role_not_held",
            )
    row = enrolment_of(ground.session, said.enrolment, said.device)
    if find_of_the_fleet(ground.session, opened) is not None:
        return
    _check_counts(row)
    _check_unexpired(said, judge)
    for cohort in (said.from_cohort, said.to_cohort):
        _check_served(ground, cohort)
    check_assignment_seq(ground.session, row, said)


def _check_counts(row: EnrolmentRow) -> None:
    check_not_ended(row)
    if row.state == "superseded":
        raise RefusedError(
            f"Another enrolment of {row.device} is in force: name that.", reason="superseded"
        )
    if row.state == "waiting":
        raise RefusedError(
            f"Nobody has countersigned {row.device} yet: that comes first.",
            reason=NOT_COUNTERSIGNED,
        )


def check_assignment_seq(session: Session, row: EnrolmentRow, said: Assignment) -> None:
    """See that ``seq`` rises, and not too far.

    Raises:
        ConflictError: ``seq_taken`` or ``seq_too_high``.
    """
    wanted = select(func.max(AssignmentRow.seq)).where(AssignmentRow.enrolment == row.number)
    highest = session.scalar(wanted) or 0
    if said.seq <= highest:
        raise ConflictError(
            f"An assignment {highest} of {row.device} is on file: sign one with a higher seq.",
            reason="seq_taken",
        )
    if said.seq > highest + MAX_STEP:
        raise ConflictError(
            f"The highest assignment of {row.device} on file is {highest}: the next seq is at most "
            f"{highest + MAX_STEP}.",
            reason="seq_too_high",
        )


def _check_word(opened: Opened[Authorisation], ground: Ground) -> None:
    word, judge = opened.said, ground.judge
    subject = find_subject(ground.session, word)
    if subject is None:
        raise RefusedError(
            f"No {word.authorises} {word.id[:12]} is on file here: that comes first.",
            reason="unknown_subject",
        )
    check_not_own(subject, word)
    said = subject.said
    if isinstance(said, Enrolment):
        held = word.role in COUNTERSIGNERS and judge.author_is(
            opened, (word.role,), said.cohort, said.site
        )
        if not held:
            raise not_held(word.author, said.cohort, said.site)
        row = enrolment_row(ground.session, subject.id)
        assert row is not None  # it is the subject
        check_not_ended(row)
        if row.state not in {"countersigned", "quarantined"}:
            _check_asked(ground.session, said)
        if word.meaning in COUNTING_MEANINGS and find_of_the_fleet(ground.session, opened) is None:
            _check_replaced(ground, subject, word.author)
        return
    over = (said.from_cohort, said.to_cohort)
    if not any(judge.author_is(opened, (word.role,), cohort) for cohort in over):
        raise RefusedError(
            f"{word.author} does not hold the role {word.role} over {over[0]} or {over[1]}.",
            reason="role_not_held",
        )


def _check_replaced(ground: Ground, subject: Opened[Enrolment], author: str) -> None:
    """See that nobody takes a device away from those who look after it (rule 4)."""
    wanted = select(EnrolmentRow.envelope).where(
        EnrolmentRow.device == subject.said.device,
        EnrolmentRow.id != subject.id,
        EnrolmentRow.state.in_(("countersigned", "quarantined")),
    )
    for envelope in ground.session.scalars(wanted):
        before = open_enrolment(envelope).said
        if not may_countersign(ground.judge, author, before):
            raise RefusedError(
                f"{before.device} is enrolled in {before.cohort} at {before.site}, and {author} is "
                "no operator over that and no engineer there: have somebody countersign who may "
                "countersign both.",
                reason="role_not_held",
            )


def _check_asked(session: Session, said: Enrolment) -> None:
    """See that the key by which a rotation asked is not a thief's by now (rule 4)."""
    before = None if said.replaces is UNSET else enrolment_row(session, said.replaces)
    if before is not None and before.state in {*ENDED, "quarantined"}:
        raise RefusedError(
            f"{said.device} asked for this with the key of its enrolment {before.id[:12]}, which "
            f"was {before.state} since: have it ask anew, with a claim.",
            reason=before.state,
        )


def find_subject(session: Session, word: Authorisation) -> Opened[Any] | None:
    """The enrolment or the assignment that a word is about, or None."""
    if word.authorises == "enrolment":
        row = enrolment_row(session, word.id)
        return None if row is None else open_enrolment(row.envelope)
    wanted = select(AssignmentRow.envelope).where(AssignmentRow.id == word.id)
    envelope = session.scalar(wanted)
    return None if envelope is None else open_kept(envelope)
