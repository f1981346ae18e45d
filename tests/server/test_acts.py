"""Holds and descriptions of sites, and how enrolments end: what is taken, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from interlock_core import wire
from interlock_core.api import Device, DevicePage, EnrolmentRequest, Place, PlacePage
from interlock_core.directive import MAX_DIRECTIVE, MAX_HOLDS, read_directive
from interlock_core.hold import Hold
from interlock_core.roster import Judge
from interlock_core.site import Site
from interlock_core.statement import Opened, open_as
from interlock_server.acts import MAX_HOLDS_OF_ONE
from interlock_server.director import HOLDS_SHARE, direct
from interlock_server.enrolments import MAX_ROTATIONS
from interlock_server.image import Released
from interlock_server.onfile import OnFile
from interlock_server.online_keys import Signers
from tests.server.world import NOW, Bench, Fleet
from tests.support.papers import (
    DEVICE,
    assignment,
    authorise,
    claim,
    countersign,
    days,
    decommission,
    digest,
    enrolment,
    hold,
    hours,
    release,
    report,
    revocation,
    rotation,
    site,
)
from tests.support.people import CANARY, ELLEN, FLEET, PEOPLE, ST_ANNA, ST_BERT, person, roster
from tests.support.people import grant as granted

HERE = enrolment()
OTTO = person("otto", granted("operator", ST_ANNA))
EVERYBODY = (*PEOPLE, ELLEN, OTTO)


@pytest.fixture(scope="session")
def with_ward(template: Fleet, signers: Signers, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet whose roster names an engineer of ward 7, with a gateway there; tests copy it."""
    fleet = template.copy(tmp_path_factory.mktemp("ward") / "fleet")
    bench = Bench(fleet, signers)
    bench.restart()
    bench.publish_roster(wire.encode(fleet.roster(*EVERYBODY, seq=2)), 2)
    bench.let_in(HERE)
    bench.back.database.close()
    return fleet


@pytest.fixture
def ward(with_ward: Fleet, signers: Signers, tmp_path: Path) -> Iterator[Bench]:
    """A server of that fleet, in this process."""
    bench = Bench(with_ward.copy(tmp_path / "ward"), signers)
    bench.restart()
    yield bench
    bench.back.database.close()


def holds(bench: Bench, cohort: str = CANARY) -> set[str]:
    """The holds that the directive of a cohort shows."""
    shown = bench.directive(cohort).holds
    return set() if shown is UNSET else {open_as(one, Hold).id for one in shown}


