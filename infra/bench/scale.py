"""A large fleet: the simulator, and what a look at a rollout of 100,000 devices costs.

The simulator runs in a process of its own, as people run it. The rollout is a real one: its devices
are put into the database as rows, since 100,000 enrolments are not what is measured; the engine
opens its stage over them; and the look is what ``GET /v1/rollouts/<id>/stages`` reads.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Final

from sqlalchemy import insert, select

from infra.bench.measure import Row, median, row
from interlock_core.wire import sha256_hex
from interlock_server.db.fleet_tables import EnrolmentRow
from tests.server.world import NOW, PRODUCT, V1, Bench, Fleet
from tests.support.papers import HARDWARE, authorise, enrolment, opening, order, stage
from tests.support.people import CANARY

FEW: Final = 1_000
MANY: Final = 100_000
LOOKS: Final = 101
LIMIT_SECONDS: Final = 60.0


def measure(place: Path) -> list[Row]:
    """Measure both."""
    words = [sys.executable, "-m", "tests.simulator", "--devices", str(MANY), "--json"]
    done = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    few, _ = _look(place / "few", FEW)
    many, opening_seconds = _look(place / "many", MANY)
    name = f"scale.simulator.{MANY}-devices"
    return [
        row(f"{name}.cpu", done["cpu_seconds"], "s", "limit", LIMIT_SECONDS, 1),
        row(f"{name}.wall", done["seconds"], "s", "limit", LIMIT_SECONDS, 1),
        row(f"scale.status.{MANY}-devices", many, "ms", f"{FEW} devices", few, LOOKS),
        row(f"scale.open-stage.{MANY}-devices", opening_seconds, "s", "limit", LIMIT_SECONDS, 1),
    ]


def _look(home: Path, devices: int) -> tuple[float, float]:
    """What a look costs, in milliseconds, and the opening of the stage, in seconds."""
    home.mkdir()
    bench = Bench(Fleet(home, NOW))
    bench.found(CANARY)
    bench.delegate()
    bench.publish_roster()
    bench.release(1, V1)
    _enrol(bench, devices)
    said = order(targets=(V1.target(),), stages=(stage(CANARY),))
    go = opening(said)
    bench.say_all(said, authorise(said), go, authorise(go))
    began = perf_counter()
    bench.back.engine.round()
    opened = perf_counter() - began
    times = []
    for _ in range(LOOKS):
        began = perf_counter()
        bench.services.progress.stages(said.id)
        times.append(1000 * (perf_counter() - began))
    started = bench.services.progress.stages(said.id).stages[0].counts.started
    assert started == devices
    bench.back.database.close()
    return median(times), round(opened, 2)


def _enrol(bench: Bench, devices: int) -> None:
    """As many rows as devices, in the form of one that was let in."""
    pattern = bench.let_in(enrolment("GW-0", at=NOW))
    with bench.back.database.writing() as session:
        row_ = session.scalars(select(EnrolmentRow).where(EnrolmentRow.id == pattern.id)).one()
        names = [c.name for c in EnrolmentRow.__table__.columns if c.name != "number"]
        form = {name: getattr(row_, name) for name in names}
        assert (form["product"], form["hardware"]) == (PRODUCT, HARDWARE)
        rows = [
            form | {"id": sha256_hex(b"%d" % number), "device": f"GW-{number}"}
            for number in range(1, devices)
        ]
        session.execute(insert(EnrolmentRow), rows)
