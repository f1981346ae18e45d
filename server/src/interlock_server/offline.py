"""Verifies what people signed offline before anything of it is stored (reading only).

Rules:

1. The delegation chain's threshold is verified, and every rule of ``releases`` with it, against
   what is stored now.
2. New top-level targets may not orphan a role: what is published of a product must carry the new
   threshold, or gateways would lose that product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import Metadata, TargetFile, Targets

from interlock_core import wire
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


@dataclass(frozen=True)
class Verified:
    """Signed metadata of which everything was checked but the bytes that it names."""

    role: str
    text: bytes
    targets: Targets

    @property
    def id(self) -> str:
        """The publication's id: the SHA-256 of its text."""
        return wire.sha256_hex(self.text)

    @property
    def files(self) -> Mapping[str, TargetFile]:
        """What it lists."""
        return self.targets.targets


def verify(
    store: Store, role: str, text: bytes, now: datetime, *, largest_target_bytes: int
) -> Verified:
    """Verify new metadata of an offline role, or the current one again.

    Raises:
        WireError: malformed.
        RefusedError, ConflictError: as ``verify_new_offline`` and ``releases``; or
            ``orphaned_role`` (rule 2).
        TransientError: the store cannot be read.
    """
    stored = StoredRepository(store, IMAGE)
    top = None if role == Targets.type else stored.newest_targets().signed
    if top is not None and role not in delegated_roles(top):
        raise RefusedError(
            f"The role {role} is not delegated by targets {top.version}: delegate it first.",
            reason="untrusted_metadata",
        )
    current = stored.newest_bytes(role)
    metadata = verify_new_offline(
        text, role, root=stored.root().signed, targets=top, current=current, now=now
    )
    verified = Verified(role, text, metadata.signed)
    if text == current:
        return verified
    if role == Targets.type:
        _check_none_orphaned(metadata.signed, stored)
    elif role == ROSTER_ROLE:
        check_roster_targets(metadata.signed)
    else:
        before = parse_metadata(current, Targets, what=f"current {role}") if current else None
        check_release(
            metadata.signed,
            before.signed if before else None,
            largest_target_bytes=largest_target_bytes,
        )
    return verified


def _check_none_orphaned(new: Targets, stored: StoredRepository) -> None:
    for name in delegated_roles(new):
        if stored.newest(name) is None:
            continue
        metadata: Metadata[Targets] = stored.newest_targets(name)
        try:
            check_signatures(new, name, metadata)
        except RefusedError as e:
            raise RefusedError(
                f"Under these keys gateways would lose {name} {metadata.signed.version}: first "
                f"publish a version of {name} that old and new holders have signed ({e})",
                reason="orphaned_role",
            ) from e
