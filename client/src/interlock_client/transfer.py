"""An image's bytes, verified while they stream into the slot (I/O).

Rules:

1. One pass: network, hash, slot. Never more than the signed length is read.
2. What arrives is believed only when its end is reached and length and every hash that the image
   repository signed agree. Until then it is garbage in an unarmed slot.
3. A server that fails is followed by the next, from the beginning.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from interlock_client.context import Progress
from interlock_client.install.destination import Destination
from interlock_client.servers import Server
from interlock_core.errors import RefusedError, TransientError
from interlock_core.facts import TargetInfo

_ALGORITHMS: Final = frozenset({"sha224", "sha256", "sha384", "sha512"})


@dataclass(frozen=True)
class Wanted:
    """What is to be fetched.

    Attributes:
        path: its target path in the image repository.
        info: signed length and hashes, among them SHA-256.
    """

    path: str
    info: TargetInfo

    @property
    def url_path(self) -> str:
        """Where it lies on every server (consistent snapshots: the digest is in the name)."""
        folder, _, name = self.path.rpartition("/")
        return f"/image/targets/{folder}/{self.info.hashes['sha256']}.{name}"


class Pace:
    """Keeps a stream at or below a rate.

    Args:
        bytes_per_second: the rate, or None for as fast as it comes.
        monotonic: seconds.
        pause: waits for seconds.
    """

    def __init__(
        self,
        bytes_per_second: int | None,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = bytes_per_second
        self._monotonic = monotonic
        self._pause = pause

    def __call__(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass ``chunks`` on, each after its time has come."""
        began, sent = self._monotonic(), 0
        for chunk in chunks:
            sent += len(chunk)
            if self._rate is not None:
                early = sent / self._rate - (self._monotonic() - began)
                if early > 0:
                    self._pause(early)
            yield chunk


def into(
    destination: Destination,
    wanted: Wanted,
    servers: list[Server],
    *,
    pace: Pace,
    progress: Progress,
) -> None:
    """Fetch an image into its destination (rules 1 to 3).

    Args:
        destination: where it goes.
        wanted: the image.
        servers: in the order in which they are tried.
        pace: how fast.
        progress: told how much has arrived.

    Raises:
        RefusedError: ``hash_mismatch``: no server has the bytes that were signed.
        TransientError: ``network`` or the disk; the slot holds garbage and is not armed.
    """
    refused: RefusedError | None = None
    trouble: TransientError | None = None
    for server in servers:
        chunks = pace(server.stream(wanted.url_path, wanted.info.length))
        try:
            with destination.open() as writer:
                for chunk in verified(chunks, wanted, progress):
                    writer.write(chunk)
                writer.finish()
        except RefusedError as e:
            if e.reason != "hash_mismatch":
                raise
            refused = refused or e
        except TransientError as e:
            if e.reason != "network":
                raise
            trouble = trouble or e
        else:
            return
    raise refused or trouble or RuntimeError("there is always a server")


def verified(chunks: Iterator[bytes], wanted: Wanted, progress: Progress) -> Iterator[bytes]:
    """Pass ``chunks`` on, and raise at their end unless they are what was signed (rule 2).

    Raises:
        RefusedError: ``hash_mismatch``.
    """
    length = wanted.info.length
    digests = _digests(wanted.info.hashes)
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        for digest in digests.values():
            digest.update(chunk)
        yield chunk
        progress(seen, length)
    if seen != length:
        raise TransientError(
            f"{wanted.path} ended after {seen} of {length} bytes: run this again.",
            reason="network",
        )
    for name, digest in digests.items():
        if digest.hexdigest() != wanted.info.hashes[name]:
            raise RefusedError(
                f"{wanted.path} does not have the {name} that was signed.", reason="hash_mismatch"
            )


def _digests(hashes: Mapping[str, str]) -> dict[str, hashlib._Hash]:
    return {name: hashlib.new(name) for name in hashes if name in _ALGORITHMS}
