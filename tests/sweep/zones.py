"""The five programs, the tables of what their commands read, and places to run them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.sweep import zone_ceremony, zone_client, zone_ops, zone_repo, zone_server
from tests.sweep.commands import Entry, Place, Program


@dataclass(frozen=True)
class Zone:
    """One program.

    Attributes:
        table: by command, how it is called; a command may be called in several ways.
        place: makes a place where everything is good, in a directory.
    """

    program: Program
    table: Mapping[str, tuple[Entry, ...]]
    place: Callable[[Path], Place]


ZONES: Final[Mapping[str, Zone]] = {
    module.PROGRAM.name: Zone(module.PROGRAM, module.TABLE, module.place)
    for module in (zone_ceremony, zone_client, zone_ops, zone_repo, zone_server)
}
