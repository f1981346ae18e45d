"""Verifies what people signed offline before anything of it is stored (reading only).

Rules:

1. The delegation chain's threshold is verified, and every rule of ``releases`` with it, against
   what is stored now.
2. New top-level targets may not orphan a role: what is published of a product must carry the new
   threshold, or gateways would lose that product.
3. Roles that come with new top-level targets are judged by these: their new holders signed them.
   Nothing of such a publication holds by itself, and readers see all of it at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from interlock_core import wire
from interlock_core.api import MAX_BODY, PublicationRequest
from interlock_core.errors import RefusedError
from interlock_core.genesis import IMAGE
from interlock_core.names import ROSTER_ROLE
from interlock_core.store import Store
from interlock_core.tuf_metadata import (
    check_signatures,
    delegated_roles,
    parse_metadata,
    verify_new_offline,
)
from interlock_core.tuf_stored import StoredRepository
from interlock_server.releases import check_release, check_roster_targets

_SEVERAL: Final = b'{"metadata":'
"""How the text of a publication of several roles begins; TUF metadata has no such field."""


@dataclass(frozen=True)
class Part:
    """Metadata of one role.

    Attributes:
        text: the file's bytes.
        targets: its signed part.
    """

    role: str
    text: bytes
    targets: Targets


@dataclass(frozen=True)
class Parts:
    """The signed metadata of one publication.

    Attributes:
        text: what its id is the digest of (``PublicationRequest.text``).
        each: what it holds; ``targets`` last, since nobody is led to the others before it.
    """

    role: str
    text: bytes
    each: tuple[Part, ...]

    @property
    def id(self) -> str:
        """The publication's id."""
        return wire.sha256_hex(self.text)

    @property
    def version(self) -> int:
        """Of the role that it is for."""
        return self.versions[self.role]

    @property
    def versions(self) -> dict[str, int]:
        """Of every role."""
        return {part.role: part.targets.version for part in self.each}

    @property
    def texts(self) -> dict[str, bytes]:
        """The text of every role, in the order in which they are put."""
        return {part.role: part.text for part in self.each}

    def files(self) -> Iterator[tuple[str, TargetFile]]:
        """Every target that it lists."""
        for part in self.each:
            yield from part.targets.targets.items()


def read_parts(role: str, text: bytes) -> Parts:
    """What a publication holds; nothing is verified.

    Args:
        role: the role that it is for.
        text: as ``Parts.text``.

    Raises:
        WireError: it does not have the form of such metadata.
    """
    texts = {role: text}
    if text.startswith(_SEVERAL):
        request = wire.decode(text, PublicationRequest, limit=MAX_BODY, what="publication")
        texts = {name: one.encode() for name, one in request.metadata.items()}
    ordered = sorted(texts, key=lambda name: (name == Targets.type, name))
    each = (
        Part(
            name, texts[name], parse_metadata(texts[name], Targets, what=f"{name} metadata").signed
        )
        for name in ordered
    )
    return Parts(role, text, tuple(each))


def verify(
    store: Store, role: str, text: bytes, now: datetime, *, largest_target_bytes: int
) -> Parts:
    """Verify new metadata of offline roles, or the current one again.

    Raises:
        WireError: malformed.
        RefusedError, ConflictError: as ``verify_new_offline`` and ``releases``; or
            ``orphaned_role`` (rule 2).
        TransientError: the store cannot be read.
    """
    stored = StoredRepository(store, IMAGE)
    top = None if role == Targets.type else stored.newest_targets().signed
    if top is not None:
        _check_delegated(top, role)
    parts = read_parts(role, text)
    with_it = {part.role for part in parts.each} - {Targets.type}
    for part in reversed(parts.each):
        _verify(part, stored, top, now, largest_target_bytes, with_it)
        if part.role == Targets.type:
            top = part.targets
    return parts


def verify_top(store: Store, text: bytes, root: Root, now: datetime) -> Targets:
    """Verify top-level targets metadata that comes with a root, which is about to be in force.

    Raises:
        WireError: malformed.
        RefusedError, ConflictError: as ``verify_new_offline``; or ``orphaned_role`` (rule 2).
        TransientError: the store cannot be read.
    """
    stored = StoredRepository(store, IMAGE)
    current = stored.newest_bytes(Targets.type)
    metadata = verify_new_offline(
        text, Targets.type, root=root, targets=None, current=current, now=now
    )
    if text != current:
        _check_none_orphaned(metadata.signed, stored, ())
    return metadata.signed


def _verify(
    part: Part,
    stored: StoredRepository,
    top: Targets | None,
    now: datetime,
    largest_target_bytes: int,
    with_it: Collection[str],
) -> None:
    if top is not None:
        _check_delegated(top, part.role)
    current = stored.newest_bytes(part.role)
    metadata = verify_new_offline(
        part.text, part.role, root=stored.root().signed, targets=top, current=current, now=now
    )
    if part.text == current:
        return
    if part.role == Targets.type:
        _check_none_orphaned(metadata.signed, stored, with_it)
    elif part.role == ROSTER_ROLE:
        check_roster_targets(metadata.signed)
    else:
        before = parse_metadata(current, Targets, what=f"current {part.role}") if current else None
        check_release(
            metadata.signed,
            before.signed if before else None,
            largest_target_bytes=largest_target_bytes,
        )


def _check_delegated(top: Targets, role: str) -> None:
    if role not in delegated_roles(top):
        raise RefusedError(
            f"The role {role} is not delegated by targets {top.version}: delegate it first.",
            reason="untrusted_metadata",
        )


def _check_none_orphaned(new: Targets, stored: StoredRepository, with_it: Collection[str]) -> None:
    for name in delegated_roles(new):
        if name in with_it or stored.newest(name) is None:
            continue
        metadata: Metadata[Targets] = stored.newest_targets(name)
        try:
            check_signatures(new, name, metadata)
        except RefusedError as e:
            raise RefusedError(
                f"Under these keys gateways would lose {name} {metadata.signed.version}: have its "
                f"new holders sign it again ('interlock-repo renew {name} --after EVENT'), and "
                f"publish both at once ({e})",
                reason="orphaned_role",
            ) from e
