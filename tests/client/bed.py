"""One gateway on a test bed: two slots, a boot script, scripts for its checks, injected time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from interlock_client import (
    agent,
    check,
    confirm,
    context,
    enrol,
    explain,
    reporting,
    rollback,
    rotation,
    status,
)
from interlock_client.boot import BootEnvironment, Slot
from interlock_client.config import Checks, Health, Settings
from interlock_client.context import Context
from interlock_client.counter import Counter
from interlock_client.installers import Slots
from interlock_client.journal import Journal
from interlock_client.memory import Memory
from interlock_client.outcome import Outcome, of_error
from interlock_client.servers import Limits
from interlock_client.tables import SlotPaths, to_plain
from interlock_client.times import Times
from interlock_core.errors import InterlockError
from tests.client.fleet import SECRET
from tests.client.web import Web
from tests.client.world import FLEET, HARDWARE, MARKET, PRODUCT, WARDS, World

FACTORY = b"factory firmware"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


class Bed:
    """A gateway in ``directory``.

    Args:
        directory: made here.
        world: its fleet.
        webs: its servers, in order of preference.
        changes: replace settings.
    """

    def __init__(self, directory: Path, world: World, *webs: Web, **changes: Any) -> None:
        self.home = directory
        self.world = world
        self.boots = 0
        self.seconds = 0.0
        self.local = timedelta(0)
        for name in ("slots", "boot", "health.d", "interlock.d"):
            (directory / name).mkdir(parents=True)
        (directory / "image.root.json").write_bytes(world.image_root)
        (directory / "director.root.json").write_bytes(world.director_root)
        (directory / "slots" / "a").write_bytes(FACTORY)
        self.script("health.d/10-up", "exit 0")
        self.script("interlock.d/10-idle", "exit 0")
        self.script("reboot.sh", f'touch "{directory}/rebooting"')
        settings = Settings(
            fleet=FLEET,
            device="GW-000001",
            market=MARKET,
            product=PRODUCT,
            hardware=HARDWARE,
            cohort=WARDS,
            site="st-elsewhere",
            servers=tuple(web.url for web in webs),
            image_root=directory / "image.root.json",
            director_root=directory / "director.root.json",
            state=directory / "state",
            installer=Slots(
                a=SlotPaths.one(directory / "slots" / "a"),
                b=SlotPaths.one(directory / "slots" / "b"),
                boot_environment=directory / "boot",
                booted=directory / "booted",
            ),
            reboot_command=(str(directory / "reboot.sh"),),
            health=Health(checks=directory / "health.d", timeout_seconds=10),
            interlock=Checks(checks=directory / "interlock.d", timeout_seconds=10),
            hold_file=directory / "hold",
        )
        self.settings = self.changed(settings, **changes)
        self.limits = Limits()
        self.counter: Counter | None = None

    @staticmethod
    def changed(settings: Settings, **changes: Any) -> Settings:
        """Settings with some replaced."""
        return msgspec.structs.replace(settings, **changes)

    def change(self, **changes: Any) -> None:
        """Replace settings."""
        self.settings = self.changed(self.settings, **changes)

    def script(self, name: str, body: str) -> None:
        """Write an executable."""
        path = self.home / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def write_config(self) -> Path:
        """The settings as a file, for the command line."""
        lines, tables = [], []
        for name, value in msgspec.to_builtins(self.settings, enc_hook=to_plain).items():
            if isinstance(value, dict):
                tables.append(f"[{name}]")
                tables += [
                    f"{key} = {_toml(item)}" for key, item in value.items() if item is not None
                ]
            elif value is not None:
                lines.append(f"{name} = {json.dumps(value)}")
        path = self.home / "gateway.toml"
        path.write_text("\n".join([*lines, *tables]) + "\n")
        return path

    # The machine

    @property
    def environment(self) -> BootEnvironment:
        return BootEnvironment(self.home / "boot", self.home / "booted")

    def power_on(self) -> Slot:
        """What the boot script does; returns the slot that runs."""
        (self.home / "rebooting").unlink(missing_ok=True)
        self.boots += 1
        self.seconds = 0.0
        slot, fault = self.environment.boot()
        assert fault is None
        return slot

    def save(self) -> None:
        """Keep the whole gateway as it is now, for ``restore``."""
        shutil.copytree(self.home, self._saved, symlinks=True)

    def restore(self) -> None:
        """Be again as at ``save``."""
        shutil.rmtree(self.home)
        shutil.copytree(self._saved, self.home, symlinks=True)

    @property
    def _saved(self) -> Path:
        return self.home.with_name(f"{self.home.name}-saved")

    @property
    def wants_reboot(self) -> bool:
        return (self.home / "rebooting").exists()

    def slot(self, name: Slot) -> bytes:
        path = self.home / "slots" / name
        return path.read_bytes() if path.exists() else b""

    @property
    def running(self) -> bytes:
        """The bytes of the slot that booted."""
        return self.slot(self.environment.require_booted())

    # The agent

    @contextmanager
    def context(self) -> Iterator[Context]:
        """The agent of one command."""
        times = Times(
            clock=self.world.clock,
            boot_id=lambda: f"boot-{self.boots}",
            monotonic=lambda: self.seconds,
            utc_offset=lambda _: self.local,
        )
        made = context.assemble(
            self.settings, times=times, limits=self.limits, counter=self.counter
        )
        try:
            yield made
        finally:
            made.close()

    def check(self) -> Outcome:
        return self._run(check.check)

    def update(self) -> Outcome:
        return self._run(agent.update)

    def confirm(self) -> Outcome:
        return self._run(confirm.confirm)

    def rollback(self) -> Outcome:
        return self._run(rollback.rollback)

    def explain(self) -> Outcome:
        return self._run(explain.explain)

    def enrol(self, secret: str | None = SECRET, *, renew: bool = False) -> Outcome:
        claim = (lambda: secret) if secret is not None else None
        return self._run(lambda made: enrol.enrol(made, claim, renew=renew))

    def rotate(self) -> Outcome:
        return self._run(rotation.rotate)

    def report(self) -> Outcome:
        return self._run(reporting.report)

    def install(self) -> Outcome:
        """A whole update: until the new firmware was judged."""
        outcome = self.update()
        if outcome.outcome != "rebooting":
            return outcome
        self.power_on()
        return self.confirm()

    def status(self) -> dict[str, Any]:
        with self.context() as made:
            return status.status(made)

    def _run(self, command: Any) -> Outcome:
        with self.context() as made:
            try:
                outcome: Outcome = command(made)
            except InterlockError as e:
                return of_error(e)
            return outcome

    # What it keeps

    @property
    def memory(self) -> Memory:
        with self.context() as made:
            return made.memory()

    @property
    def journal(self) -> Journal:
        with self.context() as made:
            return made.journal()

    def kept(self) -> dict[str, bytes]:
        """Everything that decides what is believed and what runs, by path."""
        kept = {}
        for name in ("slots", "boot", "state/trusted"):
            top = self.home / name
            for path in sorted(top.rglob("*")):
                if path.is_file():
                    kept[f"{name}/{path.relative_to(top)}"] = path.read_bytes()
        return kept
