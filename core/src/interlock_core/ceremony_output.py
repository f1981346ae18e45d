"""What a ceremony left behind, as the directory that travels (I/O, reading).

Rules:

1. ``fleet.json``; ``image/<n>.root.json`` and ``director/<n>.root.json``, every root from 1 to the
   newest; one ``image/<m>.targets.json``. A file that is missing, twice or out of line is named.
2. If there is a ``manifest.json``, each of these files is the one that it names, and none is
   missing: a copy that was cut or swapped is found before anything else is said about it.
3. What stands beside ``abandoned.json`` is of no ceremony, whatever signatures it carries.
4. ``read_ceremony`` verifies all that they say: both chains of roots from the first, whose digests
   ``fleet.json`` names, to the newest; the targets metadata by the newest image root; and that no
   key is in two places. Whether it is one's own fleet's is for the caller to see.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
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
from interlock_core.root_chain import check_apart, follow
from interlock_core.tuf_metadata import MAX_LENGTH, parse_metadata, verify_targets

FLEET: Final = "fleet.json"
TRANSCRIPT: Final = "transcript.json"
MANIFEST: Final = "manifest.json"
ABANDONED: Final = "abandoned.json"
"""Stands in what a ceremony left that was given up, beside whatever it had signed by then."""
MAX_FLEET: Final = 4096
MAX_MANIFEST: Final = 1024 * 1024
MAX_FILES: Final = 4096

_NAME: Final = re.compile(r"([1-9][0-9]{0,14})\.(root|targets)\.json\Z")


class ManifestEntry(wire.Record, frozen=True, kw_only=True):
    """A file as it was when the directory was complete."""

    length: Annotated[int, Meta(ge=0)]
    sha256: Digest


class Manifest(wire.Record, frozen=True, kw_only=True):
    """``manifest.json``: files by path from the directory."""

    type: Literal["urn:interlock:manifest:v1"] = "urn:interlock:manifest:v1"
    files: Annotated[dict[str, ManifestEntry], Meta(max_length=MAX_FILES)]


@dataclass(frozen=True)
class Ceremony:
    """The published part of a ceremony's output, verified (rule 4).

    Attributes:
        image_roots: every root of the image repository, from the first to the newest.
        director_roots: the same of the directors.
        targets: the newest top-level targets metadata.
        targets_version: its version.
        roots: the newest, by repository.
    """

    fleet: FleetFile
    image_roots: tuple[bytes, ...]
    director_roots: tuple[bytes, ...]
    targets: bytes
    targets_version: int
    roots: Mapping[str, Root]


def is_output(directory: Path) -> bool:
    """Whether a directory is a ceremony's output, by the files that only such a one has."""
    return any(os.path.lexists(directory / name) for name in (FLEET, TRANSCRIPT))


def read_ceremony(directory: Path, now: datetime) -> Ceremony:
    """Read the output of the first ceremony or of a later one, and verify it (rules 1 to 4).

    Args:
        directory: the ceremony's ``output``.
        now: to judge expiry by.

    Raises:
        RefusedError: ``abandoned``, ``wrong_media``, ``version_gap``, ``wrong_digest``,
            ``shared_key``, ``rehearsal``, or as ``root_chain`` and ``tuf_metadata`` name it.
        NotFoundError, WireError, TransientError: a file is missing, malformed, unreadable.
    """
    if os.path.lexists(directory / ABANDONED):
        raise RefusedError(
            f"{directory} is what a ceremony left that was given up: nothing of it is published.",
            reason="abandoned",
        )
    reader = _Reader(directory)
    fleet = read_fleet(reader.read(FLEET, MAX_FLEET, FLEET))
    roots = {IMAGE: reader.roots(IMAGE), DIRECTOR: reader.roots(DIRECTOR)}
    text = reader.targets()
    reader.check_complete()
    for name, digest in ((IMAGE, fleet.image_root), (DIRECTOR, fleet.director_root)):
        if wire.sha256_hex(roots[name][0]) != digest:
            raise RefusedError(
                f"{directory / name / '1.root.json'} is not the root that fleet.json names: copy "
                "the ceremony's output again.",
                reason="wrong_digest",
            )
    newest = {name: follow(chain, (), now).newest for name, chain in roots.items()}
    targets = verify_targets(text, newest[IMAGE], now)
    check_apart(*([parse_metadata(t, Root, what="root").signed for t in roots[n]] for n in roots))
    return Ceremony(fleet, roots[IMAGE], roots[DIRECTOR], text, targets.signed.version, newest)


class _Reader:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: set[str] = set()
        self._manifest: Manifest | None = None
        if os.path.lexists(directory / MANIFEST):
            data = durable.read(directory / MANIFEST, limit=MAX_MANIFEST, what="manifest")
            self._manifest = wire.decode(data, Manifest, limit=MAX_MANIFEST, what=MANIFEST)

    def read(self, name: str, limit: int, what: str) -> bytes:
        path = self._directory / name
        data = durable.read(path, limit=limit, what=what)
        self._read.add(name)
        if self._manifest is not None:
            known = self._manifest.files.get(name)
            if known is None or (known.length, known.sha256) != (len(data), wire.sha256_hex(data)):
                raise RefusedError(
                    f"{path} is not the file that {MANIFEST} names: take the original medium, and "
                    "copy it again.",
                    reason="wrong_media",
                )
        return data

    def check_complete(self) -> None:
        """See that no metadata is missing that the manifest names (rule 2)."""
        for name in sorted(self._manifest.files if self._manifest else ()):
            folder, _, file = name.rpartition("/")
            if folder in {IMAGE, DIRECTOR} and _NAME.match(file) and name not in self._read:
                raise RefusedError(
                    f"{self._directory / name} is missing, and {MANIFEST} names it: take the "
                    "original medium, and copy it again.",
                    reason="wrong_media",
                )

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
