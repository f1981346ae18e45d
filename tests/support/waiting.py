"""Waiting for what another process does, where nothing tells when it is done."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 120.0


def wait_for(what: Callable[[], object]) -> None:
    """Wait until something holds, which it does soon or never."""
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)
