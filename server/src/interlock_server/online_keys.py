"""Which online keys the roots name, and whether they are held here (pure).

Rules:

1. An online key is named for what it signs (``genesis.ONLINE_ROLES``): what is configured under a
   name signs those roles and no other.
2. Several private keys may be configured under one name while it is rotated. Enough of them must
   be named by the root for every role of that name.
3. Without them nothing can be signed, and nothing is lost either: what was published stays, and is
   read until it expires.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from securesystemslib.signer import Signer
from tuf.api.metadata import Root

from interlock_core.errors import ConfigurationError
from interlock_core.genesis import ONLINE_ROLES

Signers = Mapping[str, Sequence[Signer]]
"""Private keys that are held, by the name of the online key."""


def missing_keys(roots: Mapping[str, Root], signers: Signers) -> list[str]:
    """What keeps these roots' online roles from being signed here, in words; empty if nothing does.

    Args:
        roots: by repository, ``image`` and ``director``.
        signers: what is held.
    """
    return [
        text
        for name, pairs in ONLINE_ROLES.items()
        for repository, role in pairs
        if (text := _missing(roots[repository], repository, role, name, signers[name]))
    ]


def _missing(
    root: Root, repository: str, role: str, name: str, held: Sequence[Signer]
) -> str | None:
    wanted = root.roles[role]
    own = [signer for signer in held if signer.public_key.keyid in wanted.keyids]
    if len(own) >= wanted.threshold:
        return None
    ids = ", ".join(keyid[:12] for keyid in wanted.keyids)
    return (
        f"Root {root.version} of the {repository} repository names for {role} the key {ids}, which "
        f"is not held here: set keys.{name.replace('-', '_')} to the file or URI of that private "
        "key (a list may name the old one beside it) and restart interlock-server"
    )


def check_online_keys(roots: Mapping[str, Root], signers: Signers) -> None:
    """See that our online keys are those that the roots name (rules 1 and 2).

    Raises:
        ConfigurationError: ``wrong_online_key``.
    """
    for text in missing_keys(roots, signers):
        raise ConfigurationError(f"{text}.", reason="wrong_online_key")
