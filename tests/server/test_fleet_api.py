"""What operators read about the fleet: devices, cohorts, sites, claims; filters and pages."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, select, text
from werkzeug.test import Client

from interlock_core.api import PAGE, ClaimPage, Device, DevicePage, PlacePage
from interlock_core.report import Enrolment
from interlock_core.statement import open_as
from interlock_server.db.fleet_tables import EnrolmentRow
from interlock_server.fleet import MAX_ASSIGNMENTS
from interlock_server.web.health import health_app
from tests.server.test_health import samples
from tests.server.world import NOW, Bench, both
from tests.support.papers import (
    assignment,
    authorise,
    claim,
    countersign,
    enrolment,
    report,
)
from tests.support.people import CANARY, ST_ANNA, ST_BERT

ODD = "GW:1.a-B_c"


def names(bench: Bench, query: str = "") -> list[str]:
    page = bench.read(f"/v1/devices{query}", DevicePage)
    return [open_as(one.enrolment, Enrolment).said.device for one in page.items]


@pytest.fixture
def fleet_of_five(bench: Bench) -> Bench:
    """One that waits, one quarantined, one moved, one superseded and asked anew, one as it is."""
    bench.say_all(claim())
    bench.enrol(enrolment("GW-1"))
    bench.let_in(quarantined := enrolment("GW-2", site="ward-8"))
    bench.tell_all(report(quarantined))
    bench.tell(report(quarantined, reason="said elsewhere"))
    bench.let_in(moved := enrolment("GW-3"))
    bench.tell_all(report(moved, cohort=ST_BERT))
    bench.let_in(enrolment("GW-4", key="an old key"))
    bench.let_in(enrolment("GW-4", at=NOW))
    bench.let_in(enrolment(ODD, cohort=ST_ANNA, site="ward-8"))
    return bench


@both
def test_devices_are_found_by_cohort_site_and_state(fleet_of_five: Bench) -> None:
    everybody = ["GW-1", "GW-2", "GW-3", "GW-4", ODD]
    for query, expected in {
        "": everybody,
        "?cohort=canary": ["GW-1", "GW-2", "GW-4"],
        "?cohort=st-bert": ["GW-3"],
        "?site=ward-8": ["GW-2", ODD],
        "?state=waiting": ["GW-1"],
        "?state=countersigned": ["GW-3", "GW-4", ODD],
        "?state=quarantined": ["GW-2"],
        "?state=superseded": ["GW-4"],
        "?cohort=canary&state=countersigned": ["GW-4"],
        "?site=ward-8&state=quarantined&cohort=canary": ["GW-2"],
        "?cohort=ward-9": [],
        "?page=2": [],
    }.items():
        assert names(fleet_of_five, query) == expected, query


def test_a_device_is_read_by_its_id_whatever_it_holds(fleet_of_five: Bench) -> None:
    for path in (f"/v1/devices/{ODD}", "/v1/devices/GW%3A1.a-B_c"):
        device = fleet_of_five.read(path, Device)
        assert device.enrolment == enrolment(ODD, cohort=ST_ANNA, site="ward-8").envelope


def test_a_device_comes_with_everything_that_was_signed_about_it(bench: Bench) -> None:
    asked = bench.let_in(enrolment())
    moves = [assignment(asked.id, seq=seq) for seq in range(1, MAX_ASSIGNMENTS + 3)]
    words = [authorise(moves[-1]), authorise(moves[0])]
    bench.say_all(*moves, *words)
    bench.tell_all(one := report(asked))
    device = bench.read("/v1/devices/GW-0001", Device)
    assert device.assignments == tuple(m.envelope for m in reversed(moves))[:MAX_ASSIGNMENTS]
    # The words of what is not shown are not shown either.
    assert device.words == (countersign(asked).envelope, words[0].envelope)
    assert (device.report, device.received_at) == (one.envelope, NOW)


REFUSED: dict[str, tuple[int, str]] = {
    "/v1/devices?state=lost": (400, "bad_state"),
    "/v1/devices?cohort=UPPER": (400, "bad_name"),
    "/v1/devices?site=a/b": (400, "bad_name"),
    "/v1/devices?page=0": (400, "bad_page"),
    "/v1/devices?page=-1": (400, "bad_page"),
    "/v1/devices?page=1234567890": (400, "bad_page"),
    "/v1/claims?page=x": (400, "bad_page"),
    "/v1/cohorts?page=x": (400, "bad_page"),
    "/v1/sites?page=x": (400, "bad_page"),
    "/v1/devices/GW-9999": (404, "unknown_device"),
    "/v1/devices/%2e%2e": (404, "unknown_device"),
    "/v1/devices/": (404, "not_found"),
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_cannot_be_asked(bench: Bench, path: str) -> None:
    answer = bench.client.get(path, headers=bench.token())
    assert (answer.status_code, answer.json["reason"]) == REFUSED[path]


@pytest.mark.parametrize(
    "path", ["/v1/devices", "/v1/devices/GW-1", "/v1/cohorts", "/v1/sites", "/v1/claims"]
)
def test_reading_needs_a_token(bench: Bench, path: str) -> None:
    answer = bench.client.get(path)
    assert (answer.status_code, answer.json["reason"]) == (401, "bad_token")


def test_cohorts_and_sites_count_their_devices(fleet_of_five: Bench) -> None:
    counts = {
        path: {
            one.name: (one.served, one.waiting, one.countersigned, one.quarantined)
            for one in fleet_of_five.read(path, PlacePage).items
        }
        for path in ("/v1/cohorts", "/v1/sites")
    }
    assert counts["/v1/cohorts"] == {
        CANARY: (True, 1, 2, 1),
        ST_ANNA: (True, 0, 1, 0),
        ST_BERT: (True, 0, 1, 0),
    }
    assert counts["/v1/sites"] == {"ward-7": (True, 1, 2, 0), "ward-8": (True, 0, 2, 1)}


def test_a_cohort_that_devices_poll_and_nobody_serves_is_seen(bench: Bench) -> None:
    asked = bench.let_in(enrolment())
    bench.tell_all(report(asked, cohort="elsewhere"))
    (found,) = [o for o in bench.read("/v1/cohorts", PlacePage).items if o.name == "elsewhere"]
    assert (found.served, found.countersigned) == (False, 1)


def test_claims_are_listed_newest_first(bench: Bench) -> None:
    first, second = (
        claim(4 * "secret-1"),
        claim(4 * "secret-2", expires=NOW + (NOW - NOW.replace(hour=8))),
    )
    bench.say_all(first, second)
    bench.enrol(enrolment(), 4 * "secret-1")
    found = bench.read("/v1/claims", ClaimPage)
    assert [(one.claim, one.used_by, one.expired) for one in found.items] == [
        (second.envelope, None, False),
        (first.envelope, "GW-0001", False),
    ]
    assert found.next is None


def many(bench: Bench, number: int) -> None:
    """Enrolments as the database would keep them."""
    bench.let_in(enrolment("GW-00000"))
    with bench.back.database.writing() as db:
        pattern = db.scalars(select(EnrolmentRow)).one()
        columns = {
            column.key: getattr(pattern, column.key)
            for column in EnrolmentRow.__table__.columns
            if column.key != "number"
        }
        db.execute(
            insert(EnrolmentRow),
            [columns | {"id": f"{n:064}", "device": f"GW-{n:05}"} for n in range(1, number)],
        )


@both
def test_lists_are_paged(bench: Bench) -> None:
    many(bench, 2 * PAGE + 1)
    token = bench.token()
    seen: list[int] = []
    page: Any = 1
    while page is not None:
        found = bench.client.get(f"/v1/devices?page={page}", headers=token).json
        seen.append(len(found["items"]))
        page = found["next"]
    assert seen == [PAGE, PAGE, 1]


def test_every_list_of_devices_walks_along_an_index(bench: Bench) -> None:
    """A large fleet is never read whole, nor sorted, to show a page of it."""
    many(bench, 3)
    with bench.back.database.reading() as db:
        for where in (
            "shown = 1",
            "cohort = 'a' AND shown = 1",
            "site = 'a' AND shown = 1",
            "state = 'waiting'",
            "cohort = 'a' AND state = 'waiting'",
            "site = 'a' AND state = 'waiting'",
        ):
            order = "ORDER BY device, number LIMIT 101"
            asked = f"EXPLAIN QUERY PLAN SELECT * FROM enrolment WHERE {where} {order}"  # noqa: S608  # words of our own
            plan = " ".join(row[3] for row in db.execute(text(asked)))
            assert "SEARCH enrolment USING INDEX" in plan, (where, plan)
            assert "TEMP B-TREE" not in plan, (where, plan)


@both
def test_the_numbers_say_how_the_fleet_is(fleet_of_five: Bench) -> None:
    found = samples(Client(health_app(fleet_of_five.back)).get("/metrics").text)
    states = {
        state: found["interlock_devices", (state,)]
        for state in ("waiting", "countersigned", "quarantined", "superseded")
    }
    assert states == {"waiting": 1, "countersigned": 3, "quarantined": 1, "superseded": 1}
    assert found["interlock_reports_total", ()] == 2
    assert found["interlock_refusals_total", ("report", "report_fork")] == 1
    assert found["interlock_statements_total", ("urn:interlock:claim:v1",)] == 6
    assert found["interlock_statements_total", ("urn:interlock:enrolment:v1",)] == 6
    assert found["interlock_statements_total", ("urn:interlock:authorisation:v1",)] == 5
