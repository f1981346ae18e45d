"""The guides and playbooks under ``docs/``, run as they stand.

Rules:

1. Everything in a fence ``console`` is typed, in order, in one directory, against a real server
   process. A line that begins with ``$`` is a command; the lines below it are what the screen
   shows. ``…`` stands for anything in a line, and for any lines where it stands alone; what is not
   shown is not compared. ``{NAME}`` is what stood there first. The last line ``(exit code N)``
   says that it does not end with 0.
2. What a person answers stands behind the question. Passphrases are asked for and not shown. Who
   confirms one step of a ceremony confirms the others too.
3. A fence ``toml`` whose first line is ``# NAME.toml`` is that file, written there and then.
4. The guides say ``https://updates.example.org``, ``/media/usb`` and ``sudo systemctl restart
   interlock-server``; here that is the server on loopback, a directory beside, and the same server
   process ended and started again. Loopback ports that stand in settings are others here.
5. A comment on top names what stands there at first (``tests/cli/worlds.py``).

``python -m tests.flow.guides FILE`` runs one and prints all that its commands say.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from infra.ports import free_port
from interlock_core.clock import system_clock
from tests.cli import transcript
from tests.cli.programs import Clock, Person, Said, machine
from tests.cli.shell import Shell
from tests.cli.transcript import File
from tests.cli.worlds import PASSPHRASE, Worlds, served_at
from tests.flow.readme import ROOT

DOCS: Final = ROOT / "docs"
SERVER: Final = "https://updates.example.org"
MEDIA: Final = "/media/usb"
INITIALS: Final = "initials (! if it deviates)"
SYSTEMCTL: Final = re.compile(r"sudo systemctl (?:start|restart) interlock-server")
PORTS: Final = ("127.0.0.1:8080", "127.0.0.1:8081")
_GIVEN: Final = re.compile(r"<!-- Run by tests/flow/test_guides.py, from '([a-z]+)'. -->")
_FENCE: Final = re.compile(r"^```(console|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED: Final = re.compile(r"# (\S+\.toml)\n")
_EXIT: Final = re.compile(r"\(exit code (\d+)\)")
_QUESTION: Final = re.compile(r"(Passphrase|PIN) of |\[y/N\]: ")


@dataclass(frozen=True)
class Command:
    """One command of a guide, and what it says that the screen shows."""

    line: str
    shown: tuple[str, ...]
    code: int


@dataclass(frozen=True)
class Guide:
    """What a guide has people do."""

    given: str
    acts: tuple[Command | File, ...]


def read(path: Path) -> Guide:
    """Read a guide.

    Raises:
        AssertionError: it does not say what stands there at first, or has nothing to do.
    """
    text = path.read_text()
    given = _GIVEN.search(text)
    assert given is not None, f"{path.name} does not say what stands there at first"
    acts: list[Command | File] = []
    for kind, body in _FENCE.findall(text):
        if kind == "console":
            acts += _commands(body)
        elif named := _NAMED.match(body):
            acts.append(File(named[1], tuple(body.splitlines())))
    assert any(isinstance(act, Command) for act in acts), f"{path.name} has nothing to do"
    return Guide(given[1], tuple(acts))


def _commands(body: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        line, _, rest = part.replace("\\\n", " ").partition("\n")
        shown = rest.rstrip().splitlines()
        code = 0
        if shown and (ended := _EXIT.fullmatch(shown[-1])):
            code = int(ended[1])
            shown.pop()
        yield Command(line, tuple(shown), code)


class Reader(Person):
    """Who follows a guide: answers what it answers, and knows one passphrase."""

    def __init__(self, command: Command) -> None:
        super().__init__(())
        self.at_terminal = any(_QUESTION.search(line) for line in command.shown)
        self._shown = list(command.shown)
        self._initials = ""

    def _next(self, what: str) -> str:
        if _QUESTION.match(f"{what[:1].upper()}{what[1:]} of ") or what.startswith("passphrase"):
            return PASSPHRASE
        for number, line in enumerate(self._shown):
            question, _, answer = line.rpartition(": ")
            pattern = ".*?".join(re.escape(part) for part in question.split("…"))
            if question and re.fullmatch(pattern, what.rstrip(" :")):
                del self._shown[: number + 1]
                if INITIALS in question:
                    self._initials = answer
                return answer
        if INITIALS in what and self._initials:
            return self._initials
        self.unanswered = what
        raise EOFError


class Wall(Clock):
    """A clock that goes, as the server's does: what is signed after something is dated after it."""

    def __call__(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0)


