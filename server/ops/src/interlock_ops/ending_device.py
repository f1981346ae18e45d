"""Ending an enrolment: revoking its key, or taking its device out of service (pure).

Rules (numbers are those of ``docs/wire-format.md``, "Who is believed"):

1. Whoever could countersign an enrolment may end it, alone (24). What would count for nothing, or
   was done, is not signed.
2. A decommissioning names the newest report that the device signed, and what ran by it (25).
"""

from __future__ import annotations

from interlock_core.ending import DECOMMISSIONED, LastReport
from interlock_core.errors import Exit
from interlock_core.fleet import may_countersign
from interlock_core.roster import Judge
from interlock_ops.device_view import REPORT_FAULTS, DeviceView
from interlock_ops.objection import Objection


def object_to_ending(judge: Judge, view: DeviceView, me: str, state: str) -> Objection | None:
    """Why ``me`` should not end an enrolment as ``state``; None if it would count (rule 1)."""
    if view.enrolment is None or view.state == "forged":
        return Objection(view.faults[0].reason, f"{view.device}: {view.faults[0].detail}.")
    said = view.enrolment.said
    if view.state in {state, DECOMMISSIONED}:
        done = Exit.DONE if view.state == state else Exit.REFUSED
        return Objection(view.state, f"{view.device} is {view.state} already.", done)
    for fault in view.faults:
        if state == DECOMMISSIONED and fault.reason in REPORT_FAULTS:
            return Objection(
                fault.reason,
                f"{view.device}: {fault.detail}, so no certificate could say what was last: revoke "
                "its key instead.",
            )
    if not may_countersign(judge, me, said):
        return Objection(
            "role_not_held",
            f"{me} is no operator over {said.cohort}, and no engineer of {said.site} over it: by "
            f"the roster {judge.roster.seq} this would count for nothing.",
        )
    return None


def last_report(view: DeviceView) -> tuple[LastReport | None, str | None]:
    """The newest report and the digest of what ran by it (rule 2)."""
    if view.report is None:
        return None, None
    said = view.report.said
    running = said.running.sha256 if said.running is not None else None
    return LastReport(number=said.number, id=view.report.id), running
