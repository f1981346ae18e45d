"""A confined program writes into the slots that it was given, and reaches nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock_client.install import confined
from interlock_client.install.apart import Ended
from interlock_core.errors import ConfigurationError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces here")


class Cell:
    """A slot that may be written beside one that may not."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.slot, self.other = home / "slot-b", home / "slot-a"
        self.slot.write_bytes(b"old")
        self.other.write_bytes(b"runs")
        (home / "scratch").mkdir()
        (home / "given").write_text("given\n")

    def run(self, script: str, *, executable: bool = False, slot: Path | None = None) -> Ended:
        descriptor = os.open(self.home / "given", os.O_RDONLY)
        try:
            return confined.run(
                ["sh", "-c", script],
                slots=[slot or self.slot],
                files={"copied": self.home / "given"},
                stdin=descriptor,
                scratch=self.home / "scratch",
                seconds=20,
                executable=executable,
            )
        finally:
            os.close(descriptor)


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path)


def test_it_writes_its_slot_and_reads_what_it_was_given(cell: Cell) -> None:
    ended = cell.run(f"cat /proc/1/fd/0 /etc/copied >{cell.slot}")
    assert ended == Ended(0, "")
    assert cell.slot.read_text() == "given\ngiven\n"


@pytest.mark.parametrize(
    "script",
    [
        "echo x >{other}",
        "cat {other}",
        "echo x >{home}/new",
        "echo x >/new",
        "echo x >/usr/new",
        "echo x >/proc/sys/kernel/core_pattern",
        "echo x >/proc/sysrq-trigger",
        "mknod $TMPDIR/disk b 7 0",
        "mount -t tmpfs none /usr",
        "mount -o remount,rw /usr",
        "umount {slot}",
        "chroot / true",
        "unshare --mount true",
        "nsenter --target 1 --mount true",
        "cat /etc/shadow",
        "ls /root",
        "ls /.old/usr",
        "kill -9 {pid}",
        "cat {state}",
    ],
)
def test_and_nothing_else(cell: Cell, script: str) -> None:
    (cell.home / "state").write_text("secret")
    text = script.format(
        other=cell.other,
        home=cell.home,
        slot=cell.slot,
        pid=os.getpid(),
        state=cell.home / "state",
    )
    ended = cell.run(text)
    assert ended.code not in (0, None), ended.output
    assert cell.other.read_bytes() == b"runs"
    assert sorted(path.name for path in cell.home.iterdir()) == [
        "given",
        "scratch",
        "slot-a",
        "slot-b",
        "state",
    ]


def test_a_block_device_is_reached_by_the_name_that_it_has_and_by_no_other(cell: Cell) -> None:
    loops = []
    for name in ("b.disk", "a.disk"):
        with (cell.home / name).open("wb") as file:
            file.truncate(1 << 16)
        words = ["losetup", "--find", "--show", str(cell.home / name)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        loops.append(done.stdout.strip())
    try:
        link = cell.home / "by-label"
        link.symlink_to(loops[0])
        ended = cell.run(
            f"printf new | dd of={link} conv=notrunc 2>/dev/null; test ! -e {loops[0]} && "
            f"test ! -e {loops[1]}",
            slot=link,
        )
        assert ended.code == 0, ended.output
    finally:
        for loop in loops:
            subprocess.run(["losetup", "--detach", loop], check=True)
    assert (cell.home / "b.disk").read_bytes()[:4] == b"new\0"
    assert not any((cell.home / "a.disk").read_bytes())


@pytest.fixture
def listeners() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Somebody who listens on loopback and on an abstract socket."""
    with socket.create_server(("127.0.0.1", 0)) as inet, socket.socket(socket.AF_UNIX) as local:
        local.bind("\0interlock-test-confined")
        local.listen()
        yield inet, local


def test_no_network_and_no_abstract_socket(
    cell: Cell, listeners: tuple[socket.socket, socket.socket]
) -> None:
    inet, _ = listeners
    port = inet.getsockname()[1]
    ended = cell.run(
        "perl -MSocket -e '"
        "socket(my $i, PF_INET, SOCK_STREAM, 0); socket(my $u, PF_UNIX, SOCK_STREAM, 0);"
        f'exit 1 if connect($i, sockaddr_in({port}, inet_aton("127.0.0.1")));'
        'exit 2 if connect($u, sockaddr_un("\\0interlock-test-confined"));\''
    )
    assert ended.code == 0, ended.output


@pytest.mark.parametrize("executable", [False, True])
def test_what_it_unpacks_is_executed_only_if_that_is_allowed(cell: Cell, executable: bool) -> None:
    script = 'printf "#!/bin/sh\\ntrue\\n" >$TMPDIR/hook && chmod +x $TMPDIR/hook && $TMPDIR/hook'
    assert (cell.run(script, executable=executable).code == 0) is executable


def test_what_it_needs_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    confined.require()
    with pytest.raises(ConfigurationError, match="no program nowhere"):
        confined.require("nowhere")


def test_a_slot_that_is_not_there_starts_nothing(cell: Cell) -> None:
    ended = cell.run(f"touch {cell.slot}", slot=cell.home / "none")
    assert ended.code not in (0, None)
    assert "none" in ended.output
