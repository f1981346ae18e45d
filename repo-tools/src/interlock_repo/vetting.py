"""What is further asked before a release is staged or signed (I/O: reads the SBOM).

``released`` says what may stand in metadata. These need a day, a file or a library, so they are
asked when somebody stages, reviews or signs, and not each time an event is opened. Rules:

1. Each SBOM is one by its own schema (``sbom``), and of the format that the metadata names.
2. Nobody who is supported is left behind: from every release whose support has not ended there is
   a way to the newest one for that hardware and market (``interlock_core.reach``).
3. Hardware that no earlier release of the product names is a slip of the pen unless the release
   says that it is new. The first release cannot differ from any before it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime

from tuf.api.metadata import Targets

from interlock_core import durable
from interlock_core.errors import RefusedError
from interlock_core.reach import Stranded, stranded
from interlock_core.release import Evidence, Image
from interlock_core.released import images, read_facts
from interlock_core.withdrawn import withdrawals
from interlock_repo.event import Event
from interlock_repo.intent import read_spec
from interlock_repo.released import new_paths
from interlock_repo.sbom import MAX_SBOM, sbom_format
from interlock_repo.specs import ReleaseSpec


def vet(event: Event, now: datetime) -> None:
    """Ask all of it of an event that was opened; of one that releases nothing, nothing.

    Raises:
        RefusedError: ``bad_sbom``, ``stranding`` or ``unknown_hardware``.
        WireError: ``spec.json`` is no release's.
        TransientError: a file cannot be read.
    """
    if event.file.kind != "release":
        return
    targets, before = event.metadata.signed, event.previous
    check_hardware(targets, before, read_spec(event.intent, ReleaseSpec).new_hardware)
    check_reach(targets, before, now.date())
    for path in new_paths(targets, before):
        facts = read_facts(path, targets.targets[path])
        if isinstance(facts, Evidence) and facts.evidence == "sbom":
            file = event.target_path(path)
            format_ = sbom_format(durable.read(file, limit=MAX_SBOM, what="SBOM"), what=str(file))
            if format_ != facts.format:
                raise RefusedError(
                    f"{file} is {format_}, and the metadata calls it {facts.format[:60]!r}.",
                    reason="bad_sbom",
                )


def check_reach(targets: Targets, before: Targets | None, today: date) -> None:
    """Check rule 2.

    Raises:
        RefusedError: ``stranding``.
    """
    left = left_behind(targets, before, today)
    if left:
        listed = "; ".join(one.said for one in left[:20])
        raise RefusedError(
            "Behind this barrier some gateways that are supported could not get to the newest "
            f"release: {listed}. Lower 'min_counter_installed', or release a step for them first.",
            reason="stranding",
        )


def left_behind(targets: Targets, before: Targets | None, today: date) -> list[Stranded]:
    """Who cannot get to the newest release any more, and could before."""
    known = images(before).values() if before is not None else ()
    return stranded(tuple(known), tuple(images(targets).values()), today)


def new_hardware(targets: Targets, before: Targets | None) -> list[str]:
    """Hardware ids of new images that no release before names, sorted; of a first release, all."""
    known = {id_ for image in _images(before) for id_ in image.hardware_ids}
    known |= {
        id_
        for one in withdrawals(before).values()
        for gone in one.images
        for id_ in gone.hardware_ids
    }
    return sorted({id_ for image in _new(targets, before) for id_ in image.hardware_ids} - known)


def check_hardware(targets: Targets, before: Targets | None, declared: Collection[str]) -> None:
    """Check rule 3.

    Args:
        targets: the new metadata.
        before: what it follows.
        declared: what the release says is new.

    Raises:
        RefusedError: ``unknown_hardware``.
    """
    named = {id_ for image in _new(targets, before) for id_ in image.hardware_ids}
    idle = sorted(set(declared) - named)
    if idle:
        raise RefusedError(
            f"New hardware {', '.join(idle)} is declared, and no image of the release names it.",
            reason="unknown_hardware",
        )
    known = {id_ for image in _images(before) for id_ in image.hardware_ids}
    unknown = sorted(set(new_hardware(targets, before)) - set(declared))
    if known and unknown:
        raise RefusedError(
            f"No release before names the hardware {', '.join(unknown)} (they name "
            f"{', '.join(sorted(known))}): mend it, or say that it is new with --new-hardware "
            f"{unknown[0]}.",
            reason="unknown_hardware",
        )


def _images(targets: Targets | None) -> Collection[Image]:
    return images(targets).values() if targets is not None else ()


def _new(targets: Targets, before: Targets | None) -> list[Image]:
    known = images(targets)
    return [known[path] for path in new_paths(targets, before) if path in known]
