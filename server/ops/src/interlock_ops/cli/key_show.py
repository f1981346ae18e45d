"""``key show``: what a public key file says, once its proof was checked."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.keys import PRIVATE_SUFFIX, NamedKey, load_public_key, public_path_of
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.show import facts, heading


def key_facts(named: NamedKey) -> dict[str, str]:
    """What identifies a key, for people who compare it by eye or aloud."""
    keyid = named.key.keyid
    return {
        "name": named.name,
        "kind": KEY_SCHEMES[named.key.scheme].title,
        "scheme": named.key.scheme,
        "fingerprint": keyid,
        "read_aloud": " ".join(keyid[start : start + 4] for start in range(0, 20, 4)),
    }


EXAMPLES: Final = (
    "interlock-ops key show alice.pub.json",
    "interlock-ops key show ~/keys/alice.key.json --json",
)


@click.command("show", cls=Operation, settings=False, examples=EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def key_show(run: Run, file: Path) -> Answer:  # noqa: ARG001  # every operation gets its run
    """Check and show the public key in FILE, or beside it if FILE is a private key."""
    named = load_public_key(public_path_of(file) if file.name.endswith(PRIVATE_SUFFIX) else file)
    found = key_facts(named)
    return Answer(
        "key_shown",
        [heading(f"The key of {named.name}; its holder proved possession:"), *facts(found)],
        found,
    )
