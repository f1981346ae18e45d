"""From the system calls of a command to the operations of the model.

Rules:

1. Descriptors are followed through copies, children and ``exec``, so that each write is known by
   its file and place. A descriptor whose file is watched and that came in another way (through a
   socket, or from before the recording) is refused.
2. What cannot be seen or is not in the model is refused as ``not_recordable``, never passed over:
   a file mapped for writing, ``io_uring``, a clone of blocks, a file moved in from elsewhere.
3. A flush covers the calls that had ended when it began.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from typing import Final

from interlock_client.powercut import trace
from interlock_client.powercut.live import Live, Spot, refused
from interlock_client.powercut.materialise import Snapshot, Watched
from interlock_client.powercut.model import Recording
from interlock_client.powercut.processes import Opened, Process, Where
from interlock_client.powercut.trace import Call

_MAKES_A_PROCESS: Final = frozenset({"clone", "clone3", "fork", "vfork"})
_NO_DISK: Final = ("/dev/", "/proc/", "/sys/", "/run/")
_CHANGES_BLOCKS: Final = ("CLONE", "DEDUPE", "BLKDISCARD", "BLKZEROOUT", "BLKSECDISCARD")


def replay(
    calls: Sequence[Call], start: Snapshot, what: Watched, *, directory: str, umask: int
) -> Recording:
    """The operations that calls make on what is watched.

    Args:
        calls: of the whole command, in the order in which they ended.
        start: what was there before.
        what: what is watched.
        directory: in which the first process began.
        umask: of the first process.

    Raises:
        ConfigurationError: ``not_recordable`` (rules 1 and 2).
        WireError: the trace cannot be read.
    """
    machine = _Machine(calls, start, what, Process(Where(directory, umask)))
    for call in calls:
        machine.take(call)
    live = machine.live
    elsewhere = tuple(machine.elsewhere)
    return Recording(start.roots, live.nodes, start.entries, live.operations, elsewhere)


class _Machine:
    def __init__(
        self, calls: Sequence[Call], start: Snapshot, what: Watched, first: Process
    ) -> None:
        self.live = Live(start, what)
        self._what = what
        self._parents = {
            call.result: call
            for call in calls
            if call.name in _MAKES_A_PROCESS and call.result is not None
        }
        self._first = first
        self._process = first
        self._processes: dict[int, Process] = {}
        # How many operations there were when so many calls had ended (rule 3).
        self._marks = [0]
        self.elsewhere: list[str] = []

    def take(self, call: Call) -> None:
        if call.name == "exited":
            self._processes.pop(call.process, None)
            return
        self._process = self._known(call.process)
        if call.result is not None:
            act = _ACTS.get(call.name)
            if act is None:
                raise refused(f"the call {call.name} is not known")
            act(self, call)
        self._marks.append(len(self.live.operations))

    def _known(self, number: int) -> Process:
        if number not in self._processes:
            made = self._parents.get(number)
            if made is None:
                self._processes[number] = self._first
            else:
                parent = self._known(made.process)
                self._processes[number] = parent.child(" ".join(made.arguments))
        return self._processes[number]

    def _absolute(self, at: str | None, path: str) -> str:
        base = self._process.where.directory
        if at is not None:
            number, annotated = trace.descriptor(at)
            if annotated is not None:
                base = annotated
            elif number is not None and not path.startswith("/"):
                raise refused(f"{path} is relative to a descriptor that leads nowhere known")
        return posixpath.join(base, path)

    def _spot(self, at: str | None, argument: str) -> Spot | None:
        """The directory and name that a call changes, if that is watched."""
        return self.live.spot(self._absolute(at, trace.path(argument)))

    # Descriptors

    def _opened(self, argument: str) -> Opened | None:
        number, path = trace.descriptor(argument)
        slot = self._process.files.get(number) if number is not None else None
        if slot is not None:
            return slot.opened
        if path is not None and self.live.node(path) is not None:
            raise refused(
                f"a descriptor of {path} came in a way that was not recorded (rule 1: through a "
                "socket, or from before)"
            )
        return None

    def open(self, call: Call) -> None:
        assert call.result is not None
        named = call.arguments[1:] if call.name in {"openat", "openat2"} else call.arguments
        flags, mode = "O_CREAT|O_TRUNC", named[-1]
        if call.name == "openat2":
            how = re.match(r"\{flags=([A-Z_|]+)(?:, mode=(0[0-7]*))?", named[1])
            if how is None:
                raise refused(f"openat2 with {named[1][:60]} is not understood")
            flags, mode = how[1], how[2] or "0"
        elif call.name != "creat":
            flags = named[1]
        makes = "O_CREAT" in flags or "O_TMPFILE" in flags
        opened = self._open(call.path, flags, trace.integer(mode) if makes else 0)
        self._process.put(call.result, opened, closes="O_CLOEXEC" in flags)

    def _open(self, path: str | None, flags: str, mode: int) -> Opened | None:
        if path is None:
            return None
        words = flags.split("|")
        syncs = "O_SYNC" in words or "O_DSYNC" in words
        above, name = posixpath.split(path)
        if "O_TMPFILE" in words:
            directory = self.live.node(above)
            if directory is None:
                return None
            node = self.live.new("file", mode & ~self._process.where.umask, directory)
            return Opened(node, syncs=syncs)
        found = self.live.node(path)
        if found is None:
            directory = self.live.node(above)
            if directory is None or self._what.ignores(name):
                self._note_elsewhere(path, words)
                return None
            if "O_CREAT" not in words:
                raise refused(f"{path} came there in a way that was not recorded")
            found = self.live.new("file", mode & ~self._process.where.umask, directory)
            self.live.add(Spot(directory, name), found)
        elif "O_TRUNC" in words and self.live.nodes[found].kind == "file":
            self.live.resize(found, 0)
        return Opened(found, append="O_APPEND" in words, syncs=syncs)

    def _note_elsewhere(self, path: str, flags: list[str]) -> None:
        writes = "O_WRONLY" in flags or "O_RDWR" in flags
        if writes and not path.startswith(_NO_DISK) and path not in self.elsewhere:
            self.elsewhere.append(path)

    def close(self, call: Call) -> None:
        number, _ = trace.descriptor(call.arguments[0])
        if number is not None:
            self._process.files.pop(number, None)

    def close_range(self, call: Call) -> None:
        first, last = (trace.integer(argument) for argument in call.arguments[:2])
        only_marks = "CLOSE_RANGE_CLOEXEC" in call.arguments[2]
        if "CLOSE_RANGE_UNSHARE" in call.arguments[2]:
            self._process.unshare()
        for number in [number for number in self._process.files if first <= number <= last]:
            if only_marks:
                self._process.closing(number, closes=True)
            else:
                del self._process.files[number]

    def dup(self, call: Call) -> None:
        assert call.result is not None
        opened = self._opened(call.arguments[0])
        closes = "O_CLOEXEC" in call.arguments[2:]
        self._process.put(call.result, opened, closes=closes)

    def fcntl(self, call: Call) -> None:
        command = call.arguments[1]
        assert call.result is not None
        if command in {"F_DUPFD", "F_DUPFD_CLOEXEC"}:
            opened = self._opened(call.arguments[0])
            self._process.put(call.result, opened, closes=command == "F_DUPFD_CLOEXEC")
        elif command == "F_SETFD":
            number, _ = trace.descriptor(call.arguments[0])
            self._process.closing(number, closes="FD_CLOEXEC" in call.arguments[2])
        elif command == "F_SETFL":
            opened = self._opened(call.arguments[0])
            if opened is not None:
                opened.append = "O_APPEND" in call.arguments[2]

    def execve(self, call: Call) -> None:  # noqa: ARG002  # each act takes its call
        self._process.exec()

    def fork(self, call: Call) -> None:
        assert call.result is not None
        if any("CLONE_NEWNS" in argument for argument in call.arguments):
            raise refused("it has mounts of its own")
        if call.result not in self._processes:
            self._processes[call.result] = self._process.child(" ".join(call.arguments))

    def unshare(self, call: Call) -> None:
        if "CLONE_NEWNS" in call.arguments[0]:
            raise refused("it has mounts of its own")
        self._process.unshare()

    def chdir(self, call: Call) -> None:
        path = self._absolute(None, trace.path(call.arguments[0]))
        self._process.where.directory = self.live.real(path)

    def fchdir(self, call: Call) -> None:
        _, path = trace.descriptor(call.arguments[0])
        if path is None:
            raise refused("it went to a directory that is not known")
        self._process.where.directory = path

    def umask(self, call: Call) -> None:
        self._process.where.umask = trace.integer(call.arguments[0])

    # Content

    def read(self, call: Call) -> None:
        # The arguments of reads are raw: a number in hexadecimal, and no path.
        slot = self._process.files.get(int(call.arguments[0], 16))
        if slot is not None and call.result is not None:
            slot.opened.offset += call.result

    def lseek(self, call: Call) -> None:
        opened = self._opened(call.arguments[0])
        if opened is not None and call.result is not None:
            opened.offset = call.result

    def write(self, call: Call) -> None:
        opened = self._opened(call.arguments[0])
        if opened is None:
            return
        assert call.result is not None
        plain = call.name in {"write", "pwrite64"}
        whole = trace.string(call.arguments[1]) if plain else trace.buffers(call.arguments[1])
        if call.result > len(whole):
            raise refused("a write is longer than the recording takes: write in smaller pieces")
        data = whole[: call.result]
        given = trace.integer(call.arguments[3]) if call.name.startswith("pwrite") else -1
        flags = call.arguments[4] if call.name == "pwritev2" and len(call.arguments) > 4 else ""
        if opened.append or "RWF_APPEND" in flags:
            # Linux appends with pwrite too where the file was opened so.
            offset = self.live.size(opened.node)
        else:
            offset = given if given >= 0 else opened.offset
        if given < 0:
            opened.offset = offset + len(data)
        self.live.write(opened.node, offset, data)
        if opened.syncs or "RWF_DSYNC" in flags or "RWF_SYNC" in flags:
            self.live.flush({opened.node}, len(self.live.operations))

    def truncate(self, call: Call) -> None:
        if call.name == "ftruncate":
            opened = self._opened(call.arguments[0])
            node = opened.node if opened is not None else None
        else:
            path = self._absolute(None, trace.path(call.arguments[0]))
            node = self.live.node(self.live.real(path))
        if node is not None:
            self.live.resize(node, trace.integer(call.arguments[1]))

    def fallocate(self, call: Call) -> None:
        opened = self._opened(call.arguments[0])
        if opened is None:
            return
        mode = set(call.arguments[1].split("|"))
        offset, length = (trace.integer(argument) for argument in call.arguments[2:4])
        if mode - {"0", "FALLOC_FL_KEEP_SIZE", "FALLOC_FL_PUNCH_HOLE", "FALLOC_FL_ZERO_RANGE"}:
            raise refused(f"fallocate with {call.arguments[1]} is not in the model")
        if mode & {"FALLOC_FL_PUNCH_HOLE", "FALLOC_FL_ZERO_RANGE"}:
            self.live.clear(opened.node, offset, length)
        if "FALLOC_FL_KEEP_SIZE" not in mode:
            size = self.live.size(opened.node)
            self.live.resize(opened.node, max(size, offset + length))

    def chmod(self, call: Call) -> None:
        if call.name == "fchmod":
            opened = self._opened(call.arguments[0])
            node, mode = opened.node if opened is not None else None, call.arguments[1]
        else:
            at = call.arguments[0] if call.name != "chmod" else None
            rest = call.arguments if at is None else call.arguments[1:]
            node = self.live.node(self.live.real(self._absolute(at, trace.path(rest[0]))))
            mode = rest[1]
        if node is not None:
            self.live.mode(node, trace.integer(mode))

    # Flushes

    def fsync(self, call: Call) -> None:
        opened = self._opened(call.arguments[0])
        if opened is not None:
            modes = call.name == "fsync"
            self.live.flush({opened.node}, self._marks[call.began], modes=modes)

    def sync(self, call: Call) -> None:
        self.live.flush(set(self.live.nodes), self._marks[call.began])

    def syncfs(self, call: Call) -> None:
        opened = self._opened(call.arguments[0])
        if opened is not None:
            system = self.live.nodes[opened.node].system
            there = {number for number, node in self.live.nodes.items() if node.system == system}
            self.live.flush(there, self._marks[call.began])

    # Names again: changes of them

    def mkdir(self, call: Call) -> None:
        at, rest = _split_at(call, "mkdirat")
        spot = self._spot(at, rest[0])
        if spot is not None:
            mode = trace.integer(rest[1]) & ~self._process.where.umask
            self.live.add(spot, self.live.new("directory", mode, spot.directory))

    def symlink(self, call: Call) -> None:
        at = call.arguments[1] if call.name == "symlinkat" else None
        spot = self._spot(at, call.arguments[-1])
        if spot is not None:
            target = trace.string(call.arguments[0])
            self.live.add(spot, self.live.new("link", 0o777, spot.directory, target))

    def unlink(self, call: Call) -> None:
        at, rest = _split_at(call, "unlinkat")
        spot = self._spot(at, rest[0])
        if spot is not None:
            self.live.remove(spot)

    def link(self, call: Call) -> None:
        if call.name == "link":
            source = self._spot(None, call.arguments[0])
            spot = self._spot(None, call.arguments[1])
            node = self.live.entries.get(source) if source is not None else None
        else:
            spot = self._spot(*call.arguments[2:4])
            node = self._linked(call)
        if spot is None:
            return
        if node is None:
            raise refused(f"{spot.name} is a link to a file that is not watched")
        self.live.add(spot, node)

    def _linked(self, call: Call) -> int | None:
        path = trace.path(call.arguments[1])
        if path == "":
            opened = self._opened(call.arguments[0])
            return opened.node if opened is not None else None
        above, name = posixpath.split(path)
        if above in {"/proc/self/fd", "/dev/fd"} and name.isdigit():
            slot = self._process.files.get(int(name))
            return slot.opened.node if slot is not None else None
        spot = self._spot(call.arguments[0], call.arguments[1])
        return self.live.entries.get(spot) if spot is not None else None

    def rename(self, call: Call) -> None:
        if call.name == "rename":
            old = self._spot(None, call.arguments[0])
            new = self._spot(None, call.arguments[1])
        else:
            old = self._spot(*call.arguments[:2])
            new = self._spot(*call.arguments[2:4])
        flags = call.arguments[4] if call.name == "renameat2" else "0"
        if "RENAME_WHITEOUT" in flags:
            raise refused("a rename with a whiteout is not in the model")
        if old is None and new is None:
            return
        if old is None or new is None:
            name = (old or new or Spot(0, "?")).name
            raise refused(
                f"{name} is moved between what is watched and elsewhere; watch both directories"
            )
        self.live.move(old, new, exchange="RENAME_EXCHANGE" in flags)

    # What is not in the model (rule 2)

    def mmap(self, call: Call) -> None:
        protection, flags, descriptor = call.arguments[2:5]
        if "PROT_WRITE" in protection and "MAP_SHARED" in flags and not descriptor.startswith("-1"):
            opened = self._opened(descriptor)
            if opened is not None:
                raise refused("it maps a watched file into memory for writing, which no call shows")

    def hidden(self, call: Call) -> None:
        raise refused(f"it uses {call.name}, which does not show what is written")

    def special(self, call: Call) -> None:
        at, rest = _split_at(call, "mknodat")
        if self._spot(at, rest[0]) is not None:
            raise refused(f"it makes a special file ({trace.path(rest[0])})")

    def ioctl(self, call: Call) -> None:
        what = call.arguments[1]
        if what in {"FIOCLEX", "FIONCLEX"}:
            number, _ = trace.descriptor(call.arguments[0])
            self._process.closing(number, closes=what == "FIOCLEX")
        if any(name in what for name in _CHANGES_BLOCKS) and self._opened(call.arguments[0]):
            raise refused(f"{what} is not in the model")

    def copied(self, call: Call) -> None:
        # Made to fail while it is recorded, so that the program writes what it would have copied.
        for argument in call.arguments:
            if "<" in argument and self._opened(argument) is not None:
                raise refused(f"it uses {call.name}, which does not show what is written")

    def nothing(self, call: Call) -> None:
        """Nothing of a file changes."""


def _split_at(call: Call, with_directory: str) -> tuple[str | None, tuple[str, ...]]:
    if call.name == with_directory:
        return call.arguments[0], call.arguments[1:]
    return None, call.arguments


_ACTS: Final[dict[str, Callable[[_Machine, Call], None]]] = {
    "open": _Machine.open,
    "openat": _Machine.open,
    "openat2": _Machine.open,
    "creat": _Machine.open,
    "close": _Machine.close,
    "close_range": _Machine.close_range,
    "dup": _Machine.dup,
    "dup2": _Machine.dup,
    "dup3": _Machine.dup,
    "fcntl": _Machine.fcntl,
    "execve": _Machine.execve,
    "execveat": _Machine.execve,
    "clone": _Machine.fork,
    "clone3": _Machine.fork,
    "fork": _Machine.fork,
    "vfork": _Machine.fork,
    "unshare": _Machine.unshare,
    "chdir": _Machine.chdir,
    "fchdir": _Machine.fchdir,
    "umask": _Machine.umask,
    "read": _Machine.read,
    "readv": _Machine.read,
    "lseek": _Machine.lseek,
    "write": _Machine.write,
    "writev": _Machine.write,
    "pwrite64": _Machine.write,
    "pwritev": _Machine.write,
    "pwritev2": _Machine.write,
    "truncate": _Machine.truncate,
    "ftruncate": _Machine.truncate,
    "fallocate": _Machine.fallocate,
    "chmod": _Machine.chmod,
    "fchmod": _Machine.chmod,
    "fchmodat": _Machine.chmod,
    "fchmodat2": _Machine.chmod,
    "fsync": _Machine.fsync,
    "fdatasync": _Machine.fsync,
    "sync": _Machine.sync,
    "syncfs": _Machine.syncfs,
    "sync_file_range": _Machine.nothing,
    "msync": _Machine.nothing,
    "mkdir": _Machine.mkdir,
    "mkdirat": _Machine.mkdir,
    "symlink": _Machine.symlink,
    "symlinkat": _Machine.symlink,
    "unlink": _Machine.unlink,
    "unlinkat": _Machine.unlink,
    "rmdir": _Machine.unlink,
    "link": _Machine.link,
    "linkat": _Machine.link,
    "rename": _Machine.rename,
    "renameat": _Machine.rename,
    "renameat2": _Machine.rename,
    "mknod": _Machine.special,
    "mknodat": _Machine.special,
    "mmap": _Machine.mmap,
    "ioctl": _Machine.ioctl,
    "io_uring_setup": _Machine.hidden,
    "io_submit": _Machine.hidden,
    "copy_file_range": _Machine.copied,
    "sendfile": _Machine.copied,
    "splice": _Machine.copied,
}

TRACED: Final = tuple(_ACTS)
"""The calls that have to be recorded."""
RAW: Final = ("read", "readv")
"""Of these the arguments are recorded as numbers: what is read is not needed."""
FAILED: Final = {"copy_file_range": "ENOSYS", "sendfile": "EINVAL", "splice": "EINVAL"}
"""Calls that move bytes without showing them: while recording they fail as on an old kernel, and
programs fall back to reading and writing."""
