"""On which line of a TOML file something is said (pure).

Rules:

1. TOML's own reader answers: the beginnings of the text that are TOML hold a value from the end of
   the statement on that makes it. No second grammar is written here.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line on which the statement that makes ``path`` begins, or None if none does.

    Args:
        text: of the file; it is TOML.
        path: the keys from the top, and positions in lists from 0.
    """
    lines = text.replace("\r\n", "\n").split("\n")

    def holds(count: int) -> bool:
        for end in range(count, len(lines) + 1):
            try:
                tree = tomllib.loads("\n".join(lines[:end]))
            except ValueError:
                continue  # cut within a value of several lines
            return _holds(tree, path)
        return False

    found = bisect_left(range(1, len(lines) + 1), True, key=holds) + 1
    return found if found <= len(lines) else None


def place_of(text: str, path: Sequence[str | int]) -> str:
    """``line 7, images.1.file``: where ``path``, or the nearest thing above it, is said.

    Tables of a list are counted from 1, as people do. Without a line if nothing of it is there.
    """
    said = ".".join(str(step + 1) if isinstance(step, int) else _shown(step) for step in path)
    for length in range(len(path), 0, -1):
        line = line_of(text, path[:length])
        if line is not None:
            return f"line {line}, {said}"
    return said


def _holds(tree: Any, path: Sequence[str | int]) -> bool:
    for step in path:
        if isinstance(step, int):
            if not isinstance(tree, list) or step >= len(tree):
                return False
        elif not isinstance(tree, dict) or step not in tree:
            return False
        tree = tree[step]
    return True


def _shown(step: str) -> str:
    return step if step.isprintable() and len(step) <= 64 else repr(step[:64])
