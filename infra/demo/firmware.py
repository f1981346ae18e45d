"""Two successive real firmware images, from Debian packages and without root.

Rules:

1. An image is the file system of a Debian cloud kernel package (boot image, modules, device
   drivers) as ``dpkg-deb`` unpacks it: one file, and the same bytes on every machine.
2. apt works in a state directory of its own under ``build/``, with the machine's own sources and
   keyrings: nothing of the machine changes, and a machine that has no package lists will do.
3. The pair is the newest two builds, in Debian version order, of the newest kernel series that
   has two in the archive.
4. What was obtained is kept under ``build/firmware/`` with its digests. When the files still have
   them, no network is needed; when they do not, they are obtained again.
5. Each image has an SBOM (see ``bill``), which a release needs to be published.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from email import message_from_string
from functools import cmp_to_key
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from infra.demo import bill
from interlock_core.errors import ConfigurationError, InterlockError, NotFoundError, TransientError
from interlock_core.names import VERSION_PATTERN

INSTEAD: Final = "Give two images of your own: make demo OLD=path NEW=path"
TAIL_OF_ERROR: Final = 300


@dataclass(frozen=True)
class Firmware:
    """One image and what is known about it.

    Attributes:
        path: the image, one file.
        version: as ``interlock_core.names.Version`` allows it.
        source_package: ``package=version`` of the Debian package, or the name of the given file.
        length: bytes.
        sha256: lower-case hexadecimal.
        licence: one line for people; the full text is inside a Debian image.
        sbom: its CycloneDX 1.6 document, JSON.
    """

    path: Path
    version: str
    source_package: str
    length: int
    sha256: str
    licence: str
    sbom: Path


@dataclass(frozen=True)
class Build:
    """One version of a Debian package."""

    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.package}={self.version}"


def obtain(build: Path, old: Path | None, new: Path | None) -> tuple[Firmware, Firmware]:
    """Return the image that gateways start with, and the one that succeeds it.

    Args:
        build: directory for everything that can be made again; made when it is missing.
        old: an image of one's own, or None for Debian's.
        new: likewise; either both are given or neither.

    Raises:
        ConfigurationError: one path only, an unreadable file, or two equal ones.
        NotFoundError: no two builds of one kernel series in this machine's archives.
        TransientError: apt could not reach its archive, or the disk is full.
    """
    if (old is None) != (new is None):
        raise ConfigurationError("OLD and NEW belong together: give both, or neither.")
    home = (build / "firmware").resolve()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _alone(home):
            if old is not None and new is not None:
                return _given(home, old, new)
            return _cached(home) or _from_debian(home)
    except OSError as error:
        raise TransientError(
            f"{error.filename or home}: {error.strerror}. Mend that, then run this again."
        ) from error


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- images of one's own ---------------------------------------------------------------------


def _given(home: Path, old: Path, new: Path) -> tuple[Firmware, Firmware]:
    pair = tuple(_one_given(home, path) for path in (old, new))
    first, second = pair
    if first.sha256 == second.sha256:
        raise ConfigurationError(
            f"{old} and {new} hold the same bytes: there is nothing to update."
        )
    if first.version == second.version:
        first, second = (replace(one, version=f"sha256-{one.sha256[:12]}") for one in pair)
    for one in (first, second):
        _write_json(one.sbom, bill.of_file(one.source_package, one.version, one.sha256))
    return first, second


def _one_given(home: Path, path: Path) -> Firmware:
    try:
        sha256, length = digest_of(path), path.stat().st_size
    except OSError as error:
        raise ConfigurationError(
            f"{path}: {error.strerror}. Name a readable image file."
        ) from error
    found = re.search(r"\d+(?:\.[0-9a-z]+)+(?:-\d+)?", path.stem.lower())
    return Firmware(
        path=path.resolve(),
        version=_normal(found.group()) if found else f"sha256-{sha256[:12]}",
        source_package=path.name,
        length=length,
        sha256=sha256,
        licence="as you hold it",
        sbom=home / f"{sha256}.cdx.json",
    )


# --- Debian's --------------------------------------------------------------------------------


def _cached(home: Path) -> tuple[Firmware, Firmware] | None:
    try:
        rows = json.loads((home / "pair.json").read_text())
        old, new = (
            Firmware(**{**row, "path": home / row["path"], "sbom": home / row["sbom"]})
            for row in rows
        )
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None  # none yet, or one that another version of this module wrote
    for one in (old, new):
        if not (one.path.is_file() and one.sbom.is_file() and digest_of(one.path) == one.sha256):
            return None
    return old, new


def _from_debian(home: Path) -> tuple[Firmware, Firmware]:
    architecture = run_tool("dpkg", "--print-architecture").strip()
    apt = private_apt(home.parent / "apt")
    trouble: TransientError | None = None
    try:
        run_tool("apt-get", *apt, "update")
    except TransientError as error:
        trouble = error  # one bad source of several, or no network and an earlier run's lists
    try:
        chosen = two_kernels(apt, architecture)
    except NotFoundError:
        if trouble is not None:
            raise trouble from None
        raise
    pair = [_unpack(home, build, architecture, apt) for build in chosen]
    rows = [asdict(one) | {"path": one.path.name, "sbom": one.sbom.name} for one in pair]
    _write_json(home / "pair.json", rows)
    old, new = pair
    return old, new


def private_apt(state: Path) -> list[str]:
    """Options by which apt works in a directory of its own (rule 2)."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    settings = {
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state / "cache",
        "Dir::Log": state,
        "APT::Sandbox::User": "root",  # the user _apt may not write here; without root no effect
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
        "Acquire::https::Timeout": "30",
    }
    return ["-qq", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]


