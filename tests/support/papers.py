"""Signed statements, one line each: orders, authorisations, goes, stops, and a directive of them.

Every builder returns an ``Opened`` statement (``.said``, ``.id``, ``.envelope``), signed with the
key of its author's name (see ``tests.support.people``). ``by`` names the author, ``key`` another
key to sign with; times are ``DAY0`` unless said. Further keywords replace fields.

    paper = order(seq=7)
    papers = [authorise(paper), first := opening(paper), authorise(first)]
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from interlock_core.directive import Directive, ProductDirective
from interlock_core.ending import Decommission, LastReport, Revocation
from interlock_core.exclusion import Exclusion
from interlock_core.hold import Hold
from interlock_core.order import (
    DEFAULT_GO,
    Abort,
    Assignment,
    Authorisation,
    Go,
    Meaning,
    Order,
    Stage,
    Stop,
    Target,
)
from interlock_core.recall_papers import Disposition, Given, Notice, Recalled
from interlock_core.report import (
    Attempt,
    CheckResult,
    Claim,
    Enrolment,
    InterlockState,
    Report,
    Running,
    Versions,
)
from interlock_core.seen import Seen
from interlock_core.site import Contact, Site
from interlock_core.statement import Envelope, Opened, Said, Session, open_as, sign
from interlock_core.wire import sha256_hex
from tests.support.people import CANARY, DAY0, FLEET, ST_ANNA, ST_BERT, public_key, signer

PRODUCT: Final = "gateway"
VERSION: Final = "2.0.0"
DEVICE: Final = "GW-0001"
HARDWARE: Final = "cm4-r2"
SECRET: Final = 4 * "claim-me"
"""What a claim's device shows."""
DAY: Final = timedelta(days=1)
S = TypeVar("S", bound=Said)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def days(number: float) -> timedelta:
    return timedelta(days=number)


def digest(text: str) -> str:
    """A digest that follows from ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()


def signed(said: S, key: str | None = None) -> Opened[S]:
    """Sign with the key of the author's name, or of ``key``, and open again."""
    return open_as(sign(said, signer(key if key is not None else said.author)), type(said))


def target(version: str = VERSION, product: str = PRODUCT, length: int = 1024) -> Target:
    """The image of one version, with the digest that follows from its path."""
    path = f"{product}/{version}/image.img"
    return Target(path=path, length=length, sha256=digest(path))


def stage(*cohorts: str, share: int = 10_000, soak: timedelta = DAY, gate: str = "manual") -> Stage:
    """A stage of ``cohorts``, whole unless ``share`` (basis points) says otherwise."""
    return msgspec.convert(
        {
            "cohorts": cohorts,
            "basis_points": share,
            "soak_seconds": int(soak.total_seconds()),
            "gate": gate,
        },
        Stage,
    )


STAGES: Final = (stage(CANARY), stage(CANARY, ST_ANNA, ST_BERT))
"""All of the canary cohort, then, after a day, everybody."""


def order(*, by: str = "olga", key: str | None = None, **fields: Any) -> Opened[Order]:
    """An update to ``VERSION`` over ``STAGES``, valid for 90 days."""
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": by,
        "at": DAY0,
        "reason": "fixes the pump alarm",
        "product": PRODUCT,
        "seq": 1,
        "kind": "update",
        "targets": (target(),),
        "stages": STAGES,
        "abort": (Abort(failure_type="all", threshold_basis_points=2_000, min_executed=5),),
        "not_before": DAY0,
        "expires": DAY0 + days(90),
        "window": None,
        "spread_seconds": 0,
        "deadline_seconds": 3 * 86_400,
    }
    return signed(Order(**made | fields), key)


def authorise(
    subject: Opened[Any],
    by: str = "ada",
    *,
    role: str = "approver",
    meaning: Meaning = "approved",
    at: datetime | None = None,
    key: str | None = None,
    **fields: Any,
) -> Opened[Authorisation]:
    """``by`` authorises ``subject``, when it was signed unless ``at`` says otherwise."""
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": by,
        "at": at if at is not None else subject.said.at,
        "reason": "reviewed the evidence",
        "authorises": type(subject.said).__name__.lower(),
        "id": subject.id,
        "role": role,
        "meaning": meaning,
    }
    return signed(Authorisation(**made | fields), key)


