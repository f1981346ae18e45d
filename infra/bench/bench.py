"""``make bench``: measures, prints a table, writes ``build/bench.json``.

Rows compare with software that does comparable work in the same run, or with a limit. Nothing
here fails on a number: a bench measures, tests assert.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from infra.bench import check, cohorts, delta, download, log, publish, reports, scale, size
from infra.bench.fleet import found
from infra.bench.measure import Row, as_table
from infra.demo.stage import Stage

ROOT: Final = Path(__file__).resolve().parents[2]
OUTPUT: Final = ROOT / "build" / "bench.json"


def main() -> int:
    """Measure everything."""
    rows: list[Row] = []
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-bench-")))
        stage = Stage(place, terminal=sys.stdout.isatty())
        stack.callback(stage.close)
        fleet = found(stage)
        stack.callback(fleet.relay.shutdown)
        rows += check.measure(fleet)
        rows += size.measure()
        rows += download.measure(place)
        rows += delta.measure(place)
        rows += publish.measure(fleet)
        rows += log.measure(place)
        rows += reports.measure(place)
        rows += scale.measure(place)
        rows += cohorts.measure(place)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
    table = Table(
        "name",
        "value",
        "peer",
        "peer's value",
        "value / peer",
        title="medians; lower is better, except per second",
    )
    for line in as_table(rows):
        table.add_row(*line)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
