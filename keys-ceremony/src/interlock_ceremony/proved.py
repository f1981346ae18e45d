"""What an audit proved about a ceremony (pure types); with ``--json``, printed as it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ProvedKey:
    """A key whose fingerprint was computed and whose possession was proved.

    Attributes:
        name: of the key.
        holder: whose it is, or None for an online key.
        scheme: its kind.
        fingerprint: SHA-256 of its public key bytes.
    """

    name: str
    holder: str | None
    scheme: str
    fingerprint: str


@dataclass(frozen=True)
class ProvedFile:
    """A metadata file that is exactly what script and keys give.

    Attributes:
        file: where it stands.
        sha256: of the file.
        signatures: how many of its role's keys signed it.
        threshold: how many must.
        expires: when clients stop believing it.
    """

    file: str
    sha256: str
    signatures: int
    threshold: int
    expires: datetime


@dataclass(frozen=True)
class Proved:
    """What was proved about a ceremony.

    Attributes:
        fleet: the fleet id.
        held: when it began.
        entries: how many the transcript has.
        head: digest of the last of them.
        script_sha256: of the script that was followed.
        persons: full names of those who were there, by short name.
        keys: every key, made or imported.
        files: every metadata file.
    """

    fleet: str
    held: datetime
    entries: int
    head: str
    script_sha256: str
    persons: dict[str, str]
    keys: tuple[ProvedKey, ...]
    files: tuple[ProvedFile, ...]
