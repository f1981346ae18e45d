"""``rollout recall``: one command stops, lists and orders the way back; open until it is done."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock_core.order import Order, Stop
from interlock_core.recall_papers import Disposition, Notice
from interlock_core.report import Decided
from interlock_core.statement import Opened
from interlock_ops.settings import CONFIG_VARIABLE
from tests.ops.planted import NEW_TARGET, OLD_TARGET, Fleet, attempt
from tests.ops.world import (
    OLD_PATH,
    OLD_SHA,
    PATH,
    PRODUCT,
    SHA256,
    Original,
    Place,
    at_work,
    build_with_older,
)
from tests.support.papers import (
    Named,
    authorise,
    decommission,
    disposition,
    order,
    signed,
    started,
)
from tests.support.people import CANARY, ST_ANNA


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """An image repository with 1.0.0 and 2.0.0."""
    return build_with_older(tmp_path_factory.mktemp("recall"))


@pytest.fixture
def place(releases: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    with at_work(releases, tmp_path) as made:
        yield made


BAD = order(targets=(NEW_TARGET,))


@pytest.fixture
def fleet(place: Place) -> Fleet:
    """Five devices of the canary cohort, under an order that installs 2.0.0."""
    place.server.post(BAD, *started(BAD))
    found = Fleet(place)
    found.add("GW-1", SHA256)
    found.add("GW-2", OLD_SHA, attempt=attempt(BAD.id, SHA256, "downloaded"))
    found.add("GW-3", OLD_SHA)
    found.add("GW-4")
    found.add("GW-5", SHA256)
    place.clock.now += timedelta(hours=1)
    return found


def recalled(place: Place, *more: str, code: int = 0) -> dict[str, Any]:
    return place.act("recall", f"{PRODUCT}/2.0.0", *more, code=code)


def status(place: Place, id_: str, *more: str | Path, code: int = 10) -> dict[str, Any]:
    return place.json("rollout", "recall", "status", id_, *more, code=code)


def recall_order(place: Place, id_: str) -> Opened[Order]:
    return next(one for one in place.server.of(Order) if one.id == id_)


def whys(answer: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["device"]: (one["why"], one["standing"]) for one in answer["gateways"]}


def test_one_command_stops_lists_and_orders_the_way_back(place: Place, fleet: Fleet) -> None:
    answer = recalled(place)
    assert (answer["reason"], answer["version"]) == ("recalled", "1.0.0")
    [stop] = place.server.of(Stop)
    assert (stop.said.order, stop.said.cohort, stop.said.site) == (BAD.id, None, None)
    assert answer["stops"] == {BAD.id: stop.id}
    orders = {one.id: one.said for one in place.server.of(Order)}
    back = orders[answer["id"]]
    assert (back.kind, back.seq, back.cohorts()) == ("recall", 2, BAD.said.cohorts())
    assert [target.path for target in back.targets] == [OLD_PATH]
    assert all(stage.gate == "manual" for stage in back.stages)
    [notice] = place.server.of(Notice)
    assert notice.said.order == answer["id"]
    assert [image.sha256 for image in notice.said.images] == [SHA256]
    # The stop was there before anything else was.
    kinds = [type(paper.said) for paper in place.server.papers]
    assert kinds.index(Stop) < kinds.index(Notice)
    assert whys(answer["affected"]) == {
        "GW-1": ("runs", "open"),
        "GW-2": ("holds", "open"),
        "GW-3": ("unheard", "open"),
        "GW-4": ("unknown", "open"),
        "GW-5": ("runs", "open"),
    }
    assert answer["needed"]["canary"] == {"approver": 1}


def test_it_stays_open_until_every_gateway_is_accounted_for(place: Place, fleet: Fleet) -> None:
    id_ = recalled(place)["id"]
    assert status(place, id_)["reason"] == "recall_open"
    place.clock.now += timedelta(hours=1)
    now = place.clock.now
    # It took the order, and says so itself.
    fleet.tell("GW-1", OLD_SHA, attempt=attempt(id_, OLD_SHA, "confirmed"))
    stopped = Decided(at=now, order=BAD.id, reason="stopped", detail="a stop stands")
    over = attempt(BAD.id, SHA256, "canceled")
    fleet.tell("GW-2", OLD_SHA, attempt=over, decided=stopped)
    fleet.tell("GW-3", OLD_SHA, decided=stopped)
    found = status(place, id_)
    assert found["counts"] == {"clear": 2, "open": 2, "updated": 1}
    record = ("recall", "record", id_)
    place.act(*record, "GW-4", "--as", "decommissioned", by="ellen")
    place.act(*record, "GW-5", "--as", "unreachable")
    found = status(place, id_, code=0)
    assert (found["reason"], found["closed"]) == ("recall_closed", True)
    assert found["counts"] == {"clear": 2, "decommissioned": 1, "unreachable": 1, "updated": 1}
    [away] = [one for one in found["gateways"] if one["device"] == "GW-5"]
    assert away["disposition"]["since"] == "2027-03-01T08:00:00Z"
    # It is not unreachable after all, and still runs it.
    place.clock.now += timedelta(hours=1)
    fleet.tell("GW-5", SHA256)
    assert whys(status(place, id_))["GW-5"] == ("runs", "open")


def test_the_server_cannot_close_it(place: Place, fleet: Fleet) -> None:
    id_ = recalled(place)["id"]
    # Words by nobody entitled, and words that were never signed so.
    mine = fleet.known["GW-1"]
    word = disposition(
        recall_order(place, id_), Named("GW-1", mine.id), "returned", at=place.clock.now
    )
    unsigned = signed(word.said, "mallory")
    stranger = disposition(
        recall_order(place, id_),
        Named("GW-1", mine.id),
        "returned",
        by="mallory",
        at=place.clock.now,
    )
    place.server.post(stranger, unsigned)
    assert whys(status(place, id_))["GW-1"] == ("runs", "open")
    # It hides the notice: then it is no recall, and none that is closed.
    place.server.hides = (Notice,)
    assert status(place, id_, code=20)["reason"] == "no_recall"


def test_who_is_left_out_of_the_list_is_missed(place: Place, fleet: Fleet) -> None:
    place.json("device", "export", place.home / "before.json")
    id_ = recalled(place)["id"]
    hidden = fleet.known["GW-5"]
    place.server.fleet.enrolments.remove(hidden)
    assert "GW-5" not in whys(status(place, id_))
    known = whys(status(place, id_, "--inventory", place.home / "before.json"))
    assert known["GW-5"] == ("unknown", "open")
    bad = place.json(
        "rollout", "recall", "status", id_, "--inventory", place.home / "olga.toml", code=2
    )
    assert bad["reason"] == "bad_inventory"


def test_what_was_decommissioned_is_accounted_for(place: Place, fleet: Fleet) -> None:
    id_ = recalled(place)["id"]
    place.server.post(decommission(fleet.known["GW-1"], fleet.last["GW-1"]))
    assert whys(status(place, id_))["GW-1"] == ("unknown", "decommissioned")
    # What nobody entitled signed is the server's word.
    place.server.post(decommission(fleet.known["GW-5"], fleet.last["GW-5"], by="ada"))
    assert whys(status(place, id_))["GW-5"][1] == "open"


def test_the_list_as_a_csv_file(place: Place, fleet: Fleet) -> None:
    id_ = recalled(place)["id"]
    place.act("recall", "record", id_, "GW-5", "--as", "returned")
    file = place.home / "list.csv"
    status(place, id_, "--csv", file)
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert [row["device"] for row in rows] == ["GW-1", "GW-2", "GW-3", "GW-4", "GW-5"]
    assert (rows[0]["standing"], rows[0]["why"], rows[4]["standing"]) == (
        "open",
        "runs",
        "returned",
    )
    assert rows[4]["disposition_by"] == "olga"
    # It is evidence: nothing is written over.
    place.act("recall", "record", id_, "GW-4", "--as", "returned")
    assert status(place, id_, "--csv", file, code=20)["reason"] == "conflict"


def test_a_second_recall_stops_nothing_twice(place: Place, fleet: Fleet) -> None:
    recalled(place)
    again = recalled(place)
    assert again["stops"] == {}
    assert len(place.server.of(Stop)) == 1


def test_a_stop_of_one_site_is_no_stop_of_everything(place: Place, fleet: Fleet) -> None:
    place.act("pause", BAD.id, "--site", "ward-7")
    assert len(recalled(place)["stops"]) == 1


def test_first_some_then_all(place: Place, fleet: Fleet) -> None:
    id_ = recalled(place, "--first", CANARY, "--soak", "2h")["id"]
    [back] = [one.said for one in place.server.of(Order) if one.id == id_]
    assert [(stage.cohorts, stage.soak_seconds) for stage in back.stages] == [
        ((CANARY,), 7200),
        ((ST_ANNA, "st-bert"), 0),
    ]
    assert recalled(place, "--first", "nowhere", code=20)["reason"] == "no_such_cohort"


def test_a_dry_run_signs_nothing(place: Place, fleet: Fleet) -> None:
    answer = recalled(place, "--dry-run")
    kinds = [one["predicateType"] for one in answer["statements"]]
    assert kinds == [
        "urn:interlock:stop:v1",
        "urn:interlock:order:v1",
        "urn:interlock:recall:v1",
    ]
    assert place.server.papers[-1].said.PREDICATE == "urn:interlock:authorisation:v1"
    assert whys(answer["affected"])["GW-1"] == ("runs", "open")


def test_to_files(place: Place, fleet: Fleet) -> None:
    recalled(place, "--output", str(place.home / "recall.json"))
    names = {file.name for file in place.home.glob("*recall*.json")}
    assert names == {"stop-recall.json", "recall.json", "recall-2.json"}
    assert place.server.of(Stop) == []


def test_without_a_safe_version_it_is_stopped_all_the_same(place: Place, fleet: Fleet) -> None:
    place.server.post(order(seq=2, targets=(OLD_TARGET,)))
    answer = place.act("recall", f"{PRODUCT}/1.0.0", "--to", "9.9.9", code=20)
    assert answer["reason"] == "no_such_release"
    assert "1 stop(s) are signed" in answer["detail"]
    assert len(place.server.of(Stop)) == 1


def test_a_release_that_never_was(place: Place, fleet: Fleet) -> None:
    answer = place.act("recall", f"{PRODUCT}/7.0.0", code=2)
    assert (answer["reason"], "1.0.0, 2.0.0" in answer["detail"]) == ("no_such_release", True)
    assert place.server.of(Stop) == []


def test_who_may_record(place: Place, fleet: Fleet) -> None:
    id_ = recalled(place)["id"]
    for by in ("ada", "hanna"):
        answer = place.act("recall", "record", id_, "GW-1", "--as", "returned", by=by, code=20)
        assert answer["reason"] == "role_not_held"
    ahead = place.act(
        "recall",
        "record",
        id_,
        "GW-1",
        "--as",
        "returned",
        "--since",
        "2030-01-01T00:00:00Z",
        code=2,
    )
    assert ahead["reason"] == "usage"
    no_recall = place.act("recall", "record", BAD.id, "GW-1", "--as", "returned", code=20)
    assert no_recall["reason"] == "no_recall"
    assert place.server.of(Disposition) == []


def test_devices_that_cannot_be_read_keep_nobody_from_stopping(place: Place, fleet: Fleet) -> None:
    place.server.fleet.alter = lambda _: None  # type: ignore[assignment,return-value]
    answer = recalled(place)
    assert answer["affected"] is None
    assert len(answer["stops"]) == 1


def test_people_read_who_is_affected(place: Place, fleet: Fleet) -> None:
    id_ = recalled(place)["id"]
    shown = place.run("rollout", "recall", "status", id_)
    assert shown.exit_code == 10
    assert "2 run it:" in shown.stdout
    assert "GW-1  ward-7/canary  heard 1h ago: it runs 2.0.0" in shown.stdout
    assert "GW-4  ward-7/canary  never heard" in shown.stdout
    dry = place.run("rollout", "recall", f"{PRODUCT}/2.0.0", "--reason", "x", "--dry-run").stdout
    assert f"takes back   {PATH}" in dry


def test_a_recall_order_of_a_file_is_no_such_recall(place: Place, fleet: Fleet) -> None:
    bare = order(seq=5, kind="recall", targets=(OLD_TARGET,))
    place.server.post(bare, authorise(bare))
    assert status(place, bare.id, code=20)["reason"] == "no_recall"
