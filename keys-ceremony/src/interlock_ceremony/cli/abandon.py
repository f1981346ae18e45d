"""``interlock-ceremony abandon``: gives a ceremony up that must not be finished."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from interlock_ceremony.acts import Abandoned
from interlock_ceremony.ceremony import Room
from interlock_ceremony.cli.common import command
from interlock_ceremony.cli.options import brought_keys, passphrase_files
from interlock_ceremony.giving_up import GivenUp, give_up
from interlock_ceremony.guide import Say
from interlock_ceremony.review import read_script
from interlock_core.errors import ConfigurationError

MAX_WORDS: Final = 1024

EXAMPLES: Final = """\b
Examples:
  interlock-ceremony abandon genesis.toml --by dana --reason "the machine had a network"
  interlock-ceremony abandon rotation.toml --by dana --reason "Carol fell ill" --absent carol \\
    --key /media/alice --key /media/bob
"""


@click.command(epilog=EXAMPLES)
@click.argument("script", type=click.Path(path_type=Path))
@click.option("--by", required=True, metavar="PERSON", help="Who gives it up, by short name.")
@click.option("--reason", "says", required=True, metavar="TEXT", help="Why, in one sentence.")
@click.option(
    "--absent",
    metavar="PERSON",
    multiple=True,
    help="Somebody whose key took part and who cannot sign this; the record says so.",
)
@passphrase_files
@brought_keys
@command
def abandon(
    room: Room,
    say: Say,
    script: Path,
    by: str,
    says: str,
    absent: tuple[str, ...],
    files: Mapping[str, Path],
    brought: tuple[Path, ...],
) -> Mapping[str, Any]:
    """Give up the ceremony of SCRIPT that was interrupted, so that nobody can ever finish it.

    Everybody whose key took part signs that with it, and the reason; who cannot is named as
    --absent. What was done so far is kept beside the output as OUTPUT.abandoned-N. Then it is said
    which keys to destroy, in files and in tokens, and what must not be published. Nothing is
    deleted. The same script can be begun again, with other keys.
    """
    if not says.isprintable() or not 0 < len(says.strip()) <= MAX_WORDS:
        raise ConfigurationError(
            f"--reason must be a sentence of 1 to {MAX_WORDS} printable characters."
        )
    output = script.parent.resolve() / read_script(script)[0].output
    word = Abandoned(by=by, says=says.strip(), absent=tuple(dict.fromkeys(absent)))
    given_up = give_up(output, word, room, files=files, brought=brought)
    _tell(given_up, say)
    left = given_up.left
    return {
        "reason": "abandoned",
        "directory": str(given_up.directory),
        "number": given_up.number,
        "fleet": given_up.fleet,
        "by": given_up.word.by,
        "says": given_up.word.says,
        "absent": list(given_up.word.absent),
        "signed_by": list(given_up.signed_by),
        "destroy_files": list(given_up.files),
        "destroy_in_tokens": [{"key": key, "token": uri} for key, uri in left.tokens.items()],
        "never_publish": list(left.signed),
    }


def _tell(given_up: GivenUp, say: Say) -> None:
    word, left = given_up.word, given_up.left
    which = f"Ceremony {given_up.number} of fleet {given_up.fleet}"
    say(f"{which} is given up by {word.by}: {word.says}")
    say(f"Signed by {', '.join(given_up.signed_by) or 'nobody: no key had taken part'}.")
    if word.absent:
        say(f"Absent, and not asked: {', '.join(word.absent)}.")
    say(f"All of it is kept in {given_up.directory}: keep that offline.")
    if given_up.files:
        say("Destroy these private keys, and every copy of them:")
    for file in given_up.files:
        say(f"  {given_up.directory.name}/{file}")
    if left.tokens:
        say("Destroy these keys inside their tokens, if they are there:")
    for key, uri in left.tokens.items():
        say(f"  {key} in {uri}")
    if left.signed:
        say("Gateways may believe these files, which were signed: nobody may ever publish them.")
    for file in left.signed:
        say(f"  {given_up.directory.name}/{file}")
