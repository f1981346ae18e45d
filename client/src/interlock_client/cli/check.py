"""``interlock-client check``."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_client import check, context
from interlock_client.cli.edge import common, config_path, finish


@click.command(
    "check",
    epilog="""\b
Examples:
  interlock-client check
  interlock-client check --config gateway.toml --json
""",
)
@common
def command(*, config: Path | None, as_json: bool) -> None:
    """Ask whether an update is authorised for this gateway now.

    Nothing is downloaded or installed. With nothing new this is one request.
    """
    finish(check.check(context.build(config_path(config))), as_json=as_json)
