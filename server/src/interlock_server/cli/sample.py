"""``interlock-server sample``."""

from __future__ import annotations

import click

from interlock_server.cli.common import Command, json_option, say
from interlock_server.config import sample as sample_text


@click.command(
    cls=Command,
    examples=("interlock-server sample > server.toml",),
)
@json_option
def sample(as_json: bool) -> None:
    """Print a settings file to begin with."""
    text = sample_text()
    say(as_json, text.rstrip("\n"), sample=text)
