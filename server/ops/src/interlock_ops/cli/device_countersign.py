"""``device countersign``: lets devices in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click
from msgspec import UNSET
from rich.console import RenderableType

from interlock_core.api import OpenClaim
from interlock_core.errors import ConfigurationError, Exit, InterlockError, NotFoundError
from interlock_core.fleet import COUNTERSIGNERS
from interlock_core.order import Authorisation, Meaning
from interlock_core.report import Enrolment
from interlock_core.statement import Opened
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import device_id, name
from interlock_ops.countersigning import (
    MIN_FINGERPRINT,
    Asked,
    claim_of,
    object_to_countersignature,
    object_to_rotation,
)
from interlock_ops.device_view import DeviceView
from interlock_ops.fleet_reads import claims, device, devices
from interlock_ops.objection import Objection
from interlock_ops.show import fact, heading, line
from interlock_ops.units import show_time

EXAMPLES: Final = (
    'interlock-ops device countersign GW-0001 --role engineer --reason "I stood before it"',
    "interlock-ops device countersign --waiting --site st-anna --role operator \\",
    '    --reason "labels compared with the delivery note"',
)
ANSWERS: Final = {
    "id, ids": "the authorisations' ids",
    "devices": "in the order of ids: device, enrolment (the id that was signed for), key "
    "(fingerprint), hardware, product, site, cohort, claim (id, or null), replaces (the id of the "
    "enrolment in force, or null)",
    "skipped": "of --waiting, what was not signed for: device, reason, detail",
}


def _fingerprint(text: str) -> str:
    found = text.replace(" ", "").lower()
    if re.match(rf"[0-9a-f]{{{MIN_FINGERPRINT},64}}\Z", found) is None:
        raise click.BadParameter(
            f"a fingerprint is {MIN_FINGERPRINT} to 64 digits 0-9 a-f, with or without spaces."
        )
    return found


@click.command("countersign", cls=Act, examples=EXAMPLES, answers=ANSWERS)
@click.argument("device_ids", metavar="[DEVICE]...", type=device_id, nargs=-1)
@click.option("--waiting", is_flag=True, help="All that wait, instead of those named.")
@click.option("--site", type=name, help="With --waiting: only at this site.")
@click.option("--cohort", type=name, help="With --waiting: only in this cohort.")
@click.option(
    "--role", required=True, type=click.Choice(COUNTERSIGNERS), help="The role that you act in."
)
@click.option(
    "--meaning",
    type=click.Choice(["approved", "consented"]),
    default="approved",
    show_default=True,
    help="What your signature means.",
)
@click.option(
    "--fingerprint",
    "fingerprints",
    multiple=True,
    type=_fingerprint,
    help="Sign only for this key; its first 20 digits are enough, repeatable.",
)
def device_countersign(
    run: Run,
    how: How,
    *,
    device_ids: tuple[str, ...],
    waiting: bool,
    site: str | None,
    cohort: str | None,
    role: str,
    meaning: Meaning,
    fingerprints: tuple[str, ...],
) -> Answer:
    """Countersign enrolments: from then on what these devices report is counted.

    Each enrolment is shown with the fingerprint of its key, and exactly the one that is shown is
    signed for. Compare the fingerprint with what the gateway itself shows, or pass it: a server
    that lies can put a key of its own beside a device's name.
    """
    if waiting == bool(device_ids):
        raise ConfigurationError("Name devices, or pass --waiting.", reason="usage")
    if not waiting and (site or cohort):
        raise ConfigurationError("--site and --cohort go with --waiting.", reason="usage")
    session = run.session
    me = session.me
    judge = session.judge
    chosen: list[Opened[Enrolment]] = []
    skipped: list[dict[str, Any]] = []
    for view in _views(run, device_ids, site, cohort):
        objection = object_to_countersignature(
            judge, view, me, role, fingerprints
        ) or _object_to_rotation(run, view)
        if objection is None:
            assert view.enrolment is not None  # or else it would be forged
            chosen.append(view.enrolment)
            continue
        if not waiting and (objection.exit is not Exit.DONE or len(device_ids) == 1):
            return settle(objection)
        if objection.exit is not Exit.DONE:
            run.voice.warn(objection.detail)
        skipped.append(
            {"device": view.device, "reason": objection.reason, "detail": objection.detail}
        )
    if not chosen:
        text = "Nothing waits that you could sign for."
        return Answer("none_waiting", [line(text)], {"skipped": skipped}, outcome="nothing_to_do")
    asked = _asked(run, chosen)
    replaced = [_replaced(run, enrolment) for enrolment in chosen]
    for enrolment, one, before in zip(chosen, asked, replaced, strict=True):
        if one.doubt is not None:
            run.voice.warn(f"{enrolment.said.device}: {one.doubt}.")
        if before is not None:
            run.voice.warn(
                f"{enrolment.said.device} is enrolled already, with the key "
                f"{before.said.key.keyid}: your signature puts this one in its place."
            )
    words = [
        Authorisation(
            fleet=session.roster.fleet,
            author=me,
            at=judge.now,
            reason=how.reason,
            authorises="enrolment",
            id=enrolment.id,
            role=role,
            meaning=meaning,
        )
        for enrolment in chosen
    ]
    account = [
        row
        for enrolment, one in zip(chosen, asked, strict=True)
        for row in _account(enrolment, one)
    ]
    account += [
        line(""),
        heading(f"Countersigned by {me}: {meaning} as {role}"),
        fact("reason", how.reason),
    ]
    return carry_out(
        run,
        words,
        how,
        account=account,
        done="countersigned",
        unsure="try again: what has arrived is not signed twice.",
        devices=[
            _facts(enrolment, one, before)
            for enrolment, one, before in zip(chosen, asked, replaced, strict=True)
        ],
        skipped=skipped,
    )


def _views(
    run: Run, device_ids: Sequence[str], site: str | None, cohort: str | None
) -> Iterator[DeviceView]:
    enrolled: dict[str, DeviceView] = {}
    for one in dict.fromkeys(device_ids):
        view = device(run.session, one)
        if view.countersigned is None:
            yield view
        else:
            enrolled[one] = view
    if device_ids and not enrolled:
        return
    # One that is enrolled already may have asked again: then that is what is meant.
    with run.voice.progress("devices read") as progress:
        for view in devices(
            run.session, state="waiting", site=site, cohort=cohort, progress=progress
        ):
            if device_ids:
                if enrolled.pop(view.device, None) is not None:
                    yield view
            elif view.enrolment is None or _is_at(view.enrolment.said, site, cohort):
                yield view
    yield from enrolled.values()


def _is_at(said: Enrolment, site: str | None, cohort: str | None) -> bool:
    """Whether it is of those that were meant, whatever the server lists among them."""
    return site in (None, said.site) and cohort in (None, said.cohort)


def _asked(run: Run, chosen: Sequence[Opened[Enrolment]]) -> list[Asked]:
    """By which claims they asked, in one reading of the claims."""
    names = {enrolment.said.device for enrolment in chosen}
    used: list[OpenClaim] = []
    try:
        used += [told for told in claims(run.session) if told.used_by in names]
    except InterlockError as e:
        run.voice.warn(f"The claims could not be read: {e}")
    judge = run.session.judge
    return [claim_of(judge, enrolment, used) for enrolment in chosen]


def _object_to_rotation(run: Run, view: DeviceView) -> Objection | None:
    enrolment = view.enrolment
    if enrolment is None or enrolment.said.replaces is UNSET:
        return None
    return object_to_rotation(enrolment, _shown(run, enrolment))


def _replaced(run: Run, enrolment: Opened[Enrolment]) -> Opened[Enrolment] | None:
    """The enrolment in force whose place this one would take."""
    now = _shown(run, enrolment)
    if now is None or now.enrolment is None or now.enrolment.id == enrolment.id:
        return None
    return None if now.countersigned is None else now.enrolment


def _shown(run: Run, enrolment: Opened[Enrolment]) -> DeviceView | None:
    """What stands in force for its device, or else what asked last."""
    try:
        return device(run.session, enrolment.said.device)
    except NotFoundError:
        return None


def _account(enrolment: Opened[Enrolment], asked: Asked) -> list[RenderableType]:
    said, keyid = enrolment.said, enrolment.said.key.keyid
    claim = asked.claim
    by = f"{claim.id} by {claim.said.author}" if claim is not None else f"none: {asked.doubt}"
    return [
        heading(f"{said.device} asks to belong to the fleet {said.fleet}"),
        fact("key", keyid),
        fact("read aloud", " ".join(keyid[start : start + 4] for start in range(0, 20, 4))),
        fact("hardware", said.hardware),
        fact("product", said.product),
        fact("site", said.site),
        fact("cohort", said.cohort),
        fact("claim", by),
        fact("enrolment", enrolment.id),
        fact("asked at", show_time(said.at)),
    ]


def _facts(
    enrolment: Opened[Enrolment], asked: Asked, replaced: Opened[Enrolment] | None
) -> dict[str, Any]:
    said = enrolment.said
    return {
        "device": said.device,
        "enrolment": enrolment.id,
        "key": said.key.keyid,
        "hardware": said.hardware,
        "product": said.product,
        "site": said.site,
        "cohort": said.cohort,
        "claim": asked.claim.id if asked.claim is not None else None,
        "replaces": replaced.id if replaced is not None else None,
    }
