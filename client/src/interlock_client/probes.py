"""Directories of executables that answer a yes-or-no question (I/O).

Rules:

1. Yes means: there is at least one, and every one exits with 0 within the time allowed for all.
2. Exit code 75 (``EX_TEMPFAIL``) means: I cannot tell now, and it is not this firmware's fault. For
   whom that is of use (``cannot_tell``), it is neither a yes nor a no, unless another one says no.
   For all others it is a no.
3. Whatever else happens is a no with a reason: no directory, an empty one, one that cannot be read,
   an entry that is not executable, a crash, a signal, a hang; a directory or an entry into which
   anybody on the machine may write, because then anybody answers. Names that begin with a dot are
   not looked at.
4. They run in the order of their names, one at a time, with a minimal environment and no input.
   What they print is bounded; the last line is shown to people. What they start ends with them.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from interlock_client.config import Checks

CANNOT_TELL: Final = os.EX_TEMPFAIL
KEPT_OUTPUT: Final = 4096
SHOWN: Final = 200
_GLANCE_SECONDS: Final = 0.05
_END_SECONDS: Final = 5.0
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Probe:
    """One executable's answer.

    Attributes:
        unknown: it says that it cannot tell (rule 2); then it did not pass.
    """

    name: str
    passed: bool
    detail: str
    unknown: bool = False


@dataclass(frozen=True)
class Verdict:
    """The answer of a whole directory.

    Attributes:
        passed: a clear yes (rule 1).
        detail: the first no, or how many passed.
        probes: those that ran, in order.
        unknown: no no, and no yes either (rule 2).
    """

    passed: bool
    detail: str
    probes: tuple[Probe, ...] = ()
    unknown: bool = False


def ask(checks: Checks, what: str, *, cannot_tell: bool = False) -> Verdict:
    """Ask every executable of a directory until one says no.

    Args:
        checks: the directory, and how long all may take.
        what: names the directory in reasons: ``"interlock"`` or ``"health"``.
        cannot_tell: whether that is an answer (rule 2).
    """
    directory = checks.checks
    try:
        names = sorted(
            entry.name for entry in directory.iterdir() if not entry.name.startswith(".")
        )
        anybodys = _anybodys(directory)
    except OSError as e:
        return Verdict(False, f"the {what} checks {directory} cannot be read: {e.strerror}")
    if anybodys:
        return Verdict(False, f"anybody may write into the {what} checks {directory}")
    if not names:
        return Verdict(False, f"there is no {what} check in {directory}")
    deadline = time.monotonic() + checks.timeout_seconds
    probes: list[Probe] = []
    for name in names:
        probe = _run(directory / name, deadline)
        probes.append(probe)
        if not probe.passed and not (cannot_tell and probe.unknown):
            return Verdict(False, f"the {what} check {probe.name} {probe.detail}", tuple(probes))
    unknown = next((probe for probe in probes if probe.unknown), None)
    if unknown is not None:
        detail = f"the {what} check {unknown.name} {unknown.detail}"
        return Verdict(False, detail, tuple(probes), unknown=True)
    return Verdict(True, f"{len(probes)} {what} checks passed", tuple(probes))


def advise(checks: Checks) -> tuple[Probe, ...]:
    """Ask every executable of a directory, whatever the others say; nothing is decided by it.

    Args:
        checks: the directory, and how long all may take.
    """
    try:
        entries = sorted(checks.checks.iterdir())
    except OSError as e:
        return (Probe(checks.checks.name, False, f"cannot be read: {e.strerror}"),)
    deadline = time.monotonic() + checks.timeout_seconds
    return tuple(_run(path, deadline) for path in entries if not path.name.startswith("."))


def _run(path: Path, deadline: float) -> Probe:
    name = _printable(path.name)
    try:
        if not path.is_file() or not os.access(path, os.X_OK):
            return Probe(name, False, "is not an executable file")
        if _anybodys(path):
            return Probe(name, False, "may be written by anybody")
        process = subprocess.Popen(  # noqa: S603  # the hospital's own, from its directory
            [path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
    except OSError as e:
        return Probe(name, False, f"cannot be run: {e.strerror}")
    assert process.stdout is not None
    with process.stdout:
        try:
            output, in_time = _listen(process, process.stdout, deadline)
            watched = True
        except ChildProcessError:
            # Whoever started the agent ignores SIGCHLD: how a process ended is not to be known.
            output, in_time, watched = b"", False, False
        finally:
            # All that it started is in its group, and ends here; but for what may not be ended.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    try:
        code = process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        # It waits in the kernel, for a dead disk perhaps. The lease shall not wait with it.
        return Probe(name, False, "did not answer in time, and cannot be ended")
    if not watched:
        return Probe(name, False, "cannot be watched: the agent was started to ignore SIGCHLD")
    if not in_time:
        return Probe(name, False, "did not answer in time")
    last = _last_line(output)
    if code != 0:
        how = f"exited with {code}" if code > 0 else f"was ended by signal {-code}"
        if code == CANNOT_TELL:
            how = "cannot tell now"
        return Probe(name, False, f"{how}: {last}" if last else how, code == CANNOT_TELL)
    return Probe(name, True, last or "passed")


def _listen(
    process: subprocess.Popen[bytes], stream: IO[bytes], deadline: float
) -> tuple[bytes, bool]:
    """The last of its output, and whether it ended before the deadline."""
    descriptor = stream.fileno()
    output = b""
    silent = False
    while True:
        ended = _ended(process.pid)
        wait = 0.0 if ended else min(_GLANCE_SECONDS, max(0.0, deadline - time.monotonic()))
        if silent:
            time.sleep(wait)
        elif select.select([descriptor], [], [], wait)[0]:
            chunk = os.read(descriptor, KEPT_OUTPUT)
            output = (output + chunk)[-KEPT_OUTPUT:]
            silent = not chunk
            if chunk and time.monotonic() < deadline:
                continue
        # A child of it may hold the pipe open: its own end is what counts.
        if ended or time.monotonic() >= deadline:
            return output, ended


def _ended(pid: int) -> bool:
    # Seen but not reaped: until then nobody else can get its number, and its group can be ended.
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _last_line(output: bytes) -> str:
    lines = [line.strip() for line in output.decode(errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return _printable(last)[:SHOWN]


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _anybodys(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IWOTH)
