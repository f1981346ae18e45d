"""What the image repository says now: the roster, the products and their targets (I/O, reading).

Rules:

1. Only what is published counts: what readers are led to by the timestamp.
2. The server believes its own store no more than it must: the roster's bytes are checked against
   the digest in the signed metadata.
3. A product's metadata is read when somebody asks for it, and once: most calls need the roster, or
   one product of many. What is read later is of the same instant, since versions are immutable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from tuf.api.metadata import TargetFile, Targets

from interlock_core.errors import NotFoundError, WireError
from interlock_core.genesis import IMAGE
from interlock_core.names import ROSTER_PATH, ROSTER_ROLE
from interlock_core.roster import Roster, read_roster
from interlock_core.store import Store
from interlock_core.tuf_metadata import delegated_roles
from interlock_core.tuf_stored import StoredRepository
from interlock_core.wire import sha256_hex

V = TypeVar("V")

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
            Looking at a product may raise ``TransientError`` or ``WireError`` (rule 3).
        metadata: what these are from, likewise.
    """

    roster: Roster | None
    products: Mapping[str, Mapping[str, TargetFile]]
    metadata: Mapping[str, Targets] = field(default_factory=dict)

    def target(self, path: str) -> TargetFile | None:
        """What the image repository says of a target.

        Raises:
            TransientError: the store cannot be read.
            WireError: what is stored is damaged.
        """
        return self.products.get(path.partition("/")[0], NO_TARGETS).get(path)


class _Products(Mapping[str, V]):
    """Products by name, each read once, when it is looked at (rule 3)."""

    def __init__(self, versions: Mapping[str, int], read: Callable[[str], V]) -> None:
        self._versions = versions
        self._read = read
        self._known: dict[str, V] = {}

    def __getitem__(self, product: str) -> V:
        if product not in self._versions:
            raise KeyError(product)
        if product not in self._known:
            self._known[product] = self._read(product)
        return self._known[product]

    def __iter__(self) -> Iterator[str]:
        return iter(self._versions)

    def __len__(self) -> int:
        return len(self._versions)


def read_released(store: Store) -> Released:
    """Read what is published: the roster now, products when they are looked at (rule 3).

    Raises:
        TransientError: the store cannot be read.
        WireError: what is stored is damaged.
    """
    stored = StoredRepository(store, IMAGE)
    versions = stored.published_versions()
    top = stored.targets_at(versions[Targets.type]) if Targets.type in versions else None
    delegated = delegated_roles(top.signed) if top else {}
    products = {name: versions[name] for name in delegated if name in versions}
    of_roster = products.pop(ROSTER_ROLE, None)
    roster = None
    if of_roster is not None:
        roster = _roster(store, stored.targets_at(of_roster, ROSTER_ROLE).signed)
    metadata = _Products(products, lambda name: stored.targets_at(products[name], name).signed)
    return Released(roster, _Products(products, lambda name: metadata[name].targets), metadata)


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
