"""A PostgreSQL of the tests' own: a private cluster in a temporary directory, on a Unix socket.

It is the one that Debian ships. It listens on no network address, is started as a child, and ends
with whoever started it. It refuses to run as root, who starts it as ``postgres`` or ``nobody``.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

OWNER = "interlock"
_AS_NEW = ("--no-sync", "--auth=trust", "--encoding=UTF8", "--no-locale", f"--username={OWNER}")
_STARTED = b"database system is ready to accept connections"


@dataclass
class Cluster:
    """A running cluster.

    Attributes:
        sockets: the directory of its Unix socket.
    """

    sockets: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, database: str) -> str:
        """As the setting ``storage.database`` names it."""
        return f"postgresql+psycopg://{OWNER}@/{database}?host={self.sockets}"

    def make(self, template: str = "template0") -> str:
        """Make a database, empty or as ``template`` is, to which nobody may be connected."""
        name = f"fleet_{next(self._numbers)}"
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        with psycopg.connect(
            host=str(self.sockets), user=OWNER, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(made.format(sql.Identifier(name), sql.Identifier(template)))
        return name


def _programs() -> Path:
    """Where the newest PostgreSQL's programs are: Debian keeps them off the path."""
    found = shutil.which("postgres")
    if found is not None:
        return Path(found).parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    assert debian, "PostgreSQL is not installed: run 'make setup'"
    return debian[-1].parent


def _who() -> tuple[int, int] | None:
    """As whom to run it; None for whoever runs this."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise AssertionError("neither postgres nor nobody is a user here, and PostgreSQL refuses root")


@dataclass(frozen=True)
class _How:
    """Where a program is run, and as whom."""

    home: Path
    who: tuple[int, int] | None

    def start(self, command: list[str | Path]) -> subprocess.Popen[bytes]:
        user, group = self.who if self.who is not None else (None, None)
        return subprocess.Popen(
            command,
            cwd=self.home,
            user=user,
            group=group,
            extra_groups=[] if self.who is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )


@contextmanager
def running(*, durable: bool = False) -> Iterator[Cluster]:
    """Run a cluster.

    Args:
        durable: whether commits wait for the disk, as they do by default in PostgreSQL. Tests,
            which cut no power beneath it, go without.
    """
    programs, who = _programs(), _who()
    # Not under pytest's directory: another user could not enter that one, and a socket's path is
    # at most 107 bytes long.
    home = Path(tempfile.mkdtemp(prefix="interlock-pg-"))
    if who is not None:
        os.chown(home, *who)
    how = _How(home, who)
    try:
        data = home / "data"
        initdb = how.start([programs / "initdb", *_AS_NEW, "-D", data])
        initdb.communicate()
        assert initdb.returncode == 0, "initdb failed"
        words = {
            "listen_addresses": "",
            "unix_socket_directories": str(home),
            "max_connections": "100",
            "shared_buffers": "32MB",
            "autovacuum": "on" if durable else "off",
            "fsync": "on" if durable else "off",
            "log_timezone": "UTC",
        }
        settings = [word for name, value in words.items() for word in ("-c", f"{name}={value}")]
        # Whatever becomes of us, it ends too.
        process = how.start(
            ["setpriv", "--pdeathsig=QUIT", programs / "postgres", "-D", data, *settings]
        )
        try:
            _wait(process)
            # What it says from here on is read away, so that it never waits for us.
            threading.Thread(target=process.communicate, daemon=True).start()
            yield Cluster(home)
        finally:
            # At once: what it holds is thrown away.
            process.send_signal(signal.SIGQUIT)
            process.wait(60)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Until it says that it is ready; nobody waits by the clock."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if _STARTED in line:
            return
    raise AssertionError(b"".join(said).decode())
