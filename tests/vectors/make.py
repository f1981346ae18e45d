"""Make the golden vectors: ``python -m tests.vectors.make``.

Everything follows from fixed seeds and fixed times, and Ed25519 signatures are deterministic, so
making them again changes no byte. The output is committed: a difference is a change of the wire
format, and takes a new version of what changed (``docs/wire-format.md``, section 10).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from interlock_core import keybytes, keys, placement, wire
from interlock_core.bundle import Bundle, Roots
from interlock_core.directive import Directive
from interlock_core.genesis import FleetFile
from interlock_core.order import Window
from interlock_core.release import Evidence, Permit
from interlock_core.report import Decided, Trouble
from interlock_core.statement import Opened
from tests.support.decisions import NEW, OLD, image
from tests.support.papers import (
    PRODUCT,
    STAGES,
    VERSION,
    Named,
    assignment,
    authorise,
    claim,
    consent,
    days,
    decommission,
    digest,
    directive,
    disposition,
    enrolment,
    entry,
    exclusion,
    hold,
    hours,
    notice,
    opening,
    order,
    release,
    renewal,
    report,
    resume,
    revocation,
    rotation,
    session,
    site,
    stage,
    stop,
    target,
)
from tests.support.people import (
    CANARY,
    DAY0,
    FLEET,
    PEOPLE,
    ROSTER,
    ST_ANNA,
    private_key,
    public_key,
    signer,
)
from tests.vectors import delta, log, refused

HERE: Final = Path(__file__).parent
ODD_TEXT: Final = 'Ärzte melden: "Pumpe" \\ hält\n\t\x01\x7f\u2028停止 🛑 </stop>'
CHALLENGE: Final = "interlock-challenge:2027-03-01:" + 16 * "4f"

ORDER: Final = order(
    seq=7,
    stages=(
        stage(CANARY, share=2_500),
        stage(CANARY, gate="auto", soak=hours(48)),
        *STAGES[1:],
    ),
    targets=(NEW, target("1.9.9")),
    window=Window(opens="22:00", closes="04:30"),
    spread_seconds=7_200,
    checkpoint="north.example/log\n12\n" + 43 * "A" + "=\n",
)
OPENING: Final = opening(ORDER, at=DAY0 + hours(1))
STOP: Final = stop(ORDER, at=DAY0 + hours(9), site="ward-7", reason=ODD_TEXT)
ENROLMENT: Final = enrolment()
EXCLUSION: Final = exclusion(ORDER, device="GW-0001", at=DAY0 + hours(29))
FIRST_REPORT: Final = report(ENROLMENT)
SECOND_KEY: Final = "GW-0001, the second"
ALSO: Final = {"enrolment, a rotation": [SECOND_KEY]}
"""Keys that signed before the author's: of a rotation the new one."""
HOLD: Final = hold(reason=ODD_TEXT)

RECALL: Final = order(
    by="omar", seq=8, kind="recall", targets=(OLD,), stages=(stage(CANARY),), abort=()
)

STATEMENTS: Final[Mapping[str, Opened[Any]]] = {
    "order": ORDER,
    "order, a recall with nothing optional": RECALL,
    "authorisation, approved": authorise(ORDER, at=DAY0 + hours(0.5)),
    "authorisation, consented": consent(ORDER, at=DAY0 + hours(0.75)),
    "authorisation, of a go": authorise(OPENING, at=DAY0 + hours(1.5)),
    "go, open": OPENING,
    "go, renew": renewal(OPENING, at=DAY0 + days(5), by="mona", seq=2),
    "go, resume": resume(ORDER, at=DAY0 + days(1), clears=(STOP,), seq=3),
    "stop": STOP,
    "stop, of one cohort": stop(ORDER, by="mona", at=DAY0 + hours(10), cohort=CANARY),
    "assignment": assignment(ENROLMENT.id),
    "claim": claim(device="GW-0001", hardware="cm4-r2"),
    "enrolment": ENROLMENT,
    "authorisation, of an enrolment": authorise(
        ENROLMENT, by="olga", role="operator", at=DAY0 + hours(0.25)
    ),
    "report, the first": FIRST_REPORT,
    "report, after an update": report(
        ENROLMENT, FIRST_REPORT, about=ORDER, at=DAY0 + hours(20), reason="confirmed"
    ),
    "report, of trouble": report(
        ENROLMENT,
        FIRST_REPORT,
        at=DAY0 + days(10),
        decided=Decided(
            at=DAY0 + days(2), order=ORDER.id, reason="not_in_stage", detail="stage 1 is not open"
        ),
        trouble=Trouble(reason="expired_metadata", since=DAY0 + days(9)),
    ),
    "session": session(CHALLENGE),
    "order, in the place of one that runs": order(
        by="omar", seq=9, stages=(stage(CANARY),), supersedes=ORDER.id
    ),
    "exclusion, of a device": EXCLUSION,
    "exclusion, of a reason": exclusion(ORDER, failure="bad_health"),
    "authorisation, of an exclusion": authorise(EXCLUSION, at=DAY0 + hours(30)),
    "recall": notice(RECALL, VERSION, at=DAY0 + hours(12)),
    "disposition": disposition(
        RECALL,
        Named("GW-0001", ENROLMENT.id),
        "returned",
        at=DAY0 + days(2),
        since=DAY0 + days(1),
    ),
    "hold": HOLD,
    "hold, a release": release(HOLD, at=DAY0 + hours(30)),
    "site": site(reason=ODD_TEXT),
    "site, with nothing optional": site(
        by="olga", seq=2, time_zone="Etc/UTC", contacts=(), notes=""
    ),
    "revocation": revocation(ENROLMENT, at=DAY0 + days(11)),
    "decommission": decommission(ENROLMENT, FIRST_REPORT, at=DAY0 + days(12)),
    "decommission, before the first report": decommission(ENROLMENT, by="olga"),
    "enrolment, a rotation": rotation(ENROLMENT, SECOND_KEY, at=DAY0 + days(8)),
}

