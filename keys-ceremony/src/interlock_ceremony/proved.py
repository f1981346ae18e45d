"""What an audit proved about a ceremony (pure types); with ``--json``, printed as it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from interlock_ceremony.standing import Standing


@dataclass(frozen=True)
class ProvedKey:
    """A key whose fingerprint was computed and whose possession was proved.

    Attributes:
        name: of the key.
        holder: whose it is, or None for an online key.
        scheme: its kind.
        fingerprint: SHA-256 of its public key bytes.
        came: ``made``, ``imported``, ``opened`` (it is older) or ``attends`` (it signed the
            transcript alone, and stands in no root).
    """

    name: str
    holder: str | None
    scheme: str
    fingerprint: str
    came: str


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
class Aside:
    """Something that no script foresaw.

    Attributes:
        entry: its number in the transcript.
        at: when.
        by: who said it, or None if nobody did.
        says: in whose words; empty for an interruption.
    """

    entry: int
    at: datetime
    by: str | None
    says: str


@dataclass(frozen=True)
class Proved:
    """What was proved about a ceremony.

    Attributes:
        fleet: the fleet id.
        number: of the ceremony; the genesis is 1.
        held: when it began.
        ended: when its last entry was made.
        entries: how many the transcript has.
        head: digest of the last of them.
        script_sha256: of the script that was followed.
        persons: full names of those who were there, by short name.
        keys: every key that came or took part.
        retired: why each key left that did, by name.
        files: every metadata file that was signed.
        asides: interruptions and deviations.
        unconfirmed: how many steps nobody confirmed.
        switch_without_gap: whether new targets carry the signatures of the old holders' quorum
            too; True where there are none.
    """

    fleet: str
    number: int
    held: datetime
    ended: datetime
    entries: int
    head: str
    script_sha256: str
    persons: dict[str, str]
    keys: tuple[ProvedKey, ...]
    retired: dict[str, str]
    files: tuple[ProvedFile, ...]
    asides: tuple[Aside, ...]
    unconfirmed: int
    switch_without_gap: bool


@dataclass(frozen=True)
class Audited:
    """A chain of ceremonies that was proved.

    Attributes:
        proved: the newest.
        earlier: those before it, from the genesis on.
        standing: what it left in force.
    """

    proved: Proved
    earlier: tuple[Proved, ...]
    standing: Standing
