"""FileStore keeps the guarantees of the Store protocol."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_core import durable
from interlock_core.clock import fixed_clock
from interlock_core.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
    TransientError,
    WireError,
)
from interlock_core.store import FileStore, Store, check_key

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
HEAD = "image/metadata/timestamp.json"


class PowerCut(BaseException):
    """What a test raises in place of the power going away."""


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store", fixed_clock(NOW))


def mtime(store: FileStore, key: str) -> float:
    return store.path(key).stat().st_mtime_ns / 1e9


def validator(store: FileStore, key: str) -> tuple[int, int]:
    """What nginx makes its ETag of."""
    status = store.path(key).stat()
    return int(status.st_mtime), status.st_size


def test_a_file_store_is_a_store(store: FileStore) -> None:
    as_protocol: Store = store
    as_protocol.put_new("poll/canary", b"bundle")
    assert as_protocol.get("poll/canary") == b"bundle"
    assert as_protocol.size("poll/canary") == 6
    with as_protocol.open("poll/canary") as file:
        file.seek(3)
        assert file.read() == b"dle"


@pytest.mark.parametrize(
    "key",
    [
        "image/metadata/1.root.json",
        "image/targets/gw-a/1.0.2_b/" + "0" * 64 + ".image.bin",
        "director/canary/metadata/timestamp.json",
        "poll/canary",
    ],
)
def test_keys_that_are_in_use_are_keys(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    "key",
    [
        "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/.hidden", "a..b",
        "a\\b", "a b", "a\n", "a%2fb", "a\0", "ä", "a" * 221, "/".join("abcdefghi"),
        "/".join(["a" * 200] * 3), "-a", "_a", "a?b",
    ],
)  # fmt: skip
def test_what_may_not_be_a_key_is_refused_everywhere(store: FileStore, key: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.put_new(key, b""),
        lambda: store.put_new_stream(key, [], length=0, sha256=""),
        lambda: store.replace(key, b""),
        lambda: store.get(key),
        lambda: store.open(key),
        lambda: store.size(key),
    ]
    for call in calls:
        with pytest.raises(WireError) as refused:
            call()
        assert refused.value.reason == "bad_key"
    assert not store.root.exists()


@given(st.text())
def test_an_accepted_key_stays_inside_the_store(key: str) -> None:
    try:
        check_key(key)
    except WireError:
        return
    inside = Path("/store")
    assert (inside / key).resolve().is_relative_to(inside)
    assert all(part and not part.startswith(".") for part in key.split("/"))


def test_put_new_is_idempotent_and_never_overwrites(store: FileStore) -> None:
    store.put_new("a/b", b"one")
    store.put_new("a/b", b"one")
    with pytest.raises(ConflictError):
        store.put_new("a/b", b"two")
    assert store.get("a/b") == b"one"


def test_put_new_stream_is_verified_before_it_is_seen(store: FileStore) -> None:
    data = b"image" * 1000
    digest = hashlib.sha256(data).hexdigest()
    with pytest.raises(RefusedError) as refused:
        store.put_new_stream("t/i", io.BytesIO(data[:-1] + b"X"), length=5000, sha256=digest)
    assert refused.value.reason == "hash_mismatch"
    assert store.list("") == []
    store.put_new_stream("t/i", io.BytesIO(data), length=5000, sha256=digest)
    store.put_new_stream("t/i", io.BytesIO(data), length=5000, sha256=digest)
    assert store.get("t/i") == data
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(ConflictError):
        store.put_new_stream("t/i", [b"other"], length=5, sha256=other)


def test_what_is_missing_is_not_found(store: FileStore) -> None:
    store.put_new("a/b", b"")
    for key in ("nothing", "a", "a/b/c"):
        for call in (store.get, store.open, store.size):
            with pytest.raises(NotFoundError):
                call(key)


def test_a_key_cannot_begin_other_keys(store: FileStore) -> None:
    store.put_new("poll/canary", b"")
    store.put_new("x/y/z", b"")
    with pytest.raises(ConflictError):
        store.put_new("poll/canary/more", b"")
    for put in (store.put_new, store.replace):
        with pytest.raises(ConflictError):
            put("x/y", b"")


def test_list_gives_keys_by_prefix_sorted_and_no_leavings(store: FileStore) -> None:
    for key in ("a/2", "a/1", "a/10.x", "ab/1", "a/d/1"):
        store.put_new(key, b"")
    (store.root / "a" / ".interlock-0123456789abcdef.partial").write_bytes(b"half")
    assert store.list("") == ["a/1", "a/10.x", "a/2", "a/d/1", "ab/1"]
    assert store.list("a/") == ["a/1", "a/10.x", "a/2", "a/d/1"]
    assert store.list("a/1") == ["a/1", "a/10.x"]
    assert store.list("nothing/here/") == []
    assert store.sweep(before=time.time() + 3600) == 1


def test_a_directory_that_cannot_be_read_does_not_look_empty(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_new("a/1", b"")

    def denied(_path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(TransientError, match="permission"):
        store.list("a/")


def test_objects_can_be_read_by_a_web_server(store: FileStore) -> None:
    before = os.umask(0o077)
    try:
        store.put_new("a/b", b"")
        store.replace("a/c", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((store.root / "a").stat().st_mode) == 0o755
    for name in ("b", "c"):
        assert stat.S_IMODE((store.root / "a" / name).stat().st_mode) == 0o644


def test_each_version_of_a_head_has_another_validator(store: FileStore) -> None:
    seen = set()
    for number in range(5):
        store.replace(HEAD, b"version %d" % number)
        assert mtime(store, HEAD) == int(mtime(store, HEAD))
        seen.add(validator(store, HEAD))
    assert len(seen) == 5
    assert mtime(store, HEAD) == NOW.timestamp() + 4


def test_the_validator_rises_for_a_clock_that_goes_back_and_follows_one_that_goes_on(
    store: FileStore,
) -> None:
    store.replace(HEAD, b"one")
    behind = FileStore(store.root, fixed_clock(NOW - timedelta(days=3000)))
    behind.replace(HEAD, b"two")
    assert mtime(store, HEAD) == NOW.timestamp() + 1
    ahead = FileStore(store.root, fixed_clock(NOW + timedelta(hours=1)))
    ahead.replace(HEAD, b"ten")
    assert mtime(store, HEAD) == NOW.timestamp() + 3600


def test_replacing_by_the_same_bytes_changes_nothing(store: FileStore) -> None:
    store.replace(HEAD, b"same")
    before = store.path(HEAD).stat()
    store.replace(HEAD, b"same")
    after = store.path(HEAD).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_reader_keeps_the_head_that_it_opened(store: FileStore) -> None:
    store.replace(HEAD, b"old")
    with store.open(HEAD) as file:
        store.replace(HEAD, b"new")
        assert file.read() == b"old"


def test_a_power_cut_in_replace_leaves_one_version_with_its_validator(store: FileStore) -> None:
    store.replace(HEAD, b"old")
    old = validator(store, HEAD)
    for act in ("make", "write", "sync", "rename"):

        def cut(name: str, _path: Path, act: str = act) -> None:
            if name == act:
                raise PowerCut

        with pytest.raises(PowerCut), durable.watching(cut):
            store.replace(HEAD, b"new")
        assert store.get(HEAD) == b"old"
        assert validator(store, HEAD) == old
    store.replace(HEAD, b"new")
    assert validator(store, HEAD) != old


def test_processes_that_replace_at_once_never_share_a_validator(tmp_path: Path) -> None:
    store = FileStore(tmp_path, fixed_clock(NOW))
    script = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from interlock_core.clock import fixed_clock
from interlock_core.store import FileStore
store = FileStore(Path(sys.argv[1]), fixed_clock(datetime(2030, 1, 1, 12, tzinfo=UTC)))
for number in range(20):
    store.replace("head", f"{sys.argv[2]} {number:02}".encode())
"""
    workers = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in "abc"
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    # 60 different contents, each a whole second after the one before.
    assert mtime(store, "head") == NOW.timestamp() + 59
