"""``device certificate``: writes a certificate of decommissioning, and verifies one offline."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from interlock_core import durable
from interlock_core.decommissioned import (
    MAX_CERTIFICATE,
    Certificate,
    Verified,
    read_certificate,
    verify_certificate,
)
from interlock_core.ending import DECOMMISSIONED
from interlock_core.errors import RefusedError
from interlock_core.tuf_metadata import MAX_LENGTH
from interlock_core.wire import encode, sha256_hex
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.options import device_id
from interlock_ops.fleet_reads import device
from interlock_ops.show import fact, heading, statement
from interlock_ops.units import show_time

WRITES: Final = ("interlock-ops device certificate write GW-0007 --out GW-0007.certificate",)
WRITTEN: Final = {"device, certificate, sha256": "whose it is, the file, and its digest"}
VERIFIES: Final = (
    "interlock-ops device certificate verify GW-0007.certificate",
    "interlock-ops device certificate verify GW-0007.certificate --image-root 1.root.json --json",
)
FIELDS: Final = {
    "device, enrolment, key": "whose certificate it is",
    "author, role, at, reason": "who took it out of service, in which role, when and why",
    "report, running": "number of the last report, and the digest of what ran; null if unknown",
    "roster": "the roster that names its author: seq and issued",
}


@click.group("certificate")
def device_certificate() -> None:
    """Certificates that gateways are out of service: write one, verify one offline."""


@device_certificate.command("write", cls=Operation, examples=WRITES, answers=WRITTEN)
@click.argument("device_id_", metavar="DEVICE", type=device_id)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where it is written; an existing file is never replaced.",
)
def certificate_write(run: Run, device_id_: str, out: Path) -> Answer:
    """Write the certificate of a device that was taken out of service."""
    digest = write_certificate(run, device_id_, out)
    return Answer(
        "written",
        [heading(f"Wrote {out}"), fact("sha256", digest)],
        {"device": device_id_, "certificate": str(out), "sha256": digest},
    )


@device_certificate.command("verify", cls=Operation, examples=VERIFIES, answers=FIELDS)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def certificate_verify(run: Run, file: Path) -> Answer:
    """Verify a certificate with nothing but the file and the fleet's root; no network is asked.

    The root is that of the settings ('image_root'). Who signed is judged by the roster that the
    certificate brings, at the time of signing; that roster is verified from the root on.
    """
    settings = run.session.settings
    path = settings.need(settings.image_root, "image_root")
    root = durable.read(path, limit=MAX_LENGTH["root"], what="image root file")
    data = durable.read(file, limit=MAX_CERTIFICATE, what="certificate")
    found = verify_certificate(read_certificate(data), root)
    if settings.fleet is not None and found.roster.fleet != settings.fleet:
        raise RefusedError(
            f"The certificate is of the fleet {found.roster.fleet}, not {settings.fleet}.",
            reason="wrong_fleet",
        )
    said = found.statement.said
    shown = [
        *statement(said, id_=found.statement.id),
        fact("key", found.enrolment.said.key.keyid),
        fact("signed as", found.role),
        fact("roster", f"{found.roster.seq}, issued {show_time(found.roster.issued)}"),
        heading("The certificate verifies."),
    ]
    return Answer("verified", shown, _facts(found))


def _facts(found: Verified) -> dict[str, object]:
    said = found.statement.said
    return {
        "id": found.statement.id,
        "device": said.device,
        "enrolment": said.enrolment,
        "key": found.enrolment.said.key.keyid,
        "author": said.author,
        "role": found.role,
        "at": show_time(said.at),
        "reason_given": said.reason,
        "report": said.report.number if said.report is not None else None,
        "running": said.running,
        "roster": {"seq": found.roster.seq, "issued": show_time(found.roster.issued)},
    }


def write_certificate(run: Run, device_id_: str, out: Path) -> str:
    """Write a device's certificate, verified before it is written; its SHA-256.

    Raises:
        RefusedError: ``not_decommissioned``, or what would be written does not verify.
        ConflictError: something stands there.
        TransientError: the server could not be asked, or the disk failed.
    """
    session = run.session
    view = device(session, device_id_)
    if view.ending is None or view.state != DECOMMISSIONED:
        raise RefusedError(
            f"{device_id_} was not taken out of service by anybody whom the roster entitles: "
            "'interlock-ops device decommission' does that.",
            reason="not_decommissioned",
        )
    papers = session.image.roster_papers()
    certificate = Certificate(
        statement=view.ending.envelope,
        enrolment=view.told.enrolment,
        report=view.report.envelope if view.report is not None else None,
        roots=papers.roots,
        targets=papers.targets,
        interlock=papers.interlock,
        roster=papers.roster,
    )
    verify_certificate(certificate, papers.roots[0].encode())
    data = encode(certificate)
    durable.create(out, data)
    return sha256_hex(data)
