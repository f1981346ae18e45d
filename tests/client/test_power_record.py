"""What real programs do is recorded as it is, or refused; never passed over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_client.powercut import trace
from interlock_client.powercut.materialise import Stage, snapshot, watched
from interlock_client.powercut.model import Model, State, digest
from interlock_client.powercut.operations import Add, Move, Recording, Remove, Resize, Sync, Write
from interlock_client.powercut.record import record
from interlock_client.powercut.states import Plan, states
from interlock_client.powercut.wording import Words
from interlock_core import durable
from interlock_core.errors import ConfigurationError, WireError

PYTHON = (sys.executable, "-I", "-S", "-c")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A watched directory with two files and a link, in a directory that is not."""
    top = tmp_path / "top"
    (top / "below").mkdir(parents=True)
    (top / "old").write_bytes(b"old" * 1000)
    (top / "below" / "image").write_bytes(b"image" * 400)
    (top / "link").symlink_to("below")
    return top


def recorded(top: Path, *command: str) -> Recording:
    return record(command, watched([top]), directory=top.parent)


def acts(top: Path, *command: str) -> list[str]:
    made = recorded(top, *command)
    words = Words(Model(made), top)
    return [words.said(number).partition(" ")[2] for number in range(len(made.operations))]


def shell(top: Path, script: str) -> list[str]:
    return acts(top, "sh", "-ec", script)


def python(top: Path, script: str) -> list[str]:
    return acts(top, *PYTHON, f"import os\nos.chdir('top')\n{script}")


def test_a_shell_script_as_it_is(top: Path) -> None:
    """Pipes, copies, descriptors of children: checked against the disk by ``record`` itself."""
    said = shell(
        top,
        """
        cp top/old top/copy
        cat top/old top/copy > top/both
        dd if=top/below/image of=top/old bs=512 conv=notrunc,fsync 2> dd.log
        (cd top/link && tar -c image) | tar -x -C top
        sed -i s/image/other/ top/image
        mkdir -p top/d/e && touch top/d/e/f && rm -r top/d
        ln -sfn old top/link2; ln -sfn both top/link2; ln top/old top/hard
        exec 3<>top/copy; head -c 5 <&3 > five; echo mid >&3; echo end >> top/copy
        chmod 755 top/copy; truncate -s 100 top/both; mv top/both top/moved; sync top; sync
        """,
    )
    assert "write old, bytes 512 to 1024" in said
    assert "write copy, bytes 5 to 9" in said
    assert "write copy, bytes 3000 to 3004" in said
    assert "set the length of both to 100" in said
    assert said[-2:] == ["flush .", "flush everything"]


def test_every_call_that_writes(top: Path) -> None:
    said = python(
        top,
        """
f = os.open("old", os.O_RDWR)
os.pwrite(f, b"1", 10)
os.writev(f, [b"ab", b"cd"])
os.pwritev(f, [b"ef"], 20)
os.pwritev(f, [b"gh"], 30, os.RWF_DSYNC)
os.lseek(f, 40, os.SEEK_SET); os.read(f, 5); os.write(f, b"i")
os.posix_fallocate(f, 0, 4000)
os.ftruncate(f, 3500); os.truncate("old", 3400)
os.fdatasync(f)
g = os.dup(f); os.write(g, b"j"); os.dup2(g, 90); os.close(g); os.write(90, b"k")
a = os.open("old", os.O_WRONLY | os.O_APPEND | os.O_SYNC); os.write(a, b"l")
d = os.open("below", os.O_DIRECTORY)
os.rename("image", "renamed", src_dir_fd=d, dst_dir_fd=d)
os.mkdir("made", dir_fd=d); os.symlink("x", "sl", dir_fd=d)
os.link("renamed", "hard", src_dir_fd=d, dst_dir_fd=d)
os.rmdir("made", dir_fd=d); os.fsync(d)
""",
    )
    assert said == [
        "write old, bytes 10 to 11",
        "write old, bytes 0 to 4",
        "write old, bytes 20 to 22",
        "write old, bytes 30 to 32",
        "flush old",
        "write old, bytes 45 to 46",
        "set the length of old to 4000",
        "set the length of old to 3500",
        "set the length of old to 3400",
        "flush old",
        "write old, bytes 46 to 47",
        "write old, bytes 47 to 48",
        "write old, bytes 3400 to 3401",
        "flush old",
        "rename below/image to below/renamed",
        "make the name below/made",
        "make the name below/sl",
        "make the name below/hard",
        "remove the name below/made",
        "flush below",
    ]


