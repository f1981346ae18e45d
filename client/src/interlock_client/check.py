"""Is there anything to do? One request when there is not (I/O).

Rules:

1. A 304 together with an outcome that needed nothing, under the same settings, embedded roots, slot
   and running firmware, is that outcome again as long as nothing that was believed has expired.
   Then TUF is not even imported.
2. Everything else is verified whole: after a 304, the bytes that are kept go through all of it.
"""

from __future__ import annotations

from interlock_client.context import Context, running
from interlock_client.journal import State
from interlock_client.outcome import NOTHING_TO_DO, Outcome
from interlock_client.poll import Polled, note_trouble
from interlock_client.telling import told
from interlock_client.timekeeping import looked, timed
from interlock_core.errors import Exit

_AT_REST = frozenset({State.IDLE, State.CONFIRMED, State.ROLLED_BACK})


def check(context: Context) -> Outcome:
    """Poll and decide whether a download would be granted now.

    Raises:
        InterlockError: of the family that says what to do.
    """
    with context.state.lock():
        # It ends no attempt, so that nothing has to be told before.
        outcome = told(context, lambda: _check(context), ends=False)
    more = {**outcome.more, "requests": context.servers.requests}
    return Outcome(outcome.outcome, outcome.reason, outcome.detail, outcome.exit_code, more)


def _check(context: Context) -> Outcome:
    polled = context.poll()
    return settled(context, polled) or _decided(context, polled)


def settled(context: Context, polled: Polled) -> Outcome | None:
    """The outcome of before, if it still holds (rule 1)."""
    seen = polled.unchanged
    if seen is None or seen.settled is None:
        return None
    journal = context.journal()
    if journal.state not in _AT_REST:
        return None
    memory = context.memory()
    booted = context.installer.booted()
    present = running(memory, journal, booted)
    now = context.times.decision_time(memory.clock_floor, memory.last)
    holds = seen.settled.holds(
        config=context.trusted_digest(),
        booted=booted,
        running=present.sha256 if present else None,
        enrolment=context.place(memory).enrolment,
        now=now,
    )
    if not holds:
        return None
    clocked = looked(memory, context.times, now)
    if not context.times.in_this_boot(memory.last) and now <= seen.settled.kept_until:
        # Once in each boot, so that a clock that is set back later cannot hide what time it is.
        clocked = timed(memory, context.times, now, seen.settled.kept_until)
    if clocked != memory:
        context.remember(clocked)
    # A clock that was far ahead is right again: nothing is refused any more.
    note_trouble(context.state, None, now)
    return Outcome(NOTHING_TO_DO, seen.settled.reason, seen.settled.detail)


def _decided(context: Context, polled: Polled) -> Outcome:
    # Not imported unless something must be verified (rule 1).
    from interlock_client.judge import judge  # noqa: PLC0415
    from interlock_core.facts import Phase  # noqa: PLC0415

    judgement = judge(context, polled, Phase.DOWNLOAD)
    wanted = judgement.decision.wanted
    return judgement.refusal() or Outcome(
        "update_available",
        "granted",
        f"{wanted.path if wanted else 'An update'} is authorised for this gateway now.",
        Exit.DONE,
        judgement.more(),
    )
