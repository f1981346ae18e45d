"""``interlock-client sample``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from interlock_client.cli.edge import common, print_json


@click.command(
    "sample",
    epilog="""\b
Examples:
  interlock-client sample > gateway.toml
""",
)
@common
def command(*, config: Path | None, as_json: bool) -> None:  # noqa: ARG001  # takes none
    """Print a configuration with every setting explained."""
    text = sample_text()
    if as_json:
        print_json({"outcome": "sample", "reason": "printed", "text": text})
        return
    click.echo(text, nl=False)


def sample_text() -> str:
    """The sample configuration that ships with the client."""
    return files("interlock_client").joinpath("samples/gateway.toml").read_text(encoding="utf-8")
