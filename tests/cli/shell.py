"""Runs a transcript's steps: the programs, and a few commands of any shell."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from tests.cli import programs, transcript
from tests.cli.programs import Clock, Person, Said
from tests.cli.transcript import File, FormError, Given, Item, Prose, Step


@dataclass
class Shell:
    """Where a transcript runs.

    Attributes:
        home: the working directory of everything.
        known: the names that stand for something, by now.
    """

    home: Path
    clock: Clock = field(default_factory=Clock)
    known: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known["HOME"] = str(self.home)

    def write(self, file: File) -> None:
        """Write a file of the transcript."""
        path = self.home / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{line}\n" for line in file.lines)
        path.write_text(transcript.filled(text, self.known))

    def run(self, line: str, *typed: str) -> Said:
        """Run a command line; it must succeed."""
        said = self.say(shlex.split(line), typed)
        assert said.code == 0, f"{line}\n{said.out}{said.err}"
        return said

    def say(self, words: Sequence[str], typed: Sequence[str] = ()) -> Said:
        """Run a command, as far as a redirection."""
        return self.hear(words, Person(typed))

    def hear(self, words: Sequence[str], person: Person, *, together: bool = False) -> Said:
        """``say``, typed by a person; ``together`` as in ``programs.run``."""
        filled = [transcript.filled(word, self.known) for word in words]
        if len(filled) > 2 and filled[-2] == ">":
            said = self._call(filled[:-2], person)
            (self.home / filled[-1]).write_text(said.out)
            return Said(said.code, "", said.err)
        return self._call(filled, person, together=together)

    def _call(self, words: Sequence[str], person: Person, *, together: bool = False) -> Said:
        if words[0] in programs.PROGRAMS:
            return programs.run(words, self.clock, person, together=together)
        if words[0] == "at":
            self.clock.now = datetime.fromisoformat(words[1])
            return Said(0)
        if words[0] not in COMMANDS:
            raise FormError(f"there is no {words[0]!r}: tests.cli lists the commands")
        return Said(0, COMMANDS[words[0]](*words[1:]))


def _cat(name: str) -> str:
    return Path(name).read_text()


def _ls(name: str = ".") -> str:
    return "".join(f"{path.name}\n" for path in sorted(Path(name).iterdir()))


def _cp(source: str, target: str) -> str:
    if Path(source).is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)
    return ""


def _rm(*names: str) -> str:
    for path in map(Path, names):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return ""


def _mkdir(name: str) -> str:
    Path(name).mkdir(parents=True)
    return ""


def _touch(name: str) -> str:
    Path(name).touch()
    return ""


def _chmod(mode: str, name: str) -> str:
    Path(name).chmod(int(mode, 8))
    return ""


def _same(first: str, second: str) -> str:
    assert Path(first).read_bytes() == Path(second).read_bytes(), f"{first} and {second} differ"
    return ""


def _edit(name: str, old: str, new: str) -> str:
    data = Path(name).read_bytes()
    assert data.count(old.encode()) >= 1, f"{name} has no {old!r}"
    Path(name).write_bytes(data.replace(old.encode(), new.encode(), 1))
    return ""


COMMANDS: Final[dict[str, Callable[..., str]]] = {
    "cat": _cat,
    "ls": _ls,
    "cp": _cp,
    "rm": _rm,
    "mkdir": _mkdir,
    "touch": _touch,
    "chmod": _chmod,
    "same": _same,
    "edit": _edit,
}


def play(items: Sequence[Item], shell: Shell) -> list[Item]:
    """Run a transcript's steps; return it with what was said, for whoever compares the two.

    Names that stand in a line that fits are learnt on the way.
    """
    played: list[Item] = []
    for item in items:
        match item:
            case Prose() | Given():
                played.append(item)
            case File():
                shell.write(item)
                played.append(item)
            case Step():
                try:
                    said = shell.say(item.words(), item.typed)
                except (AssertionError, FormError) as e:
                    e.add_note(f"line {item.line}: $ {item.command[0]}")
                    raise
                played.append(
                    transcript.rewritten(item, said.out, said.err, said.code, shell.known)
                )
    return played