def test_a_file_that_had_no_name(top: Path) -> None:
    said = python(
        top,
        """
f = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o600)
os.write(f, b"new"); os.fsync(f)
d = os.open("below", os.O_DIRECTORY)
os.link(f"/proc/self/fd/{f}", "../named", src_dir_fd=d, dst_dir_fd=d, follow_symlinks=True)
os.unlink("old"); os.write(f, b"more")
""",
    )
    assert said == [
        "write named, bytes 0 to 3",
        "flush named",
        "make the name named",
        "remove the name old",
        "write named, bytes 3 to 7",
    ]


def test_copies_inside_of_the_kernel_are_written_out(top: Path) -> None:
    """``copy_file_range``, ``sendfile`` and ``splice`` fail as on an old kernel."""
    assert shell(top, "cp top/old top/copy") == [
        "make the name copy",
        "write copy, bytes 0 to 3000",
    ]
    said = acts(top, *PYTHON, "import shutil; shutil.copyfile('top/old', 'top/copy2')")
    assert said == ["make the name copy2", "write copy2, bytes 0 to 3000"]


def test_threads_and_children_share_what_they_share(top: Path) -> None:
    said = python(
        top,
        """
import threading
f = os.open("old", os.O_RDWR)
def work():
    os.write(f, b"thread"); os.fsync(f)
t = threading.Thread(target=work); t.start(); t.join()
os.write(f, b"main")
if os.fork() == 0:
    os.write(f, b"child"); os.close(f); os._exit(0)
os.wait(); os.write(f, b"parent")
os.set_inheritable(f, True)
os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", f"echo shell >&{f}"])
""",
    )
    assert [act for act in said if act.startswith("write")] == [
        "write old, bytes 0 to 6",
        "write old, bytes 6 to 10",
        "write old, bytes 10 to 15",
        "write old, bytes 15 to 21",
        "write old, bytes 21 to 27",
    ]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("import mmap; f = open('old', 'r+b'); mmap.mmap(f.fileno(), 0)[0:1] = b'x'", "memory"),
        ("os.rename('../new', 'new')", "moved between what is watched and elsewhere"),
        ("os.link('../new', 'new')", "link to a file that is not watched"),
        ("os.mkfifo('pipe')", "special file"),
        ("os.truncate('old', 1 << 40)", "smaller image"),
    ],
)
def test_what_cannot_be_seen_is_refused(top: Path, script: str, why: str) -> None:
    (top.parent / "new").write_bytes(b"new")
    with pytest.raises(ConfigurationError, match=why) as caught:
        python(top, script)
    assert caught.value.reason == "not_recordable"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has mounts of its own")
def test_mounts_of_its_own_are_refused(top: Path) -> None:
    """What a path means there is not what it means here."""
    with pytest.raises(ConfigurationError, match="mounts of its own"):
        shell(top, "unshare --mount true")


def test_what_somebody_else_changes_is_noticed(top: Path, tmp_path: Path) -> None:
    """A service that ran before does the work: no call of the command shows it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    script = f"read line < {pipe}; echo changed > {top}/old; echo done > {pipe}"
    with subprocess.Popen(["sh", "-c", script]) as service:
        with pytest.raises(ConfigurationError, match="start the service inside") as caught:
            shell(top, "echo go > pipe; read line < pipe")
        assert service.wait() == 0
    assert caught.value.reason == "not_recordable"


def test_a_command_that_fails_is_said(top: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="it ended with 3; it said last: no room"
    ) as caught:
        shell(top, "echo no room >&2; exit 3")
    assert caught.value.reason == "command_failed"
    with pytest.raises(ConfigurationError, match="did not end within 1 s"):
        record(["sleep", "60"], watched([top]), directory=top, timeout_seconds=1)


def test_without_strace_it_says_what_to_install(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ConfigurationError, match="install the package strace") as caught:
        shell(top, "true")
    assert caught.value.reason == "no_strace"


def test_what_cannot_be_put_back_is_not_watched(top: Path) -> None:
    with pytest.raises(ConfigurationError, match="neither a directory nor a block device"):
        watched([top / "old"])
    with pytest.raises(ConfigurationError, match="lies in"):
        watched([top, top / "below"])
    os.mkfifo(top / "pipe")
    with pytest.raises(ConfigurationError, match="special file"):
        snapshot(watched([top]))
    assert snapshot(watched([top], ["pip?"])).entries


def test_what_is_announced_is_what_is_done(top: Path) -> None:
    """``disk.watching``, by which other tests cut the power, and the calls: the same, in order."""
    script = """
