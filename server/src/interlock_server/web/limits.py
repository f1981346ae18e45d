"""How often one address may call without a token: a bucket for each.

Rules:

1. An address has a bucket for logins and one for whatever else needs no token. Each holds as many
   tokens as the settings allow in a minute, and fills again at that rate; a call takes one.
2. An empty bucket refuses (429 ``too_many_requests``) and says when there will be one again. What
   is refused here costs no look at a signature, nor at the database.
3. The address is the peer's; of a trusted proxy, the last that it names in ``X-Forwarded-For``.
   This machine itself, asked without a proxy, is not limited: the demo, a monitor and an operator
   at the console would else share one bucket.
4. Of IPv6 the /64 counts: whoever has one address there has all of them.
5. Buckets are kept in the memory of one process, for the addresses that called last: with N
   processes an address has N times as much. What limits better stands before the server (nginx).
"""

from __future__ import annotations

import ipaddress
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

MAX_ADDRESSES: Final = 20_000
LOGIN: Final = "login"
OPEN: Final = "open"


def address_of(peer: str | None, forwarded: str | None, trusted: Collection[str]) -> str | None:
    """Whose calls are counted together; None for this machine itself (rules 3 and 4)."""
    named = forwarded.rpartition(",")[2].strip() if forwarded and peer in trusted else None
    try:
        address = ipaddress.ip_address(named or peer or "")
    except ValueError:
        # A proxy that names nobody is the one that calls.
        return peer or "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif not address.is_loopback:
            return str(ipaddress.ip_network((int(address), 64), strict=False))
    return None if address.is_loopback and named is None else str(address)


@dataclass
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """The buckets of one process.

    Args:
        per_minute: by kind, how many calls a minute an address may make.
        monotonic: seconds, from whenever.
    """

    def __init__(self, per_minute: Mapping[str, int], monotonic: Callable[[], float]) -> None:
        self._per_minute = dict(per_minute)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def take(self, address: str, kind: str) -> int:
        """Take a token; in how many seconds to come again, 0 if it was there (rules 1 and 2)."""
        room = float(self._per_minute[kind])
        now = self._monotonic()
        with self._lock:
            bucket = self._buckets.pop((address, kind), None) or _Bucket(room, now)
            bucket.tokens = min(room, bucket.tokens + (now - bucket.at) * room / 60)
            bucket.at = now
            self._buckets[address, kind] = bucket
            while len(self._buckets) > MAX_ADDRESSES:
                self._buckets.popitem(last=False)
            if bucket.tokens >= 1:
                bucket.tokens -= 1
                return 0
            return math.ceil((1 - bucket.tokens) * 60 / room)
