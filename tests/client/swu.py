""".swu files for tests, signed as integrators sign them, and the certificates that vouch for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from interlock_core.wire import sha256_hex

REVISION: Final = "1.0"
HARDWARE: Final = f"cg-200:{REVISION}"


def missing() -> str | None:
    """Why SWUpdate cannot run here, or None."""
    if os.geteuid() == 0 and shutil.which("swupdate") is not None:
        return None
    return "SWUpdate runs in namespaces of its own: that takes root, and swupdate"


needs_swupdate = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@dataclass(frozen=True)
class Vendor:
    """A certificate that vouches for itself, and its key: PEM files."""

    certificate: Path
    key: Path


def vendor(directory: Path, name: str) -> Vendor:
    """Somebody who signs .swu files."""
    made = Vendor(directory / f"{name}.swu.pem", directory / f"{name}.swu.key")
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-days", "30", "-subj", f"/CN={name}"]
    words += ["-addext", "extendedKeyUsage=emailProtection"]
    words += ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run(words, check=True, capture_output=True)
    return made


@dataclass(frozen=True)
class Part:
    """An image in a .swu, and where it goes.

    Attributes:
        data: the image.
        devices: by side, the path that it is written to.
        more: further words of its entry.
    """

    data: bytes
    devices: Mapping[str, Path]
    more: str = "installed-directly = true;"


def swu(
    directory: Path,
    by: Vendor,
    parts: Mapping[str, Part],
    *,
    revision: str = REVISION,
    software_set: str = "stable",
    extra: str = "",
    files: Mapping[str, bytes] | None = None,
) -> bytes:
    """A .swu that fills slots of either side.

    Args:
        directory: for what signing needs.
        by: who signs it.
        parts: by the name of the slot.
        revision: of the hardware that it is for.
        software_set: whose modes are the sides.
        extra: more sections of each side, as sw-description writes them.
        files: that these name.
    """
    sides = []
    for side in "ab":
        images = ", ".join(
            f'{{ filename = "{name}.img"; device = "{part.devices[side]}"; type = "raw"; '
            f'sha256 = "{sha256_hex(part.data)}"; {part.more} }}'
            for name, part in parts.items()
        )
        sides.append(f"{side}: {{ images: ( {images} ); {extra} }};")
    text = (
        f'software = {{ version = "1"; hardware-compatibility: [ "{revision}" ];\n'
        f"{software_set} = {{ {' '.join(sides)} }}; }};\n"
    )
    description = directory / "sw-description"
    description.write_text(text)
    words = ["openssl", "cms", "-sign", "-in", str(description), "-binary", "-nosmimecap"]
    words += ["-outform", "DER", "-signer", str(by.certificate), "-inkey", str(by.key)]
    signature = subprocess.run(words, check=True, capture_output=True).stdout
    content = {"sw-description": text.encode(), "sw-description.sig": signature}
    content |= {f"{name}.img": part.data for name, part in parts.items()}
    return archive(content | dict(files or {}))


def archive(content: Mapping[str, bytes]) -> bytes:
    """A cpio archive in the "crc" format, in which SWUpdate reads files in order."""
    made = bytearray()
    for number, (name, data) in enumerate([*content.items(), ("TRAILER!!!", b"")], start=1):
        ended = name.encode() + b"\0"
        fields = [number, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(ended)]
        head = b"070702" + b"".join(b"%08X" % field for field in [*fields, sum(data) & 0xFFFFFFFF])
        for piece in (head + ended, data):
            made += piece + b"\0" * (-len(piece) % 4)
    return bytes(made)
