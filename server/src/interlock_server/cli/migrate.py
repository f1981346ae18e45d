"""``interlock-server migrate``."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_server.cli.common import Command, config_option, json_option, say
from interlock_server.config import load_settings
from interlock_server.db import schema
from interlock_server.wiring import open_database


@click.command(
    cls=Command,
    examples=("interlock-server migrate --config server.toml",),
)
@config_option
@json_option
def migrate(config: Path, as_json: bool) -> None:
    """Bring the database to the schema of this program."""
    database = open_database(load_settings(config))
    try:
        changed = schema.upgrade(database)
    finally:
        database.close()
    done = "was brought to" if changed else "has"
    say(as_json, f"The database {done} schema {schema.newest()}.", changed=changed)
