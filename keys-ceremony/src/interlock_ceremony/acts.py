"""What can happen in a ceremony, each act with what a witness would write down (pure).

Rules:

1. An act holds no secret: names, times, public keys' digests, proofs, and the script.
2. Each act is made in one place from script and public keys: by the ceremony as it happens, and
   by an audit anew, which compares.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from securesystemslib.signer import Key

from interlock_ceremony import metadata
from interlock_ceremony.fingerprint import fingerprint
from interlock_ceremony.quorum import Duty, Part, Repository, Role, parts
from interlock_ceremony.script import MAX_SCRIPT, Script
from interlock_core import keys as core_keys
from interlock_core import wire
from interlock_core.genesis import FleetFile
from interlock_core.keybytes import PublicKey
from interlock_core.names import Digest, Name
from interlock_core.wire import Record

Line = Annotated[str, Meta(min_length=1, max_length=1024)]
Hex = Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{2}){1,8192}\Z")]


class Act(Record, frozen=True, kw_only=True, tag_field="act"):
    """Something that was done."""


class Began(Act, frozen=True, kw_only=True, tag="began"):
    """The reviewed script was opened.

    Attributes:
        fleet: the fleet id.
        script: the script's text, whole.
        script_sha256: of its bytes; what reviewers wrote down.
        software: name and version of what ran it.
        rehearsal: whether all keys were thrown away afterwards.
    """

    fleet: Name
    script: Annotated[str, Meta(max_length=MAX_SCRIPT)]
    script_sha256: Digest
    software: Line
    rehearsal: bool


class Present(Act, frozen=True, kw_only=True, tag="present"):
    """A person took part: as ``administrator``, ``holder`` or both."""

    person: Name
    name: Line
    parts: tuple[Part, ...]


class KeyMade(Act, frozen=True, kw_only=True, tag="key_made"):
    """A holder's key was made in the ceremony."""

    key: Name
    holder: Name
    repository: Repository
    role: Role
    scheme: Line
    keyid: Digest
    fingerprint: Digest


class KeyImported(Act, frozen=True, kw_only=True, tag="key_imported"):
    """An online key's public half was imported; its private half never came near."""

    key: Name
    scheme: Line
    keyid: Digest
    fingerprint: Digest


class PossessionProven(Act, frozen=True, kw_only=True, tag="possession_proven"):
    """A key signed its own name and content (``docs/wire-format.md``, section 9)."""

    key: Name
    fingerprint: Digest
    proof: Hex


class MetadataSigned(Act, frozen=True, kw_only=True, tag="metadata_signed"):
    """A metadata file was signed by the named keys; ``sha256`` is the file's."""

    file: metadata.File
    sha256: Digest
    signers: tuple[Name, ...]


class FleetNamed(Act, frozen=True, kw_only=True, tag="fleet_named"):
    """``fleet.json`` was written; ``sha256`` is the file's."""

    fleet: Name
    image_root: Digest
    director_root: Digest
    sha256: Digest


AnyAct = Began | Present | KeyMade | KeyImported | PossessionProven | MetadataSigned | FleetNamed


def began(script: Script, text: str, software: str, *, rehearsal: bool) -> Began:
    """The opening of a script with this text."""
    return Began(
        fleet=script.fleet,
        script=text,
        script_sha256=wire.sha256_hex(text.encode()),
        software=software,
        rehearsal=rehearsal,
    )


def present(script: Script, person: str) -> Present:
    """The presence of a person whom the script names."""
    return Present(
        person=person,
        name=script.persons[person],
        parts=parts(script, person),
    )


def key_made(duty: Duty, key: Key) -> KeyMade:
    """The making of a holder's key."""
    return KeyMade(
        key=duty.key,
        holder=duty.holder,
        repository=duty.repository,
        role=duty.role,
        scheme=key.scheme,
        keyid=key.keyid,
        fingerprint=fingerprint(key),
    )


def key_imported(name: str, key: Key) -> KeyImported:
    """The import of an online key."""
    return KeyImported(key=name, scheme=key.scheme, keyid=key.keyid, fingerprint=fingerprint(key))


def possession_proven(name: str, key: Key, proof: str) -> PossessionProven:
    """A key's proof of possession."""
    return PossessionProven(key=name, fingerprint=fingerprint(key), proof=proof)


def metadata_signed(script: Script, file: metadata.File, data: bytes) -> MetadataSigned:
    """The signing of a metadata file with these bytes."""
    return MetadataSigned(
        file=file, sha256=wire.sha256_hex(data), signers=metadata.signers_of(script, file)
    )


def fleet_named(fleet: FleetFile, data: bytes) -> FleetNamed:
    """The writing of ``fleet.json`` with these bytes."""
    return FleetNamed(
        fleet=fleet.fleet,
        image_root=fleet.image_root,
        director_root=fleet.director_root,
        sha256=wire.sha256_hex(data),
    )


def public_key_file(proven: PossessionProven, key: Key) -> bytes:
    """The public key file that a proof came from, byte for byte."""
    return wire.encode(
        core_keys.PublicKeyFile(
            format="interlock public key v1",
            name=proven.key,
            key=PublicKey.of(key),
            proof=proven.proof,
        )
    )
