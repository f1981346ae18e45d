"""``interlock-ops device revoke``, ``decommission`` and ``certificate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock_core import wire
from interlock_core.decommissioned import Certificate, read_certificate, verify_certificate
from interlock_core.ending import Decommission, Revocation
from interlock_core.errors import InterlockError
from interlock_core.report import Report
from interlock_core.statement import Opened
from tests.ops.world import Place
from tests.support.papers import (
    countersign,
    decommission,
    enrolment,
    hours,
    report,
    revocation,
)
from tests.support.people import DAY0, ELLEN, PEOPLE, roster

ONE = enrolment()
LAST = report(ONE, report(ONE))


@pytest.fixture
def ward(place: Place) -> Place:
    """A gateway of ward 7 is let in and has reported twice."""
    place.server.fleet.add(ONE, LAST)
    place.server.post(countersign(ONE))
    place.clock.now += hours(1)
    return place


def decommissions(place: Place, out: Path, **more: Any) -> dict[str, Any]:
    return place.device("decommission", "GW-0001", "--out", out, **more)


class TestRevoking:
    def test_one_signature_ends_the_key(self, ward: Place) -> None:
        done = ward.device("revoke", "GW-0001", by="ellen")
        assert (done["reason"], done["enrolment"]) == ("revoked", ONE.id)
        assert len(ward.server.of(Revocation)) == 1
        shown = ward.json("device", "show", "GW-0001")
        assert (shown["state"], shown["ending"]["author"]) == ("revoked", "ellen")
        assert shown["why"]["outcome"] == "revoked"
        again = ward.device("revoke", "GW-0001", by="ellen")
        assert (again["outcome"], again["reason"]) == ("nothing_to_do", "revoked")
        listed = ward.json("device", "list", "--state", "revoked")["devices"]
        assert [one["device"] for one in listed] == ["GW-0001"]

    def test_somebody_not_entitled_signs_nothing(self, ward: Place) -> None:
        assert ward.device("revoke", "GW-0001", by="ada", code=20)["reason"] == "role_not_held"
        assert ward.server.of(Revocation) == []

    def test_what_is_over_is_not_countersigned_or_moved(self, ward: Place) -> None:
        ward.server.post(revocation(ONE))
        signed = ("countersign", "GW-0001", "--role", "operator")
        assert ward.device(*signed, code=20)["reason"] == "revoked"
        moved = ("assign", "GW-0001", "--to", "st-bert")
        assert ward.device(*moved, code=20)["reason"] == "revoked"

    def test_a_server_that_says_so_alone_is_not_believed_about_who(self, ward: Place) -> None:
        ward.server.fleet.alter = lambda one: msgspec.structs.replace(one, state="revoked")
        shown = ward.json("device", "show", "GW-0001")
        assert (shown["state"], shown["ending"], shown["reason"]) == (
            "revoked",
            None,
            "server_differs",
        )
        ward.server.fleet.alter = lambda one: msgspec.structs.replace(
            one, ending=revocation(ONE, by="ada").envelope
        )
        shown = ward.json("device", "show", "GW-0001")
        assert (shown["state"], shown["reason"]) == ("countersigned", "server_differs")


class TestCertificates:
    def test_from_the_signature_to_the_proof_offline(self, ward: Place, tmp_path: Path) -> None:
        out = tmp_path / "certificate"
        done = decommissions(ward, out, by="ellen")
        assert (done["reason"], done["certificate"]) == ("decommissioned", str(out))
        assert (done["report"], done["running"]) == (2, LAST.said.running.sha256)  # type: ignore[union-attr]  # it says
        ward.url = "http://127.0.0.1:9"
        told = ward.json("device", "certificate", "verify", out)
        assert (told["reason"], told["author"], told["role"]) == ("verified", "ellen", "engineer")
        assert (told["device"], told["report"]) == ("GW-0001", 2)
        assert (
            "The certificate verifies." in ward.run("device", "certificate", "verify", out).stdout
        )

    def test_it_can_be_written_again_and_replaces_nothing(
        self, ward: Place, tmp_path: Path
    ) -> None:
        out = tmp_path / "certificate"
        decommissions(ward, out)
        again = tmp_path / "again"
        ward.json("device", "certificate", "write", "GW-0001", "--out", again)
        assert again.read_bytes() == out.read_bytes()
        other = ("device", "certificate", "write", "GW-0001", "--out", out)
        assert ward.json(*other)["outcome"] == "done"
        out.write_text("mine")
        assert ward.run(*other).exit_code == 20
        assert out.read_text() == "mine"
        assert decommissions(ward, out, code=20)["reason"] == "file_exists"

    def test_nothing_is_certified_that_nobody_signed(self, ward: Place, tmp_path: Path) -> None:
        words = ("device", "certificate", "write", "GW-0001", "--out", tmp_path / "x")
        assert ward.json(*words, code=20)["reason"] == "not_decommissioned"
        ward.server.post(revocation(ONE))
        assert ward.json(*words, code=20)["reason"] == "not_decommissioned"
        assert not (tmp_path / "x").exists()

    def test_what_is_decommissioned_stands_in_no_inventory(
        self, ward: Place, tmp_path: Path
    ) -> None:
        ward.server.post(decommission(ONE, LAST))
        done = ward.json("device", "export", tmp_path / "gateways.json")
        assert (done["gateways"], done["decommissioned"]) == (0, 1)

    def test_a_dry_run_signs_and_writes_nothing(self, ward: Place, tmp_path: Path) -> None:
        out = tmp_path / "certificate"
        words = ("device", "decommission", "GW-0001", "--out", out, "--reason", "x", "--dry-run")
        assert ward.json(*words)["outcome"] == "dry_run"
        assert not out.exists()
        assert ward.server.of(Decommission) == []


@pytest.fixture
def good(ward: Place, tmp_path: Path) -> Certificate:
    """A certificate that verifies."""
    decommissions(ward, tmp_path / "certificate", by="ellen")
    return read_certificate((tmp_path / "certificate").read_bytes())


def refused(certificate: Certificate, root: bytes) -> str:
    with pytest.raises(InterlockError) as caught:
        verify_certificate(certificate, root)
    return caught.value.reason


OTHER: Opened[Report] = report(ONE, report(ONE), reason="another")


class TestVerifying:
    """Whoever changed a certificate, and what it is refused for."""

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"statement": decommission(ONE, LAST, by="ada")}, "unentitled"),
            ({"statement": decommission(ONE, LAST, key="mallory")}, "unentitled"),
            ({"statement": decommission(enrolment("GW-0002"), LAST)}, "unentitled"),
            ({"statement": decommission(ONE)}, "bad_certificate"),
            ({"report": None}, "bad_certificate"),
            ({"report": OTHER}, "bad_certificate"),
            ({"report": report(ONE, report(ONE), key="mallory")}, "bad_certificate"),
            ({"enrolment": enrolment("GW-0002")}, "unentitled"),
            ({"enrolment": enrolment(key="mallory", reason="x")}, "unentitled"),
            ({"statement": decommission(ONE, LAST, fleet="south")}, "wrong_fleet"),
            ({"roster": wire.encode(roster(*PEOPLE, ELLEN)).decode()}, "bad_certificate"),
        ],
    )
    def test_one_change_is_refused_by_name(
        self, ward: Place, good: Certificate, changes: dict[str, Any], reason: str
    ) -> None:
        root = (ward.home / "1.root.json").read_bytes()
        assert verify_certificate(good, root).role == "engineer"
        raw = {k: v.envelope if isinstance(v, Opened) else v for k, v in changes.items()}
        assert refused(msgspec.structs.replace(good, **raw), root) == reason

    def test_metadata_that_others_signed(self, ward: Place, good: Certificate) -> None:
        root = (ward.home / "1.root.json").read_bytes()
        for field in ("targets", "interlock"):
            tree = json.loads(getattr(good, field))
            tree["signed"]["version"] += 1
            forged = msgspec.structs.replace(good, **{field: json.dumps(tree)})
            assert refused(forged, root) == "untrusted_metadata"
        assert refused(good, root + b"\n") == "untrusted_metadata"

    def test_a_roster_that_was_not_in_force_then(self, ward: Place, good: Certificate) -> None:
        root = (ward.home / "1.root.json").read_bytes()
        for at in (DAY0 - hours(48), DAY0 + hours(24 * 40)):
            late = decommission(ONE, LAST, at=at).envelope
            assert refused(msgspec.structs.replace(good, statement=late), root) == "unentitled"

    def test_what_is_no_certificate(self, ward: Place, tmp_path: Path) -> None:
        file = tmp_path / "x"
        for data in (b"", b"{}", b"[]", b'{"type":"urn:interlock:permit:v1"}'):
            file.write_bytes(data)
            result = ward.run("device", "certificate", "verify", file)
            assert result.exit_code in {2, 20}, result.output
            assert "certificate" in result.output
