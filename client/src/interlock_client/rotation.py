"""A new key for a gateway that is enrolled: the key in force asks for it (I/O).

Rules (26 is that of ``docs/wire-format.md``):

1. The key in force and the new one both sign the same enrolment, and nothing but the key is new.
   So no claim is needed. What is sent is durable first and is the same at every attempt.
2. Until somebody countersigned it the old key goes on reporting: a rotation takes over then, and no
   sooner, and is asked about before each sending of reports.
3. It stays in the cohort where it is, also if an assignment brought it there.
4. A key whose enrolment does not count asks for nothing: that takes a claim (``enrol --renew``).
"""

from __future__ import annotations

from typing import Final

import msgspec

from interlock_client import identity
from interlock_client.api import call
from interlock_client.context import Context
from interlock_client.enrol import asked_before, envelope_of, known_state, look, save_asked
from interlock_client.identity import Home, Identity
from interlock_client.outcome import Outcome
from interlock_core.api import Enrolled, EnrolmentRequest
from interlock_core.errors import ConfigurationError, Exit, NotFoundError
from interlock_core.keybytes import PublicKey
from interlock_core.report import Enrolment
from interlock_core.statement import Envelope, sign
from interlock_core.wire import encode

ROTATING: Final = "rotating"
ROTATED: Final = "rotated"


def rotate(context: Context) -> Outcome:
    """Ask for a new key, or say where that stands.

    Raises:
        ConfigurationError: ``not_enrolled``.
        RefusedError: as the server names it; ``damaged_state``.
        TransientError: ``network``, or the disk.
    """
    with context.state.lock():
        present = identity.load_in_force(context.state)
        before = identity.in_force(context.state)
        if present is None or before is None:
            raise ConfigurationError(
                "There is no key to rotate: this gateway is not enrolled. 'interlock-client enrol' "
                "with a claim.",
                reason="not_enrolled",
            )
        home, asked = _asked(context, before, present)
        body = encode(EnrolmentRequest(claim=None, enrolment=envelope_of(asked)))
        found = call(context.servers, "POST", "/v1/enrolments", Enrolled, body).said
        return _settled(context, home, asked, found)


def finish(context: Context) -> bool:
    """Take a rotation over that was countersigned meanwhile; whether there was one (rule 2).

    Args:
        context: the gateway, locked.

    Raises:
        RefusedError: ``damaged_state``.
        TransientError: ``network``, or the disk; nothing was changed.
    """
    home = identity.unfinished(context.state)
    if home is None:
        return False
    asked, _ = asked_before(home)
    present = identity.load_in_force(context.state)
    if asked is None or present is None or asked.replaces != present.enrolment:
        return False
    try:
        found = look(context, asked)
    except NotFoundError:
        return False
    return _settled(context, home, asked, found).outcome == ROTATED


def _asked(context: Context, before: Home, present: Identity) -> tuple[Home, Identity]:
    """What both keys signed: before, if it still fits, or now (rule 1)."""
    home = identity.unfinished(context.state)
    if home is not None:
        asked, _ = asked_before(home)
        memory = context.memory()
        now = context.times.decision_time(memory.clock_floor, memory.last)
        if asked is not None and asked.replaces == present.enrolment and asked.at <= now:
            return home, asked
    home = identity.begin(context.state, afresh=True)
    return home, _sign(context, home, before, present)


def _sign(context: Context, home: Home, before: Home, present: Identity) -> Identity:
    memory = context.memory()
    new, old = identity.signer(home), identity.signer(before)
    said = Enrolment(
        fleet=present.fleet,
        author=present.device,
        at=context.times.decision_time(memory.clock_floor, memory.last),
        reason="rotation",
        device=present.device,
        key=PublicKey.of(new.public_key),
        hardware=present.hardware,
        product=present.product,
        site=present.site,
        cohort=context.place(memory).cohort,
        replaces=present.enrolment,
    )
    first, second = sign(said, new), sign(said, old)
    envelope = Envelope(
        payload=first.payload,
        payload_type=first.payload_type,
        signatures=(*first.signatures, *second.signatures),
    )
    return save_asked(home, envelope)


def _settled(context: Context, home: Home, asked: Identity, found: Enrolled) -> Outcome:
    """Keep what a server said, and take over what counts (rules 2 and 3)."""
    known_state(home, asked, found)
    more = {"enrolment": asked.enrolment, "state": found.state, "replaces": asked.replaces}
    if found.state != "countersigned":
        detail = (
            f"{asked.device} has asked for a new key, which is {found.state}: the old one signs "
            "until an operator, or an engineer of the site, has countersigned."
        )
        return Outcome(ROTATING, found.state, detail, Exit.DONE, more)
    _carry(context, asked)
    identity.take_over(context.state, home)
    detail = f"{asked.device} signs with its new key from now on."
    return Outcome(ROTATED, found.state, detail, Exit.DONE, more)


def _carry(context: Context, asked: Identity) -> None:
    """Let the assignment that is obeyed count under the new enrolment too (rule 3).

    It is done before the switch, and is harmless without it.
    """
    memory = context.memory()
    place = context.place(memory)
    if place.assigned is None or place.enrolment is None:
        return
    carried = msgspec.structs.replace(
        place.assigned, enrolment=place.enrolment, seq=place.seq, carried_to=asked.enrolment
    )
    context.remember(msgspec.structs.replace(memory, assigned=carried))
