"""Publishing directives, as the number of cohorts grows.

In this process, with the server's own code, on SQLite and a Store on disk: the first directives of
so many cohorts, added at once (each is a director's metadata, a directive and a poll bundle:
signed, written, flushed); then a stop at one cohort beside them, from the call to the answer, which
comes when the new head is out.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter, process_time
from typing import Final

from infra.bench.measure import Row, median, row
from interlock_server.founding import add_cohorts
from tests.server.world import NOW, V1, Bench, Fleet
from tests.support.papers import authorise, opening, order, stage, stop
from tests.support.people import CANARY

SIZES: Final = (1, 100, 10_000)
STOPS: Final = 9


def measure(place: Path) -> list[Row]:
    """Measure at each size; the peers are one cohort, and a hundred."""
    found = {size: _one(place / f"cohorts-{size}", size) for size in SIZES}
    rows = []
    for size, peer in ((100, 1), (10_000, 100)):
        (cpu, wall, stopping), (cpu_few, wall_few, stopping_few) = found[size], found[peer]
        against = f"{peer} cohort{'s' if peer > 1 else ''}"
        name = f"{size}-cohorts"
        rows += [
            row(f"publish.directives.{name}.cpu", cpu, "ms each", against, cpu_few, 1),
            row(f"publish.directives.{name}.wall", wall, "ms each", against, wall_few, 1),
            row(f"publish.stop.{name}", stopping, "ms", against, stopping_few, STOPS),
        ]
    return rows


def _one(home: Path, size: int) -> tuple[float, float, float]:
    """CPU and wall time of each first directive, and the time of a stop; milliseconds."""
    home.mkdir()
    bench = Bench(Fleet(home, NOW))
    bench.found(CANARY)
    bench.delegate()
    bench.publish_roster()
    bench.release(1, V1)
    said = order(targets=(V1.target(),), stages=(stage(CANARY),))
    go = opening(said)
    bench.say_all(said, authorise(said), go, authorise(go))
    back = bench.back
    began, cpu_began = perf_counter(), process_time()
    add_cohorts(
        [f"ward-{number}" for number in range(size)],
        database=back.database,
        store=back.writes,
        publisher=back.publisher,
        clock=bench.clock,
    )
    wall, cpu = perf_counter() - began, process_time() - cpu_began
    times = []
    for number in range(STOPS):
        one = stop(said, reason=f"stop {number}")
        began = perf_counter()
        bench.say_all(one)
        times.append(1000 * (perf_counter() - began))
    back.database.close()
    return round(1000 * cpu / size, 2), round(1000 * wall / size, 2), median(times)
