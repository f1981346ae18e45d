"""What may stand in a product's metadata and in the roster's (pure).

``verify_new_offline`` has seen to signatures, version, expiry and delegation before. Here:

1. Every target lies under ``<product>/<version>/``, is named by SHA-256 alone (readers build its
   address from the first hash) and has facts that agree with its path: an image's, or those of a
   piece of evidence.
2. An image has an SBOM among its references, and each of its references is a target of this
   metadata with the digest that it names.
3. A new image's release counter is above every counter of the version before.
4. What was released stays as it was: no target changes its length, hashes or facts, and none
   disappears.
5. The role ``interlock`` holds exactly the roster. The roster's fleet is ours, its ``seq`` rises
   when its bytes change, and gateways would still believe it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from tuf.api.metadata import TargetFile, Targets

from interlock_core.decide import MAX_ROSTER_AGE
from interlock_core.errors import RefusedError, WireError
from interlock_core.names import DIGEST_PATTERN, ROSTER_PATH, split_path
from interlock_core.release import MAX_CUSTOM, Evidence, Image, read_image
from interlock_core.roster import MAX_ROSTER, Roster, read_roster
from interlock_core.tuf_metadata import MAX_CLOCK_SKEW
from interlock_core.wire import convert, encode, format_time

_DIGEST: Final = re.compile(DIGEST_PATTERN)


def check_release(new: Targets, before: Targets | None, *, largest_target_bytes: int) -> None:
    """Check a product's metadata against the version before it (rules 1 to 4).

    Raises:
        RefusedError: ``bad_hashes``, ``target_too_large``, ``bad_facts``, ``no_sbom``,
            ``missing_reference``, ``counter_not_raised``, ``target_changed`` or
            ``target_removed``.
        WireError: ``bad_path``, or facts that are malformed.
    """
    old = before.targets if before else {}
    _check_kept(new.targets, old)
    facts = {path: _facts(path, info) for path, info in new.targets.items()}
    old_counters = [_facts(path, info) for path, info in old.items()]
    highest = max((f.release_counter for f in old_counters if isinstance(f, Image)), default=0)
    for path, info in new.targets.items():
        _check_bytes(path, info, largest_target_bytes)
        image = facts[path]
        if path in old or not isinstance(image, Image):
            continue
        if image.release_counter <= highest:
            raise RefusedError(
                f"{path} has release counter {image.release_counter}, and {highest} was released "
                "before: a new image needs a higher one.",
                reason="counter_not_raised",
            )
        _check_references(path, image, new.targets, facts)


def _check_kept(new: Mapping[str, TargetFile], old: Mapping[str, TargetFile]) -> None:
    for path, info in old.items():
        if path not in new:
            raise RefusedError(
                f"{path} was released and is missing now: list it again; nothing that was "
                "released disappears.",
                reason="target_removed",
            )
        if new[path] != info:
            raise RefusedError(
                f"{path} was released with another length, digest or other facts: release the "
                "change under a new version.",
                reason="target_changed",
            )


def _check_bytes(path: str, info: TargetFile, largest_target_bytes: int) -> None:
    if set(info.hashes) != {"sha256"} or not _DIGEST.match(str(info.hashes["sha256"])):
        raise RefusedError(
            f"{path} must be named by its SHA-256 and by no other hash.", reason="bad_hashes"
        )
    if not 1 <= info.length <= largest_target_bytes:
        raise RefusedError(
            f"{path} has {info.length} bytes; this server takes 1 to {largest_target_bytes} "
            "(storage.largest_target_bytes).",
            reason="target_too_large",
        )


def _facts(path: str, info: TargetFile) -> Image | Evidence:
    product, version, _ = split_path(path)
    custom: Any = info.custom
    if not isinstance(custom, dict) or info.unrecognized_fields.keys() != {"custom"}:
        raise RefusedError(
            f"{path} must carry its facts in 'custom', and nothing else.", reason="bad_facts"
        )
    if len(encode(custom)) > MAX_CUSTOM:
        raise RefusedError(
            f"The facts of {path} are longer than {MAX_CUSTOM} bytes.", reason="bad_facts"
        )
    facts: Image | Evidence
    try:
        if custom.get("kind") == "evidence":
            facts = convert(custom, Evidence, what=f"custom of {path}")
        else:
            facts = read_image(path, custom)
    except WireError as e:
        raise RefusedError(str(e), reason="bad_facts") from e
    if (facts.product, facts.version) != (product, version):
        raise RefusedError(f"The facts of {path} contradict its path.", reason="bad_facts")
    return facts


def _check_references(
    path: str,
    image: Image,
    targets: Mapping[str, TargetFile],
    facts: Mapping[str, Image | Evidence],
) -> None:
    if not any(reference.kind == "sbom" for reference in image.references):
        raise RefusedError(f"{path} has no SBOM: add one to the release.", reason="no_sbom")
    for reference in image.references:
        info, about = targets.get(reference.path), facts.get(reference.path)
        evidence = about.evidence if isinstance(about, Evidence) else None
        if (
            info is None
            or info.hashes.get("sha256") != reference.sha256
            or reference.kind not in {"delta", evidence}
        ):
            raise RefusedError(
                f"{path} refers to {reference.path} ({reference.kind}), which this metadata does "
                "not list with that digest and kind.",
                reason="missing_reference",
            )


def check_roster_targets(new: Targets) -> TargetFile:
    """Check that the role ``interlock`` holds the roster alone, and return what it says of it.

    Raises:
        RefusedError: ``bad_roster`` or ``bad_hashes``.
    """
    if list(new.targets) != [ROSTER_PATH]:
        raise RefusedError(
            f"The role interlock holds exactly {ROSTER_PATH}, nothing more or less.",
            reason="bad_roster",
        )
    info = new.targets[ROSTER_PATH]
    _check_bytes(ROSTER_PATH, info, MAX_ROSTER)
    return info


def check_roster(data: bytes, before: Roster | None, *, fleet: str, now: datetime) -> Roster:
    """Check a roster's bytes before it takes effect (rule 5).

    Args:
        data: its bytes, with the digest that was signed.
        before: the roster in force, if there is one.
        fleet: ours.
        now: to judge its age by.

    Raises:
        RefusedError: ``bad_roster``, ``wrong_fleet``, ``rollback`` or ``roster_stale``.
    """
    try:
        roster = read_roster(data)
    except WireError as e:
        raise RefusedError(str(e), reason="bad_roster") from e
    if roster.fleet != fleet:
        raise RefusedError(
            f"The roster is of fleet {roster.fleet} and this server serves {fleet}.",
            reason="wrong_fleet",
        )
    if before is not None and roster.seq <= before.seq and roster != before:
        raise RefusedError(
            f"The roster has seq {roster.seq} and {before.seq} is in force: raise it.",
            reason="rollback",
        )
    if now >= roster.issued + MAX_ROSTER_AGE or roster.issued > now + MAX_CLOCK_SKEW:
        raise RefusedError(
            f"The roster was issued at {format_time(roster.issued)}: gateways believe it for "
            f"{MAX_ROSTER_AGE.days} days from then, and not before; issue a new one.",
            reason="roster_stale",
        )
    return roster
