"""``make bench``: measures, prints a table, writes ``build/bench.json``.

Rows compare with software that does comparable work in the same run, or with a limit. Nothing
here fails on a number: a bench measures, tests assert.

What is written says on what machine it was measured, and how busy that was. It is written after
each part, so that a run that is cut off keeps what it has.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from infra.bench import check, cohorts, delta, download, log, publish, reports, scale, size
from infra.bench.fleet import Fleet, found
from infra.bench.measure import Row, as_table
from infra.demo.stage import Stage

ROOT: Final = Path(__file__).resolve().parents[2]
OUTPUT: Final = ROOT / "build" / "bench.json"


class Part(msgspec.Struct):
    """What one part measured.

    Attributes:
        seconds: how long it took, by the clock.
        load: of the machine, over the minute before the part and over the one before its end.
    """

    name: str
    seconds: float
    load: tuple[float, float]
    rows: list[Row]


class Written(msgspec.Struct):
    """``build/bench.json``."""

    python: str
    kernel: str
    processors: int
    parts: list[Part]


class Yard:
    """Where everything is measured.

    Args:
        stack: ends what was begun.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        made = stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-bench-"))
        self.place = Path(made)

    @cached_property
    def fleet(self) -> Fleet:
        """A server and a gateway, for the parts that need them."""
        stage = Stage(self.place, terminal=sys.stdout.isatty())
        self._stack.callback(stage.close)
        fleet = found(stage)
        self._stack.callback(fleet.relay.shutdown)
        return fleet


PARTS: Final[dict[str, Callable[[Yard], list[Row]]]] = {
    "check": lambda yard: check.measure(yard.fleet),
    "size": lambda _: size.measure(),
    "download": lambda yard: download.measure(yard.place),
    "delta": lambda yard: delta.measure(yard.place),
    "publish": lambda yard: publish.measure(yard.fleet),
    "log": lambda yard: log.measure(yard.place),
    "reports": lambda yard: reports.measure(yard.place),
    "scale": lambda yard: scale.measure(yard.place),
    "cohorts": lambda yard: cohorts.measure(yard.place),
}


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(tuple(PARTS)))
def main(parts: tuple[str, ...]) -> None:
    """Measure the PARTS named, or all of them."""
    console = Console()
    written = Written(platform.python_version(), platform.release(), os.cpu_count() or 0, [])
    with ExitStack() as stack:
        yard = Yard(stack)
        for name in parts or PARTS:
            before, begun = os.getloadavg()[0], time.monotonic()
            rows = PARTS[name](yard)
            seconds = round(time.monotonic() - begun, 1)
            written.parts.append(Part(name, seconds, (before, os.getloadavg()[0]), rows))
            OUTPUT.parent.mkdir(exist_ok=True)
            OUTPUT.write_bytes(msgspec.json.format(msgspec.json.encode(written), indent=1) + b"\n")
            console.print(f"{name}: {len(rows)} rows in {seconds:.0f} s, a load of {before:.1f}")
    table = Table(
        "name",
        "value",
        "peer",
        "peer's value",
        "value / peer",
        title="medians; lower is better, except per second",
    )
    for line in as_table([row for part in written.parts for row in part.rows]):
        table.add_row(*line)
    console.print(table)


if __name__ == "__main__":
    main()
