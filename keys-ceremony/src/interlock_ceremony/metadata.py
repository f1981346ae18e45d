"""What a genesis signs and where it stands, from script and public keys alone (pure).

Rules:

1. Script, keys and time give these bytes and no others: whoever has them can make the metadata
   again and compare, and ``audit`` does.
2. Consistent snapshots; version 1; the signed field ``issued`` is the time of the ceremony.
3. Image root: root and targets by people, snapshot and timestamp by the key ``image-online``.
   Director root: root by people, the other roles by the two director keys. No key is in both.
4. The image repository's first targets metadata delegates nothing yet.
5. What a rehearsal makes says so under its signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Root, Targets

from interlock_ceremony.quorum import Repository, Role, duties, roles
from interlock_ceremony.script import Script
from interlock_core.genesis import DIRECTOR, IMAGE, ONLINE_ROLES
from interlock_core.tuf_metadata import REHEARSAL, set_issued

File = Literal["image/1.root.json", "image/1.targets.json", "director/1.root.json"]

IMAGE_ROOT: Final = "image/1.root.json"
IMAGE_TARGETS: Final = "image/1.targets.json"
DIRECTOR_ROOT: Final = "director/1.root.json"

TRANSCRIPT: Final = "transcript.json"
FLEET: Final = "fleet.json"
KEYS: Final = "keys"
ONLINE: Final = "online"

SIGNED_BY: Final[Mapping[File, tuple[Repository, Role]]] = {
    IMAGE_ROOT: (IMAGE, "root"),
    IMAGE_TARGETS: (IMAGE, "targets"),
    DIRECTOR_ROOT: (DIRECTOR, "root"),
}
"""File -> the (repository, role) that signs it."""


def build(
    script: Script,
    keys: Mapping[str, Key],
    issued: datetime,
    *,
    rehearsal: bool = False,
) -> dict[File, Metadata[Any]]:
    """The unsigned metadata of a genesis, by file.

    Args:
        script: one without problems.
        keys: by name: those of ``quorum.duties`` and the online ones.
        issued: the time of the ceremony.
        rehearsal: whether to mark it (rule 5).
    """
    files: dict[File, Metadata[Any]] = {}
    for file, (repository, role) in SIGNED_BY.items():
        expires = issued + timedelta(days=roles(script)[repository, role].lifetime_days)
        signed: Root | Targets
        if role == Root.type:
            signed = Root(version=1, expires=expires)
            _name_keys(signed, script, keys, repository)
        else:
            signed = Targets(version=1, expires=expires)
        set_issued(signed, issued)
        if rehearsal:
            signed.unrecognized_fields[REHEARSAL] = True
        files[file] = Metadata(signed)
    return files


def signers_of(script: Script, file: File) -> tuple[str, ...]:
    """The names of the keys that sign a file: all of its role, so that each proves itself."""
    return tuple(
        duty.key for duty in duties(script) if (duty.repository, duty.role) == SIGNED_BY[file]
    )


def _name_keys(root: Root, script: Script, keys: Mapping[str, Key], repository: Repository) -> None:
    for duty in duties(script):
        if duty.repository == repository:
            root.add_key(keys[duty.key], duty.role)
            root.roles[duty.role].threshold = roles(script)[repository, duty.role].threshold
    for name, signed_roles in ONLINE_ROLES.items():
        for online_repository, role in signed_roles:
            if online_repository == repository:
                root.add_key(keys[name], role)
