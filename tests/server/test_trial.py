"""Before heads flip: real clients from everywhere must follow, or nothing is published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import pytest
from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Snapshot, Timestamp

from interlock_core import wire
from interlock_core.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
    TransientError,
    WireError,
)
from interlock_core.store import Store
from interlock_core.tuf_metadata import serialise
from interlock_core.tuf_repository import OnlineRepository
from interlock_core.tuf_stored import StoredRepository, metadata_key, timestamp_key
from interlock_server import rotation as rotation_module
from interlock_server.overlay import Overlay
from interlock_server.trial import REASON, try_out
from tests.server.later import new_online, restart, rotation, send
from tests.server.world import (
    COHORTS,
    DIRECTOR_ROOT,
    MANAGERS,
    NOW,
    PRODUCT,
    ROOT,
    ROSTER_HOLDERS,
    TARGETS,
    V1,
    V2,
    Bench,
    sha256,
    sign,
)
from tests.support import people
from tests.support.papers import authorise, order, stop
from tests.support.people import CANARY

FRESH, OLDEST, TODAY = "that is new", "of the oldest supported root", "of today"


def kept(bench: Bench) -> dict[Path, bytes]:
    root = bench.settings.store_directory
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def put_roots(bench: Bench, *versions: int) -> None:
    for version in versions:
        bench.back.publisher.image().put_root(sign(bench.fleet.root("image", version), ROOT))


def heads(bench: Bench, cohort: str) -> bytes:
    return bench.store.get(timestamp_key(f"director/{cohort}"))


def offered(bench: Bench) -> str:
    """A second release, uploaded whole."""
    text = sign(bench.fleet.product(2, V1, V2), MANAGERS)
    bench.offer(PRODUCT, text)
    for data in V2.files.values():
        bench.send(sha256(text), data)
    return sha256(text)


class TestCommit:
    def test_what_was_tried_is_what_is_written(self, bench: Bench) -> None:
        assert bench.commit(offered(bench)).status_code == 200
        assert StoredRepository(bench.store, "image").published_version(PRODUCT) == 2

    def test_a_broken_root_chain_stops_it_and_nothing_is_written(self, bench: Bench) -> None:
        """Gateways that trust root 1 could not walk to root 3: the release would strand them."""
        put_roots(bench, 2, 3)
        damaged = bench.store.path(metadata_key("image", 2, "root"))
        data = damaged.read_bytes()
        damaged.write_bytes(sign(bench.fleet.root("image", 2), ROOT[:1]))
        id_ = offered(bench)
        # The bytes of targets are stored first; nothing leads to them.
        first = bench.commit(id_)
        before = kept(bench)
        for answer in (first, bench.commit(id_)):
            assert (answer.status_code, answer.json["reason"]) == (403, REASON), answer.text
            assert FRESH in answer.json["detail"]
            assert "root was signed by 1/2 keys" in answer.json["detail"]
        assert kept(bench) == before
        assert StoredRepository(bench.store, "image").newest(PRODUCT) == 1
        damaged.write_bytes(data)
        assert bench.commit(id_).status_code == 200

    def test_a_refresh_shows_nothing_that_gateways_would_refuse(self, bench: Bench) -> None:
        """It signs again what is shown already, all the same."""
        put_roots(bench, 2, 3)
        bench.back.publisher.image().put_offline(
            PRODUCT, sign(bench.fleet.product(2, V1, V2), MANAGERS)
        )
        bench.store.path(metadata_key("image", 2, "root")).unlink()
        before = StoredRepository(bench.store, "image").published_version("timestamp") or 0
        with pytest.raises(RefusedError) as refused:
            bench.back.publisher.refresh(force=True)
        assert refused.value.reason == REASON
        stored = StoredRepository(bench.store, "image")
        assert stored.published_version(PRODUCT) == 1
        assert (stored.published_version("timestamp") or 0) > before

    def test_what_expired_and_stays_stops_nobody(self, bench: Bench) -> None:
        """Else nothing could ever be renewed: one expired role would refuse all the others."""
        bench.clock.now = NOW + timedelta(days=91)
        bench.fleet.now = bench.clock.now
        bench.publish("targets", sign(bench.fleet.delegations(3), TARGETS))
        assert StoredRepository(bench.store, "image").published_version("targets") == 3

    def test_what_the_clients_read_is_bounded(self, bench: Bench) -> None:
        """Of the staged metadata each client reads a bounded number of files."""
        read: list[str] = []

        class Counting(Overlay):
            def open(self, key: str) -> IO[bytes]:
                read.append(key)
                return super().open(key)

        staged = Counting(bench.store)
        repository = image(bench, staged)
        repository.put_offline(PRODUCT, sign(bench.fleet.product(2, V1), MANAGERS))
        repository.publish()
        try_out(bench.store, staged, "image", NOW)
        # A new one reads timestamp, snapshot, targets and the product; the others what they lack.
        assert len([key for key in read if "root" not in key]) <= 3 * 4


def image(bench: Bench, store: Overlay) -> OnlineRepository:
    publisher = bench.back.publisher
    return OnlineRepository(store, "image", publisher._roles("image"), bench.clock)


@dataclass
class Staging:
    """A second release staged over the published one, to be spoilt by a test."""

    bench: Bench
    store: Overlay

    def __post_init__(self) -> None:
        for path, data in V2.files.items():
            folder, _, name = path.rpartition("/")
            self.bench.store.put_new(f"image/targets/{folder}/{sha256(data)}.{name}", data)
        repository = image(self.bench, self.store)
        repository.put_offline(PRODUCT, sign(self.bench.fleet.product(2, V1, V2), MANAGERS))
        repository.publish()

    @property
    def stored(self) -> StoredRepository:
        return StoredRepository(self.store, "image")

    def online(self) -> Signer:
        return self.bench.signers["image-online"][0]

    def sign_heads(self, change: Callable[[Snapshot], None], signer: Signer | None = None) -> None:
        """Another snapshot and the timestamp to it, by whoever holds the online key."""
        signer = signer or self.online()
        snapshot, timestamp = self.stored.snapshot(), self.stored.timestamp()
        assert snapshot is not None
        assert timestamp is not None
        change(snapshot.signed)
        snapshot.signed.version += 1
        snapshot.sign(signer)
        data = serialise(snapshot)
        self.store.put_new(metadata_key("image", snapshot.signed.version, "snapshot"), data)
        timestamp.signed.snapshot_meta = MetaFile(
            snapshot.signed.version, len(data), {"sha256": wire.sha256_hex(data)}
        )
        timestamp.signed.version += 1
        timestamp.sign(signer)
        self.store.replace(timestamp_key("image"), serialise(timestamp))


@pytest.fixture
def staging(bench: Bench) -> Staging:
    return Staging(bench, Overlay(bench.store))


def refused(staging: Staging, **how: int) -> str:
    with pytest.raises(RefusedError) as refused:
        try_out(staging.bench.store, staging.store, "image", NOW, **how)
    assert refused.value.reason == REASON
    return str(refused.value)


class TestClients:
    def test_a_good_one_passes(self, staging: Staging) -> None:
        try_out(staging.bench.store, staging.store, "image", NOW)

    def test_heads_of_a_strange_key(self, staging: Staging) -> None:
        strange = staging.bench.signers["director-online"][0]
        staging.sign_heads(lambda _: None, strange)
        assert FRESH in refused(staging)

    def test_a_role_that_goes_back(self, staging: Staging) -> None:
        """Whoever is new would take it; those of today would refuse everything from then on."""

        def back(snapshot: Snapshot) -> None:
            data = staging.stored.get(1, "targets")
            snapshot.meta["targets.json"] = MetaFile(1, len(data), {"sha256": sha256(data)})
            del snapshot.meta[f"{PRODUCT}.json"]

        staging.sign_heads(back)
        assert TODAY in refused(staging)

    def test_a_timestamp_whose_number_does_not_rise(self, staging: Staging) -> None:
        """Those of today take it for the one that they have, and stay where they are."""
        published = StoredRepository(staging.bench.store, "image").timestamp()
        staged = staging.stored.timestamp()
        assert published is not None
        assert staged is not None
        staged.signed.version = published.signed.version
        staged.sign(staging.online())
        staging.store.replace(timestamp_key("image"), serialise(staged))
        said = refused(staging)
        assert TODAY in said
        assert "it stays at snapshot" in said

    def test_a_product_below_its_threshold(self, staging: Staging) -> None:
        text = sign(staging.bench.fleet.product(3, V1, V2), MANAGERS[:1])
        staging.store.put_new(metadata_key("image", 3, PRODUCT), text)

        def show(snapshot: Snapshot) -> None:
            snapshot.meta[f"{PRODUCT}.json"] = MetaFile(3, len(text), {"sha256": sha256(text)})

        staging.sign_heads(show)
        assert f"at {PRODUCT}" in refused(staging)

    @pytest.mark.parametrize("damage", ["lost", "short"])
    def test_a_target_that_is_not_there(self, staging: Staging, damage: str) -> None:
        folder, _, name = V2.path.rpartition("/")
        key = f"image/targets/{folder}/{sha256(V2.content)}.{name}"
        file = staging.bench.store.path(key)
        file.unlink() if damage == "lost" else file.write_bytes(b"short")
        assert f"at {PRODUCT}" in refused(staging)

    def test_what_one_of_the_oldest_root_holds_counts(self, staging: Staging) -> None:
        """It slept since the first snapshot, which led it further than what is staged."""
        stored = StoredRepository(staging.bench.store, "image")
        first = Metadata[Snapshot].from_bytes(stored.get(1, "snapshot"))
        first.signed.meta[f"{PRODUCT}.json"] = MetaFile(5)
        first.sign(staging.online())
        staging.bench.store.path(metadata_key("image", 1, "snapshot")).write_bytes(serialise(first))
        assert OLDEST in refused(staging)

    @pytest.mark.parametrize("oldest", [2, 3, 9])
    def test_the_oldest_supported_root_may_be_any(self, staging: Staging, oldest: int) -> None:
        put_roots(staging.bench, 2, 3)
        again = Staging(staging.bench, Overlay(staging.bench.store))
        try_out(again.bench.store, again.store, "image", NOW, oldest_root=oldest)

    def test_a_disk_that_fails_is_no_verdict(self, staging: Staging) -> None:
        class Failing(Overlay):
            def open(self, key: str) -> IO[bytes]:
                raise TransientError("The disk failed.")

        with pytest.raises(TransientError):
            try_out(staging.bench.store, Failing(staging.store), "image", NOW)


class TestDirectors:
    def test_a_director_is_tried_the_same_way(self, bench: Bench) -> None:
        staged = Overlay(bench.store)
        prefix = "director/canary"
        repository = OnlineRepository(
            staged, prefix, bench.back.publisher._roles("director"), bench.clock, cohort="canary"
        )
        repository.publish_targets(dict(repository.open("targets").signed.targets))
        repository.refresh(timedelta(days=36_500))
        try_out(bench.store, staged, prefix, NOW)
        strange = Metadata[Timestamp].from_bytes(staged.get(timestamp_key(prefix)))
        strange.sign(bench.signers["image-online"][0])
        staged.replace(timestamp_key(prefix), serialise(strange))
        with pytest.raises(RefusedError):
            try_out(bench.store, staged, prefix, NOW)

    def test_a_publication_that_changes_a_director_tries_it_first(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        """One whose gateways would be left behind keeps its heads; the others get theirs."""
        said = order(targets=(V1.target(),))
        bench.say_all(said, authorise(said))
        served = [c for c in COHORTS if bench.directive(c, tmp_path / c).products]
        assert served
        damaged = served[0]
        self.strand(bench, damaged)
        before = heads(bench, damaged)
        roster = wire.encode(people.roster(people.OLGA, people.ALAN, seq=2, issued=NOW))
        text = sign(bench.fleet.roster_role(2, roster), ROSTER_HOLDERS)
        bench.offer("interlock", text)
        bench.send(sha256(text), roster)
        answer = bench.commit(sha256(text))
        assert (answer.status_code, answer.json["reason"]) == (503, "not_published"), answer.text
        assert FRESH in answer.json["detail"]
        assert heads(bench, damaged) == before
        for cohort in served[1:]:
            assert not bench.directive(cohort, tmp_path / f"{cohort}-2").products
        # The image repository moved; what is signed again goes out all the same.
        assert StoredRepository(bench.store, "image").published_version("interlock") == 2

    def test_a_stop_goes_out_to_those_who_can_follow(self, bench: Bench) -> None:
        said = order(targets=(V1.target(),))
        bench.say_all(said, authorise(said))
        self.strand(bench, CANARY)
        before = heads(bench, CANARY)
        bench.say_all(stop(said))
        assert heads(bench, CANARY) != before

    @pytest.mark.parametrize("cohort", COHORTS)
    def test_a_rotation_tries_the_director_of_every_cohort(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, cohort: str
    ) -> None:
        """One that would strand its gateways stops the whole of it."""
        new_online(bench.fleet)
        restart(bench, "online-2", "online")
        head = timestamp_key(f"director/{cohort}")

        def spoilt(before: Store, staged: Store, prefix: str, now: datetime, **how: Any) -> None:
            # As if the head of this one had been signed by a strange key.
            strange = Metadata[Timestamp].from_bytes(staged.get(head))
            strange.sign(bench.signers["image-online"][0])
            staged.replace(head, serialise(strange))
            try_out(before, staged, prefix, now, **how)

        monkeypatch.setattr(rotation_module, "try_out", spoilt)
        before = kept(bench)
        answer = send(bench, rotation(bench.fleet))
        assert (answer.status_code, answer.json["reason"]) == (403, REASON), answer.text
        assert kept(bench) == before

    def strand(self, bench: Bench, cohort: str) -> None:
        """The directors get a second root, and one of them has it damaged: nobody new passes it."""
        text = sign(bench.fleet.root("director", 2), DIRECTOR_ROOT)
        third = sign(bench.fleet.root("director", 3), DIRECTOR_ROOT)
        for one in COHORTS:
            bench.back.publisher.director(one).put_roots([text, third])
        damaged = bench.store.path(metadata_key(f"director/{cohort}", 2, "root"))
        damaged.write_bytes(sign(bench.fleet.root("director", 2), DIRECTOR_ROOT[:1]))


class TestOverlay:
    def test_nothing_reaches_the_store_before_it_is_written(self, bench: Bench) -> None:
        before = kept(bench)
        over = Overlay(bench.store)
        over.put_new("image/metadata/9.x.json", b"new")
        over.replace("image/metadata/timestamp.json", b"head")
        assert over.get("image/metadata/9.x.json") == b"new"
        assert over.open("image/metadata/timestamp.json").read() == b"head"
        assert over.size("image/metadata/9.x.json") == 3
        assert "image/metadata/9.x.json" in over.list("image/metadata/")
        assert kept(bench) == before
        over.write()
        over.write()
        assert bench.store.get("image/metadata/9.x.json") == b"new"
        assert bench.store.get("image/metadata/timestamp.json") == b"head"

    def test_it_keeps_the_rules_of_a_store(self, bench: Bench) -> None:
        over = Overlay(bench.store)
        there = bench.store.get(metadata_key("image", 1, "root"))
        over.put_new(metadata_key("image", 1, "root"), there)
        with pytest.raises(ConflictError):
            over.put_new(metadata_key("image", 1, "root"), b"other")
        over.put_new("image/metadata/9.x.json", b"new")
        with pytest.raises(ConflictError):
            over.put_new("image/metadata/9.x.json", b"other")
        with pytest.raises(NotFoundError):
            over.get("image/metadata/10.x.json")
        with pytest.raises(WireError):
            over.put_new("../x", b"")

    def test_it_writes_in_the_order_in_which_things_came(self, bench: Bench) -> None:
        """A head that came twice is written twice, each time in its place, unless it is the same.

        What failed on the way goes on from there: a head never goes back.
        """
        written: list[tuple[str, bytes]] = []
        fails = [False, False, False, True]

        class Noting:
            def __getattr__(self, name: str) -> Any:
                return getattr(bench.store, name)

            def put_new(self, key: str, data: bytes) -> None:
                self._note(key, data)
                bench.store.put_new(key, data)

            def replace(self, key: str, data: bytes) -> None:
                self._note(key, data)
                bench.store.replace(key, data)

            def _note(self, key: str, data: bytes) -> None:
                if fails and fails.pop(0):
                    raise TransientError("The disk failed.")
                written.append((key, data))

        head = "image/metadata/timestamp.json"
        over = Overlay(Noting())
        over.replace(head, b"1")
        over.put_new("image/metadata/9.x.json", b"new")
        over.replace(head, b"1")
        over.replace(head, b"2")
        over.put_new("image/metadata/9.y.json", b"new")
        assert over.get(head) == b"2"
        with pytest.raises(TransientError):
            over.write()
        assert bench.store.get(head) == b"2"
        over.write()
        assert written == [
            (head, b"1"),
            ("image/metadata/9.x.json", b"new"),
            (head, b"2"),
            ("image/metadata/9.y.json", b"new"),
        ]
