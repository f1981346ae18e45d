"""``check`` with nothing new, beside two plain ``tuf.ngclient`` refreshes.

Both are fresh processes that ask the same server over the same relay, with everything cached that
they would have cached in the field. The pair does less: it decides nothing.

What a check costs after the start is measured in one process, for a product of one release and for
one of two hundred, with the limit that the gateway's issue names.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from infra.bench import zone
from infra.bench.fleet import Fleet
from infra.bench.measure import Cost, Row, in_turn, median, row, run
from infra.demo.cast import CANARY
from tests.client.bed import Bed
from tests.client.web import Web
from tests.client.world import Clock, World

RUNS: Final = 15
WARM_UP: Final = 2
RELEASES: Final = (1, 200)
CHECKS: Final = 200
LIMIT_MS: Final = 5.0
PEER: Final = "two ngclient refreshes"


def measure(fleet: Fleet) -> list[Row]:
    """Measure the gateway's checks."""
    story, relay = fleet.story, fleet.relay
    ours = [zone.command(), *fleet.check[1:]]
    peer_home = story.place / "peer"
    peer_home.mkdir()
    for name in ("image", "director"):
        shutil.copy(story.ceremony / name / "1.root.json", peer_home / f"{name}-root.json")
    pair = Path(__file__).with_name("ngclient_pair.py")
    theirs = [zone.python(), str(pair), str(peer_home), relay.url, CANARY]
    idle = [zone.python(), "-c", "import tuf.ngclient"]

    mine, its = in_turn(ours, theirs, runs=RUNS, warm_up=WARM_UP)
    _, imports = in_turn(ours, idle, runs=RUNS, warm_up=1)
    rows = [
        _compare("check.cpu", "cpu_ms", mine, its, PEER),
        _compare("check.wall", "wall_ms", mine, its, PEER),
        _compare("check.cpu.fresh-process", "cpu_ms", mine, imports, "import tuf.ngclient"),
    ]
    relay.wire.reset()
    run(ours)
    requests, size = relay.wire.requests, relay.wire.bytes
    relay.wire.reset()
    run(theirs)
    rows += [
        row("check.requests", requests, "requests", PEER, relay.wire.requests, 1),
        row("check.bytes", size, "bytes", PEER, relay.wire.bytes, 1),
    ]
    return rows + [_in_process(story.place / f"noop-{number}", number) for number in RELEASES]


def _in_process(place: Path, releases: int) -> Row:
    """What a check costs after the start, when the product has so many releases."""
    world = World(place, Clock(datetime.now(UTC).replace(microsecond=0)))
    with Web(world.store) as web:
        bed = Bed(place / "gateway", world, web)
        bed.power_on()
        for number in range(1, releases):
            world.release(f"1.0.{number}", b"image")
        world.roll_out(world.release("2.0.0", b"the newest image"))
        assert bed.install().outcome == "confirmed"
        config = bed.write_config()
        subprocess.run(
            [zone.command(), "check", "--config", str(config)], check=True, capture_output=True
        )
        script = Path(__file__).with_name("noop.py")
        words = [zone.python(), str(script), str(config), str(CHECKS)]
        done = subprocess.run(words, check=True, capture_output=True)
    found = json.loads(done.stdout)
    assert found["requests"] == 1
    name = f"check.cpu.after-start.{releases}-releases"
    return row(name, round(found["cpu_ms"], 2), "ms", "limit", LIMIT_MS, CHECKS)


def _compare(name: str, what: str, ours: list[Cost], theirs: list[Cost], peer: str) -> Row:
    value, peer_value = (median([getattr(cost, what) for cost in c]) for c in (ours, theirs))
    return row(name, value, "ms", peer, peer_value, len(ours))
