"""``key show``: what a public key file says, once its proof was checked."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from interlock_core.keybytes import KEY_SCHEMES, public_key_bytes
from interlock_core.keys import PRIVATE_SUFFIX, NamedKey, load_public_key, public_path_of
from interlock_core.wire import sha256_hex
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.show import facts_table, heading


def key_facts(named: NamedKey) -> list[tuple[str, str]]:
    """What identifies a key; ``fingerprint`` is the SHA-256 of its DER SubjectPublicKeyInfo."""
    return [
        ("name", named.name),
        ("kind", KEY_SCHEMES[named.key.scheme].title),
        ("scheme", named.key.scheme),
        ("keyid", named.key.keyid),
        ("fingerprint", sha256_hex(public_key_bytes(named.key))),
    ]


EXAMPLES: Final = (
    "interlock-ops key show alice.pub.json",
    "interlock-ops key show ~/keys/alice.key.json --json",
)


@click.command("show", cls=Operation, settings=False, examples=EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def key_show(run: Run, file: Path) -> Answer:  # noqa: ARG001  # every operation gets its run
    """Check and show the public key in FILE, or beside it if FILE is a private key."""
    named = load_public_key(public_path_of(file) if file.name.endswith(PRIVATE_SUFFIX) else file)
    rows = key_facts(named)
    return Answer(
        "key_shown",
        [heading(f"The key of {named.name}; its holder proved possession:"), *facts_table(rows)],
        dict(rows),
    )
