"""The monitor: a process apart from the server, with settings, a key and a memory of its own."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from infra.demo.stage import Stage, StoryError

PATIENCE_SECONDS: Final = 60.0
"""How long it may take to do what the story waits for."""

Alert = dict[str, Any]


@dataclass
class Monitor:
    """One monitor at work.

    Attributes:
        told: every alert that it told, oldest first.
        said: whatever else it wrote, for when the story fails.
    """

    process: subprocess.Popen[str]
    told: list[Alert] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    _heard: SimpleQueue[Alert | None] = field(default_factory=SimpleQueue)

    @classmethod
    def start(cls, stage: Stage, settings: Path) -> Monitor:
        """Start it; it looks around at once, and then every second."""
        made = cls(stage.start("interlock-ops", "monitor", "--config", settings))
        threading.Thread(target=made._listen, daemon=True).start()
        return made

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("{"):
                self._heard.put(json.loads(line))
            else:
                self.said.append(line.strip())
        self._heard.put(None)

    def until(self, alert: str, order: str) -> Alert:
        """Listen until it tells this of an order, and return what it told.

        Raises:
            StoryError: it does not, or it ended.
        """
        while True:
            try:
                told = self._heard.get(timeout=PATIENCE_SECONDS)
            except Empty:
                told = None
            if told is None:
                raise StoryError(
                    f"the monitor did not tell {alert}, but {self.told}; it said {self.said[-5:]}"
                )
            self.told.append(told)
            if told["alert"] == alert and order[:12] in told["detail"]:
                return told


def write_settings(
    path: Path, *, url: str, fleet: str, root: Path, log_key: Path, key: Path, secret: Path
) -> None:
    """Write its monitor.toml, and make the directory to which people deliver stops."""
    (path.parent / "stops").mkdir(parents=True)
    path.write_text(
        f"""server = "{url}"
fleet = "{fleet}"
image_root = "{root}"
log_key = "{log_key}"
key = "{key}"
passphrase_file = "{secret}"
state_directory = "state"
[monitor]
stops_directory = "stops"
interval = "1s"
"""
    )
