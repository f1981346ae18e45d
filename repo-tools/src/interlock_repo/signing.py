"""One person signs one event (pure but for the signer, which may be a token).

Rules:

1. Only a key that the delegator names may sign, and each once. Who may is said before a
   passphrase is asked for.
2. What is signed is the metadata's canonical signed bytes; then, by the same key, the record of
   who said what. Both are verified before anything is written: a token can be broken.
3. Every signature counts towards the threshold, whatever its meaning: TUF knows no other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec.structs import replace
from securesystemslib.signer import Signer

from interlock_core import wire
from interlock_core.errors import ConflictError, RefusedError
from interlock_core.keys import NamedKey
from interlock_repo.event import Event
from interlock_repo.review import tally_of
from interlock_repo.signatures import SignatureFile, record_bytes, verify
from interlock_repo.trust import Holder

Meaning = Literal["approved", "reviewed", "authored"]


def holder_for(event: Event, named: NamedKey, now: datetime) -> Holder:
    """The holder that this key belongs to, if it may sign the event now (rule 1).

    Raises:
        RefusedError: ``wrong_key``: the delegator does not name it; ``expired_metadata``.
        ConflictError: ``already_signed``.
    """
    signed = event.metadata.signed
    if signed.is_expired(now):
        raise RefusedError(
            f"{event.file.role} {signed.version} expired at {wire.format_time(signed.expires)}: "
            "stage it anew.",
            reason="expired_metadata",
        )
    tally = tally_of(event)
    holder = tally.role.holder_of(named.key)
    if holder is None:
        names = ", ".join(f"{h.title} ({h.key.keyid[:12]})" for h in tally.role.holders)
        raise RefusedError(
            f"{named.name}'s key {named.key.keyid[:12]} may not sign {event.file.role} "
            f"{signed.version}. Who may: {names}.",
            reason="wrong_key",
        )
    if holder not in tally.waiting:
        raise ConflictError(
            f"{holder.title} has signed this event already: others must. {tally.next_step()}",
            reason="already_signed",
        )
    return holder


def sign(
    event: Event,
    signer: Signer,
    holder: Holder,
    *,
    person: str,
    meaning: Meaning,
    reason: str,
    now: datetime,
) -> SignatureFile:
    """Sign ``event`` (rule 2); nothing is written.

    Args:
        event: as it was reviewed.
        signer: of the holder's key.
        holder: as ``holder_for`` gave it.
        person: who signs, for the record.
        meaning: what the person says that it means.
        reason: why, on one line.
        now: when.

    Raises:
        WireError: a reason that is not one line of 1 to 1,000 printable characters.
        RefusedError: ``bad_signature``: the signer made a signature that does not verify.
    """
    payload = event.metadata.signed_bytes
    fields = {
        "type": "urn:interlock:signature:v1",
        "role": event.file.role,
        "event_sha256": event.digest,
        "metadata_sha256": wire.sha256_hex(payload),
        "keyid": holder.key.keyid,
        "sig": signer.sign(payload).signature,
        "person": holder.name or person,
        "meaning": meaning,
        "at": wire.format_time(now),
        "reason": reason,
        "record_sig": "00",
    }
    stated = wire.convert(fields, SignatureFile, what="signature")
    file = replace(stated, record_sig=signer.sign(record_bytes(stated)).signature)
    role = tally_of(event).role
    verify(file, role, payload, what=f"The signature that {holder.title}'s key made")
    return file
