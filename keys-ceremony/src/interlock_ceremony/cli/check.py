"""``interlock-ceremony check``: whether a directory arrived as it left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from interlock_ceremony import manifest
from interlock_ceremony.ceremony import Room
from interlock_ceremony.cli.common import command
from interlock_ceremony.fingerprint import spoken
from interlock_ceremony.guide import Say

EXAMPLES: Final = """\b
Example:
  interlock-ceremony check /media/usb/ceremony
"""


@click.command(epilog=EXAMPLES)
@click.argument("directory", type=click.Path(path_type=Path))
@command
def check(room: Room, say: Say, directory: Path) -> Mapping[str, Any]:  # noqa: ARG001  # every command gets both
    """Hold DIRECTORY, a ceremony's output that was carried, against its manifest.

    Every file that is missing, truncated, swapped or extra is named. That finds accidents;
    compare the manifest's words with those read aloud where the directory was made, and it finds
    tampering. What the directory proves, 'verify' says.
    """
    checked = manifest.check(directory)
    say(f"All {checked.files} files of {directory} are as they were. Manifest SHA-256:")
    say(spoken(checked.sha256))
    if checked.private:
        say(f"{len(checked.private)} private keys are here: give them to their holders, and carry")
        say("the rest without them.")
    return {
        "reason": "checked",
        "manifest_sha256": checked.sha256,
        "files": checked.files,
        "private_keys": list(checked.private),
    }
