"""``interlock-client report``."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_client import context, reporting
from interlock_client.cli.edge import common, config_path, finish


@click.command(
    "report",
    epilog="""\b
Examples:
  interlock-client report
  interlock-client report --config gateway.toml --json
""",
)
@common
def command(*, config: Path | None, as_json: bool) -> None:
    """Tell the fleet what happened here.

    Makes the report that is due, and sends all that wait in order until nothing does. Reports are
    signed by the device key, numbered and chained; each waits until a server acknowledged it.
    """
    finish(reporting.report(context.build(config_path(config))), as_json=as_json)
