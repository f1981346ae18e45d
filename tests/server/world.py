"""A small fleet's people, ceremony, releases and rosters, and a server made for them."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec
import pytest
from click.testing import CliRunner
from securesystemslib.signer import Signer
from sqlalchemy import select
from tuf.api import exceptions
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, TargetFile, Targets
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from interlock_core import disk, keys, wire
from interlock_core.api import MAX_ANSWER, EnrolmentRequest
from interlock_core.ceremony_output import read_ceremony
from interlock_core.checkpoint import LOG_KEY
from interlock_core.directive import Directive, read_directive
from interlock_core.errors import NotFoundError
from interlock_core.genesis import ONLINE_ROLES, FleetFile
from interlock_core.names import DIRECTIVE_PATH, ROSTER_PATH, ROSTER_ROLE
from interlock_core.order import Target
from interlock_core.release import Evidence, Image, Reference, Slot, UpdateClass
from interlock_core.report import Enrolment
from interlock_core.roster import Person, Roster
from interlock_core.statement import Opened
from interlock_core.store import FileStore, Store
from interlock_core.tuf_metadata import delegated_paths, serialise, set_issued
from interlock_server.app import create_app
from interlock_server.cli import main
from interlock_server.config import Settings, load_settings
from interlock_server.db import schema
from interlock_server.db.tables import RefusalRow
from interlock_server.founding import found
from interlock_server.online_keys import Signers
from interlock_server.wiring import Backstage, Services, backstage, open_signers, services
from tests.support.papers import SECRET, claim, countersign, days, session
from tests.support.people import CANARY, DAY0, FLEET, ST_ANNA, ST_BERT, roster, signer
from tests.support.postgres import Cluster

PASSPHRASE = "correct horse battery"
PRODUCT = "gateway"
COHORTS = (CANARY, ST_ANNA, ST_BERT)
BASE = "http://gateway.invalid/"
PATIENCE_SECONDS = 60
T = TypeVar("T")
SQLITE, POSTGRESQL = "sqlite", "postgresql"
both = pytest.mark.parametrize("backend", [SQLITE, POSTGRESQL], indirect=True)
"""Marks what is to hold on either database."""

SERVER_TOML = """
[server]
listen = "127.0.0.1:0"
health_listen = "127.0.0.1:0"
workers = 2
threads_per_worker = 4
stop_within_seconds = 10

[storage]
store_directory = "store"
pending_directory = "pending"
database = "server.sqlite3"
largest_target_bytes = 1_000_000

[keys]
image_online = "online/image-online.key.json"
director_targets = "online/director-targets.key.json"
director_online = "online/director-online.key.json"
log = "online/log.key.json"
passphrase_file = "passphrase"
"""


class PowerCut(BaseException):
    """What a test raises in place of the power going away."""


@contextmanager
def counted() -> Iterator[list[Path]]:
    """The changes of the disk that are made meanwhile, as they come."""
    changes: list[Path] = []

    def note(_act: str, path: Path) -> None:
        changes.append(path)

    with disk.watching(note):
        yield changes


@contextmanager
def cut_at(number: int) -> Iterator[None]:
    """Let the power go before the change of that number, and before all that follow.

    Raises:
        PowerCut: then.
    """
    left = number

    def cut(_act: str, _path: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise PowerCut

    with disk.watching(cut):
        yield


class Ticking:
    """A clock that tests set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def people(*names: str) -> list[Signer]:
    return [signer(name) for name in names]


ROOT = ("root-1", "root-2", "root-3")
DIRECTOR_ROOT = ("director-root-1", "director-root-2", "director-root-3")
HOLDERS = {"image": ROOT, "director": DIRECTOR_ROOT}
TARGETS = ("targets-1", "targets-2")
MANAGERS = ("rosa", "raul")
ROSTER_HOLDERS = ("tom", "tess")