def two_kernels(apt: Sequence[str], architecture: str) -> list[Build]:
    """Return the two builds of rule 3, the older one first."""
    named = re.compile(rf"linux-image-(\d+\.\d+)\.\d[0-9a-z.+~-]*-cloud-{re.escape(architecture)}")
    names = run_tool("apt-cache", *apt, "pkgnames", "linux-image-").split()
    series_of = {name: match.group(1) for name in names if (match := named.fullmatch(name))}
    builds: dict[str, set[Build]] = {}
    if series_of:
        for line in run_tool("apt-cache", *apt, "madison", *sorted(series_of)).splitlines():
            package, version, origin = (part.strip() for part in line.split("|"))
            if origin.endswith("Packages"):
                builds.setdefault(series_of[package], set()).add(Build(package, version))
    pairs = {series: in_order(found)[-2:] for series, found in builds.items() if len(found) > 1}
    if not pairs:
        only = ", ".join(str(build) for found in builds.values() for build in found) or "none"
        raise NotFoundError(
            "Two builds of one cloud kernel series are needed, and this machine's Debian archives "
            f"hold for {architecture}: {only}. {INSTEAD}"
        )
    return pairs[max(pairs, key=lambda series: [int(part) for part in series.split(".")])]


def in_order(builds: set[Build]) -> list[Build]:
    """Builds in Debian version order, the oldest first."""

    def compare(one: Build, other: Build) -> int:
        for relation, answer in (("lt", -1), ("gt", 1)):
            words = ("dpkg", "--compare-versions", one.version, relation, other.version)
            if subprocess.run(words, check=False).returncode == 0:
                return answer
        return 0

    return sorted(builds, key=cmp_to_key(compare))


def _unpack(home: Path, build: Build, architecture: str, apt: Sequence[str]) -> Firmware:
    version = _normal(build.version)
    image = home / f"linux-cloud-{architecture}_{version}.img"
    sbom = image.with_suffix(".cdx.json")
    partial = image.with_suffix(".partial")
    with TemporaryDirectory(dir=home) as scratch:
        # apt checks what it downloads against the archive's signed lists.
        run_tool("apt-get", *apt, "download", str(build), cwd=Path(scratch))
        deb = next(Path(scratch).glob("*.deb"))
        with partial.open("wb") as out:
            run_tool("dpkg-deb", "--fsys-tarfile", str(deb), out=out.fileno())
        control = dict(message_from_string(run_tool("dpkg-deb", "--field", str(deb))).items())
        deb_sha256 = digest_of(deb)
    partial.replace(image)
    licences = _licences(image, build.package)
    sha256 = digest_of(image)
    _write_json(sbom, bill.of_package(control, sha256, deb_sha256, licences))
    several = " and others" if len(licences) > 1 else ""
    return Firmware(
        path=image,
        version=version,
        source_package=str(build),
        length=image.stat().st_size,
        sha256=sha256,
        licence=f"{licences[0]}{several}: see usr/share/doc/{build.package}/copyright in the image",
        sbom=sbom,
    )


def _licences(image: Path, package: str) -> list[str]:
    """Return the licence names of the package's copyright file, the main one first."""
    with tarfile.open(image) as tar:
        member = tar.extractfile(f"./usr/share/doc/{package}/copyright")
        text = member.read().decode() if member else ""
    found = re.findall(r"^License: *(\S.*)$", text, re.MULTILINE)
    return list(dict.fromkeys(found)) or ["not stated"]


# --- small tools -----------------------------------------------------------------------------


def _normal(version: str) -> str:
    """Put a Debian version into the alphabet of ``names.Version``; its epoch is left out."""
    plain = re.sub(r"[^0-9a-z._-]+", "-", version.lower().rpartition(":")[2])
    plain = re.sub(r"\.{2,}", ".", plain)[:63]
    if not re.match(VERSION_PATTERN, plain):
        raise NotFoundError(f"The version {version!r} cannot be written as a release's. {INSTEAD}")
    return plain


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, value: object) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=2) + "\n")
    partial.replace(path)


def run_tool(*words: str, cwd: Path | None = None, out: int = subprocess.PIPE) -> str:
    """What a command of the machine's says.

    Raises:
        NotFoundError: there is no such command.
        TransientError: it failed.
    """
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{words[0]} is not on this machine, which is no Debian. {INSTEAD}"
        ) from error
    except subprocess.CalledProcessError as error:
        said = " ".join(str(error.stderr).split())[-TAIL_OF_ERROR:]
        raise TransientError(
            f"{words[0]} failed: {said or f'exit {error.returncode}'}. When it is mended, run this "
            f"again. {INSTEAD}"
        ) from error
    return str(done.stdout or "")


def main() -> int:
    """Obtain Debian's pair, or that of OLD and NEW, and print it as one JSON object."""
    given = {name: Path(value) for name in ("OLD", "NEW") if (value := os.environ.get(name))}
    try:
        old, new = obtain(Path("build"), given.get("OLD"), given.get("NEW"))
    except InterlockError as error:
        print(f"firmware: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(json.dumps({"old": asdict(old), "new": asdict(new)}, indent=2, default=str))
    return 0


if __name__ == "__main__":
    sys.exit(main())
