"""Claims: who may make them, and what they say (pure).

Rules (letters are those of ``interlock_core.fleet``):

1. A claim is signed by an operator over its cohort, or by an engineer of its site over that cohort
   (a): one that would count for nothing is not signed.
2. A claim holds the digest of a secret, never the secret. It only lets a device ask.
3. What became of a claim is the server's word; whether it counts is computed from its signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from interlock_core.api import OpenClaim
from interlock_core.errors import WireError
from interlock_core.fleet import COUNTERSIGNERS
from interlock_core.report import Claim
from interlock_core.roster import Judge
from interlock_core.statement import Opened, open_as
from interlock_core.wire import sha256_hex
from interlock_ops.objection import Objection

ClaimState = Literal["open", "used", "expired", "void", "unreadable"]


@dataclass(frozen=True)
class Wish:
    """One device that shall be able to ask.

    Attributes:
        secret: what it shows; made by the caller, at random.
        device: which one; None for whichever comes first.
    """

    secret: str
    device: str | None


@dataclass(frozen=True)
class ClaimView:
    """A claim as the signatures read.

    Attributes:
        claim: None if it cannot be read.
        state: ``void`` is one that nobody entitled signed.
    """

    claim: Opened[Claim] | None
    state: ClaimState
    used_by: str | None


def object_to_claim(judge: Judge, me: str, cohort: str, site: str) -> Objection | None:
    """Why a claim by ``me`` would count for nothing (rule 1)."""
    if judge.rules_for(cohort) is None:
        return Objection(
            "cohort_denied",
            f"Roster {judge.roster.seq} has no pattern for the cohort {cohort}: a gateway in it "
            "is denied everything. Name another, or have the roster renewed with a rule for it.",
        )
    if not any(judge.holds(me, role, cohort, site) for role in COUNTERSIGNERS):
        return Objection(
            "role_not_held",
            f"{me} is neither an operator over the cohort {cohort} nor an engineer of the site "
            f"{site} over it: have one of them make the claim.",
        )
    return None


def make_claims(
    wishes: Sequence[Wish],
    *,
    fleet: str,
    author: str,
    at: datetime,
    reason: str,
    product: str,
    site: str,
    cohort: str,
    hardware: str | None,
    expires: datetime,
) -> list[Claim]:
    """A claim for each wish (rule 2)."""
    return [
        Claim(
            fleet=fleet,
            author=author,
            at=at,
            reason=reason,
            secret_sha256=sha256_hex(wish.secret.encode()),
            product=product,
            site=site,
            cohort=cohort,
            device=wish.device,
            hardware=hardware,
            expires=expires,
        )
        for wish in wishes
    ]


def read_claim(judge: Judge, told: OpenClaim) -> ClaimView:
    """How a claim that the server shows stands (rule 3)."""
    try:
        claim = open_as(told.claim, Claim)
    except WireError:
        return ClaimView(None, "unreadable", told.used_by)
    if not signed_by_entitled(judge, claim):
        return ClaimView(claim, "void", told.used_by)
    if told.used_by is not None:
        return ClaimView(claim, "used", told.used_by)
    state: ClaimState = "expired" if claim.said.expires <= judge.now else "open"
    return ClaimView(claim, state, None)


def signed_by_entitled(judge: Judge, claim: Opened[Claim]) -> bool:
    """Whether somebody signed the claim who may make it by the roster in force (rule 1)."""
    said = claim.said
    return judge.author_is(claim, COUNTERSIGNERS, said.cohort, said.site) is not None
