"""A real PKCS#11 token in software (SoftHSM2), and a person who types at a real terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

PIN: Final = "471108"
SO_PIN: Final = "98765432"
PATIENCE: Final = 120.0
"""Seconds after which a command at a terminal is taken to hang."""


@cache
def library() -> Path:
    """SoftHSM2's PKCS#11 library."""
    places = [Path("/usr/lib/softhsm"), *Path("/usr/lib").glob("*/softhsm")]
    for path in (place / "libsofthsm2.so" for place in places):
        if path.exists():
            return path
    raise FileNotFoundError("SoftHSM2 is missing: make setup installs it (Debian: softhsm2)")


@dataclass(frozen=True)
class Shelf:
    """Where tokens lie: plugging one in is making it, or moving its directory back.

    Attributes:
        home: holds the configuration and the tokens' own files.
    """

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to see the tokens."""
        return {
            "SOFTHSM2_CONF": str(self.home / "softhsm2.conf"),
            "PYKCS11LIB": str(library()),
        }

    def add(self, label: str, pin: str = PIN) -> None:
        """Make a token with a PIN."""
        words = ["--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", pin]
        subprocess.run(
            ["softhsm2-util", *words],
            env=os.environ | self.environment,
            check=True,
            capture_output=True,
        )

    def take_out(self) -> None:
        """Take every token away."""
        (self.home / "tokens").rename(self.home / "drawer")
        (self.home / "tokens").mkdir()

    def put_back(self) -> None:
        """Plug them in again."""
        (self.home / "tokens").rmdir()
        (self.home / "drawer").rename(self.home / "tokens")

    @contextmanager
    def inside(self, label: str, pin: str = PIN) -> Iterator[tuple[ModuleType, Any]]:
        """python-pkcs11 and a session of one's own: what an owner of the token can do."""
        import pkcs11  # noqa: PLC0415  # not before a test needs it
        import pkcs11.util.ec  # noqa: PLC0415

        opened = pkcs11.lib(str(library()))
        try:
            with opened.get_token(token_label=label).open(rw=True, user_pin=pin) as session:
                yield pkcs11, session
        finally:
            opened.finalize()


def shelf_at(home: Path) -> Shelf:
    """An empty shelf."""
    (home / "tokens").mkdir(parents=True)
    (home / "softhsm2.conf").write_text(
        f"directories.tokendir = {home / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    return Shelf(home)


def use(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """Let this process see the tokens of a shelf."""
    for name, value in shelf.environment.items():
        monkeypatch.setenv(name, value)
    return shelf


class typing:  # noqa: N801  # reads as what a person does: typing("471108")
    """A secrets handler that gives each answer once, and remembers what it was asked."""

    def __init__(self, *answers: str) -> None:
        self._left = list(answers)
        self.asked: list[str] = []

    def __call__(self, what: str) -> str:
        self.asked.append(what)
        return self._left.pop(0)


@dataclass(frozen=True)
class Typed:
    """How a command at a terminal ended.

    Attributes:
        code: its exit code.
        screen: all that stood on the terminal.
    """

    code: int
    screen: str


def at_terminal(
    words: Sequence[str | Path], answers: Sequence[tuple[str, str]], *, env: dict[str, str]
) -> Typed:
    """Run a command at a pseudo terminal of its own, and type.

    Args:
        words: of the command.
        answers: what to wait for on the screen, and what to type then.
        env: all of the environment.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(str(words[0]), [str(word) for word in words], env)  # noqa: S606  # as a shell does
    try:
        screen = _conversation(terminal, answers)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    return Typed(os.waitstatus_to_exitcode(status), screen)


def _conversation(terminal: int, answers: Sequence[tuple[str, str]]) -> str:
    screen, left, seen = "", list(answers), 0
    end = time.monotonic() + PATIENCE
    while select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0]:
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:  # Linux says so when the other side has closed
            chunk = b""
        if not chunk:
            assert not left, f"never asked for {left}: {screen}"
            return screen
        screen += chunk.decode(errors="replace")
        while left and (found := screen.find(left[0][0], seen)) >= 0:
            seen = found + len(left[0][0])
            os.write(terminal, f"{left.pop(0)[1]}\n".encode())
    raise TimeoutError(f"nothing more comes: {screen}")
