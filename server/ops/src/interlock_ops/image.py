"""The image repository as TUF verifies it: what exists, and who may sign (I/O).

Rules:

1. What an operator signs is filled in from here, never from what the server says: metadata is
   verified by ``tuf.ngclient`` from the operator's own root file.
2. The newest metadata seen is remembered, so that a server cannot show an older state later.
   One process at a time uses that directory.
3. Bytes pass Interlock's bounded JSON check before python-tuf reads them.
4. A failure to verify is a refusal with a name; a failure to fetch is transient.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import urllib3
from tuf.api import exceptions
from tuf.api.metadata import Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater

from interlock_core import durable, wire
from interlock_core.errors import InterlockError, RefusedError, TransientError
from interlock_core.facts import Expiry
from interlock_core.names import ROSTER_PATH
from interlock_core.release import Image, read_image
from interlock_core.roster import MAX_ROSTER, Roster, read_roster
from interlock_core.tuf_metadata import MAX_LENGTH, parse_metadata, refuse_rehearsal
from interlock_ops.order_file import Facts

_CHUNK: Final = 64 * 1024

K = TypeVar("K", Timestamp, Snapshot, Targets)


@dataclass(frozen=True)
class Found:
    """An image target, verified: its length and digest, and its signed facts."""

    facts: Facts
    image: Image


@dataclass(frozen=True)
class RosterPapers:
    """The roster in force, and what leads to it from the operator's own root: exact texts."""

    roots: tuple[str, ...]
    targets: str
    interlock: str
    roster: str


class ImageRepository:
    """Reads the image repository at a server.

    Args:
        server: base URL; the repository is under ``/image/``.
        root: bytes of a trusted root.
        directory: where metadata is remembered.
        pool: connections to use.
    """

    def __init__(
        self, server: str, root: bytes, directory: Path, pool: urllib3.PoolManager
    ) -> None:
        refuse_rehearsal(parse_metadata(root, Root, what="image root file").signed)
        self._server = server
        self._root = root
        self._directory = directory
        self._fetcher = _Fetcher(pool)
        self._updater: Updater | None = None

    def roster(self) -> Roster:
        """The roster in force.

        Raises:
            RefusedError: there is none, or the metadata does not verify; the reason says how.
            WireError: it is malformed.
            TransientError: the server could not be asked, or the disk failed.
        """
        with self._locked() as updater:
            info = updater.get_targetinfo(ROSTER_PATH)
            if info is None:
                raise RefusedError(
                    "The image repository has no roster yet: publish one first.",
                    reason="no_roster",
                )
            if info.length > MAX_ROSTER:
                raise RefusedError("The roster is too large to be one.", reason="malformed")
            path = updater.find_cached_target(info) or updater.download_target(info)
            return read_roster(durable.read(Path(path), limit=MAX_ROSTER, what="roster"))

    def roster_papers(self) -> RosterPapers:
        """What proves the roster in force to somebody who has a root and no network.

        Raises:
            RefusedError, WireError, TransientError: as ``roster``.
        """
        roster = self.roster()
        metadata = self._directory / "metadata"

        def text(path: Path, type_: str, what: str) -> str:
            return durable.read(path, limit=MAX_LENGTH[type_], what=what).decode()

        first = parse_metadata(self._root, Root, what="image root file").signed.version
        history = metadata / "root_history"
        with durable.translated("list", history):
            known = {int(path.name.split(".")[0]): path for path in history.glob("*.root.json")}
        later = [text(known[n], Root.type, "root") for n in sorted(known) if n > first]
        data = wire.encode(roster).decode()
        return RosterPapers(
            roots=(self._root.decode(), *later),
            targets=text(metadata / "targets.json", Targets.type, "targets metadata"),
            interlock=text(metadata / "interlock.json", Targets.type, "roster's metadata"),
            roster=data,
        )

    def find(self, path: str) -> Found:
        """The image at ``path``.

        Raises:
            RefusedError: ``no_such_target``, or the metadata does not verify.
            WireError: its facts are malformed, or it is no image.
            TransientError: the server could not be asked, or the disk failed.
        """
        with self._locked() as updater:
            info = updater.get_targetinfo(path)
        if info is None:
            raise RefusedError(
                f"The image repository has no target {path}: publish the release first, or mend "
                "the path. If it was withdrawn, name another release.",
                reason="no_such_target",
            )
        return Found(Facts(path, info.length, _sha256(path, info)), read_image(path, info.custom))

    def product(self, name: str) -> Targets:
        """The metadata in force of a product: all that it lists.

        Args:
            name: the product.

        Raises:
            RefusedError: ``no_such_target``: it lists nothing; or the metadata does not verify.
            WireError: it is malformed.
            TransientError: the server could not be asked, or the disk failed.
        """
        with self._locked() as updater:
            # ngclient loads a role on the way to a target; this one need not exist.
            updater.get_targetinfo(f"{name}/0/none")
            path = self._directory / "metadata" / f"{name}.json"
            if not path.exists():
                raise RefusedError(
                    f"The image repository lists nothing of {name}.", reason="no_such_target"
                )
            return self._kept(name, Targets)

    def expiries(self, product: str) -> tuple[Expiry, ...]:
        """When each metadata file expires that a gateway of a product reads here.

        Raises:
            RefusedError, TransientError: as ``find``.
            WireError: a file is malformed.
        """
        with self._locked():
            found = [
                ("timestamp", self._kept("timestamp", Timestamp).expires),
                ("snapshot", self._kept("snapshot", Snapshot).expires),
                *(
                    (role, self._kept(role, Targets).expires)
                    for role in ("targets", product, "interlock")
                ),
            ]
        return tuple(Expiry(f"image/{role}", expires) for role, expires in found)

    def _kept(self, role: str, type_: type[K]) -> K:
        """A file that ngclient verified and keeps."""
        path = self._directory / "metadata" / f"{role}.json"
        what = f"{role} metadata"
        data = durable.read(path, limit=MAX_LENGTH[type_.type], what=what)
        return parse_metadata(data, type_, what=what).signed

    @contextmanager
    def _locked(self) -> Iterator[Updater]:
        metadata, targets = self._directory / "metadata", self._directory / "targets"
        for directory in (self._directory, metadata, targets):
            durable.mkdir(directory)
        lock = self._directory / ".lock"
        with durable.translated("use", self._directory), lock.open("ab") as file, _verifying():
            fcntl.flock(file, fcntl.LOCK_EX)
            if self._updater is None:
                updater = Updater(
                    str(metadata),
                    f"{self._server}/image/metadata/",
                    str(targets),
                    f"{self._server}/image/targets/",
                    fetcher=self._fetcher,
                    bootstrap=self._root,
                )
                updater.refresh()
                self._updater = updater
            yield self._updater


