"""Keeps what the next plain check of a gateway at rest may go by (I/O).

Rules (``rest`` has those of the answer):

1. It is kept of a whole check that came to "nothing to do" with one request and a 304, and of no
   other. A gateway behind a proxy, with a client certificate or a counter in a TPM, or whose boot
   state a boot loader keeps, does without: those can fail without a change of any file.
2. The files under it were looked at before the settings were read, and again when all was done.
   They are the same: so the check changed nothing, and nobody else did meanwhile.
3. It ends when what was believed does, or when the next report falls due.
4. That it could not be kept changes nothing, and the next check is a whole one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from interlock_client import __version__, rest
from interlock_client.context import Context
from interlock_client.outcome import NOTHING_TO_DO, Outcome
from interlock_client.poll import Seen, load_seen
from interlock_core import durable
from interlock_core.errors import Exit, InterlockError
from interlock_core.wire import encode

Render = Callable[[Outcome], str]


def watched(
    path: Path,
    build: Callable[[Path], Context],
    check: Callable[[Context], Outcome],
    *,
    text: Render,
    json: Render,
) -> Outcome:
    """Build the gateway, make a whole check, and keep what it rests on (rules 1 to 4).

    Args:
        path: the configuration.
        build: makes the gateway of it.
        check: makes the check.
        text, json: what is printed of its outcome.

    Raises:
        InterlockError: as ``build`` and ``check`` do.
    """
    first = rest.marks([path], [])
    context = build(path)
    files, directories = _under(context, path)
    before = _marks(files, directories)
    try:
        outcome = check(context)
    finally:
        context.close()
    with suppress(InterlockError, OSError):
        if before is not None and before | first == _marks(files, directories):
            kept = _kept(context, outcome)
            if kept is not None:
                kept |= {
                    "config": str(path.absolute()),
                    "files": [str(file) for file in files],
                    "directories": [str(directory) for directory in directories],
                    "marks": before,
                    "text": text(outcome),
                    "json": json(outcome),
                }
                _write(context.state.rest, encode(kept))
    return outcome


def _under(context: Context, path: Path) -> tuple[list[Path], list[Path]]:
    """The files and directories that a check rests on."""
    settings, state = context.settings, context.state
    files = [path, settings.image_root, settings.director_root]
    directories = [state.root, state.identity, state.identity / "outbox"]
    if settings.ca_file is not None:
        files.append(settings.ca_file)
    if state.marker is not None:
        files.append(state.marker)
    if settings.installer.booted is not None:
        files.append(settings.installer.booted)
    if settings.installer.boot_environment is not None:
        directories.append(settings.installer.boot_environment)
    return files, directories


def _marks(files: list[Path], directories: list[Path]) -> dict[str, list[int] | None] | None:
    try:
        return rest.marks(files, directories)
    except OSError:
        return None


def _kept(context: Context, outcome: Outcome) -> dict[str, Any] | None:
    """What to keep but for the files; None of an outcome that nothing is kept of (rule 1)."""
    settings, times = context.settings, context.times
    plain = outcome.outcome == NOTHING_TO_DO and outcome.exit_code is Exit.DONE
    if not plain or dict(outcome.more) != {"requests": 1}:
        return None
    seen, server = load_seen(context.state), settings.servers[0]
    simple = settings.proxy is None and settings.client_certificate is None
    simple = simple and context.guard is None
    # What a boot loader says is in no file of ours.
    if not simple or settings.installer.boot is not None or seen is None or seen.settled is None:
        return None
    if not seen.url.startswith(f"{server}/"):
        return None
    memory, boot = context.memory(), times.boot_id()
    until = _until(context, seen)
    if not boot or until is None:
        return None
    return {
        "client": __version__,
        "boot_id": boot,
        "since_boot": rest.since_boot(),
        "clock": time.time(),
        "at": times.decision_time(memory.clock_floor, memory.last).timestamp(),
        "until": until.timestamp(),
        "server": server,
        "path": seen.url.removeprefix(server),
        "etag": seen.etag,
        "ca_file": str(settings.ca_file) if settings.ca_file is not None else None,
    }


def _until(context: Context, seen: Seen) -> datetime | None:
    """Until when (rule 3)."""
    assert seen.settled is not None
    until = seen.settled.until
    if not context.enrolled:
        return until
    from interlock_client import identity, reporting  # noqa: PLC0415  # only where reports are made

    home = identity.in_force(context.state)
    last = reporting.box_of(home).tip()[0] if home is not None else None
    if last is None or last.at is None:
        return None
    return min(until, last.at + timedelta(seconds=context.settings.report_interval_seconds))


def _write(path: Path, body: bytes) -> None:
    # Its own directory: what is written beside it for a moment is no change of the state.
    durable.mkdir(path.parent, mode=0o700)
    digest = hashlib.sha256(body).hexdigest().encode()
    durable.replace(path, digest + b"\n" + body, mode=0o600)
