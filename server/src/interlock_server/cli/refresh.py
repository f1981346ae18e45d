"""``interlock-server refresh``."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_server.cli.common import Command, config_option, json_option, say
from interlock_server.config import load_settings
from interlock_server.wiring import backstage, check_ready, open_signers


@click.command(
    cls=Command,
    examples=(
        "interlock-server refresh --config server.toml",
        "interlock-server refresh --config server.toml --force",
    ),
)
@config_option
@click.option("--force", is_flag=True, help="Sign every head again, however long it lives.")
@json_option
def refresh(config: Path, force: bool, as_json: bool) -> None:
    """Sign heads again before they expire, and publish what a failure left undone.

    Meant for a timer: with nothing to do it writes nothing. Directives are computed anew for every
    cohort, and rollouts are looked at once, unless a server that runs does that. Where the roots
    name an online key that is not held here, the others are signed and the command fails by that
    name.
    """
    settings = load_settings(config)
    signers = open_signers(settings)
    back = backstage(settings, signers)
    try:
        check_ready(back)
        try:
            done = back.publisher.refresh(force=force)
            back.engine.round()
            back.engine.leave()
        finally:
            # Whatever else failed, the log shows what is on file.
            back.checkpoints.publish()
        back.publications.sweep()
    finally:
        back.database.close()
    text = f"{len(done.written)} of {done.total} repositories have new heads"
    say(
        as_json,
        f"{text}: {', '.join(done.written)}." if done.written else f"{text}.",
        written=list(done.written),
        total=done.total,
    )
