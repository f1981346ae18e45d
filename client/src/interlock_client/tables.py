"""What the tables of a configuration are made of (pure).

Rules:

1. Everything is checked when a file is read; an unknown key is an error.
2. Sizes are bytes, durations carry their unit in the name. Paths are relative to the file's
   directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from interlock_core.names import DEFAULT_SLOT, is_name

MAX_SLOTS = 16


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table (rule 1)."""


class SlotPaths:
    """Where the slots of one side are: files or block devices by the names of the slots.

    In a file it is a path, for the one slot ``rootfs``, or a table of paths.

    Args:
        by_name: the paths; at least one.

    Raises:
        ValueError: there is none, or two slots are one path.
    """

    def __init__(self, by_name: Mapping[str, Path]) -> None:
        if not 1 <= len(by_name) <= MAX_SLOTS:
            raise ValueError(f"expected 1 to {MAX_SLOTS} slots")
        if len(set(by_name.values())) != len(by_name):
            raise ValueError("two slots are the same path")
        self.by_name = dict(by_name)

    @classmethod
    def one(cls, path: Path) -> SlotPaths:
        """The side that is one slot."""
        return cls({DEFAULT_SLOT: path})

    def __iter__(self) -> Iterator[Path]:
        """The paths."""
        return iter(self.by_name.values())

    def __eq__(self, other: object) -> bool:
        """Whether the same slots are at the same paths."""
        return isinstance(other, SlotPaths) and self.by_name == other.by_name

    def __hash__(self) -> int:
        """As ``__eq__`` compares."""
        return hash(frozenset(self.by_name.items()))


def from_toml(wanted: type, value: object, base: Path) -> object:
    """Turn a value of a file into a path or ``SlotPaths``, for ``msgspec.convert``.

    Args:
        wanted: the type of the field.
        value: what the file says.
        base: the directory from which relative paths are taken.

    Raises:
        ValueError: it is none.
    """
    if wanted is SlotPaths and isinstance(value, dict):
        if not all(isinstance(name, str) and is_name(name) for name in value):
            raise ValueError("a slot is not called that")
        return SlotPaths({name: _path(path, base) for name, path in value.items()})
    if wanted is SlotPaths:
        return SlotPaths.one(_path(value, base))
    if wanted is Path:
        return _path(value, base)
    raise ValueError("expected a path")


def to_plain(value: Any) -> Any:
    """What stands for a path or ``SlotPaths`` where settings are encoded."""
    if isinstance(value, SlotPaths):
        return {name: str(path) for name, path in value.by_name.items()}
    return str(value)


def _path(value: object, base: Path) -> Path:
    if isinstance(value, str) and value and "\0" not in value:
        return base / value
    raise ValueError("expected a path")
