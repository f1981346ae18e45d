"""Whoever holds a device's key, a claim, or one person's key, against the fleet's side of a server.

A report that nobody may make changes nothing but a counter. Who is let in or moved, people sign.
"""

from __future__ import annotations

import pytest

from interlock_core.api import Device
from interlock_core.report import Report
from interlock_core.statement import Opened
from interlock_core.wire import encode
from tests.attacks.siege import Siege
from tests.support.papers import (
    DEVICE,
    SECRET,
    assignment,
    authorise,
    claim,
    decommission,
    enrolment,
    hold,
    report,
    revocation,
    rotation,
)
from tests.support.people import CANARY, ST_ANNA

MINE, OTHER = enrolment(), enrolment("GW-0002")
FIRST = report(MINE)
SECOND = report(MINE, FIRST, reason="again")


def told(siege: Siege, *reports: Opened[Report]) -> Siege:
    """Two devices are let in, and one has said this."""
    siege.bench.let_in(MINE)
    siege.bench.let_in(OTHER)
    siege.bench.tell_all(*reports)
    return siege


def refused(siege: Siege, reason: str, opened: Opened[Report], status: int = 403) -> None:
    """A report is refused by this name, and counted; what the device is known by stays."""
    before = siege.bench.read(f"/v1/devices/{DEVICE}", Device)
    siege.refuses(status, reason, "POST", "/v1/reports", opened.envelope)
    after = siege.bench.read(f"/v1/devices/{DEVICE}", Device)
    assert (after.report, after.state) == (before.report, before.state)
    assert siege.bench.refusals()["report", reason] == 1
    assert reason in siege.log.text


class TestReports:
    def test_for_another_device(self, siege: Siege) -> None:
        forged = report(MINE, FIRST, key="GW-0002")
        refused(told(siege, FIRST), "bad_signature", forged)

    def test_in_another_devices_name(self, siege: Siege) -> None:
        forged = report(MINE, FIRST, author="GW-0002", key=DEVICE)
        refused(told(siege, FIRST), "bad_signature", forged)

    def test_a_success_that_nobody_signed(self, siege: Siege) -> None:
        refused(told(siege, FIRST), "bad_signature", report(MINE, FIRST, key="eve"))

    def test_before_it_is_its_turn(self, siege: Siege) -> None:
        refused(told(siege), "report_gap", SECOND, 409)

    def test_from_another_fleet(self, siege: Siege) -> None:
        refused(told(siege, FIRST), "wrong_fleet", report(MINE, FIRST, fleet="south"))

    def test_of_an_enrolment_that_nobody_knows(self, siege: Siege) -> None:
        refused(told(siege, FIRST), "unknown_enrolment", report(enrolment("GW-0003")))

    def test_replayed(self, siege: Siege) -> None:
        """What was taken once is known, and changes nothing."""
        told(siege, FIRST, SECOND)
        before = siege.kept()
        for again in (FIRST, SECOND, FIRST):
            assert siege.ask("POST", "/v1/reports", again.envelope).status == 200
        assert siege.kept() == before

    def test_from_a_clone(self, siege: Siege) -> None:
        """The same number twice: from then on nothing that it says is counted."""
        told(siege, FIRST, SECOND)
        clone = report(MINE, FIRST, reason="elsewhere")
        siege.is_refusal(siege.ask("POST", "/v1/reports", clone.envelope), 409, "report_fork")
        assert siege.bench.read(f"/v1/devices/{DEVICE}", Device).state == "quarantined"
        later = report(MINE, SECOND)
        siege.is_refusal(siege.ask("POST", "/v1/reports", later.envelope), 403, "quarantined")


