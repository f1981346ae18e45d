"""The command ``interlock-server``."""

from __future__ import annotations

from typing import Final

import click

from interlock_server import __version__
from interlock_server.cli.common import Commands

COMMANDS: Final = ("check", "cohort", "init", "keys", "migrate", "refresh", "sample", "serve")


@click.group(
    cls=Commands,
    modules={name: f"{__name__}.{name}" for name in COMMANDS},
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 2 usage or settings; 20 refused; 30 try again; 1 anything else.",
    examples=(
        "interlock-server keys new online --passphrase-file passphrase",
        "interlock-server sample > server.toml",
        "interlock-server init ceremony-output --config server.toml --cohort canary --cohort wards",
        "interlock-server serve --config server.toml",
        "interlock-server cohort add st-anna --config server.toml",
        "interlock-server refresh --config server.toml      # from a timer, every hour",
        "interlock-server check --config server.toml",
    ),
)
@click.version_option(__version__, prog_name="interlock-server")
def main() -> None:
    """Publish what people signed; narrow, delay or stop, never enlarge.

    The server keeps the online TUF roles fresh and turns signed statements into each cohort's
    directive. Nothing that it holds can start or enlarge a rollout.
    """