DIRECTIVE: Final = wire.encode(
    directive(
        {
            PRODUCT: entry(
                ORDER,
                [
                    STATEMENTS[name]
                    for name in (
                        "authorisation, approved",
                        "authorisation, of a go",
                        "go, open",
                        "go, renew",
                        "go, resume",
                        "stop",
                        "assignment",
                    )
                ],
            )
        }
    )
)
DIRECTIVE_URL: Final = f"/director/{CANARY}/targets/{wire.sha256_hex(DIRECTIVE)}.directive.json"
NAMES_OF_KEYS: Final = (
    *(person.name for person in PEOPLE),
    *("GW-0001", "ellen", SECOND_KEY),
)

DOCUMENTS: Final[Mapping[str, bytes]] = {
    "roster": wire.encode(ROSTER),
    "directive": DIRECTIVE,
    "directive, nothing wanted": wire.encode(directive({}, ST_ANNA)),
    "directive, of a site that is held": wire.encode(
        Directive(fleet=FLEET, cohort=CANARY, products={}, holds=(HOLD.envelope,))
    ),
    "bundle": wire.encode(
        Bundle(
            cohort=CANARY,
            roots=Roots(image=2, director=1),
            files={DIRECTIVE_URL: DIRECTIVE.decode()},
        )
    ),
    "image": wire.encode(image(udi_di=None)),
    "evidence": wire.encode(
        Evidence(product=PRODUCT, version=VERSION, evidence="sbom", format="CycloneDX 1.6 JSON")
    ),
    "permit": wire.encode(
        Permit(
            fleet=FLEET,
            product=PRODUCT,
            from_sha256=NEW.sha256,
            to_sha256=OLD.sha256,
            devices=("GW-0001",),
            cohorts=(),
            order=ORDER.id,
            expires=DAY0 + days(14),
        )
    ),
    "delta": wire.encode(delta.FACTS),
    "delta header": wire.encode(delta.HEADER),
    "fleet": wire.encode(
        FleetFile(
            fleet=FLEET, image_root=digest("image root"), director_root=digest("director root")
        )
    ),
    "public key file": keys.public_key_file("olga", signer("olga")),
}


def _key(name: str) -> dict[str, Any]:
    public = public_key(name)
    return {
        "name": name,
        "seed": private_key(name).private_bytes_raw().hex(),
        "public_key": wire.encode(public).decode(),
        "der": keybytes.public_key_bytes(public.sslib()).hex(),
    }


def _statement(name: str, opened: Opened[Any]) -> dict[str, Any]:
    also = {"also": ALSO[name]} if name in ALSO else {}
    return {
        "name": name,
        "key": opened.said.author,
        **also,
        "payload": opened.payload.decode(),
        "id": opened.id,
        "envelope": wire.encode(opened.envelope).decode(),
    }


def _document(name: str, data: bytes) -> dict[str, Any]:
    return {
        "name": name,
        "length": len(data),
        "sha256": wire.sha256_hex(data),
        "text": data.decode(),
    }


def _hashed(label: bytes, parts: Iterable[bytes]) -> bytes:
    """The hashed text in the plainest way, so that ``placement`` is checked by another hand."""
    return label + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _point(wanted: str, device: str) -> dict[str, Any]:
    text = _hashed(b"interlock placement v1", (bytes.fromhex(wanted), device.encode()))
    point = placement.point(wanted, device)
    return {
        "digest": wanted,
        "device": device,
        "hashed": text.hex(),
        "sha256": hashlib.sha256(text).hexdigest(),
        "point": point,
        "inside": {str(share): placement.inside(point, share) for share in (1, 2_500, 10_000)},
    }


def _offset(order_id: str, device: str, spread_seconds: int) -> dict[str, Any]:
    text = _hashed(b"interlock spread v1", (bytes.fromhex(order_id), device.encode()))
    return {
        "order": order_id,
        "device": device,
        "spread_seconds": spread_seconds,
        "hashed": text.hex(),
        "sha256": hashlib.sha256(text).hexdigest(),
        "offset": placement.spread_offset(order_id, device, spread_seconds),
    }


def vectors() -> dict[str, bytes]:
    """The content of every vector file, by file name."""
    devices = ("GW-0001", "GW-0002", "a", "A.b_c:d-" + 119 * "9")
    return {
        "keys.json": _pretty([_key(name) for name in NAMES_OF_KEYS]),
        "statements.json": _pretty([_statement(*one) for one in STATEMENTS.items()]),
        "documents.json": _pretty([_document(*one) for one in DOCUMENTS.items()]),
        "placement.json": _pretty(
            {
                "placement": [
                    _point(wanted, device)
                    for wanted in (NEW.sha256, 64 * "0")
                    for device in devices
                ],
                "spread": [
                    _offset(ORDER.id, device, spread) for device in devices for spread in (0, 7_200)
                ],
            }
        ),
        "log.json": _pretty(log.vectors()),
        "delta.json": _pretty(delta.vectors()),
        "refused.json": _pretty(refused.vectors(STATEMENTS, DOCUMENTS)),
    }


def _pretty(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n"


if __name__ == "__main__":
    for file, content in vectors().items():
        (HERE / file).write_bytes(content)
