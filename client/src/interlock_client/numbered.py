"""Directories of numbered records, one file each (I/O).

A name has ten digits, so that people and shells list records in the order in which they were made.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from interlock_core import durable

_NAME: Final = re.compile(r"([0-9]{10})\.json\Z")


def path(directory: Path, number: int) -> Path:
    """Where the record of this number lies."""
    return directory / f"{number:010}.json"


def listed(directory: Path) -> list[int]:
    """The numbers that there are, rising; none if there is no directory yet.

    Raises:
        TransientError: it cannot be listed.
    """
    with durable.translated("list", directory):
        if not directory.is_dir():
            return []
        names = [entry.name for entry in directory.iterdir()]
    return sorted(int(match[1]) for name in names if (match := _NAME.match(name)))