def refused(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["reason"]


class TestHolds:
    def test_one_signature_reaches_the_gateways_of_the_site(self, ward: Bench) -> None:
        said = hold()
        assert ward.say(said).json == {"id": said.id, "type": "urn:interlock:hold:v1"}
        assert holds(ward) == {said.id}
        # Nobody of that site is there.
        assert holds(ward, ST_BERT) == set()
        assert ward.say(said).status_code == 200

    def test_a_fleet_without_holds_reads_what_it_always_did(self, ward: Bench) -> None:
        assert b"holds" not in wire.encode(ward.directive())

    def test_a_release_takes_it_out(self, ward: Bench) -> None:
        said = hold()
        ward.say_all(said, release(said))
        assert holds(ward) == set()
        assert ward.directive().holds is UNSET

    def test_it_leaves_when_it_is_over_or_nobody_entitled_signed_it(self, ward: Bench) -> None:
        ward.say_all(hold(), hold(by="olga", lasts=days(9)))
        ward.clock.now += days(3)
        ward.back.publisher.refresh()
        assert len(holds(ward)) == 1
        ward.publish_roster(wire.encode(ward.fleet.roster(*PEOPLE[1:], seq=3)), 3)
        assert holds(ward) == set()

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            (hold(by="ada"), "role_not_held"),
            (hold(by="otto"), "role_not_held"),
            (hold(site="ward-9", by="olga"), "unknown_site"),
            (hold(key="mallory"), "bad_signature"),
            (hold(by="nobody"), "unknown_author"),
            (hold(fleet="south"), "wrong_fleet"),
            (hold(at=NOW + hours(1)), "dated_in_future"),
            (hold(lasts=hours(0.5)), "expired"),
            (release(hold()), "unknown_hold"),
        ],
    )
    def test_what_is_refused(self, ward: Bench, said: Opened[Hold], reason: str) -> None:
        assert refused(ward.say(said)) == (403, reason)
        assert holds(ward) == set()
        assert ward.refusals()["statement", reason] == 1

    def test_no_operator_releases_what_a_hospital_holds(self, ward: Bench) -> None:
        said = hold()
        ward.say_all(said)
        assert refused(ward.say(release(said, by="olga"))) == (403, "role_not_held")
        assert refused(ward.say(release(said, by="otto"))) == (403, "role_not_held")
        assert holds(ward) == {said.id}

    def test_it_stands_where_a_gateway_is_on_its_way_to(self, ward: Bench) -> None:
        said = hold()
        ward.say_all(said)
        away = assignment(HERE.id, from_cohort=CANARY, to_cohort=ST_BERT)
        ward.say_all(away, authorise(away))
        assert holds(ward, ST_BERT) == set(), "Ellen is no engineer over that cohort"
        wide = hold(by="olga")
        ward.say_all(wide)
        assert holds(ward, ST_BERT) == {wide.id}
        assert holds(ward, CANARY) == {said.id, wide.id}

    def test_an_assignment_takes_the_hold_along_at_once(self, ward: Bench) -> None:
        wide = hold(by="olga")
        ward.say_all(wide)
        assert holds(ward, ST_BERT) == set()
        ward.say_all(assignment(HERE.id, from_cohort=CANARY, to_cohort=ST_BERT))
        assert holds(ward, ST_BERT) == {wide.id}

    def test_it_stands_where_a_new_gateway_asks(self, ward: Bench) -> None:
        wide = hold(by="olga")
        ward.say_all(wide)
        ward.let_in(enrolment("GW-0009", cohort=ST_ANNA))
        assert holds(ward, ST_ANNA) == {wide.id}

    def test_one_person_does_not_fill_the_file(self, ward: Bench) -> None:
        for number in range(MAX_HOLDS_OF_ONE):
            ward.say_all(hold(reason=f"{number}"))
        assert refused(ward.say(hold(reason="one more"))) == (409, "too_many_holds")
        ward.say_all(hold(by="olga"))
        ward.clock.now += days(3)
        ward.say_all(hold(at=ward.clock.now))

    def test_of_more_than_fit_one_of_each_site_comes_first(self) -> None:
        people = roster(*EVERYBODY)
        many = [hold(by="olga", site="ward-1", reason=f"{n}") for n in range(MAX_HOLDS)]
        long = [hold(by="olga", site="ward-3", reason=999 * "x", lasts=days(9)) for _ in "1"]
        one = hold(by="olga", site="ward-2", lasts=hours(3))
        on_file = OnFile(
            *((), (), (), ()),
            holds=(*many, *long, one, hold(by="olga", site="elsewhere")),
            sites={CANARY: {"ward-1", "ward-2", "ward-3"}},
        )
        made = direct(Judge(people, NOW), on_file, Released(None, {}), FLEET, CANARY)
        shown = read_directive(made.directive).holds
        assert shown is not UNSET
        assert len(shown) <= MAX_HOLDS
        assert len(wire.encode(shown)) <= HOLDS_SHARE < MAX_DIRECTIVE
        sites = [open_as(envelope, Hold).said.site for envelope in shown]
        assert {"ward-1", "ward-2", "ward-3"} == set(sites[:3])
        assert "elsewhere" not in sites


class TestSites:
    def test_what_was_said_is_read_newest_first_with_the_holds(self, ward: Bench) -> None:
        first, second, held = site(), site(by="olga", seq=2, notes="new"), hold()
        ward.say_all(first, second, held)
        place = ward.read("/v1/sites/ward-7", Place)
        assert (place.name, place.countersigned, place.served) == ("ward-7", 1, True)
        assert [open_as(one, Site).id for one in place.descriptions] == [second.id, first.id]
        assert [open_as(one, Hold).id for one in place.holds] == [held.id]
        assert ward.read("/v1/sites", PlacePage).items == (place,)

    def test_a_site_may_be_described_before_its_first_gateway(self, ward: Bench) -> None:
        ward.say_all(site(by="olga", site="ward-9"))
        assert ward.read("/v1/sites/ward-9", Place).countersigned == 0
        assert [one.name for one in ward.read("/v1/sites", PlacePage).items] == ["ward-7", "ward-9"]

    def test_one_that_nobody_knows(self, ward: Bench) -> None:
        answer = ward.client.get("/v1/sites/ward-9", headers=ward.token())
        assert refused(answer) == (404, "unknown_site")
        assert ward.client.get("/v1/sites/ward-7").status_code == 401

    @pytest.mark.parametrize(
        ("said", "status", "reason"),
        [
            (site(by="ada"), 403, "role_not_held"),
            (site(site="ward-9"), 403, "role_not_held"),
            (site(key="mallory"), 403, "bad_signature"),
            (site(by="omar"), 409, "seq_taken"),
            (site(by="omar", seq=1002), 409, "seq_too_high"),
        ],
    )
    def test_what_is_refused(
        self, ward: Bench, said: Opened[Site], status: int, reason: str
    ) -> None:
        ward.say_all(site())
        assert refused(ward.say(said)) == (status, reason)
        assert ward.say(site()).status_code == 200


