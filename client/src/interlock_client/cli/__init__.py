"""The command line of a gateway: one module for each command.

A command's module is imported when the command is run, so that ``check`` with nothing new costs
what it needs and no more.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Final

import click

from interlock_client import __version__
from interlock_client.cli.edge import run
from interlock_client.config import DEFAULT_PATH

COMMANDS: Final = {
    "boot-select": "boot_select",
    "check": "check",
    "clock": "clock",
    "confirm": "confirm",
    "enrol": "enrol",
    "explain": "explain",
    "installing": "installing",
    "power-cuts": "power_cuts",
    "report": "report",
    "retry": "retry",
    "rollback": "rollback",
    "run": "run",
    "sample": "sample",
    "status": "status",
    "tpm": "tpm",
    "update": "update",
}


class _Commands(click.Group):
    """Finds commands by name, and imports the one that is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return sorted(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002  # click's signature
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"interlock_client.cli.{COMMANDS[cmd_name]}")
        command: click.Command = module.command
        return command


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Exit codes: 0 done, or nothing to do · 2 usage or configuration · 10 deferred (interlock, window,
hold, not in stage yet) · 20 refused, by name · 30 try again later · 40 installed and rolled back ·
1 anything else.

\b
Examples:
  interlock-client sample > gateway.toml
  interlock-client check --config gateway.toml
  interlock-client --config gateway.toml update --json
  interlock-client enrol --claim-file claim
  interlock-client run
""",
)
@click.version_option(__version__, prog_name="interlock-client")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=DEFAULT_PATH,
    show_default=True,
    help="The gateway's configuration.",
)
@click.pass_context
def group(ctx: click.Context, config: Path) -> None:
    """Keep this gateway on the firmware that people signed and authorised for it.

    Nothing is installed unless the people who build firmware signed it, the people who run the
    fleet authorised it, and this gateway itself finds that now is safe.
    """
    ctx.obj = config


def main() -> None:
    """Run the command line and exit."""
    run(group)
