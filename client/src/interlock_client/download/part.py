"""A part of a file from one server, not too slowly and not too fast (I/O).

Rules:

1. What ``ranges`` says of answers holds. No more than was announced, and never more than is
   wanted, is read.
2. The window in which the least rate is judged moves with the bytes. It counts the time that is
   spent waiting for the server: a slow disk, or a pause of our own, is not the server's fault.
3. All of it ends when the run does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from interlock_client.deadline import Deadline, Monotonic
from interlock_client.download.ranges import (
    Asked,
    Begins,
    NoAnswer,
    OtherLength,
    strong,
    understood,
)
from interlock_client.download.rate import LeastRate, Pace
from interlock_client.servers import HttpStatusError, Limits, Response
from interlock_core.errors import RefusedError, TransientError
from interlock_core.facts import TargetInfo

_SAID: Final = ("Content-Length", "Content-Range")


@dataclass(frozen=True)
class Flow:
    """Clocks and rates of one run.

    Attributes:
        ends: when it ends, by ``monotonic`` (rule 3).
        pace: how fast bytes may come.
        monotonic: seconds.
        pause: waits for seconds.
    """

    ends: float
    pace: Pace
    monotonic: Monotonic = time.monotonic
    pause: Callable[[float], None] = field(default=time.sleep)

    @classmethod
    def beginning(cls, seconds: float, pace: Pace) -> Flow:
        """That of a run of so many seconds which begins now."""
        return cls(time.monotonic() + seconds, pace)

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.monotonic() >= self.ends


class Source(Protocol):
    """What is needed of a ``Server``."""

    @property
    def url(self) -> str:
        """Its base URL."""

    @property
    def limits(self) -> Limits:
        """How long it may take."""

    def opened(
        self, path: str, headers: Mapping[str, str], deadline: Deadline
    ) -> AbstractContextManager[Response]:
        """As ``Server.opened``."""

    def deadline(self, at: float, says: str, monotonic: Monotonic) -> Deadline:
        """As ``Server.deadline``."""

    def no_answer(self, path: str, response: Response) -> HttpStatusError:
        """As ``Server.no_answer``."""


def url_path(path: str, info: TargetInfo) -> str:
    """Where a target lies on every server (consistent snapshots: the digest is in the name)."""
    folder, _, name = path.rpartition("/")
    return f"/image/targets/{folder}/{info.hashes['sha256']}.{name}"


def later(there: int, length: int) -> TransientError:
    """The error that ends a run whose time is over."""
    return TransientError(
        f"{there} of {length} bytes are there, and the time of one run is over: the next one goes "
        "on.",
        reason="network",
    )


class Part:
    """An answer whose body was not read yet.

    Attributes:
        offset: of its first byte in the file.
        etag: the strong validator that came with it, or None.
    """

    def __init__(
        self, response: Response, begins: Begins, rate: LeastRate, watch: _Watch, flow: Flow
    ) -> None:
        self.offset = begins.offset
        self.etag = strong(response.headers.get("ETag"))
        self._response = response
        self._left = begins.count
        self._rate = rate
        self._watch = watch
        self._flow = flow

    def chunks(self, most: int) -> Iterator[bytes]:
        """What comes, up to ``most`` bytes (rule 1)."""
        left = min(self._left, most)
        flow, rate, watch = self._flow, self._rate, self._watch
        size = flow.pace.read_size
        while left > 0:
            began = flow.monotonic()
            watch.until(began + rate.due - watch.waited)
            chunk = self._response.read1(min(size, left))
            watch.waited += flow.monotonic() - began
            if not chunk:
                return
            watch.until(flow.ends)
            rate.came(len(chunk), watch.waited)
            left -= len(chunk)
            yield chunk
            flow.pace.came(len(chunk))


class _Watch:
    """The deadline of one exchange, and how long the server was waited for."""

    def __init__(self, deadline: Deadline, flow: Flow, slow: str, long: str) -> None:
        self.waited = 0.0
        self._deadline = deadline
        self._ends = flow.ends
        self._slow = slow
        self._long = long

    def until(self, at: float) -> None:
        """End the exchange at this time, or when the run ends."""
        if at < self._ends:
            self._deadline.move(at, self._slow)
        else:
            self._deadline.move(self._ends, self._long)


@contextmanager
def opened(server: Source, path: str, asked: Asked, flow: Flow) -> Iterator[Part]:
    """Ask a server for a part.

    Raises:
        HttpStatusError: it has no such part.
        RefusedError: ``hash_mismatch``: it announces another length than was signed.
        TransientError: ``network``: it broke off, is too slow, or talks nonsense.
    """
    limits = server.limits
    least, window = limits.image_bytes_per_second, limits.image_window_seconds
    rate = LeastRate(least, window, 0.0)
    slow = f"it brought less than {least} bytes a second for {window:.0f} s"
    long = "the time of one run is over, and the next one goes on"
    began = flow.monotonic()
    deadline = server.deadline(min(began + rate.due, flow.ends), slow, flow.monotonic)
    watch = _Watch(deadline, flow, slow, long)
    watch.until(began + rate.due)
    url = server.url + path
    with server.opened(path, asked.headers(), deadline) as response:
        watch.waited = flow.monotonic() - began
        headers = {name: response.headers.get(name) for name in _SAID}
        match understood(asked, response.status, headers):
            case OtherLength(length):
                raise RefusedError(
                    f"{url} is announced as {length} bytes, and {asked.length} were signed.",
                    reason="hash_mismatch",
                )
            case NoAnswer(None):
                raise server.no_answer(path, response)
            case NoAnswer(why):
                raise TransientError(f"{url} {why}: try another server.", reason="network")
            case Begins() as begins:
                yield Part(response, begins, rate, watch, flow)