class Desk:
    """A machine with a server beside it, where a guide is followed."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.shell = Shell(home, Wall())
        self.ports = tuple(f"127.0.0.1:{free_port()}" for _ in PORTS)
        self.shell.known["URL"] = f"http://{self.ports[0]}"
        self._process: subprocess.Popen[str] | None = None

    def write(self, file: File) -> None:
        """Write a file of the guide."""
        lines = tuple(self._here(line) for line in file.lines)
        self.shell.write(File(file.name, lines))

    def _here(self, line: str) -> str:
        for before, now in zip(PORTS, self.ports, strict=True):
            line = line.replace(before, now)
        return line.replace(SERVER, self.shell.known["URL"])

    def start(self) -> None:
        """Start the server, and wait until it says that it is ready."""
        command = Path(sys.executable).with_name("interlock-server")
        with (self._home / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                [str(command), "serve", "--config", str(self._home / "server.toml"), "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, (self._home / "server.log").read_text()
        assert json.loads(line)["url"] == self.shell.known["URL"]

    def stop(self) -> None:
        """End the server."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.communicate(timeout=60)
            self._process = None

    def follow(self, command: Command) -> Said:
        """Type a command."""
        if SYSTEMCTL.fullmatch(command.line):
            self.stop()
            self.start()
            return Said(0)
        line = command.line.replace(SERVER, self.shell.known["URL"])
        words = shlex.split(line.replace(MEDIA, "media/usb"))
        words = [word for word in words if word != "-r"]  # of cp, which copies either here
        said = self.shell.hear(words, Reader(command), together=True)
        url = self.shell.known["URL"]
        return Said(said.code, said.out.replace(url, SERVER).replace("media/usb", MEDIA))


@contextmanager
def desk(worlds: Worlds, given: str, home: Path) -> Iterator[Desk]:
    """A desk at ``home`` with what is given, while the block runs."""
    shutil.copytree(worlds.made(given), home, symlinks=True)
    (home / "media" / "usb").mkdir(parents=True)
    made = Desk(home)
    with machine(home, made.shell.clock, "guide"):
        for before, now in zip(PORTS, made.ports, strict=True):
            served_at(home, before, now)
        if (home / "store").exists():
            made.start()
        try:
            yield made
        finally:
            made.stop()


def differs(command: Command, said: Said, known: MutableMapping[str, str]) -> str | None:
    """What a command says otherwise than the guide shows, or None; learns its names."""
    patterns = [line.rstrip().replace("…", transcript.ANYTHING) for line in command.shown]
    patterns = [transcript.ANY_LINES if p == transcript.ANYTHING else p for p in patterns]
    right = not patterns or transcript.fits(patterns, transcript.lines_of(said.out), known)
    if right and said.code == command.code:
        return None
    return f"$ {command.line}\n{said.out}(exit code {said.code})"


def main(path: Path) -> None:
    """Run a guide and print what its commands say."""
    guide = read(path)
    with TemporaryDirectory(prefix="guide-") as place:
        worlds = Worlds(Path(place, "worlds"), system_clock())
        Path(place, "worlds").mkdir()
        with desk(worlds, guide.given, Path(place, "home")) as made:
            for act in guide.acts:
                if isinstance(act, File):
                    made.write(act)
                    continue
                said = made.follow(act)
                wrong = "  <-- differs" if differs(act, said, made.shell.known) else ""
                sys.stdout.write(f"$ {act.line}{wrong}\n{said.out}(exit code {said.code})\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
