"""``interlock-client installing``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from interlock_client import config as configuration
from interlock_client import installing
from interlock_client.cli.edge import common, config_path, finish
from interlock_client.outcome import Outcome
from interlock_client.state import StateDir
from interlock_core.errors import ConfigurationError
from interlock_core.names import DIGEST_PATTERN


@click.command(
    "installing",
    epilog="""\b
Examples:
  interlock-client installing 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
""",
)
@click.argument("sha256")
@common
def command(*, sha256: str, config: Path | None, as_json: bool) -> None:
    """For installers, before they write: whether the agent itself is installing that, right now.

    SHA256 is the digest of the whole target, as it was signed. The exit code is 0 while the agent
    is in the middle of installing exactly that, and 20 at any other time: then somebody else has
    called the installer, and it must not go on.
    """
    if re.match(DIGEST_PATTERN, sha256) is None:
        raise ConfigurationError("A SHA-256 is 64 digits of lower-case hexadecimal.")
    settings = configuration.load(config_path(config))
    pid = installing.require(StateDir(settings.state), sha256)
    detail = f"Process {pid} installs {sha256[:12]}."
    finish(Outcome("installing", "installing", detail, more={"pid": pid}), as_json=as_json)