def sign(payload: Any, by: Iterable[str]) -> bytes:
    """Metadata signed by people of these names."""
    metadata = Metadata(payload)
    for name in by:
        metadata.sign(signer(name), append=True)
    return serialise(metadata)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Release:
    """One version of the product: its image, its SBOM, and facts that a test may change."""

    version: str
    counter: int
    content: bytes = b""
    facts: dict[str, Any] = field(default_factory=dict)
    product: str = PRODUCT

    def __post_init__(self) -> None:
        self.content = self.content or f"image {self.version} ".encode() * 100
        self.sbom = json.dumps({"bomFormat": "CycloneDX", "of": self.version}).encode()

    @property
    def path(self) -> str:
        return f"{self.product}/{self.version}/image.img"

    @property
    def sbom_path(self) -> str:
        return f"{self.product}/{self.version}/sbom.cdx.json"

    @property
    def files(self) -> dict[str, bytes]:
        return {self.path: self.content, self.sbom_path: self.sbom}

    def target(self) -> Target:
        """As an order names it."""
        return Target(path=self.path, length=len(self.content), sha256=sha256(self.content))

    def infos(self) -> dict[str, TargetFile]:
        image = Image(
            product=self.product,
            version=self.version,
            hardware_ids=("cm4-r2",),
            release_counter=self.counter,
            raises_floor_to=0,
            min_counter_installed=0,
            update_class=UpdateClass(type="security", urgency="routine"),
            markets=("DE",),
            support_end="2035-12-31",
            udi_di=None,
            slots=(Slot(name="rootfs", length=len(self.content), sha256=sha256(self.content)),),
            references=(Reference(kind="sbom", path=self.sbom_path, sha256=sha256(self.sbom)),),
        )
        evidence = Evidence(
            product=self.product, version=self.version, evidence="sbom", format="CycloneDX"
        )
        customs = {
            self.path: msgspec.to_builtins(image) | self.facts,
            self.sbom_path: msgspec.to_builtins(evidence),
        }
        infos = {}
        for path, data in self.files.items():
            infos[path] = TargetFile(len(data), {"sha256": sha256(data)}, path)
            infos[path].unrecognized_fields["custom"] = customs[path]
        return infos


class Fleet:
    """What people sign offline, and where the server lies.

    Args:
        home: everything is under it.
        now: when it is all signed.

    Attributes:
        cluster: where its databases are, if they are PostgreSQL's.
        database: the name of its database there.
    """

    def __init__(self, home: Path, now: datetime) -> None:
        self.now = now
        self.cluster: Cluster | None = None
        self.database = ""
        self._lies_at(home)
        for name in (*ONLINE_ROLES, LOG_KEY):
            keys.new_key(self.online, name, "ed25519", PASSPHRASE, scrypt_n=keys.MIN_SCRYPT_N)
        self.config.write_text(SERVER_TOML)
        secret = home / "passphrase"
        secret.write_text(PASSPHRASE + "\n")
        secret.chmod(0o600)
        self.write_ceremony(self.ceremony)

    def _lies_at(self, home: Path) -> None:
        self.home, self.online = home, home / "online"
        self.config, self.ceremony = home / "server.toml", home / "ceremony"

    def copy(self, home: Path) -> Fleet:
        """The same fleet elsewhere: the settings hold relative paths."""
        shutil.copytree(self.home, home)
        copied = copy(self)
        copied._lies_at(home)
        if self.cluster is not None:
            copied._is_in(self.cluster, self.cluster.make(self.database))
        return copied

    def blank(self, home: Path, cluster: Cluster) -> Fleet:
        """The same keys and ceremony elsewhere, and an empty database of PostgreSQL."""
        unmade = shutil.ignore_patterns("store", "pending", "server.sqlite3*")
        shutil.copytree(self.home, home, ignore=unmade)
        copied = copy(self)
        copied._lies_at(home)
        copied._is_in(cluster, cluster.make())
        return copied

    def _is_in(self, cluster: Cluster, database: str) -> None:
        self.cluster, self.database = cluster, database
        named = f'database = "{cluster.url(database)}"'
        lines = self.config.read_text().splitlines()
        changed = [named if line.startswith("database = ") else line for line in lines]
        self.config.write_text("\n".join(changed) + "\n")

    # A ceremony

    def root(
        self,
        repository: str,
        version: int = 1,
        *,
        holders: tuple[str, ...] | None = None,
        targets: tuple[str, ...] = TARGETS,
        online: Path | None = None,
    ) -> Root:
        """A root; those who sign it, targets, or the online keys may be others than at first."""
        root = Root(version=version, expires=self.now + timedelta(days=365))
        for name in holders or HOLDERS[repository]:
            root.add_key(signer(name).public_key, "root")
        root.roles["root"].threshold = 2
        for name, pairs in ONLINE_ROLES.items():
            public = keys.load_public_key((online or self.online) / f"{name}.pub.json").key
            for of, role in pairs:
                if of == repository:
                    root.add_key(public, role)
        if repository == "image":
            for name in targets:
                root.add_key(signer(name).public_key, "targets")
            root.roles["targets"].threshold = 2
        set_issued(root, self.now)
        return root

    def write_ceremony(self, output: Path, fleet: str = FLEET) -> None:
        """What ``interlock-ceremony run`` leaves behind, as far as the server reads it."""
        image = sign(self.root("image"), ROOT[:2])
        director = sign(self.root("director"), DIRECTOR_ROOT[:2])
        targets = Targets(version=1, expires=self.now + timedelta(days=365))
        set_issued(targets, self.now)
        for name in ("image", "director"):
            (output / name).mkdir(parents=True)
        (output / "image" / "1.root.json").write_bytes(image)
        (output / "image" / "1.targets.json").write_bytes(sign(targets, TARGETS))
        (output / "director" / "1.root.json").write_bytes(director)
        (output / "fleet.json").write_bytes(
            wire.encode(
                FleetFile(fleet=fleet, image_root=sha256(image), director_root=sha256(director))
            )
        )

    # What is published

    def delegations(self, version: int = 2, **holders: tuple[str, ...]) -> Targets:
        """Top-level targets that delegate the product and the roster."""
        chosen = {PRODUCT: MANAGERS, ROSTER_ROLE: ROSTER_HOLDERS} | holders
        targets = Targets(version=version, expires=self.now + timedelta(days=365))
        targets.delegations = Delegations(
            {},
            {name: DelegatedRole(name, [], 2, True, delegated_paths(name)) for name in chosen},
        )
        for name, who in chosen.items():
            for one in who:
                targets.add_key(signer(one).public_key, name)
        set_issued(targets, self.now)
        return targets

    def product(self, version: int, *releases: Release) -> Targets:
        """The product's metadata, listing these releases."""
        targets = Targets(version=version, expires=self.now + timedelta(days=90))
        for release in releases:
            targets.targets |= release.infos()
        set_issued(targets, self.now)
        return targets

    def roster_role(self, version: int, data: bytes) -> Targets:
        """The role ``interlock``, listing a roster."""
        targets = Targets(version=version, expires=self.now + timedelta(days=90))
        targets.targets[ROSTER_PATH] = TargetFile.from_data(ROSTER_PATH, data, ["sha256"])
        set_issued(targets, self.now)
        return targets

    def roster(self, *persons: Person, **changes: Any) -> Roster:
        """The roster of ``tests.support.people``, issued a day before; of others if given."""
        return roster(*persons, **{"issued": self.now - timedelta(days=1)} | changes)

    def settings(self) -> Settings:
        return load_settings(self.config)


