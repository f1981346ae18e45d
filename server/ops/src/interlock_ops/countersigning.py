"""Whether my countersignature would let a device in (pure).

Rules (numbers are those of ``docs/wire-format.md``, "Who is believed"):

1. What is countersigned is an enrolment that the device's own key signed for this fleet. One that
   does not verify, or that another took the place of, is never signed.
2. An operator over its cohort countersigns, or an engineer of its site over that cohort (21).
3. By which claim a device asked is shown, where the server shows a claim that verifies. A claim
   only let it ask, so a missing one is said and keeps nobody from signing.
4. What asks as a rotation (26) asked with a key, and by no claim, whatever claim the device used
   before. It is signed for only if that key is the one in force, and signed it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec import UNSET

from interlock_core.api import OpenClaim
from interlock_core.ending import ENDED
from interlock_core.errors import Exit, WireError
from interlock_core.fleet import claim_refuses, rotates
from interlock_core.report import Claim, Enrolment
from interlock_core.roster import Judge
from interlock_core.statement import Opened, open_as
from interlock_core.wire import format_time
from interlock_ops.claiming import signed_by_entitled
from interlock_ops.device_view import DeviceView
from interlock_ops.objection import Objection

MIN_FINGERPRINT = 20
"""The fewest digits of a fingerprint that tell one key from another: what people read aloud."""


@dataclass(frozen=True)
class Asked:
    """By which claim an enrolment was asked for; ``doubt`` is what does not fit."""

    claim: Opened[Claim] | None
    doubt: str | None


def object_to_countersignature(
    judge: Judge, view: DeviceView, me: str, role: str, fingerprints: Sequence[str] = ()
) -> Objection | None:
    """Why ``me`` should not countersign the enrolment; None if it would count.

    Args:
        fingerprints: beginnings of the keys that are expected; any, if there are none.
    """
    if view.state == "forged" or view.enrolment is None:
        fault = view.faults[0]
        return Objection(fault.reason, f"{view.device}: {fault.detail}: do not sign for it.")
    said = view.enrolment.said
    if view.state == "superseded":
        return Objection(
            "superseded",
            f"{said.device}: by the server's account a later enrolment took the place of "
            f"{view.enrolment.id}, and your signature would put it back: do not sign for it.",
        )
    if view.state in ENDED:
        return Objection(
            view.state,
            f"{said.device}: the enrolment {view.enrolment.id} is over for good: it asks again, "
            "with another key.",
        )
    if fingerprints and not any(said.key.keyid.startswith(one) for one in fingerprints):
        return Objection(
            "wrong_key",
            f"{said.device}: its key is {said.key.keyid}, and none that you named: find out whose "
            "it is, and do not sign for it.",
        )
    if view.countersigned is not None:
        by = view.countersigned
        return Objection(
            "already_countersigned",
            f"{said.device}: {by.by} countersigned it as {by.role} at {format_time(by.at)}.",
            Exit.DONE,
        )
    if judge.rules_for(said.cohort) is None:
        return Objection(
            "cohort_denied",
            f"{said.device}: roster {judge.roster.seq} has no pattern for the cohort "
            f"{said.cohort}, which is denied everything.",
        )
    if not judge.holds(me, role, said.cohort, said.site):
        return Objection(
            "role_not_held",
            f"{said.device}: {me} does not hold the role {role} over the cohort {said.cohort} at "
            f"the site {said.site}: by the roster {judge.roster.seq} this would count for nothing.",
        )
    return None


def object_to_rotation(asks: Opened[Enrolment], shown: DeviceView | None) -> Objection | None:
    """Why an enrolment that asks as a rotation should not be countersigned (rule 4), or None.

    Args:
        asks: any enrolment that waits.
        shown: what stands in force there now, as the server shows it; None if it shows nothing.
    """
    said = asks.said
    before = shown.enrolment if shown is not None else None
    if said.replaces is UNSET or shown is None or before is None or before.id == asks.id:
        return None
    if shown.state in {*ENDED, "quarantined"}:
        return Objection(
            shown.state,
            f"{said.device}: it asked with the key of the enrolment {before.id}, which is "
            f"{shown.state}: have it ask anew, with a claim.",
        )
    why = rotates(asks, before)
    if why is None:
        return None
    return Objection(
        "bad_rotation", f"{said.device}: this is no rotation: {why}. Do not sign for it."
    )


def claim_of(judge: Judge, enrolment: Opened[Enrolment], shown: Iterable[OpenClaim]) -> Asked:
    """The claim that an enrolment used, among those that the server shows (rule 3)."""
    if enrolment.said.replaces is not UNSET:
        return Asked(None, "it asks with the key in force, and by no claim")
    doubt = "the server shows no claim that it used"
    for told in shown:
        if told.used_by != enrolment.said.device:
            continue
        try:
            claim = open_as(told.claim, Claim)
        except WireError:
            continue
        differs = claim_refuses(claim.said, enrolment.said)
        if not signed_by_entitled(judge, claim):
            doubt = f"nobody entitled by the present roster signed its claim {claim.id}"
        elif differs is not None:
            doubt = f"its claim {claim.id} is not for it: {differs}"
        else:
            return Asked(claim, None)
    return Asked(None, doubt)
