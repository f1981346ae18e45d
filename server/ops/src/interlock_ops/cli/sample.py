"""``sample``: an order file and settings files to begin with."""

from __future__ import annotations

from importlib import resources
from typing import Final

import click

from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.show import line

EXAMPLES: Final = (
    "interlock-ops sample order > order.toml",
    "interlock-ops sample ops > ops.toml",
    "interlock-ops sample monitor > monitor.toml",
)


@click.command(cls=Operation, settings=False, examples=EXAMPLES)
@click.argument("what", type=click.Choice(["order", "ops", "monitor"]))
def sample(run: Run, what: str) -> Answer:  # noqa: ARG001  # every operation gets its run
    """Print a sample ORDER.toml, ops.toml or monitor.toml, with comments."""
    text = resources.files("interlock_ops.samples").joinpath(f"{what}.toml").read_text("utf-8")
    return Answer("sample", [line(row) for row in text.splitlines()], {"text": text})
