"""Ask to belong to the fleet (I/O).

Rules:

1. A claim only allows asking. Its secret is sent, is kept nowhere, and appears in no message.
2. What is sent is made durable first and is the same at every attempt (``identity``, rule 3): an
   answer that was lost is asked for again, and costs no second claim. What no server took is made
   again if it is dated ahead of the clock, which was wrong then, or is damaged.
3. Nothing of this decides what is installed: a gateway that is not enrolled updates all the same,
   but makes no reports, and no assignment can move it.
4. A renewal takes over only once a server took it; until then the enrolment before is in force.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import UNSET

from interlock_client import identity
from interlock_client.api import call
from interlock_client.context import Context
from interlock_client.identity import Home, Identity
from interlock_client.outcome import Outcome
from interlock_core.api import Enrolled, EnrolmentRequest
from interlock_core.errors import (
    ConfigurationError,
    Exit,
    NotFoundError,
    RefusedError,
    SecretError,
    TransientError,
)
from interlock_core.keybytes import PublicKey
from interlock_core.report import Enrolment, Secret
from interlock_core.statement import Envelope, open_as, sign
from interlock_core.wire import decode, encode

ENROLLED: Final = "enrolled"

_MEANS: Final = {
    "waiting": "it waits for an operator, or an engineer of the site, to countersign it",
    "countersigned": "it is countersigned, and its reports count",
    "superseded": "another enrolment of this device was countersigned later: its reports do not "
    "count. Renew it with 'interlock-client enrol --renew' and a new claim",
    "quarantined": "its reports were forked, and nothing that it says is counted: renew it with "
    "'interlock-client enrol --renew' and a new claim",
    "revoked": "its key was revoked, and nothing that it signs is taken. It updates all the same. "
    "If this is the device, renew it with 'interlock-client enrol --renew' and a new claim",
    "decommissioned": "it was taken out of service, and nothing that it says is taken. It updates "
    "all the same. To put it into service again, 'interlock-client enrol --renew' with a new claim",
}


def enrol(
    context: Context, claim: Callable[[], str] | None = None, *, renew: bool = False
) -> Outcome:
    """Enrol, or say where the enrolment stands.

    Args:
        context: the gateway.
        claim: reads the claim's secret.
        renew: make a new key and a new enrolment, although there is one.

    Raises:
        ConfigurationError: ``no_site``, ``no_claim``, ``open_secret``.
        SecretError: ``bad_claim``.
        RefusedError: as the server names it; ``damaged_state``.
        TransientError: ``network``, or the disk.
    """
    with context.state.lock():
        if not renew:
            known = identity.load_in_force(context.state)
            home = identity.in_force(context.state)
            if known is not None and home is not None:
                return _standing(context, home, known)
        return _ask(context, claim)


def _ask(context: Context, claim: Callable[[], str] | None) -> Outcome:
    site = context.settings.site
    if site is None:
        raise ConfigurationError(
            "An enrolment names the hospital: set `site` in the configuration.", reason="no_site"
        )
    secret = _checked(claim()) if claim is not None else None
    home = identity.unfinished(context.state)
    asked, sound = asked_before(home) if home is not None else (None, True)
    if asked is not None and asked.replaces is not None:
        # A rotation that waits: whoever has a claim begins anew beside it.
        asked, sound = None, False
    fits = asked is not None and _fits(context, asked, site)
    if home is not None and asked is not None:
        taken = _taken(context, home, asked, fits=fits, secret=secret)
        if taken is not None:
            return taken
    if secret is None:
        raise ConfigurationError(
            "A claim is needed to enrol: pass --claim-file or --claim-stdin. An operator, or an "
            "engineer of the site, makes one.",
            reason="no_claim",
        )
    home = identity.begin(context.state, afresh=not sound)
    if asked is None or not fits:
        asked = _sign(context, home, site)
    answered = call(
        context.servers,
        "POST",
        "/v1/enrolments",
        Enrolled,
        encode(EnrolmentRequest(claim=secret, enrolment=envelope_of(asked))),
    )
    return _take(context, home, asked, answered.said)


def _checked(secret: str) -> str:
    try:
        return msgspec.convert(secret, Secret)
    except msgspec.ValidationError as e:
        raise SecretError(
            "What was passed is no claim: 32 to 128 letters, digits, '-' and '_', in one line.",
            reason="bad_claim",
        ) from e


def asked_before(home: Home) -> tuple[Identity | None, bool]:
    """What was signed and not taken, and whether it and its key are sound.

    Raises:
        TransientError: it cannot be read.
    """
    asked = None
    try:
        if home.key.exists():
            identity.signer(home)
        with suppress(NotFoundError):
            asked = identity.load(home)
    except RefusedError:
        return None, False
    return asked, True


def _fits(context: Context, asked: Identity, site: str) -> bool:
    settings, memory = context.settings, context.memory()
    if asked.at > context.times.decision_time(memory.clock_floor, memory.last):
        return False
    mine = (settings.fleet, settings.device, settings.product, settings.hardware, settings.cohort)
    of = (asked.fleet, asked.device, asked.product, asked.hardware, asked.cohort)
    return (*of, asked.site) == (*mine, site)


def _taken(
    context: Context, home: Home, asked: Identity, *, fits: bool, secret: str | None
) -> Outcome | None:
    """The outcome if a server took what was asked before; None if it has to be asked (again)."""
    if fits and secret is not None:
        # The same bytes again are as good as a question.
        return None
    try:
        found = look(context, asked)
    except NotFoundError:
        return None
    return _take(context, home, asked, found)


def _sign(context: Context, home: Home, site: str) -> Identity:
    settings, memory = context.settings, context.memory()
    signer = identity.signer(home)
    said = Enrolment(
        fleet=settings.fleet,
        author=settings.device,
        at=context.times.decision_time(memory.clock_floor, memory.last),
        reason="enrolment",
        device=settings.device,
        key=PublicKey.of(signer.public_key),
        hardware=settings.hardware,
        product=settings.product,
        site=site,
        cohort=settings.cohort,
    )
    return save_asked(home, sign(said, signer))


def save_asked(home: Home, envelope: Envelope) -> Identity:
    """Make durable what was signed and will be sent (rule 2).

    Raises:
        TransientError: the disk did not do it.
    """
    opened = open_as(envelope, Enrolment)
    said = opened.said
    asked = Identity(
        enrolment=opened.id,
        envelope=encode(envelope).decode(),
        fleet=said.fleet,
        device=said.device,
        product=said.product,
        hardware=said.hardware,
        site=said.site,
        cohort=said.cohort,
        at=said.at,
        replaces=None if said.replaces is UNSET else said.replaces,
    )
    identity.save(home, asked)
    return asked


def envelope_of(asked: Identity) -> Envelope:
    """What was signed, as it is sent."""
    return decode(asked.envelope.encode(), Envelope, limit=2**20, what="enrolment")


def _take(context: Context, home: Home, asked: Identity, found: Enrolled) -> Outcome:
    """A server took it: from now on it is in force (rule 4)."""
    outcome = _known(home, asked, found)
    identity.take_over(context.state, home)
    return outcome


def _standing(context: Context, home: Home, known: Identity) -> Outcome:
    try:
        found = look(context, known)
    except NotFoundError as e:
        raise RefusedError(
            f"The server does not know this gateway's enrolment {known.enrolment[:12]}… (restored "
            "from an old backup?): enrol anew with 'interlock-client enrol --renew' and a new "
            "claim.",
            reason="unknown_enrolment",
        ) from e
    return _known(home, known, found)


def look(context: Context, asked: Identity) -> Enrolled:
    """Where an enrolment stands, by a server.

    Raises:
        NotFoundError: it knows none of that id.
        TransientError: ``network``.
    """
    return call(context.servers, "GET", f"/v1/enrolments/{asked.enrolment}", Enrolled).said


def known_state(home: Home, asked: Identity, found: Enrolled) -> None:
    """Keep what the server says of an enrolment.

    Raises:
        TransientError: ``wrong_answer``: it speaks of another one; or the disk.
    """
    if found.id != asked.enrolment:
        raise TransientError(
            f"A server answered about another enrolment, {found.id[:12]}…: nothing was changed.",
            reason="wrong_answer",
        )
    if asked.state != found.state:
        identity.save(home, msgspec.structs.replace(asked, state=found.state))


def _known(home: Home, asked: Identity, found: Enrolled) -> Outcome:
    """Keep what the server says of an enrolment, and say it."""
    known_state(home, asked, found)
    detail = f"{asked.device} is enrolled at {asked.site}: {_MEANS[found.state]}."
    more = {
        "enrolment": asked.enrolment,
        "state": found.state,
        "device": asked.device,
        "site": asked.site,
        "cohort": asked.cohort,
    }
    return Outcome(ENROLLED, found.state, detail, Exit.DONE, more)
