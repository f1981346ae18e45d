#!/opt/interlock/bin/python
"""Lets ``rauc status`` show Interlock's boot state. It reads, and changes nothing.

RAUC calls it as its custom boot loader backend. In ``/etc/rauc/system.conf``, with slots whose
``bootname`` is ``a`` and ``b``::

    [system]
    bootloader=custom

    [handlers]
    bootloader-custom-backend=/usr/lib/interlock/rauc-boot-backend
    pre-install=/bin/false

Whoever calls ``rauc status mark-good`` or ``mark-active`` is told who does that here.
``INTERLOCK_CONFIG`` names another configuration than ``/etc/interlock/gateway.toml``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from interlock_client import context
from interlock_client.config import DEFAULT_PATH
from interlock_core.errors import InterlockError

if TYPE_CHECKING:
    from interlock_client.install import Standing

NOT_HERE: Final = (
    "Nothing was changed: interlock-client alone arms, commits and rolls back (see "
    "'interlock-client status', 'confirm' and 'rollback')."
)


def answer(words: list[str], standing: Standing) -> str | None:
    """What RAUC is told, or None where it may not do what it asks for.

    Args:
        words: the arguments with which RAUC calls a boot loader backend.
        standing: how the sides stand.
    """
    match words:
        case ["get-primary"]:
            return standing.armed or standing.active
        case ["get-state", side]:
            return "good" if side in standing.good else "bad"
        case _:
            return None


def main(words: list[str]) -> int:
    """Answer one call; returns the exit code."""
    path = Path(os.environ.get("INTERLOCK_CONFIG", DEFAULT_PATH))
    try:
        said = answer(words, context.build(path).installer.standing())
    except InterlockError as e:
        sys.stderr.write(f"{e}\n")
        return int(e.exit_code)
    sys.stderr.write("" if said else f"{NOT_HERE}\n")
    sys.stdout.write(f"{said}\n" if said else "")
    return 0 if said else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
