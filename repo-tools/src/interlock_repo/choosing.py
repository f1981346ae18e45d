"""Which parts of an old image a segment of the new one is read with (pure but for its readers).

The smaller they are, the less memory a gateway needs; the better they are chosen, the smaller is
the delta. Rules:

1. An old image is known by two indexes: of its blocks, for file systems, which lie at multiples of
   4 KiB wherever they moved; and of what follows certain pairs of bytes, for archives and
   compressed file systems, in which everything moves by any number of bytes. Both are bounded:
   of a larger image fewer blocks are known.
2. Each block or anchor of the segment that the old image holds speaks for the page that it lies
   on. The pages with the most voices are taken, as many as a prefix may hold.
3. Where they do not hold nearly all of the segment, there is something new in it, and that is most
   often like what was near: the pages beside those that were taken, then those around the place
   where the segment would be, moved as far as the last one was.
4. The choice follows from the bytes of both images alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from interlock_core.delta import MAX_PREFIX, MAX_RANGES, MIN_PREFIX, Range

Read = Callable[[int, int], bytes]
"""Bytes of an image: from where, how many."""

PAGE: Final = MAX_PREFIX // MAX_RANGES
BLOCK: Final = 4096
MAX_BLOCKS: Final = 256 * 1024
"""How many blocks of an old image are known at most (rule 1): all of one of 1 GiB."""
PAIRS: Final = (b"\x5a\xc3", b"\xe7\xc3", b"\x91\xc3", b"\x3d\xc3")
ANCHOR: Final = 34
"""How many bytes an anchor is, its pair included."""
CHUNK: Final = 1024 * 1024
NEARLY_ALL: Final = 98
"""Percent."""


class Chooser:
    """Chooses for the segments of one image, in their order.

    Args:
        read: reads the old image.
        length: its bytes.
    """

    def __init__(self, read: Read, length: int) -> None:
        self._length = length
        self._blocks: dict[int, int] = {}
        self._anchors: dict[int, int] = {}
        self._moved = 0
        step = BLOCK * -(-length // (BLOCK * MAX_BLOCKS))
        for start in range(0, length, CHUNK):
            chunk = read(start, min(CHUNK + ANCHOR, length - start))
            first = -start % step
            for at in range(first, min(CHUNK, len(chunk)), step):
                self._blocks.setdefault(hash(chunk[at : at + BLOCK]), start + at)
            if len(self._anchors) < MAX_BLOCKS:
                for at, key in _anchors(chunk):
                    self._anchors.setdefault(key, start + at)

    def choose(self, segment: bytes, at: int) -> tuple[Range, ...]:
        """Ranges of the old image to read a segment with.

        Args:
            segment: of the new image.
            at: where it begins there.
        """
        pages, moves = self._votes(segment, at)
        if moves:
            # Of equals the nearest, so that nothing hangs on an order of counting.
            self._moved = min(moves, key=lambda move: (-moves[move], abs(move), move))
        ranked = sorted(pages, key=lambda page: (-pages[page], page))[:MAX_RANGES]
        taken = set(ranked)
        if sum(pages.values()) * 100 < len(segment) * NEARLY_ALL:
            for page in self._near(ranked, at, len(segment)):
                if len(taken) == MAX_RANGES:
                    break
                taken.add(page)
        return self._ranges(taken)

    def _votes(self, segment: bytes, at: int) -> tuple[Counter[int], Counter[int]]:
        """How much speaks for each page, in bytes, and for each distance (rule 2)."""
        pages: Counter[int] = Counter()
        moves: Counter[int] = Counter()
        for offset in range(0, len(segment), BLOCK):
            found = self._blocks.get(hash(segment[offset : offset + BLOCK]))
            if found is not None:
                pages[found // PAGE] += BLOCK
                moves[found - at - offset] += 1
        for offset, key in _anchors(segment):
            found = self._anchors.get(key)
            if found is not None:
                pages[found // PAGE] += BLOCK // 4
                moves[found - at - offset] += 1
        return pages, moves

    def _near(self, ranked: list[int], at: int, length: int) -> Iterator[int]:
        """Pages that may hold something alike, the likeliest first (rule 3)."""
        first = (at + self._moved) // PAGE
        last = first + -(-length // PAGE) - 1
        beside = [near for page in ranked for near in (page + 1, page - 1)]
        around = [n for d in range(1, MAX_RANGES + 1) for n in (first - d, last + d)]
        for page in (*beside, *range(first, last + 1), *around):
            if 0 <= page * PAGE < self._length:
                yield page

    def _ranges(self, pages: set[int]) -> tuple[Range, ...]:
        ranges: list[Range] = []
        for page in sorted(pages):
            start, end = page * PAGE, min((page + 1) * PAGE, self._length)
            if ranges and sum(ranges[-1]) == start:
                start = ranges.pop()[0]
            ranges.append((start, end - start))
        whole = sum(length for _, length in ranges)
        return tuple(ranges) if whole >= MIN_PREFIX else ()


def _anchors(chunk: bytes) -> Iterator[tuple[int, int]]:
    """Where an anchor lies, and what it is."""
    for pair in PAIRS:
        at = chunk.find(pair)
        while 0 <= at <= len(chunk) - ANCHOR:
            yield at, hash(chunk[at : at + ANCHOR])
            at = chunk.find(pair, at + 1)
