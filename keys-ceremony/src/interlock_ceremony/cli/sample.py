"""``interlock-ceremony sample``: a script to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

import click

from interlock_ceremony.ceremony import Room
from interlock_ceremony.cli.common import command
from interlock_ceremony.guide import Say

EXAMPLES: Final = """\b
Examples:
  interlock-ceremony sample > genesis.toml
  interlock-ceremony sample --later > rotation.toml
"""


@click.command(epilog=EXAMPLES)
@click.option("--later", is_flag=True, help="Of a later ceremony, with every act that there is.")
@command
def sample(room: Room, say: Say, later: bool) -> Mapping[str, Any]:  # noqa: ARG001  # every command gets both
    """Print a script to begin with: a genesis by two of three holders, or a later ceremony."""
    name = "later.toml" if later else "genesis.toml"
    text = files("interlock_ceremony").joinpath("samples", name).read_text("utf-8")
    say(text.rstrip("\n"))
    return {"reason": "printed", "script": text}
