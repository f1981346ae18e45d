"""``interlock-client enrol``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from interlock_client import context, enrol, rotation
from interlock_client.cli.edge import common, config_path, finish
from interlock_core.credentials import MAX_SECRET_FILE, passphrase_handler


@click.command(
    "enrol",
    epilog="""\b
Examples:
  interlock-client enrol --claim-file claim
  interlock-client enrol
  interlock-client enrol --rotate
  interlock-client enrol --renew --claim-stdin < claim
""",
)
@common
@click.option(
    "--claim-file",
    type=click.Path(path_type=Path),
    help="The file whose first line is the claim's secret; nobody else may read it.",
)
@click.option("--claim-stdin", is_flag=True, help="Read the claim's secret from standard input.")
@click.option(
    "--rotate", is_flag=True, help="Ask for a new key with the key in force; no claim is needed."
)
@click.option("--renew", is_flag=True, help="Make a new key and a new enrolment, with a new claim.")
def command(
    *,
    config: Path | None,
    as_json: bool,
    claim_file: Path | None,
    claim_stdin: bool,
    renew: bool,
    rotate: bool,
) -> None:
    """Ask to belong to the fleet, or say where that stands.

    A claim, made by an operator or an engineer of the site, lets this gateway ask once; it counts
    when one of them countersigns it. Until then it updates like any other and makes no reports.
    The claim is a secret, and never an argument.

    With --rotate the key in force asks for a new one. It goes on signing until somebody has
    countersigned the new one, as they did the first.
    """
    if rotate and (renew or claim_stdin or claim_file is not None):
        raise click.UsageError("--rotate takes no claim, and no --renew.")
    if claim_file is not None and claim_stdin:
        raise click.UsageError("Pass --claim-file or --claim-stdin, not both.")
    if renew and claim_file is None and not claim_stdin:
        raise click.UsageError("A renewal needs a new claim: pass --claim-file or --claim-stdin.")
    made = context.build(config_path(config))
    if rotate:
        finish(rotation.rotate(made), as_json=as_json)
        return
    finish(enrol.enrol(made, _claim(claim_file, claim_stdin), renew=renew), as_json=as_json)


def _claim(file: Path | None, from_stdin: bool) -> Callable[[], str] | None:
    if file is not None:
        return lambda: passphrase_handler(file)("claim")
    if from_stdin:
        # What is no text is no claim either, and is refused as such.
        return lambda: (
            sys.stdin.buffer.readline(MAX_SECRET_FILE).rstrip(b"\r\n").decode(errors="replace")
        )
    return None
