"""An update over a link of 1 Mbit/s, in a network namespace of its own; prints JSON.

``unshare --net python -m tests.support.thin DIRECTORY``: its only interface is a loopback that
``tc tbf`` slows down, so that nobody else's network is touched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

RATE_BITS: Final = 1_000_000
IMAGE_BYTES: Final = 60_000


def main(place: Path) -> None:
    """Update a gateway, with the connection cut once in the middle."""
    for words in (
        "ip link set lo mtu 1500 up",
        f"tc qdisc add dev lo root tbf rate {RATE_BITS} burst 3000 latency 5s",
    ):
        subprocess.run(words.split(), check=True)
    # The link first: what is imported below opens no socket, and what it makes does.
    from tests.client.bed import Bed  # noqa: PLC0415
    from tests.client.web import Web  # noqa: PLC0415
    from tests.client.world import PRODUCT, World  # noqa: PLC0415
    from tests.support.faults import FaultProxy, cut  # noqa: PLC0415

    world = World(place)
    world.roll_out(world.release("1.0.0", os.urandom(IMAGE_BYTES)))
    image = f"/image/targets/{PRODUCT}/"
    with Web(world.store) as web, FaultProxy(web.url) as proxy:
        changes: dict[str, Any] = {"servers": (proxy.url,), "interlock": "none", "health": "none"}
        bed = Bed(place / "gateway", world, web, **changes)
        bed.power_on()
        proxy.breaks(image, cut(IMAGE_BYTES // 2))
        begun = time.monotonic()
        first = bed.update().reason
        proxy.heal()
        second = bed.update().outcome
        seconds = time.monotonic() - begun
        bed.power_on()
        confirmed = bed.confirm().outcome
        said = (first, second, confirmed)
        found = {"said": said, "seconds": seconds, "ranges": proxy.ranges(image)}
        sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
