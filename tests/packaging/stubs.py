"""Commands that record how they were called, put first on the path of a script under test."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Stubs:
    """A directory of recording commands, in front of the machine's own.

    With ``only``, the path holds nothing beside the stubs and the named commands.
    """

    folder: Path
    only: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.log.touch()

    @property
    def log(self) -> Path:
        return self.folder / "calls.log"

    def add(self, name: str, body: str = "") -> None:
        stub = self.folder / name
        stub.write_text(f'#!/bin/bash\necho "{name} $*" >>"{self.log}"\n{body}\n')
        stub.chmod(0o755)

    def link(self, *names: str) -> None:
        for name in names:
            [found] = [p for p in (Path("/usr/bin") / name, Path("/bin") / name) if p.exists()][:1]
            (self.folder / name).symlink_to(found)

    def calls(self, name: str) -> list[str]:
        lines = self.log.read_text().splitlines()
        return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]

    def run(self, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        path = str(self.folder) if self.only else f"{self.folder}:/usr/bin:/bin"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        kept.pop("PYTHON", None)
        return subprocess.run(
            [str(word) for word in words],
            cwd=cwd,
            env=kept | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
