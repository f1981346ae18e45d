"""Records what a command does to what is watched, by ``strace`` (I/O).

Rules:

1. The command runs as it is, with its children, to its end; a trace of every call that ``replay``
   knows is written to a private file and removed.
2. At the end, all operations applied must give what stands on the disk. Where they do not,
   something changed it that the trace does not show (another process, mapped memory, a service that
   was there before), and the recording is refused: a state explored from it would be fiction.
3. A command that fails is an error. What it left is for its caller to put back.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from interlock_client.powercut import trace
from interlock_client.powercut.live import refused
from interlock_client.powercut.materialise import Snapshot, Watched, listed, snapshot
from interlock_client.powercut.model import Model
from interlock_client.powercut.operations import Recording
from interlock_client.powercut.replay import FAILED, RAW, TRACED, replay
from interlock_core.durable import translated
from interlock_core.errors import ConfigurationError, WireError

LONGEST_WRITE: Final = 16 * 1024 * 1024
MOST_TRACED: Final = 2 * 1024 * 1024 * 1024


def record(
    command: Sequence[str],
    what: Watched,
    *,
    directory: Path,
    timeout_seconds: int = 600,
    environment: Mapping[str, str] | None = None,
    codes: Sequence[int] = (0,),
) -> Recording:
    """Run a command and return what it did.

    Args:
        command: program and arguments.
        what: what is watched.
        directory: in which it runs.
        timeout_seconds: the most it may take.
        environment: of the command; this process's, if left out.
        codes: exit codes that are no failure.

    Raises:
        ConfigurationError: ``no_strace``; ``command_failed``; ``not_recordable``.
        TransientError: the disk did not do it.
    """
    before = snapshot(what)
    with translated("write", Path(tempfile.gettempdir())):
        scratch = tempfile.TemporaryDirectory(prefix="interlock-power-")
    with scratch as name:
        written = Path(name) / "trace"
        words = [*_strace(written), *command]
        _run(words, command, directory, timeout_seconds, environment, codes)
        with translated("read", written):
            if written.stat().st_size > MOST_TRACED:
                raise refused("it writes too much to be recorded; try it with a smaller image")
            umask = os.umask(0o22)
            os.umask(umask)
            real = str(directory.resolve())
            try:
                # Hexadecimal and ASCII, whatever names and bytes are in it.
                with written.open(encoding="ascii", errors="replace", newline="\n") as lines:
                    calls = list(trace.calls(lines))
                recording = replay(calls, before, what, directory=real, umask=umask)
            except WireError as e:
                raise refused(f"strace wrote what cannot be read ({e})") from e
    _check(recording, snapshot(what))
    return recording


def _strace(written: Path) -> list[str]:
    program = shutil.which("strace")
    if program is None:
        raise ConfigurationError(
            "strace is not installed, and what a command writes is seen with it: install the "
            "package strace on the machine where you try this. Gateways do not need it.",
            reason="no_strace",
        )
    traced = ",".join(f"?{name}" for name in TRACED)
    words = [program, "-f", "-y", "-xx", "-qq", "-s", str(LONGEST_WRITE), "-o", str(written)]
    words += ["--seccomp-bpf", "-e", f"trace={traced}", "-e", f"raw={','.join(RAW)}"]
    for name, error in FAILED.items():
        words += ["-e", f"inject={name}:error={error}"]
    return [*words, "--"]


def _run(
    words: Sequence[str],
    command: Sequence[str],
    directory: Path,
    timeout_seconds: int,
    environment: Mapping[str, str] | None,
    codes: Sequence[int],
) -> None:
    shown = " ".join(command)[:200]
    try:
        process = subprocess.Popen(  # noqa: S603  # what its caller wants recorded
            words,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as e:
        raise _failed(shown, str(e)) from e
    with process:
        try:
            said, _ = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired as e:
            os.killpg(process.pid, signal.SIGKILL)
            raise _failed(shown, f"it did not end within {timeout_seconds} s") from e
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode not in codes:
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise _failed(shown, f"it ended with {process.returncode}; it said last: {last[:300]}")


def _failed(shown: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"The command {shown} failed without any power cut ({why}): mend that first.",
        reason="command_failed",
    )


def _check(recording: Recording, after: Snapshot) -> None:
    """What was recorded must be what happened (rule 2)."""
    model = Model(recording)
    tree = model.tree(model.whole)
    found = dict(listed(after))
    differs = sorted(tree.keys() ^ found.keys())
    for path, node in found.items():
        item = tree.get(path)
        if item is None:
            continue
        content = node.data != model.content(item.node, model.whole)
        if item.kind != node.kind or (node.kind != "directory" and content):
            differs.append(path)
    if differs:
        raise refused(
            f"{differs[0]} is not what the calls that were seen make of it ({len(differs)} such). "
            "Something else changes it: memory that is mapped, or a service that ran before; "
            "start the service inside of the command"
        )
