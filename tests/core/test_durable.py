"""Atomic, durable and create-only writes, cut off before each act on the disk."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interlock_core import disk, durable
from interlock_core.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
    TransientError,
    WireError,
)


class PowerCut(BaseException):
    """What a test raises in place of the power going away."""


def cut_before(number: int) -> Callable[[str, Path], None]:
    """Stop before the act of that number, counted from 0."""
    left = number

    def callback(_act: str, _path: Path) -> None:
        nonlocal left
        if left == 0:
            raise PowerCut
        left -= 1

    return callback


def acts_of(act: Callable[[], None]) -> list[str]:
    acts: list[str] = []
    with durable.watching(lambda name, _: acts.append(name)):
        act()
    return acts


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_replace_writes_flushes_renames_and_flushes_the_directory(tmp_path: Path) -> None:
    assert acts_of(lambda: durable.replace(tmp_path / "a", b"new")) == [
        "make", "write", "sync", "rename", "sync_directory"
    ]  # fmt: skip
    assert (tmp_path / "a").read_bytes() == b"new"


def test_create_writes_flushes_names_and_flushes_the_directory(tmp_path: Path) -> None:
    assert acts_of(lambda: durable.create(tmp_path / "a", b"new")) == [
        "make", "write", "sync", "link", "sync_directory"
    ]  # fmt: skip


def test_flushes_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_mode)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    durable.create(tmp_path / "a", b"new")
    assert [stat.S_IFMT(mode) for mode in flushed] == [stat.S_IFREG, stat.S_IFDIR]


@pytest.mark.parametrize("number", range(5))
def test_a_power_cut_in_replace_leaves_old_or_new(tmp_path: Path, number: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(PowerCut), durable.watching(cut_before(number)):
        durable.replace(path, b"new")
    assert path.read_bytes() == (b"new" if number == 4 else b"old")
    durable.replace(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("number", range(5))
def test_a_power_cut_in_create_leaves_nothing_or_all(tmp_path: Path, number: int) -> None:
    path = tmp_path / "a"
    with pytest.raises(PowerCut), durable.watching(cut_before(number)):
        durable.create(path, b"new")
    assert path.exists() == (number == 4)
    durable.create(path, b"new")
    assert path.read_bytes() == b"new"


def test_create_again_with_the_same_bytes_succeeds_and_flushes(tmp_path: Path) -> None:
    durable.create(tmp_path / "a", b"same")
    acts = acts_of(lambda: durable.create(tmp_path / "a", b"same"))
    assert acts == ["sync", "sync_directory"]


@pytest.mark.parametrize("other", [b"diff", b"longer than that", b""])
def test_create_over_other_bytes_is_a_conflict(tmp_path: Path, other: bytes) -> None:
    durable.create(tmp_path / "a", b"same")
    with pytest.raises(ConflictError, match="other content"):
        durable.create(tmp_path / "a", other)
    assert (tmp_path / "a").read_bytes() == b"same"


def test_create_over_what_is_no_file_is_a_conflict(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("dir", "link", "pipe"):
        with pytest.raises(ConflictError):
            durable.create(tmp_path / name, b"new")
    assert names(tmp_path) == ["dir", "link", "pipe"]


@pytest.mark.parametrize(("theirs", "conflicts"), [(b"mine", False), (b"theirs", True)])
def test_create_loses_a_race_without_overwriting(
    tmp_path: Path, theirs: bytes, conflicts: bool
) -> None:
    path = tmp_path / "a"

    def other_writer(act: str, _path: Path) -> None:
        if act == "link":
            path.write_bytes(theirs)

    with durable.watching(other_writer):
        if conflicts:
            with pytest.raises(ConflictError):
                durable.create(path, b"mine")
        else:
            durable.create(path, b"mine")
    assert path.read_bytes() == theirs
    assert names(tmp_path) == ["a"]


def test_without_hard_links_create_still_never_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(_self: Path, _target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    durable.create(tmp_path / "a", b"mine")
    assert (tmp_path / "a").read_bytes() == b"mine"
    assert names(tmp_path) == ["a"]

    def other_writer(act: str, _path: Path) -> None:
        if act == "link":
            (tmp_path / "b").write_bytes(b"theirs")

    with durable.watching(other_writer), pytest.raises(ConflictError):
        durable.create(tmp_path / "b", b"mine")
    assert (tmp_path / "b").read_bytes() == b"theirs"


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_is_kept_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        durable.create(tmp_path / "created", b"", mode)
        durable.replace(tmp_path / "replaced", b"", mode)
        durable.mkdir(tmp_path / "x" / "y")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "created").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "replaced").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o755


def test_create_from_a_file_reads_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "CHUNK", 4)
    data = b"0123456789"
    acts = acts_of(
        lambda: durable.create_from(
            tmp_path / "a", io.BytesIO(data), length=10, sha256=sha256(data)
        )
    )
    assert acts.count("write") == 3
    assert (tmp_path / "a").read_bytes() == data


@pytest.mark.parametrize(
    "chunks", [[b"012345678"], [b"0123456789", b"a"], [b"012345678X"], [], [b"01234", b"5678X"]]
)
def test_a_stream_that_is_not_what_was_announced_leaves_nothing(
    tmp_path: Path, chunks: list[bytes]
) -> None:
    with pytest.raises(RefusedError) as refused:
        durable.create_from(tmp_path / "a", chunks, length=10, sha256=sha256(b"0123456789"))
    assert refused.value.reason == "hash_mismatch"
    assert names(tmp_path) == []


def test_an_endless_stream_is_cut_at_its_length(tmp_path: Path) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1000)

    with pytest.raises(RefusedError, match="longer"):
        durable.create_from(tmp_path / "a", endless(), length=10_000, sha256=sha256(bytes(10_000)))
    assert names(tmp_path) == []


def test_a_stream_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"01234"
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    with pytest.raises(TransientError, match="stopped coming"):
        durable.create_from(tmp_path / "a", broken(), length=10, sha256=sha256(b"0123456789"))
    assert names(tmp_path) == []


def test_a_stream_that_stands_already_is_not_read(tmp_path: Path) -> None:
    durable.create(tmp_path / "a", b"same")

    class Unread(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise AssertionError("read")

    durable.create_from(tmp_path / "a", Unread(), length=4, sha256=sha256(b"same"))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EIO, "reported an error"),
        (errno.ENOTSUP, "run this again"),
    ],
)
def test_a_fault_of_the_disk_names_the_path_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def fault(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fault)
    with pytest.raises(TransientError, match=words) as error:
        durable.replace(tmp_path / "a", b"new")
    assert str(tmp_path / "a") in str(error.value)
    assert (tmp_path / "a").read_bytes() == b"old"
    with pytest.raises(TransientError, match=words):
        durable.create(tmp_path / "b", b"new")
    assert names(tmp_path) == ["a"]


def test_a_real_full_disk_is_reported() -> None:
    with pytest.raises(TransientError, match="full"), durable.translated("write", Path("x")):
        Path("/dev/full").write_bytes(b"x" * 100_000)


def test_a_missing_directory_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="does not exist"):
        durable.create(tmp_path / "missing" / "a", b"")


def test_mtime_is_set_before_the_name(tmp_path: Path) -> None:
    durable.replace(tmp_path / "a", b"x", mtime=1_000_000)
    assert (tmp_path / "a").stat().st_mtime == 1_000_000


def test_mkdir_makes_parents_and_flushes_each(tmp_path: Path) -> None:
    assert acts_of(lambda: durable.mkdir(tmp_path / "a" / "b")) == [
        "mkdir", "sync_directory", "mkdir", "sync_directory"
    ]  # fmt: skip
    assert acts_of(lambda: durable.mkdir(tmp_path / "a" / "b")) == []


def test_mkdir_through_a_file_is_a_conflict(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "b"):
        with pytest.raises(ConflictError, match="in its way"):
            durable.mkdir(path)


def test_remove_twice_is_success(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    durable.remove(tmp_path / "a")
    durable.remove(tmp_path / "a")
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", range(3))
def test_a_power_cut_in_switch_link_leaves_the_old_or_the_new_directory(
    tmp_path: Path, number: int
) -> None:
    link = tmp_path / "current"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    durable.switch_link(link, "one")
    with pytest.raises(PowerCut), durable.watching(cut_before(number)):
        durable.switch_link(link, "two")
    assert link.resolve().name == ("two" if number == 2 else "one")
    durable.switch_link(link, "two")
    assert link.resolve() == tmp_path / "two"
    assert names(tmp_path) == ["current", "one", "two"]


def test_switch_link_does_not_replace_a_directory(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()
    with pytest.raises(ConflictError, match="not a symbolic link"):
        durable.switch_link(tmp_path / "current", "one")


def test_fsync_tree_flushes_every_file_and_directory(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x")
    (tmp_path / "a" / "link").symlink_to("nowhere")
    seen: list[tuple[str, str]] = []
    with durable.watching(lambda act, path: seen.append((act, path.name))):
        durable.fsync_tree(tmp_path / "a")
    assert seen == [("sync", "file"), ("sync_directory", "b"), ("sync_directory", "a")]
    with pytest.raises(TransientError):
        durable.fsync_tree(tmp_path / "missing")


def test_sweep_removes_old_leavings_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "kept").write_bytes(b"")
    left = disk.temporary_beside(tmp_path / "sub" / "a")
    left.write_bytes(b"half")
    assert durable.is_temporary(left.name)
    assert durable.sweep(tmp_path, before=time.time() - 3600) == 0
    assert durable.sweep(tmp_path, before=time.time() + 3600) == 1
    assert names(tmp_path / "sub") == ["kept"]


def test_read_is_bounded_and_names_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert durable.read(tmp_path / "a", limit=5, what="thing") == b"12345"
    with pytest.raises(WireError, match="larger"):
        durable.read(tmp_path / "a", limit=4, what="thing")
    for missing in (tmp_path / "b", tmp_path / "a" / "b", tmp_path):
        with pytest.raises(NotFoundError, match="no thing at"):
            durable.read(missing, limit=4, what="thing")
