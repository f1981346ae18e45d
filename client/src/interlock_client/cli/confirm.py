"""``interlock-client confirm``."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_client import confirm, context
from interlock_client.cli.edge import common, config_path, finish


@click.command(
    "confirm",
    epilog="""\b
Examples:
  interlock-client confirm
  interlock-client confirm --config gateway.toml --json
""",
)
@common
def command(*, config: Path | None, as_json: bool) -> None:
    """After a boot: keep the new firmware if it is healthy, or roll it back and reboot.

    A unit of the new system runs this once its services are up. With nothing to confirm it does
    nothing.
    """
    finish(confirm.confirm(context.build(config_path(config))), as_json=as_json)
