"""Later ceremonies of the fleet: what they sign, and a server that is configured for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuf.api import exceptions
from tuf.api.metadata import Root, Targets

from interlock_core import keys
from interlock_core.genesis import ONLINE_ROLES
from interlock_core.names import DIRECTIVE_PATH
from interlock_server.wiring import open_signers
from tests.server.world import (
    COHORTS,
    DIRECTOR_ROOT,
    PASSPHRASE,
    ROOT,
    TARGETS,
    V1,
    Bench,
    Fleet,
    Reader,
    sign,
)

NEW_TARGETS = ("targets-3", "targets-4")
NEW_ROOT = ("root-4", "root-5", "root-6")
SETTINGS = {
    "image_online": "image-online",
    "director_targets": "director-targets",
    "director_online": "director-online",
}
PREFIXES = ("image", *(f"director/{cohort}" for cohort in COHORTS))
WHOLE = dict.fromkeys(PREFIXES, "whole")


@dataclass
class Ceremony:
    """What is sent to ``/v1/ceremonies``; a repository that is left out stays at its first root."""

    image: list[bytes] = field(default_factory=list)
    director: list[bytes] = field(default_factory=list)
    targets: bytes | None = None

    def body(self, fleet: Fleet) -> dict[str, Any]:
        return {
            "image": [text.decode() for text in self.image or [first(fleet, "image")]],
            "director": [text.decode() for text in self.director or [first(fleet, "director")]],
            "targets": None if self.targets is None else self.targets.decode(),
        }


def first(fleet: Fleet, repository: str) -> bytes:
    """The first root of a repository."""
    return (fleet.ceremony / repository / "1.root.json").read_bytes()


def new_online(fleet: Fleet, name: str = "online-2") -> Path:
    """Further online keys, beside those that are in use."""
    directory = fleet.home / name
    for key in ONLINE_ROLES:
        if not (directory / f"{key}.key.json").exists():
            keys.new_key(directory, key, "ed25519", PASSPHRASE, scrypt_n=keys.MIN_SCRYPT_N)
    return directory


def configure(fleet: Fleet, *directories: str, **others: str) -> None:
    """Let the settings name the online keys of these directories, or other files."""
    lines = []
    for line in fleet.config.read_text().splitlines():
        setting = line.partition(" = ")[0]
        if setting in SETTINGS:
            files = [f"{one}/{SETTINGS[setting]}.key.json" for one in directories]
            names = ", ".join(f'"{file}"' for file in [others.get(setting, *files[:1]), *files[1:]])
            line = f"{setting} = [{names}]"  # noqa: PLW2901  # the line that is kept
        lines.append(line)
    fleet.config.write_text("\n".join(lines) + "\n")


def restart(bench: Bench, *directories: str, **others: str) -> None:
    """The server begins again, with the online keys of these directories, or other files."""
    configure(bench.fleet, *directories, **others)
    bench.settings = bench.fleet.settings()
    bench.signers = open_signers(bench.settings)
    bench.restart()


def rotation(fleet: Fleet, online: str = "online-2") -> Ceremony:
    """New online keys for both repositories, signed by the holders of before."""
    directory = new_online(fleet, online)
    image = sign(fleet.root("image", 2, online=directory), ROOT)
    director = sign(fleet.root("director", 2, online=directory), DIRECTOR_ROOT)
    return Ceremony([first(fleet, "image"), image], [first(fleet, "director"), director])


def new_targets(fleet: Fleet, by: Iterable[str], version: int = 3) -> bytes:
    """Top-level targets that say the same, under other keys."""
    targets: Targets = fleet.delegations(version)
    return sign(targets, by)


def targets_rotation(fleet: Fleet, by: Iterable[str] = (*TARGETS, *NEW_TARGETS)) -> Ceremony:
    """New targets keys, and targets metadata signed by ``by``: as they are, by old and new."""
    root: Root = fleet.root("image", 2, targets=NEW_TARGETS)
    return Ceremony([first(fleet, "image"), sign(root, ROOT)], [], new_targets(fleet, by))


def send(bench: Bench, ceremony: Ceremony) -> Any:
    """Post a ceremony."""
    return bench.post("/v1/ceremonies", ceremony.body(bench.fleet))


def read_all(bench: Bench, home: Path) -> dict[str, str]:
    """What an unmodified client reads of every repository: ``whole``, or how it fails."""
    found = {}
    reader = Reader(bench.fleet, home)
    for prefix in PREFIXES:
        path = V1.path if prefix == "image" else DIRECTIVE_PATH
        try:
            data = reader.read(bench.store, prefix, path, bench.clock())
        except exceptions.RepositoryError as e:
            found[prefix] = type(e).__name__
        else:
            assert data is not None
            found[prefix] = "whole"
    return found
