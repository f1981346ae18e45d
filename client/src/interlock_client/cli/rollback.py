"""``interlock-client rollback``."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_client import context, local_acts, rollback
from interlock_client.cli.edge import common, config_path, finish


@click.command(
    "rollback",
    epilog="""\b
Examples:
  interlock-client rollback
  interlock-client rollback --config gateway.toml --json
  interlock-client rollback --without-tpm --reason "the TPM is dead, ticket 4711"
""",
)
@common
@click.option(
    "--without-tpm",
    is_flag=True,
    help="Go back though the TPM does not answer; needs --reason.",
)
@click.option("--reason", help="Why; it is kept here.")
def command(*, config: Path | None, as_json: bool, without_tpm: bool, reason: str | None) -> None:
    """Go back to the firmware in the other slot, and reboot.

    It must have been confirmed there, be unchanged, and not be below the release floor. The
    clinical interlock is asked. What is given up is not installed again under its order.

    Where a TPM is configured and does not answer, nobody can tell whether the floor here is the
    newest: then it takes --without-tpm, and who did it, when and why is kept beside the decisions.
    """
    if without_tpm != (reason is not None):
        raise click.UsageError("--without-tpm needs --reason, and --reason goes with it.")
    said = local_acts.check_reason(reason) if reason is not None else None
    made = context.build(config_path(config))
    finish(rollback.rollback(made, without_tpm=said), as_json=as_json)
