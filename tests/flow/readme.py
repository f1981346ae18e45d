"""The quickstart of the README, as a script."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


def quickstart(ports: dict[str, int]) -> str:
    """The shell commands, with other ports in place of those that stand in the README."""
    text = (ROOT / "README.md").read_text()
    section = text.split("## Quickstart by hand", 1)[1]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found is not None
    script = found[1]
    for written, used in ports.items():
        script = script.replace(f"127.0.0.1:{written}", f"127.0.0.1:{used}")
    return script
