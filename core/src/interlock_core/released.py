"""What may stand in a product's metadata (pure; tuf's types and no I/O).

Release managers' tools keep these rules before anybody signs, and the server before it stores
anything. ``tuf_metadata`` sees to signatures, version, expiry and delegation. Rules:

1. Every target lies under ``<product>/<version>/``, is named by SHA-256 alone (readers build its
   address from the first hash) and has facts that agree with its path: an image's, or those of a
   piece of evidence.
2. An image has an SBOM among its references, and each of its references is a target of this
   metadata with the digest and the kind that it names.
3. A version is used once, and a new image's release counter is above every counter before it.
4. What was released stays as it was: no target changes its length, hashes or facts, and none
   disappears.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tuf.api.metadata import TargetFile, Targets

from interlock_core.errors import RefusedError, WireError
from interlock_core.names import DIGEST_PATTERN, split_path
from interlock_core.release import MAX_CUSTOM, Evidence, Image, read_image
from interlock_core.wire import convert, encode

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


def read_facts(path: str, target: TargetFile) -> Image | Evidence:
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


def images(targets: Targets) -> dict[str, Image]:
    """Every image by path.

    Raises:
        RefusedError, WireError: as ``read_facts``.
    """
    facts = {path: read_facts(path, target) for path, target in targets.targets.items()}
    return {path: fact for path, fact in facts.items() if isinstance(fact, Image)}


def check_release(new: Targets, before: Targets | None) -> None:
    """Check a product's metadata against the version before it.

    Raises:
        RefusedError: ``bad_hashes``, ``bad_facts``, ``no_sbom``, ``missing_reference``,
            ``version_reused``, ``counter_not_raised``, ``target_changed`` or ``target_removed``.
        WireError: ``bad_path``.
    """
    old = before.targets if before else {}
    _check_kept(new.targets, old)
    facts = {path: read_facts(path, target) for path, target in new.targets.items()}
    known = images(before).values() if before else ()
    versions = {image.version for image in known}
    highest = max((image.release_counter for image in known), default=0)
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


def _check_kept(new: Mapping[str, TargetFile], old: Mapping[str, TargetFile]) -> None:
    for path, target in old.items():
        if path not in new:
            raise RefusedError(
                f"{path} was released and is missing now: list it again; nothing that was "
                "released disappears.",
                reason="target_removed",
            )
        if new[path] != target:
            raise RefusedError(
                f"{path} was released with another length, digest or other facts: release the "
                "change under a new version.",
                reason="target_changed",
            )


def _check_references(
    path: str,
    image: Image,
    targets: Mapping[str, TargetFile],
    facts: Mapping[str, Image | Evidence],
) -> None:
    if not any(reference.kind == "sbom" for reference in image.references):
        raise RefusedError(
            f"{path} has no SBOM: add a CycloneDX or SPDX file to the release.", reason="no_sbom"
        )
    for reference in image.references:
        target, about = targets.get(reference.path), facts.get(reference.path)
        evidence = about.evidence if isinstance(about, Evidence) else None
        if (
            target is None
            or sha256_of(reference.path, target) != reference.sha256
            or reference.kind not in {"delta", evidence}
        ):
            raise RefusedError(
                f"{path} refers to {reference.path} ({reference.kind}), which this metadata does "
                "not list with that digest and kind.",
                reason="missing_reference",
            )
