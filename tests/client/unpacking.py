"""A gateway whose image is unpacked by the sample executable, two slots on a side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from interlock_client.boot import Slot
from interlock_core.release import Slot as SignedSlot
from interlock_core.wire import sha256_hex
from tests.client.bed import Bed
from tests.client.rigs import CommandRig
from tests.client.web import Web
from tests.client.world import Release, World


class UnpackingBed(Bed):
    """A ``Bed`` with the kind ``command``; ``rig`` has its slots and its executable."""

    def __init__(self, directory: Path, world: World, *webs: Web, **changes: Any) -> None:
        super().__init__(directory, world, *webs, **changes)
        (directory / "rig").mkdir()
        self.rig = CommandRig(directory / "rig")
        self.change(
            installer=self.rig.settings(
                boot_environment=directory / "boot", booted=directory / "booted"
            )
        )

    def power_on(self) -> Slot:
        slot = super().power_on()
        self.rig.set_loader(f"{slot} - 0 {slot} -\n", f"{slot}\n")
        return slot

    def publish(self, version: str, seed: str, **facts: Any) -> Release:
        """A release that fills both slots."""
        contents = self.rig.contents(seed)
        slots = tuple(
            SignedSlot(name=name, length=len(data), sha256=sha256_hex(data))
            for name, data in contents.items()
        )
        return self.world.release(version, self.rig.pack(contents), slots=slots, **facts)

    def order(self, version: str, seed: str, **facts: Any) -> Any:
        """That, and a rollout of it."""
        return self.world.roll_out(self.publish(version, seed, **facts))

    def holds(self, side: Slot, seed: str) -> bool:
        """Whether a side holds what was made from a seed."""
        return self.rig.holds(side) == self.rig.contents(seed)

    @property
    def copy(self) -> Path:
        """The private copy."""
        return self.home / "state" / "spool" / "target"

    def ask_the_agent(self) -> None:
        """The executable asks the agent itself whether it was really called by it."""
        config = self.write_config()
        program = Path(sys.executable).parent / "interlock-client"
        self.rig.write("agent", f'#!/bin/sh\nexec "{program}" --config "{config}" "$@"\n')
