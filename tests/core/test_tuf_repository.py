"""Repositories written by the code under test, read by an unmodified tuf.ngclient."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api import exceptions
from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

from interlock_core.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    RefusedError,
    WireError,
)
from interlock_core.store import FileStore
from interlock_core.tuf_repository import ROLES, OnlineRepository, Published, newest_root
from interlock_core.tuf_stored import StoredRepository, newest_versions
from tests.core.tuf_world import (
    NOW,
    Client,
    CutStore,
    PowerCut,
    Ticking,
    World,
    keys,
    signed,
    target_file,
)

OLD = {"gw-a/1.0/image.bin": b"image 1", "interlock/roster.json": b"roster 1"}
NEW = {
    "gw-a/1.0/image.bin": b"image 1",
    "gw-a/2.0/image.bin": b"image 2",
    "interlock/roster.json": b"roster 2",
}
PATHS = sorted(NEW)
DIRECTIVE_OLD = {"directive.json": b"{}"}
DIRECTIVE_NEW = {"directive.json": b'{"a":1}', "gw-a/1.0/image.bin": b"image 1"}


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture
def world(store: FileStore, clock: Ticking) -> World:
    world = World(store, clock)
    world.sign_genesis()
    return world


@pytest.fixture
def image(world: World) -> OnlineRepository:
    world.publish_image(1, OLD)
    return world.image()


@pytest.fixture
def director(world: World) -> OnlineRepository:
    world.publish_director(DIRECTIVE_OLD)
    return world.director()


def image_client(world: World, directory: Path) -> Client:
    return Client(world.store, "image", world.signed_root, directory)


def director_client(world: World, directory: Path, cohort: str = "canary") -> Client:
    return Client(world.store, f"director/{cohort}", world.signed_director_root, directory)


def known(files: dict[str, bytes], paths: list[str] = PATHS) -> dict[str, bytes | None]:
    return {path: files.get(path) for path in paths}


# Accepted by an unmodified client


@pytest.mark.usefixtures("image")
def test_an_image_repository_is_accepted(world: World, tmp_path: Path) -> None:
    client = image_client(world, tmp_path / "client")
    assert client.read(NOW, PATHS) == known(OLD)
    world.publish_image(2, NEW)
    assert client.read(NOW, PATHS) == known(NEW)
    assert image_client(world, tmp_path / "fresh").read(NOW, PATHS) == known(NEW)


@pytest.mark.usefixtures("director")
def test_a_director_is_accepted(world: World, tmp_path: Path) -> None:
    client = director_client(world, tmp_path / "client")
    paths = sorted(DIRECTIVE_NEW)
    assert client.read(NOW, paths) == known(DIRECTIVE_OLD, paths)
    world.publish_director(DIRECTIVE_NEW)
    assert client.read(NOW, paths) == known(DIRECTIVE_NEW, paths)


@pytest.mark.usefixtures("director")
def test_online_metadata_of_a_director_names_its_cohort_under_signature(
    world: World, store: FileStore
) -> None:
    for key in ("1.targets", "1.snapshot", "timestamp"):
        metadata = Metadata[Targets].from_bytes(store.get(f"director/canary/metadata/{key}.json"))
        assert metadata.signed.unrecognized_fields == {"cohort": "canary"}
    for key in ("1.snapshot", "timestamp"):
        world.publish_image(1, OLD)
        metadata = Metadata[Targets].from_bytes(store.get(f"image/metadata/{key}.json"))
        assert metadata.signed.unrecognized_fields == {}


@pytest.mark.usefixtures("image")
def test_snapshot_and_timestamp_bind_length_and_digest(store: FileStore) -> None:
    timestamp = Metadata[Timestamp].from_bytes(store.get("image/metadata/timestamp.json"))
    timestamp.signed.snapshot_meta.verify_length_and_hashes(
        store.get("image/metadata/1.snapshot.json")
    )
    snapshot = Metadata[Snapshot].from_bytes(store.get("image/metadata/1.snapshot.json"))
    assert sorted(snapshot.signed.meta) == ["gw-a.json", "interlock.json", "targets.json"]
    for name, meta in snapshot.signed.meta.items():
        assert meta.hashes is not None
        meta.verify_length_and_hashes(store.get(f"image/metadata/1.{name}"))


@pytest.mark.usefixtures("image", "director")
def test_metadata_is_compact_and_expires_as_the_table_says(store: FileStore) -> None:
    for key in store.list("director/") + store.list("image/metadata/"):
        if key.endswith(".json") and "targets/" not in key:
            assert b": " not in store.get(key)
    for prefix, role, key in [
        ("image", "timestamp", "timestamp"),
        ("image", "snapshot", "1.snapshot"),
        ("director/canary", "targets", "1.targets"),
    ]:
        metadata = Metadata[Targets].from_bytes(store.get(f"{prefix}/metadata/{key}.json"))
        assert metadata.signed.expires == NOW + ROLES[role].lifetime
    assert timedelta(days=7) <= ROLES["timestamp"].lifetime <= timedelta(days=14)


@pytest.mark.usefixtures("director")
def test_publishing_again_writes_nothing(
    world: World, image: OnlineRepository, store: FileStore
) -> None:
    before = {key: store.path(key).stat().st_mtime_ns for key in store.list("")}
    assert not image.publish()
    world.publish_image(1, OLD)
    world.publish_director(DIRECTIVE_OLD)
    assert {key: store.path(key).stat().st_mtime_ns for key in store.list("")} == before


def test_a_release_rewrites_only_what_changed(world: World, image: OnlineRepository) -> None:
    before = set(world.store.list("image/metadata/"))
    image.put_offline("gw-a", signed(world.role(2, {}), world.product_keys))
    assert image.publish() == Published(snapshot=2, timestamp=2)
    assert set(world.store.list("image/metadata/")) - before == {
        "image/metadata/2.gw-a.json",
        "image/metadata/2.snapshot.json",
    }


def test_a_role_that_was_never_published_is_not_listed(world: World, tmp_path: Path) -> None:
    repository = world.image()
    repository.put_root(world.signed_root)
    with pytest.raises(NotFoundError, match="targets"):
        repository.publish()
    repository.put_offline("targets", world.signed_targets)
    assert repository.publish() == Published(targets=1, snapshot=1, timestamp=1)
    client = image_client(world, tmp_path / "client")
    assert client.read(NOW, ["other/1/x"]) == {"other/1/x": None}
    with pytest.raises(exceptions.RepositoryError, match="not part of snapshot"):
        client.read(NOW, ["gw-a/1.0/image.bin"])


# Crashes


def cut_everywhere(
    world: World,
    act: Callable[[World], object],
    check: Callable[[World], None],
) -> int:
    """Cut ``act`` off before each of its writes; after each, ``check``, finish, and check again.

    The state before is restored by working on a copy of the store.
    """
    base = world.store
    assert isinstance(base, FileStore)
    number = 0
    while True:
        copy = FileStore(base.root.with_name(f"copy-{number}"))
        for key in base.list(""):
            put = copy.replace if key.endswith("timestamp.json") else copy.put_new
            put(key, base.get(key))
        world.store = CutStore(copy, number)
        finished = True
        try:
            act(world)
        except PowerCut:
            finished = False
        world.store = copy
        check(world)
        act(world)
        check(world)
        world.store = base
        if finished:
            return number
        number += 1


@pytest.mark.usefixtures("image")
def test_a_release_cut_off_before_any_write_is_old_or_new(world: World, tmp_path: Path) -> None:
    states: list[bool] = []

    def check(world: World) -> None:
        state = image_client(world, tmp_path / f"client{len(states)}").read(NOW, PATHS)
        assert state in (known(OLD), known(NEW))
        states.append(state == known(NEW))

    writes = cut_everywhere(world, lambda w: w.publish_image(2, NEW), check)
    # Three targets, two roles, snapshot, timestamp: only the whole run shows anything.
    assert writes == 7
    assert states[0::2] == [False] * 7 + [True]
    assert states[1::2] == [True] * 8


@pytest.mark.usefixtures("director")
def test_a_directive_cut_off_before_any_write_is_old_or_new(world: World, tmp_path: Path) -> None:
    states: list[bool] = []
    paths = sorted(DIRECTIVE_NEW)

    def check(world: World) -> None:
        state = director_client(world, tmp_path / f"client{len(states)}").read(NOW, paths)
        assert state in (known(DIRECTIVE_OLD, paths), known(DIRECTIVE_NEW, paths))
        states.append(state == known(DIRECTIVE_NEW, paths))

    # Two targets, targets metadata, snapshot, timestamp; the root is there.
    writes = cut_everywhere(world, lambda w: w.publish_director(DIRECTIVE_NEW), check)
    assert writes == 5
    assert states[0::2] == [False] * 5 + [True]
    assert states[1::2] == [True] * 6


@pytest.mark.usefixtures("director")
def test_a_refresh_cut_off_before_any_write_stays_readable(
    world: World, clock: Ticking, tmp_path: Path
) -> None:
    clock.now = NOW + timedelta(days=5)
    seen = 0

    def check(world: World) -> None:
        nonlocal seen
        seen += 1
        client = director_client(world, tmp_path / f"client{seen}")
        assert client.read(clock.now, ["directive.json"]) == DIRECTIVE_OLD

    assert cut_everywhere(world, lambda w: w.director().refresh(), check) == 3


def test_the_first_publication_can_be_cut_off_anywhere(world: World, tmp_path: Path) -> None:
    clients = 0

    def check(world: World) -> None:
        nonlocal clients
        clients += 1
        client = image_client(world, tmp_path / f"client{clients}")
        if StoredRepository(world.store, "image").timestamp() is not None:
            assert client.read(NOW, PATHS) == known(OLD)

    # Root, targets, two targets files, two roles, snapshot, timestamp.
    assert cut_everywhere(world, lambda w: w.publish_image(1, OLD), check) == 8


def test_leavings_of_a_crash_are_never_reused(world: World, director: OnlineRepository) -> None:
    base = world.store
    assert isinstance(base, FileStore)
    world.store = CutStore(base, 2)
    with pytest.raises(PowerCut):
        world.director().publish_targets({"directive.json": target_file("directive.json", b"x")})
    world.store = base
    left = newest_versions(base, "director/canary")
    assert (left["targets"], left["snapshot"]) == (2, 2)
    published = director.publish_targets({"directive.json": target_file("directive.json", b"y")})
    assert published == Published(targets=3, snapshot=3, timestamp=2)


@pytest.mark.usefixtures("director")
def test_what_a_failed_call_wrote_is_not_shown_by_a_later_one(
    world: World, clock: Ticking, tmp_path: Path
) -> None:
    base = world.store
    assert isinstance(base, FileStore)
    cut = CutStore(base, 1)
    world.store = cut
    repository = world.director()
    with pytest.raises(PowerCut):
        repository.publish_targets({})
    cut.left = 100
    clock.now += timedelta(days=2)
    assert repository.refresh() == Published(timestamp=2)
    world.store = base
    client = director_client(world, tmp_path / "client")
    assert client.read(clock.now, ["directive.json"]) == DIRECTIVE_OLD


def test_half_a_change_of_keys_is_not_shown_and_does_not_stop_refreshes(
    world: World, image: OnlineRepository, clock: Ticking, tmp_path: Path
) -> None:
    new_keys = keys(2)
    new_targets = signed(world.targets(2, {"gw-a": new_keys}), world.targets_keys)
    image.put_offline("targets", new_targets)
    with pytest.raises(RefusedError, match="gw-a 1 is signed by 0 of the 2") as refused:
        image.publish()
    assert refused.value.reason == "untrusted_metadata"
    clock.now += timedelta(days=5)
    assert image.refresh() == Published(snapshot=2, timestamp=2)
    client = image_client(world, tmp_path / "client")
    assert client.read(clock.now, PATHS) == known(OLD)
    image.put_offline("gw-a", signed(world.role(2, {}), new_keys))
    assert image.publish() == Published(targets=2, snapshot=3, timestamp=3)
    assert client.read(clock.now, ["gw-a/1.0/image.bin"]) == {"gw-a/1.0/image.bin": None}


# Refresh


def test_refresh_signs_what_expires_soon_and_nothing_else(
    image: OnlineRepository, director: OnlineRepository, clock: Ticking
) -> None:
    assert not image.refresh()
    assert not director.refresh()
    clock.now = NOW + timedelta(days=1, seconds=1)
    assert image.refresh() == Published(timestamp=2)
    assert director.refresh() == Published(timestamp=2)
    assert not image.refresh()
    clock.now = NOW + timedelta(days=3, seconds=1)
    assert image.refresh() == Published(snapshot=2, timestamp=3)
    assert director.refresh() == Published(targets=2, snapshot=2, timestamp=3)
    assert not director.refresh()


def test_refresh_takes_another_margin(image: OnlineRepository, clock: Ticking) -> None:
    clock.now = NOW + timedelta(days=8)
    assert not image.refresh(timedelta(days=1))
    assert image.refresh(timedelta(days=3)) == Published(snapshot=2, timestamp=2)


def test_daily_refreshes_keep_a_week_of_validity_for_a_client(
    world: World, director: OnlineRepository, clock: Ticking, tmp_path: Path
) -> None:
    client = director_client(world, tmp_path / "client")
    for _ in range(30):
        clock.now += timedelta(days=1)
        director.refresh()
        later = clock.now + timedelta(days=6, hours=23)
        assert client.read(later, ["directive.json"]) == DIRECTIVE_OLD
    with pytest.raises(exceptions.ExpiredMetadataError):
        client.read(clock.now + timedelta(days=11), ["directive.json"])


def test_lifetimes_can_be_set(world: World, clock: Ticking) -> None:
    online = {"snapshot": world.image_online, "timestamp": world.image_online}
    lifetimes = {"timestamp": timedelta(days=14)}
    repository = OnlineRepository(world.store, "image", online, clock, lifetimes=lifetimes)
    repository.put_root(world.signed_root)
    repository.put_offline("targets", world.signed_targets)
    repository.publish()
    assert repository.timestamp().expires == NOW + timedelta(days=14)
    assert repository.snapshot().expires == NOW + ROLES["snapshot"].lifetime


def test_refresh_before_anything_was_published_says_so(world: World) -> None:
    world.image().put_root(world.signed_root)
    with pytest.raises(NotFoundError, match="Nothing was published"):
        world.image().refresh()


# Keys


@pytest.mark.parametrize("role", ["snapshot", "timestamp"])
def test_a_key_that_the_root_does_not_name_never_signs(world: World, role: str) -> None:
    foreign = keys(1)
    online = {"snapshot": world.image_online, "timestamp": world.image_online} | {role: foreign}
    repository = OnlineRepository(world.store, "image", online, world.clock)
    repository.put_root(world.signed_root)
    repository.put_offline("targets", world.signed_targets)
    keyid = foreign[0].public_key.keyid[:12]
    with pytest.raises(ConfigurationError, match=f"{keyid} is not a {role} key of root 1") as e:
        repository.publish()
    assert e.value.reason == "wrong_online_key"
    assert "image/metadata/timestamp.json" not in world.store.list("")


def test_too_few_keys_are_reported(world: World) -> None:
    root = world.root(timestamp=[*world.image_online, *keys(1)])
    repository = world.image()
    repository.put_root(signed(root, world.root_keys))
    repository.put_offline("targets", world.signed_targets)
    with pytest.raises(ConfigurationError, match=r"asks for 2 timestamp key\(s\) and 1 of"):
        repository.publish()


def test_offline_roles_are_never_signed_online(world: World, image: OnlineRepository) -> None:
    with pytest.raises(ConfigurationError, match="not an online role"), image.edit_targets():
        pass
    with pytest.raises(ConfigurationError, match="not an online role"), image.edit_root():
        pass
    with pytest.raises(ConfigurationError, match="signed offline"):
        image.publish_targets({})
    assert newest_versions(world.store, "image")["targets"] == 1


@pytest.mark.parametrize(("prefix", "cohort"), [("image", "canary"), ("director/canary", None)])
def test_a_director_has_a_cohort_and_the_image_repository_none(
    store: FileStore, clock: Ticking, prefix: str, cohort: str | None
) -> None:
    with pytest.raises(ConfigurationError, match="cohort"):
        OnlineRepository(store, prefix, {}, clock, cohort=cohort)


def test_a_timestamp_that_clients_would_not_read_is_not_written(world: World) -> None:
    many = keys(120)
    root = world.root(timestamp=many)
    online = {"snapshot": world.image_online, "timestamp": many}
    repository = OnlineRepository(world.store, "image", online, world.clock)
    repository.put_root(signed(root, world.root_keys))
    repository.put_offline("targets", world.signed_targets)
    with pytest.raises(ConfigurationError, match="clients read 16384"):
        repository.publish()


# Roots


def rotated(world: World, new: list[CryptoSigner]) -> bytes:
    root = world.root(2, snapshot=new, timestamp=new)
    return signed(root, world.root_keys)


@pytest.mark.usefixtures("image")
def test_online_keys_are_rotated_without_a_gap(world: World, tmp_path: Path) -> None:
    new = keys(1)
    next_root = rotated(world, new)
    world.image_online = world.image_online + new
    seen = 0

    def check(world: World) -> None:
        nonlocal seen
        seen += 1
        assert image_client(world, tmp_path / f"fresh{seen}").read(NOW, PATHS) == known(OLD)

    # Snapshot and timestamp signed by both keys, then the root.
    assert cut_everywhere(world, lambda w: w.image().put_root(next_root), check) == 3
    client = image_client(world, tmp_path / "client")
    client.read(NOW, PATHS)
    world.image().put_root(next_root)
    assert newest_root(world.store, "image").signed.version == 2
    assert client.read(NOW, PATHS) == known(OLD)
    world.image_online = new
    assert not world.image().refresh()
    world.publish_image(2, NEW)
    assert client.read(NOW, PATHS) == known(NEW)


@pytest.mark.usefixtures("image")
def test_a_lost_online_key_is_replaced(world: World, tmp_path: Path) -> None:
    world.image_online, lost = keys(1), world.image_online
    world.image().put_root(rotated(world, world.image_online))
    client = image_client(world, tmp_path / "client")
    assert client.read(NOW, PATHS) == known(OLD)
    world.image_online = lost
    with pytest.raises(ConfigurationError, match="key of root 2"):
        world.image().refresh(timedelta(days=20))


@pytest.mark.usefixtures("image")
def test_replacing_a_lost_key_resumes_after_a_crash(world: World, tmp_path: Path) -> None:
    world.image_online = keys(1)
    next_root = rotated(world, world.image_online)
    base = world.store
    assert isinstance(base, FileStore)
    world.store = CutStore(base, 1)
    with pytest.raises(PowerCut):
        world.image().put_root(next_root)
    world.store = base
    world.image().put_root(next_root)
    assert image_client(world, tmp_path / "client").read(NOW, PATHS) == known(OLD)


def test_a_root_that_the_configured_keys_cannot_serve_is_not_put(
    world: World, image: OnlineRepository
) -> None:
    with pytest.raises(ConfigurationError, match="Root 2 of image asks"):
        image.put_root(rotated(world, keys(1)))
    assert newest_root(world.store, "image").signed.version == 1


def test_a_root_that_the_published_targets_do_not_meet_is_not_put(
    world: World, image: OnlineRepository
) -> None:
    root = world.root(2, targets=keys(2))
    with pytest.raises(RefusedError, match="targets 1 is signed by 0 of the 2"):
        image.put_root(signed(root, world.root_keys))
    assert newest_root(world.store, "image").signed.version == 1


def test_an_unsigned_root_is_not_put(world: World) -> None:
    with pytest.raises(RefusedError):
        world.image().put_root(signed(world.root(), world.root_keys[:1]))
    assert world.store.list("") == []


def test_a_repository_without_a_root_says_so(store: FileStore) -> None:
    with pytest.raises(NotFoundError, match="no root in image"):
        newest_root(store, "image")


# Storing


def test_put_offline_is_create_only(world: World, image: OnlineRepository) -> None:
    image.put_offline("targets", world.signed_targets)
    with pytest.raises(ConflictError):
        image.put_offline("targets", signed(world.targets(), world.targets_keys[1:]))
    with pytest.raises(WireError):
        image.put_offline("gw-a", b"{}")
    with pytest.raises(WireError):
        image.put_offline("gw-a", world.signed_root)


def test_current_is_what_a_new_version_follows(world: World, image: OnlineRepository) -> None:
    assert image.current("targets") == world.signed_targets
    assert image.current("other") is None
    newer = signed(world.role(2, {}), world.product_keys)
    image.put_offline("gw-a", newer)
    assert image.current("gw-a") == newer
    stored = StoredRepository(world.store, "image")
    assert (stored.newest("gw-a"), stored.published_version("gw-a")) == (2, 1)
    before = stored.published_targets("gw-a")
    assert before is not None
    assert before.signed.version == 1


@pytest.mark.usefixtures("world")
def test_damaged_metadata_is_named(image: OnlineRepository, store: FileStore) -> None:
    store.path("image/metadata/1.snapshot.json").write_bytes(b"{}")
    with pytest.raises(WireError, match=r"1\.snapshot\.json"):
        image.refresh()


def test_two_writers_never_overwrite_each_other(
    world: World, director: OnlineRepository, tmp_path: Path
) -> None:
    base = world.store
    assert isinstance(base, FileStore)

    class Overtaken(CutStore):
        """Lets the other writer publish just before the first write."""

        def put_new(self, key: str, data: bytes) -> None:
            if self.left == 100:
                director.publish_targets({})
            super().put_new(key, data)

    world.store = Overtaken(base, 100)
    with pytest.raises(ConflictError):
        world.director().publish_targets({"directive.json": target_file("directive.json", b"late")})
    world.store = base
    client = director_client(world, tmp_path / "client")
    assert client.read(NOW, ["directive.json"]) == {"directive.json": None}