@dataclass
class Called:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.out)
        return parsed


def call(*words: str | Path) -> Called:
    """Run ``interlock-server`` in this process."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return Called(result.exit_code, result.stdout, result.stderr)


def start(*words: str | Path) -> subprocess.Popen[str]:
    """Start ``interlock-server`` as a process of its own."""
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("interlock-server")), *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class StoreFetcher(FetcherInterface):
    """Answers a TUF client from a Store, as a static file server would."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield self.store.get(url.removeprefix(BASE))
        except NotFoundError as e:
            raise exceptions.DownloadHTTPError("not found", 404) from e


class Reader:
    """An unmodified ``tuf.ngclient``, as a gateway has it, that remembers what it trusted."""

    def __init__(self, fleet: Fleet, home: Path) -> None:
        self.fleet = fleet
        self.home = home

    def updater(self, fetcher: FetcherInterface, prefix: str, now: datetime) -> Updater:
        directory = self.home / prefix.replace("/", "-")
        (directory / "targets").mkdir(parents=True, exist_ok=True)
        root = self.fleet.ceremony / prefix.split("/", maxsplit=1)[0] / "1.root.json"
        updater = Updater(
            str(directory),
            f"{BASE}{prefix}/metadata/",
            str(directory / "targets"),
            f"{BASE}{prefix}/targets/",
            fetcher=fetcher,
            bootstrap=root.read_bytes(),
        )
        updater._trusted_set.reference_time = now
        updater.refresh()
        return updater

    def read(self, store: Store, prefix: str, path: str, now: datetime) -> bytes | None:
        """A target, verified from the first root on; None if nothing lists it."""
        updater = self.updater(StoreFetcher(store), prefix, now)
        info = updater.get_targetinfo(path)
        return Path(updater.download_target(info)).read_bytes() if info else None


