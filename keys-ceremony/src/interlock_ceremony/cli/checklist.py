"""``interlock-ceremony checklist``: the script on paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from interlock_ceremony.ceremony import Room
from interlock_ceremony.checklist import checklist as lines_of
from interlock_ceremony.cli.common import command
from interlock_ceremony.guide import Say
from interlock_ceremony.review import review
from interlock_core.wire import sha256_hex

EXAMPLES: Final = """\b
Example:
  interlock-ceremony checklist genesis.toml | lpr
"""


@click.command(epilog=EXAMPLES)
@click.argument("script", type=click.Path(path_type=Path))
@command
def checklist(room: Room, say: Say, script: Path) -> Mapping[str, Any]:
    """Print SCRIPT as a checklist, with lines for times and initials.

    SCRIPT is checked whole first. The steps and their numbers are those that 'run' leads through
    and that the transcript tells of.
    """
    reviewed = review(script, room.clock())
    digest = sha256_hex(reviewed.text.encode())
    lines = list(lines_of(reviewed.plan, reviewed.reserves, digest))
    for line in lines:
        say(line)
    return {"reason": "printed", "script_sha256": digest, "checklist": lines}
