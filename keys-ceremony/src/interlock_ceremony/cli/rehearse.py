"""``interlock-ceremony rehearse``: the same script, with keys that are thrown away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from interlock_ceremony import rehearsal
from interlock_ceremony.ceremony import Room
from interlock_ceremony.cli.common import command
from interlock_ceremony.guide import Say
from interlock_ceremony.review import review

EXAMPLES: Final = """\b
Example:
  interlock-ceremony rehearse genesis.toml
"""


@click.command(epilog=EXAMPLES)
@click.argument("script", type=click.Path(path_type=Path))
@command
def rehearse(room: Room, say: Say, script: Path) -> Mapping[str, Any]:
    """Go through SCRIPT as 'run' does, with keys that are thrown away.

    SCRIPT is checked whole, its output directory too. Everything is then made in a temporary
    directory, under passphrases that nobody knows, verified, and removed; before a later ceremony,
    those that it rests on are held there again. All of it is marked as a rehearsal under its
    signatures, and 'verify' refuses it.
    """
    reviewed = review(script, room.clock())
    proved = rehearsal.rehearse(reviewed, room, lambda line: say(_marked(line))).proved
    say(_marked("Complete, verified and removed: nothing of this may be trusted."))
    return {"reason": "rehearsed", "rehearsal": True, **asdict(proved)}


def _marked(text: str) -> str:
    return "\n".join(f"REHEARSAL  {line}" for line in text.splitlines())
