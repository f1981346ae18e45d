"""``interlock-server cohort``: directors for further cohorts."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_core.names import check_name
from interlock_server.cli.common import Command, config_option, json_option, say
from interlock_server.config import load_settings
from interlock_server.db import schema
from interlock_server.founding import add_cohorts
from interlock_server.heads import cohorts_of
from interlock_server.image import read_released
from interlock_server.wiring import backstage, check_signing, open_database, open_signers


@click.group()
def cohort() -> None:
    """Add cohorts, and list them."""


@cohort.command(
    cls=Command,
    examples=("interlock-server cohort add st-anna st-bert --config server.toml",),
)
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@config_option
@json_option
def add(names: tuple[str, ...], config: Path, as_json: bool) -> None:
    """Make and publish a director for each cohort NAME; one that is there stays.

    Server processes that run need no restart. Gateways of a cohort that no pattern of the roster
    covers refuse everything: you are warned of it.
    """
    for name in names:
        check_name(name, "cohort")
    settings = load_settings(config)
    signers = open_signers(settings)
    back = backstage(settings, signers)
    try:
        check_signing(back)
        done = add_cohorts(
            names,
            database=back.database,
            store=back.writes,
            publisher=back.publisher,
            clock=back.clock,
        )
        roster = read_released(back.store).roster
    finally:
        back.database.close()
    uncovered = sorted(
        {name for name in names if roster is not None and roster.rules_for(name) is None}
    )
    text = (
        f"Fleet {done.fleet} has {', '.join(done.added)} more."
        if done.added
        else f"Fleet {done.fleet} has {', '.join(sorted(set(names)))} already."
    )
    if uncovered:
        text += (
            f"\nNo pattern of the roster covers {', '.join(uncovered)}: everything is denied there "
            "until a new roster does."
        )
    say(
        as_json,
        text,
        added=list(done.added),
        cohorts=list(done.cohorts),
        uncovered=uncovered,
    )


@cohort.command(
    "list",
    cls=Command,
    examples=("interlock-server cohort list --config server.toml",),
)
@config_option
@json_option
def list_(config: Path, as_json: bool) -> None:
    """List the cohorts that have a director."""
    database = open_database(load_settings(config))
    try:
        schema.check(database)
        with database.reading() as session:
            cohorts = cohorts_of(session)
    finally:
        database.close()
    say(as_json, "\n".join(cohorts), cohorts=cohorts)
