"""What a ceremony left behind, as the directory that travels (I/O, reading).

Rules:

1. ``fleet.json``; ``image/<n>.root.json`` and ``director/<n>.root.json``, every root from 1 to the
   newest; one ``image/<m>.targets.json``. A file that is missing, twice or out of line is named.
2. If there is a ``manifest.json``, each of these files is the one that it names: a copy that was
   truncated or swapped on the way is found before anything else is said about it.
3. Nothing is believed here: who reads verifies what the files say (``root_chain``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta
from tuf.api.metadata import Root, Targets

from interlock_core import durable, wire
from interlock_core.disk import translated
from interlock_core.errors import NotFoundError, RefusedError, WireError
from interlock_core.genesis import DIRECTOR, IMAGE, FleetFile, read_fleet
from interlock_core.names import Digest
from interlock_core.tuf_metadata import MAX_LENGTH, parse_metadata

FLEET: Final = "fleet.json"
TRANSCRIPT: Final = "transcript.json"
MANIFEST: Final = "manifest.json"
MAX_FLEET: Final = 4096
MAX_MANIFEST: Final = 1024 * 1024

_NAME: Final = re.compile(r"([1-9][0-9]{0,14})\.(root|targets)\.json\Z")


class ManifestEntry(wire.Record, frozen=True, kw_only=True):
    """A file as it was when the directory was complete."""

    length: Annotated[int, Meta(ge=0)]
    sha256: Digest


class Manifest(wire.Record, frozen=True, kw_only=True):
    """``manifest.json``: files by path from the directory."""

    type: Literal["urn:interlock:manifest:v1"] = "urn:interlock:manifest:v1"
    files: dict[str, ManifestEntry]


@dataclass(frozen=True)
class Output:
    """The published part of a ceremony's output, as it was read (rule 3).

    Attributes:
        image: every root of the image repository, from 1 on.
        director: the same of the directors.
        targets: the top-level targets metadata.
    """

    fleet: FleetFile
    image: tuple[bytes, ...]
    director: tuple[bytes, ...]
    targets: bytes


def is_output(directory: Path) -> bool:
    """Whether a directory is a ceremony's output, by the files that it must have."""
    return (directory / FLEET).is_file() and (directory / TRANSCRIPT).is_file()


def read_output(directory: Path) -> Output:
    """Read a ceremony's output (rules 1 and 2).

    Raises:
        RefusedError: ``wrong_media``: not the file that was carried, or the files do not fit.
        NotFoundError, WireError, TransientError: a file is missing, malformed, unreadable.
    """
    reader = _Reader(directory)
    fleet = read_fleet(reader.read(FLEET, MAX_FLEET, FLEET))
    image, director = reader.roots(IMAGE), reader.roots(DIRECTOR)
    return Output(fleet, image, director, reader.targets())


class _Reader:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._manifest: Manifest | None = None
        if (directory / MANIFEST).exists():
            data = durable.read(directory / MANIFEST, limit=MAX_MANIFEST, what="manifest")
            self._manifest = wire.decode(data, Manifest, limit=MAX_MANIFEST, what=MANIFEST)

    def read(self, name: str, limit: int, what: str) -> bytes:
        path = self._directory / name
        data = durable.read(path, limit=limit, what=what)
        if self._manifest is not None:
            known = self._manifest.files.get(name)
            if known is None or (known.length, known.sha256) != (len(data), wire.sha256_hex(data)):
                raise RefusedError(
                    f"{path} is not the file that {MANIFEST} names: take the original medium, and "
                    "copy it again.",
                    reason="wrong_media",
                )
        return data

    def _versions(self, repository: str, role: str) -> list[int]:
        directory = self._directory / repository
        with translated("read", directory):
            names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
        found = (_NAME.match(name) for name in names)
        return sorted(int(match[1]) for match in found if match and match[2] == role)

    def roots(self, repository: str) -> tuple[bytes, ...]:
        """Every root of a repository."""
        versions = self._versions(repository, Root.type)
        roots = []
        for version, expected in zip(versions or [1], count(1), strict=False):
            name = f"{repository}/{expected}.root.json"
            if version != expected:
                raise NotFoundError(
                    f"There is no {name} in {self._directory}, and {version}.root.json is there: "
                    "copy the ceremony's output again."
                )
            data = self.read(name, MAX_LENGTH[Root.type], f"{repository} root {version}")
            root = parse_metadata(data, Root, what=f"metadata {self._directory / name}").signed
            self._check_version(name, version, root.version)
            roots.append(data)
        return tuple(roots)

    def targets(self) -> bytes:
        """The one top-level targets metadata."""
        versions = self._versions(IMAGE, Targets.type)
        if len(versions) > 1:
            raise WireError(
                f"There is more than one targets metadata in {self._directory / IMAGE}: a "
                "ceremony leaves one."
            )
        name = f"{IMAGE}/{versions[0] if versions else 1}.targets.json"
        data = self.read(name, MAX_LENGTH[Targets.type], "image targets metadata")
        targets = parse_metadata(data, Targets, what=f"metadata {self._directory / name}").signed
        self._check_version(name, versions[0], targets.version)
        return data

    def _check_version(self, name: str, named: int, version: int) -> None:
        if named != version:
            raise RefusedError(
                f"{self._directory / name} holds version {version}.", reason="version_gap"
            )
