"""``monitor``: reads the signed reports, and signs auto openings, renewals and automatic stops."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any, Final

import click
from rich.console import RenderableType

from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.monitor.config import load
from interlock_ops.monitor.rounds import Result
from interlock_ops.monitor.service import Monitor, said
from interlock_ops.show import fact, heading, line
from interlock_ops.units import show_time

EXAMPLES: Final = (
    "interlock-ops sample monitor > monitor.toml",
    "interlock-ops monitor --config monitor.toml --once",
    "interlock-ops monitor --config monitor.toml",
)
ANSWERS: Final = {
    "at, read": "when, and how many entries of the log were new",
    "orders": "in force: id, state (what waits, by name and detail), signed (acts that are due)",
    "sent": "id, key, state (sent, kept, refused, dropped), detail",
    "alerts": "what was told: alert, subject, detail, since, over",
    "standing": "what was told before and lasts: alert, subject, detail, since",
}


@click.command("monitor", cls=Operation, settings=False, examples=EXAMPLES, answers=ANSWERS)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="monitor.toml; 'interlock-ops sample monitor' prints one.",
)
@click.option("--once", is_flag=True, help="One round, then end: for a timer, or to look.")
def monitor(run: Run, config: Path, *, once: bool) -> Answer:
    """Watch the rollouts, apart from the server, with a key of its own.

    It reads the log, verifies every report itself, counts silence as failure by its own clock, and
    signs what the order lets it: auto stages after their soak, renewals, and a stop when the
    order's abort settings ask for one. It starts nothing, resumes nothing, and opens no manual
    stage. If it does not run, rollouts stand still.

    Alerts are JSON lines on standard error (with --once they stand in the answer), and go to
    'alert_command'. Stops that people deliver
    with 'rollout pause --monitor DIRECTORY' are taken from 'stops_directory'.
    """
    work = Monitor(load(config), run.edge.clock, None if once else sys.stderr)
    try:
        if once:
            return _answer(work, work.round())
        _serve(work)
    finally:
        work.close()
    return Answer("ended", [line("The monitor ended.")], {"alerts": []})


def _serve(work: Monitor) -> None:
    ending = Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ending.set()

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        work.run(ending)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _answer(work: Monitor, result: Result) -> Answer:
    """How one round ended.

    Raises:
        InterlockError: why it stood still.
    """
    if result.error is not None:
        raise result.error
    facts = _facts(result) | {"alerts": work.alerts.told, "standing": work.alerts.standing()}
    sent = [one for one in result.sent if one.state == "sent"]
    shown: list[RenderableType] = [heading(f"At {show_time(result.at)}: {said(result)}.")]
    for verdict in result.verdicts:
        shown.append(fact("order", verdict.order.id))
        shown += [line(f"    to sign: {act.kind}: {act.why}") for act in verdict.acts]
        shown += [line(f"    waits: {one.reason}: {one.detail}") for one in verdict.waits]
    shown += [fact(one.state, f"{one.key}: {one.id}") for one in result.sent]
    shown += [
        line(f"  {'over: ' if one['over'] else 'alert: '}{one['alert']}: {one['detail']}")
        for one in work.alerts.told
    ]
    if sent:
        return Answer("signed", shown, facts)
    return Answer("nothing_to_sign", shown, facts, outcome="nothing_to_do")


def _facts(result: Result) -> dict[str, Any]:
    return {
        "at": show_time(result.at),
        "read": result.read,
        "orders": [
            {
                "id": verdict.order.id,
                "state": [{"reason": one.reason, "detail": one.detail} for one in verdict.waits],
                "signed": [act.key for act in verdict.acts],
            }
            for verdict in result.verdicts
        ],
        "sent": [
            {"id": one.id, "key": one.key, "state": one.state, "detail": one.detail}
            for one in result.sent
        ],
    }
