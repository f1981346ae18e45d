"""A program that runs apart from the rest of the machine, and ends with whoever started it (I/O).

Rules:

1. It has a mount and a process namespace of its own, with a private file system in memory as its
   working directory. Nobody outside sees or reaches what it puts there (a socket, a mount).
2. Nothing of it outlives it: when its first process ends, or whoever started it, the kernel ends
   all that it started, takes down what it mounted, and with that frees loop devices. A power cut or
   a killed agent leaves nothing to be tidied up.
3. It gets one descriptor, as its standard input; inside it is ``BUNDLE``, whatever becomes of the
   name that the file had.
4. What it prints is bounded, and so is its time. It has an environment of its own.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from interlock_core.errors import ConfigurationError, TransientError

BUNDLE: Final = "/proc/1/fd/0"
"""Inside: what was passed as standard input (rule 3)."""
SCRATCH: Final = "/proc/1/cwd"
"""Inside: the private file system; a short name, as a socket needs."""
KEPT_OUTPUT: Final = 64 * 1024
MAX_SHOWN: Final = 400

_NEEDED: Final = ("setpriv", "unshare", "mount", "sh")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_END_SECONDS: Final = 10.0
ALONE: Final = ("unshare", "--net", "--ipc", "--uts")
"""Before a program: it has no network and nothing to talk to others by either."""
_PREFIX: Final = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--mount-proc", "--pid", "--fork", "--kill-child"),
)
# The first process of the namespaces becomes the program itself, so that they end with it.
_SCRIPT: Final = (
    'mount -t tmpfs -o mode=0700,nosuid,nodev,size=16m tmpfs "$1" && cd "$1" && shift && exec "$@"'
)


@dataclass(frozen=True)
class Ended:
    """How it ended.

    Attributes:
        code: its exit code, or minus the number of the signal that ended it; None if its time was
            up and it was ended here.
        output: the last of what it printed, on either stream.
    """

    code: int | None
    output: str


def find(program: str) -> str:
    """The path of a program.

    Raises:
        ConfigurationError: it is not installed.
    """
    path = shutil.which(program, path=_PATH)
    if path is None:
        raise ConfigurationError(
            f"There is no program {program} here, which this installer needs: install it."
        )
    return path


def require(*programs: str) -> None:
    """See that programs, and what runs them apart, are installed.

    Raises:
        ConfigurationError: one is not.
    """
    for program in (*_NEEDED, *programs):
        find(program)


def require_right(scratch: Path) -> None:
    """See that programs can be run apart here: before anything is fetched for one.

    Args:
        scratch: as for ``run``.

    Raises:
        ConfigurationError: they cannot.
        TransientError: as ``run``.
    """
    with Path(os.devnull).open("rb") as nothing:
        ended = run([*ALONE, "true"], stdin=nothing.fileno(), scratch=scratch, seconds=_END_SECONDS)
    if ended.code != 0:
        raise ConfigurationError(
            "The installer cannot be run apart from the machine "
            f"({ended.output.strip()[:MAX_SHOWN]}): run the agent as root, and let its unit make "
            "namespaces and mount file systems (infra/systemd)."
        )


def run(argv: Sequence[str], *, stdin: int, scratch: Path, seconds: float) -> Ended:
    """Run a program apart, and wait for it.

    Args:
        argv: the program and its arguments.
        stdin: a descriptor that it may read (rule 3).
        scratch: an empty directory, over which the private file system is mounted.
        seconds: how long it may take.

    Raises:
        TransientError: ``installer_failed``: it cannot be run apart, or cannot be ended.
    """
    command = [*_PREFIX, "sh", "-c", _SCRIPT, "sh", str(scratch), *argv]
    try:
        process = subprocess.Popen(  # noqa: S603  # from the gateway's own configuration
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": _PATH, "LANG": "C.UTF-8"},
            cwd="/",
        )
    except OSError as e:
        raise TransientError(
            f"{argv[0]} cannot be run: {e.strerror}.", reason="installer_failed"
        ) from e
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    code = None
    try:
        with process.stdout as stream:
            output = _listen(stream, deadline)
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        if process.returncode is None:
            _end(process, argv[0])
    return Ended(code, output.decode(errors="replace"))


def _listen(stream: IO[bytes], deadline: float) -> bytes:
    """The last of what it prints, until nobody can print any more or the time is up."""
    descriptor, output = stream.fileno(), b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([descriptor], [], [], left)[0]:
            break
        chunk = os.read(descriptor, KEPT_OUTPUT)
        if not chunk:
            break
        output = (output + chunk)[-KEPT_OUTPUT:]
    return output


def _end(process: subprocess.Popen[bytes], name: str) -> None:
    """See that nothing of it runs any more.

    Raises:
        TransientError: it waits in the kernel, for a dead disk perhaps, and cannot be ended.
    """
    try:
        # The first process inside, and not the one that waits for it: that one returns when all
        # that was inside has ended.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        for child in children.split():
            os.kill(int(child), signal.SIGKILL)
        process.wait(_END_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as e:
        process.kill()
        process.wait()
        raise TransientError(
            f"{name} did not end when it was told to: see that the disk answers.",
            reason="installer_failed",
        ) from e
