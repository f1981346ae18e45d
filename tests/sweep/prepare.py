"""Steps that make a place bad before a command runs there; each takes the place's home."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.sweep.tree import remove

Step = Callable[[Path], None]


def steps(*each: Step) -> Step:
    """One after the other."""

    def prepare(home: Path) -> None:
        for step in each:
            step(home)

    return prepare


def nothing(_home: Path) -> None:
    """It is bad enough already."""


def mode(name: str, bits: int) -> Step:
    """With other permission bits."""
    return lambda home: (home / name).resolve().chmod(bits)


def gone(name: str) -> Step:
    """It is not there."""
    return lambda home: remove(home / name)


def directory(name: str) -> Step:
    """A directory stands there."""
    return steps(gone(name), lambda home: (home / name).mkdir(parents=True))


def link(name: str, to: str) -> Step:
    """A symbolic link stands there."""
    return steps(gone(name), lambda home: (home / name).symlink_to(to))


def pipe(name: str) -> Step:
    """A named pipe stands there, which nobody writes to."""
    return steps(gone(name), lambda home: os.mkfifo(home / name))


def written(name: str, text: str, bits: int | None = None) -> Step:
    """This text stands there."""

    def prepare(home: Path) -> None:
        (home / name).write_text(text)
        if bits is not None:
            (home / name).chmod(bits)

    return prepare


def swapped(name: str, old: str, new: str) -> Step:
    """Its first ``old`` is ``new``."""

    def prepare(home: Path) -> None:
        text = (home / name).read_text()
        assert old in text, f"{old!r} does not stand in {name}"
        (home / name).write_text(text.replace(old, new, 1))

    return prepare


def setting(name: str, key: str, value: str) -> Step:
    """The TOML file says ``key = value``, at its beginning if it did not say anything of it."""

    def prepare(home: Path) -> None:
        lines = (home / name).read_text().splitlines()
        if any(line.startswith(f"{key} =") for line in lines):
            lines = [f"{key} = {value}" if ln.startswith(f"{key} =") else ln for ln in lines]
        else:
            lines.insert(0, f"{key} = {value}")
        (home / name).write_text("\n".join(lines) + "\n")

    return prepare
