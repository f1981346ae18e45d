"""``interlock-client retry``."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_client import context, local_acts, retry
from interlock_client.cli.edge import common, config_path, finish


@click.command(
    "retry",
    epilog="""\b
Examples:
  interlock-client retry --reason "the fibre was cut, ticket 4711"
  interlock-client retry --order 3f1c22ab90d1 --reason "agreed with the operator" --json
""",
)
@common
@click.option("--reason", required=True, help="Why, in one line; it is kept here.")
@click.option("--order", help="The beginning of the order's id; else what was refused last.")
def command(*, config: Path | None, as_json: bool, reason: str, order: str | None) -> None:
    """Let a version be tried again that rolled back here.

    It is not tried again by itself under the same order. Everything else is asked as before, and
    nothing is installed by this command. Who did it, when and why is kept beside the decisions.
    """
    said = local_acts.check_reason(reason)
    finish(retry.retry(context.build(config_path(config)), said, order), as_json=as_json)
