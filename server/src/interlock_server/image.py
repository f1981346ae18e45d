"""What the image repository says now: the roster, the products and their targets (I/O, reading).

Rules:

1. Only what is published counts: what readers are led to by the timestamp.
2. The server believes its own store no more than it must: the roster's bytes are checked against
   the digest in the signed metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tuf.api.metadata import TargetFile, Targets

from interlock_core.errors import NotFoundError, WireError
from interlock_core.genesis import IMAGE
from interlock_core.names import ROSTER_PATH, ROSTER_ROLE
from interlock_core.roster import Roster, read_roster
from interlock_core.store import Store
from interlock_core.tuf_metadata import delegated_roles
from interlock_core.tuf_stored import StoredRepository
from interlock_core.wire import sha256_hex

NO_TARGETS: Final[Mapping[str, TargetFile]] = {}


def target_key(path: str, sha256: str) -> str:
    """The store key of a target of the image repository."""
    folder, _, name = path.rpartition("/")
    return f"{IMAGE}/targets/{folder}/{sha256}.{name}"


@dataclass(frozen=True)
class Released:
    """What is published.

    Attributes:
        roster: None before the first one was published.
        products: the targets of every product that has published metadata, by product and path.
    """

    roster: Roster | None
    products: Mapping[str, Mapping[str, TargetFile]]

    def target(self, path: str) -> TargetFile | None:
        """What the image repository says of a target."""
        return self.products.get(path.partition("/")[0], NO_TARGETS).get(path)


def read_released(store: Store) -> Released:
    """Read what is published.

    Raises:
        TransientError: the store cannot be read.
        WireError: what is stored is damaged.
    """
    stored = StoredRepository(store, IMAGE)
    top = stored.published_targets()
    products: dict[str, Mapping[str, TargetFile]] = {}
    roster = None
    for role in delegated_roles(top.signed) if top else ():
        metadata = stored.published_targets(role)
        if metadata is None:
            continue
        if role == ROSTER_ROLE:
            roster = _roster(store, metadata.signed)
        else:
            products[role] = metadata.signed.targets
    return Released(roster, products)


def _roster(store: Store, targets: Targets) -> Roster:
    info = targets.targets.get(ROSTER_PATH)
    if info is None:
        raise WireError("The role interlock lists no roster.")
    data = read_target(store, ROSTER_PATH, info)
    if data is None:
        raise NotFoundError("The store has lost the roster: restore it.")
    return read_roster(data)


def read_target(store: Store, path: str, info: TargetFile) -> bytes | None:
    """The bytes of a small target, or None if the store does not hold it.

    Raises:
        WireError: they are not what the metadata says.
    """
    try:
        data = store.get(target_key(path, info.hashes["sha256"]))
    except NotFoundError:
        return None
    if (len(data), sha256_hex(data)) != (info.length, info.hashes["sha256"]):
        raise WireError(f"The store holds other bytes for {path} than the signed metadata names.")
    return data