class Bench:
    """A server in this process, whose clock and Store a test may change.

    Args:
        fleet: whose.
        wrap: puts something between the server and its Store.
    """

    def __init__(self, fleet: Fleet, signers: Signers | None = None) -> None:
        self.fleet = fleet
        self.clock = Ticking(fleet.now)
        self.settings = fleet.settings()
        self.signers = signers or open_signers(self.settings)
        self.plug(None)

    def plug(self, writes: Store | None) -> None:
        """Make a new process's worth of objects, as after a restart."""
        self.back: Backstage = backstage(
            self.settings, self.signers, clock=self.clock, writes=writes
        )
        self._client: Any = None

    @property
    def store(self) -> FileStore:
        return self.back.store

    def found(self, *cohorts: str) -> None:
        schema.upgrade(self.back.database)
        found(
            read_ceremony(self.fleet.ceremony, self.clock()),
            cohorts or COHORTS,
            database=self.back.database,
            store=self.back.writes,
            publisher=self.back.publisher,
            clock=self.clock,
        )
        self.services: Services = services(self.back)

    def restart(self, writes: Store | None = None) -> None:
        self.back.database.close()
        self.plug(writes)
        self.services = services(self.back)

    @property
    def client(self) -> Any:
        """Flask's test client; as Any, because an answer's ``json`` would be optional otherwise."""
        if self._client is None:
            self._client = create_app(self.services).test_client()
        return self._client

    # What people do

    def post(self, path: str, body: object, **kwargs: Any) -> Any:
        return self.client.post(
            path, data=wire.encode(body), content_type="application/json", **kwargs
        )

    def say(self, opened: Opened[Any]) -> Any:
        """Post one statement."""
        return self.post("/v1/statements", opened.envelope)

    def say_all(self, *papers: Opened[Any]) -> None:
        for paper in papers:
            answer = self.say(paper)
            assert answer.status_code in {200, 201}, answer.text

    def offer(self, role: str, text: bytes) -> Any:
        """Post signed metadata."""
        return self.post("/v1/publications", {"metadata": {role: text.decode()}})

    def send(self, id_: str, data: bytes, **kwargs: Any) -> Any:
        return self.client.put(
            f"/v1/publications/{id_}/targets/{sha256(data)}", data=data, **kwargs
        )

    def commit(self, id_: str) -> Any:
        return self.post(f"/v1/publications/{id_}/commit", {})

    def publish(self, role: str, text: bytes, files: Iterable[bytes] = ()) -> None:
        """Everything from the first call to the last."""
        offered = self.offer(role, text)
        assert offered.status_code == 201, offered.text
        missing = {one["sha256"] for one in offered.json["missing"]}
        for data in files:
            if sha256(data) in missing:
                assert self.send(sha256(text), data).status_code == 204
        done = self.commit(sha256(text))
        assert done.status_code == 200, done.text
        assert done.json["state"] == "published"

    def delegate(self) -> None:
        self.publish("targets", sign(self.fleet.delegations(), TARGETS))

    def publish_roster(self, data: bytes | None = None, version: int = 1) -> None:
        data = data if data is not None else wire.encode(self.fleet.roster())
        self.publish(
            ROSTER_ROLE, sign(self.fleet.roster_role(version, data), ROSTER_HOLDERS), [data]
        )

    def release(self, version: int, *releases: Release) -> None:
        files = [data for release in releases for data in release.files.values()]
        self.publish(PRODUCT, sign(self.fleet.product(version, *releases), MANAGERS), files)

    # What devices do, and what people read of them

    def enrol(self, opened: Opened[Enrolment], secret: str = SECRET) -> Any:
        """A device asks, showing the secret of a claim."""
        return self.post(
            "/v1/enrolments", EnrolmentRequest(claim=secret, enrolment=opened.envelope)
        )

    def let_in(self, opened: Opened[Enrolment], **countersigned: Any) -> Opened[Enrolment]:
        """From the claim to the countersignature."""
        said, secret = opened.said, f"secret-of-{opened.id}"
        places = {"site": said.site, "cohort": said.cohort, "product": said.product}
        self.say_all(claim(secret, at=said.at, expires=said.at + days(7), **places))
        assert self.enrol(opened, secret).status_code == 201
        self.say_all(countersign(opened, **countersigned))
        return opened

    def tell(self, opened: Opened[Any]) -> Any:
        """A device reports."""
        return self.post("/v1/reports", opened.envelope)

    def tell_all(self, *reports: Opened[Any]) -> None:
        for one in reports:
            answer = self.tell(one)
            assert answer.status_code == 201, answer.text

    def token(self, by: str = "olga") -> dict[str, str]:
        """The header of somebody who may read."""
        challenge = self.post("/v1/challenges", {}).json["challenge"]
        answer = self.post("/v1/tokens", session(challenge, by=by, at=self.clock()).envelope)
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json['token']}"}

    def read(self, path: str, type_: type[T]) -> T:
        """What an operator reads there."""
        answer = self.client.get(path, headers=self.token())
        assert answer.status_code == 200, answer.text
        return wire.decode(answer.data, type_, limit=MAX_ANSWER, what="answer")

    def refusals(self) -> dict[tuple[str, str], int]:
        """How often what was refused, by kind and reason."""
        self.back.refusals.flush()
        with self.back.database.reading() as db:
            return {(row.kind, row.reason): row.times for row in db.scalars(select(RefusalRow))}

    # What gateways read

    def directive(self, cohort: str = CANARY, home: Path | None = None) -> Directive:
        """The directive of a cohort, as a gateway that trusts nothing yet would read it."""
        home = home or self.fleet.home / "fresh" / sha256(str(id(object())).encode())[:8]
        data = Reader(self.fleet, home).read(
            self.store, f"director/{cohort}", DIRECTIVE_PATH, self.clock()
        )
        assert data is not None
        return read_directive(data)


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


V1 = Release("1.0.0", 10)
V2 = Release("2.0.0", 20)
NOW = DAY0 + timedelta(hours=1)
