"""``python -m infra.removals``: make each removal in a copy of the tree, and run its tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from infra.removals.removal import Removal
from infra.removals.table import ALL, as_table, write_table

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENT: Final = ROOT / "docs" / "threat-model.md"
COPIED: Final = (
    "core",
    "client",
    "docs",
    "infra",
    "keys-ceremony",
    "repo-tools",
    "server",
    "tests",
)
SOURCES: Final = (
    *("core/src", "client/src", "server/src", "server/ops/src", "repo-tools/src"),
    *("keys-ceremony/src", "."),
)
AT_ONCE: Final = 2
PATIENCE_SECONDS: Final = 600
_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (\S+?)(?:\[.*)?(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """What a removal led to: the test that failed first, or None; and what pytest said."""

    removal: Removal
    test: str | None
    said: str


def _copy(tree: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".hypothesis")
    for name in COPIED:
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    shutil.copy2(ROOT / "pyproject.toml", tree / "pyproject.toml")


def _run(tree: Path, tests: tuple[str, ...], *options: str) -> tuple[int, str]:
    """Run tests of a copy against the sources of the copy, until one fails."""
    path = os.pathsep.join(str(tree / source) for source in SOURCES)
    here = [test for test in tests if (tree / test.partition("::")[0]).exists()]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"),
            *(f"--basetemp={tree}-made", *options, *here),
        ],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    if done.returncode not in {0, 1}:
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return done.returncode, done.stdout


def _without(tree: Path, removal: Removal) -> Found:
    module = removal.path(tree)
    honest = module.read_text()
    module.write_text(removal.apply(honest))
    try:
        _, said = _run(tree, removal.tests)
    finally:
        module.write_text(honest)
    failed = _FAILED.search(said)
    return Found(removal, failed[1] if failed else None, said)


def _all(removals: tuple[Removal, ...], place: Path) -> list[Found]:
    trees: SimpleQueue[Path] = SimpleQueue()
    for number in range(AT_ONCE):
        _copy(place / str(number))
        trees.put(place / str(number))

    def one(removal: Removal) -> Found:
        tree, began = trees.get(), time.monotonic()
        try:
            found = _without(tree, removal)
        finally:
            trees.put(tree)
        print(f"{time.monotonic() - began:5.1f} s  {removal.what}: {found.test}", flush=True)
        return found

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, removals))


def main(words: list[str]) -> int:
    """Make removals; exit 1 if a test fails without any, or none fails with one."""
    wanted = [word for word in words if word != "--write"]
    removals = tuple(
        removal for removal in ALL if not wanted or any(word in removal.what for word in wanted)
    )
    with tempfile.TemporaryDirectory(prefix="interlock-removals-") as name:
        place = Path(name)
        tests = tuple(dict.fromkeys(test for removal in removals for test in removal.tests))
        if "--write" in words or not wanted:
            _copy(place / "honest")
            code, said = _run(place / "honest", tests, "-n", str(AT_ONCE))
            if code != 0:
                print(said)
                print("Tests fail though nothing was removed: mend that first.")
                return 1
        found = _all(removals, place)
    results = {one.removal.what: one.test for one in found}
    print(as_table(results))
    if "--write" in words:
        write_table(DOCUMENT, results)
    holes = [one for one in found if one.test is None]
    for hole in holes:
        print(f"No test noticed: {hole.removal.what}\n{hole.said[-800:]}")
    print(f"removals: {len(found)} made, {len(found) - len(holes)} noticed")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
