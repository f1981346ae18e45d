"""A certificate that a gateway is out of service, verified with nothing but it and a root.

Rules (24 and 25 are those of ``docs/wire-format.md``):

1. It holds the statement, the enrolment that it ends, the last report if there was one, and what
   proves who signed: the roots from a trusted one on, the top-level targets, the role ``interlock``
   and the roster.
2. Each root is signed by the one before and by itself; targets by the newest root; the roster's
   role by targets; the roster is what that lists, by length and digest.
3. What was true then stays true: who signed is judged by that roster at the time that the statement
   bears, and none of it needs to be unexpired today. The roster was in force then: it was issued
   before, and no longer ago than gateways believe a roster.
4. The enrolment is signed by its device, the report by the same key, and the statement names both,
   and what ran by that report.

No server is asked, so none can add to it or take from it. It does not say that nothing happened
afterwards; the log does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final, Literal

from msgspec import Meta
from securesystemslib.exceptions import UnverifiedSignatureError
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from interlock_core.decide import MAX_ROSTER_AGE
from interlock_core.ending import Decommission, LastReport, ending_counts
from interlock_core.errors import RefusedError
from interlock_core.fleet import COUNTERSIGNERS, report_counts, signed_by_device
from interlock_core.names import ROSTER_PATH, ROSTER_ROLE
from interlock_core.report import Enrolment, Report
from interlock_core.roster import Judge, Roster, read_roster
from interlock_core.statement import Envelope, Opened, open_as
from interlock_core.tuf_metadata import parse_metadata, refuse_rehearsal
from interlock_core.wire import Record, decode_canonical

MAX_CERTIFICATE: Final = 16 * 1024 * 1024
MAX_ROOTS: Final = 1025

Text = Annotated[str, Meta(max_length=5_000_000)]


class Certificate(Record, frozen=True, kw_only=True):
    """The file (rule 1).

    Attributes:
        roots: exact texts of the image repository's roots, rising by one from a trusted one.
        targets: exact text of the top-level targets metadata.
        interlock: exact text of the metadata of the role ``interlock``.
        roster: exact text of the roster.
    """

    type: Literal["urn:interlock:decommission-certificate:v1"] = (
        "urn:interlock:decommission-certificate:v1"
    )
    statement: Envelope
    enrolment: Envelope
    report: Envelope | None
    roots: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=MAX_ROOTS)]
    targets: Text
    interlock: Text
    roster: Text


@dataclass(frozen=True)
class Verified:
    """What a certificate proves."""

    statement: Opened[Decommission]
    enrolment: Opened[Enrolment]
    report: Opened[Report] | None
    roster: Roster
    role: str


def read_certificate(data: bytes) -> Certificate:
    """Read a certificate.

    Raises:
        WireError: too large or malformed.
    """
    return decode_canonical(data, Certificate, limit=MAX_CERTIFICATE, what="certificate")


def verify_certificate(certificate: Certificate, root: bytes) -> Verified:
    """Verify a certificate from a trusted root on (rules 2 to 4).

    Args:
        certificate: read.
        root: the trusted ``root.json``: the first of those in the certificate, or one among them.

    Raises:
        RefusedError: ``untrusted_metadata``, ``wrong_fleet``, ``unentitled``,
            ``bad_certificate``.
        WireError: something inside is malformed.
    """
    roster = _roster(certificate, root)
    statement = open_as(certificate.statement, Decommission)
    enrolment = open_as(certificate.enrolment, Enrolment)
    report = open_as(certificate.report, Report) if certificate.report is not None else None
    said = statement.said
    if said.fleet != roster.fleet:
        raise RefusedError(
            f"The statement is of the fleet {said.fleet}, and the roster of {roster.fleet}.",
            reason="wrong_fleet",
        )
    if not signed_by_device(enrolment) or enrolment.said.fleet != said.fleet:
        raise _bad("its device did not sign the enrolment")
    judge = Judge(roster, said.at)
    if not roster.issued <= said.at < roster.issued + MAX_ROSTER_AGE:
        raise RefusedError(
            "The roster in the certificate was not in force when the statement was signed.",
            reason="unentitled",
        )
    if not ending_counts(judge, statement, enrolment):
        raise RefusedError(
            f"{said.author} was not entitled to take {said.device} out of service, or did not sign "
            "that.",
            reason="unentitled",
        )
    _check_report(said, enrolment, report)
    of = enrolment.said
    role = judge.author_is(statement, COUNTERSIGNERS, of.cohort, of.site)
    assert role is not None  # it counts
    return Verified(statement, enrolment, report, roster, role)


def _check_report(
    said: Decommission, enrolment: Opened[Enrolment], report: Opened[Report] | None
) -> None:
    """See that the statement names this report, and what ran by it (rule 4)."""
    if report is None:
        named, runs = None, None
    else:
        if not report_counts(enrolment, report):
            raise _bad("the last report is not signed by the enrolment's key")
        named = LastReport(number=report.said.number, id=report.id)
        running = report.said.running
        runs = running.sha256 if running is not None else None
    if (said.report, said.running) != (named, runs):
        raise _bad("the statement names another report than the one in the certificate")


def _roster(certificate: Certificate, root: bytes) -> Roster:
    """The roster, verified from the trusted root on (rule 2)."""
    try:
        newest = _newest_root(certificate.roots, root)
        targets = _signed(certificate.targets, Targets, newest, Targets.type)
        role = _signed(certificate.interlock, Targets, targets, ROSTER_ROLE)
    except (RepositoryError, UnverifiedSignatureError, ValueError) as e:
        raise RefusedError(
            f"The certificate's metadata is not signed by those whom your root names ({e}): check "
            "'image_root', and where the certificate is from.",
            reason="untrusted_metadata",
        ) from e
    data = certificate.roster.encode()
    info = role.targets.get(ROSTER_PATH)
    digest = sha256(data).hexdigest()
    if info is None or (info.length, info.hashes.get("sha256")) != (len(data), digest):
        raise _bad("the roster is not the one that its role signed")
    return read_roster(data)


def _newest_root(texts: Sequence[str], trusted: bytes) -> Root:
    roots = [text.encode() for text in texts]
    if trusted not in roots:
        raise RefusedError(
            "The certificate does not lead from your root: it was made under another.",
            reason="untrusted_metadata",
        )
    present = parse_metadata(trusted, Root, what="trusted root").signed
    refuse_rehearsal(present)
    for data in roots[roots.index(trusted) + 1 :]:
        metadata = parse_metadata(data, Root, what="root in the certificate")
        if metadata.signed.version != present.version + 1:
            raise _bad("its roots do not rise by one")
        for by in (present, metadata.signed):
            by.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
        present = metadata.signed
    return present


def _signed(text: str, type_: type[Targets], by: Root | Targets, role: str) -> Targets:
    metadata: Metadata[Targets] = parse_metadata(text.encode(), type_, what=f"{role} metadata")
    by.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    return metadata.signed


def _bad(why: str) -> RefusedError:
    return RefusedError(f"This certificate does not hold: {why}.", reason="bad_certificate")
