"""``interlock-server cohort``: further cohorts, published before they are there for anybody."""

from __future__ import annotations

import pytest

from interlock_core import wire
from interlock_core.errors import ConflictError
from interlock_core.tuf_stored import StoredRepository
from interlock_server.founding import add_cohorts
from tests.server.world import COHORTS, V1, Bench, CutStore, Fleet, PowerCut, both, call
from tests.support import people
from tests.support.papers import authorise, order, stage


def add(bench: Bench, *names: str) -> tuple[str, ...]:
    return add_cohorts(
        names,
        database=bench.back.database,
        store=bench.back.writes,
        publisher=bench.back.publisher,
        clock=bench.clock,
    ).added


@both
def test_a_cohort_is_added_to_a_server_that_runs(bench: Bench) -> None:
    said = order(targets=(V1.target(),), stages=(stage("ward-9"),))
    assert bench.say(said).json["reason"] == "unknown_cohort"
    assert add(bench, "ward-9") == ("ward-9",)
    assert bench.directive("ward-9").products == {}
    bench.say_all(said, authorise(said))
    assert bench.directive("ward-9").products["gateway"].order == said.envelope
    assert "ward-9" in bench.client.get("/v1/info").json["cohorts"]


def test_adding_it_again_changes_nothing(bench: Bench) -> None:
    add(bench, "ward-9")
    before = StoredRepository(bench.store, "director/ward-9").timestamp()
    assert add(bench, "ward-9", "canary") == ()
    after = StoredRepository(bench.store, "director/ward-9").timestamp()
    assert before is not None
    assert after is not None
    assert before.signed.version == after.signed.version


@pytest.mark.parametrize("number", range(6))
def test_a_crash_leaves_no_cohort_without_a_directive(bench: Bench, number: int) -> None:
    bench.restart(CutStore(bench.store, number))
    with pytest.raises(PowerCut):
        add(bench, "ward-9")
    bench.restart()
    assert "ward-9" not in bench.client.get("/v1/info").json["cohorts"]
    add(bench, "ward-9")
    assert bench.directive("ward-9").products == {}


def test_a_root_that_was_swapped_is_not_passed_on(bench: Bench) -> None:
    path = bench.settings.store_directory / "director/canary/metadata/1.root.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ConflictError) as caught:
        add(bench, "ward-9")
    assert caught.value.reason == "store_lost"


@pytest.fixture
def founded(empty: Fleet) -> Fleet:
    words = [word for cohort in COHORTS for word in ("--cohort", cohort)]
    assert call("init", empty.ceremony, "--config", empty.config, *words).code == 0
    return empty


def test_the_command_adds_and_lists(founded: Fleet) -> None:
    listed = call("cohort", "list", "--config", founded.config)
    assert (listed.code, listed.out.split()) == (0, sorted(COHORTS))
    first = call("cohort", "add", "ward-9", "ward-8", "--config", founded.config)
    assert (first.code, first.out) == (0, "Fleet north has ward-8, ward-9 more.\n")
    again = call("cohort", "add", "ward-9", "--config", founded.config, "--json")
    assert again.answer == {
        "outcome": "done",
        "reason": "",
        "added": [],
        "cohorts": sorted([*COHORTS, "ward-8", "ward-9"]),
        "uncovered": [],
    }
    assert (
        call("cohort", "list", "--config", founded.config, "--json").answer["cohorts"]
        == (again.answer["cohorts"])
    )
    problems = call("check", "--config", founded.config, "--json").answer["problems"]
    assert [one["name"] for one in problems] == ["no_roster"]


def test_the_command_warns_of_a_cohort_that_the_roster_denies(founded: Fleet) -> None:
    bench = Bench(founded)
    bench.restart()
    bench.delegate()
    made = bench.fleet.roster(rules=(people.rules("canary"), people.rules("st-*")))
    bench.publish_roster(wire.encode(made))
    bench.back.database.close()
    added = call("cohort", "add", "ward-9", "st-carl", "--config", founded.config)
    assert added.code == 0
    assert "No pattern of the roster covers ward-9" in added.out
    said = call("cohort", "add", "ward-9", "--config", founded.config, "--json").answer
    assert said["uncovered"] == ["ward-9"]


def test_what_the_command_refuses(founded: Fleet) -> None:
    for words, code, reason in (
        (("add", "UPPER"), 20, "bad_name"),
        (("add", "../x"), 20, "bad_name"),
        (("add",), 2, "usage"),
        (("remove", "canary"), 2, "usage"),
    ):
        said = call("cohort", *words, "--config", founded.config, "--json")
        assert (said.code, said.answer["reason"]) == (code, reason), words
        assert "Traceback" not in said.err
    assert call("cohort", "list", "--config", founded.config).out.split() == sorted(COHORTS)


def test_before_init_there_is_nothing_to_add_to(empty: Fleet) -> None:
    for words in (("add", "ward-9"), ("list",)):
        said = call("cohort", *words, "--config", empty.config, "--json")
        assert (said.code, said.answer["reason"]) == (2, "wrong_schema")