def countersign(
    of: Opened[Enrolment], by: str = "olga", role: str = "operator", **fields: Any
) -> Opened[Authorisation]:
    """Lets a device in."""
    return authorise(of, by, role=role, **fields)


def consent(subject: Opened[Any], by: str = "hanna", **fields: Any) -> Opened[Authorisation]:
    """The hospital consents."""
    return authorise(subject, by, role="hospital", meaning="consented", **fields)


def _go(by: str, key: str | None, at: datetime, fields: dict[str, Any]) -> Opened[Go]:
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": by,
        "at": at,
        "reason": "the stage before looks well",
        "renews": None,
        "clears": (),
        "valid_until": at + DEFAULT_GO,
        "seq": 1,
    }
    return signed(Go(**made | fields), key)


def opening(
    of: Opened[Order],
    number: int = 0,
    *,
    by: str = "olga",
    at: datetime | None = None,
    key: str | None = None,
    **fields: Any,
) -> Opened[Go]:
    """Opens stage ``number`` at ``at``, for a week; when the order was signed unless said."""
    when = at if at is not None else of.said.at
    own = {"order": of.id, "stage": number, "act": "open", "opened_at": when}
    return _go(by, key, when, own | fields)


def renewal(
    of: Opened[Go], *, at: datetime, by: str = "olga", key: str | None = None, **fields: Any
) -> Opened[Go]:
    """Prolongs the opening ``of`` by a week from ``at``."""
    own = {
        "order": of.said.order,
        "stage": of.said.stage,
        "act": "renew",
        "renews": of.id,
        "opened_at": of.said.opened_at,
    }
    return _go(by, key, at, own | fields)


def resume(
    of: Opened[Order],
    number: int = 0,
    *,
    at: datetime,
    clears: Iterable[str | Opened[Stop]] = (),
    by: str = "olga",
    key: str | None = None,
    **fields: Any,
) -> Opened[Go]:
    """Resumes stage ``number`` at ``at``, for a week, and clears ``clears``."""
    ids = tuple(stop if isinstance(stop, str) else stop.id for stop in clears)
    own = {"order": of.id, "stage": number, "act": "resume", "opened_at": at, "clears": ids}
    return _go(by, key, at, own | fields)


def stop(
    of: Opened[Order] | str,
    *,
    by: str = "omar",
    at: datetime = DAY0,
    cohort: str | None = None,
    site: str | None = None,
    key: str | None = None,
    **fields: Any,
) -> Opened[Stop]:
    """One signature that stops the order ``of`` (or the order of that id)."""
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": by,
        "at": at,
        "reason": "alarms sound late",
        "order": of if isinstance(of, str) else of.id,
        "cohort": cohort,
        "site": site,
    }
    return signed(Stop(**made | fields), key)


def exclusion(
    of: Opened[Order],
    *,
    device: str | None = None,
    failure: str | None = None,
    by: str = "olga",
    key: str | None = None,
    **fields: Any,
) -> Opened[Exclusion]:
    """Leaves a known issue out of the counts of ``of``."""
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": by,
        "at": of.said.at,
        "reason": "the old fan controller, see ticket 812",
        "order": of.id,
        "device": device,
        "failure": failure,
    }
    return signed(Exclusion(**made | fields), key)


def assignment(
    enrolment: str, *, by: str = "olga", key: str | None = None, **fields: Any
) -> Opened[Assignment]:
    """Moves a device from ``st-anna`` to the canary cohort."""
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": by,
        "at": DAY0,
        "reason": "a test bench now",
        "enrolment": enrolment,
        "device": DEVICE,
        "from_cohort": ST_ANNA,
        "to_cohort": CANARY,
        "seq": 1,
        "expires": DAY0 + days(30),
    }
    return signed(Assignment(**made | fields), key)


