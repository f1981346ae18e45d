"""One gateway's hardware, as far as Interlock sees it: power, a boot script, a reboot.

What is simulated is the machine around the agent and nothing of the agent: a boot script asks
``interlock-client boot-select`` which slot to start, and after each start ``interlock-client
confirm`` runs, as a unit of the new firmware would. ``reboot`` is a file that the gateway's
``reboot_command`` creates. One line on standard input is one word: a command of
``interlock-client`` (``check``, ``update``, ``status`` …) or ``off``. One line of JSON on standard
output answers it: how each process ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent


def _client(home: Path, word: str) -> dict[str, Any]:
    done = subprocess.run(
        [str(BIN / "interlock-client"), word, "--config", str(home / "gateway.toml"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    answer = json.loads(lines[-1]) if lines else {}
    return {"command": word, "code": done.returncode, "answer": answer, "error": done.stderr}


def _boot(home: Path) -> list[dict[str, Any]]:
    """Start the machine, and again as long as it asks for a reboot."""
    said = []
    while True:
        (home / "reboot").unlink(missing_ok=True)
        said += [_client(home, "boot-select"), _client(home, "confirm")]
        if not (home / "reboot").exists():
            return said


def main() -> None:
    """Live until ``off`` or the end of input."""
    home = Path(sys.argv[1])
    print(json.dumps(_boot(home)), flush=True)
    for line in sys.stdin:
        word = line.strip()
        if word == "off":
            return
        said = [_client(home, word)]
        if (home / "reboot").exists():
            said += _boot(home)
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
