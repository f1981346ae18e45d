"""``interlock-client update``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from interlock_client import agent, context
from interlock_client.cli.edge import common, config_path, finish


@click.command(
    "update",
    epilog="""\b
Examples:
  interlock-client update
  interlock-client update --config gateway.toml --json
  interlock-client update --lift-budget
""",
)
@click.option(
    "--lift-budget",
    is_flag=True,
    help="Count from nothing what this order's image costs (`budget_bytes`), ask servers again "
    "that sent wrong bytes, and for a delta that was given up.",
)
@common
def command(*, config: Path | None, lift_budget: bool, as_json: bool) -> None:
    """Install what is authorised, if now is safe.

    The image is written into the inactive slot and stays unarmed until the last moment: the
    freshest directive is fetched and decided upon again, the clinical interlock is asked again,
    the slot is read back, armed, and the gateway reboots. What is deferred is not downloaded again,
    and a download that was cut off goes on where it stood.
    """
    built = context.build(config_path(config), progress=_show)
    finish(agent.update(built, lift_budget=lift_budget), as_json=as_json)


def _show(done: int, whole: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == whole else ""
        click.echo(f"\rdownloading {100 * done // whole:3d} %{end}", nl=False, err=True)
