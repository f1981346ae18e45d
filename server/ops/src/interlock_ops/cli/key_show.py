"""``key show``: what a public key file says, once its proof was checked."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.keys import PRIVATE_SUFFIX, NamedKey, home_of, load_public_key, public_path_of
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.show import facts, heading


def key_facts(named: NamedKey, private: Path | None = None) -> dict[str, str]:
    """What identifies a key, for people who compare it by eye or aloud.

    Args:
        named: the public half.
        private: the private key file, if it is known: it says where the key lives.
    """
    keyid = named.key.keyid
    lives = {} if private is None else {"lives_in": home_of(private)}
    return {
        "name": named.name,
        "kind": KEY_SCHEMES[named.key.scheme].title,
        "scheme": named.key.scheme,
        "fingerprint": keyid,
        "read_aloud": " ".join(keyid[start : start + 4] for start in range(0, 20, 4)),
        **lives,
    }


EXAMPLES: Final = (
    "interlock-ops key show alice.pub.json",
    "interlock-ops key show ~/keys/alice.key.json --json",
)


@click.command("show", cls=Operation, settings=False, examples=EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def key_show(run: Run, file: Path) -> Answer:  # noqa: ARG001  # every operation gets its run
    """Check and show the public key in FILE, or beside it if FILE is a private key.

    Of a private key it is said where it lives: encrypted in that file, or in which token.
    """
    private = file if file.name.endswith(PRIVATE_SUFFIX) else None
    named = load_public_key(file if private is None else public_path_of(private))
    found = key_facts(named, private)
    return Answer(
        "key_shown",
        [heading(f"The key of {named.name}; its holder proved possession:"), *facts(found)],
        found,
    )
