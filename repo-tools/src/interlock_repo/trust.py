"""Who may sign what, by metadata that somebody else signed (pure).

Rules:

1. A chain of roots begins with one that is trusted already (``root_chain``).
2. Expiry is not judged here: what has expired must still be readable to be renewed. Whether a
   repository is fresh is judged where it is read.
3. A delegated role's signed field ``holders`` gives each key a name, for people. Nobody who
   verifies looks at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from securesystemslib.signer import Key
from tuf.api.metadata import Root, Targets

from interlock_core.errors import RefusedError
from interlock_core.keybytes import public_key_bytes
from interlock_core.names import is_name
from interlock_core.tuf_metadata import (
    delegated_roles,
)

HOLDERS: Final = "holders"
SHARES_KEYS: Final = "shares_keys"
"""The signed field of a product's role whose keys may hold other products too."""


def spoken(digest: str) -> str:
    """The first 20 digits of a digest by fours: what people read to one another."""
    return " ".join(digest[i : i + 4] for i in range(0, 20, 4))


@dataclass(frozen=True)
class Holder:
    """One key of a role.

    Attributes:
        name: of the person, where the delegator says it.
        key: the public key.
    """

    name: str | None
    key: Key

    @property
    def title(self) -> str:
        """What people call the holder: the name, or the beginning of the key's id."""
        return self.name or f"key {self.key.keyid[:12]}"


@dataclass(frozen=True)
class Role:
    """Who may sign a role's metadata, and how many must."""

    name: str
    threshold: int
    holders: tuple[Holder, ...]

    def holder_of(self, key: Key) -> Holder | None:
        """The holder of this public key, by its bytes; None if the role does not list it."""
        public = public_key_bytes(key)
        return next((h for h in self.holders if public_key_bytes(h.key) == public), None)


def role_of(delegator: Root | Targets, name: str) -> Role:
    """Who may sign ``name``'s metadata.

    Raises:
        RefusedError: ``unknown_role``: it is not delegated.
    """
    role = (
        delegator.roles.get(name)
        if isinstance(delegator, Root)
        else delegated_roles(delegator).get(name)
    )
    if role is None:
        raise RefusedError(
            f"The role {name} is not delegated by {delegator.type} {delegator.version}.",
            reason="unknown_role",
        )
    names = holder_names(role.unrecognized_fields)
    holders = tuple(Holder(names.get(k), delegator.get_key(k)) for k in role.keyids)
    return Role(name, role.threshold, holders)


def holder_names(fields: Mapping[str, object]) -> dict[str, str]:
    """The names of key holders by key id, as far as they are names (rule 3)."""
    stated = fields.get(HOLDERS)
    if not isinstance(stated, Mapping):
        return {}
    return {
        keyid: name for keyid, name in stated.items() if isinstance(name, str) and is_name(name)
    }
