"""Where everything that a gateway reads is kept (I/O).

Rules:

1. A key is the URL path without its leading slash. Its parts have a strict alphabet, begin with
   a letter or digit and hold no ``..``: a key means the same in a URL, a bucket and on a disk.
2. An immutable object (``<n>.<role>.json``, a target) is put once. The same bytes again are
   success; other bytes are a conflict.
3. A head (``timestamp.json``, a poll bundle, a directive's pointer) is replaced atomically, after
   everything that it names.
4. Whatever a reader can use to ask "has it changed?" changes with the bytes. nginx's ETag is the
   modification time in whole seconds plus the length, so ``FileStore`` gives each new version of
   a head a modification time at least one whole second after the one before.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Protocol

from interlock_core import durable
from interlock_core.clock import Clock, system_clock
from interlock_core.errors import ConflictError, NotFoundError, TransientError, WireError

KEY_PART_PATTERN: Final = r"[0-9A-Za-z](?:[0-9A-Za-z_-]|\.(?!\.)){0,219}"
MAX_KEY_LENGTH: Final = 512
MAX_KEY_PARTS: Final = 8

_KEY: Final = re.compile(rf"{KEY_PART_PATTERN}(?:/{KEY_PART_PATTERN}){{0,{MAX_KEY_PARTS - 1}}}\Z")


class Store(Protocol):
    """Objects by key (rule 1). Every method may be called from any process at any time.

    Guarantees of every implementation:

    - A call that returned is durable: a power cut afterwards does not undo it.
    - A call that failed changed nothing that a reader can see.
    - A reader sees a whole object, old or new, never a part of one.
    - Every method raises ``WireError`` (``bad_key``) for what may not be a key, and
      ``TransientError`` when the disk or the network fails.
    """

    def put_new(self, key: str, data: bytes) -> None:
        """Put an immutable object; idempotent for the same bytes (rule 2).

        Raises:
            ConflictError: other bytes stand there.
        """

    def put_new_stream(
        self, key: str, chunks: Iterable[bytes] | IO[bytes], *, length: int, sha256: str
    ) -> None:
        """Put a large immutable object in bounded memory; visible only once verified.

        If the store holds an object of this length and digest already, the stream is not read.

        Args:
            key: where.
            chunks: pieces of bytes, or a file that is read in pieces.
            length: the length that the whole must have, in bytes.
            sha256: the SHA-256 that the whole must have, in lower-case hexadecimal.

        Raises:
            ConflictError: other bytes stand there.
            RefusedError: ``hash_mismatch``: the stream has another length or digest.
        """

    def replace(self, key: str, data: bytes) -> None:
        """Put a head, whatever stood there; its validator changes if the bytes do (rule 4)."""

    def get(self, key: str) -> bytes:
        """All bytes of an object; for small ones.

        Raises:
            NotFoundError: there is none.
        """

    def open(self, key: str) -> IO[bytes]:
        """An object as a file to read and seek in; the caller closes it.

        It stays the same object, even if the head is replaced meanwhile.

        Raises:
            NotFoundError: there is none.
        """

    def size(self, key: str) -> int:
        """The length of an object in bytes.

        Raises:
            NotFoundError: there is none.
        """

    def list(self, prefix: str) -> list[str]:
        """All keys that begin with ``prefix``, sorted."""


def check_key(key: str) -> str:
    """Return ``key`` if it may be one (rule 1).

    Raises:
        WireError: it may not.
    """
    if len(key) > MAX_KEY_LENGTH or _KEY.match(key) is None:
        raise WireError(
            f"{key[:120]!r} is not a store key: use 1 to {MAX_KEY_PARTS} parts of letters, "
            "digits, '.', '_' and '-', separated by '/'.",
            reason="bad_key",
        )
    return key


class FileStore:
    """A ``Store`` in a directory that nginx, or any static file server, can serve as it is.

    Args:
        root: the directory; made with the first object. Files are 0644, directories 0755.
        clock: now; modification times of heads start from it.
    """

    def __init__(self, root: Path, clock: Clock = system_clock) -> None:
        self.root = root
        self._clock = clock

    def path(self, key: str) -> Path:
        """Where the object of a key lies, for those who serve it.

        Raises:
            WireError: ``bad_key``.
        """
        return self.root / check_key(key)

    def put_new(self, key: str, data: bytes) -> None:
        """As ``Store.put_new``."""
        path = self._made(key)
        durable.create(path, data)

    def put_new_stream(
        self, key: str, chunks: Iterable[bytes] | IO[bytes], *, length: int, sha256: str
    ) -> None:
        """As ``Store.put_new_stream``."""
        path = self._made(key)
        durable.create_from(path, chunks, length=length, sha256=sha256)

    def replace(self, key: str, data: bytes) -> None:
        """As ``Store.replace``."""
        path = self._made(key)
        # Two writers that both read the old time would give two contents one time.
        with self._locked():
            mtime = int(self._clock().timestamp())
            try:
                with durable.translated("read", path):
                    old = int(path.stat().st_mtime)
                    unchanged = path.stat().st_size == len(data) and path.read_bytes() == data
            except TransientError as e:
                if not isinstance(e.__cause__, FileNotFoundError):
                    raise
            else:
                if unchanged:
                    return
                mtime = max(mtime, old + 1)
            durable.replace(path, data, mtime=mtime)

    def get(self, key: str) -> bytes:
        """As ``Store.get``."""
        with self.open(key) as file, durable.translated("read", self.path(key)):
            return file.read()

    def open(self, key: str) -> IO[bytes]:
        """As ``Store.open``."""
        path = self.path(key)
        with _missing(key), durable.translated("read", path):
            return path.open("rb")

    def size(self, key: str) -> int:
        """As ``Store.size``."""
        with self.open(key) as file:
            return os.fstat(file.fileno()).st_size

    def list(self, prefix: str) -> list[str]:
        """As ``Store.list``."""
        parent = prefix.rpartition("/")[0]
        start = self.path(parent) if parent else self.root
        keys = []
        with durable.translated("list", start):
            for directory, directories, files in os.walk(start, onerror=_unless_missing):
                directories[:] = [name for name in directories if not name.startswith(".")]
                within = Path(directory).relative_to(self.root)
                keys += [(within / name).as_posix() for name in files if not name.startswith(".")]
        return sorted(key for key in keys if key.startswith(prefix))

    def sweep(self, *, before: float) -> int:
        """Remove what crashes left; see ``durable.sweep``."""
        return durable.sweep(self.root, before=before)

    def _made(self, key: str) -> Path:
        path = self.path(key)
        durable.mkdir(path.parent)
        with durable.translated("write", path):
            if path.is_dir():
                raise ConflictError(f"The key {key} begins other keys: nothing was written.")
        return path

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # The directory itself is the lock: nothing to leave behind, nothing to have rights to.
        with durable.translated("lock", self.root):
            descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with durable.translated("lock", self.root):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _unless_missing(error: OSError) -> None:
    # A directory that cannot be read must not look like an empty one.
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


@contextmanager
def _missing(key: str) -> Iterator[None]:
    try:
        yield
    except TransientError as e:
        if isinstance(e.__cause__, FileNotFoundError | NotADirectoryError | IsADirectoryError):
            raise NotFoundError(f"The store holds nothing at {key}.") from e
        raise
