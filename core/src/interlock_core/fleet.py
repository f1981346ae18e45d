"""Who may let a device in and move it, and what its reports are worth (pure).

The server counts with it, operators and the monitor check the server with it, and the gateway moves
by it, so that they never disagree.

Rules (numbers are those of ``docs/wire-format.md``, "Signed statements"):

a.  A claim is signed by an operator over its cohort, or by an engineer of its site over that
    cohort. It only allows asking: an enrolment that used one still counts for nothing.
b.  An enrolment is signed by the key that it names, and counts once an operator over its cohort, or
    an engineer of its site over that cohort, has approved it or consented to it.
c.  Of several enrolments of one device, that which was countersigned last is in force; of those of
    one second a rotation before the one that it replaces (26), then the one that bears the latest
    time, then the highest id. Numbering starts again under it (20). Where its countersigner speaks
    for nobody any more, no older one is in force again until somebody countersigns that anew.
    Whoever keeps them on file takes no word that puts one in the place of another which its author
    could not countersign himself (``may_countersign``): or an engineer of one hospital could take a
    gateway away from another.
26. A rotation is an enrolment that names the one whose key gives way. That key signs it too, and
    nothing but the key is new: so it may ask without a claim. It counts when it is countersigned,
    like any other (docs/adr/0013).
18. An assignment is signed by an operator over both cohorts, and others have authorised it by the
    rule ``assign`` of both. It moves the device of its enrolment from its present cohort, unless
    it has expired or its ``seq`` is not above the last. Of several the highest ``seq`` is taken.
20. A report is signed by the key of its enrolment. Report n+1 carries the id of report n. The same
    number with another id is a fork: the key signs in two places, and nothing that the device
    says is counted until it is enrolled anew. A number that is skipped is a gap: what lies beyond
    it is not taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from interlock_core.errors import WireError
from interlock_core.keybytes import PublicKey
from interlock_core.names import CohortPattern, covers
from interlock_core.order import Assignment, Authorisation, Order
from interlock_core.report import Claim, Decided, Enrolment, Outcome, Report
from interlock_core.roster import (
    COUNTING_MEANINGS,
    ENGINEER,
    OPERATOR,
    Judge,
    order_of_signing,
)
from interlock_core.statement import Opened
from interlock_core.wire import format_time

COUNTERSIGNERS: Final = (OPERATOR, ENGINEER)
"""Who lets a device in, and makes claims (a, b)."""


def claim_counts(judge: Judge, claim: Opened[Claim]) -> bool:
    """Whether somebody entitled signed the claim, and it has not expired (a)."""
    said = claim.said
    return (
        judge.author_is(claim, COUNTERSIGNERS, said.cohort, said.site) is not None
        and said.at <= judge.now < said.expires
    )


def claim_refuses(claim: Claim, enrolment: Enrolment) -> str | None:
    """In what an enrolment differs from its claim; None if in nothing."""
    pairs: tuple[tuple[str, str | None, str], ...] = (
        ("product", claim.product, enrolment.product),
        ("site", claim.site, enrolment.site),
        ("cohort", claim.cohort, enrolment.cohort),
        ("device", claim.device, enrolment.device),
        ("hardware", claim.hardware, enrolment.hardware),
    )
    for what, claimed, asked in pairs:
        if claimed is not None and claimed != asked:
            return f"the claim is for {what} {claimed}, not {asked}"
    return None


def signed_by_device(enrolment: Opened[Enrolment]) -> bool:
    """Whether the key that the enrolment names signed it (b)."""
    return signed(enrolment, enrolment.said.key)


def rotates(enrolment: Opened[Enrolment], before: Opened[Enrolment]) -> str | None:
    """Why an enrolment is no rotation of the key of ``before`` (26); None if it is one."""
    new, old = enrolment.said, before.said
    if new.replaces != before.id:
        return "it names another enrolment as the one that it replaces"
    if new.key == old.key:
        return "it brings no new key"
    for what, asked, was in (
        ("device", new.device, old.device),
        ("product", new.product, old.product),
        ("hardware", new.hardware, old.hardware),
        ("site", new.site, old.site),
    ):
        if asked != was:
            return f"the enrolment that it replaces is for {what} {was}, not {asked}"
    if not (signed(enrolment, new.key) and signed(enrolment, old.key)):
        return "the new key and the key in force must both sign it"
    return None


def signed(opened: Opened[Any], by: PublicKey) -> bool:
    """Whether a key made one of the signatures, whoever is named as the author."""
    try:
        key = by.sslib()
    except WireError:
        # What is no key has signed nothing.
        return False
    return opened.verified_by((key,)) is not None


@dataclass(frozen=True)
class Countersigned:
    """Who let a device in, in which role, and when."""

    by: str
    role: str
    at: datetime


def countersigned(
    judge: Judge, enrolment: Opened[Enrolment], words: Sequence[Opened[Authorisation]]
) -> Countersigned | None:
    """The first countersignature that counts (b), or None while there is none."""
    return next(iter(_counting(judge, enrolment, words)), None)


def _counting(
    judge: Judge, enrolment: Opened[Enrolment], words: Sequence[Opened[Authorisation]]
) -> list[Countersigned]:
    """The countersignatures that count (b), in the order of signing."""
    said = enrolment.said
    if said.fleet != judge.roster.fleet or not signed_by_device(enrolment):
        return []
    found = []
    for word in sorted(words, key=order_of_signing):
        role = word.said.role
        if (
            role in COUNTERSIGNERS
            and word.said.at <= judge.now
            and judge.authorised_at(enrolment, {role: 1}, (word,), said.cohort, said.site)
        ):
            found.append(Countersigned(word.said.author, role, word.said.at))
    return found


def may_countersign(judge: Judge, person: str, enrolment: Enrolment) -> bool:
    """Whether a person may countersign an enrolment, by what he holds now (b)."""
    return any(
        judge.holds(person, role, enrolment.cohort, enrolment.site) for role in COUNTERSIGNERS
    )


def in_force(
    judge: Judge,
    enrolments: Iterable[Opened[Enrolment]],
    words: Sequence[Opened[Authorisation]],
) -> Opened[Enrolment] | None:
    """Of one device's enrolments the one that counts (c)."""
    known = [(one, _counting(judge, one, words)) for one in enrolments]
    counting = [(times[0].at, one, times[-1].at) for one, times in known if times]
    if not counting:
        return None
    last = max(at for at, *_ in counting)
    together = [(one, said_last) for at, one, said_last in counting if at == last]
    # Times are whole seconds: a script may well let a key and the one after it in within one.
    gave_way = {old.id for old, _ in known for one, _ in together if rotates(one, old) is None}
    newest, said_last = max(
        (found for found in together if found[0].id not in gave_way),
        key=lambda found: (found[0].said.at, found[0].id),
    )
    # Whoever let a newer one in may have left: the older key, perhaps a thief's, stays out until
    # somebody countersigns it anew. One of the same second that gave way is no newer one.
    others = {one.id for one, times in known if not times}
    replaced = (
        word.said.at <= judge.now
        and word.said.id in others
        and word.said.role in COUNTERSIGNERS
        and word.said.meaning in COUNTING_MEANINGS
        and word.said.at >= said_last
        and not (word.said.at == said_last and word.said.id in gave_way)
        for word in words
    )
    return None if any(replaced) else newest


