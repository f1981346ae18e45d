"""What a product's metadata says about its releases, and what makes a new one acceptable (pure).

Rules:

1. What was released stays as it is: no target changes or disappears. A version is used once, and
   a new release brings a release counter above every earlier one of its product.
2. Every image refers to a bill of materials, and every reference to another target of the same
   release by its digest.
3. Every path lies within what the delegator gives the product, and says the same product and
   version as the facts.

The same rules are kept when an event is staged and each time it is opened, so that an event that
was made by other means is refused before anybody signs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime

from tuf.api.metadata import DelegatedRole, TargetFile, Targets

from interlock_core.errors import RefusedError, WireError
from interlock_core.names import split_path
from interlock_core.release import Evidence, Image, read_image
from interlock_core.tuf_metadata import set_issued
from interlock_core.wire import convert


def sha256_of(path: str, target: TargetFile) -> str:
    """The SHA-256 of a target.

    Raises:
        WireError: its metadata names none.
    """
    digest = target.hashes.get("sha256")
    if digest is None:
        raise WireError(f"The target {path} has no SHA-256.")
    return digest


def read_facts(path: str, target: TargetFile) -> Image | Evidence:
    """The facts of a target, checked against its path.

    Raises:
        WireError: there are none, they are malformed, or they contradict the path.
    """
    custom = target.custom
    if isinstance(custom, Mapping) and custom.get("kind") == "evidence":
        evidence = convert(dict(custom), Evidence, what=f"custom of {path}")
        product, version, _ = split_path(path)
        if (evidence.product, evidence.version) != (product, version):
            raise WireError(f"The facts of {path} contradict its path.")
        return evidence
    return read_image(path, custom)


def images(targets: Targets) -> dict[str, Image]:
    """Every image by path.

    Raises:
        WireError: as ``read_facts``.
    """
    facts = {path: read_facts(path, target) for path, target in targets.targets.items()}
    return {path: fact for path, fact in facts.items() if isinstance(fact, Image)}


def highest_counter(targets: Targets | None) -> int:
    """The highest release counter of a product; 0 before its first release."""
    known = images(targets).values() if targets is not None else ()
    return max((image.release_counter for image in known), default=0)


def following(previous: Targets | None, *, now: datetime, expires: datetime) -> Targets:
    """A copy of metadata with the next version, issued now; empty metadata for the first."""
    targets = Targets() if previous is None else Targets.from_dict(deepcopy(previous.to_dict()))
    targets.version = 1 if previous is None else previous.version + 1
    targets.expires = expires
    set_issued(targets, now)
    return targets


def new_paths(targets: Targets, previous: Targets | None) -> list[str]:
    """Paths that the version before did not have, sorted: whose bytes must come along."""
    return sorted(targets.targets.keys() - (previous.targets.keys() if previous else set()))


def check_release(targets: Targets, previous: Targets | None, role: DelegatedRole) -> None:
    """Check a product's new metadata (rules 1 to 3).

    Raises:
        RefusedError: ``outside_delegation``, ``target_changed``, ``target_removed``,
            ``version_reused``, ``counter_not_raised``, ``no_sbom`` or ``missing_reference``.
        WireError: malformed facts or paths.
    """
    known = previous.targets if previous is not None else {}
    _check_kept(targets.targets, known)
    versions = {split_path(path)[1] for path in known}
    highest = highest_counter(previous)
    for path, target in targets.targets.items():
        _check_path(path, role)
        facts = read_facts(path, target)
        if path in known or not isinstance(facts, Image):
            continue
        if facts.version in versions:
            raise RefusedError(
                f"{facts.product} {facts.version} was released already: a version is used once, "
                "choose another.",
                reason="version_reused",
            )
        if facts.release_counter <= highest:
            raise RefusedError(
                f"The release counter {facts.release_counter} of {path} is not above "
                f"{highest}, the highest of {facts.product} so far: take {highest + 1} or more.",
                reason="counter_not_raised",
            )
        _check_references(path, facts, targets)


def _check_path(path: str, role: DelegatedRole) -> None:
    if not role.is_delegated_path(path):
        raise RefusedError(
            f"{path[:120]!r} lies outside what {role.name} may sign "
            f"({' '.join(role.paths or [])}): a file's name is one level, below its version.",
            reason="outside_delegation",
        )
    split_path(path)


def _check_kept(new: Mapping[str, TargetFile], old: Mapping[str, TargetFile]) -> None:
    for path, target in old.items():
        if path not in new:
            raise RefusedError(
                f"{path} was released and would disappear: what was released stays listed.",
                reason="target_removed",
            )
        if new[path] != target:
            raise RefusedError(
                f"{path} was released otherwise: release the change under a new version.",
                reason="target_changed",
            )


def _check_references(path: str, image: Image, targets: Targets) -> None:
    if not any(reference.kind == "sbom" for reference in image.references):
        raise RefusedError(
            f"{path} has no SBOM: name a CycloneDX or SPDX file as 'sbom'.", reason="no_sbom"
        )
    for reference in image.references:
        target = targets.targets.get(reference.path)
        if target is None or sha256_of(reference.path, target) != reference.sha256:
            raise RefusedError(
                f"{path} refers to {reference.path}, which is not listed with that digest.",
                reason="missing_reference",
            )
