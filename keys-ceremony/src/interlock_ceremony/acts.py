"""What can happen in a ceremony, each act with what a witness would write down (pure).

Rules:

1. An act holds no secret: names, times, public keys and their digests, proofs, and the script.
2. Each act is made in one place from plan and public keys: by the ceremony as it happens, and by
   an audit anew, which compares.
3. ``resumed``, ``deviated``, ``preflighted`` and ``token_checked`` are asides: they have no place
   of their own in a plan. They may stand anywhere after the first entry, and an audit looks at what
   they say.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta
from securesystemslib.signer import Key

from interlock_ceremony.fingerprint import fingerprint
from interlock_ceremony.forms import Repository, Role
from interlock_ceremony.plan import Attendance, Part, Plan, Signing
from interlock_ceremony.script import MAX_SCRIPT
from interlock_ceremony.standing import Duty, Why
from interlock_ceremony.steps import Kind, Step
from interlock_core import keys as core_keys
from interlock_core import wire
from interlock_core.genesis import FleetFile
from interlock_core.keybytes import PublicKey
from interlock_core.names import Digest, Name
from interlock_core.wire import Record

Line = Annotated[str, Meta(min_length=1, max_length=1024)]
Hex = Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{2}){1,8192}\Z")]
File = Annotated[str, Meta(pattern=r"^(image|director)/[1-9][0-9]{0,9}\.(root|targets)\.json\Z")]


class Act(Record, frozen=True, kw_only=True, tag_field="act"):
    """Something that was done."""


class Began(Act, frozen=True, kw_only=True, tag="began"):
    """The reviewed script was opened.

    Attributes:
        fleet: the fleet id.
        number: of the ceremony; the genesis is 1.
        previous: digest of the last entry of the transcript before, or None.
        script: the script's text, whole.
        script_sha256: of its bytes; what reviewers wrote down.
        software: name and version of what ran it.
        rehearsal: whether all keys were thrown away afterwards.
    """

    fleet: Name
    number: Annotated[int, Meta(ge=1)]
    previous: Digest | None
    script: Annotated[str, Meta(max_length=MAX_SCRIPT)]
    script_sha256: Digest
    software: Line
    rehearsal: bool


class Present(Act, frozen=True, kw_only=True, tag="present"):
    """A person took part: as ``administrator``, ``holder``, ``witness`` or several of them."""

    person: Name
    name: Line
    parts: tuple[Part, ...]


class TargetsTaken(Act, frozen=True, kw_only=True, tag="targets_taken"):
    """The top-level targets in force were taken over; ``sha256`` is the file's."""

    version: Annotated[int, Meta(ge=1)]
    sha256: Digest


class KeyOpened(Act, frozen=True, kw_only=True, tag="key_opened"):
    """A holder's older key was brought and opened."""

    key: Name
    holder: Name
    fingerprint: Digest


class KeyMade(Act, frozen=True, kw_only=True, tag="key_made"):
    """A holder's key was made in the ceremony, in a file or inside a PKCS#11 token."""

    key: Name
    holder: Name
    repository: Repository
    role: Role
    scheme: Line
    in_token: bool
    keyid: Digest
    fingerprint: Digest


class KeyAttends(Act, frozen=True, kw_only=True, tag="key_attends"):
    """Somebody who signs no metadata signs the transcript with this key, made here or brought."""

    key: Name
    person: Name
    public: PublicKey
    fingerprint: Digest
    made: bool


class KeyImported(Act, frozen=True, kw_only=True, tag="key_imported"):
    """An online key's public half was imported; its private half never came near."""

    key: Name
    scheme: Line
    keyid: Digest
    fingerprint: Digest


class KeyRetired(Act, frozen=True, kw_only=True, tag="key_retired"):
    """A key left, for ever."""

    key: Name
    fingerprint: Digest
    why: Why


class PossessionProven(Act, frozen=True, kw_only=True, tag="possession_proven"):
    """A key signed its own name and content (``docs/wire-format.md``, section 9)."""

    key: Name
    fingerprint: Digest
    proof: Hex


class MetadataSigned(Act, frozen=True, kw_only=True, tag="metadata_signed"):
    """A metadata file was signed by the named keys; ``sha256`` is the file's."""

    file: File
    sha256: Digest
    signers: tuple[Name, ...]


class FleetNamed(Act, frozen=True, kw_only=True, tag="fleet_named"):
    """``fleet.json`` was written; ``sha256`` is the file's."""

    fleet: Name
    image_root: Digest
    director_root: Digest
    sha256: Digest


class Confirmed(Act, frozen=True, kw_only=True, tag="confirmed"):
    """A step is over.

    Attributes:
        step: its number.
        kind: something that people did, checked or signed.
        what: which step (``steps``).
        by: who confirmed it, or None if the ceremony ran with nobody to ask.
    """

    step: int
    kind: Kind
    what: Line
    by: Name | None


