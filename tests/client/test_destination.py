"""A slot, a spool file or a device: written where the bytes belong, and gone on with."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock_client.install.destination import Destination
from interlock_core import durable
from interlock_core.errors import ConfigurationError, TransientError

SIZE = 1 << 20


def loop_device(path: Path) -> str | None:
    """A block device backed by ``path``, or None where none can be made."""
    if os.geteuid() != 0 or shutil.which("losetup") is None:
        return None
    done = subprocess.run(
        ["losetup", "--find", "--show", path], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


@pytest.fixture(params=["file", "device"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file that may be made, and a block device of ``SIZE`` bytes."""
    path = tmp_path / "slot"
    if request.param == "file":
        yield path
        return
    path.write_bytes(b"\xff" * SIZE)
    device = loop_device(path)
    if device is None:
        pytest.skip("only root makes loop devices, with losetup")
    try:
        yield Path(device)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def content(place: Path, length: int) -> bytes:
    with Destination(place).reading() as descriptor:
        return os.read(descriptor, length)


def test_it_is_written_where_it_belongs_and_gone_on_with(place: Path) -> None:
    made = Destination(place)
    with made.open() as writer:
        writer.write(b"begun " * 1000)
        writer.flush()
        writer.write(b"not flushed")
    with made.open(keep=6000) as writer:
        assert writer.read(0, 6000) == b"begun " * 1000
        writer.write(bytearray(b"gone on"))
        assert writer.offset == 6007
        writer.finish()
    assert content(place, 6007) == b"begun " * 1000 + b"gone on"
    assert made.size() == (SIZE if place.is_block_device() else 6007)


def test_what_is_read_ends_where_it_ends(place: Path) -> None:
    with Destination(place).open() as writer:
        writer.write(b"a" * SIZE)
        assert len(writer.read(SIZE - 10, 100)) == 10
        assert writer.read(SIZE, 1) == b""


def test_room_is_what_may_be_written(place: Path) -> None:
    made = Destination(place)
    if place.is_block_device():
        assert made.room() == SIZE
        with made.open(keep=SIZE) as writer, pytest.raises(TransientError, match="disk is full"):
            writer.write(b"beyond the end")
        return
    before = made.room()
    with made.open() as writer:
        writer.write(b"a" * SIZE)
        writer.finish()
    assert made.room() == pytest.approx(before, abs=1 << 28), "what it holds already is room too"
    assert place.stat().st_mode & 0o777 == 0o600


def test_before_is_done_before_the_first_change(place: Path) -> None:
    acts: list[str] = []
    made = Destination(place, before=lambda: acts.append("before"))
    with durable.watching(lambda act, _: acts.append(act)):
        made.room()
        assert acts == []
        with made.open(keep=4) as writer:
            writer.write(b"more")
            writer.flush()
            writer.finish()
    cut = [] if place.is_block_device() else ["write"]
    assert acts == ["before", "make", "write", "sync", *cut, "sync", "sync_directory"]


def test_a_refusal_of_before_leaves_everything(tmp_path: Path) -> None:
    def refuse() -> None:
        raise TransientError("The boot state cannot be written.", reason="disk")

    path = tmp_path / "slot"
    with pytest.raises(TransientError), Destination(path, before=refuse).open():
        pass
    assert not path.exists()


@pytest.mark.parametrize("keep", [0, 4])
def test_nothing_but_a_file_or_a_device_is_written(tmp_path: Path, keep: int) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/null")):
        with (
            pytest.raises(ConfigurationError, match="neither a file"),
            Destination(path).open(keep),
        ):
            pass


def test_where_no_file_can_be_there_is_no_room(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "slot", Path("/dev/no-such-device")):
        with pytest.raises(ConfigurationError, match="no slot"):
            Destination(path).room()
        assert Destination(path).size() == 0
    with pytest.raises(TransientError), Destination(tmp_path / "none").reading():
        pass
