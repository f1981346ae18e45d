"""Real root file systems in three versions, from Debian packages and without root.

Rules:

1. A root is what ``dpkg-deb`` unpacks of some forty packages, about 300 MB: a C library, systemd,
   Python, Perl, Qt, OpenSSH, nginx, a kernel with its modules.
2. The second version differs from the first by one package with a fix (``libssl3``), the third
   from the second by its kernel: two builds of one series, as the demo chooses them.
3. Each is an ext4 image by ``mkfs.ext4 -d`` and a squashfs (zstd, 128 KiB), the same bytes each
   time from the same packages: times, UUID and the seed of hashes are fixed.
4. What was made is kept under ``build/delta/``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from infra.demo.firmware import Build, in_order, private_apt, run_tool, two_kernels
from interlock_core.errors import NotFoundError

PACKAGES: Final = (
    "apt", "bash", "busybox", "coreutils", "curl", "dpkg", "e2fsprogs", "fonts-dejavu-core",
    "iproute2", "libc6", "libcurl4", "libgnutls30", "libicu72", "libpython3.11-minimal",
    "libpython3.11-stdlib", "libqt5core5a", "libqt5gui5", "libqt5network5", "libqt5qml5",
    "libqt5quick5", "libqt5widgets5", "libsqlite3-0", "libstdc++6", "libsystemd0", "libudev1",
    "libx11-6", "locales", "nginx-common", "nginx-light", "openssh-client", "openssh-server",
    "openssl", "perl-base", "perl-modules-5.36", "python3.11-minimal", "sqlite3", "systemd",
    "tzdata", "udev", "util-linux",
)  # fmt: skip
FIXED: Final = "libssl3"
EPOCH: Final = "1700000000"
UUID: Final = "6a1a1c2e-1111-4222-8333-444455556666"
KINDS: Final = ("ext4", "squashfs")


@dataclass(frozen=True)
class Images:
    """Three versions, each as ext4 and as squashfs.

    Attributes:
        versions: by kind, in order.
        changes: what each version changed, by the name of the change.
    """

    versions: Mapping[str, tuple[Path, Path, Path]]
    changes: Mapping[str, str]


def obtain(build: Path) -> Images:
    """The images, made at the first call.

    Raises:
        NotFoundError, TransientError: a tool, or Debian's archive.
    """
    home = build / "delta"
    home.mkdir(parents=True, exist_ok=True)
    found = {kind: tuple(home / f"root-{number}.{kind}" for number in (1, 2, 3)) for kind in KINDS}
    note = home / "changes.txt"
    if not note.is_file():
        note.write_text("\n".join(_make(home, build)))
    fix, kernel = note.read_text().split("\n")
    versions = {kind: (one, two, three) for kind, (one, two, three) in found.items()}
    return Images(versions, {"package": fix, "kernel": kernel})


def _make(home: Path, build: Path) -> tuple[str, str]:
    apt = private_apt(build / "apt")
    run_tool("apt-get", *apt, "update")
    architecture = run_tool("dpkg", "--print-architecture").strip()
    kernels = two_kernels(apt, architecture)
    fixes = _two_versions(apt, FIXED)
    with TemporaryDirectory(dir=home) as scratch:
        place = Path(scratch)
        base = place / "base"
        _unpack(apt, place, base, *PACKAGES)
        for number, (fix, kernel) in enumerate(
            ((fixes[0], kernels[0]), (fixes[1], kernels[0]), (fixes[1], kernels[1])), start=1
        ):
            tree = place / "tree"
            shutil.copytree(base, tree, symlinks=True)
            _unpack(apt, place, tree, str(fix), str(kernel))
            _image(tree, home / f"root-{number}.ext4", home / f"root-{number}.squashfs")
            shutil.rmtree(tree)
    return (
        f"{FIXED} {fixes[0].version} to {fixes[1].version}",
        f"{kernels[0].package} to {kernels[1].package}, {kernels[1].version}",
    )


def _two_versions(apt: list[str], package: str) -> list[Build]:
    lines = run_tool("apt-cache", *apt, "madison", package).splitlines()
    found = {
        Build(package, version)
        for _, version, origin in ([part.strip() for part in line.split("|")] for line in lines)
        if origin.endswith("Packages")
    }
    if len(found) < 2:
        raise NotFoundError(f"Debian's archives hold one version of {package}: two are needed.")
    return in_order(found)[-2:]


def _unpack(apt: list[str], place: Path, tree: Path, *packages: str) -> None:
    debs = place / "debs"
    debs.mkdir()
    run_tool("apt-get", *apt, "download", *packages, cwd=debs)
    for deb in sorted(debs.glob("*.deb")):
        run_tool("dpkg-deb", "-x", str(deb), str(tree))
    shutil.rmtree(debs)


def _image(tree: Path, ext4: Path, squashfs: Path) -> None:
    """Rule 3."""
    run_tool("find", str(tree), "-exec", "touch", "-h", "-d", f"@{EPOCH}", "{}", "+")
    size = int(run_tool("du", "-sm", str(tree)).split()[0])
    partial = ext4.with_suffix(".partial")
    fixed = os.environ | {"SOURCE_DATE_EPOCH": EPOCH, "E2FSPROGS_FAKE_TIME": EPOCH}
    commands = (
        (
            *("mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-U", UUID, "-N", "65536"),
            *("-E", f"hash_seed={UUID},lazy_itable_init=0,nodiscard"),
            *("-O", "^has_journal,^resize_inode", "-d", str(tree), str(partial)),
            # Rounded, so that two versions of nearly one size are of one size.
            f"{(size // 64 + 3) * 64}M",
        ),
        (
            *("mksquashfs", str(tree), str(squashfs), "-noappend", "-comp", "zstd", "-b", "128K"),
            *("-all-root", "-no-progress", "-quiet"),
        ),
    )
    for command in commands:
        subprocess.run(command, check=True, env=fixed, stdout=subprocess.DEVNULL)
    partial.replace(ext4)
