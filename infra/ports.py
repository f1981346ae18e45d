"""Loopback ports for programs that are told theirs before they run.

The system gives the ports of its own range to whoever asks for any, and to every connection that
goes out: one of these, found free and let go, is somebody else's at times before it is listened on.
So one below that range is taken. Processes that take some at the same moment begin far apart.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

_LOWEST: Final = 10_240
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


@cache
def _ports() -> Iterator[int]:
    """Where this process has got to: it takes none twice in a row."""
    first = int(_RANGE.read_text().split()[0])
    # A machine whose own range begins lower has none: there is nothing better than its own then.
    ports = range(_LOWEST, first) if first > _LOWEST else range(first, 60_000)
    # Process numbers follow one another: a prime that is near the golden section parts them.
    begin = os.getpid() * 13_883 % len(ports)
    return itertools.cycle([*ports[begin:], *ports[:begin]])


def free_port() -> int:
    """A loopback port that nobody listens on now, and that the system gives nobody unasked."""
    for port in itertools.islice(_ports(), 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port of loopback is free")
