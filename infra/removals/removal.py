"""What a removal is, and how it is made in a copy of the tree."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CORE = "core/src/interlock_core/"
CLIENT = "client/src/interlock_client/"


@dataclass(frozen=True)
class Removal:
    """One check, taken away.

    Attributes:
        what: the check, in words; unique.
        module: the file, from the top of the tree.
        within: the qualified name of the function or class that has it; empty for the whole file.
        old: its text, which stands there exactly once.
        new: what takes its place.
        tests: what to run, in this order, until something fails: files or node ids.
    """

    what: str
    module: str
    within: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, source: str) -> str:
        """The module's source without the check.

        Raises:
            ValueError: the check is not where it is looked for, exactly once.
        """
        first, last = _span(source, self.within)
        text = source[first:last]
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.what}: {self.old!r} stands {text.count(self.old)} times in "
                f"{self.within or self.module}"
            )
        changed = source[:first] + text.replace(self.old, self.new) + source[last:]
        ast.parse(changed)
        return changed

    def path(self, tree: Path) -> Path:
        """The module in a copy of the tree."""
        return tree / self.module


@cache
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


def _span(source: str, within: str) -> tuple[int, int]:
    """Where a function or class begins and ends in its module."""
    first, last, body = 0, len(source), _parsed(source).body
    ends = [0]
    for line in source.splitlines(keepends=True):
        ends.append(ends[-1] + len(line))
    for name in within.split(".") if within else ():
        [node] = (
            node
            for node in body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
        )
        first, last, body = ends[node.lineno - 1], ends[node.end_lineno or 0], node.body
    return first, last
