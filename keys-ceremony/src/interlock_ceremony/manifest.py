"""The list of everything in a directory that crosses the air gap.

Rules:

1. ``manifest.json`` names every file but itself and the private keys, with its length and SHA-256.
   It is the last file that a ceremony writes, and create-only.
2. A directory that was carried is held against it: a file that is swapped, truncated, missing or
   extra is named, all of them at once. A private key is allowed only beside its public key.
3. Whoever can write the directory can write the manifest, too. It finds accidents by itself, and
   tampering where its own SHA-256 is compared with the one that was read aloud.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock_core import durable, keys, wire
from interlock_core.ceremony_output import MANIFEST, MAX_MANIFEST, Manifest, ManifestEntry
from interlock_core.disk import translated
from interlock_core.errors import RefusedError

_LARGEST: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class Checked:
    """A directory that is as its manifest has it.

    Attributes:
        sha256: of the manifest; to be compared with what was read aloud.
        files: how many it names.
        private: the private key files that stand there, which must not travel with the rest.
    """

    sha256: str
    files: int
    private: tuple[str, ...]


def write(directory: Path) -> None:
    """Write the manifest of a complete directory (rule 1).

    Raises:
        ConflictError: there is another one.
        TransientError: the disk did not do it.
    """
    files = {name: _file(directory / name) for name in _listed(directory)}
    durable.create(directory / MANIFEST, wire.encode(Manifest(files=files)))


def check(directory: Path) -> Checked:
    """Hold a directory against its manifest (rule 2).

    Raises:
        NotFoundError: it has no manifest.
        RefusedError: ``wrong_media``: every file that differs is named, one on a line.
        WireError: the manifest is malformed.
        TransientError: it cannot be read.
    """
    data = durable.read(directory / MANIFEST, limit=MAX_MANIFEST, what="manifest")
    manifest = wire.decode_canonical(data, Manifest, limit=MAX_MANIFEST, what=MANIFEST)
    present, private = _listed(directory), _private(directory)
    wrong = [f"{name} is missing" for name in sorted(set(manifest.files) - set(present))]
    for name in present:
        if name not in manifest.files:
            wrong.append(f"{name} is extra: it was not there when the directory was made")
        elif says := _differs(manifest.files[name], directory / name):
            wrong.append(f"{name} {says}")
    for name in private:
        public = name.removesuffix(keys.PRIVATE_SUFFIX) + keys.PUBLIC_SUFFIX
        if public not in manifest.files:
            wrong.append(f"{name} is extra: there is no {public}")
    if wrong:
        raise RefusedError(
            f"{directory} is not what was carried:\n"
            + "\n".join(f"{line}." for line in wrong)
            + "\nTake the original medium, and copy it again.",
            reason="wrong_media",
        )
    return Checked(wire.sha256_hex(data), len(manifest.files), tuple(private))


def stands_in(directory: Path) -> bool:
    """Whether anything is there that ought to be a manifest."""
    return os.path.lexists(directory / MANIFEST)


def _listed(directory: Path) -> list[str]:
    return [
        name
        for name in walk(directory)
        if name != MANIFEST and not name.endswith(keys.PRIVATE_SUFFIX)
    ]


def _private(directory: Path) -> list[str]:
    return [name for name in walk(directory) if name.endswith(keys.PRIVATE_SUFFIX)]


def walk(directory: Path) -> list[str]:
    """Every file below a directory, by its path from there; a link is one, whatever it names.

    Raises:
        TransientError: it cannot be read.
    """
    with translated("read", directory):
        return sorted(
            str(path.relative_to(directory))
            for path in directory.rglob("*")
            if path.is_symlink() or not path.is_dir()
        )


def _differs(file: ManifestEntry, path: Path) -> str | None:
    with translated("read", path):
        if path.is_symlink() or not path.is_file():
            return "is no file"
        length = path.stat().st_size
    if length < file.length:
        return f"is truncated: it has {length} of {file.length} bytes"
    if length > file.length or _file(path) != file:
        return "is another file than was carried"
    return None


def _file(path: Path) -> ManifestEntry:
    data = durable.read(path, limit=_LARGEST, what=path.name)
    return ManifestEntry(length=len(data), sha256=hashlib.sha256(data).hexdigest())
