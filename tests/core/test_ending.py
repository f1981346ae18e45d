"""Who ends an enrolment, and what rotates a key (24 to 26)."""

from __future__ import annotations

from typing import Any

import pytest

from interlock_core.ending import LastReport, ending_counts, ends_as
from interlock_core.fleet import countersigned, rotates
from interlock_core.report import Enrolment
from interlock_core.roster import Grant, Judge
from interlock_core.statement import Opened
from tests.support.papers import (
    countersign,
    decommission,
    digest,
    enrolment,
    hours,
    report,
    revocation,
    rotation,
)
from tests.support.people import DAY0, ELLEN, FAR, PEOPLE, ST_ANNA, grant, person, roster

ELSEWHERE = person("elke", Grant(role="engineer", cohorts=("*",), expires=FAR, sites=("ward-9",)))
OF_ANNA = person("otto", grant("operator", ST_ANNA))
JUDGE = Judge(roster(*PEOPLE, ELLEN, ELSEWHERE, OF_ANNA), DAY0 + hours(1))
OF = enrolment()
LAST = report(OF)


class TestEndings:
    @pytest.mark.parametrize("who", ["ellen", "olga"])
    def test_whoever_could_countersign_ends_it(self, who: str) -> None:
        assert ending_counts(JUDGE, revocation(OF, by=who), OF)
        assert ending_counts(JUDGE, decommission(OF, LAST, by=who), OF)

    @pytest.mark.parametrize(
        "one",
        [
            revocation(OF, by="ada"),
            revocation(OF, by="elke"),
            revocation(OF, by="otto"),
            revocation(OF, by="mona"),
            revocation(OF, key="mallory"),
            revocation(OF, fleet="south"),
            revocation(OF, at=DAY0 + hours(2)),
            revocation(OF, enrolment=digest("another")),
            revocation(OF, device="GW-0002"),
            revocation(OF, by="GW-0001"),
        ],
    )
    def test_nobody_else_does(self, one: Opened[Any]) -> None:
        assert not ending_counts(JUDGE, one, OF)

    def test_each_has_its_state(self) -> None:
        assert ends_as(revocation(OF).said) == "revoked"
        assert ends_as(decommission(OF).said) == "decommissioned"

    def test_what_ran_is_known_from_a_report_alone(self) -> None:
        assert decommission(OF, LAST).said.report == LastReport(number=1, id=LAST.id)
        with pytest.raises(ValueError, match="report"):
            decommission(OF, running=digest("x"))


class TestRotations:
    def test_both_keys_sign_and_only_the_key_is_new(self) -> None:
        assert rotates(rotation(OF), OF) is None

    @pytest.mark.parametrize(
        "one",
        [
            rotation(OF, keys=("a new key",)),
            rotation(OF, keys=("GW-0001",)),
            rotation(OF, keys=("a new key", "mallory")),
            rotation(OF, "GW-0001"),
            rotation(OF, replaces=digest("another")),
            rotation(OF, site="ward-9"),
            rotation(OF, product="pump"),
            rotation(OF, hardware="cm4-r3"),
            enrolment(key="a new key"),
        ],
        ids=[
            "the key in force did not sign",
            "the new key did not sign",
            "somebody else's key signed",
            "no new key",
            "of another enrolment",
            "at another site",
            "of another product",
            "on other hardware",
            "no rotation at all",
        ],
    )
    def test_anything_else_is_none(self, one: Opened[Enrolment]) -> None:
        assert rotates(one, OF) is not None

    def test_it_counts_when_it_is_countersigned_and_no_sooner(self) -> None:
        new = rotation(OF)
        assert countersigned(JUDGE, new, [countersign(OF)]) is None
        assert countersigned(JUDGE, new, [countersign(new)]) is not None

    def test_one_without_it_is_what_it_always_was(self) -> None:
        assert b"replaces" not in OF.payload
