"""``rollout watch``: a rollout as it goes on, until it ends or stands still."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import click
from rich.console import Console
from rich.live import Live

from interlock_core.api import RolloutStages
from interlock_core.errors import Exit, RefusedError, TransientError
from interlock_core.order import Order
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.options import duration, statement_id
from interlock_ops.show import fact, line
from interlock_ops.units import show_time
from interlock_ops.watching import ENDS, FIELDS, MAX_FAULTS, Pace, caption, facts, line_of, table

EXAMPLES: Final = (
    "interlock-ops rollout watch ORDER_ID",
    "interlock-ops rollout watch ORDER_ID --for 2h --every 30s --json",
)
TOKEN_FAULTS: Final = frozenset({"bad_token", "no_token"})


@click.command("watch", cls=Operation, examples=EXAMPLES, answers=FIELDS)
@click.argument("order_id", type=statement_id)
@click.option(
    "--every", type=duration, default=5, show_default="5s", help="How often to ask at most."
)
@click.option("--for", "lasts", type=duration, help="Give up watching after so long.")
def rollout_watch(run: Run, order_id: str, every: int, lasts: int | None) -> Answer:
    """Watch an order as it goes on: a live table on a terminal, a line for each change elsewhere.

    It ends with 0 when the rollout is finished, with 20 when it is paused or stopped, and with 10
    when the time of --for is over. The numbers are the server's counters; 'rollout status' counts
    from signed reports.
    """
    session = run.session
    order = session.dossier(order_id).order.said
    ends = session.clock() + timedelta(seconds=lasts) if lasts is not None else None
    pace = Pace(max(1.0, float(every)))
    with _screen(run, order) as show:
        told = _follow(run, order_id, pace, ends, show)
    exit_ = ENDS.get(told.state, Exit.DEFERRED)
    reason = told.state if told.state in ENDS else "still_running"
    # A live table is gone when it ends; lines stand already.
    last = line(line_of(order, told, show_time(session.clock())))
    shown = [last] if sys.stdout.isatty() else []
    if exit_ is not Exit.DONE:
        shown.append(fact("", caption(order, told)))
        shown.append(line(f"  interlock-ops rollout status {order_id} says why, and who is needed"))
    return Answer(reason, shown, facts(order_id, order, told), exit=exit_)


def _follow(
    run: Run,
    order_id: str,
    pace: Pace,
    ends: datetime | None,
    show: Callable[[RolloutStages], None],
) -> RolloutStages:
    """Ask until it ends or the time is over; the last that was told.

    Raises:
        TransientError: too many faults in a row.
    """
    etag: str | None = None
    told: RolloutStages | None = None
    while True:
        try:
            answer = _ask(run, order_id, etag)
        except TransientError as e:
            wait = pace.fault()
            if pace.faults >= MAX_FAULTS or (told is None and ends is None):
                raise
            run.voice.warn(f"{e} It is asked again in {wait:.0f} s.")
        else:
            new, etag = answer if answer is not None else (told, etag)
            wait = pace.same() if new == told else pace.changed()
            if new is not None and new != told:
                told = new
                show(told)
        if told is not None and told.state in ENDS:
            return told
        now = run.session.clock()
        if ends is not None and now >= ends:
            if told is None:
                raise TransientError("The server's counters could not be read in that time.")
            return told
        left = (ends - now).total_seconds() if ends is not None else wait
        run.edge.sleep(min(wait, max(0.0, left)))


def _ask(run: Run, order_id: str, etag: str | None) -> tuple[RolloutStages, str | None] | None:
    session = run.session
    path = f"/v1/rollouts/{order_id}/stages"
    try:
        return session.api.get_if_changed(path, RolloutStages, token=session.token, etag=etag)
    except RefusedError as e:
        if e.reason not in TOKEN_FAULTS:
            raise
        session.renew_token()
        return session.api.get_if_changed(path, RolloutStages, token=session.token, etag=etag)


@contextmanager
def _screen(run: Run, order: Order) -> Iterator[Callable[[RolloutStages], None]]:
    """A live table where there is a terminal for it, and a line for each change elsewhere."""
    if run.voice.as_json:
        yield lambda _: None
        return
    if not sys.stdout.isatty():
        clock = run.session.clock
        yield lambda told: run.voice.show([line(line_of(order, told, show_time(clock())))])
        return
    console = Console(highlight=False, markup=False, emoji=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda told: live.update(table(order, told), refresh=True)
