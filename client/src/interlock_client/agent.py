"""An update from the poll to the reboot, as a state machine that a power cut cannot confuse (I/O).

Rules (``architecture.md``, section 5; the states and their order are in ``journal``):

1. Each state is durable before what belongs to it is done. ``recover`` says what every state means
   when it is found after a power cut.
2. What is written is unarmed: until the last moment a power cut boots the old firmware.
3. The last moment is one step: take the lease that clinical software sees, fetch the freshest
   directive, read the slot back, ask the interlock again, decide, arm; then decide once more, and
   disarm if that refuses; then reboot. It ends within its time, and the lease with it (``lease``).
4. A refusal leaves what is written where it is: the next run does not download it again. A download
   that was cut off goes on where it stood, if the same image is granted again (``download``).
5. Where an installer unpacks a copy of the target, what came of it is read back before it counts as
   written, and the copy stays until then.
6. What failed here though the bytes were right is tried again less and less often (``failing``).
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Final

import msgspec

from interlock_client import check, install
from interlock_client.confirm import (
    PENDING,
    fell_back,
    settle_fallback,
    settle_not_booted,
    unexpected_slot,
)
from interlock_client.contents import differing, digests, identity, signed
from interlock_client.context import Context
from interlock_client.failing import COUNTED, NOT_BOOTED, counting, require_time
from interlock_client.install import Standing
from interlock_client.journal import Attempt, Came, Deferral, Journal, State, Written
from interlock_client.judge import Judgement, again, judge
from interlock_client.lease import Lease, taken
from interlock_client.memory import Content
from interlock_client.outcome import DEFERRED, NOTHING_TO_DO, Outcome
from interlock_client.telling import now, told
from interlock_core.errors import Exit, InterlockError, RefusedError, TransientError
from interlock_core.facts import Grant, Phase, Reason

REBOOTING: Final = "rebooting"


def update(context: Context, *, lift_budget: bool = False) -> Outcome:
    """Poll, decide, download, and install if now is the time.

    Args:
        context: the gateway.
        lift_budget: forget first what the download has cost, and which servers sent wrong bytes.

    Raises:
        InterlockError: of the family that says what to do.
    """
    with context.state.lock():
        if lift_budget:
            from interlock_client.download import keeper  # noqa: PLC0415  # as in ``_written``

            keeper.lift(context.state.transfer)
        outcome = told(context, lambda: _update(context))
    more = {**outcome.more, "requests": context.servers.requests}
    return Outcome(outcome.outcome, outcome.reason, outcome.detail, outcome.exit_code, more)


def recover(context: Context, journal: Journal, standing: Standing) -> Journal:
    """Bring the journal and the slots back together after a power cut (rule 1).

    Raises:
        RefusedError: ``unexpected_slot``.
        TransientError: ``confirm_pending``: new firmware runs and was not judged yet; or the disk.
    """
    attempt = journal.attempt
    if journal.state in PENDING and attempt is not None:
        if standing.booted == attempt.slot:
            raise TransientError(
                "New firmware has booted and was not confirmed yet: run 'interlock-client "
                "confirm' first.",
                reason="confirm_pending",
            )
        if standing.active == attempt.slot:
            raise unexpected_slot(attempt, standing)
        context.installer.disarm()
        if fell_back(journal, attempt, standing):
            return settle_fallback(context, journal, attempt)
        return settle_not_booted(context, journal, attempt)
    if standing.booted == standing.active:
        # Armed, and nothing known of it: it takes another decision to boot it.
        context.installer.disarm()
    match journal.state:
        case State.LAST_MOMENT:
            return context.note(journal.at(State.WAITING))
        case State.DOWNLOADING:
            return context.note(journal.at(State.IDLE, attempt=None))
        case _:
            return journal


def _update(context: Context) -> Outcome:
    journal = recover(context, context.journal(), context.installer.standing())
    polled = context.poll()
    outcome = check.settled(context, polled)
    if outcome is not None:
        return outcome
    judgement = judge(context, polled, Phase.DOWNLOAD)
    refusal = judgement.refusal()
    if refusal is not None:
        if refusal.outcome == NOTHING_TO_DO:
            if journal.attempt is not None:
                context.note(journal.at(State.IDLE, attempt=None, deferral=None))
            context.installer.discard()
        return refusal
    journal, came = _written(context, journal, judgement)
    outcome = _install(context, journal, judgement)
    if came is None:
        return outcome
    more = {**outcome.more, "download": msgspec.to_builtins(came)}
    return Outcome(outcome.outcome, outcome.reason, outcome.detail, outcome.exit_code, more)


def _install(context: Context, journal: Journal, judgement: Judgement) -> Outcome:
    """Install what is written, if now is the time."""
    assert journal.written is not None
    # What the last moment will ask, asked once before it: a gateway that waits for its window or
    # for a patient does not read its slot again at every poll.
    early = again(
        context,
        judgement.believed,
        judgement.memory,
        Phase.INSTALL,
        slots=digests(journal.written.contents),
        ask=True,
    )
    refusal = early.refusal()
    if refusal is not None:
        return _wait(context, journal, refusal, early.at)
    if journal.state is State.WRITTEN:
        journal = context.note(journal.at(State.WAITING))
    assert journal.attempt is not None
    require_time(journal.failures, journal.attempt, early.at)
    _remember_present(context)
    journal = context.note(journal.at(State.LAST_MOMENT, fault=None))
    seconds, monotonic = context.settings.last_moment_timeout_seconds, context.times.monotonic
    try:
        with taken(context.settings.lease, seconds, monotonic) as lease:
            return _last_moment(context, journal, lease)
    except TransientError as e:
        if e.reason != "busy":
            raise
        not_clear = Outcome(DEFERRED, "interlock_not_clear", str(e), Exit.DEFERRED, early.more())
        return _wait(context, journal, not_clear, early.at)


def _written(
    context: Context, journal: Journal, judgement: Judgement
) -> tuple[Journal, Came | None]:
    """The journal with the granted image in the inactive slot, and how it came, if it came now."""
    installer, attempt = context.installer, _attempt(context, journal, judgement)
    if journal.written is not None and journal.written.holds(attempt):
        installer.discard()
        if journal.attempt is not None and journal.attempt.sha256 == attempt.sha256:
            return context.note(journal.at(State.WAITING, attempt=attempt)), None
        return context.note(journal.at(State.WRITTEN, attempt=attempt, deferral=None)), None
    wanted = install.Wanted(attempt.path, attempt.length, attempt.sha256, attempt.contents)
    installer.check(wanted)
    require_time(journal.failures, attempt, judgement.at)
    journal = context.note(
        journal.at(State.DOWNLOADING, attempt=attempt, written=None, deferral=None, came=None)
    )
    if not installer.unpacks:
        context.remember(context.memory().holding(attempt.slot, None))
    # A gateway that has nothing to fetch does without.
    from interlock_client.download.fetch import Wanted, fetch  # noqa: PLC0415
    from interlock_client.download.here import patches, terms  # noqa: PLC0415

    believed = judgement.believed
    others = [server for server in context.servers.each if server is not believed.server]
    info = believed.facts.trusted.image_targets[attempt.path]
    by_delta = patches(context, believed.facts.deltas.get(attempt.path, ()))
    try:
        came = fetch(
            Wanted(attempt.path, info, attempt.order, by_delta),
            [believed.server, *others],
            installer.destination(),
            terms(context),
        )
        if installer.unpacks:
            journal = _unpacked(context, journal, wanted)
    except (RefusedError, TransientError) as e:
        _fault(context, _failed(journal, attempt, e, judgement.at), e)
        raise
    holds = Written(
        slot=attempt.slot, length=attempt.length, sha256=attempt.sha256, slots=attempt.slots
    )
    journal = context.note(journal.at(State.WRITTEN, written=holds, fault=None, came=came))
    installer.discard()
    return journal, came


def _unpacked(context: Context, journal: Journal, wanted: install.Wanted) -> Journal:
    """Unpack the verified copy, and see for ourselves what came of it (rule 5).

    Raises:
        RefusedError: ``slot_mismatch``: the installer is done, and a slot does not hold what was
            signed for it; ``installer_refused``.
        TransientError: ``installer_failed``, or the disk.
    """
    attempt = journal.attempt
    assert attempt is not None
    context.remember(context.memory().holding(attempt.slot, None))
    journal = context.note(journal.at(State.DOWNLOADING, unpacking=attempt.sha256))
    context.installer.install(wanted)
    found = context.installer.read_back(attempt.slot, attempt.contents)
    wrong = differing(attempt.contents, found)
    if wrong is not None:
        raise RefusedError(
            f"The installer says that it is done, and slot {wrong} of side {attempt.slot} does not "
            f"hold what was signed with {attempt.path}.",
            reason=Reason.SLOT_MISMATCH.value,
        )
    return journal


def _fault(context: Context, journal: Journal, error: InterlockError) -> None:
    """Keep what ended this try, to be told; a disk that fails at that too changes nothing."""
    with suppress(TransientError):
        context.note(msgspec.structs.replace(journal, fault=error.reason))


def _failed(journal: Journal, attempt: Attempt, error: InterlockError, now: datetime) -> Journal:
    """The journal with a failure counted, if ``error`` is one of those that are."""
    failures = counting(journal.failures, attempt, error, now)
    return msgspec.structs.replace(journal, failures=failures)


def _last_moment(context: Context, journal: Journal, lease: Lease) -> Outcome:
    assert journal.attempt is not None
    slot, contents = context.installer.inactive(), journal.attempt.contents
    try:
        judgement = judge(
            context,
            context.poll(),
            Phase.INSTALL,
            slots=lambda: context.installer.read_back(slot, contents, lease),
            ask=True,
        )
        lease.check()
    except InterlockError as e:
        journal = _failed(journal, journal.attempt, e, _time(context))
        context.note(journal.at(State.WAITING, fault=e.reason if e.reason in COUNTED else None))
        raise
    refusal = judgement.refusal()
    if refusal is not None:
        if refusal.reason == Reason.SLOT_MISMATCH:
            return _not_what_is_wanted(context, journal, judgement, refusal)
        return _wait(context, journal, refusal, judgement.at)
    attempt = _attempt(context, journal, judgement)
    journal = context.note(journal.at(State.REBOOTING, attempt=attempt))
    # A shutdown that the reboot command brings about must not be taken for a wish to stop here.
    with context.uninterrupted():
        try:
            context.installer.arm()
            final = again(
                context,
                judgement.believed,
                context.memory(),
                Phase.REBOOT,
                slots=judgement.slots,
                ask=True,
            )
            refusal = final.refusal()
            if refusal is None:
                if journal.failures is not None and journal.failures.reason != NOT_BOOTED:
                    journal = context.note(msgspec.structs.replace(journal, failures=None))
                lease.keep()
                now(context)
                context.reboot()
        except BaseException as e:
            # Also when a person interrupts: nothing stays armed that did not go all the way.
            context.installer.disarm()
            fault = e.reason if isinstance(e, InterlockError) else None
            if isinstance(e, InterlockError):
                journal = _failed(journal, attempt, e, judgement.at)
            context.note(journal.at(State.WAITING, fault=fault))
            raise
        if refusal is not None:
            context.installer.disarm()
            return _wait(context, journal, refusal, final.at)
    return Outcome(
        REBOOTING,
        "granted",
        f"{attempt.path} is armed in slot {attempt.slot}; the gateway reboots.",
        Exit.DONE,
        {**final.more(), "slot": attempt.slot, "last_moment_seconds": lease.held_seconds()},
    )


def _attempt(context: Context, journal: Journal, judgement: Judgement) -> Attempt:
    grant = judgement.decision.verdict
    assert isinstance(grant, Grant)
    same = journal.attempt is not None and journal.attempt.sha256 == grant.target.sha256
    return Attempt(
        order=grant.order,
        path=grant.target.path,
        length=grant.target.length,
        sha256=grant.target.sha256,
        slots=signed(grant.image.slots),
        version=grant.image.version,
        counter=grant.image.release_counter,
        raises_floor_to=grant.image.raises_floor_to,
        permit=grant.permit,
        slot=context.installer.inactive(),
        began_at=journal.attempt.began_at if same and journal.attempt else judgement.at,
    )


def _wait(context: Context, journal: Journal, refusal: Outcome, now: datetime) -> Outcome:
    """Leave what is written, unarmed, and say since when it waits (rule 4)."""
    deferral = journal.deferral
    if refusal.exit_code is Exit.DEFERRED:
        since = deferral.since if deferral is not None else now
        deferral = Deferral(since=since, reason=refusal.reason, detail=refusal.detail)
    context.note(journal.at(State.WAITING, deferral=deferral))
    more = {**refusal.more, "deferred_since": deferral.since if deferral else None}
    return Outcome(refusal.outcome, refusal.reason, refusal.detail, refusal.exit_code, more)


def _not_what_is_wanted(
    context: Context, journal: Journal, judgement: Judgement, refusal: Outcome
) -> Outcome:
    assert journal.attempt is not None
    wanted = judgement.decision.wanted
    if wanted is not None and wanted.sha256 != journal.attempt.sha256:
        context.note(journal.at(State.WAITING))
        raise TransientError(
            "Another image was ordered in the meantime: run this again.", reason="newer_order"
        )
    # What was flushed there is not there any more: it is written again, in time.
    mismatch = RefusedError(refusal.detail, reason=refusal.reason)
    journal = _failed(journal, journal.attempt, mismatch, judgement.at)
    context.note(journal.at(State.IDLE, attempt=None, written=None, deferral=None))
    return refusal


def _remember_present(context: Context) -> None:
    """Before the first update: what the slot holds that came from the factory, to go back to."""
    memory = context.memory()
    booted = context.installer.booted()
    if booted not in memory.slots:
        contents = context.installer.measure(booted)
        length, sha256 = identity(contents)
        present = Content(length=length, sha256=sha256, slots=contents)
        context.remember(memory.holding(booted, present))


def _time(context: Context) -> datetime:
    memory = context.memory()
    return context.times.decision_time(memory.clock_floor, memory.last)
