"""``device export``: the enrolled gateways and what reads metadata on them, for a ceremony."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import click

from interlock_core import durable
from interlock_core.ending import DECOMMISSIONED
from interlock_core.inventory import Gateway, Gateways
from interlock_core.wire import encode, sha256_hex
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.survey import Doubts
from interlock_ops.device_view import DeviceView
from interlock_ops.fleet_reads import devices
from interlock_ops.show import facts, heading

EXAMPLES: Final = (
    "interlock-ops device export gateways.json",
    "interlock-ops device export /media/usb/gateways.json --json",
)
ANSWERS: Final = {
    "file": "where it was written",
    "sha256": "of the file",
    "gateways": "how many stand in it",
    "unknown": "of those, how many have not said what they run",
    "securesystemslib": "how many run each version",
}


@click.command("export", cls=Operation, examples=EXAMPLES, answers=ANSWERS)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def device_export(run: Run, file: Path) -> Answer:
    """Write which gateways are enrolled, and what reads metadata on them, to FILE.

    A ceremony reads it to say which gateways could not read the next root. What a gateway runs is
    taken from its newest report, if its own key signed it: a gateway that never reported, or whose
    papers do not verify, stands there as unknown. Every gateway that the server lists is in the
    file, or there is no file. An existing FILE is never replaced.
    """
    doubts = Doubts()
    session = run.session
    now = session.clock()
    found: dict[str, Gateway] = {}
    retired = 0
    with run.voice.progress("devices read") as progress:
        for view in devices(session, progress=progress):
            doubts.note(view)
            if view.state == DECOMMISSIONED and view.ending is not None:
                retired += 1
                continue
            # A device that is listed twice under one id: what is known of it is in doubt.
            found[view.device] = gateway(view, doubted=view.device in found)
    listed = Gateways(
        type="urn:interlock:gateways:v1",
        fleet=session.roster.fleet,
        at=now.replace(microsecond=0),
        gateways=tuple(found[device] for device in sorted(found)),
    )
    data = encode(listed)
    durable.create(file, data)
    doubts.tell(run)
    versions = Counter(one.versions.securesystemslib for one in found.values() if one.versions)
    unknown = sum(one.versions is None for one in found.values())
    digest = sha256_hex(data)
    shown = {
        "file": str(file),
        "sha256": digest,
        "unknown": f"{unknown}, which have not said what they run",
        **{f"securesystemslib {version}": str(n) for version, n in sorted(versions.items())},
    }
    plural = "" if len(found) == 1 else "s"
    title = heading(f"Wrote {len(found)} gateway{plural} of the fleet {listed.fleet}:")
    answer = {
        "file": str(file),
        "sha256": digest,
        "gateways": len(found),
        "unknown": unknown,
        "decommissioned": retired,
        "securesystemslib": dict(sorted(versions.items())),
    }
    return Answer(doubts.reason("exported"), [title, *facts(shown)], answer)


def gateway(view: DeviceView, *, doubted: bool = False) -> Gateway:
    """A device as it stands in the inventory.

    Args:
        view: as it was judged here.
        doubted: nothing of what it says is taken.
    """
    enrolment = view.enrolment.said if view.enrolment is not None else None
    # A quarantined device has signed two histories: what it says of itself is not taken.
    believed = view.counted and not doubted
    report = view.report.said if view.report is not None and believed else None
    return Gateway(
        device=view.device,
        product=enrolment.product if enrolment is not None else None,
        hardware=enrolment.hardware if enrolment is not None else None,
        site=view.site,
        cohort=view.cohort,
        # What only the server calls out of service may be in use.
        state=view.state if view.state != DECOMMISSIONED else "revoked",
        reported_at=report.at if report is not None else None,
        versions=report.versions if report is not None else None,
    )
