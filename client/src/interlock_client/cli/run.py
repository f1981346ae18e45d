"""``interlock-client run``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from interlock_client import context, daemon
from interlock_client.cli.edge import common, config_path, plain, print_json
from interlock_client.daemon import Round
from interlock_client.signals import Signals, Stopped


@click.command(
    "run",
    epilog="""\b
Examples:
  interlock-client run
  interlock-client run --config gateway.toml --json
  systemctl kill --signal=SIGUSR1 interlock-client    # look now
""",
)
@common
def command(*, config: Path | None, as_json: bool) -> None:
    """Keep this gateway up to date: confirm, update and report, again and again.

    Looks every `poll_interval_seconds` and a random part of `poll_jitter_seconds`; sooner while an
    installation waits for this place, later while the network fails. SIGUSR1 or SIGHUP: look now.
    SIGTERM or SIGINT: end, with exit code 0; nothing is left half done. The configuration is read
    once. People get a line when the outcome changes; --json prints one object for every round: this
    is the one command that prints more than one.
    """
    made = context.build(config_path(config))

    def say(found: Round) -> None:
        if as_json:
            print_json(found.fields())
            return
        for line in found.lines:
            click.echo(plain(line))

    with suppress(Stopped), Signals() as signals:
        daemon.run(made, signals, say)
