"""What the log holds: one entry for each fact that the server accepted or brought about (pure).

Rules:

1. An entry is canonical JSON, at most 1,024 bytes. It names a fact and shows nothing of it: ids and
   digests, no device, person or hospital. Whoever has the fact can say which entry is its own;
   the entries themselves may be read by everybody.
2. Entries are numbered from 0 without a gap, and the number stands inside. The first says which
   fleet's log it is and which roots its ceremony made.
3. The leaf of an entry is exactly its bytes (RFC 9162: SHA-256 of 0x00 and the bytes).
4. Entries are kept in bundles of 256, in C2SP's form: each with its length before it, two bytes,
   big-endian. Bundles that are full never change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta

from interlock_core.errors import WireError
from interlock_core.names import Digest
from interlock_core.wire import Record, decode_canonical, encode, sha256_hex

MAX_ENTRY: Final = 1024
BUNDLE: Final = 256
MAX_BUNDLE_BYTES: Final = BUNDLE * (2 + MAX_ENTRY)

CHECKPOINT_KEY: Final = "log/checkpoint"
"""Where the newest checkpoint lies in the Store: a head."""
TAIL_KEY: Final = "log/tail"
"""Where the entries after the last full bundle lie: a head, replaced before the checkpoint."""

ROLLOUT: Final = "rollout"
"""Before the state of a rollout, in the name of its transition."""

Kind = Literal["begun", "statement", "metadata", "state", "transition"]


class Fact(Record, frozen=True, kw_only=True):
    """What is recorded.

    Attributes:
        kind: ``begun``, once; ``statement``: something signed was accepted; ``metadata``: offline
            metadata was published; ``state``: the server changed where an enrolment stands;
            ``transition``: the server changed where a rollout stands.
        name: the fleet; the statement's type, such as ``order``; repository and role, such as
            ``image/root``; the state; ``rollout/`` and the state;
            ``action/`` and the state.
        id: the image root's digest; the statement's id; the metadata's digest; the enrolment's id;
            the order's id.
        sha256: of the bytes on file: the director root, the envelope, the metadata; of a state, the
            report that brought it about, or null; of a transition, what the server keeps of it; of
            an action, the id of the device's enrolment.
        version: of metadata; null otherwise.
    """

    kind: Kind
    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_/-]{0,126}\Z")]
    id: Digest
    sha256: Digest | None
    version: Annotated[int, Meta(ge=1)] | None = None


class Entry(Record, frozen=True, kw_only=True):
    """One entry: the fact, when the server recorded it, and its number (rules 1 and 2)."""

    number: Annotated[int, Meta(ge=0)]
    at: datetime
    fact: Fact

    def says(self) -> str:
        """The entry for people: ``entry 7 (order 3f2a…, statement)``."""
        fact = self.fact
        version = f" {fact.version}" if fact.version is not None else ""
        return f"entry {self.number} ({fact.kind} {fact.name}{version}, {fact.id[:12]})"


def statement_fact(predicate: str, id_: str, envelope: bytes) -> Fact:
    """A statement was accepted; ``envelope`` is what is on file of it."""
    name = predicate.removeprefix("urn:interlock:").removesuffix(":v1")
    return Fact(kind="statement", name=name, id=id_, sha256=sha256_hex(envelope))


def metadata_fact(repository: str, role: str, version: int, text: bytes) -> Fact:
    """Metadata that people signed offline was published."""
    digest = sha256_hex(text)
    return Fact(
        kind="metadata",
        name=f"{repository}/{role}",
        id=digest,
        sha256=digest,
        version=version,
    )


def state_fact(state: str, enrolment: str, evidence: bytes | None = None) -> Fact:
    """The server changed where an enrolment stands; ``evidence`` is the report that showed why."""
    digest = None if evidence is None else sha256_hex(evidence)
    return Fact(kind="state", name=state, id=enrolment, sha256=digest)


def transition_fact(state: str, order: str, kept: bytes) -> Fact:
    """The server changed where a rollout stands.

    Args:
        state: the one that it is in now.
        order: the order's id.
        kept: what is on file of this transition (from where, why, on what evidence), which differs
            from every other one; the log commits to it and shows nothing of it.
    """
    return Fact(
        kind="transition",
        name=f"{ROLLOUT}/{state}",
        id=order,
        sha256=sha256_hex(kept),
        version=None,
    )


def action_fact(state: str, order: str, enrolment: str) -> Fact:
    """The server changed where one device stands under an order, without its word.

    Args:
        state: ``timed_out`` or ``rejected``, when nothing was heard until the deadline.
        order: the order's id.
        enrolment: the id of the device's enrolment.
    """
    return Fact(kind="transition", name=f"action/{state}", id=order, sha256=enrolment, version=None)


def read_entry(data: bytes) -> Entry:
    """Read an entry.

    Raises:
        WireError: malformed, or not in its one form.
    """
    return decode_canonical(data, Entry, limit=MAX_ENTRY, what="log entry")


def write_entry(entry: Entry) -> bytes:
    """The bytes of an entry, which are its leaf (rule 3)."""
    return encode(entry)


def bundle_key(number: int) -> str:
    """Where a full bundle lies in the Store."""
    return f"log/entries/{number}"


def pack(entries: Iterable[bytes]) -> bytes:
    """Entries as one bundle (rule 4)."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def unpack(data: bytes) -> list[bytes]:
    """The entries of a bundle.

    Raises:
        WireError: ``bad_bundle``: it is cut, or holds more than 256, or one that is too long.
    """
    found: list[bytes] = []
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        entry = data[at + 2 : at + 2 + length]
        if len(found) == BUNDLE or not 0 < length <= MAX_ENTRY or len(entry) != length:
            raise WireError("This is no bundle of log entries.", reason="bad_bundle")
        found.append(entry)
        at += 2 + length
    return found


@dataclass(frozen=True)
class Place:
    """Where an entry lies: its bundle, and its place in it."""

    bundle: int
    within: int

    @classmethod
    def of(cls, number: int) -> Place:
        """Of an entry's number; of a size, where the next entry would lie."""
        return cls(*divmod(number, BUNDLE))
