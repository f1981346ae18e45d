"""Runs an executable of the integrator's, and believes nothing of it that is not clear (I/O).

Rules:

1. The file is called by its path, with arguments of ours, a minimal environment, ``/`` as its
   directory and a process group of its own. A file that anybody on the machine may write to is not
   run, because then anybody answers.
2. It has so much time, and then its whole group is killed. It is killed at the end too: what it
   leaves running in its group ends with it.
3. Its output is bounded: more is an error. Of what it says to people the last line is kept.
4. It inherits the descriptors that it is given by number, and no others.
"""

from __future__ import annotations

import os
import selectors
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock_core.errors import ConfigurationError

ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
MAX_OUTPUT: Final = 64 * 1024
MAX_INPUT: Final = 32 * 1024
"""A pipe holds this much, so that nobody waits until it is read."""
KEPT_WORDS: Final = 4096
SHOWN: Final = 200
_PIECE: Final = 1 << 16
_GLANCE_SECONDS: Final = 0.05
_END_SECONDS: Final = 5.0

Sink = Callable[[bytes], None]
"""Takes the output as it comes; what it raises ends the executable."""


@dataclass(frozen=True)
class Ended:
    """How it ended.

    Attributes:
        code: its exit code, negative for a signal; None if it was killed for its time or output,
            or cannot be watched.
        output: what it wrote to its standard output, unless a sink took it.
        why: what was wrong, for people; empty if it exited with 0.
    """

    code: int | None
    output: bytes
    why: str


class _TooMuch(Exception):  # noqa: N818  # no error that anybody sees
    """It wrote more than it may."""


def run(
    program: Path,
    arguments: Sequence[str],
    *,
    seconds: float,
    stdin: bytes = b"",
    descriptors: Sequence[int] = (),
    sink: Sink | None = None,
) -> Ended:
    """Run it to its end.

    Args:
        program: the file.
        arguments: after its name.
        seconds: until it is killed.
        stdin: what it may read; at most ``MAX_INPUT``.
        descriptors: given to it under their numbers (rule 4).
        sink: takes its output, however much that is.

    Raises:
        ConfigurationError: it is no executable file, or anybody may write to it.
    """
    _check(program)
    kept = bytearray()

    def keep(chunk: bytes) -> None:
        kept.extend(chunk)
        if len(kept) > MAX_OUTPUT:
            raise _TooMuch

    deadline = time.monotonic() + seconds
    with _input(stdin) as reader:
        try:
            process = subprocess.Popen(  # noqa: S603  # from the gateway's own configuration
                [program, *arguments],
                stdin=reader,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=ENVIRONMENT,
                cwd="/",
                pass_fds=tuple(descriptors),
                start_new_session=True,
            )
        except OSError as e:
            raise ConfigurationError(f"{program} cannot be run: {e.strerror}.") from e
    assert process.stdout is not None
    assert process.stderr is not None
    words = bytearray()
    why = ""
    try:
        with process.stdout, process.stderr:
            if not _listen(process, sink or keep, words, deadline):
                why = f"did not end within {seconds:g} s"
    except _TooMuch:
        why = f"wrote more than {MAX_OUTPUT} bytes"
    except ChildProcessError:
        # Whoever started the agent ignores SIGCHLD: how a process ended is not to be known.
        why = "cannot be watched: the agent was started to ignore SIGCHLD"
    finally:
        # All that it started is in its group, and ends here; but for what may not be ended.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
    if why:
        return Ended(None, bytes(kept), why)
    code = process.returncode
    return Ended(code, bytes(kept), _how(code, last_line(bytes(words))))


def last_line(words: bytes) -> str:
    """The last line that says something, printable and short."""
    lines = [line.strip() for line in words.decode(errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return "".join(char if char.isprintable() else "?" for char in last)[:SHOWN]


def _how(code: int | None, words: str) -> str:
    if code == 0:
        return ""
    if code is None:
        return "waits in the kernel, and cannot be ended"
    how = f"exited with {code}" if code > 0 else f"was ended by signal {-code}"
    return f"{how}: {words}" if words else how


def _check(program: Path) -> None:
    """Whether it may be run (rule 1)."""
    try:
        mode = program.stat().st_mode
        around = program.parent.stat().st_mode
    except OSError as e:
        raise ConfigurationError(f"{program} cannot be run: {e.strerror}.") from e
    if not stat.S_ISREG(mode) or not os.access(program, os.X_OK):
        raise ConfigurationError(f"{program} is not an executable file.")
    if mode & stat.S_IWOTH or (around & stat.S_IWOTH and not around & stat.S_ISVTX):
        raise ConfigurationError(f"{program} may be written or replaced by anybody: mend its mode.")


@contextmanager
def _input(data: bytes) -> Iterator[int]:
    """A pipe that holds ``data`` and is closed behind it."""
    assert len(data) <= MAX_INPUT
    reader, writer = os.pipe()
    try:
        try:
            os.write(writer, data)
        finally:
            os.close(writer)
        yield reader
    finally:
        os.close(reader)


def _listen(
    process: subprocess.Popen[bytes], sink: Sink, words: bytearray, deadline: float
) -> bool:
    """Take what it says until it ends; False if its time was over before."""
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as streams:
        streams.register(process.stdout, selectors.EVENT_READ)
        streams.register(process.stderr, selectors.EVENT_READ)
        while True:
            # Asked before its last words are taken: what it wrote before its end is all there.
            ended = _ended(process.pid)
            took = _take(streams, process, sink, words, 0.0 if ended else _wait(deadline))
            if ended and not took:
                return True
            if time.monotonic() >= deadline:
                return ended


def _take(
    streams: selectors.BaseSelector,
    process: subprocess.Popen[bytes],
    sink: Sink,
    words: bytearray,
    wait: float,
) -> bool:
    """Take what there is; whether there was anything."""
    took = False
    if not streams.get_map():
        time.sleep(wait)
        return False
    for key, _ in streams.select(wait):
        chunk = os.read(key.fd, _PIECE)
        if not chunk:
            streams.unregister(key.fileobj)
        elif key.fileobj is process.stdout:
            sink(chunk)
            took = True
        else:
            words.extend(chunk)
            del words[:-KEPT_WORDS]
            took = True
    return took


def _wait(deadline: float) -> float:
    return min(_GLANCE_SECONDS, max(0.0, deadline - time.monotonic()))


def _ended(pid: int) -> bool:
    # Seen but not reaped: until then nobody else can get its number, and its group can be ended.
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
