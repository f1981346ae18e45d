"""Where the bytes of a download go: each is hashed and written once (I/O).

Rules:

1. One pass: a byte that arrives is hashed and written where it belongs, and not read again, unless
   a download is gone on with: then what is kept is read and hashed once, before anything is asked
   for.
2. After each segment the bytes are flushed, and only then the record says that they are kept. Both
   happen beside the receiving of the next segment; at most one segment waits for the disk.
3. A server that sends everything again from the beginning is compared with what is there, and
   written from the first difference on: what is right is kept and not worn.
4. Memory is bounded: small pieces are gathered up to ``GATHERED`` bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Self

from interlock_client.context import Progress
from interlock_client.deadline import Monotonic
from interlock_client.install.destination import Writer
from interlock_core.facts import TargetInfo

SEGMENT: Final = 8 * 1024 * 1024
SEGMENT_SECONDS: Final = 30.0
"""A segment ends after this time too, so that a thin link does not lose more by a power cut."""
GATHERED: Final = 256 * 1024

_SIGNED: Final = frozenset({"sha224", "sha256", "sha384", "sha512"})


class Behind:
    """Does one thing at a time beside its caller; a context manager.

    Args:
        aside: in a thread; otherwise at once, for whoever must know in which order things happen.
    """

    def __init__(self, *, aside: bool = True) -> None:
        self._aside = aside
        self._thread: ThreadPoolExecutor | None = None
        self._act: Future[None] | None = None

    def do(self, act: Callable[[], None]) -> None:
        """Begin ``act`` when the one before it has ended; raise what that raised."""
        self.wait()
        if not self._aside:
            act()
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="flush")
        self._act = self._thread.submit(act)

    def wait(self) -> None:
        """Wait until the last act has ended; raise what it raised."""
        act, self._act = self._act, None
        if act is not None:
            act.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown()


class Sink:
    """The bytes of one target, from its beginning.

    Every method raises ``TransientError`` when the disk fails.

    Args:
        writer: the open destination.
        info: what was signed.
        keep: makes durable that so many bytes, with this SHA-256, are kept; called beside others.
        behind: does it.
        monotonic: seconds.
        segment: bytes after which it is done.
        progress: told how many bytes of how many are there.
    """

    def __init__(
        self,
        writer: Writer,
        info: TargetInfo,
        keep: Callable[[int, str], Callable[[], None]],
        behind: Behind,
        *,
        monotonic: Monotonic,
        segment: int,
        progress: Progress,
    ) -> None:
        self._writer = writer
        self._info = info
        self._keep = keep
        self._behind = behind
        self._monotonic = monotonic
        self._segment = segment
        self._gather = min(GATHERED, segment)
        self._progress = progress
        self._digests = _fresh(info)
        self._taken = 0
        self._gathered = bytearray()
        self._marked = 0
        self._marked_at = monotonic()
        self._there = 0
        self._aside: tuple[int, Mapping[str, hashlib._Hash]] | None = None

    @property
    def length(self) -> int:
        """How many bytes the whole has, as signed."""
        return self._info.length

    @property
    def offset(self) -> int:
        """How many bytes are there, from the beginning."""
        return self._taken + len(self._gathered)

    def go_on(self, kept: int, sha256: str) -> int:
        """Hash what is kept (rule 1), if it is still what was written there.

        Returns:
            How much of it counts: all, or nothing.
        """
        while self._taken < kept:
            piece = self._writer.read(self._taken, min(GATHERED, kept - self._taken))
            if not piece:
                break
            self._hash(piece)
            self._taken += len(piece)
            self._progress(self._taken, self._info.length)
        if self._taken != kept or self._digests["sha256"].hexdigest() != sha256:
            self.restart()
        self._writer.offset = self._marked = self._taken
        return self._taken

    def put(self, piece: bytes) -> None:
        """Take the bytes that follow."""
        if not self._gathered and len(piece) >= self._gather // 4:
            self._take(piece)
            return
        self._gathered += piece
        if len(self._gathered) >= self._gather:
            self._drain()

    def rewind(self) -> None:
        """What comes next begins at the beginning again (rule 3)."""
        self._drain()
        self._aside = self._taken, self._digests
        self._there, self._taken, self._digests = self._taken, 0, _fresh(self._info)

    def settle(self) -> bool:
        """Nothing comes for now: be where the bytes end that are there.

        Returns:
            Whether a comparison was given up before it came to what is new.
        """
        self._drain()
        if self._aside is None:
            return False
        self._taken, self._digests = self._aside
        self._writer.offset = self._taken
        self._aside = None
        return True

    def restart(self) -> None:
        """Drop everything."""
        self._gathered.clear()
        self._aside = None
        self._taken = self._marked = self._writer.offset = 0
        self._digests = _fresh(self._info)

    def mark(self) -> None:
        """Begin to make durable what is there (rule 2)."""
        self._drain()
        note = self._keep(self._taken, self._digests["sha256"].copy().hexdigest())

        def act() -> None:
            self._writer.flush()
            note()

        self._behind.do(act)
        self._marked, self._marked_at = self._taken, self._monotonic()

    def disagrees(self) -> str | None:
        """Which of the signed hashes the whole does not have, or None."""
        self._drain()
        for name, digest in self._digests.items():
            if digest.hexdigest() != self._info.hashes[name]:
                return name
        return None

    def finish(self) -> None:
        """Make durable that all of it is there."""
        self._drain()
        self._behind.wait()
        note = self._keep(self._taken, self._digests["sha256"].hexdigest())
        self._writer.finish()
        note()

    def _drain(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self._take(gathered)

    def _take(self, piece: bytes | bytearray) -> None:
        with memoryview(piece) as whole:
            rest = self._compared(whole) if self._aside is not None else whole
            if rest:
                self._hash(rest)
                self._writer.write(rest)
                self._taken += len(rest)
        self._progress(self._taken, self._info.length)
        if self._aside is None and self._taken < self._info.length:
            full = self._taken - self._marked >= self._segment
            late = self._monotonic() - self._marked_at >= SEGMENT_SECONDS
            if full or late:
                self.mark()

    def _compared(self, piece: memoryview) -> memoryview:
        """What of ``piece`` has to be written, after what is there already."""
        count = min(len(piece), self._there - self._taken)
        known = piece[:count]
        if self._writer.read(self._taken, count) != known:
            # From here on the bytes of this server take the place of those that were there.
            self._aside = None
            self._writer.offset = self._taken
            self.mark()
            self._behind.wait()
            return piece
        self._hash(known)
        self._taken += count
        if self._taken == self._there:
            self._aside = None
            self._writer.offset = self._taken
        return piece[count:]

    def _hash(self, piece: bytes | memoryview) -> None:
        for digest in self._digests.values():
            digest.update(piece)


def _fresh(info: TargetInfo) -> Mapping[str, hashlib._Hash]:
    return {name: hashlib.new(name) for name in info.hashes if name in _SIGNED}
