"""What may stand in a product's metadata (pure; tuf's types and no I/O).

Release managers' tools keep these rules before anybody signs, and the server before it stores
anything. ``tuf_metadata`` sees to signatures, version, expiry and delegation. Rules:

1. Every target lies under ``<product>/<version>/``, is named by SHA-256 alone (readers build its
   address from the first hash) and has facts that agree with its path: an image's, those of a
   piece of evidence, of a delta, or under ``<product>/permits/`` those of a permit.
2. An image has an SBOM among its references, and each of its references is a target of this
   metadata with the digest and the kind that it names. A delta leads to the image that names it,
   and comes with it: none is added for an image that was released before, and none for nobody.
3. A version is used once, and a new image's release counter is above every counter before it,
   those of releases that were taken back included.
4. What was released stays as it was: no target changes its length, hashes or facts, and none
   disappears, but for two: a permit may be left out, which revokes it; and the images of a release
   leave together when the field ``withdrawn`` takes it back (``withdrawn``).
5. What was taken back stays so: no line of that field changes or disappears.
6. A permit is added only while those of its move under its order are no more, and no longer
   together, than a gateway reads (``release``, rule 6). Whoever publishes leaves out what expired.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from tuf.api.metadata import TargetFile, Targets

from interlock_core.errors import RefusedError, WireError
from interlock_core.names import DIGEST_PATTERN, split_path
from interlock_core.release import (
    MAX_CUSTOM,
    MAX_PERMITS,
    MAX_PERMITS_BYTES,
    PERMITS,
    Delta,
    Evidence,
    Image,
    PermitFacts,
    read_delta,
    read_image,
)
from interlock_core.wire import convert, encode
from interlock_core.withdrawn import Withdrawal, highest_counter, withdrawal, withdrawals

_DIGEST: Final = re.compile(DIGEST_PATTERN)


def sha256_of(path: str, target: TargetFile) -> str:
    """The SHA-256 of a target, which alone names it (rule 1).

    Raises:
        RefusedError: ``bad_hashes``.
    """
    digest = str(target.hashes.get("sha256"))
    if set(target.hashes) != {"sha256"} or not _DIGEST.match(digest):
        raise RefusedError(
            f"{path} must be named by its SHA-256 and by no other hash.", reason="bad_hashes"
        )
    return digest


Facts = Image | Evidence | Delta | PermitFacts
"""What the metadata of a product says of a target."""


def read_facts(path: str, target: TargetFile) -> Facts:
    """The facts of a target, checked against its path (rule 1).

    Raises:
        RefusedError: ``bad_facts``: there are none, they are malformed, or they contradict the
            path.
        WireError: ``bad_path``.
    """
    product, version, _ = split_path(path)
    custom: Any = target.custom
    if not isinstance(custom, dict) or target.unrecognized_fields.keys() != {"custom"}:
        raise RefusedError(
            f"{path} must carry its facts in 'custom', and nothing else.", reason="bad_facts"
        )
    if len(encode(custom)) > MAX_CUSTOM:
        raise RefusedError(
            f"The facts of {path} are longer than {MAX_CUSTOM} bytes.", reason="bad_facts"
        )
    facts: Facts
    try:
        if custom.get("kind") == "evidence":
            facts = convert(custom, Evidence, what=f"custom of {path}")
        elif custom.get("kind") == "delta":
            facts = read_delta(path, custom)
        elif custom.get("kind") == "permit":
            facts = convert(custom, PermitFacts, what=f"custom of {path}")
        else:
            facts = read_image(path, custom)
    except WireError as e:
        raise RefusedError(str(e), reason="bad_facts") from e
    if (facts.product, facts.version) != (product, version):
        raise RefusedError(f"The facts of {path} contradict its path.", reason="bad_facts")
    if version == PERMITS and not isinstance(facts, PermitFacts):
        raise RefusedError(
            f"{path} is no permit: {PERMITS!r} cannot be the version of a release.",
            reason="bad_facts",
        )
    return facts


def images(targets: Targets) -> dict[str, Image]:
    """Every image by path.

    Raises:
        RefusedError, WireError: as ``read_facts``.
    """
    facts = {path: read_facts(path, target) for path, target in targets.targets.items()}
    return {path: fact for path, fact in facts.items() if isinstance(fact, Image)}


def permits(targets: Targets) -> dict[str, PermitFacts]:
    """Every permit by path.

    Raises:
        RefusedError, WireError: as ``read_facts``.
    """
    facts = {path: read_facts(path, target) for path, target in targets.targets.items()}
    return {path: fact for path, fact in facts.items() if isinstance(fact, PermitFacts)}


def deltas(targets: Targets) -> dict[str, Delta]:
    """Every delta by path.

    Raises:
        RefusedError, WireError: as ``read_facts``.
    """
    facts = {path: read_facts(path, target) for path, target in targets.targets.items()}
    return {path: fact for path, fact in facts.items() if isinstance(fact, Delta)}


def withdraw(targets: Targets, version: str, *, at: datetime, reason: str) -> Withdrawal:
    """What is to be remembered of a release that ``targets`` lists.

    Args:
        targets: the product's metadata in force.
        version: the release.
        at: when it is taken back.
        reason: why.

    Raises:
        RefusedError: ``unknown_version``: no image has it.
        WireError: a reason that is not one line of printable text; or as ``read_facts``.
    """
    known = {
        path: (image, sha256_of(path, targets.targets[path]))
        for path, image in images(targets).items()
    }
    versions = sorted({image.version for image, _ in known.values()})
    if version not in versions:
        raise RefusedError(
            f"No image of version {version[:80]} is listed: {', '.join(versions) or 'none is'}.",
            reason="unknown_version",
        )
    return withdrawal(known, version, at=at, reason=reason)


def check_release(new: Targets, before: Targets | None) -> None:
    """Check a product's metadata against the version before it.

    Raises:
        RefusedError: ``bad_hashes``, ``bad_facts``, ``no_sbom``, ``missing_reference``,
            ``stray_delta``, ``version_reused``, ``counter_not_raised``, ``target_changed``,
            ``target_removed``, ``bad_withdrawal``, ``unknown_version`` or ``too_many_permits``.
        WireError: ``bad_path``.
    """
    old = before.targets if before else {}
    gone, gone_before = withdrawals(new), withdrawals(before)
    _check_withdrawn(gone, gone_before, before)
    _check_kept(new.targets, old, gone)
    facts = {path: read_facts(path, target) for path, target in new.targets.items()}
    known = images(before).values() if before else ()
    versions = {image.version for image in known} | gone.keys()
    highest = highest_counter(known, gone)
    for path, target in new.targets.items():
        sha256_of(path, target)
        image = facts[path]
        if path in old or not isinstance(image, Image):
            continue
        if image.version in versions:
            raise RefusedError(
                f"{image.product} {image.version} was released already: a version is used once, "
                "choose another.",
                reason="version_reused",
            )
        if image.release_counter <= highest:
            raise RefusedError(
                f"The release counter {image.release_counter} of {path} is not above {highest}, "
                f"the highest of {image.product} so far: take {highest + 1} or more.",
                reason="counter_not_raised",
            )
        _check_references(path, image, new.targets, facts)
    _check_deltas(old, facts)
    _check_permits(new.targets, old, facts)


def _check_permits(
    targets: Mapping[str, TargetFile], old: Mapping[str, TargetFile], facts: Mapping[str, Facts]
) -> None:
    """Rule 6."""
    moves: dict[tuple[str, str, str], list[str]] = {}
    for path, one in facts.items():
        if isinstance(one, PermitFacts):
            moves.setdefault((one.order, one.from_sha256, one.to_sha256), []).append(path)
    for (order, _, _), paths in moves.items():
        added = [path for path in paths if path not in old]
        size = sum(targets[path].length for path in paths)
        if added and (len(paths) > MAX_PERMITS or size > MAX_PERMITS_BYTES):
            raise RefusedError(
                f"With {added[0]} there would be {len(paths)} permits of {size} bytes for one move "
                f"under the order {order[:12]}, and gateways read {MAX_PERMITS} of one move, of "
                f"{MAX_PERMITS_BYTES} bytes together: name more devices, or a cohort, in one "
                "permit, or revoke others first.",
                reason="too_many_permits",
            )


def _check_withdrawn(
    new: Mapping[str, Withdrawal], old: Mapping[str, Withdrawal], before: Targets | None
) -> None:
    for version, one in old.items():
        if new.get(version) != one:
            raise RefusedError(
                f"That {version} was withdrawn is missing or changed: its counter and its version "
                "stay used for ever, so the line stays as it was.",
                reason="bad_withdrawal",
            )
    for version in new.keys() - old.keys():
        stated = new[version]
        if before is None or stated != withdraw(
            before, version, at=stated.at, reason=stated.reason
        ):
            raise RefusedError(
                f"What is said of the withdrawn {version} is not what was released: stage the "
                "withdrawal again.",
                reason="bad_withdrawal",
            )


def _check_kept(
    new: Mapping[str, TargetFile],
    old: Mapping[str, TargetFile],
    gone: Mapping[str, Withdrawal],
) -> None:
    for path, target in old.items():
        facts = read_facts(path, target)
        if isinstance(facts, Image) and facts.version in gone:
            if path in new:
                raise RefusedError(
                    f"{path} is listed, and {facts.version} is withdrawn: its images leave "
                    "together.",
                    reason="bad_withdrawal",
                )
        elif path not in new:
            if isinstance(facts, PermitFacts):
                continue
            raise RefusedError(
                f"{path} was released and is missing now: list it again; nothing that was "
                "released disappears.",
                reason="target_removed",
            )
        elif new[path] != target:
            raise RefusedError(
                f"{path} was released with another length, digest or other facts: release the "
                "change under a new version.",
                reason="target_changed",
            )


def _check_references(
    path: str,
    image: Image,
    targets: Mapping[str, TargetFile],
    facts: Mapping[str, Facts],
) -> None:
    if not any(reference.kind == "sbom" for reference in image.references):
        raise RefusedError(
            f"{path} has no SBOM: add a CycloneDX or SPDX file to the release.", reason="no_sbom"
        )
    mine = sha256_of(path, targets[path])
    for reference in image.references:
        target, about = targets.get(reference.path), facts.get(reference.path)
        if (
            target is None
            or sha256_of(reference.path, target) != reference.sha256
            or not _is_of(about, reference.kind, image, mine)
        ):
            raise RefusedError(
                f"{path} refers to {reference.path} ({reference.kind}), which this metadata does "
                "not list with that digest and kind.",
                reason="missing_reference",
            )


def _is_of(facts: Facts | None, kind: str, image: Image, sha256: str) -> bool:
    """Whether a target is what an image says that it is (rule 2)."""
    if kind == "delta":
        return (
            isinstance(facts, Delta)
            and facts.version == image.version
            and facts.to_sha256 == sha256
        )
    return isinstance(facts, Evidence) and facts.evidence == kind


def _check_deltas(old: Mapping[str, TargetFile], facts: Mapping[str, Facts]) -> None:
    """Rule 2, of those that are added."""
    named = {
        reference.path
        for path, image in facts.items()
        if isinstance(image, Image) and path not in old
        for reference in image.references
    }
    for path, delta in facts.items():
        if isinstance(delta, Delta) and path not in old and path not in named:
            raise RefusedError(
                f"No new image names the delta {path}: deltas come with the image that they lead "
                "to, and are staged with it.",
                reason="stray_delta",
            )
