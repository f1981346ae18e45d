"""The fleet that is measured: founded by real commands, with one updated gateway."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.bench.measure import Relay
from infra.demo.cast import CANARY, ST_MARY, WARDS
from infra.demo.firmware import Firmware
from infra.demo.gateways import Gateway, Place
from infra.demo.stage import BIN, Stage
from infra.demo.story import Story
from interlock_core.wire import sha256_hex

IMAGE_BYTES: Final = 1_000_000


@dataclass(frozen=True)
class Fleet:
    """One server, one gateway that runs release 1.0.0, and a relay between the two.

    Attributes:
        check: the command by which the gateway looks for updates, over the relay.
    """

    story: Story
    gateway: Gateway
    relay: Relay

    @property
    def check(self) -> list[str]:
        """The command by which the gateway looks for updates, over the relay."""
        settings = self.gateway.home / "gateway.toml"
        return [str(BIN / "interlock-client"), "check", "--config", str(settings), "--json"]


def found(stage: Stage) -> Fleet:
    """Found a fleet and update its one gateway."""
    story = Story(stage)
    story.found([CANARY, WARDS])
    firmware = _image(stage.place)
    story.sign_release(firmware, counter=1)
    story.publish_release(firmware)
    gateway = story.build_in("gw-bench", Place(CANARY, ST_MARY))
    people = story.operators
    order = people.propose(firmware)
    people.authorise(order)
    people.authorise("--go", people.start(order))
    gateway.switch_on(stage)
    gateway.until("confirmed")
    gateway.switch_off()

    relay = Relay(story.port)
    settings = gateway.home / "gateway.toml"
    settings.write_text(settings.read_text().replace(story.url, relay.url))
    return Fleet(story, gateway, relay)


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