class Resumed(Act, frozen=True, kw_only=True, tag="resumed"):
    """The ceremony had been cut off, and went on from here."""


class Deviated(Act, frozen=True, kw_only=True, tag="deviated"):
    """Something was not as the script has it; ``says`` is a person's word for it."""

    by: Name
    says: Line


class Preflighted(Act, frozen=True, kw_only=True, tag="preflighted"):
    """It was looked up which gateways could not read the next roots.

    Attributes:
        schemes: the kinds of keys that are new in them.
        listed_at: when the list of gateways was made.
        gateways: how many it names.
        stranded: how many could not read them; people went on in spite of that.
    """

    schemes: tuple[Line, ...]
    listed_at: datetime
    gateways: Annotated[int, Meta(ge=0)]
    stranded: Annotated[int, Meta(ge=0)]


class TokenChecked(Act, frozen=True, kw_only=True, tag="token_checked"):
    """A token was seen to hold no such key, and was then asked to make it; ``token`` is its URI."""

    key: Name
    token: Line


class Abandoned(Act, frozen=True, kw_only=True, tag="abandoned"):
    """The ceremony was given up, and must never be finished (``abandonment``).

    Attributes:
        by: who said so.
        says: why.
        absent: whose keys took part, and who does not sign this.
    """

    by: Name
    says: Line
    absent: tuple[Name, ...]


AnyAside = Resumed | Deviated | Preflighted | TokenChecked
ASIDES: Final = (Resumed, Deviated, Preflighted, TokenChecked)
"""What has no place of its own in a plan (rule 3)."""

AnyAct = (
    Began
    | Present
    | TargetsTaken
    | KeyOpened
    | KeyMade
    | KeyAttends
    | KeyImported
    | KeyRetired
    | PossessionProven
    | MetadataSigned
    | FleetNamed
    | Confirmed
    | AnyAside
    | Abandoned
)


def began(plan: Plan, text: str, software: str, *, rehearsal: bool) -> Began:
    """The opening of a script with this text."""
    return Began(
        fleet=plan.script.fleet,
        number=plan.number,
        previous=plan.before.head if plan.before else None,
        script=text,
        script_sha256=wire.sha256_hex(text.encode()),
        software=software,
        rehearsal=rehearsal,
    )


def present(plan: Plan, person: str) -> Present:
    """The presence of a person whom the script names."""
    return Present(person=person, name=plan.script.persons[person], parts=plan.parts(person))


def targets_taken(version: int, data: bytes) -> TargetsTaken:
    """The taking over of top-level targets with these bytes."""
    return TargetsTaken(version=version, sha256=wire.sha256_hex(data))


def key_opened(duty: Duty, key: Key) -> KeyOpened:
    """The opening of a holder's older key."""
    return KeyOpened(key=duty.key, holder=duty.holder, fingerprint=fingerprint(key))


def key_made(duty: Duty, key: Key) -> KeyMade:
    """The making of a holder's key."""
    return KeyMade(
        key=duty.key,
        holder=duty.holder,
        repository=duty.repository,
        role=duty.role,
        scheme=key.scheme,
        in_token=duty.token is not None,
        keyid=key.keyid,
        fingerprint=fingerprint(key),
    )


def key_attends(one: Attendance, key: Key) -> KeyAttends:
    """The coming of a key that signs the transcript alone."""
    return KeyAttends(
        key=one.key,
        person=one.person,
        public=PublicKey.of(key),
        fingerprint=fingerprint(key),
        made=one.path is None,
    )


def key_imported(name: str, key: Key) -> KeyImported:
    """The import of an online key."""
    return KeyImported(key=name, scheme=key.scheme, keyid=key.keyid, fingerprint=fingerprint(key))


def key_retired(name: str, key: Key, why: Why) -> KeyRetired:
    """The leaving of a key."""
    return KeyRetired(key=name, fingerprint=fingerprint(key), why=why)


def possession_proven(name: str, key: Key, proof: str) -> PossessionProven:
    """A key's proof of possession."""
    return PossessionProven(key=name, fingerprint=fingerprint(key), proof=proof)


def metadata_signed(signing: Signing, data: bytes) -> MetadataSigned:
    """The signing of a metadata file with these bytes."""
    return MetadataSigned(file=signing.file, sha256=wire.sha256_hex(data), signers=signing.signers)


def fleet_named(fleet: FleetFile, data: bytes) -> FleetNamed:
    """The writing of ``fleet.json`` with these bytes."""
    return FleetNamed(
        fleet=fleet.fleet,
        image_root=fleet.image_root,
        director_root=fleet.director_root,
        sha256=wire.sha256_hex(data),
    )


def confirmed(step: Step, by: str | None) -> Confirmed:
    """The end of a step."""
    return Confirmed(step=step.number, kind=step.kind, what=step.what, by=by)


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
