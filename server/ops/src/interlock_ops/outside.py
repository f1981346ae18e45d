"""A device as core's forecasts and recalls take it, from its verified papers (pure).

Rules:

1. What does not verify is not believed: a report with a fault is none, and a device that is
   forged, waits, is quarantined, superseded or ended is shown with the reason why nothing counts.
   It is out of service where somebody entitled signed that, and not where the server says so.
2. A device whose enrolment cannot be read has no name to be counted by: it is a fault, and is told
   as one.
"""

from __future__ import annotations

from interlock_core.ending import Decommission
from interlock_core.seen import Seen
from interlock_ops.device_view import REPORT_FAULTS, DeviceView


def seen_of(view: DeviceView) -> Seen | None:
    """What is known of a device; None where its enrolment cannot be read (rule 2)."""
    if view.enrolment is None:
        return None
    said = view.enrolment.said
    return Seen(
        device=said.device,
        enrolment=view.enrolment.id,
        product=said.product,
        hardware=said.hardware,
        site=said.site,
        cohort=view.cohort or said.cohort,
        report=view.report.said if view.report is not None else None,
        heard_at=view.heard_at,
        excluded=_excluded(view),
        out_of_service=view.ending is not None and isinstance(view.ending.said, Decommission),
    )


def _excluded(view: DeviceView) -> str | None:
    """Why nothing that it says counts (rule 1)."""
    if not view.counted:
        return view.state
    return next((one.reason for one in view.faults if one.reason in REPORT_FAULTS), None)
