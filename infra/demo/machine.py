"""One gateway's hardware, as far as Interlock sees it: power, a boot script, a reboot.

What is simulated is the machine around the agent and nothing of the agent: at power-on a boot
script asks ``interlock-client boot-select`` which slot to start, and then the daemon
``interlock-client run`` starts, as a unit of the firmware would. ``reboot`` is a file that the
gateway's ``reboot_command`` creates; when it is there, the power goes without a warning, and the
machine boots again. One line on standard input is one word: ``look`` (the daemon looks for updates
at once) or ``off``. Standard output has one JSON object for each boot and for each thing that the
daemon says.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

BIN = Path(sys.executable).parent

Happening = tuple[str, Any]
"""``said``, ``silent`` or ``word``, and what came."""


def _say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def _listen(
    stream: IO[str], kind: str, at_end: Happening, happened: SimpleQueue[Happening]
) -> None:
    def listen() -> None:
        for line in stream:
            happened.put((kind, line.strip()))
        happened.put(at_end)

    threading.Thread(target=listen, daemon=True).start()


def _boot(home: Path, happened: SimpleQueue[Happening]) -> subprocess.Popen[str]:
    (home / "reboot").unlink(missing_ok=True)
    config = ["--config", str(home / "gateway.toml"), "--json"]
    client = str(BIN / "interlock-client")
    chosen = subprocess.run([client, "boot-select", *config], capture_output=True, check=False)
    _say(booted=(home / "booted").read_text().strip(), code=chosen.returncode)
    with (home / "log").open("a") as log:
        daemon = subprocess.Popen(
            [client, "run", *config], stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert daemon.stdout is not None
    _listen(daemon.stdout, "said", ("silent", daemon.pid), happened)
    return daemon


def main() -> None:
    """Live until ``off`` or the end of input."""
    home = Path(sys.argv[1])
    happened: SimpleQueue[Happening] = SimpleQueue()
    _listen(sys.stdin, "word", ("word", "off"), happened)
    daemon = _boot(home, happened)
    try:
        while True:
            kind, what = happened.get()
            if kind == "word" and what == "off":
                return
            if kind == "word":
                daemon.send_signal(signal.SIGUSR1)
            elif kind == "silent" and what == daemon.pid:
                _say(dead=daemon.wait())
                return
            elif kind == "said":
                _say(said=json.loads(what))
                if (home / "reboot").exists():
                    # The power goes, whatever runs.
                    daemon.kill()
                    daemon.wait()
                    daemon = _boot(home, happened)
    finally:
        daemon.kill()


if __name__ == "__main__":
    main()
