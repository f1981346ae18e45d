"""Bytes that were uploaded and are not published yet (I/O).

Rules:

1. They lie outside the Store, one directory for each publication, one file for each target, named
   by its digest; a file is there only whole and verified.
2. What is left of a publication that is over is swept; nothing of a waiting one ever is.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import IO, Final

from interlock_core import durable

ABANDONED_SECONDS: Final = 86_400.0
"""After this long a temporary file belongs to no upload that is still running."""

_log = logging.getLogger(__name__)


class Pending:
    """The pending directory.

    Args:
        root: made when the first upload comes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, publication: str, sha256: str) -> Path:
        """Where the bytes of one target wait."""
        return self.root / publication / sha256

    def has(self, publication: str, sha256: str, length: int) -> bool:
        """Whether they are there.

        Raises:
            TransientError: the disk cannot be read.
        """
        path = self.path(publication, sha256)
        with durable.translated("look at", path):
            try:
                return path.stat().st_size == length
            except FileNotFoundError:
                return False

    def put(self, publication: str, sha256: str, body: IO[bytes], length: int) -> None:
        """Take them from a stream, verified (rule 1).

        Raises:
            RefusedError: ``hash_mismatch``: nothing was kept.
            TransientError: the disk failed, or the stream broke off: nothing was kept.
        """
        path = self.path(publication, sha256)
        durable.mkdir(path.parent, 0o700)
        durable.create_from(path, body, length=length, sha256=sha256, mode=0o600)

    def clear(self, publication: str) -> None:
        """Forget a publication that is over (rule 2).

        What cannot be removed is logged, and found by the next ``sweep``.
        """
        directory = self.root / publication
        try:
            shutil.rmtree(directory)
        except FileNotFoundError:
            return
        except OSError as e:
            _log.warning("what is left of %s could not be removed: %s", publication[:12], e)

    def sweep(self, waiting: Collection[str]) -> None:
        """Remove what crashes left, and everything of publications that do not wait (rule 2).

        Raises:
            TransientError: the disk failed.
        """
        if not self.root.is_dir():
            return
        durable.sweep(self.root, before=time.time() - ABANDONED_SECONDS)
        with durable.translated("sweep", self.root):
            names = [path.name for path in self.root.iterdir() if path.is_dir()]
        for name in set(names) - set(waiting):
            self.clear(name)
