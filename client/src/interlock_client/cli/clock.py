"""``interlock-client clock``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from interlock_client import context, local_acts, timekeeping
from interlock_client.cli.edge import common, config_path, finish, plain, print_json
from interlock_core.wire import format_time


@click.group(
    "clock",
    epilog="""\b
Examples:
  interlock-client clock show
  interlock-client clock reset --reason "the clock was set to 2040 by hand, ticket 4711"
""",
)
def command() -> None:
    """Show what time this gateway decides at, or forget a wrong one.

    It decides at the latest of three: the system clock, the floor, and the last decision plus what
    has passed since in this boot. The floor is raised by what people sign offline, and by nothing
    else.
    """


@command.command("show")
@common
def show(*, config: Path | None, as_json: bool) -> None:
    """Show the system clock, the floor, the last decision, and what is odd about them."""
    made = context.build(config_path(config))
    found = timekeeping.shown(made.memory(), made.times)
    if as_json:
        alarms = found["alarms"]
        print_json({"outcome": "clock", "reason": alarms[0] if alarms else "steady", **found})
        return
    for line in _lines(found):
        click.echo(plain(line))


@command.command(
    "reset",
    epilog="""\b
Examples:
  interlock-client clock reset --reason "the clock was set to 2040 by hand, ticket 4711"
  interlock-client clock reset --reason "as agreed with the operator" --yes --json
""",
)
@common
@click.option("--reason", required=True, help="Why, in one line; it is kept here.")
@click.option("--yes", is_flag=True, help="Do not ask; needed where nobody can be asked.")
def reset(*, config: Path | None, as_json: bool, reason: str, yes: bool) -> None:
    """Forget the clock's floor and the last decision; version floors stay.

    For a gateway whose time was pushed ahead, so that everything looks expired. Set the system
    clock first: until the next refresh it alone says what time it is, and what has lapsed since
    then would be believed again. Who did it, when and why is kept beside the decisions.
    """
    said = local_acts.check_reason(reason)
    made = context.build(config_path(config))
    found = timekeeping.shown(made.memory(), made.times)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("Nobody can be asked here: pass --yes.")
        for line in _lines(found):
            click.echo(plain(line), err=True)
        question = "Forget the floor and decide by the system clock until the next refresh?"
        click.confirm(question, abort=True, err=True)
    finish(timekeeping.reset(made, said), as_json=as_json)


def _lines(found: dict[str, Any]) -> list[str]:
    last = "none"
    if found["last_decision"] is not None:
        boot = "in this boot" if found["last_decision_in_this_boot"] else "in a boot before"
        last = f"{format_time(found['last_decision'])}, {boot}"
    lines = [
        f"system clock   {found['system']}",
        f"floor          {format_time(found['floor'])}",
        f"last decision  {last}",
        f"decides at     {format_time(found['decides_at'])}",
    ]
    if found["jumped_seconds"] is not None:
        way = "ahead" if found["jumped_seconds"] > 0 else "back"
        lines.append(
            f"clock_jumped   the system clock went {way} by {abs(found['jumped_seconds'])} s in "
            "this boot: find out what sets it"
        )
    if "issue_time_ahead" in found["alarms"]:
        lines.append(
            f"issue_time_ahead  something that was signed offline is dated "
            f"{format_time(found['issued_ahead'])}; it counts for nothing: tell the operators"
        )
    return lines
