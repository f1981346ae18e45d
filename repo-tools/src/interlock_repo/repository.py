"""What the image repository says now, believed only when verified (I/O).

Rules:

1. Trust begins with a root file that the caller names. ``tuf.ngclient`` walks from it to the
   newest root and verifies everything else, freshness included. What a rehearsal made is refused.
2. Metadata that people sign must be readable after it expired, or nobody could renew it.
   ``ngclient`` refuses it; then the signatures are checked here, against the snapshot that
   ``ngclient`` verified.
3. Whoever asks what has expired is told, and not refused: then expiry is judged by the caller, and
   everything else is verified as ever.
4. A ceremony's own output serves before there is any server: it has root and targets, and nothing
   that could be fresh or stale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from interlock_core import durable
from interlock_core.errors import NotFoundError, RefusedError, TransientError
from interlock_core.names import ROSTER_PATH, ROSTER_ROLE
from interlock_core.root_chain import link_roots
from interlock_core.roster import MAX_ROSTER
from interlock_core.tuf_metadata import (
    MAX_LENGTH,
    check_signatures,
    delegated_roles,
    parse_metadata,
    refuse_rehearsal,
    verify_root,
)
from interlock_repo.fetch import BASE, DirectoryFetcher, ServerFetcher

_METADATA: Final = f"{BASE}image/metadata/"
_TARGETS: Final = f"{BASE}image/targets/"
MAX_OLDER: Final = 1024
"""How many versions of top-level targets are looked back at."""
_VERSIONED: Final = re.compile(r"([1-9][0-9]{0,14})\.([a-z]+)\.json\Z")


class Repository(Protocol):
    """A verified image repository."""

    @property
    def roots(self) -> tuple[bytes, ...]:
        """Bytes of every root from the trusted one to the newest."""

    @property
    def targets(self) -> bytes:
        """Bytes of the top-level targets metadata in force."""

    @property
    def heads(self) -> Mapping[str, bytes]:
        """Bytes of snapshot and timestamp by role; empty where there are none."""

    def older_targets(self) -> Iterator[bytes]:
        """Bytes of the versions of top-level targets before, the newest first, as far as it has
        them without a gap. They are not verified: they may forbid something, and allow nothing.

        Raises:
            TransientError: one cannot be read.
        """

    def role(self, name: str) -> bytes | None:
        """Metadata in force of a delegated role, or None before there is any.

        Raises:
            RefusedError: what is served does not verify.
            TransientError: it cannot be read.
        """

    def roster(self, metadata: Targets) -> bytes:
        """The roster that verified ``interlock`` metadata lists.

        Raises:
            RefusedError, NotFoundError, TransientError: as ``role``; or it lists none.
        """


@contextmanager
def open_repository(
    where: str,
    trusted_root: Path,
    now: datetime,
    *,
    ca_file: Path | None,
    proxy: str | None,
    judge_expiry: bool = True,
) -> Iterator[Repository]:
    """Read and verify the image repository at ``where``.

    Args:
        where: a server's URL, a directory with the Store's layout, or a ceremony's output.
        trusted_root: the root file to begin with (rule 1).
        now: to judge a ceremony's root by; ``ngclient`` asks the machine.
        ca_file: certificates to trust instead of the system's, for a server.
        proxy: an HTTP proxy to use, for a server.
        judge_expiry: whether what has expired is refused (rule 3).

    Raises:
        RefusedError: ``untrusted_metadata``, ``expired_metadata``, ``rehearsal`` and the like.
        NotFoundError: there is no repository there.
        TransientError: it cannot be read.
        ConfigurationError: a URL that may not be called.
        WireError: the root file is none, or metadata does not have the right form.
    """
    what = f"root file {trusted_root}"
    root = durable.read(trusted_root, limit=MAX_LENGTH[Root.type], what=what)
    refuse_rehearsal(parse_metadata(root, Root, what=what).signed)
    if "://" not in where:
        directory = Path(where)
        if not (directory / "image" / "metadata").is_dir() and (directory / "image").is_dir():
            yield _Ceremony(directory / "image", root, now if judge_expiry else None)
            return
    fetcher = fetcher_of(where, ca_file=ca_file, proxy=proxy)
    with TemporaryDirectory(prefix="interlock-repo-") as scratch:
        yield _Verified(where, fetcher, root, Path(scratch), judge_expiry=judge_expiry)


def fetcher_of(where: str, *, ca_file: Path | None, proxy: str | None) -> FetcherInterface:
    """What reads a server or a directory."""
    if "://" in where:
        return ServerFetcher(where, ca_file=ca_file, proxy=proxy)
    return DirectoryFetcher(Path(where))


def judge_none(updater: Updater) -> None:
    """Have ``ngclient`` take nothing for expired (rule 3).

    It has no public way to say what time it is; ``tests/repo_tools/test_forecast.py`` guards this.
    """
    updater._trusted_set.reference_time = datetime.fromtimestamp(0, UTC)  # noqa: SLF001


class _Verified:
    """A repository that ``ngclient`` verifies, in a scratch directory of its own."""

    def __init__(
        self,
        where: str,
        fetcher: FetcherInterface,
        root: bytes,
        scratch: Path,
        *,
        judge_expiry: bool,
    ) -> None:
        self._where = where
        self._fetcher = fetcher
        self._scratch = scratch
        self._stale = False
        with believing(where):
            self._updater = Updater(
                str(scratch), _METADATA, None, _TARGETS, fetcher=fetcher, bootstrap=root
            )
            if not judge_expiry:
                judge_none(self._updater)
            try:
                self._updater.refresh()
            except exceptions.ExpiredMetadataError:
                # The snapshot is kept only once it and the timestamp were found good.
                if not (scratch / "snapshot.json").exists():
                    raise
                self._stale = True
        self.roots = self._root_chain(root)
        self._root = link_roots(self.roots)[-1].signed
        self._snapshot = parse_metadata(
            self._kept(Snapshot.type), Snapshot, what="snapshot metadata"
        ).signed
        self.heads = {role: self._kept(role) for role in (Snapshot.type, Timestamp.type)}
        self.targets = self._targets()
        self._delegator = parse_metadata(self.targets, Targets, what="targets metadata").signed
        refuse_rehearsal(self._delegator)

    def _root_chain(self, trusted: bytes) -> tuple[bytes, ...]:
        version = parse_metadata(trusted, Root, what="root metadata").signed.version
        chain = []
        while (path := self._scratch / "root_history" / f"{version}.root.json").exists():
            chain.append(path.read_bytes())
            version += 1
        return tuple(chain)

    def _kept(self, role: str) -> bytes:
        return (self._scratch / f"{role}.json").read_bytes()

    def _targets(self) -> bytes:
        if not self._stale:
            return self._kept(Targets.type)
        return self._expired(self._root, Targets.type)

    def older_targets(self) -> Iterator[bytes]:
        for version in _before(self._delegator.version):
            try:
                with believing(self._where):
                    yield self._fetcher.download_bytes(
                        f"{_METADATA}{version}.{Targets.type}.json", MAX_LENGTH[Targets.type]
                    )
            except NotFoundError:
                return

    def role(self, name: str) -> bytes | None:
        if (
            name not in delegated_roles(self._delegator)
            or f"{name}.json" not in self._snapshot.meta
        ):
            return None
        if not self._stale:
            try:
                with believing(self._where):
                    # ngclient loads a role on the way to a target; this one need not exist.
                    self._updater.get_targetinfo(
                        ROSTER_PATH if name == ROSTER_ROLE else f"{name}/0/none"
                    )
                return self._kept(name)
            except RefusedError as e:
                if not isinstance(e.__cause__, exceptions.ExpiredMetadataError):
                    raise
        return self._expired(self._delegator, name)

    def _expired(self, delegator: Root | Targets, name: str) -> bytes:
        """Metadata that may have expired, verified but for that (rule 2)."""
        listed = self._snapshot.meta[f"{name}.json"]
        url = f"{_METADATA}{listed.version}.{name}.json"
        with believing(self._where):
            data = self._fetcher.download_bytes(url, MAX_LENGTH[Targets.type])
            listed.verify_length_and_hashes(data)
        metadata = parse_metadata(data, Targets, what=f"{name} metadata")
        check_signatures(delegator, name, metadata)
        if metadata.signed.version != listed.version:
            raise RefusedError(
                f"{self._where} lists {name} {listed.version} and serves "
                f"{metadata.signed.version}.",
                reason="inconsistent_metadata",
            )
        return data

    def roster(self, metadata: Targets) -> bytes:
        info = metadata.targets.get(ROSTER_PATH)
        if info is None:
            raise NotFoundError(f"interlock {metadata.version} lists no roster.")
        if info.length > MAX_ROSTER:
            raise RefusedError("The roster in force is too large.", reason="untrusted_metadata")
        with believing(self._where):
            path = self._updater.download_target(info, str(self._scratch / "targets" / "roster"))
        return Path(path).read_bytes()


class _Ceremony:
    """A ceremony's output directory (rule 4)."""

    def __init__(self, directory: Path, trusted: bytes, now: datetime | None) -> None:
        version = parse_metadata(trusted, Root, what="root metadata").signed.version
        chain = [trusted]
        while (path := directory / f"{version + 1}.root.json").exists():
            chain.append(_read(path, Root.type))
            version += 1
        self.roots = tuple(chain)
        root: Metadata[Root] = link_roots(chain)[-1]
        verify_root(chain[-1], chain[-1], now)
        newest = max((_version(path) for path in directory.glob("*.targets.json")), default=0)
        if not newest:
            raise NotFoundError(
                f"{directory} has neither metadata/ (a repository) nor targets metadata (a "
                "ceremony's output): name the directory above image/."
            )
        self._directory, self._newest = directory, newest
        self.targets = _read(directory / f"{newest}.targets.json", Targets.type)
        metadata = parse_metadata(self.targets, Targets, what=f"{newest}.targets.json")
        refuse_rehearsal(metadata.signed)
        check_signatures(root.signed, Targets.type, metadata)

    @property
    def heads(self) -> Mapping[str, bytes]:
        return {}

    def older_targets(self) -> Iterator[bytes]:
        for version in _before(self._newest):
            path = self._directory / f"{version}.targets.json"
            if not path.exists():
                return
            yield _read(path, Targets.type)

    def role(self, name: str) -> bytes | None:  # noqa: ARG002  # nobody signed it in a ceremony
        return None

    def roster(self, metadata: Targets) -> bytes:
        raise NotFoundError(f"A ceremony makes no roster (asked for interlock {metadata.version}).")


