"""The distributions of this tree, as the packaging and zone tests see them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Distribution:
    """One of the folders with a pyproject.toml of its own."""

    folder: str

    @property
    def path(self) -> Path:
        return TOP / self.folder

    @property
    def project(self) -> dict[str, Any]:
        project: dict[str, Any] = tomllib.loads((self.path / "pyproject.toml").read_text())
        return dict(project["project"])

    @property
    def name(self) -> str:
        return str(self.project["name"])

    @property
    def package(self) -> str:
        return self.name.replace("-", "_")

    @property
    def lock(self) -> Path:
        return self.path / "requirements.lock"

    def __str__(self) -> str:
        return self.name


CORE = Distribution("core")
DEPLOYABLES = [
    Distribution(folder)
    for folder in ("client", "server", "server/ops", "repo-tools", "keys-ceremony")
]
ALL = [CORE, *DEPLOYABLES]


def pins(lock: Path) -> dict[str, str]:
    """Return normalised name → version of every requirement in a lock."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}
