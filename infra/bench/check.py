"""``check`` with nothing new, beside two plain ``tuf.ngclient`` refreshes.

Both are fresh processes that ask the same server over the same relay, with everything cached that
they would have cached in the field. The pair does less: it decides nothing.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from infra.bench.measure import Cost, Relay, Row, in_turn, median, row, run
from infra.demo.firmware import Firmware
from infra.demo.gateways import Place
from infra.demo.stage import BIN, Stage
from infra.demo.story import CANARY, ST_MARY, WARDS, Story
from interlock_core.wire import sha256_hex

RUNS: Final = 15
WARM_UP: Final = 2
PEER: Final = "two ngclient refreshes"
IMAGE_BYTES: Final = 1_000_000


def measure(stage: Stage) -> list[Row]:
    """Found a fleet, update one gateway, and measure its checks."""
    story = Story(stage)
    story.found([CANARY, WARDS])
    firmware = _image(stage.place)
    story.sign_release(firmware, counter=1)
    story.publish_release(firmware)
    gateway = story.build_in("gw-bench", Place(CANARY, ST_MARY))
    order = story.propose(firmware)
    story.authorise(order)
    story.authorise("--go", story.start(order))
    gateway.switch_on(stage)
    gateway.until("confirmed")
    gateway.switch_off()

    relay = Relay(story.port)
    settings = gateway.home / "gateway.toml"
    settings.write_text(settings.read_text().replace(story.url, relay.url))
    ours = [str(BIN / "interlock-client"), "check", "--config", str(settings), "--json"]
    peer_home = stage.place / "peer"
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
    relay.shutdown()
    return rows


def _compare(name: str, what: str, ours: list[Cost], theirs: list[Cost], peer: str) -> Row:
    value, peer_value = (median([getattr(cost, what) for cost in c]) for c in (ours, theirs))
    return row(name, value, "ms", peer, peer_value, len(ours))


def _image(place: Path) -> Firmware:
    path, sbom = place / "image.img", place / "image.cdx.json"
    data = os.urandom(IMAGE_BYTES)
    path.write_bytes(data)
    sbom.write_text(
        '{"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,'
        ' "metadata": {"component": {"type": "firmware", "name": "bench"}},'
        ' "components": [{"type": "file", "name": "image.img"}]}'
    )
    return Firmware(
        path=path,
        version="1.0.0",
        source_package="bench=1.0.0",
        length=len(data),
        sha256=sha256_hex(data),
        licence="random bytes",
        sbom=sbom,
    )
