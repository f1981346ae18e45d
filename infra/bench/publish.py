"""Staging, signing and publishing one release, as a product and a repository grow.

Each act is a whole fresh process of the real command against a real server, measured in CPU time:
``stage`` reads and verifies what is in force over HTTP, ``sign`` opens a key under scrypt, ``send``
is ``publish``, and ``serve`` what the server's processes do for it. The release that is staged has
one image and one SBOM. What a gateway fetches is counted on the wire: its ``check``
after a release of its product came out, and after one of another product did.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from infra.bench.fleet import Fleet
from infra.bench.history import History, product_names
from infra.bench.measure import Row, median, row, run, session_cpu_ms
from infra.demo.cast import RELEASE_MANAGERS
from infra.demo.gateways import HARDWARE, PRODUCT
from infra.demo.stage import BIN
from interlock_core.tuf_metadata import MAX_LENGTH

RUNS: Final = 3
WARM_UP: Final = 1
FEW: Final = 10
SOME: Final = 100
MANY: Final = 1_000
PRODUCTS: Final = 100
IMAGE_BYTES: Final = 100_000
ACTS: Final = ("stage", "sign", "send", "serve", "gateway-bytes", "gateway-requests")
UNITS: Final = {"gateway-bytes": "bytes", "gateway-requests": "requests"}


@dataclass
class Round:
    """What the runs at one size cost, by act; ``length`` is that of the product's metadata."""

    length: int = 0
    costs: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def measure(fleet: Fleet) -> list[Row]:
    """Measure at each size."""
    bench = _Bench(fleet)
    history = bench.history
    sizes: dict[str, Round] = {}
    for releases in (FEW, SOME, MANY):
        history.grow(PRODUCT, releases)
        sizes[f"{releases}-releases"] = bench.rounds(PRODUCT)
    history.delegate(list(product_names(PRODUCTS)))
    for name in product_names(PRODUCTS):
        history.grow(name, FEW)
    sizes[f"{PRODUCTS}-products"] = bench.rounds(PRODUCT)
    other = bench.rounds(next(product_names(PRODUCTS)))

    rows = _against(sizes, f"{SOME}-releases", f"{FEW}-releases", ACTS)
    rows += _against(sizes, f"{MANY}-releases", f"{FEW}-releases", ACTS)
    # With as many releases: what the other products cost.
    rows += _against(sizes, f"{PRODUCTS}-products", f"{MANY}-releases", ACTS)
    own = median(sizes[f"{PRODUCTS}-products"].costs["gateway-bytes"])
    theirs = median(other.costs["gateway-bytes"])
    rows.append(
        row("publish.gateway-bytes.other-product", theirs, "bytes", "its own product", own, RUNS)
    )
    few, many = sizes[f"{FEW}-releases"].length, sizes[f"{MANY}-releases"].length
    limit = MAX_LENGTH["targets"]
    rows += [
        row(f"publish.metadata.{MANY}-releases", many, "bytes", "limit", limit, 1),
        row(
            "publish.metadata.per-release",
            round((many - few) / (MANY - FEW), 1),
            "bytes",
            f"limit for {MANY}",
            limit / MANY,
            1,
        ),
    ]
    return rows


def _against(sizes: Mapping[str, Round], size: str, peer: str, acts: Sequence[str]) -> list[Row]:
    rows = []
    for act in acts:
        ours, theirs = (median(sizes[name].costs[act]) for name in (size, peer))
        unit = UNITS.get(act, "ms")
        rows.append(row(f"publish.{act}.{size}", ours, unit, peer.replace("-", " "), theirs, RUNS))
    return rows


class _Bench:
    """Publishes one release after the other."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.history = History(fleet.story)
        self._sbom = fleet.story.place / "image.cdx.json"

    def rounds(self, product: str) -> Round:
        """Publish as many releases as are measured, one after the other."""
        found = Round(self.history.length(product))
        for _ in range(WARM_UP):
            self._one(product)
        for _ in range(RUNS):
            for act, cost in self._one(product).items():
                found.costs[act].append(cost)
        return found

    def _one(self, product: str) -> dict[str, float]:
        story, relay = self._fleet.story, self._fleet.relay
        counter = self.history.counter(product) + 1
        name = f"{product}-{counter}"
        image, spec = story.place / f"{name}.img", story.place / f"{name}.toml"
        image.write_bytes(os.urandom(IMAGE_BYTES))
        spec.write_text(
            f'product = "{product}"\nversion = "0.0.{counter}"\nhardware_ids = ["{HARDWARE}"]\n'
            f"release_counter = {counter}\nraises_floor_to = 0\nmin_counter_installed = 0\n"
            'update_class = { type = "security", urgency = "routine" }\nmarkets = ["DE"]\n'
            f'support_end = 2031-12-31\nsbom = "{self._sbom}"\n'
            f'[[images]]\nfile = "{image}"\nname = "firmware.img"\n'
        )
        event = str(story.place / "events" / name)
        root = str(story.ceremony / "image" / "1.root.json")
        costs = {"stage": self._tool("stage", str(spec), "--event", event, "--root", root)}
        for person in RELEASE_MANAGERS:
            costs["sign"] = self._tool(
                "sign", event, "--key", str(story.key_of(person)),
                "--passphrase-file", str(story.secret), "--meaning", "approved",
                "--reason", "bench", "--yes",
            )  # fmt: skip
        before = session_cpu_ms(story.server.pid)
        costs["send"] = self._tool("publish", event)
        costs["serve"] = session_cpu_ms(story.server.pid) - before
        relay.wire.reset()
        run(self._fleet.check)
        return costs | {
            "gateway-bytes": relay.wire.bytes,
            "gateway-requests": relay.wire.requests,
        }

    def _tool(self, verb: str, *words: str) -> float:
        """The CPU time of one command, in milliseconds."""
        url = self._fleet.story.url
        where = {"stage": ("--repository", url), "publish": ("--server", url)}.get(verb, ())
        return run([str(BIN / "interlock-repo"), verb, *words, *where]).cpu_ms
