"""What may be wrong with a thing that a command reads: done to a good one, and undone again.

A damage is of one of three groups, which the exit code follows:

- ``absent``: nothing stands there, or a directory where a file belongs, or the other way round;
- ``content``: a file stands there and does not say what it should;
- ``access``: it cannot be looked at: no permission, or a symbolic link that leads to itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from tests.sweep.tree import remove

DEEP: Final = 10_000
"""Levels of nesting: far beyond what any recursion takes."""

Group = Literal["absent", "content", "access"]


class Kind(StrEnum):
    """What a thing is, as far as that decides what can be wrong with it."""

    JSON = "JSON"
    TOML = "TOML"
    TEXT = "text"
    BYTES = "bytes"
    DIRECTORY = "directory"


@dataclass(frozen=True)
class Damage:
    """One way to be bad.

    Attributes:
        name: unique within a kind.
        group: see the module.
        kinds: what it can be done to.
        edit: the bad bytes, made of the good ones; None where it is not about bytes.
    """

    name: str
    group: Group
    kinds: frozenset[Kind]
    edit: Callable[[bytes], bytes] | None = None


def _key_twice(data: bytes) -> bytes:
    found = re.search(rb'"[^"\\]+"\s*:', data)
    assert found is not None
    return data.replace(b"{", b"{" + found[0] + b"0,", 1)


def _line_twice(data: bytes) -> bytes:
    line = next(line for line in data.splitlines() if b"=" in line or line.startswith(b"["))
    return line + b"\n" + data


def _wrong_type(data: bytes) -> bytes:
    return re.sub(rb"(?m)^([a-z_-]+) *=.*$", rb"\1 = [[[1979-05-27]]]", data, count=1)


_EVERY: Final = frozenset(Kind)
_FILES: Final = _EVERY - {Kind.DIRECTORY}
_TEXTS: Final = _FILES - {Kind.BYTES}
_JSON: Final = frozenset({Kind.JSON})
_TOML: Final = frozenset({Kind.TOML})
_DIRECTORIES: Final = frozenset({Kind.DIRECTORY})

DENIED: Final = Damage("denied", "access", _EVERY)
"""Nobody may read, write or enter it: whoever looks must be bound by permissions."""

DAMAGES: Final = (
    Damage("missing", "absent", _EVERY),
    Damage("a directory", "absent", _FILES),
    Damage("a file", "absent", _DIRECTORIES),
    Damage("empty", "content", _FILES, lambda _: b""),
    Damage("truncated", "content", _FILES, lambda data: data[: len(data) // 2]),
    Damage("oversized", "content", _FILES),
    Damage("not UTF-8", "content", _TEXTS, lambda data: b"\xff\xfe" + data),
    Damage("latin-1 inside", "content", _JSON | _TOML, lambda d: d.replace(b'"', b'"\xe9', 1)),
    Damage("NUL", "content", _FILES, lambda data: b"\0" + data),
    Damage("XML", "content", _JSON | _TOML, lambda _: b"<?xml version='1.0'?><x/>\n"),
    Damage("deep lists", "content", _JSON, lambda _: b"[" * DEEP),
    Damage("deep objects", "content", _JSON, lambda _: b'{"a":' * DEEP),
    Damage("a key twice", "content", _JSON, _key_twice),
    Damage("wrong type", "content", _JSON, lambda _: b'[{"a":1}]'),
    Damage("an empty object", "content", _JSON, lambda _: b"{}"),
    Damage("an unknown field", "content", _JSON, lambda d: d.replace(b"{", b'{"zz":1,', 1)),
    Damage("a fraction", "content", _JSON, lambda _: b'{"a":1e400}'),
    Damage("deep lists", "content", _TOML, lambda data: b"a = " + b"[" * DEEP + b"\n" + data),
    Damage("deep tables", "content", _TOML, lambda _: b"a = " + b"{a=" * DEEP),
    Damage("a key twice", "content", _TOML, _line_twice),
    Damage("wrong type", "content", _TOML, _wrong_type),
    Damage("an unknown key", "content", _TOML, lambda data: b"zz = 1\n" + data),
    Damage("5,000 digits", "content", _TOML, lambda d: b"zz = " + b"9" * 5000 + b"\n" + d),
    DENIED,
    Damage("a loop", "access", _EVERY),
)


ALIKE: Final = dict.fromkeys(
    ("latin-1 inside", "NUL", "XML", "an empty object", "a fraction", "wrong type"),
    "to what is fetched again all of these are one: it is no such document",
)
"""Damages to leave out where a case is dear."""


def damages_of(kind: Kind) -> list[Damage]:
    """Everything that can be wrong with a thing of this kind."""
    return [damage for damage in DAMAGES if kind in damage.kinds]


@contextmanager
def damaged(path: Path, damage: Damage, *, limit: int, aside: Path) -> Iterator[None]:
    """Do ``damage`` to what stands at ``path``; afterwards it is as it was.

    Args:
        path: something good.
        damage: that its kind allows.
        limit: the most bytes that are read of it, for ``oversized``.
        aside: a free path on the same file system, for the good one to wait at.
    """
    if damage is DENIED:
        mode = path.stat().st_mode
        path.chmod(0)
        try:
            yield
        finally:
            path.chmod(mode)
        return
    good = path.read_bytes() if path.is_file() else b""
    path.rename(aside)
    try:
        _stand(path, damage, good, aside.lstat().st_mode, limit)
        yield
    finally:
        remove(path)
        aside.rename(path)


def _stand(path: Path, damage: Damage, good: bytes, mode: int, limit: int) -> None:
    match damage.name:
        case "missing":
            return
        case "a directory":
            path.mkdir()
        case "a file":
            path.write_bytes(b"this is no directory\n")
        case "a loop":
            path.symlink_to(path.name)
        case "oversized":
            path.write_bytes(good)
            os.truncate(path, max(limit, len(good)) + 1)
            path.chmod(mode)
        case _:
            assert damage.edit is not None
            path.write_bytes(damage.edit(good))
            path.chmod(mode)
