"""``explain``: why is this gateway not updating?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from interlock_core.seen import Seen
from interlock_ops.cli.common import permits_of
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.options import device_id
from interlock_ops.cli.survey import Doubts, genuine
from interlock_ops.device_view import DeviceView
from interlock_ops.dossier import Dossier
from interlock_ops.explaining import Explained, Known, explain
from interlock_ops.fleet_reads import Orders, read_stages
from interlock_ops.next_steps import Step, next_steps
from interlock_ops.outside import seen_of
from interlock_ops.recall_reads import catalogue
from interlock_ops.show_explained import FIELDS, explained_facts, explained_lines
from interlock_ops.site_reads import site_if_told
from interlock_ops.view import read_status
from interlock_ops.zones import utc_offset

EXAMPLES: Final = (
    "interlock-ops explain GW-0003",
    "interlock-ops explain GW-0003 --json",
)


@click.command("explain", cls=Operation, examples=EXAMPLES, answers=FIELDS)
@click.argument("device_id_", metavar="DEVICE", type=device_id)
def explain_device(run: Run, device_id_: str) -> Answer:
    """Say why a gateway is not updating: cohort, point, stage, barrier, window, hold, interlock.

    The gateway's own decision is made here, by the same code, from what was signed and from its
    last report. What only the gateway knows is named. 'interlock-client explain', on the gateway,
    knows that too.
    """
    session = run.session
    view = genuine(session, device_id_)
    doubts = Doubts()
    doubts.note(view)
    doubts.tell(run)
    dossier = Orders(session, run.voice.warn).of(view) if view.counted else None
    seen = seen_of(view)
    assert seen is not None  # it is genuine
    now = session.clock()
    found = _explained(run, view, seen, dossier)
    steps = _steps(run, found, view, dossier)
    told = _told(run, view, dossier)
    return Answer(
        doubts.reason("explained"),
        explained_lines(found, view, dossier, steps, told, now),
        explained_facts(found, view, dossier, steps, told, now),
    )


def _explained(run: Run, view: DeviceView, seen: Seen, dossier: Dossier | None) -> Explained:
    session = run.session
    now = session.clock()
    site = site_if_told(session, view.site)
    zone = site.described.said.time_zone if site is not None and site.described else None
    known = Known(
        roster=session.roster,
        catalogue=catalogue(session, seen.product),
        expiries=session.image.expiries(seen.product),
        now=now,
        utc_offset=utc_offset(zone, now) if zone is not None else None,
        holds=tuple(one.envelope for one in site.signed) if site is not None else (),
    )
    if dossier is not None:
        for warning in permits_of(session, dossier.order.said, dossier.order.id):
            run.voice.warn(warning)
    return explain(view, seen, dossier, known)


def _steps(run: Run, found: Explained, view: DeviceView, dossier: Dossier | None) -> Sequence[Step]:
    """What people could do about it; nothing where only the gateway can."""
    if dossier is None or found.says.done or found.because.source == "silence":
        return ()
    judge = run.session.judge
    status = read_status(judge, dossier)
    return tuple(
        step
        for cohort in status.cohorts
        if cohort.cohort == view.cohort
        for step in next_steps(judge, dossier, cohort, None)
    )


def _told(run: Run, view: DeviceView, dossier: Dossier | None) -> str | None:
    """Why the server does not go on at the gateway's cohort, if it says so."""
    if dossier is None:
        return None
    stages = read_stages(run.session, dossier.order.id, run.voice.warn)
    if stages is None:
        return None
    for one in stages.cohorts:
        if one.cohort == view.cohort:
            why = stages.held_why if one.held else None
            return why or one.still or one.over
    return None
