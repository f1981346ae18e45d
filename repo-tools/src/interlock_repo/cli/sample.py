"""``interlock-repo sample``: configuration files to start from."""

from __future__ import annotations

from importlib import resources
from typing import Final

import click

from interlock_repo.cli.edge import Outcome, json_option

SAMPLES: Final = ("delegations", "permit", "release", "roster")


@click.command(
    epilog="""\b
Example:
  interlock-repo sample release > release.toml
"""
)
@click.argument("name", type=click.Choice(SAMPLES))
@json_option
def sample(name: str, as_json: bool) -> Outcome:
    """Print a sample of the TOML file that a command reads."""
    del as_json
    text = (resources.files("interlock_repo") / "samples" / f"{name}.toml").read_text("utf-8")
    return Outcome("sample", (text.rstrip("\n"),), {"name": name, "text": text})
