"""Whom an order would reach, as people and machines read it (pure).

Rules:

1. Every number is of gateways that the server shows; who is out of reach is named.
2. Who a share of a small cohort means is named, also where it means nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import RenderableType

from interlock_core.forecast import Forecast, Missed, StageForecast
from interlock_core.order import Order
from interlock_ops.show import columns, fact, heading, line
from interlock_ops.units import show_percent, show_size

SHOWN: Final = 5
"""So many gateways or sites are named in one line; ``--json`` names more."""
WORDS: Final[Mapping[str, str]] = {
    "barrier_not_met": "a barrier that nothing in the order leads past",
    "below_floor": "below what they may go to, without a permit",
    "held": "their hospital holds updates back",
    "no_report": "they never reported",
    "silent": "not heard for longer than the deadline",
    "unknown_image": "what runs there was never released",
    "wrong_hardware": "nothing in the order is for their hardware",
    "wrong_market": "not cleared for their market",
}
FIELDS: Final = {
    "forecast": "total, versions, outside (by cohort), dead_ends (hardware, counter, gateways), "
    "stages (stage, devices, installed, steps, bytes, by_site, by_cohort, missed, means); null "
    "where the devices were not read",
}


def forecast_facts(found: Forecast) -> dict[str, Any]:
    """For machines."""
    return {
        "total": found.total,
        "versions": dict(sorted(found.versions.items())),
        "outside": dict(sorted(found.outside.items())),
        "dead_ends": [
            {"hardware": start.hardware, "counter": start.counter, "gateways": count}
            for start, count in sorted(found.dead_ends.items())
        ],
        "stages": [
            {
                "stage": one.number,
                "devices": one.devices,
                "installed": one.installed,
                "steps": one.steps,
                "bytes": one.size,
                "by_site": dict(sorted(one.by_site.items())),
                "by_cohort": dict(sorted(one.by_cohort.items())),
                "missed": {
                    reason: {"count": missed.count, "named": missed.named}
                    for reason, missed in sorted(one.missed.items())
                },
                "means": one.means,
            }
            for one in found.stages
        ],
    }


def forecast_lines(found: Forecast, order: Order) -> list[RenderableType]:
    """For people: one row for each stage, then who is out of reach and why."""
    rows = [("stage", "gateways", "there already", "out of reach", "bytes", "sites")]
    rows += [
        (
            str(one.number),
            str(one.devices),
            str(one.installed),
            str(sum(missed.count for missed in one.missed.values())),
            show_size(one.size),
            _sites(one),
        )
        for one in found.stages
    ]
    runs = ", ".join(f"{count} run {version}" for version, count in found.versions.most_common())
    shown: list[RenderableType] = [
        heading("Whom it would reach, by what gateways said last:"),
        *columns(rows),
        fact("gateways", f"{found.total}{': ' + runs if runs else ''}"),
    ]
    for one in found.stages:
        shown += [
            fact(f"stage {one.number}", f"{_missed(missed)}: {WORDS.get(reason, reason)}")
            for reason, missed in sorted(one.missed.items())
        ]
        if one.steps:
            shown.append(fact(f"stage {one.number}", f"{one.steps} go by a step first"))
        share = show_percent(order.stages[one.number].basis_points)
        shown += [
            fact(f"stage {one.number}", f"{share} of {cohort} means {_named(means) or 'nobody'}")
            for cohort, means in sorted(one.means.items())
        ]
    for cohort, count in sorted(found.outside.items()):
        shown.append(fact("outside", f"{count} of {cohort}: no stage of the order has them inside"))
    for start, count in sorted(found.dead_ends.items()):
        text = f"{count} with the hardware {start.hardware} at counter {start.counter}"
        shown.append(line(f"  {'dead end':<12} {text} cannot get to what is wanted", "yellow"))
    return shown


def _missed(missed: Missed) -> str:
    return f"{missed.count} out of reach ({_named(missed.named, missed.count)})"


def _sites(one: StageForecast) -> str:
    ranked = [f"{site} {count}" for site, count in sorted(one.by_site.items())]
    return _named(ranked) or "-"


def _named(names: Iterable[str], count: int | None = None) -> str:
    every = list(names)
    left = (count if count is not None else len(every)) - min(len(every), SHOWN)
    return ", ".join(every[:SHOWN]) + (f" and {left} more" if left > 0 else "")
