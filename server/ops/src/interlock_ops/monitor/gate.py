"""Whether what devices signed asks for a stop, and whether it lets the next stage open (pure).

Rules:

1. A stop is asked for by the order's own abort settings, by the rule that everybody uses
   (``abort.first_pause``), over the monitor's own counts: votes of devices whose enrolment and
   report it verified, and time-outs by its own clock.
2. A gate asks for more than that nothing asks for a stop. Of the stages that are open already

   - a device that is expected to end and was not heard since its stage opened, or for two days
     (``action.PATIENCE``), counts as failed: what the server keeps from the monitor is no success;
   - so counted, no stage and no cohort may be bad enough for a stop;
   - somebody must have confirmed, and no fewer than failed. So a sample that is too small to stop a
     rollout does not let it grow either.

3. Devices that wait for a reason that they sign (the interlock, a hold, a window) are no failures
   and no successes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from interlock_core.abort import Counts, Place, first_pause
from interlock_core.action import SUCCESSES
from interlock_core.order import Abort


@dataclass(frozen=True)
class Evidence:
    """What the devices of one order did, by stage and cohort.

    Attributes:
        counts: as ``abort`` counts them.
        silent: of those that are expected to end, how many were not heard (2).
        forgiven: how the counts stood when people last resumed.
    """

    counts: Mapping[Place, Counts] = field(default_factory=dict)
    silent: Mapping[Place, int] = field(default_factory=dict)
    forgiven: Mapping[Place, Counts] = field(default_factory=dict)

    def total(self, below: int | None = None) -> Counts:
        """All counts, or those of the stages before ``below``."""
        return _total(self.counts, below)

    def all_done(self) -> bool:
        """Whether every device that was started has ended well, and there was one."""
        total = self.total()
        done = sum(total.votes.get(vote, 0) for vote in SUCCESSES)
        return 0 < done == total.eligible

    def says(self, below: int | None = None) -> str:
        """In words: what is signed as the reason."""
        total = self.total(below)
        done = sum(total.votes.get(vote, 0) for vote in SUCCESSES)
        silent = sum(n for (stage, _), n in self.silent.items() if below is None or stage < below)
        said = f"{done} of {total.eligible} devices confirmed, {total.failures()} failed"
        return f"{said}, {silent} silent" if silent else said


@dataclass(frozen=True)
class Shut:
    """Why a gate stays shut: a stable name and a sentence; ``call`` as in ``judging.Waits``."""

    reason: str
    detail: str
    call: bool = True


def stop_reason(abort: Sequence[Abort], evidence: Evidence) -> str | None:
    """Why the rollout must be stopped, in words, or None (1)."""
    found = first_pause(abort, evidence.counts, evidence.forgiven)
    if found is None:
        return None
    stage, cohort, reason = found
    where = f"stage {stage}" if cohort is None else f"stage {stage} at {cohort}"
    return f"{where}: {reason}"


def gate_objection(abort: Sequence[Abort], evidence: Evidence, number: int) -> Shut | None:
    """Why stage ``number`` must not open yet, or None (2).

    Args:
        abort: the order's settings.
        evidence: what its devices did.
        number: of the stage whose gate it is.
    """
    open_already = {place: one for place, one in evidence.counts.items() if place[0] < number}
    strict = {
        place: _silence_fails(one, evidence.silent.get(place, 0))
        for place, one in open_already.items()
    }
    bad = stop_reason(abort, Evidence(counts=strict, forgiven=evidence.forgiven))
    if bad is not None:
        return Shut("failures_at_gate", f"counting those not heard as failed, {bad}")
    total, known = _total(strict, None), _total(evidence.forgiven, number)
    done = sum(total.votes.get(vote, 0) for vote in SUCCESSES)
    failed = max(0, total.failures() - known.failures())
    if done == 0:
        return Shut(
            "no_evidence",
            f"none of the {total.eligible} devices in the stages before it has confirmed yet",
        )
    if failed > done:
        return Shut(
            "failures_at_gate",
            f"{failed} devices failed or were not heard, and {done} confirmed",
        )
    return None


def _silence_fails(counts: Counts, silent: int) -> Counts:
    votes = dict(counts.votes)
    votes["timed_out"] = votes.get("timed_out", 0) + min(silent, max(0, counts.open))
    return replace(counts, votes=votes)


def _total(counts: Mapping[Place, Counts], below: int | None) -> Counts:
    kept = (one for (stage, _), one in counts.items() if below is None or stage < below)
    return sum(kept, Counts())