# How a device is moved, rule 18


def assigned_at(
    judge: Judge, assignment: Opened[Assignment], words: Sequence[Opened[Authorisation]]
) -> datetime | None:
    """When the rules of both cohorts were met; None if they are not, or not any more (18)."""
    said = assignment.said
    if not said.at <= judge.now < said.expires:
        return None
    times: list[datetime] = []
    for cohort in (said.from_cohort, said.to_cohort):
        rules = judge.rules_for(cohort)
        if rules is None or judge.author_is(assignment, (OPERATOR,), cohort) is None:
            return None
        at = judge.authorised_at(assignment, rules.assign, words, cohort)
        if at is None or at > judge.now:
            return None
        times.append(at)
    return max(times)


def lacking(
    judge: Judge, assignment: Opened[Assignment], words: Sequence[Opened[Authorisation]]
) -> tuple[str, ...]:
    """What an assignment still lacks, for people; empty exactly when it counts."""
    said = assignment.said
    missing = []
    if judge.now >= said.expires:
        missing.append(f"a new assignment: this one expired at {format_time(said.expires)}")
    if said.at > judge.now:
        missing.append(f"patience until {format_time(said.at)}, the time that it bears")
    for cohort in (said.from_cohort, said.to_cohort):
        rules = judge.rules_for(cohort)
        if rules is None:
            missing.append(f"a roster rule that covers {cohort}")
            continue
        if judge.author_is(assignment, (OPERATOR,), cohort) is None:
            missing.append(f"{said.author} as an operator over {cohort}")
        counted = [word for word in words if word.said.at <= judge.now]
        needed = judge.missing(assignment, rules.assign, counted, cohort)
        missing += [f"{count} more {role} over {cohort}" for role, count in sorted(needed.items())]
    return tuple(missing)


@dataclass(frozen=True)
class Place:
    """Where a device stands, as far as assignments go.

    Attributes:
        enrolment: id of its enrolment; None before it has one: then nothing moves it.
        patterns: the cohorts that its own configuration lets it be moved to.
        seq: of the last assignment that it obeyed, 0 before the first.
    """

    enrolment: str | None
    device: str
    cohort: str
    patterns: Sequence[CohortPattern]
    seq: int = 0


