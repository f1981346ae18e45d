"""A Store as it would be: writes are kept in memory, and put into the real one together (I/O).

Rules:

1. What is put here is seen by whoever reads here, over what the Store below holds; nothing of it
   is in the Store below before ``write``.
2. ``write`` puts the same bytes in the order in which they came, so what was looked at here is
   what readers get in the end, and immutable objects still come before the heads that lead to
   them. A head that is replaced twice is written twice, each time in its place: what comes
   between may need the first. The same bytes again are no write.
3. Only metadata is kept in memory. A stream goes straight through: nothing leads to a target yet.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import IO

from interlock_core.errors import ConflictError, NotFoundError
from interlock_core.store import Store, check_key


class Overlay:
    """A ``Store`` over another one (rule 1).

    Args:
        below: is read, and written by ``write`` alone.
    """

    def __init__(self, below: Store) -> None:
        self._below = below
        # What readers see here: of each key the newest.
        self._kept: dict[str, bytes] = {}
        # What is not in the Store below yet, in the order in which it came.
        self._writes: deque[Callable[[], None]] = deque()

    def write(self) -> None:
        """Put everything into the Store below (rule 2).

        Safe to call again after a failure: it goes on where it stopped, so that no head goes back.

        Raises:
            ConflictError: other bytes stand there.
            TransientError: the Store failed; what was put stays.
        """
        while self._writes:
            self._writes[0]()
            self._writes.popleft()

    def put_new(self, key: str, data: bytes) -> None:
        """As ``Store.put_new``."""
        check_key(key)
        try:
            there = self.get(key)
        except NotFoundError:
            self._kept[key] = data
            self._writes.append(partial(self._below.put_new, key, data))
            return
        if there != data:
            raise ConflictError(f"The store holds other bytes at {key}: nothing was written.")

    def put_new_stream(
        self, key: str, chunks: Iterable[bytes] | IO[bytes], *, length: int, sha256: str
    ) -> None:
        """As ``Store.put_new_stream``, into the Store below (rule 3)."""
        self._below.put_new_stream(key, chunks, length=length, sha256=sha256)

    def replace(self, key: str, data: bytes) -> None:
        """As ``Store.replace``."""
        check_key(key)
        if self._kept.get(key) != data:
            self._kept[key] = data
            self._writes.append(partial(self._below.replace, key, data))

    def get(self, key: str) -> bytes:
        """As ``Store.get``."""
        kept = self._kept.get(key)
        return self._below.get(key) if kept is None else kept

    def open(self, key: str) -> IO[bytes]:
        """As ``Store.open``."""
        kept = self._kept.get(key)
        return self._below.open(key) if kept is None else io.BytesIO(kept)

    def size(self, key: str) -> int:
        """As ``Store.size``."""
        kept = self._kept.get(key)
        return self._below.size(key) if kept is None else len(kept)

    def list(self, prefix: str) -> list[str]:
        """As ``Store.list``."""
        kept = {key for key in self._kept if key.startswith(prefix)}
        return sorted(kept.union(self._below.list(prefix)))
