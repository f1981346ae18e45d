"""``interlock-client rollback``."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_client import context, rollback
from interlock_client.cli.edge import common, config_path, finish


@click.command(
    "rollback",
    epilog="""\b
Examples:
  interlock-client rollback
  interlock-client rollback --config gateway.toml --json
""",
)
@common
def command(*, config: Path | None, as_json: bool) -> None:
    """Go back to the firmware in the other slot, and reboot.

    It must have been confirmed there, be unchanged, and not be below the release floor. The
    clinical interlock is asked. What is given up is not installed again under its order.
    """
    finish(rollback.rollback(context.build(config_path(config))), as_json=as_json)
