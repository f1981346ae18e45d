"""The targets of an order with the steps that its barriers need (pure).

Rules:

1. What the order file names stays as it is, the wanted image first. Steps are added behind it.
2. Of themselves, so many that the wanted image can be reached from every release that is supported
   today or was taken back, and from whatever a gateway is known to run (``steps``).
3. Steps that somebody names are taken as they are named, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime

from interlock_core.catalogue import Catalogue, Listed
from interlock_core.errors import RefusedError
from interlock_core.seen import Seen
from interlock_core.steps import Plan, Start, compose

AUTO = "auto"
NONE = "none"


def with_steps(
    catalogue: Catalogue,
    paths: Sequence[str],
    via: Sequence[str],
    now: datetime,
    fleet: Iterable[Seen] = (),
) -> Plan:
    """The targets of an order (rules 1 to 3).

    Args:
        catalogue: of the product.
        paths: as the order file names them.
        via: ``auto``, ``none``, or paths.
        now: to judge by what is supported.
        fleet: gateways that are known.

    Raises:
        RefusedError: ``no_such_target``: a path that the product does not list.
    """
    wanted = [_at(catalogue, path) for path in paths]
    if tuple(via) == (NONE,):
        return Plan(tuple(wanted), (), ())
    if tuple(via) != (AUTO,):
        named = [_at(catalogue, path) for path in via if path not in paths]
        return Plan((*wanted, *named), (), ())
    return compose(wanted, catalogue.listed, _starts(catalogue, wanted, now.date(), fleet))


def _at(catalogue: Catalogue, path: str) -> Listed:
    found = catalogue.at_path(path)
    if found is None:
        raise RefusedError(
            f"{catalogue.product} lists no image {path}: publish the release first, or mend the "
            "path. If it was withdrawn, name another release.",
            reason="no_such_target",
        )
    return found


def _starts(
    catalogue: Catalogue, wanted: Sequence[Listed], today: date, fleet: Iterable[Seen]
) -> set[Start]:
    """Where gateways are or may be, below what is wanted for their hardware (2)."""
    ends = {one.sha256: date.fromisoformat(one.image.support_end) for one in catalogue.listed}
    tops: dict[str, int] = {}
    for image in wanted:
        for hardware in image.image.hardware_ids:
            tops.setdefault(hardware, image.image.release_counter)
    starts = {
        Start(hardware, one.counter)
        for one in catalogue.every
        if ends.get(one.sha256, today) >= today
        for hardware in one.hardware
        if one.counter < tops.get(hardware, 0)
    }
    for seen in fleet:
        runs = catalogue.of_digest(seen.running) if seen.running is not None else None
        if runs is not None and runs.counter < tops.get(seen.hardware, 0):
            starts.add(Start(seen.hardware, runs.counter))
    return starts