class TestEnds:
    @pytest.fixture
    def last(self, ward: Bench) -> Opened[Any]:
        """The gateway's newest report."""
        first = report(HERE, at=NOW)
        last = report(HERE, first, at=NOW)
        ward.tell_all(first, last)
        return last

    def state(self, ward: Bench) -> str:
        state: str = ward.client.get(f"/v1/enrolments/{HERE.id}").json["state"]
        return state

    def test_nothing_that_a_revoked_key_says_is_taken(self, ward: Bench, last: Opened[Any]) -> None:
        said = revocation(HERE)
        ward.say_all(said)
        assert self.state(ward) == "revoked"
        next_ = report(HERE, last, at=NOW)
        assert refused(ward.tell(next_)) == (403, "revoked")
        # What was taken before is known, and changes nothing.
        assert ward.tell(last).status_code == 200
        device = ward.read(f"/v1/devices/{DEVICE}", Device)
        assert (device.state, device.ending) == ("revoked", said.envelope)
        assert device.refused == {"revoked": 1}
        assert ward.say(said).status_code == 200
        assert refused(ward.say(revocation(HERE, by="olga"))) == (409, "revoked")

    def test_it_stays_revoked_whoever_leaves_the_roster(self, ward: Bench) -> None:
        ward.say_all(revocation(HERE))
        ward.publish_roster(wire.encode(ward.fleet.roster(*PEOPLE[1:], seq=3)), 3)
        ward.back.publisher.refresh()
        assert self.state(ward) == "revoked"

    def test_nobody_countersigns_or_moves_it_again(self, ward: Bench) -> None:
        ward.say_all(revocation(HERE))
        assert refused(ward.say(countersign(HERE, "omar"))) == (403, "revoked")
        away = assignment(HERE.id, from_cohort=CANARY, to_cohort=ST_BERT)
        assert refused(ward.say(away)) == (403, "revoked")

    def test_it_is_counted_nowhere(self, ward: Bench) -> None:
        other = ward.let_in(enrolment("GW-0002"))
        ward.say_all(revocation(HERE), decommission(other))
        assert [one.countersigned for one in ward.read("/v1/sites", PlacePage).items] == []
        canary = next(p for p in ward.read("/v1/cohorts", PlacePage).items if p.name == CANARY)
        assert (canary.countersigned, canary.waiting, canary.quarantined) == (0, 0, 0)
        found = ward.read("/v1/devices?state=decommissioned", DevicePage).items
        assert [one.enrolment for one in found] == [other.envelope]

    def test_a_decommissioning_names_the_last_report(self, ward: Bench, last: Opened[Any]) -> None:
        early = decommission(HERE)
        assert refused(ward.say(early)) == (409, "other_report")
        wrong = decommission(HERE, last, running=digest("another image"))
        assert refused(ward.say(wrong)) == (409, "other_report")
        said = decommission(HERE, last)
        ward.say_all(said)
        assert self.state(ward) == "decommissioned"
        assert refused(ward.tell(report(HERE, last, at=NOW))) == (403, "decommissioned")
        assert ward.read(f"/v1/devices/{DEVICE}", Device).ending == said.envelope

    def test_what_was_revoked_is_taken_out_of_service_and_not_the_other_way(
        self, ward: Bench, last: Opened[Any]
    ) -> None:
        ward.say_all(revocation(HERE), said := decommission(HERE, last))
        assert ward.read(f"/v1/devices/{DEVICE}", Device).ending == said.envelope
        assert refused(ward.say(revocation(HERE, by="olga"))) == (409, "decommissioned")
        assert self.state(ward) == "decommissioned"

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            (revocation(HERE, by="ada"), "role_not_held"),
            (revocation(HERE, by="otto"), "role_not_held"),
            (decommission(HERE, by="otto"), "role_not_held"),
            (revocation(HERE, key="mallory"), "bad_signature"),
            (revocation(HERE, device="GW-0002"), "device_mismatch"),
            (revocation(HERE, enrolment=digest("nothing")), "unknown_enrolment"),
        ],
    )
    def test_what_is_refused(self, ward: Bench, said: Opened[Any], reason: str) -> None:
        assert refused(ward.say(said)) == (403, reason)
        assert self.state(ward) == "countersigned"

    def test_the_key_is_refused_for_ever_and_the_device_is_let_in_with_another(
        self, ward: Bench
    ) -> None:
        ward.say_all(decommission(HERE))
        ward.say_all(claim())
        again = enrolment(at=HERE.said.at + timedelta(seconds=1))
        assert refused(ward.enrol(again)) == (403, "decommissioned")
        # The claim is not spent by what was refused.
        assert ward.enrol(enrolment(key="another")).status_code == 201

    def test_a_hold_is_for_no_gateway_that_is_out_of_service(self, ward: Bench) -> None:
        ward.say_all(hold())
        ward.say_all(revocation(HERE))
        ward.back.publisher.refresh()
        assert holds(ward) == set()
        assert refused(ward.say(hold(reason="again"))) == (403, "unknown_site")


