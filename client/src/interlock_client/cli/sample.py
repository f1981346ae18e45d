"""``interlock-client sample``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

import click

from interlock_client.cli.edge import common, print_json

CONFIGURATION: Final = "gateway.toml"


@click.command(
    "sample",
    epilog="""\b
Examples:
  interlock-client sample > gateway.toml
  interlock-client sample --installer > installer
""",
)
@click.option(
    "--installer", is_flag=True, help="Print an executable that unpacks images, to begin with."
)
@common
def command(
    *,
    installer: bool,
    config: Path | None,  # noqa: ARG001  # takes none
    as_json: bool,
) -> None:
    """Print a configuration with every setting explained."""
    text = sample_text("installer.sh" if installer else CONFIGURATION)
    if as_json:
        print_json({"outcome": "sample", "reason": "printed", "text": text})
        return
    click.echo(text, nl=False)


def sample_text(name: str = CONFIGURATION) -> str:
    """A sample that ships with the client."""
    return files("interlock_client").joinpath("samples", name).read_text(encoding="utf-8")
