"""A server within the process, for downloads: it cuts, lies and changes its mind as it is told."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from interlock_client.deadline import Deadline
from interlock_client.download.fetch import Terms, Wanted, fetch
from interlock_client.download.part import Flow
from interlock_client.download.patched import Patch
from interlock_client.download.rate import Pace
from interlock_client.install.destination import Destination
from interlock_client.journal import Came
from interlock_client.servers import HttpStatusError, Limits, Response
from interlock_core.errors import TransientError
from interlock_core.facts import TargetInfo
from tests.support.deltas import delta_of
from tests.support.people import DAY0

LIMITS = Limits()
PIECE = 1 << 16
"""Bytes that come at once, at most."""


class Body:
    """An answer."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes, cut: int) -> None:
        self.status = status
        self.headers = headers
        self.closed = False
        self._data = data
        self._left = cut

    def read(self, amt: int, /) -> bytes:
        return self.read1(amt)

    def read1(self, amt: int, /) -> bytes:
        if not self._data:
            return b""
        if self._left == 0:
            raise TransientError("The network went away.", reason="network")
        count = min(amt, self._left, PIECE)
        piece, self._data = self._data[:count], self._data[count:]
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        self.closed = True


@dataclass
class Pretend:
    """One server.

    Attributes:
        data: what it has, None for a network that is away.
        delta: what it has of deltas, or the status that it answers instead.
        etag: its validator.
        cuts: after how many bytes each of its answers breaks off; honest after the last.
        ranges: whether it knows of ranges.
        asked: the headers of each request.
        sent: bytes of bodies, as far as they were read.
    """

    url: str
    data: bytes | None
    delta: bytes | int | None = 404
    etag: str | None = '"one"'
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0
    limits: Limits = LIMITS

    def deadline(self, at: float, says: str, monotonic: Callable[[], float]) -> Deadline:
        return Deadline(at, says, lambda: None, monotonic)

    def no_answer(self, path: str, response: Response) -> HttpStatusError:
        return HttpStatusError(self.url + path, response.status)

    @contextmanager
    def opened(self, path: str, headers: Mapping[str, str], deadline: Deadline) -> Iterator[Body]:
        assert path.startswith("/image/targets/")
        assert deadline.says
        self.asked.append(dict(headers))
        data = self.delta if path.endswith(".delta") else self.data
        if data is None:
            raise TransientError("Nobody is there.", reason="network")
        if isinstance(data, int):
            yield Body(data, {}, b"", 0)
            return
        status, said, body = 200, {"Content-Length": str(len(data))}, data
        if self.etag is not None:
            said["ETag"] = self.etag
        valid = headers.get("If-Range", self.etag) == self.etag
        if "Range" in headers and self.ranges and valid:
            first, last = map(int, headers["Range"].removeprefix("bytes=").split("-"))
            last = min(last, len(data) - 1)
            if first > last:
                status, said, body = 416, {}, b""
            else:
                status, body = 206, data[first : last + 1]
                said |= {
                    "Content-Length": str(len(body)),
                    "Content-Range": f"bytes {first}-{last}/{len(data)}",
                }
        answer = Body(status, said, body, self.cuts.pop(0) if self.cuts else 1 << 60)
        try:
            yield answer
        finally:
            self.sent += len(body) - len(answer._data)  # its own


class Clock:
    """Time that passes only when it is told to, or waited for."""

    def __init__(self) -> None:
        self.seconds = time.monotonic()
        self.now = DAY0

    def monotonic(self) -> float:
        return self.seconds

    def pause(self, seconds: float) -> None:
        self.seconds += seconds


class Desk:
    """Downloads of ``image`` into one file.

    Attributes:
        image: what was signed.
        place: where it goes.
    """

    def __init__(self, directory: Path, image: bytes, *, segment: int = 100) -> None:
        self.image = image
        self.place = directory / "slot"
        self.record = directory / "transfer.json"
        self.clock = Clock()
        self.segment = segment
        self.order = "a" * 64
        self.budget: int | None = None
        self.seen: list[tuple[int, int]] = []
        self.patches: tuple[Patch, ...] = ()

    def wanted(self, image: bytes) -> Wanted:
        info = TargetInfo(len(image), {"sha256": hashlib.sha256(image).hexdigest()})
        return Wanted("ward-gateway/1.0.0/image.bin", info, self.order, self.patches)

    def offer(self, old: bytes, new: bytes, *, said: bytes | None = None) -> bytes:
        """Offer a delta from what a slot beside this one holds; returns its bytes.

        Args:
            old, new, said: as ``delta_of`` takes them.
        """
        source = self.place.with_name("running")
        source.write_bytes(old)
        data, facts = delta_of(old, new, said=said)
        info = TargetInfo(len(data), {"sha256": hashlib.sha256(data).hexdigest()})
        path = "ward-gateway/1.0.0/image.bin.from-0.9.0.delta"
        self.patches = (Patch(path, info, facts, Destination(source)),)
        return data

    def run(self, *servers: Pretend, aside: bool = False, place: Path | None = None) -> Came:
        """One run."""
        clock = self.clock
        flow = Flow(clock.seconds + 3600, Pace(None), clock.monotonic, clock.pause)
        terms = Terms(
            record=self.record,
            budget_bytes=self.budget,
            now=lambda: clock.now,
            flow=flow,
            progress=lambda done, whole: self.seen.append((done, whole)),
            segment=self.segment,
            aside=aside,
        )
        return fetch(self.wanted(self.image), servers, Destination(place or self.place), terms)
