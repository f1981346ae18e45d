"""Takes the log's checkpoint along from one contact to the next (I/O).

Rules:

1. A checkpoint is believed by the key in the settings alone, which somebody gave to its owner: a
   server that could say which key is the log's could show another log.
2. It must continue the one that was remembered, by a proof. If it does not, the log has two faces:
   ``log_fork``. Both are kept, create-only, since together they prove it.
3. One that is smaller than the remembered, or none, is refused as ``log_behind``: somebody replays
   an old log, or restored one. What was remembered stays.
4. What is remembered only grows, and is replaced after everything was verified.
5. The newest must be signed by the key that is the log's now. Keys that were before, which somebody
   may have stolen since, vouch for what was remembered or carried, and for nothing new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from securesystemslib.signer import Key

from interlock_core import durable, http
from interlock_core.api import LogProof
from interlock_core.checkpoint import MAX_CHECKPOINT, Checkpoint, verify_checkpoint
from interlock_core.errors import NotFoundError, RefusedError, WireError
from interlock_core.log import CHECKPOINT_KEY, MAX_BUNDLE_BYTES, unpack
from interlock_core.tree import verify_consistency
from interlock_core.wire import sha256_hex

MEMORY: Final = "log-checkpoint"
_BYTES: Final = 4 * MAX_CHECKPOINT


@dataclass(frozen=True)
class Doubt:
    """Why a checkpoint is not of this log.

    Attributes:
        reason: ``log_fork``, by the log's own signature; or ``bad_checkpoint``: the log's key did
            not sign it, which is no evidence against the log.
        detail: goes on a sentence about whoever was shown it.
    """

    reason: Literal["log_fork", "bad_checkpoint"]
    detail: str


class LogView:
    """One fleet's log, as its owner saw it.

    Args:
        api: the server.
        origin: of the log.
        keys: the log's, from the settings (rule 1), and those that were before (rule 5).
        directory: where the newest checkpoint is remembered.
    """

    def __init__(self, api: http.Api, origin: str, keys: Sequence[Key], directory: Path) -> None:
        self._api = api
        self._origin = origin
        self._keys = tuple(keys)
        self._directory = directory

    @cached_property
    def remembered(self) -> str | None:
        """The newest checkpoint that was verified, or None before the first.

        Raises:
            WireError: the file is damaged.
            TransientError: it cannot be read.
        """
        try:
            path = self._directory / MEMORY
            return text_of(durable.read(path, limit=_BYTES, what="remembered checkpoint"))
        except NotFoundError:
            return None

    def look(self) -> str:
        """The newest checkpoint, verified, continuing the remembered one, and remembered.

        Raises:
            RefusedError: ``bad_checkpoint``, ``log_fork`` or ``log_behind`` (rules 1 to 3).
            WireError: ``bad_checkpoint``: the server serves something else.
            TransientError: the server could not be asked, or the disk failed.
        """
        old = self.remembered
        before = None if old is None else self.verify(old, older=True)
        try:
            text = self.fetch()
        except NotFoundError as e:
            have = "none at all" if before is None else f"none, and showed {before.size} entries"
            raise RefusedError(
                f"The server shows {have}: its log is missing. Ask who runs it; without 'log_key' "
                "in the settings no log is looked at.",
                reason="log_behind",
            ) from e
        new = self.verify(text)
        if before is not None:
            self._check(before, new, text)
        if before is None or new.size > before.size:
            durable.mkdir(self._directory)
            durable.replace(self._directory / MEMORY, text.encode())
        return text

    def fetch(self) -> str:
        """The checkpoint that the server shows, not verified.

        Raises:
            NotFoundError: it shows none.
            WireError: it is no text, or too long.
            TransientError: the server could not be asked.
        """
        return text_of(self._api.fetch(f"/{CHECKPOINT_KEY}", limit=_BYTES))

    def bundle(self, key: str) -> list[bytes]:
        """The entries of a bundle or of the tail, not verified.

        Raises:
            NotFoundError: the server has none there.
            WireError: it is no bundle.
            TransientError: the server could not be asked.
        """
        return unpack(self._api.fetch(f"/{key}", limit=MAX_BUNDLE_BYTES))

    def verify(self, text: str, *, older: bool = False) -> Checkpoint:
        """Believe a checkpoint if the log's key signed it.

        Args:
            text: the checkpoint.
            older: it was shown before, so that a key of before will do.

        Raises:
            WireError, RefusedError: ``bad_checkpoint``.
        """
        keys = self._keys if older else self._keys[:1]
        return verify_checkpoint(text, self._origin, *keys)

    def doubt(self, text: str, newest: Checkpoint) -> Doubt | None:
        """What is wrong with a checkpoint that somebody else was shown; None if it is of this log.

        Args:
            text: as it was shown to him.
            newest: the one that ``look`` verified.

        Raises:
            TransientError: the server could not be asked.
        """
        try:
            other = self.verify(text, older=True)
        except (WireError, RefusedError) as e:
            return Doubt("bad_checkpoint", f"something else was shown to it as the log: {e}")
        # It may have been shown a newer one than was read here.
        old, new = sorted((other, newest), key=lambda one: one.size)
        try:
            verify_consistency(old, new, self._proof(old.size, new.size))
        except RefusedError:
            detail = (
                f"it was shown a log of {other.size} entries, signed by the log's key, that is not "
                f"the one of {newest.size} which is shown here: the log has two faces"
            )
            return Doubt("log_fork", detail)
        return None

    def _check(self, before: Checkpoint, new: Checkpoint, text: str) -> None:
        if new.size < before.size:
            raise RefusedError(
                f"The server shows a log of {new.size} entries, and showed one of {before.size} "
                "before: it replays an old one, or lost entries. Sign nothing by it; ask who runs "
                "the server.",
                reason="log_behind",
            )
        try:
            verify_consistency(before, new, self._proof(before.size, new.size))
        except RefusedError as e:
            if e.reason != "log_fork":
                raise
            kept = self._directory / f"log-fork-{sha256_hex(text.encode())[:16]}"
            durable.create(kept, text.encode())
            raise RefusedError(
                f"{e} Kept: {self._directory / MEMORY}, {kept}.", reason=e.reason
            ) from e

    def _proof(self, old: int, new: int) -> list[bytes]:
        if old == new:
            return []
        try:
            answer = self._api.get(f"/v1/log/consistency?old={old}&new={new}", LogProof)
        except (RefusedError, NotFoundError):
            # It cannot prove what it shows: nothing is what a false proof would be.
            return []
        return [bytes.fromhex(one) for one in answer.hashes]


def text_of(data: bytes) -> str:
    """The text of a checkpoint's bytes.

    Raises:
        WireError: ``bad_checkpoint``: they are not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as e:
        raise WireError("The checkpoint is not UTF-8.", reason="bad_checkpoint") from e
