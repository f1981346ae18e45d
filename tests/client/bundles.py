"""RAUC bundles for tests, made by RAUC itself, and the certificates that sign them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from interlock_core.release import Slot
from interlock_core.wire import sha256_hex

COMPATIBLE = "ward-gateway"

RUNS: Final = (
    os.geteuid() == 0
    and Path("/dev/loop-control").exists()
    and all(shutil.which(name) for name in ("rauc", "mksquashfs", "dbus-run-session"))
)
WHY: Final = "RAUC mounts its bundles: that takes root, a loop device, rauc and squashfs-tools"

needs_rauc = pytest.mark.skipif(not RUNS, reason=WHY)


@dataclass(frozen=True)
class Signer:
    """A certificate that vouches for itself, and its key: PEM files.

    RAUC's keyring is the certificates of those who may sign, or of those who certify them.
    """

    certificate: Path
    key: Path


def signer(directory: Path, name: str) -> Signer:
    """Somebody who signs bundles."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Signer(directory / f"{name}.pem", directory / f"{name}.key")
    made.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    made.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


def bundle(
    directory: Path,
    by: Signer,
    images: Mapping[str, bytes],
    compatible: str = COMPATIBLE,
    hook: str | None = None,
) -> bytes:
    """A plain bundle that fills the slots named with the images given.

    Args:
        directory: where it is made.
        by: who signs it.
        images: by the names of slots.
        compatible: for what machine it is.
        hook: a script that RAUC asks before it installs; 10 is a no.
    """
    content, path = directory / "content", directory / "made.raucb"
    shutil.rmtree(content, ignore_errors=True)
    path.unlink(missing_ok=True)
    content.mkdir()
    manifest = [f"[update]\ncompatible={compatible}\nversion=1"]
    if hook is not None:
        (content / "hook").write_text(f"#!/bin/sh\n{hook}\n")
        (content / "hook").chmod(0o755)
        manifest.append("[hooks]\nfilename=hook\nhooks=install-check")
    for name, image in images.items():
        (content / f"{name}.img").write_bytes(image)
        manifest.append(f"[image.{name}]\nfilename={name}.img")
    (content / "manifest.raucm").write_text("\n".join(manifest) + "\n")
    subprocess.run(
        ["rauc", f"--cert={by.certificate}", f"--key={by.key}", "bundle", content, path],
        check=True,
        capture_output=True,
    )
    return path.read_bytes()


def slots(images: Mapping[str, bytes]) -> tuple[Slot, ...]:
    """What is signed of the slots that a bundle fills."""
    return tuple(
        Slot(name=name, length=len(image), sha256=sha256_hex(image))
        for name, image in images.items()
    )
