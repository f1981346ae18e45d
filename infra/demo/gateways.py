"""Gateways in their hospitals: each a machine of its own, with its own process and directory."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from infra.demo.firmware import Firmware
from infra.demo.stage import Stage, StoryError

PRODUCT: Final = "ward-gateway"
HARDWARE: Final = "cg-200"
PATIENCE_SECONDS: Final = 60.0
"""How long a gateway may take for one step before the story has failed."""

Event = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a gateway is built in."""

    cohort: str
    site: str


@dataclass
class Gateway:
    """One gateway.

    Attributes:
        name: its device id.
        home: its directory: configuration, slots, checks, state.
        place: its cohort and hospital.
        history: everything that its daemon said, oldest first.
    """

    name: str
    home: Path
    place: Place
    history: list[Event] = field(default_factory=list)
    _machine: subprocess.Popen[str] | None = None
    _heard: SimpleQueue[Event | None] = field(default_factory=SimpleQueue)

    def switch_on(self, stage: Stage) -> None:
        """Power: the machine boots, and its daemon looks for updates."""
        self._machine = stage.start_script(Path(__file__).with_name("machine.py"), self.home)
        threading.Thread(target=self._listen, daemon=True).start()

    def switch_off(self) -> None:
        """The machine ends, in its own time."""
        assert self._machine is not None
        assert self._machine.stdin is not None
        self._machine.stdin.write("off\n")
        self._machine.stdin.close()
        self._machine.wait()

    def _listen(self) -> None:
        assert self._machine is not None
        assert self._machine.stdout is not None
        for line in self._machine.stdout:
            self._heard.put(json.loads(line))
        self._heard.put(None)

    def look(self) -> None:
        """Let the daemon look for updates now; by itself it does so every quarter of an hour."""
        assert self._machine is not None
        assert self._machine.stdin is not None
        self._machine.stdin.write("look\n")
        self._machine.stdin.flush()

    def until(self, outcome: str, reason: str | None = None) -> Event:
        """Listen until the daemon says that a round ended so, and return what it said.

        Raises:
            StoryError: it ended otherwise for good, or did not end.
        """
        passed: list[Event] = []
        while True:
            said = self._next(passed)
            passed.append(said)
            # After a boot a round begins with the confirmation of what booted.
            for told in (said, said.get("confirm") or {}):
                if told.get("outcome") == outcome and reason in (None, told.get("reason")):
                    return said
            if said["outcome"] not in {"rebooting", "rolled_back"}:
                raise StoryError(f"{self.name}: expected {outcome} {reason or ''}, heard {passed}")

    def _next(self, passed: list[Event]) -> Event:
        while True:
            try:
                event = self._heard.get(timeout=PATIENCE_SECONDS)
            except Empty:
                event = None
            if event is None or "dead" in event:
                log = (self.home / "log").read_text()[-2000:]
                raise StoryError(f"{self.name} fell silent after {passed}: {log}")
            if "said" in event:
                said: Event = event["said"]
                self.history.append(said)
                return said

    def looks(self, outcome: str, reason: str | None = None) -> Event:
        """``look``, and ``until``."""
        self.look()
        return self.until(outcome, reason)

    def use(self, *, by_patient: bool) -> None:
        """Say to the interlock check whether a patient depends on this gateway now."""
        flag = self.home / "in-use"
        if by_patient:
            flag.touch()
        else:
            flag.unlink(missing_ok=True)

    def suffers_from(self, firmware: Firmware) -> None:
        """Let the ward's own application fail under this firmware, and under no other."""
        (self.home / "incompatible.length").write_text(str(firmware.length))
        (self.home / "incompatible").write_text(firmware.sha256)

    def must_run(self, firmware: Firmware) -> None:
        """Hold the slot that is booted against the image itself.

        Raises:
            StoryError: it holds something else.
        """
        slot = (self.home / "booted").read_text().strip()
        image = (self.home / "slots" / slot).read_bytes()[: firmware.length]
        if image != firmware.path.read_bytes():
            raise StoryError(f"{self.name} runs slot {slot}, which is not {firmware.version}")


def build(home: Path, place: Place, *, fleet: str, url: str, roots: Path) -> Gateway:
    """Put a new gateway together, with its hospital's checks; it is not switched on yet.

    Args:
        home: its directory; the last part is its device id.
        place: where it will stand.
        fleet: fleet id.
        url: of the server.
        roots: the ceremony's output, for the embedded roots.
    """
    for directory in ("interlock.d", "health.d", "slots", "boot"):
        (home / directory).mkdir(parents=True)
    for repository in ("image", "director"):
        shutil.copy(roots / repository / "1.root.json", home / f"{repository}.root.json")
    _script(home / "interlock.d" / "patient", f'test ! -e "{home}/in-use"')
    _script(home / "health.d" / "boots", f'test -s "{home}/slots/$(cat "{home}/booted")"')
    _script(
        home / "health.d" / "ward-application",
        # What the ward's application asks of the firmware; an image of other bytes than those
        # named in `incompatible` has it.
        f'test ! -e "{home}/incompatible" || '
        f'! head -c "$(cat "{home}/incompatible.length")" "{home}/slots/$(cat "{home}/booted")" '
        f'| sha256sum | grep -q "$(cat "{home}/incompatible")"',
    )
    _script(home / "reboot.sh", f'touch "{home}/reboot"')
    (home / "gateway.toml").write_text(
        f"""fleet = "{fleet}"
device = "{home.name}"
product = "{PRODUCT}"
hardware = "{HARDWARE}"
market = "DE"
site = "{place.site}"
cohort = "{place.cohort}"
cohort_patterns = ["*"]
servers = ["{url}"]
poll_interval_seconds = 900
poll_jitter_seconds = 0
image_root = "image.root.json"
director_root = "director.root.json"
state = "state"
reboot_command = ["{home}/reboot.sh"]
hold_file = "hold"
[installer]
kind = "slots"
a = "slots/a"
b = "slots/b"
boot_environment = "boot"
booted = "booted"
tries = 3
[interlock]
checks = "interlock.d"
timeout_seconds = 10
[health]
checks = "health.d"
timeout_seconds = 10
"""
    )
    return Gateway(home.name, home, place)


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
