"""The clinical interlock: is now safe for patients? (I/O)

Rules:

1. It fails closed: no answer, no check, no configuration all mean that now is not safe.
2. ``interlock = "none"`` in the configuration is the one way to do without, and is shown wherever
   the gateway says how it stands.
3. It is asked anew for every decision that could change the gateway. It is never forced.
"""

from __future__ import annotations

from typing import Final

from interlock_client import probes
from interlock_client.config import Settings
from interlock_client.probes import Verdict

NONE: Final = "none"


def mode(settings: Settings) -> str:
    """How safety is judged here: ``none``, ``checks``, or ``missing``."""
    if settings.interlock is None:
        return "missing"
    return NONE if settings.interlock == NONE else "checks"


def ask(settings: Settings) -> Verdict:
    """Whether now is safe (rules 1 to 3)."""
    if settings.interlock is None:
        return Verdict(False, "no clinical interlock is configured, so it is never safe")
    if settings.interlock == NONE:
        return Verdict(True, "no clinical interlock: the configuration says none is needed")
    return probes.ask(settings.interlock, "interlock")
