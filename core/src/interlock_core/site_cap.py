"""How far installations must be spread so that few gateways of a site go at once (pure).

Rules (docs/adr/0012):

1. No gateway knows its neighbours, so nothing here is enforced by one: what they enforce is the
   order's ``spread_seconds``, by a hash of order and device (``placement``). A cap is turned into a
   spread, with a probability that it is kept.
2. Within a spread of S seconds each gateway begins at a moment of its own, all alike and none
   knowing of another. Over the worst moment the bound is a union bound: for each gateway, the
   probability that at least ``cap`` others begin within the time that an installation takes before
   it. It says too much rather than too little.
3. A hard cap takes a stage of its own, which people open.
"""

from __future__ import annotations

from math import comb
from typing import Final

MAX_SPREAD_SECONDS: Final = 90 * 86_400
"""The longest that an order may say."""


def breach(devices: int, cap: int, install_seconds: int, spread_seconds: int) -> float:
    """At most how probable it is that more than ``cap`` install at once (rule 2).

    Args:
        devices: gateways of the site that are inside.
        cap: how many may install at once, from 1.
        install_seconds: how long one takes, reboot and health checks included.
        spread_seconds: the order's.

    Raises:
        ValueError: a number that makes no sense.
    """
    if devices < 0 or cap < 1 or install_seconds < 1 or spread_seconds < 0:
        raise ValueError("devices from 0, a cap and an installation from 1, a spread from 0")
    if devices <= cap:
        return 0.0
    if spread_seconds <= install_seconds:
        return 1.0
    share, others = install_seconds / spread_seconds, devices - 1
    fewer = sum(
        comb(others, number) * share**number * (1 - share) ** (others - number)
        for number in range(cap)
    )
    return min(1.0, devices * max(0.0, 1.0 - fewer))


def needed_spread(
    devices: int, cap: int, install_seconds: int, probability: float = 0.01
) -> int | None:
    """The least spread under which a breach is at most so probable; None if none is long enough.

    Args:
        devices: as ``breach`` takes them.
        cap: likewise.
        install_seconds: likewise.
        probability: of a breach, above 0.

    Returns:
        Seconds, to the minute.

    Raises:
        ValueError: a number that makes no sense.
    """
    if not 0 < probability < 1:
        raise ValueError("a probability lies between 0 and 1")
    if breach(devices, cap, install_seconds, 0) <= probability:
        return 0
    if breach(devices, cap, install_seconds, MAX_SPREAD_SECONDS) > probability:
        return None
    low, high = 0, MAX_SPREAD_SECONDS // 60
    while high - low > 1:
        middle = (low + high) // 2
        if breach(devices, cap, install_seconds, middle * 60) <= probability:
            high = middle
        else:
            low = middle
    return high * 60
