"""``interlock-client explain``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from interlock_client import context, explain
from interlock_client.cli.edge import common, config_path, finish, plain, print_json
from interlock_core.wire import format_time


@click.command(
    "explain",
    epilog="""\b
Examples:
  interlock-client explain
  interlock-client explain --last --json
""",
)
@common
@click.option("--last", is_flag=True, help="Show the last decision; ask nobody.")
def command(*, config: Path | None, as_json: bool, last: bool) -> None:
    """Decide now and show every rule that ran, with its outcome.

    Nothing is downloaded or installed. The exit code is that of the decision.
    """
    made = context.build(config_path(config))
    if last:
        entry = explain.last(made)
        if as_json:
            print_json({**entry["verdict"], **entry})
            return
        verdict = entry["verdict"]
        click.echo(f"{entry['at']} {entry['phase']}: {verdict['outcome']} ({verdict['reason']})")
        _show(entry.get("checks", []))
        return
    outcome = explain.explain(made)
    if not as_json:
        _show(outcome.more["checks"])
        click.echo(f"interlock: {outcome.more['interlock']}")
        assigned = outcome.more["assigned"]
        if assigned:
            text = f"cohort: {outcome.more['cohort']}, assigned by {assigned['by']} at "
            click.echo(plain(f"{text}{assigned['at']}: {assigned['reason']}"))
        else:
            click.echo(f"cohort: {outcome.more['cohort']}")
        waiting = outcome.more["deferral"]
        if waiting:
            click.echo(f"waiting since {format_time(waiting['since'])}: {waiting['reason']}")
    finish(outcome, as_json=as_json)


def _show(checks: list[Mapping[str, Any]]) -> None:
    for item in checks:
        mark = "pass" if item["passed"] else "FAIL"
        detail = f": {item['detail']}" if item["detail"] else ""
        click.echo(plain(f"  {mark}  {item['rule']}{detail}"))
