"""What both repositories say, refreshed in a scratch copy (I/O).

Rules (``statements.md``, "Trusted metadata" and "Version floors"):

1. Every refresh works on a scratch copy of the trusted metadata. The caller adopts it, by one
   atomic switch, only when both repositories verified whole and everything is bound to this
   cohort. Otherwise another cohort's genuine metadata with higher versions would block this
   gateway for ever. What is thrown away leaves no trace but genuine newer roots.
2. Trust begins at the embedded roots, at every refresh: roots that were kept must chain to them.
3. All times are judged at the time of the decision.
4. Beyond what TUF asks: no public key twice in a role, nothing that a rehearsal made, Interlock's
   shape of delegations, versions not below the floors that are kept outside (``memory``).
5. An error of TUF becomes a refusal with a name: ``expired_metadata``, ``rollback``,
   ``inconsistent_metadata``, ``rehearsal``, ``untrusted_metadata``; of the network, a
   ``TransientError``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater, UpdaterConfig

from interlock_client import scratch
from interlock_client.fetch import BundleFetcher
from interlock_client.servers import Server
from interlock_client.state import StateDir
from interlock_core import durable
from interlock_core.errors import ConfigurationError, RefusedError, TransientError, WireError
from interlock_core.tuf_metadata import (
    MAX_LENGTH,
    MAX_ROOT_ROTATIONS,
    check_top_level,
    delegated_roles,
    parse_metadata,
    refuse_rehearsal,
    refuse_shared_keys,
)
from interlock_core.wire import sha256_hex

IMAGE: Final = "image"

AnyRole = TypeVar("AnyRole", Root, Timestamp, Snapshot, Targets)

_ROOT_FILE: Final = re.compile(r"([1-9][0-9]*)\.root\.json\Z")


@dataclass(frozen=True)
class Roots:
    """The embedded roots."""

    image: bytes
    director: bytes


@dataclass
class Repository:
    """One repository in a scratch copy, refreshed.

    Attributes:
        prefix: ``image`` or ``director/<cohort>``.
        directory: its trusted metadata.
        fetcher: where its targets come from.
        loaded: every metadata file in use, verified, with its digest, by role.
    """

    prefix: str
    directory: Path
    server: Server
    fetcher: BundleFetcher
    updater: Updater
    loaded: dict[str, tuple[Metadata[Any], str]] = field(default_factory=dict)

    def root(self) -> Root:
        """The newest root."""
        return self._signed(Root.type, Root)

    def timestamp(self) -> Timestamp:
        """The timestamp."""
        return self._signed(Timestamp.type, Timestamp)

    def snapshot(self) -> Snapshot:
        """The snapshot."""
        return self._signed(Snapshot.type, Snapshot)

    def targets(self) -> Targets:
        """Top-level targets."""
        return self._signed(Targets.type, Targets)

    def delegated(self, role: str, path: str) -> Targets | None:
        """Load and verify the role that is responsible for ``path``.

        Returns:
            Its metadata; None if it is not delegated, or nothing was published for it.

        Raises:
            RefusedError: rule 5; ``untrusted_metadata`` also if it delegates further.
            TransientError: ``network``, or the disk.
        """
        # Shape was checked: no other role covers such a path, so ngclient loads this one.
        published = f"{role}.json" in self.snapshot().meta
        if not published or role not in delegated_roles(self.targets()):
            return None
        with durable.translated("write", self.directory), _named(self.prefix):
            self.updater.get_targetinfo(path)
        with _as_untrusted(self.prefix):
            targets = self._signed(role, Targets)
        if targets.delegations is not None:
            raise RefusedError(f"{role} delegates further.", reason="untrusted_metadata")
        return targets

    def content(self, target: TargetFile, limit: int) -> bytes:
        """The bytes of a small target, verified.

        Raises:
            RefusedError: ``hash_mismatch``.
            TransientError: ``network``.
        """
        return target_bytes(self.server, self.fetcher, self.prefix, target, limit)

    def _signed(self, role: str, type_: type[AnyRole]) -> AnyRole:
        if role not in self.loaded:
            path = self.directory / f"{role}.json"
            data = durable.read(path, limit=MAX_LENGTH[type_.type], what=f"{role} metadata")
            metadata = parse_metadata(data, type_, what=f"{role} metadata")
            refuse_rehearsal(metadata.signed)
            self.loaded[role] = (metadata, sha256_hex(data))
        signed = self.loaded[role][0].signed
        assert isinstance(signed, type_)
        return signed


def target_bytes(
    server: Server, fetcher: BundleFetcher, prefix: str, target: TargetFile, limit: int
) -> bytes:
    """The bytes of a small target of the repository ``prefix``, verified.

    Raises:
        RefusedError: ``hash_mismatch``.
        TransientError: ``network``.
    """
    sha256 = target.hashes.get("sha256")
    if sha256 is None or target.length > limit:
        raise RefusedError(
            f"{target.path} of {prefix} is too long, or names no SHA-256.",
            reason="untrusted_metadata",
        )
    folder, _, name = target.path.rpartition("/")
    path = "/".join(filter(None, (prefix, "targets", folder, f"{sha256}.{name}")))
    try:
        data = fetcher.download_bytes(f"{server.url}/{path}", target.length)
        target.verify_length_and_hashes(data)
    except exceptions.LengthOrHashMismatchError as e:
        raise RefusedError(
            f"{target.path} of {prefix} is not what was signed.", reason="hash_mismatch"
        ) from e
    except RefusedError as e:
        raise RefusedError(str(e), reason="hash_mismatch") from e
    return data


@dataclass(frozen=True)
class Refreshed:
    """Both repositories, verified by TUF and not yet adopted."""

    image: Repository
    director: Repository
    tree: Path


@contextmanager
def refreshed(
    state: StateDir,
    server: Server,
    fetcher: BundleFetcher,
    roots: Roots,
    cohort: str,
    now: datetime,
) -> Iterator[Refreshed]:
    """Refresh both repositories from one server in a scratch copy (rules 1 to 5).

    The copy is thrown away at the end unless ``scratch.adopt`` was called; genuine newer roots
    are kept.

    Raises:
        RefusedError: rule 5.
        ConfigurationError: an embedded root is not one.
        TransientError: ``network``, or the disk.
    """
    director = f"director/{cohort}"
    with scratch.copied(state) as tree:
        try:
            yield Refreshed(
                _refresh(tree, IMAGE, server, fetcher, roots.image, now),
                _refresh(tree, director, server, fetcher, roots.director, now),
                tree,
            )
        except (RefusedError, TransientError):
            for prefix in (IMAGE, director):
                _keep_roots(tree / prefix, state.trusted / prefix)
            raise


def _refresh(
    tree: Path, prefix: str, server: Server, fetcher: BundleFetcher, root: bytes, now: datetime
) -> Repository:
    directory = tree / prefix
    with _as_untrusted(prefix):
        first = parse_metadata(root, Root, what="embedded root").signed
        # Said before any other metadata is blamed for not being signed by its keys.
        refuse_rehearsal(first)
    with durable.translated("write", directory):
        directory.mkdir(parents=True, exist_ok=True)
        try:
            updater = Updater(
                str(directory),
                f"{server.url}/{prefix}/metadata/",
                fetcher=fetcher,
                config=UpdaterConfig(max_root_rotations=MAX_ROOT_ROTATIONS),
                bootstrap=root,
            )
        except exceptions.RepositoryError as e:
            raise ConfigurationError(
                f"The embedded root of {prefix} is no valid root metadata: {e}. Put the file of "
                "the ceremony in its place."
            ) from e
        # ngclient has no public way to say what time it is; tests/client/test_trust.py guards it.
        updater._trusted_set.reference_time = now  # noqa: SLF001
        with _named(prefix):
            updater.refresh()
    repository = Repository(prefix, directory, server, fetcher, updater)
    with _as_untrusted(prefix):
        for version in range(first.version, repository.root().version + 1):
            _check_root(directory / "root_history" / f"{version}.root.json")
        if prefix == IMAGE:
            check_top_level(repository.targets())
        repository.timestamp()
        repository.snapshot()
        repository.targets()
    return repository


def _check_root(path: Path) -> None:
    data = durable.read(path, limit=512_000, what="root metadata")
    root = parse_metadata(data, Root, what=f"root metadata {path.name}").signed
    refuse_rehearsal(root)
    refuse_shared_keys(root)


@contextmanager
def _as_untrusted(prefix: str) -> Iterator[None]:
    try:
        yield
    except (RefusedError, WireError) as e:
        name = e.reason if e.reason == "rehearsal" else "untrusted_metadata"
        raise RefusedError(f"{prefix}: {e}", reason=name) from e


@contextmanager
def _named(prefix: str) -> Iterator[None]:
    """Rule 5. The order matters: TUF's errors are a family."""
    try:
        yield
    except exceptions.ExpiredMetadataError as e:
        raise RefusedError(f"{prefix}: {e}.", reason="expired_metadata") from e
    except exceptions.BadVersionNumberError as e:
        raise RefusedError(
            f"{prefix}: {str(e) or 'an old version'} (older than what is trusted here).",
            reason="rollback",
        ) from e
    except exceptions.LengthOrHashMismatchError as e:
        raise RefusedError(f"{prefix}: {e}.", reason="inconsistent_metadata") from e
    except exceptions.RepositoryError as e:
        raise RefusedError(f"{prefix}: {e}.", reason="untrusted_metadata") from e
    except exceptions.DownloadError as e:
        raise TransientError(f"{prefix}: {e}.", reason="network") from e


def _keep_roots(refreshed_: Path, trusted: Path) -> None:
    """Keep genuine newer roots of a refresh that failed (rule 1).

    Each chains to the one before, so that a part of them is good as well.
    """
    history = refreshed_ / "root_history"
    if not history.is_dir() or not trusted.parent.is_dir():
        return
    durable.mkdir(trusted / "root_history")
    for path in sorted(history.iterdir(), key=_root_version):
        kept = trusted / "root_history" / path.name
        if kept.exists():
            continue
        try:
            _check_root(path)
        except (RefusedError, WireError):
            return
        data = durable.read(path, limit=512_000, what="root metadata")
        durable.create(kept, data)


def _root_version(path: Path) -> int:
    match = _ROOT_FILE.match(path.name)
    return int(match[1]) if match else 0
