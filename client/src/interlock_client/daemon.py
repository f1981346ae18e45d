"""``run``: one long life of looking, updating and reporting (I/O).

Rules:

1. A round confirms what booted, looks for an update and installs it if now is the time, and sends
   what was reported. It holds the lock for as long as each of these takes, and not between rounds:
   every other command works beside it.
2. Once a reboot was commanded it does nothing any more but wait for the power to go.
3. A reboot that somebody commanded before is given the time until the next round; a machine that
   runs on all the same goes through the whole last moment again.
4. Every round has its own connections and its own TUF state: nothing grows.
5. It ends with 0 when it is told to (``signals``). An error of ours ends a round, not the process.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from interlock_client import agent, confirm, reporting
from interlock_client.context import Context
from interlock_client.outcome import NOTHING_TO_DO, TRANSIENT, Outcome, of_error
from interlock_client.rounds import Uniform, Voice, Waits
from interlock_client.signals import Signals
from interlock_core.errors import Exit, InterlockError

REBOOT_PENDING: Final = "reboot_pending"


@dataclass(frozen=True)
class Round:
    """What one round came to.

    Attributes:
        number: from 1 on, since the process began.
        outcome: of the update, or of the confirmation if the gateway goes down after it.
        confirmed: of the confirmation, None if there was nothing to confirm.
        reported: of sending reports, None if that was not tried.
        going_down: whether a reboot was commanded.
        next_seconds: until the next round, None if there is none.
        warned: of a client certificate that ends soon or cannot be used, None otherwise.
        lines: what people are told; empty if they know it already.
        repeated: how often the outcome has come in a row.
    """

    number: int
    at: datetime
    outcome: Outcome
    confirmed: Outcome | None
    reported: Outcome | None
    going_down: bool
    next_seconds: float | None = None
    warned: Outcome | None = None
    lines: tuple[str, ...] = ()
    repeated: int = 1

    def fields(self) -> dict[str, Any]:
        """The object that ``run --json`` prints for this round."""
        return {
            **self.outcome.fields(),
            "round": self.number,
            "at": self.at,
            "repeated": self.repeated,
            "next_seconds": self.next_seconds,
            "confirm": self.confirmed and self.confirmed.fields(),
            "report": self.reported and self.reported.fields(),
            "client_certificate": self.warned and self.warned.detail,
        }


def run(
    context: Context,
    signals: Signals,
    say: Callable[[Round], None],
    uniform: Uniform = random.uniform,
) -> None:
    """Look, update and report until somebody ends it.

    Args:
        context: the gateway.
        signals: entered by the caller.
        say: told about every round.
        uniform: chance, for jitter.

    Raises:
        signals.Stopped: it was told to end; what it keeps is as after a power cut.
    """
    waits, voice = Waits(context.settings, uniform), Voice()
    number, pending = 0, False
    while True:
        number += 1
        fresh = replace(context, uninterrupted=signals.uninterrupted)
        try:
            found = _round(fresh, number, patient=not pending)
            found = replace(found, warned=_warned(fresh, found.at))
        finally:
            fresh.close()
        pending = found.outcome.reason == REBOOT_PENDING
        seconds = None if found.going_down else waits.after(found.outcome)
        say(_said(found, voice, seconds))
        if found.going_down:
            signals.wait_for_the_end()
        signals.wait(seconds)


def _round(context: Context, number: int, *, patient: bool) -> Round:
    """One round (rule 1).

    Args:
        context: the gateway.
        number: of the round.
        patient: whether to wait for a reboot that was commanded before (rule 3).
    """
    at = context.times.clock()
    confirmed: Outcome | None = _tried(context, confirm.confirm)
    assert confirmed is not None
    if confirmed.outcome == confirm.ROLLED_BACK and _boots_another(context):
        return Round(number, at, confirmed, confirmed, None, going_down=True)
    if confirmed.reason == REBOOT_PENDING and patient:
        return Round(number, at, confirmed, confirmed, None, going_down=False)
    if confirmed.reason == confirm.HEALTH_UNKNOWN:
        # It is told meanwhile, and nothing is installed before it is known.
        told = _tried(context, reporting.report) if context.enrolled else None
        return Round(number, at, confirmed, confirmed, told, going_down=False)
    if confirmed.outcome in {NOTHING_TO_DO, TRANSIENT}:
        # The update says it again if it matters.
        confirmed = None
    outcome = _tried(context, agent.update)
    going_down = outcome.outcome == agent.REBOOTING
    reported = None
    if context.enrolled and not going_down and outcome.reason != "network":
        reported = _tried(context, reporting.report)
    return Round(number, at, outcome, confirmed, reported, going_down)


def _warned(context: Context, now: datetime) -> Outcome | None:
    """That the client certificate ends soon, has ended, or cannot be read."""
    known = context.client_certificate(now)
    if known is None or known["trouble"] is None:
        return None
    days = known["days_left"]
    reason = "unreadable" if days is None else "expires_soon" if days >= 0 else "expired"
    return Outcome("warning", reason, known["trouble"], Exit.DONE)


def _tried(context: Context, command: Callable[[Context], Outcome]) -> Outcome:
    try:
        return command(context)
    except InterlockError as e:
        return of_error(e)
    except OSError as e:
        return Outcome(TRANSIENT, "disk", f"{e}: mend that.", Exit.TRANSIENT)


def _boots_another(context: Context) -> bool:
    """Whether the slot that boots next is not the one that runs."""
    standing = context.installer.standing()
    return standing.booted != standing.active


def _said(found: Round, voice: Voice, seconds: float | None) -> Round:
    parts = [
        ("update", found.outcome),
        ("report", found.reported),
        ("client certificate", found.warned),
    ]
    if found.confirmed is not found.outcome:
        parts.insert(0, ("confirm", found.confirmed))
    lines = []
    for subject, outcome in parts:
        if outcome is None:
            continue
        if subject == "report" and outcome.exit_code is Exit.DONE:
            # Something to send now and then nothing is no change that a person looks for.
            outcome = replace(outcome, outcome=reporting.REPORTED, reason="acknowledged")  # noqa: PLW2901
        line = voice.line(subject, outcome, found.at)
        if line is not None:
            lines.append(line)
    return replace(found, next_seconds=seconds, lines=tuple(lines), repeated=voice.times["update"])
