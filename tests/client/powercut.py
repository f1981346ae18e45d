"""The power goes before a change of the disk that was announced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from interlock_core import durable


class PowerCut(BaseException):
    """The power goes."""


def cut(act: Callable[[], object], step: int) -> bool:
    """Run ``act``, and let the power go before its change number ``step``; False if it ended."""
    seen = 0

    def watch(_act: str, _path: Path) -> None:
        nonlocal seen
        seen += 1
        if seen > step:
            # Dead stays dead: nothing that runs on the way out changes anything either.
            raise PowerCut

    try:
        with durable.watching(watch):
            act()
    except PowerCut:
        return True
    return False
