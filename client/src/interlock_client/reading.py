"""Reads both refreshed repositories: facts for the decision (I/O, through ``trust``).

Rules:

1. All of it is for this fleet and cohort: the director's signed cohort fields, the directive, the
   roster. Anything else is refused by name, before it is adopted.
2. Roster and metadata are not older than the floors that stand (``memory``, rule 5).
3. Of the image repository only the roster's role and this product's are loaded, and facts of an
   image come from its ``custom`` alone.
4. Issue times that were signed offline raise the clock's floor, unless they lie too far ahead of
   everything else that was read (``clock``, rule 5).
5. Of permits only what the metadata says of them is read here; their bytes are asked for when a
   decision misses one (``permits``).
5. Deltas of the images that are wanted are listed (``offers``), and decide nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from tuf.api.metadata import Role, Root, Snapshot, TargetFile, Targets, Timestamp

from interlock_client import permits
from interlock_client.config import Settings
from interlock_client.memory import Entitled, Memory
from interlock_client.offers import DeltaOffer, offered
from interlock_client.state import StateDir
from interlock_client.trust import Refreshed, Repository
from interlock_core import durable
from interlock_core.clock import first_end
from interlock_core.decide import MAX_ROSTER_AGE
from interlock_core.directive import MAX_DIRECTIVE, Directive, read_directive
from interlock_core.errors import NotFoundError, RefusedError, WireError
from interlock_core.facts import Expiry, TargetInfo, Trusted
from interlock_core.keybytes import public_key_bytes
from interlock_core.names import DIRECTIVE_PATH, ROSTER_PATH, ROSTER_ROLE
from interlock_core.order import Order
from interlock_core.release import Image, read_image
from interlock_core.roster import MAX_ROSTER, Roster, read_roster
from interlock_core.statement import open_as
from interlock_core.tuf_metadata import COHORT, delegated_roles, issued_of
from interlock_core.wire import sha256_hex

_ROSTER: Final = f"image/{ROSTER_ROLE}"
_ONLINE: Final = frozenset({Timestamp.type, Snapshot.type})


@dataclass(frozen=True)
class Facts:
    """What was read.

    Attributes:
        trusted: for the decision.
        memory: with floors raised; not yet durable.
        inputs: digests and versions of everything, for the journal.
        permits: those that are listed under the order in force; their bytes were not asked for.
        deltas: those that lead to a wanted image, by the path of the image; without a line for an
            image that has none.
        new_roster: the roster's bytes, if they are not kept yet.
    """

    trusted: Trusted
    memory: Memory
    inputs: dict[str, object]
    permits: tuple[permits.Listed, ...]
    deltas: Mapping[str, tuple[DeltaOffer, ...]]
    new_roster: bytes | None


def read(
    settings: Settings, cohort: str, state: StateDir, both: Refreshed, memory: Memory
) -> Facts:
    """Read everything that a decision for ``cohort`` needs (rules 1 to 3).

    Raises:
        RefusedError: by name.
        TransientError: ``network``, or the disk.
    """
    try:
        return _read(settings, cohort, state, both, memory)
    except WireError as e:
        raise RefusedError(str(e), reason=e.reason) from e


def _read(settings: Settings, mine: str, state: StateDir, both: Refreshed, memory: Memory) -> Facts:
    image, director = both.image, both.director
    heads = (director.timestamp(), director.snapshot(), director.targets())
    cohorts = tuple(head.unrecognized_fields.get(COHORT) for head in heads)
    for cohort in cohorts:
        _bound("cohort", cohort, mine, "This director")
    listed = director.targets().targets
    directive, directive_sha256 = _directive(director, listed.get(DIRECTIVE_PATH))
    _bound("cohort", directive.cohort, mine, "The directive")
    _bound("fleet", directive.fleet, settings.fleet, "The directive")
    roster_bytes, is_new = _roster(image, state)
    roster = read_roster(roster_bytes)
    _bound("fleet", roster.fleet, settings.fleet, "The roster")
    infos, images, deltas, listed_permits = _images(image, directive, settings.product)
    versions = _offline_versions(image) | {"director/root": director.root().version}
    entitled = _entitled(image)
    old = memory.below(versions, entitled)
    if roster.seq < memory.roster_seq:
        if memory.protects(_ROSTER, entitled):
            old = f"roster {roster.seq} is older than {memory.roster_seq}, accepted here"
        memory = msgspec.structs.replace(memory, roster_seq=roster.seq)
    if old is not None:
        raise RefusedError(f"Rolled back: {old}.", reason="rollback")
    expiries = [*_expiries("image", image), *_expiries("director", director)]
    end = first_end(ends(expiries, roster))
    signed = (*_offline(image), director.root())
    issued = [*filter(None, map(issued_of, signed)), roster.issued]
    memory = msgspec.structs.replace(
        memory, ahead=max((time for time in issued if time >= end), default=None)
    )
    return Facts(
        trusted=Trusted(
            expiries=expiries,
            roster=roster,
            directive=directive,
            director_cohorts=cohorts,
            director_targets={path: _info(target) for path, target in listed.items()},
            director_delegates=director.targets().delegations is not None,
            image_targets=infos,
            images=images,
        ),
        memory=memory.accepting(versions, [time for time in issued if time < end], entitled),
        inputs={
            "directive": directive_sha256,
            "roster": sha256_hex(roster_bytes),
            "metadata": _metadata("image", image) | _metadata("director", director),
            "permits": [],
        },
        permits=listed_permits,
        deltas=deltas,
        new_roster=roster_bytes if is_new else None,
    )


def ends(expiries: Iterable[Expiry], roster: Roster) -> list[datetime]:
    """When each thing that was believed is no longer good (``clock``, rule 5)."""
    return [*(item.expires for item in expiries), roster.issued + MAX_ROSTER_AGE]


def _bound(kind: str, found: str | None, mine: str, what: str) -> None:
    if found != mine:
        raise RefusedError(f"{what} is for {kind} {found}, not {mine}.", reason=f"wrong_{kind}")


def _directive(director: Repository, target: TargetFile | None) -> tuple[Directive, str]:
    if target is None:
        raise RefusedError("The director lists no directive.", reason="malformed")
    data = director.content(target, MAX_DIRECTIVE)
    return read_directive(data), sha256_hex(data)


def _roster(image: Repository, state: StateDir) -> tuple[bytes, bool]:
    role = image.delegated(ROSTER_ROLE, ROSTER_PATH)
    target = role.targets.get(ROSTER_PATH) if role is not None else None
    if target is None:
        raise RefusedError(
            "The image repository has no roster, so nobody is believed.", reason="malformed"
        )
    kept = _kept_roster(state, target)
    return (kept, False) if kept is not None else (image.content(target, MAX_ROSTER), True)


def _kept_roster(state: StateDir, target: TargetFile) -> bytes | None:
    try:
        data = durable.read(state.roster, limit=MAX_ROSTER, what="roster")
    except (NotFoundError, WireError):
        return None
    same = len(data) == target.length and sha256_hex(data) == target.hashes.get("sha256")
    return data if same else None


def _images(
    image: Repository, directive: Directive, product: str
) -> tuple[
    dict[str, TargetInfo],
    dict[str, Image],
    dict[str, tuple[DeltaOffer, ...]],
    tuple[permits.Listed, ...],
]:
    """Of the wanted targets those that are listed, their facts, deltas and permits (3 to 5)."""
    entry = directive.products.get(product)
    if entry is None or entry.order is None:
        return {}, {}, {}, ()
    try:
        order = open_as(entry.order, Order)
    except WireError:
        # The decision says so, after it has learned what else was signed.
        return {}, {}, {}, ()
    if order.said.product != product:
        return {}, {}, {}, ()
    wanted = [target.path for target in order.said.targets]
    role = image.delegated(product, wanted[0])
    infos: dict[str, TargetInfo] = {}
    images: dict[str, Image] = {}
    for path in wanted:
        target = role.targets.get(path) if role is not None else None
        if target is not None:
            infos[path] = _info(target)
            # Without facts it is no image, and the decision says so.
            with suppress(WireError):
                images[path] = read_image(path, target.custom)
    deltas = {
        path: offers
        for path, one in images.items()
        if role is not None and (offers := offered(role, path, one))
    }
    if role is None or order.said.kind != "recall":
        return infos, images, deltas, ()
    return infos, images, deltas, permits.listed(role, order.id)


def _info(target: TargetFile) -> TargetInfo:
    return TargetInfo(target.length, dict(target.hashes))


def _offline(image: Repository) -> Iterable[Root | Targets]:
    for role, (metadata, _) in image.loaded.items():
        if role not in _ONLINE:
            yield metadata.signed


def _offline_versions(image: Repository) -> dict[str, int]:
    return {
        f"image/{role}": metadata.signed.version
        for role, (metadata, _) in image.loaded.items()
        if role not in _ONLINE
    }


def _entitled(image: Repository) -> dict[str, Entitled]:
    """Who may sign each offline role that was loaded, by the root and the targets in force."""
    root, targets = image.root(), image.targets()
    delegators: dict[str, tuple[Root | Targets, Role]] = {
        name: (targets, role) for name, role in delegated_roles(targets).items()
    }
    delegators[Targets.type] = root, root.roles[Targets.type]
    return {
        f"image/{name}": Entitled(
            frozenset(sha256_hex(public_key_bytes(delegator.get_key(k))) for k in role.keyids)
        )
        for name, (delegator, role) in delegators.items()
        if name in image.loaded
    }


def _expiries(name: str, repository: Repository) -> list[Expiry]:
    return [
        Expiry(f"{name}/{role}", metadata.signed.expires)
        for role, (metadata, _) in repository.loaded.items()
    ]


def _metadata(name: str, repository: Repository) -> dict[str, object]:
    return {
        f"{name}/{role}": {"version": metadata.signed.version, "sha256": sha256}
        for role, (metadata, sha256) in repository.loaded.items()
    }
