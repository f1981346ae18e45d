"""The command ``interlock-server``."""

from __future__ import annotations

import click

from interlock_server import __version__
from interlock_server.cli.check import check
from interlock_server.cli.common import Commands
from interlock_server.cli.init import init
from interlock_server.cli.keys import keys
from interlock_server.cli.migrate import migrate
from interlock_server.cli.refresh import refresh
from interlock_server.cli.sample import sample
from interlock_server.cli.serve import serve


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 2 usage or settings; 20 refused; 30 try again; 1 anything else.",
    examples=(
        "interlock-server keys new online --passphrase-file passphrase",
        "interlock-server sample > server.toml",
        "interlock-server init ceremony-output --config server.toml --cohort canary --cohort wards",
        "interlock-server serve --config server.toml",
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


main.add_command(keys)
main.add_command(sample)
main.add_command(init)
main.add_command(serve)
main.add_command(migrate)
main.add_command(refresh)
main.add_command(check)
