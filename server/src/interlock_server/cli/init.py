"""``interlock-server init``."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_core.ceremony_output import read_ceremony
from interlock_core.clock import system_clock
from interlock_core.names import check_name
from interlock_server.cli.common import Command, config_option, json_option, say
from interlock_server.config import load_settings
from interlock_server.db import schema
from interlock_server.founding import found, no_cohort
from interlock_server.online_keys import check_online_keys
from interlock_server.wiring import backstage, open_signers


@click.command(
    cls=Command,
    examples=(
        "interlock-server init ceremony-output --config server.toml --cohort canary --cohort wards",
    ),
)
@click.argument("ceremony_dir", type=click.Path(path_type=Path, file_okay=False))
@config_option
@click.option("--cohort", "cohorts", multiple=True, metavar="NAME", help="A cohort; repeat it.")
@json_option
def init(ceremony_dir: Path, config: Path, cohorts: tuple[str, ...], as_json: bool) -> None:
    """Take over the output of a root ceremony and publish the first heads.

    Everything is verified before anything is written. Run it again with the same ceremony to finish
    after a failure, or to add a cohort; another ceremony is refused.
    """
    settings = load_settings(config)
    for cohort in cohorts:
        check_name(cohort, "cohort")
    signers = open_signers(settings)
    ceremony = read_ceremony(ceremony_dir, system_clock())
    back = backstage(settings, signers)
    try:
        if not back.database.is_there():
            # Said before even the database is made.
            check_online_keys(ceremony.roots, signers)
            if not cohorts:
                raise no_cohort()
        schema.upgrade(back.database)
        founded = found(
            ceremony,
            cohorts,
            database=back.database,
            store=back.writes,
            publisher=back.publisher,
            clock=back.clock,
        )
        back.checkpoints.publish()
    finally:
        back.database.close()
    if founded.new:
        text = f"Fleet {founded.fleet} is founded, with {_named(founded.cohorts)}."
    elif founded.added:
        text = f"Fleet {founded.fleet} has {_named(founded.added)} more."
    else:
        text = f"Fleet {founded.fleet} was founded before; everything is in place."
    say(
        as_json,
        text,
        fleet=founded.fleet,
        new=founded.new,
        added=list(founded.added),
        cohorts=list(founded.cohorts),
    )


def _named(cohorts: tuple[str, ...]) -> str:
    return f"the cohort{'s' if len(cohorts) > 1 else ''} {', '.join(cohorts)}"
