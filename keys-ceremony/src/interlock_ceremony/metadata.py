"""What a ceremony signs and where it stands, from plan and public keys alone (pure).

Rules:

1. Plan, keys and time give these bytes and no others: whoever has them can make the metadata again
   and compare, and ``audit`` does.
2. Consistent snapshots; the signed field ``issued`` is the time of the ceremony.
3. Image root: root and targets by people, snapshot and timestamp by the key ``image-online``.
   Director root: root by people, the other roles by the two director keys. No key is in both.
4. The image repository's first targets metadata delegates nothing yet. A later one delegates
   exactly what the one before did.
5. What a rehearsal makes says so under its signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any, Final

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Root, Targets

from interlock_ceremony.forms import Repository
from interlock_ceremony.plan import Plan, Signing, metadata_file
from interlock_core.genesis import DIRECTOR, IMAGE, ONLINE_ROLES
from interlock_core.tuf_metadata import REHEARSAL, set_issued

IMAGE_ROOT: Final = metadata_file(IMAGE, "root", 1)
IMAGE_TARGETS: Final = metadata_file(IMAGE, "targets", 1)
DIRECTOR_ROOT: Final = metadata_file(DIRECTOR, "root", 1)

TRANSCRIPTS: Final = "transcripts"
KEYS: Final = "keys"
ONLINE: Final = "online"
OLDER_TARGETS: Final = "targets"
"""Where top-level targets stand that ceremonies took over or made, but the newest."""


def build(
    plan: Plan,
    keys: Mapping[str, Key],
    issued: datetime,
    targets: Targets | None,
    *,
    rehearsal: bool = False,
) -> dict[Signing, Metadata[Any]]:
    """The unsigned metadata of a ceremony.

    Args:
        plan: one without problems.
        keys: by name: those that the plan names and those in force.
        issued: the time of the ceremony.
        targets: the top-level targets in force, or None at a genesis.
        rehearsal: whether to mark it (rule 5).
    """
    files: dict[Signing, Metadata[Any]] = {}
    for signing in plan.signings:
        expires = issued + timedelta(days=plan.roles[signing.place].lifetime_days)
        signed: Root | Targets
        if signing.role == Root.type:
            signed = Root(version=signing.version, expires=expires)
            _name_keys(signed, plan, keys, signing.repository)
        elif targets is None:
            signed = Targets(version=signing.version, expires=expires)
        else:
            signed = deepcopy(targets)
            signed.version, signed.expires = signing.version, expires
        set_issued(signed, issued)
        if rehearsal:
            signed.unrecognized_fields[REHEARSAL] = True
        files[signing] = Metadata(signed)
    return files


def _name_keys(root: Root, plan: Plan, keys: Mapping[str, Key], repository: Repository) -> None:
    for place, state in plan.roles.items():
        if place[0] == repository:
            for duty in state.holders:
                root.add_key(keys[duty.key], place[1])
            root.roles[place[1]].threshold = state.threshold
    for name, signed_roles in ONLINE_ROLES.items():
        for online_repository, role in signed_roles:
            if online_repository == repository:
                root.add_key(keys[name], role)