class TestRotations:
    def ask(self, bench: Bench, new: Opened[Any], secret: str | None = None) -> Any:
        return bench.post("/v1/enrolments", EnrolmentRequest(claim=secret, enrolment=new.envelope))

    def test_the_key_in_force_lets_the_next_one_ask(self, ward: Bench) -> None:
        new = rotation(HERE)
        answer = self.ask(ward, new)
        assert (answer.status_code, answer.json) == (201, {"id": new.id, "state": "waiting"})
        assert self.ask(ward, new).status_code == 200
        # Until somebody countersigns, the old key speaks for the device and the new one does not.
        ward.tell_all(report(HERE, at=NOW))
        assert refused(ward.tell(report(new, key="a new key", at=NOW))) == (
            403,
            "not_countersigned",
        )
        ward.say_all(countersign(new, at=NOW))
        ward.tell_all(report(new, key="a new key", at=NOW))
        assert refused(ward.tell(report(HERE, report(HERE, at=NOW), at=NOW))) == (403, "superseded")

    def test_both_signatures_are_kept_and_no_others(self, ward: Bench) -> None:
        new = rotation(HERE, keys=("mallory", "a new key", "GW-0001"))
        assert self.ask(ward, new).status_code == 201
        shown = ward.read("/v1/devices?state=waiting", DevicePage).items
        [found] = [one.enrolment for one in shown]
        assert {one.keyid for one in found.signatures} == {
            one.keyid for one in rotation(HERE).envelope.signatures
        }
        assert len(found.signatures) == 2

    @pytest.mark.parametrize(
        ("new", "reason"),
        [
            (rotation(HERE, keys=("a new key",)), "bad_rotation"),
            (rotation(HERE, keys=("a new key", "mallory")), "bad_rotation"),
            (rotation(HERE, site="ward-9"), "bad_rotation"),
            (rotation(HERE, replaces=digest("nothing")), "unknown_enrolment"),
            (rotation(HERE, "olga"), "key_taken"),
            (enrolment(key="a new key"), "bad_claim"),
            (rotation(HERE, cohort="nowhere", fleet="south"), "wrong_fleet"),
        ],
    )
    def test_what_is_refused(self, ward: Bench, new: Opened[Any], reason: str) -> None:
        status, found = refused(self.ask(ward, new))
        assert (found, status // 100) == (reason, 4)
        assert ward.read("/v1/devices?state=waiting", DevicePage).items == ()

    def test_a_claim_goes_with_no_rotation(self, ward: Bench) -> None:
        ward.say_all(claim("rotated" * 6))
        assert refused(self.ask(ward, rotation(HERE), "rotated" * 6)) == (403, "bad_rotation")

    def test_a_key_that_signs_in_two_places_or_was_revoked_lets_nobody_in(
        self, ward: Bench
    ) -> None:
        ward.tell_all(report(HERE, at=NOW))
        assert refused(ward.tell(report(HERE, at=NOW, reason="another"))) == (409, "report_fork")
        assert refused(self.ask(ward, rotation(HERE))) == (403, "quarantined")
        ward.say_all(revocation(HERE))
        assert refused(self.ask(ward, rotation(HERE))) == (403, "revoked")

    @pytest.mark.parametrize("end", [revocation, decommission])
    def test_one_that_waits_is_not_let_in_once_the_old_key_was_ended(
        self, ward: Bench, end: Callable[..., Opened[Any]]
    ) -> None:
        # Whoever has a stolen key asks with one of his own before anybody revokes the stolen one.
        new = rotation(HERE)
        assert self.ask(ward, new).status_code == 201
        ward.say_all(end(HERE))
        status, reason = refused(ward.say(countersign(new, at=NOW)))
        assert (status, reason) == (403, "revoked" if end is revocation else "decommissioned")
        assert refused(ward.tell(report(new, key="a new key", at=NOW)))[1] == "not_countersigned"

    def test_they_do_not_pile_up(self, ward: Bench) -> None:
        for number in range(MAX_ROTATIONS):
            assert self.ask(ward, rotation(HERE, f"key {number}")).status_code == 201
        assert refused(self.ask(ward, rotation(HERE, "one more"))) == (409, "too_many_rotations")
