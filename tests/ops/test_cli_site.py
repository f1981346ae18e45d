"""``interlock-ops site``: described, held, released and shown."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from interlock_core.api import Place as ApiPlace
from interlock_core.hold import Hold
from interlock_core.roster import Judge
from interlock_core.site import Contact, Site, described
from interlock_ops.zones import utc_offset
from tests.ops.world import OPS_ROSTER, Place
from tests.support.papers import (
    countersign,
    days,
    enrolment,
    hold,
    release,
    report,
    site,
)
from tests.support.people import DAY0

ADD = ("site", "add", "ward-7", "--time-zone", "Europe/Berlin", "--reason", "a good one", "--yes")


@pytest.fixture
def ward(place: Place) -> Place:
    """A gateway of ward 7 is let in and has reported."""
    one = enrolment()
    place.server.fleet.add(one, report(one))
    place.server.post(countersign(one))
    return place


def acts(place: Place, *words: str, by: str = "ellen", code: int = 0) -> dict[str, object]:
    return place.json("site", *words, "--reason", "a good one", "--yes", by=by, code=code)


class TestDescribing:
    def test_a_site_is_described_and_shown(self, ward: Place) -> None:
        done = ward.json(*ADD, "--contact", "night desk: +49 30 1", "--notes", "gate 2", by="ellen")
        assert (done["reason"], done["seq"]) == ("described", 1)
        (said,) = ward.server.of(Site)
        assert said.said.contacts == (Contact(name="night desk", reach="+49 30 1"),)
        assert described(Judge(OPS_ROSTER, DAY0), [said], "ward-7") == said
        shown = ward.json("site", "show", "ward-7")
        assert shown["described"]["time_zone"] == "Europe/Berlin"
        assert shown["described"]["notes"] == "gate 2"
        text = ward.run("site", "show", "ward-7").stdout
        assert "night desk: +49 30 1" in text
        listed = ward.json("site", "list")["sites"]
        assert [one["described"]["time_zone"] for one in listed] == ["Europe/Berlin"]

    def test_an_edit_keeps_what_it_does_not_name(self, ward: Place) -> None:
        ward.server.post(site())
        done = acts(ward, "edit", "ward-7", "--notes", "gate 3", by="olga")
        assert done["seq"] == 2
        said = ward.server.of(Site)[-1].said
        assert (said.time_zone, said.notes, len(said.contacts)) == ("Europe/Berlin", "gate 3", 1)
        acts(ward, "edit", "ward-7", "--no-contacts")
        assert ward.server.of(Site)[-1].said.contacts == ()
        same = acts(ward, "edit", "ward-7", "--notes", "gate 3")
        assert (same["outcome"], same["reason"]) == ("nothing_to_do", "unchanged")

    def test_what_is_refused_before_anything_is_signed(self, ward: Place) -> None:
        assert ward.json(*ADD, by="ada", code=20)["reason"] == "role_not_held"
        assert acts(ward, "edit", "ward-7", "--notes", "x", code=20)["reason"] == "not_described"
        ward.server.post(site())
        assert ward.json(*ADD, by="ellen", code=20)["reason"] == "known_site"
        bad = ("edit", "ward-7", "--time-zone", "Mars/Olympus")
        assert acts(ward, *bad, code=2)["reason"] == "bad_time_zone"
        for words in (("--time-zone", "../x"), ("--contact", "nobody"), ("--contact", ": 1")):
            assert ward.run("site", "edit", "ward-7", *words, "--reason", "x").exit_code == 2
        assert len(ward.server.of(Site)) == 1

    def test_a_description_by_a_stranger_is_not_believed(self, ward: Place) -> None:
        ward.server.post(site(by="mallory", seq=9))
        shown = ward.json("site", "show", "ward-7")
        assert (shown["described"], shown["unproven"]) == (None, True)
        assert "have it signed again" in ward.run("site", "show", "ward-7").stdout
        assert ward.json(*ADD, by="ellen")["seq"] == 10

    def test_a_server_that_answers_with_another_site(self, ward: Place) -> None:
        def lie(place: ApiPlace) -> ApiPlace:
            return msgspec.structs.replace(place, descriptions=(site(site="ward-9").envelope,))

        ward.server.fleet.alter_place = lie
        assert ward.json("site", "show", "ward-7")["described"] is None


class TestHolding:
    def test_an_engineer_holds_and_releases_alone(self, ward: Place) -> None:
        done = acts(ward, "hold", "ward-7", "--until", "3d")
        assert (done["reason"], done["until"]) == ("held", "2027-03-04T08:00:00Z")
        (said,) = ward.server.of(Hold)
        assert said.said.until == DAY0 + days(3)
        shown = ward.json("site", "show", "ward-7")["holds"]
        assert [one["id"] for one in shown] == [said.id]
        assert ward.json("site", "list")["sites"][0]["holds"] == shown
        assert "held until" in ward.run("site", "list").stdout
        ended = acts(ward, "release", "ward-7")
        assert ended["released"] == [said.id]
        assert ward.json("site", "show", "ward-7")["holds"] == []
        again = acts(ward, "release", "ward-7")
        assert (again["outcome"], again["reason"]) == ("nothing_to_do", "nothing_held")

    def test_no_operator_releases_what_a_hospital_holds(self, ward: Place) -> None:
        mine, theirs = hold(by="olga"), hold()
        ward.server.post(theirs)
        assert acts(ward, "release", "ward-7", by="olga", code=20)["reason"] == "role_not_held"
        ward.server.post(mine)
        done = acts(ward, "release", "ward-7", by="olga")
        assert (done["released"], done["stand"]) == ([mine.id], [theirs.id])
        one = acts(ward, "release", "ward-7", "--hold", theirs.id)
        assert one["released"] == [theirs.id]

    @pytest.mark.parametrize(
        ("words", "code", "reason"),
        [
            (("--until", "91d"), 20, "too_long"),
            (("--until", "2027-02-01T00:00:00Z"), 20, "expired"),
            (("--until", "1d", "--from", "2d"), 20, "too_long"),
            (("--until", "soon"), 2, "usage"),
            (("--until", "3d", "--from", "soon"), 2, "usage"),
        ],
    )
    def test_times_that_are_none(
        self, ward: Place, words: tuple[str, ...], code: int, reason: str
    ) -> None:
        assert acts(ward, "hold", "ward-7", *words, code=code)["reason"] == reason
        assert ward.server.of(Hold) == []

    def test_somebody_not_entitled_signs_nothing(self, ward: Place) -> None:
        done = acts(ward, "hold", "ward-7", "--until", "3d", by="ada", code=20)
        assert done["reason"] == "role_not_held"
        assert ward.server.of(Hold) == []

    def test_a_released_or_forged_hold_stands_nowhere(self, ward: Place) -> None:
        forged, ended = hold(by="mallory"), hold()
        ward.server.post(forged, ended, release(ended))
        assert ward.json("site", "show", "ward-7")["holds"] == []


def test_zones_follow_the_seasons() -> None:
    assert utc_offset("Europe/Berlin", DAY0) == timedelta(hours=1)
    assert utc_offset("Europe/Berlin", DAY0 + days(60)) == timedelta(hours=2)
    assert utc_offset("Mars/Olympus", DAY0) is None
