"""``interlock-server check``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from interlock_core.errors import Exit
from interlock_server.cli.common import OUTCOMES, Command, config_option, json_option
from interlock_server.config import Settings, load_settings
from interlock_server.inspection import Inspection
from interlock_server.wiring import backstage, check_ready, open_signers


@click.command(
    cls=Command,
    examples=(
        "interlock-server check --config server.toml",
        "interlock-server check --config server.toml --hashes --json",
    ),
)
@config_option
@click.option("--hashes", is_flag=True, help="Also hash every target; reads the whole store.")
@json_option
def check(config: Path, hashes: bool, as_json: bool) -> int:
    """Read every repository as a gateway would, and name what is wrong.

    Exit code 0: all is well; 20: something that gateways or auditors would refuse; 1: something
    else to mend.
    """
    settings = load_settings(config)
    signers = open_signers(settings)
    back = backstage(settings, signers)
    try:
        check_ready(back)
        inspection = Inspection(
            back.database,
            back.store,
            back.publisher,
            back.checkpoints,
            back.clock,
            _private(settings),
            hashes,
        )
        problems = inspection.run()
    finally:
        back.database.close()
    problems.sort(key=lambda problem: not problem.refused)
    code = Exit.DONE
    if problems:
        code = Exit.REFUSED if problems[0].refused else Exit.OTHER
    if as_json:
        listed = [{"name": one.name, "where": one.where, "detail": one.detail} for one in problems]
        reason = problems[0].name if problems else ""
        click.echo(json.dumps({"outcome": OUTCOMES[code], "reason": reason, "problems": listed}))
    else:
        for one in problems:
            click.echo(f"{one.name}: {one.where}: {one.detail}")
        click.echo(f"{len(problems)} problems." if problems else "All is well.")
    return int(code)


def _private(settings: Settings) -> tuple[Path, ...]:
    uris = [uri for those in settings.key_uris.values() for uri in those]
    keys = [Path(uri) for uri in uris if uri.startswith("/")]
    others = [settings.passphrase_file, settings.pin_file, settings.database_file]
    return (*keys, *(path for path in others if path is not None))
