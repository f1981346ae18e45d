"""The programs, run to their end in this process as their entry points run them."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from hashlib import sha256
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NoReturn
from unittest import mock

import click
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.ngclient._internal import trusted_metadata_set

import interlock_ceremony.cli
import interlock_ops.cli
import interlock_repo.cli
import interlock_server.cli
from interlock_ceremony.ceremony import Room
from interlock_core import clock, credentials, keys
from interlock_ops.cli.edge import Edge

START: Final = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that stands still until it is set."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str = ""
    err: str = ""


class _Output(io.TextIOWrapper):
    def __init__(self, errors: str, *, at_terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)
        self._at_terminal = at_terminal

    def isatty(self) -> bool:
        return self._at_terminal

    def text(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


class Person:
    """Who types, one line after the other, and sees what the terminal shows."""

    def __init__(self, typed: Sequence[str]) -> None:
        self.left = deque(typed)
        self.unanswered = ""
        self.at_terminal = bool(typed)

    def secret(self, what: str, prompt: Callable[[str], str] | None) -> str:
        """In place of ``credentials._ask``: nothing that is typed is shown."""
        del prompt
        if not self.at_terminal:
            return _ASK(what, None)
        sys.stderr.write(f"{what[:1].upper()}{what[1:]}:\n")
        return self._next(what)

    def answer(self, prompt: str) -> str:
        """In place of click's prompt: the answer is shown behind the question."""
        screen: Any = sys.stderr if not _ends_line(sys.stderr) else sys.stdout
        said = self._next(f"{screen.text().rpartition(chr(10))[2]}{prompt}")
        screen.write(f"{prompt}{said}\n")
        return said

    def _next(self, what: str) -> str:
        """What is typed at the question ``what``."""
        if not self.left:
            self.unanswered = what
            raise EOFError
        return self.left.popleft()


def _ends_line(screen: Any) -> bool:
    text = screen.text()
    return not text or text.endswith("\n")


_ASK: Final = credentials._ask


class _Stdin(io.TextIOWrapper):
    def __init__(self, person: Person) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")
        self._person = person

    def isatty(self) -> bool:
        return self._person.at_terminal

    def readline(self, _size: int = -1, /) -> str:  # type: ignore[override]
        return f"{self._person.answer('')}\n" if self._person.left else ""


Start = Callable[[list[str], Clock, Person], None]


def _ceremony(words: list[str], now: Clock, _: Person) -> None:
    room = Room(clock=now, scrypt_n=keys.MIN_SCRYPT_N)
    interlock_ceremony.cli.main.main(args=words, prog_name="interlock-ceremony", obj=room)


def _repo(words: list[str], _: Clock, __: Person) -> None:
    interlock_repo.cli.main.main(args=words, prog_name="interlock-repo")


def _ops(words: list[str], now: Clock, person: Person) -> None:
    edge = Edge(now, at_terminal=lambda: person.at_terminal)
    interlock_ops.cli.main.main(args=words, prog_name="interlock-ops", obj=edge)


def _server(words: list[str], _: Clock, __: Person) -> None:
    interlock_server.cli.main.main(args=words, prog_name="interlock-server")


def _client(words: list[str], _: Clock, __: Person) -> None:
    """A gateway is another machine: a process of its own, by the machine's own clock."""
    command = Path(sys.executable).with_name("interlock-client")
    done = subprocess.run([command, *words], capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    raise SystemExit(done.returncode)


PROGRAMS: Final[Mapping[str, Start]] = {
    "interlock-ceremony": _ceremony,
    "interlock-repo": _repo,
    "interlock-ops": _ops,
    "interlock-server": _server,
    "interlock-client": _client,
}


def _keys(salt: str) -> Callable[[], CryptoSigner]:
    """One Ed25519 key after the other, the same in every run: some lists are in their order."""
    numbers = count()

    def generate() -> CryptoSigner:
        seed = sha256(f"{salt} {next(numbers)}".encode()).digest()
        return CryptoSigner(Ed25519PrivateKey.from_private_bytes(seed))

    return generate


@contextmanager
def _quiet() -> Iterator[None]:
    """No log on standard error: the server's would stand among what commands say."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


@contextmanager
def machine(home: Path, now: Clock, salt: str) -> Iterator[None]:
    """A machine on which it is ``now``, whose working directory is ``home``; keys open quickly.

    Args:
        salt: tells the keys that are made on it from those of other machines.
    """

    class At(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return now().astimezone(tz)

    # msgspec looks a record's annotations up once; before ``At`` stands there.
    msgspec.json.Decoder(clock.LastDecision)
    msgspec.json.Decoder(clock.ClockReading)
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    kept |= {"HOME": str(home), "TZ": "UTC", "TERM": "dumb"}
    with (
        contextlib.chdir(home),
        mock.patch.dict(os.environ, kept, clear=True),
        mock.patch.object(tempfile, "tempdir", tempfile.gettempdir()),
        _quiet(),
        mock.patch.object(clock, "datetime", At),
        mock.patch.object(
            trusted_metadata_set,
            "datetime",
            SimpleNamespace(datetime=At, timezone=SimpleNamespace(utc=UTC)),
        ),
        mock.patch.object(CryptoSigner, "generate_ed25519", staticmethod(_keys(salt))),
        mock.patch.dict(keys.new_key.__kwdefaults__, scrypt_n=keys.MIN_SCRYPT_N),
    ):
        yield


def run(words: Sequence[str], now: Clock, person: Person, *, together: bool = False) -> Said:
    """Run one of the programs on a ``machine``.

    Args:
        words: the command line.
        now: the machine's clock.
        person: who types.
        together: standard error goes where standard output goes, as on a screen.

    Raises:
        AssertionError: it asked for more than was typed, or for less.
    """
    out = _Output("strict", at_terminal=together and person.at_terminal)
    err = out if together else _Output("backslashreplace", at_terminal=person.at_terminal)
    code: object = None
    with (
        mock.patch.object(sys, "stdin", _Stdin(person)),
        mock.patch.object(credentials, "_ask", person.secret),
        mock.patch.object(click.termui, "visible_prompt_func", person.answer),
        mock.patch.object(click.termui, "hidden_prompt_func", _never),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            PROGRAMS[words[0]](list(words[1:]), now, person)
        except SystemExit as e:
            code = e.code
        except Exception:  # noqa: BLE001  # a real process would show it, and end with 1
            code = 1
            traceback.print_exc()
    if person.left or person.unanswered:
        wrong = person.unanswered or f"never {list(person.left)}"
        raise AssertionError(f"asked for {wrong}: {out.text()}{err.text()}")
    return Said(code if isinstance(code, int) else 0, out.text(), "" if together else err.text())


def _never(prompt: str) -> NoReturn:
    raise AssertionError(f"secrets are asked for by core alone: {prompt!r}")
