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
Example:
  interlock-ceremony sample > genesis.toml
"""


@click.command(epilog=EXAMPLES)
@command
def sample(room: Room, say: Say) -> Mapping[str, Any]:  # noqa: ARG001  # every command gets both
    """Print a script to begin with: a genesis by two of three holders."""
    text = files("interlock_ceremony").joinpath("samples", "genesis.toml").read_text("utf-8")
    say(text.rstrip("\n"))
    return {"reason": "printed", "script": text}