def move(
    judge: Judge,
    assignments: Iterable[Opened[Assignment]],
    words: Sequence[Opened[Authorisation]],
    place: Place,
) -> Opened[Assignment] | None:
    """The assignment that a device must obey now, or None (18)."""
    fitting = (
        one
        for one in assignments
        if place.enrolment is not None
        and one.said.enrolment == place.enrolment
        and one.said.device == place.device
        and one.said.from_cohort == place.cohort
        and one.said.seq > place.seq
        and any(covers(pattern, one.said.to_cohort) for pattern in place.patterns)
    )
    for one in sorted(fitting, key=lambda one: (-one.said.seq, one.id)):
        if assigned_at(judge, one, words) is not None:
            return one
    return None


# What reports are worth, rule 20


@dataclass(frozen=True)
class Tip:
    """The last report of an enrolment that was taken."""

    number: int
    id: str


Follows = Literal["next", "known", "gap", "fork"]


def report_counts(enrolment: Opened[Enrolment], report: Opened[Report]) -> bool:
    """Whether the enrolment's own key signed the report, as this device of this fleet (20)."""
    said, of = report.said, enrolment.said
    return (
        said.enrolment == enrolment.id
        and (said.fleet, said.author) == (of.fleet, of.device)
        and signed(report, of.key)
    )


def follows(tip: Tip | None, known: str | None, report: Opened[Report]) -> Follows:
    """How a report that counts stands to those before it (20).

    Args:
        tip: the last that was taken, if any was.
        known: the id under which this number was taken before, if it was.
        report: what came now.
    """
    number = report.said.number
    expected = tip.number + 1 if tip is not None else 1
    if number > expected:
        return "gap"
    if number < expected:
        return "known" if known == report.id else "fork"
    return "next" if report.said.previous == (tip.id if tip is not None else None) else "fork"


# What one order has done on one device


@dataclass(frozen=True)
class Action:
    """One device's execution of one order, and why it stands there.

    Attributes:
        outcome: in the terms of ``report``; ``scheduled`` is what nothing is known of yet.
        reason: a stable name, from the device's own report if it gave one.
        detail: a sentence for people.
        since: when the device said so.
    """

    outcome: Outcome
    reason: str
    detail: str
    since: datetime | None


_ENDED_OTHERWISE: Final = frozenset({"failed", "timed_out", "rolled_back", "rejected", "canceled"})


def action(order: Opened[Order], report: Report | None) -> Action:
    """What a device says about an order in its newest report.

    It is done when it runs what it wanted, and has nothing further to do: not while it only tries
    that out, nor on a step before what is wanted, nor once it has fallen back from there.
    """
    if report is None:
        return Action("scheduled", "no_report", "it has not reported yet", None)
    attempt, decided, running = report.attempt, report.decided, report.running
    wanted: Mapping[str, str] = {target.sha256: target.path for target in order.said.targets}
    runs = running is not None and running.sha256 in wanted
    if attempt is not None and attempt.order == order.id:
        fell_back = attempt.outcome == "confirmed" and running is not None and not runs
        # What did not stay here by this attempt may run here all the same.
        stayed = runs and running is not None and running.sha256 == attempt.target
        on_a_step = attempt.outcome == "confirmed" and _goes_on(order, attempt.target, decided)
        if not (fell_back or on_a_step or (stayed and attempt.outcome in _ENDED_OTHERWISE)):
            reason = attempt.reason or attempt.outcome
            detail = decided.detail if decided is not None and decided.reason == reason else ""
            since = attempt.deferred_since or report.at
            return Action(attempt.outcome, reason, detail or _words(reason), since)
        if fell_back and running is not None:
            detail = f"it confirmed this, and runs {running.version} again"
            return Action("scheduled", "not_running", detail, report.at)
    if runs and running is not None and not _goes_on(order, running.sha256, decided):
        path = wanted[running.sha256]
        return Action("already_installed", "already_installed", f"it runs {path}", report.at)
    if report.trouble is not None:
        detail = f"every poll is refused since {format_time(report.trouble.since)}"
        return Action("rejected", report.trouble.reason, detail, report.trouble.since)
    if decided is None or decided.order != order.id:
        return Action("scheduled", "not_seen", "it has not seen this order yet", report.at)
    return Action("scheduled", decided.reason, decided.detail, decided.at)


def _goes_on(order: Opened[Order], sha256: str, decided: Decided | None) -> bool:
    """Whether a target that runs is a step, and the device says why it goes no further (9)."""
    return (
        decided is not None
        and decided.order == order.id
        and sha256 != order.said.targets[0].sha256
        and decided.reason not in {"granted", "already_installed"}
    )


def _words(reason: str) -> str:
    return reason.replace("_", " ")
