"""Top-level targets that a later ceremony takes over (pure: bytes in).

Rules:

1. They carry the signatures that the newest image root asks for, and have Interlock's shape.
2. They are not older than those that the ceremony before knew, and the same version is the same
   file: nobody slips an older delegation under the holders' hands.
3. That they have expired does not matter: a ceremony may be held to renew them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tuf.api.metadata import Root, Targets

from interlock_core import tuf_metadata
from interlock_core.errors import RefusedError
from interlock_core.wire import sha256_hex


@dataclass(frozen=True)
class Taken:
    """Top-level targets in force.

    Attributes:
        targets: what they say.
        data: the file's bytes.
    """

    targets: Targets
    data: bytes

    @property
    def version(self) -> int:
        """Their version."""
        return self.targets.version


def take(data: bytes, root: Root, before: tuple[int, str], *, rehearsal: bool = False) -> Taken:
    """Check top-level targets.

    Args:
        data: the file's bytes.
        root: the newest image root.
        before: version and SHA-256 of those that the ceremony before knew.
        rehearsal: accept what a rehearsal made: only for a rehearsal that checks its own.

    Raises:
        RefusedError: ``untrusted_metadata``, ``rehearsal``, ``rollback``, ``bad_delegation``
            or ``shared_key``.
        WireError: the form is wrong.
    """
    document = tuf_metadata.parse_metadata(data, Targets, what="top-level targets")
    if not rehearsal:
        tuf_metadata.refuse_rehearsal(document.signed)
    tuf_metadata.check_signatures(root, Targets.type, document)
    tuf_metadata.check_top_level(document.signed)
    version, sha256 = before
    if document.signed.version < version:
        raise RefusedError(
            f"The targets are version {document.signed.version}, and the ceremony before knew "
            f"version {version}: bring the newest that was published.",
            reason="rollback",
        )
    if document.signed.version == version and sha256_hex(data) != sha256:
        raise RefusedError(
            f"The targets are not the version {version} that the ceremony before knew: bring "
            "the newest that was published.",
            reason="rollback",
        )
    return Taken(document.signed, data)
