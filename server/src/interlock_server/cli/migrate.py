"""``interlock-server migrate``."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_server.cli.common import Command, config_option, json_option, say
from interlock_server.config import load_settings
from interlock_server.db import schema
from interlock_server.wiring import backstage, open_signers


@click.command(
    cls=Command,
    examples=("interlock-server migrate --config server.toml",),
)
@config_option
@json_option
def migrate(config: Path, as_json: bool) -> None:
    """Bring the database to the schema of this program, and begin its log if it has none.

    What is on file already is recorded then, in the order in which it came.
    """
    settings = load_settings(config)
    back = backstage(settings, open_signers(settings))
    try:
        changed = schema.upgrade(back.database)
        recorded = back.checkpoints.begin()
    finally:
        back.database.close()
    done = "was brought to" if changed else "has"
    text = f"The database {done} schema {schema.newest()}."
    if recorded:
        text += f" {recorded} facts that were on file are in the log now."
    say(as_json, text, changed=changed, recorded=recorded)