class _Fetcher(FetcherInterface):
    """Fetches for ``tuf.ngclient`` with the same TLS and proxy as the API (rules 3 and 4)."""

    def __init__(self, pool: urllib3.PoolManager) -> None:
        self._pool = pool

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            answer = self._pool.request(
                "GET", url, preload_content=False, headers={"Accept-Encoding": "identity"}
            )
        except urllib3.exceptions.HTTPError as e:
            reason = getattr(e, "reason", None)
            why = type(reason if isinstance(reason, Exception) else e).__name__
            raise exceptions.DownloadError(f"{url} could not be fetched ({why})") from e
        if answer.status != 200:
            answer.close()
            raise exceptions.DownloadHTTPError(
                f"{url} was answered with {answer.status}", answer.status
            )
        return self._chunks(answer)

    def _chunks(self, answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        try:
            yield from answer.stream(_CHUNK, decode_content=False)
        except urllib3.exceptions.HTTPError as e:
            raise exceptions.DownloadError(f"the transfer broke off ({e})") from e
        finally:
            answer.release_conn()

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Fetch metadata, and check its form before python-tuf reads it."""
        data = super().download_bytes(url, max_length)
        wire.parse(data, limit=max(MAX_LENGTH.values()), what=url.rpartition("/")[2])
        return data


def _sha256(path: str, info: TargetFile) -> str:
    digest = info.hashes.get("sha256")
    if digest is None:
        raise RefusedError(f"{path} is signed without a SHA-256.", reason="no_sha256")
    return digest


@contextmanager
def _verifying() -> Iterator[None]:
    """Translate what ``tuf.ngclient`` raises (rule 4)."""
    try:
        yield
    except exceptions.DownloadError as e:
        raise TransientError(
            f"The image repository could not be read: {e}. Check the server and the network."
        ) from e
    except exceptions.RepositoryError as e:
        raise _refusal(e) from e


def _refusal(error: exceptions.RepositoryError) -> InterlockError:
    why = str(error).rstrip(".")
    match error:
        case exceptions.ExpiredMetadataError():
            return RefusedError(
                f"The image repository's metadata has expired ({why}): have the server refresh "
                "it, or check this machine's clock.",
                reason="expired_metadata",
            )
        case exceptions.BadVersionNumberError():
            return RefusedError(
                f"The server shows older metadata than was seen before ({why}): ask who runs it.",
                reason="rollback",
            )
    return RefusedError(
        f"The image repository's metadata is not signed by those whom your root names ({why}): "
        "check 'image_root', and ask who runs the server.",
        reason="untrusted_metadata",
    )
