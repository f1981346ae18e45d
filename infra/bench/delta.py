"""Deltas of real images, beside what else makes and applies such: bytes, CPU, memory.

Rules:

1. One pair is a package with a fix, the other a kernel (``delta_images``), each as ext4.
2. Each peer makes what a gateway would have to fetch, and gives the new image from the old one.
   All end with the same bytes. ``zstd --patch-from`` and ``xdelta3`` are given a window that holds
   the whole old image, without which they find less; ``casync`` counts the chunks that the old
   image lacks, and its index; ``rdiff`` is compressed, as any transport would.
3. Once each: bytes are the same in every run, and these images cost a peer minutes. The peak of
   memory is that of the whole process; ours has loaded all that a gateway's agent loads.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.bench import zone
from infra.bench.delta_images import obtain
from infra.bench.download import Spent, spend
from infra.bench.measure import Row, row
from infra.demo.firmware import digest_of

PEAK_LIMIT_MB: Final = 64.0
WINDOW: Final = 1024 * 1024 * 1024
ROOT: Final = Path(__file__).resolve().parents[2]

_MAKE: Final = """
import sys
from pathlib import Path
from interlock_repo.deltas import make_delta
from interlock_repo.staging import measure
old, new, to = map(Path, sys.argv[1:])
make_delta(measure(old), measure(new), to)
"""


@dataclass(frozen=True)
class Done:
    """What one tool did.

    Attributes:
        length: bytes that a gateway fetches.
        made, applied: what making and applying cost.
    """

    length: int
    made: Spent
    applied: Spent


def measure(place: Path) -> list[Row]:
    """Every row; images are made at the first call, and kept."""
    images = obtain(ROOT / "build")
    rows: list[Row] = []
    pairs = dict(zip(("package", "kernel"), _pairs(images.versions["ext4"]), strict=True))
    for name, (old, new) in pairs.items():
        scratch = place / f"delta-{name}"
        scratch.mkdir()
        done = {
            "interlock": _interlock(scratch, old, new),
            "zstd --patch-from": _zstd(scratch, old, new),
            "xdelta3": _xdelta3(scratch, old, new),
            "casync": _casync(scratch, old, new),
            "rdiff and zstd": _rdiff(scratch, old, new),
        }
        rows += _rows(name, done)
        shutil.rmtree(scratch)
    return rows


def _pairs(versions: tuple[Path, Path, Path]) -> Iterator[tuple[Path, Path]]:
    yield versions[0], versions[1]
    yield versions[1], versions[2]


def _rows(name: str, done: dict[str, Done]) -> Iterator[Row]:
    ours = done.pop("interlock")
    for peer, theirs in done.items():
        for what, unit, mine, its in (
            ("bytes", "kB", ours.length / 1e3, theirs.length / 1e3),
            ("make.cpu", "ms", ours.made.cpu_ms, theirs.made.cpu_ms),
            ("apply.cpu", "ms", ours.applied.cpu_ms, theirs.applied.cpu_ms),
            ("apply.memory", "MB", ours.applied.peak_kb / 1e3, theirs.applied.peak_kb / 1e3),
        ):
            yield row(f"delta.{name}.{what}", round(mine, 1), unit, peer, round(its, 1), 1)
    peak = round(ours.applied.peak_kb / 1e3, 1)
    yield row(f"delta.{name}.apply.memory", peak, "MB", "limit", PEAK_LIMIT_MB, 1)


def _same(made: Path, new: Path) -> None:
    """See that a tool gave the new image, and make room for the next.

    Raises:
        RuntimeError: it gave something else.
    """
    if digest_of(made) != digest_of(new):
        raise RuntimeError(f"{made} is not {new}")
    made.unlink()


def _interlock(place: Path, old: Path, new: Path) -> Done:
    delta, out = place / "interlock.delta", place / "out"
    made = spend([sys.executable, "-c", _MAKE, str(old), str(new), str(delta)])
    apply = str(Path(__file__).with_name("delta_apply.py"))
    applied = spend([zone.python(), apply, str(old), str(delta), str(out)])
    _same(out, new)
    return Done(delta.stat().st_size, made, applied)


def _zstd(place: Path, old: Path, new: Path) -> Done:
    delta, out = place / "zstd", place / "out"
    patch = f"--patch-from={old}"
    made = spend(["zstd", "-q", "-3", "--long=30", patch, str(new), "-o", str(delta)])
    room = f"--memory={WINDOW}"
    applied = spend(["zstd", "-q", "-d", "--long=30", room, patch, str(delta), "-o", str(out)])
    _same(out, new)
    return Done(delta.stat().st_size, made, applied)


def _xdelta3(place: Path, old: Path, new: Path) -> Done:
    delta, out = place / "xdelta3", place / "out"
    window = ["-B", str(WINDOW), "-s", str(old)]
    made = spend(["xdelta3", "-e", *window, str(new), str(delta)])
    applied = spend(["xdelta3", "-d", *window, str(delta), str(out)])
    _same(out, new)
    return Done(delta.stat().st_size, made, applied)


def _rdiff(place: Path, old: Path, new: Path) -> Done:
    signature, delta, out = place / "signature", place / "rdiff", place / "out"
    spend(["rdiff", "signature", str(old), str(signature)])
    made = spend(["rdiff", "delta", str(signature), str(new), str(delta)])
    applied = spend(["rdiff", "patch", str(old), str(delta), str(out)])
    _same(out, new)
    packed = place / "rdiff.zst"
    spend(["zstd", "-q", "-3", str(delta), "-o", str(packed)])
    return Done(packed.stat().st_size, made, applied)


def _casync(place: Path, old: Path, new: Path) -> Done:
    have, store, index, out = (place / name for name in ("have", "store", "new.caibx", "out"))
    spend(["casync", "make", f"--store={have}", str(place / "old.caibx"), str(old)])
    made = spend(["casync", "make", f"--store={store}", str(index), str(new)])
    applied = spend(
        ["casync", "extract", f"--store={store}", f"--seed={old}", str(index), str(out)]
    )
    _same(out, new)
    known = {path.name for path in have.rglob("*.cacnk")}
    lacking = [path for path in store.rglob("*.cacnk") if path.name not in known]
    return Done(sum(path.stat().st_size for path in lacking) + index.stat().st_size, made, applied)
