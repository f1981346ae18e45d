"""Two small TUF repositories with people's keys, for tests: made by the code under test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from securesystemslib.signer import CryptoSigner, Signer
from tuf.api import exceptions
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Root,
    TargetFile,
    Targets,
)
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from interlock_core.clock import Clock
from interlock_core.errors import NotFoundError
from interlock_core.store import FileStore, Store
from interlock_core.tuf_metadata import delegated_paths, serialise, set_issued
from interlock_core.tuf_repository import OnlineRepository

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
BASE = "http://gateway.invalid/"


class PowerCut(BaseException):
    """What a test raises in place of the power going away."""


def keys(number: int) -> list[CryptoSigner]:
    return [CryptoSigner.generate_ed25519() for _ in range(number)]


def signed(payload: Any, signers: Iterable[Signer]) -> bytes:
    metadata = Metadata(payload)
    for signer in signers:
        metadata.sign(signer, append=True)
    return serialise(metadata)


class Ticking:
    """A clock that tests set."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class World:
    """Keys, roots and metadata of a fleet with one product, and its two repositories."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.root_keys = keys(3)
        self.targets_keys = keys(3)
        self.product_keys = keys(2)
        self.roster_keys = keys(2)
        self.image_online = keys(1)
        self.director_targets = keys(1)
        self.director_online = keys(1)

    # Offline

    def root(self, version: int = 1, **roles: list[CryptoSigner]) -> Root:
        chosen = {
            "root": self.root_keys,
            "targets": self.targets_keys,
            "snapshot": self.image_online,
            "timestamp": self.image_online,
        } | roles
        root = Root(version=version, expires=self.clock() + timedelta(days=365))
        for role, signers in chosen.items():
            for signer in signers:
                root.add_key(signer.public_key, role)
            root.roles[role].threshold = min(2, len(signers))
        set_issued(root, self.clock())
        return root

    def director_root(self) -> Root:
        return self.root(
            targets=self.director_targets,
            snapshot=self.director_online,
            timestamp=self.director_online,
        )

    def targets(
        self, version: int = 1, roles: Mapping[str, list[CryptoSigner]] | None = None
    ) -> Targets:
        chosen = {"gw-a": self.product_keys, "interlock": self.roster_keys, **(roles or {})}
        targets = Targets(version=version, expires=self.clock() + timedelta(days=365))
        targets.delegations = Delegations(
            {},
            {
                name: DelegatedRole(name, [], min(2, len(signers)), True, delegated_paths(name))
                for name, signers in chosen.items()
            },
        )
        for name, signers in chosen.items():
            for signer in signers:
                targets.add_key(signer.public_key, name)
        set_issued(targets, self.clock())
        return targets

    def role(self, version: int, files: Mapping[str, bytes]) -> Targets:
        targets = Targets(version=version, expires=self.clock() + timedelta(days=90))
        targets.targets = {path: target_file(path, data) for path, data in files.items()}
        set_issued(targets, self.clock())
        return targets

    # Online

    def image(self) -> OnlineRepository:
        signers = {"snapshot": self.image_online, "timestamp": self.image_online}
        return OnlineRepository(self.store, "image", signers, self.clock)

    def director(self, cohort: str = "canary") -> OnlineRepository:
        signers = {
            "targets": self.director_targets,
            "snapshot": self.director_online,
            "timestamp": self.director_online,
        }
        prefix = f"director/{cohort}"
        return OnlineRepository(self.store, prefix, signers, self.clock, cohort=cohort)

    def put_target(self, prefix: str, path: str, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        folder, _, name = path.rpartition("/")
        key = "/".join(filter(None, (prefix, "targets", folder, f"{digest}.{name}")))
        self.store.put_new_stream(key, [data], length=len(data), sha256=digest)

    def publish_image(self, version: int, files: Mapping[str, bytes]) -> None:
        """A release from the first write to the last; idempotent."""
        repository = self.image()
        if version == 1:
            repository.put_root(self.signed_root)
            repository.put_offline("targets", self.signed_targets)
        for path, data in files.items():
            self.put_target("image", path, data)
        product = {path: data for path, data in files.items() if path.startswith("gw-a/")}
        roster = {path: data for path, data in files.items() if path.startswith("interlock/")}
        repository.put_offline("gw-a", signed(self.role(version, product), self.product_keys))
        repository.put_offline("interlock", signed(self.role(version, roster), self.roster_keys))
        repository.publish()

    def publish_director(self, files: Mapping[str, bytes], cohort: str = "canary") -> None:
        repository = self.director(cohort)
        repository.put_root(self.signed_director_root)
        for path, data in files.items():
            self.put_target(f"director/{cohort}", path, data)
        repository.publish_targets({path: target_file(path, data) for path, data in files.items()})

    def sign_genesis(self) -> None:
        self.signed_root = signed(self.root(), self.root_keys[:2])
        self.signed_targets = signed(self.targets(), self.targets_keys[:2])
        self.signed_director_root = signed(self.director_root(), self.root_keys[:2])


def target_file(path: str, data: bytes) -> TargetFile:
    return TargetFile.from_data(path, data, ["sha256"])


class StoreFetcher(FetcherInterface):
    """Answers a TUF client from a Store, as a static file server would."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield self.store.get(url.removeprefix(BASE))
        except NotFoundError as e:
            raise exceptions.DownloadHTTPError("not found", 404) from e


class Client:
    """An unmodified ``tuf.ngclient`` that trusts the first root of one repository."""

    def __init__(self, store: Store, prefix: str, root: bytes, directory: Path) -> None:
        self.fetcher = StoreFetcher(store)
        self.prefix = prefix
        self.root = root
        self.directory = directory
        (directory / "targets").mkdir(parents=True, exist_ok=True)

    def updater(self, now: datetime) -> Updater:
        base = f"{BASE}{self.prefix}"
        updater = Updater(
            str(self.directory),
            f"{base}/metadata/",
            str(self.directory / "targets"),
            f"{base}/targets/",
            fetcher=self.fetcher,
            bootstrap=self.root,
        )
        updater._trusted_set.reference_time = now
        return updater

    def read(self, now: datetime, paths: Iterable[str]) -> dict[str, bytes | None]:
        """What a gateway would get for each path, all from one consistent state."""
        updater = self.updater(now)
        updater.refresh()
        got: dict[str, bytes | None] = {}
        for path in paths:
            info = updater.get_targetinfo(path)
            got[path] = Path(updater.download_target(info)).read_bytes() if info else None
        return got


class CutStore:
    """A Store that loses power before its write of a given number, counted from 0."""

    def __init__(self, store: FileStore, number: int) -> None:
        self.inner = store
        self.left = number

    def _write(self) -> None:
        if self.left == 0:
            raise PowerCut
        self.left -= 1

    def put_new(self, key: str, data: bytes) -> None:
        self._write()
        self.inner.put_new(key, data)

    def put_new_stream(
        self, key: str, chunks: Iterable[bytes] | IO[bytes], *, length: int, sha256: str
    ) -> None:
        self._write()
        self.inner.put_new_stream(key, chunks, length=length, sha256=sha256)

    def replace(self, key: str, data: bytes) -> None:
        self._write()
        self.inner.replace(key, data)

    def get(self, key: str) -> bytes:
        return self.inner.get(key)

    def open(self, key: str) -> IO[bytes]:
        return self.inner.open(key)

    def size(self, key: str) -> int:
        return self.inner.size(key)

    def list(self, prefix: str) -> list[str]:
        return self.inner.list(prefix)
