"""A deployable in an environment of its own, made from its own lock and nothing else.

The environment stands in ``build/zones/`` under a name that holds a digest of the lock's pins, so
that it is made once. Our two distributions (core and the deployable) are built as wheels and put
into it anew whenever their sources changed. A file lock lets parallel test processes share it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.packaging.tree import CORE, TOP, Distribution

ZONES = TOP / "build" / "zones"
# What a person's shell would hand down and this environment must not see.
LEAKS = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}


@dataclass(frozen=True)
class Zone:
    """An environment that holds core, one deployable, and what that deployable's lock names."""

    deployable: Distribution
    home: Path

    @property
    def python(self) -> Path:
        return self.home / "bin" / "python"

    @property
    def script(self) -> Path:
        """The deployable's command."""
        return self.home / "bin" / self.deployable.name

    def run(self, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command with nothing of the development environment in reach."""
        env = {key: value for key, value in os.environ.items() if key not in LEAKS}
        return subprocess.run(
            [str(word) for word in words],
            cwd=cwd,
            env=env | {"PATH": f"{self.home / 'bin'}:/usr/bin:/bin", "COLUMNS": "100"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def ask(self, code: str, *words: str, cwd: Path) -> Any:
        """Run Python code in the zone and return the JSON that it printed."""
        done = self.run(self.python, "-c", code, *words, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


class Installer:
    """Installs into another interpreter's environment: uv when it is there, else some pip."""

    @cached_property
    def _pip(self) -> Sequence[str]:
        base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        for python in (sys.executable, str(base)):
            has = subprocess.run([python, "-c", "import pip"], capture_output=True, check=False)
            if has.returncode == 0:
                return (python, "-m", "pip")
        raise LookupError("neither uv nor pip is on this machine: install python3-pip")

    def make(self, home: Path) -> None:
        _call(sys.executable, "-m", "venv", "--clear", "--without-pip", str(home))

    def install(self, home: Path, *words: str) -> None:
        python = str(home / "bin" / "python")
        if shutil.which("uv"):
            _call("uv", "pip", "install", "--quiet", "--python", python, "--no-deps", *words)
        else:
            quiet = ("-qq", "--disable-pip-version-check", "install", "--no-deps", "--no-input")
            _call(*self._pip, "--python", python, *quiet, *words)


def enter(deployable: Distribution) -> Zone:
    """Return the deployable's environment, made or mended first where that is needed."""
    ZONES.mkdir(parents=True, exist_ok=True)
    locked = re.sub(r"^ *#.*\n", "", deployable.lock.read_text(), flags=re.MULTILINE)
    its_lock = sha256(f"{sys.version}\0{locked}".encode()).hexdigest()[:16]
    home = ZONES / f"{deployable.name}-{its_lock}"
    ours = (CORE, deployable)
    sources = _digest(ours)
    installer = Installer()
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "locked").exists():
            installer.make(home)
            words = ("--require-hashes", "--requirement", str(deployable.lock))
            installer.install(home, *words)
            (home / "locked").touch()
        installed = home / "installed"
        if not installed.exists() or installed.read_text() != sources:
            installed.unlink(missing_ok=True)
            with TemporaryDirectory() as scratch:
                wheels = [_wheel(one, Path(scratch)) for one in ours]
                installer.install(home, "--no-index", "--force-reinstall", *wheels)
            installed.write_text(sources)
    return Zone(deployable, home)


def _digest(distributions: Sequence[Distribution]) -> str:
    digest = sha256()
    for one in distributions:
        for path in (one.path / "pyproject.toml", *sorted((one.path / "src").rglob("*"))):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(TOP)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _wheel(distribution: Distribution, scratch: Path) -> str:
    outdir = scratch / distribution.name
    _call(sys.executable, "-m", "flit_core.wheel", "--outdir", str(outdir), str(distribution.path))
    [wheel] = outdir.glob("*.whl")
    return str(wheel)


def _call(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
