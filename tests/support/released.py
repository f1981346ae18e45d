"""A product's releases, and gateways as their papers show them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from interlock_core.catalogue import Catalogue, Listed, Past
from interlock_core.release import Image, Slot, UpdateClass
from interlock_core.report import Report, Running
from interlock_core.seen import Seen
from interlock_core.statement import Opened
from tests.support.papers import HARDWARE, PRODUCT, digest, enrolment, report, target
from tests.support.people import CANARY, DAY0


def image(version: str, counter: int, **changes: Any) -> Image:
    """The facts of one image; further keywords replace fields."""
    made = Image(
        product=PRODUCT,
        version=version,
        hardware_ids=(HARDWARE,),
        release_counter=counter,
        raises_floor_to=0,
        min_counter_installed=0,
        update_class=UpdateClass(type="feature", urgency="routine"),
        markets=("DE",),
        support_end="2040-01-01",
        udi_di=None,
        slots=(Slot(name="rootfs", length=1, sha256="0" * 64),),
        references=(),
    )
    return msgspec.structs.replace(made, **changes)


def listed(counter: int, *, file: str = "image.img", length: int = 1024, **changes: Any) -> Listed:
    """Version ``<counter>.0.0``, as ``tests.support.papers.target`` names it."""
    version = f"{counter}.0.0"
    path = f"{PRODUCT}/{version}/{file}"
    return Listed(path, length, digest(path), image(version, counter, **changes))


def gone(counter: int, **changes: Any) -> Past:
    """The same, taken back."""
    [past] = Catalogue(PRODUCT, (listed(counter, **changes),)).every
    return replace(past, withdrawn=True)


def catalogue(*images: Listed, gone: tuple[Past, ...] = ()) -> Catalogue:
    """A product that released these."""
    return Catalogue(PRODUCT, images, gone)


def told(device: str, version: str, **fields: Any) -> Opened[Report]:
    """What a device signs that runs a version."""
    running = Running(slot="a", sha256=target(version).sha256, version=version)
    return report(enrolment(device), **{"running": running} | fields)


def seen(
    device: str,
    runs: int | None = None,
    *,
    heard_at: datetime | None = DAY0,
    excluded: str | None = None,
    hardware: str = HARDWARE,
    cohort: str = CANARY,
    site: str = "ward-7",
    **fields: Any,
) -> Seen:
    """A gateway that runs version ``<runs>.0.0``, or that never reported."""
    signed = enrolment(device, hardware=hardware, cohort=cohort, site=site)
    said = None
    if runs is not None:
        said = told(device, f"{runs}.0.0", at=heard_at, cohort=cohort, **fields).said
    return Seen(
        device=device,
        enrolment=signed.id,
        product=PRODUCT,
        hardware=hardware,
        site=site,
        cohort=cohort,
        report=said,
        heard_at=heard_at if said is not None else None,
        excluded=excluded,
    )
