"""A plain check of a gateway at rest, before anything is loaded that it does not need (I/O).

A timer that runs ``check`` every few minutes finds nothing new nearly always, and most of what that
costs is starting: the command line, the types, the records. What such a check came to is kept
(``resting``), with what it rests on; here it is said again.

Rules:

1. Nothing is decided here, and nothing is installed because of it. There is one answer, "nothing to
   do", and one case for it: the servers' first says with a 304 that nothing changed since a whole
   check came to that answer, and changed nothing.
2. That check's answer is good only in the same boot and for the same release of the client, while
   every file under it is the very file that it was (its inode, length, and times, among them the
   one that nobody can set; of a link also those of where it leads), the clock went on as it should,
   and nothing that was believed then has expired or falls due.
3. Whatever else is the case, or cannot be found out, is none of this module's business: the whole
   check begins from its beginning, and says so by name.
4. It takes the agent's lock, bounds what it reads, and changes nothing but the time of the last
   answer.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from interlock_client import DEFAULT_CONFIG, __version__
from interlock_core.errors import InterlockError

MAX_KEPT: Final = 256 * 1024
MAX_CONFIG: Final = 64 * 1024
MAX_SKEW_SECONDS: Final = 5
"""How far the clock may stray from what the seconds since boot make of it."""

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
PASSING: Final = frozenset({"lock", "polled", "rest", "updating"})
"""Names in the state directory that say nothing about what is known or to be done."""

Found = dict[str, Any]
"""What was kept: see ``resting.keep``."""


def asked(words: list[str]) -> tuple[Path, bool] | None:
    """The configuration, and whether JSON is wanted, if a command line is a plain check's.

    Anything else, also what is wrong with it, is for the command line itself to say.
    """
    config, seen, as_json = None, False, False
    rest = iter(words)
    for word in rest:
        if word == "check" and not seen:
            seen = True
        elif word == "--json" and seen and not as_json:
            as_json = True
        elif word == "--config" and config is None:
            config = next(rest, None)
            if config is None:
                return None
        else:
            return None
    return (Path(config or DEFAULT_CONFIG), as_json) if seen else None


def answer(config: Path, *, as_json: bool) -> str | None:
    """What a whole check would say, if that is certain; None if it has to be made (rule 3)."""
    try:
        state = _state(config)
        with _lock(state):
            kept = _kept(state / "rest" / "check")
            if not _stands(kept, str(config.absolute())) or not _unchanged(kept):
                return None
            os.utime(state / "polled")
        said: str = kept["json" if as_json else "text"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, InterlockError):
        return None
    return said


def marks(files: Iterable[Path], directories: Iterable[Path]) -> dict[str, list[int] | None]:
    """What tells each file from any other and from itself after a change (rule 2), by path.

    Args:
        files: these; None marks one that is missing.
        directories: each name in them but for ``PASSING``.

    Raises:
        OSError: something cannot be looked at.
    """
    paths = [*files]
    for directory in directories:
        if directory.is_dir():
            paths += (path for path in directory.iterdir() if path.name not in PASSING)
    return {str(path): _mark(path) for path in paths}


def since_boot() -> float:
    """Seconds since boot, also those of a suspended machine."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _state(config: Path) -> Path:
    with config.open("rb") as file:
        tree = tomllib.loads(file.read(MAX_CONFIG).decode())
    state: str = tree["state"]
    return config.absolute().parent / state


@contextmanager
def _lock(state: Path) -> Iterator[None]:
    descriptor = os.open(state / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _kept(path: Path) -> Found:
    with path.open("rb") as file:
        digest, _, body = file.read(MAX_KEPT).partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ValueError("torn or rotten")
    found: Found = json.loads(body)
    return found


def _stands(kept: Found, config: str) -> bool:
    """Whether all is as it was when the check was made that this was kept of (rule 2)."""
    if (kept["client"], kept["config"]) != (__version__, config):
        return False
    if kept["boot_id"] != BOOT_ID.read_text(encoding="ascii").strip():
        return False
    passed, now = since_boot() - kept["since_boot"], time.time()
    on_time = abs(now - kept["clock"] - passed) <= MAX_SKEW_SECONDS
    if passed < 0 or not on_time or kept["at"] + passed + MAX_SKEW_SECONDS >= kept["until"]:
        return False
    files, directories = kept["files"], kept["directories"]
    return bool(marks(map(Path, files), map(Path, directories)) == kept["marks"])


def _unchanged(kept: Found) -> bool:
    """Ask (rule 1)."""
    from interlock_client.servers import connect  # noqa: PLC0415  # not before all else is certain

    ca_file = kept["ca_file"]
    servers = connect((kept["server"],), ca_file=Path(ca_file) if ca_file else None)
    try:
        asked = servers.each[0].get(kept["path"], limit=1, etag=kept["etag"])
    finally:
        servers.close()
    return asked.status == 304


def _mark(path: Path) -> list[int] | None:
    try:
        found = [os.lstat(path)]
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found[0].st_mode):
        # What counts is where it leads.
        with suppress(FileNotFoundError):
            found.append(path.stat())
    return [
        number
        for one in found
        for number in (
            one.st_dev,
            one.st_ino,
            one.st_mode,
            one.st_uid,
            one.st_size,
            one.st_mtime_ns,
            one.st_ctime_ns,
        )
    ]