from pathlib import Path
from interlock_core import durable
top = Path("top")
durable.replace(top / "old", b"new", mode=0o600)
durable.create(top / "evidence", b"once")
durable.mkdir(top / "x" / "y")
durable.switch_link(top / "link", "x")
durable.remove(top / "old")
durable.fsync_tree(top / "below")
"""
    made = recorded(top, sys.executable, "-c", script)
    names = {Write: "write", Move: "rename", Remove: "unlink", Resize: "write"}
    done = []
    directories = {n for n, node in made.nodes.items() if node.kind == "directory"}
    for operation in made.operations:
        match operation:
            case Sync(nodes):
                done.append("sync_directory" if nodes <= directories else "sync")
            case Add(node=node):
                kind = made.nodes[node].kind
                seen = sum(isinstance(o, Add) and o.node == node for o in made.operations)
                first = next(o for o in made.operations if isinstance(o, Add) and o.node == node)
                linked = seen > 1 and operation is not first
                done.append(
                    {"directory": "mkdir", "link": "symlink"}.get(kind)
                    or ("link" if linked else "make")
                )
            case _ if type(operation) in names:
                done.append(names[type(operation)])
    announced: list[str] = []
    shutil.rmtree(top)
    (top / "below").mkdir(parents=True)
    (top / "old").write_bytes(b"old")
    (top / "below" / "image").write_bytes(b"image")
    (top / "link").symlink_to("below")
    with durable.watching(lambda act, _: announced.append(act)):
        before = Path.cwd()
        os.chdir(top.parent)
        try:
            exec(script, {})  # noqa: S102  # the same script, in this process
        finally:
            os.chdir(before)
    # A temporary file that was linked loses its first name unannounced: nobody ever looks for it.
    done.remove("unlink")
    assert done == announced


def test_a_state_is_put_in_place_as_it_is(top: Path) -> None:
    """From state to state only what differs changes; read back, each is what the model says."""
    made = recorded(
        top,
        "sh",
        "-ec",
        "ln top/old top/hard; echo more >> top/old; mv top/below top/moved; mkdir top/below; "
        "chmod 700 top/moved; ln -sfn moved top/link; echo x > top/below/x",
    )
    model, what = Model(made), watched([top])
    stage = Stage(what, model)
    shown = 0
    for _, state in states(made, Plan(samples=4)):
        tree = stage.show(state)
        found = snapshot(what)
        again = Model(Recording(found.roots, found.nodes, found.entries, ()))
        assert digest(again.tree(again.whole)) == digest(tree)
        shown += 1
        if shown % 7 == 0:
            (top / "garbage").write_bytes(b"garbage")
            stage.forget()
    assert shown > 100
    if (top / "hard").exists():
        stage.show(State(0))
    assert sorted(os.listdir(top)) == ["below", "link", "old"]  # noqa: PTH208  # names


LINE = st.text(st.characters(min_codepoint=1, max_codepoint=126), max_size=60)


@given(st.lists(LINE, max_size=4))
def test_any_trace_is_read_or_refused(lines: list[str]) -> None:
    try:
        for call in trace.calls(lines):
            assert call.name
    except WireError:
        pass


@pytest.mark.parametrize(
    "line",
    [
        "1 write(3, no end",
        '1 write(3, "x", 1) = one',
        "1 <... write resumed>) = 1",
        "write(3, 1) = 1",
        "",
    ],
)
def test_a_line_that_is_not_understood_is_refused(line: str) -> None:
    with pytest.raises(WireError, match="Line 1 of the trace"):
        list(trace.calls([line]))


def test_a_string_that_was_cut_off_is_refused() -> None:
    with pytest.raises(WireError, match="it was cut off"):
        trace.string('"\\x61"...')
    with pytest.raises(WireError, match="cut off"):
        trace.buffers('[{iov_base="\\x61"..., iov_len=9}]')
