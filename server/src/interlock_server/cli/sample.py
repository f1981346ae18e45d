"""``interlock-server sample``."""

from __future__ import annotations

import click

from interlock_server.cli.common import Command
from interlock_server.config import sample as sample_text


@click.command(
    cls=Command,
    examples=("interlock-server sample > server.toml",),
)
def sample() -> None:
    """Print a settings file to begin with."""
    click.echo(sample_text(), nl=False)