def hold(
    *,
    by: str = "ellen",
    site: str = "ward-7",
    lasts: timedelta = timedelta(days=2),
    key: str | None = None,
    **fields: Any,
) -> Opened[Hold]:
    """``by`` holds a site for two days from when it was signed."""
    at = fields.get("at", DAY0)
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": by,
        "at": at,
        "reason": "the network is being rebuilt",
        "site": site,
        "begins": at,
        "until": at + lasts,
        "ends": None,
    }
    return signed(Hold(**made | fields), key)


def release(of: Opened[Hold], *, by: str = "ellen", **fields: Any) -> Opened[Hold]:
    """``by`` ends a hold early."""
    made: dict[str, Any] = {
        "site": of.said.site,
        "at": of.said.at,
        "reason": "the network is back",
        "begins": None,
        "until": None,
        "ends": of.id,
    }
    return hold(by=by, **made | fields)


def site(*, by: str = "ellen", key: str | None = None, **fields: Any) -> Opened[Site]:
    """``by`` describes ward 7."""
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": by,
        "at": DAY0,
        "reason": "moved to another building",
        "site": "ward-7",
        "time_zone": "Europe/Berlin",
        "contacts": (Contact(name="ward 7, technician on duty", reach="+49 30 1234"),),
        "notes": "deliveries by the north gate",
        "seq": 1,
    }
    return signed(Site(**made | fields), key)


def revocation(
    of: Opened[Enrolment], *, by: str = "ellen", key: str | None = None, **fields: Any
) -> Opened[Revocation]:
    """``by`` revokes a device's key."""
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": by,
        "at": of.said.at,
        "reason": "the gateway was stolen",
        "enrolment": of.id,
        "device": of.said.device,
    }
    return signed(Revocation(**made | fields), key)


def decommission(
    of: Opened[Enrolment],
    last: Opened[Report] | None = None,
    *,
    by: str = "ellen",
    key: str | None = None,
    **fields: Any,
) -> Opened[Decommission]:
    """``by`` takes a device out of service after its last report."""
    running = last.said.running if last is not None else None
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": by,
        "at": of.said.at,
        "reason": "scrapped",
        "enrolment": of.id,
        "device": of.said.device,
        "report": LastReport(number=last.said.number, id=last.id) if last is not None else None,
        "running": running.sha256 if running is not None else None,
    }
    return signed(Decommission(**made | fields), key)


def rotation(
    of: Opened[Enrolment], key: str = "a new key", *, keys: tuple[str, ...] = (), **fields: Any
) -> Opened[Enrolment]:
    """The device of ``of`` asks with another key; both keys sign, or those of the names given."""
    old = of.said.device
    new = enrolment(old, key=key, **{"replaces": of.id, "site": of.said.site} | fields)
    each = [signed(new.said, name).envelope for name in keys or (key, old)]
    envelope = Envelope(
        payload=new.envelope.payload,
        payload_type=new.envelope.payload_type,
        signatures=tuple(one.signatures[0] for one in each),
    )
    return Opened(new.said, new.id, new.payload, envelope)


def enrolment(device: str = DEVICE, *, key: str | None = None, **fields: Any) -> Opened[Enrolment]:
    """A device of the canary cohort asks to belong, with the key of its name."""
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": device,
        "at": DAY0,
        "reason": "first start",
        "device": device,
        "key": public_key(key if key is not None else device),
        "hardware": HARDWARE,
        "product": PRODUCT,
        "site": "ward-7",
        "cohort": CANARY,
    }
    return signed(Enrolment(**made | fields), key)


def claim(
    secret: str = SECRET, *, by: str = "olga", key: str | None = None, **fields: Any
) -> Opened[Claim]:
    """``by`` lets one device of ward 7 ask to be enrolled."""
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": by,
        "at": DAY0,
        "reason": "ward 7 gets a gateway",
        "secret_sha256": sha256_hex(secret.encode()),
        "product": PRODUCT,
        "site": "ward-7",
        "cohort": CANARY,
        "device": None,
        "hardware": None,
        "expires": DAY0 + days(7),
    }
    return signed(Claim(**made | fields), key)


