"""``interlock-client check``."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_client import check, context, resting
from interlock_client.cli.edge import common, config_path, done, finish, json_line


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
    outcome = resting.watched(
        config_path(config),
        context.build,
        check.check,
        text=done,
        json=lambda outcome: json_line(outcome.fields()),
    )
    finish(outcome, as_json=as_json)