def _before(version: int) -> range:
    """The versions before one, the newest first; no more than could be looked at."""
    return range(version - 1, max(0, version - 1 - MAX_OLDER), -1)


def _version(path: Path) -> int:
    match = _VERSIONED.match(path.name)
    return int(match[1]) if match else 0


def _read(path: Path, role: str) -> bytes:
    return durable.read(path, limit=MAX_LENGTH[role], what=f"{role} metadata")


@contextmanager
def believing(where: str) -> Iterator[None]:
    """Translate what ``ngclient`` raises; what it verified is believed (rule 1)."""
    try:
        yield
    except exceptions.DownloadHTTPError as e:
        if e.status_code != 404:
            raise TransientError(f"{where} answered {e.status_code}: try again later.") from e
        raise NotFoundError(f"{where} does not hold a whole image repository: {e}") from e
    except exceptions.DownloadLengthMismatchError as e:
        raise _refused(where, "untrusted_metadata", e) from e
    except exceptions.DownloadError as e:
        raise TransientError(
            f"{where} could not be read ({e}): check the address and the network."
        ) from e
    except exceptions.ExpiredMetadataError as e:
        raise RefusedError(
            f"What {where} serves has expired ({e}): get a fresh copy, or have the server refresh.",
            reason="expired_metadata",
        ) from e
    except exceptions.BadVersionNumberError as e:
        raise _refused(where, "inconsistent_metadata", e) from e
    except exceptions.LengthOrHashMismatchError as e:
        raise _refused(where, "hash_mismatch", e) from e
    except exceptions.RepositoryError as e:
        raise _refused(where, "untrusted_metadata", e) from e


def _refused(where: str, reason: str, error: Exception) -> RefusedError:
    return RefusedError(
        f"What {where} serves does not verify from the root that you named: {error}",
        reason=reason,
    )