def report(
    of: Opened[Enrolment],
    after: Opened[Report] | None = None,
    *,
    about: Opened[Order] | None = None,
    key: str | None = None,
    **fields: Any,
) -> Opened[Report]:
    """The device's report ``after`` the one before; ``about`` an order that it confirmed."""
    wanted = about.said.targets[0] if about is not None else target("1.0.0")
    _, version, _ = wanted.path.split("/")
    attempt = (
        Attempt(
            order=about.id,
            target=wanted.sha256,
            outcome="confirmed",
            reason=None,
            deferred_since=None,
        )
        if about is not None
        else None
    )
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": of.said.device,
        "at": DAY0,
        "reason": "poll",
        "enrolment": of.id,
        "number": after.said.number + 1 if after is not None else 1,
        "previous": after.id if after is not None else None,
        "cohort": of.said.cohort,
        "running": Running(slot="a", sha256=wanted.sha256, version=version),
        "attempt": attempt,
        "decided": None,
        "trouble": None,
        "interlock": InterlockState(
            mode="checks", clear=True, checks=(CheckResult(name="bedside", passed=True),)
        ),
        "health": (CheckResult(name="network", passed=True),),
        "versions": Versions(
            client="0.1.0",
            tuf="7.0.1",
            securesystemslib="1.6.0",
            cryptography="49.0.0",
            python="3.11.2",
        ),
    }
    return signed(Report(**made | fields), key)


def notice(
    of: Opened[Order], *versions: str, by: str = "olga", key: str | None = None, **fields: Any
) -> Opened[Notice]:
    """The order ``of`` takes these versions back."""
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": by,
        "at": of.said.at,
        "reason": "alarms sound late",
        "order": of.id,
        "product": of.said.product,
        "images": tuple(
            Recalled(path=one.path, sha256=one.sha256) for one in map(target, versions)
        ),
    }
    return signed(Notice(**made | fields), key)


@dataclass(frozen=True)
class Named:
    """A device by its id and the id of its enrolment."""

    device: str
    enrolment: str


def disposition(
    of: Opened[Order],
    device: Named | Seen,
    what: Given = "unreachable",
    *,
    by: str = "olga",
    key: str | None = None,
    at: datetime = DAY0,
    **fields: Any,
) -> Opened[Disposition]:
    """What became of a device under a recall."""
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": by,
        "at": at,
        "reason": "the ward is closed",
        "order": of.id,
        "enrolment": device.enrolment,
        "device": device.device,
        "disposition": what,
        "since": at,
    }
    return signed(Disposition(**made | fields), key)


def session(challenge: str, *, by: str = "olga", **fields: Any) -> Opened[Session]:
    """``by`` answers the server's challenge."""
    made: dict[str, Any] = {
        "fleet": FLEET,
        "author": by,
        "at": DAY0,
        "reason": "to read the status",
        "challenge": challenge,
    }
    return signed(Session(**made | fields))


def entry(
    of: Opened[Order] | None,
    papers: Iterable[Opened[Any]] = (),
) -> ProductDirective:
    """What a directive says of one product: the order, and each paper where it belongs."""
    sorted_: dict[type[Said], list[Envelope]] = {
        Authorisation: [],
        Go: [],
        Stop: [],
        Assignment: [],
    }
    for paper in papers:
        sorted_[type(paper.said)].append(paper.envelope)
    return ProductDirective(
        order=of.envelope if of is not None else None,
        authorisations=tuple(sorted_[Authorisation]),
        chain=tuple(sorted_[Go]),
        stops=tuple(sorted_[Stop]),
        assignments=tuple(sorted_[Assignment]),
    )


def directive(
    products: Mapping[str, ProductDirective], cohort: str = CANARY, fleet: str = FLEET
) -> Directive:
    """The directive of ``cohort``: an ``entry`` for each product."""
    return Directive(fleet=fleet, cohort=cohort, products=dict(products))


def started(
    of: Opened[Order], *, at: datetime | None = None, consents: bool = False
) -> list[Opened[Any]]:
    """An order authorised by Ada, and its stage 0 opened by Olga and authorised by Ada."""
    first = opening(of, at=at)
    papers: list[Opened[Any]] = [authorise(of), first, authorise(first)]
    return [*papers, consent(of), consent(first)] if consents else papers
