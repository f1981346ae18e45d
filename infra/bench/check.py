"""``check`` with nothing new, beside two plain ``tuf.ngclient`` refreshes.

Both are fresh processes that ask the same server over the same relay, with everything cached that
they would have cached in the field. The pair does less: it decides nothing.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from infra.bench.fleet import Fleet
from infra.bench.measure import Cost, Row, in_turn, median, row, run
from infra.demo.cast import CANARY

RUNS: Final = 15
WARM_UP: Final = 2
PEER: Final = "two ngclient refreshes"


def measure(fleet: Fleet) -> list[Row]:
    """Measure the gateway's checks."""
    story, relay, ours = fleet.story, fleet.relay, fleet.check
    peer_home = story.place / "peer"
    peer_home.mkdir()
    for name in ("image", "director"):
        shutil.copy(story.ceremony / name / "1.root.json", peer_home / f"{name}-root.json")
    pair = Path(__file__).with_name("ngclient_pair.py")
    theirs = [sys.executable, str(pair), str(peer_home), relay.url, CANARY]
    idle = [sys.executable, "-c", "import tuf.ngclient"]

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
    return rows


def _compare(name: str, what: str, ours: list[Cost], theirs: list[Cost], peer: str) -> Row:
    value, peer_value = (median([getattr(cost, what) for cost in c]) for c in (ours, theirs))
    return row(name, value, "ms", peer, peer_value, len(ours))