class TestEnrolments:
    def asks(self, secret: str, name: str = DEVICE) -> bytes:
        return encode({"claim": secret, "enrolment": enrolment(name).envelope})

    def test_with_a_secret_of_his_own(self, siege: Siege) -> None:
        siege.refuses(403, "bad_claim", "POST", "/v1/enrolments", self.asks(4 * "guess-it"))

    def test_with_a_claim_that_was_used(self, siege: Siege) -> None:
        siege.says(claim())
        assert siege.ask("POST", "/v1/enrolments", self.asks(SECRET)).status == 201
        again = self.asks(SECRET, "GW-0002")
        siege.refuses(409, "claim_used", "POST", "/v1/enrolments", again)

    def test_a_report_before_anybody_countersigned(self, siege: Siege) -> None:
        siege.says(claim())
        assert siege.ask("POST", "/v1/enrolments", self.asks(SECRET)).status == 201
        siege.refuses(403, "not_countersigned", "POST", "/v1/reports", FIRST.envelope)

    @pytest.mark.parametrize("by", ["ada", "hanna", "mona"])
    def test_a_claim_or_a_countersignature_by_somebody_not_entitled(
        self, siege: Siege, by: str
    ) -> None:
        siege.is_refusal(siege.post(claim(by=by)), 403, "role_not_held")
        siege.says(claim())
        assert siege.ask("POST", "/v1/enrolments", self.asks(SECRET)).status == 201
        siege.refuses_paper("role_not_held", authorise(MINE, by, role="operator"))


class TestEnds:
    """A stolen key that was revoked; those who would revoke, hold or rotate what is not theirs."""

    def test_what_a_revoked_key_says(self, siege: Siege) -> None:
        told(siege, FIRST).says(revocation(MINE, by="olga"))
        refused(siege, "revoked", SECOND)
        again = encode({"claim": SECRET, "enrolment": enrolment(reason="me again").envelope})
        siege.says(claim())
        siege.is_refusal(siege.ask("POST", "/v1/enrolments", again), 403, "revoked")
        siege.is_refusal(siege.post(authorise(MINE, "omar", role="operator")), 403, "revoked")

    @pytest.mark.parametrize("by", ["ada", "hanna", "mona"])
    def test_by_somebody_not_entitled(self, siege: Siege, by: str) -> None:
        told(siege, FIRST)
        for paper in (revocation(MINE, by=by), decommission(MINE, FIRST, by=by), hold(by=by)):
            siege.is_refusal(siege.post(paper), 403, "role_not_held")
        assert siege.bench.read(f"/v1/devices/{DEVICE}", Device).state == "countersigned"
        assert b"holds" not in encode(siege.bench.directive())

    def test_a_certificate_of_what_is_not_true(self, siege: Siege) -> None:
        told(siege, FIRST)
        for wrong in (decommission(MINE, by="olga"), decommission(MINE, SECOND, by="olga")):
            siege.is_refusal(siege.post(wrong), 409, "other_report")
        assert siege.bench.read(f"/v1/devices/{DEVICE}", Device).state == "countersigned"

    def test_a_stolen_key_rotates_nothing_by_itself(self, siege: Siege) -> None:
        """It may ask, as with a claim; nothing counts before somebody countersigns."""
        told(siege, FIRST)
        mine = rotation(MINE, "eve")
        asked = encode({"claim": None, "enrolment": mine.envelope})
        assert siege.ask("POST", "/v1/enrolments", asked).status == 201
        forged = report(mine, key="eve")
        siege.is_refusal(
            siege.ask("POST", "/v1/reports", forged.envelope), 403, "not_countersigned"
        )
        assert siege.ask("POST", "/v1/reports", SECOND.envelope).status == 201

    def test_a_rotation_without_the_key_in_force(self, siege: Siege) -> None:
        told(siege, FIRST)
        forged = rotation(MINE, "eve", keys=("eve", "GW-0002"))
        asked = encode({"claim": None, "enrolment": forged.envelope})
        siege.refuses(403, "bad_rotation", "POST", "/v1/enrolments", asked)


class TestAssignments:
    @pytest.mark.parametrize("by", ["ada", "hanna", "mona"])
    def test_by_somebody_who_is_no_operator(self, siege: Siege, by: str) -> None:
        moved = assignment(MINE.id, by=by, from_cohort=CANARY, to_cohort=ST_ANNA)
        told(siege).refuses_paper("role_not_held", moved)

    def test_of_a_device_under_another_ones_enrolment(self, siege: Siege) -> None:
        moved = assignment(OTHER.id, from_cohort=CANARY, to_cohort=ST_ANNA)
        told(siege).refuses_paper("device_mismatch", moved)

    def test_one_operator_alone_moves_nothing(self, siege: Siege) -> None:
        told(siege).says(assignment(MINE.id, from_cohort=CANARY, to_cohort=ST_ANNA))
        entry = siege.bench.directive().products.get("gateway")
        assert entry is not None
        assert entry.assignments == ()
