"""The log: every fact has its entry and every entry its fact, whoever is cut off where; what is
published of it is never taken back; and `check` names what was changed.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from interlock_core import wire
from interlock_core.api import LogProof, LogRecordPage
from interlock_core.checkpoint import Checkpoint, verify_checkpoint
from interlock_core.errors import ConfigurationError, ConflictError
from interlock_core.log import (
    BUNDLE,
    CHECKPOINT_KEY,
    TAIL_KEY,
    Entry,
    bundle_key,
    read_entry,
    statement_fact,
    transition_fact,
    unpack,
)
from interlock_core.report import Enrolment
from interlock_core.statement import Opened
from interlock_core.tree import Tree, leaf_hash, verify_consistency
from interlock_server import log_facts, logbook
from interlock_server.config import load_settings
from interlock_server.db import schema
from interlock_server.db.tables import Base
from interlock_server.heads import fleet_of
from interlock_server.online_keys import Signers
from interlock_server.wiring import check_ready
from tests.server.world import (
    COHORTS,
    NOW,
    V1,
    Bench,
    CutStore,
    Fleet,
    PowerCut,
    both,
    call,
    counted,
    cut_at,
)
from tests.support import people
from tests.support.papers import (
    authorise,
    claim,
    countersign,
    digest,
    enrolment,
    order,
    report,
    stop,
)
from tests.support.people import FLEET

ORIGIN = f"{FLEET}/log"


def entries(bench: Bench) -> list[Entry]:
    with bench.back.database.reading() as db:
        return [read_entry(entry) for entry in logbook.every_entry(db)]


def told(bench: Bench, since: int = 0) -> list[tuple[str, str]]:
    return [(one.fact.kind, one.fact.name) for one in entries(bench)[since:]]


def served(bench: Bench) -> tuple[Checkpoint, list[bytes]]:
    """The checkpoint that is published, and the entries that it covers, from the Store alone."""
    key = bench.signers["log"][0].public_key
    said = verify_checkpoint(bench.store.get(CHECKPOINT_KEY).decode(), ORIGIN, key)
    found: list[bytes] = []
    for number in range(said.size // BUNDLE):
        found += unpack(bench.store.get(bundle_key(number)))
    if said.size % BUNDLE:
        tail = unpack(bench.store.get(TAIL_KEY))
        if read_entry(tail[0]).number != len(found):
            tail = unpack(bench.store.get(bundle_key(said.size // BUNDLE)))
        found += tail[: said.size % BUNDLE]
    return said, found


def whole(bench: Bench) -> Checkpoint:
    """See that what is served is one log, without a gap, that leads to its signed root."""
    said, found = served(bench)
    tree = Tree.of([leaf_hash(entry) for entry in found])
    assert (tree.size, tree.root()) == (said.size, said.root)
    assert [read_entry(entry).number for entry in found] == list(range(said.size))
    return said


def agree(bench: Bench) -> None:
    """See that log and facts are one (no entry without its fact, no fact without its entry)."""
    with bench.back.database.reading() as db:
        held = [read_entry(entry) for entry in logbook.every_entry(db)]
        assert log_facts.missing(db, fleet_of(db)) == []
        assert log_facts.unfounded(db, fleet_of(db), held) == []


def test_everything_that_is_accepted_is_logged(bench: Bench) -> None:
    begun = entries(bench)
    assert [(one.fact.kind, one.fact.name) for one in begun] == [
        ("begun", FLEET),
        ("metadata", "image/root"),
        ("metadata", "director/root"),
        ("metadata", "image/targets"),
        ("metadata", "image/targets"),
        ("metadata", "image/interlock"),
        ("metadata", "image/gateway"),
    ]
    said = order(targets=(V1.target(),))
    word = authorise(said)
    bench.say_all(said, word)
    assert told(bench, 7) == [
        ("statement", "order"),
        ("transition", "rollout/waiting_for_approval"),
        ("statement", "authorisation"),
        ("transition", "rollout/ready"),
    ]
    newest = entries(bench)[7].fact
    assert (newest.id, newest.sha256) == (said.id, wire.sha256_hex(wire.encode(said.envelope)))
    asked = bench.let_in(enrolment())
    bench.tell_all(first := report(asked))
    assert told(bench, 11) == [
        ("statement", "claim"),
        ("statement", "enrolment"),
        ("statement", "authorisation"),
        ("state", "countersigned"),
        ("statement", "report"),
    ]
    # What was known adds nothing, and neither does what is refused.
    size = len(entries(bench))
    bench.say_all(said)
    bench.tell(first)
    bench.say(order(targets=(V1.target(),), by="mallory", seq=7))
    assert len(entries(bench)) == size
    agree(bench)


def test_what_the_server_does_by_itself_is_logged(bench: Bench) -> None:
    asked = bench.let_in(enrolment())
    bench.tell_all(report(asked))
    size = len(entries(bench))
    forked = report(asked, reason="another")
    assert bench.tell(forked).status_code == 409
    (fork,) = entries(bench)[size:]
    assert (fork.fact.kind, fork.fact.name, fork.fact.id) == ("state", "quarantined", asked.id)
    assert fork.fact.sha256 == wire.sha256_hex(wire.encode(forked.envelope))
    # Ada, who countersigned, leaves the roster: nobody posted anything about the device.
    gone = people.roster(people.OLGA, people.ALAN, seq=2, issued=NOW)
    bench.publish_roster(wire.encode(gone), version=2)
    assert ("state", "waiting") in told(bench, size) or countersign(asked).said.author == "olga"
    agree(bench)


def test_an_answer_comes_after_its_checkpoint(bench: Bench) -> None:
    before = whole(bench)
    said = order(targets=(V1.target(),))
    bench.say_all(said)
    after, found = served(bench)
    # The order, and where its rollout stands with it.
    assert after.size == before.size + 2
    assert {read_entry(entry).fact.id for entry in found[-2:]} == {said.id}


def test_reports_share_a_checkpoint(bench: Bench) -> None:
    """No call waits for one: whoever publishes next takes them all."""
    asked = bench.let_in(enrolment())
    before = whole(bench)
    chain = [report(asked)]
    chain += [report(asked, chain[-1])]
    bench.tell_all(*chain)
    assert whole(bench) == before
    bench.back.checkpoints.publish_or_log()
    assert whole(bench).size == before.size + 2


@both
def test_the_database_keeps_entries_from_being_changed(bench: Bench) -> None:
    for act in (
        "UPDATE log_entry SET entry = 'x' WHERE number = 3",
        "DELETE FROM log_entry",
        "UPDATE log_bundle SET root = 'x'",
        "DELETE FROM log_bundle",
    ):
        with pytest.raises(IntegrityError, match="append-only"):
            _execute(bench, "INSERT INTO log_bundle VALUES (0, 'x')", act)
    assert len(entries(bench)) == 7


def _execute(bench: Bench, *acts: str) -> None:
    with bench.back.database.writing() as db:
        for act in acts:
            db.execute(text(act))


# Writers


def _device(number: int) -> Opened[Enrolment]:
    return enrolment(f"GW-{number}", key=f"key-{number}")


def _report_in_a_process(fleet: Fleet, number: int, gate: Any) -> None:
    bench = Bench(fleet)
    bench.restart()
    gate.wait()
    asked, last = _device(number), None
    for _ in range(6):
        last = report(asked, last, key=f"key-{number}")
        assert bench.tell(last).status_code == 201
        bench.back.checkpoints.publish_or_log()


@both
def test_many_processes_never_fork_it(bench: Bench) -> None:
    for number in range(2):
        bench.let_in(_device(number))
    before = len(entries(bench))
    spawn = multiprocessing.get_context("spawn")
    gate = spawn.Barrier(2)
    processes = [
        spawn.Process(target=_report_in_a_process, args=(bench.fleet, number, gate))
        for number in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(entries(bench)) == before + 12
    assert whole(bench).size == before + 12
    agree(bench)


@both
def test_many_threads_never_fork_it(bench: Bench) -> None:
    said = order(targets=(V1.target(),))
    bench.say_all(said)
    stops = [stop(said, by=by, site=f"s{n}") for n in range(4) for by in ("olga", "omar")]

    def say(one: Any) -> int:
        answer = bench.client.application.test_client().post(
            "/v1/statements", data=wire.encode(one.envelope), content_type="application/json"
        )
        return int(answer.status_code)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(say, stops)) == [201] * len(stops)
    assert Counter(told(bench))["statement", "stop"] == len(stops)
    whole(bench)
    agree(bench)


# Cut off


def everything(bench: Bench) -> None:
    said = order(targets=(V1.target(),))
    bench.say_all(said, authorise(said))
    asked = enrolment()
    bench.say_all(claim())
    assert bench.enrol(asked).status_code in {200, 201}
    bench.say_all(countersign(asked))
    assert bench.tell(report(asked)).status_code in {200, 201}
    bench.back.checkpoints.publish()


def test_a_cut_at_any_write_of_the_store_leaves_a_log_that_goes_on(
    fleet: Fleet, signers: Signers, tmp_path: Path
) -> None:
    """The same acts again: nothing is logged twice, and no reader saw a log taken back."""
    sizes = set()
    for number in range(300):
        bench = Bench(fleet.copy(tmp_path / f"cut-{number}"), signers)
        bench.restart(CutStore(bench.store, number))
        try:
            everything(bench)
            finished = True
        except PowerCut:
            finished = False
        seen = whole(bench)
        sizes.add(seen.size)
        bench.restart()
        everything(bench)
        now, found = served(bench)
        proof = Tree.of([leaf_hash(one) for one in found]).prove_consistency(seen.size)
        verify_consistency(seen, now, proof)
        whole(bench)
        agree(bench)
        facts = [read_entry(one).fact for one in found]
        assert len(set(facts)) == len(facts)
        bench.back.database.close()
        if finished:
            break
    assert number > 20
    assert len(sizes) > 5


def test_a_cut_at_any_change_of_the_disk_while_a_bundle_becomes_full(
    fleet: Fleet, signers: Signers, tmp_path: Path
) -> None:
    """Bundle, its note, tail, checkpoint: each is enumerated, within its writing too."""
    began = Bench(fleet, signers)
    began.restart()
    fill(began, 250)
    began.back.checkpoints.publish()
    fill(began, 260)
    began.back.database.close()
    done = Bench(fleet.copy(tmp_path / "whole"), signers)
    done.restart()
    with counted() as changes:
        done.back.checkpoints.publish()
    done.back.database.close()
    assert len(changes) > 8
    for number in range(len(changes)):
        bench = Bench(fleet.copy(tmp_path / f"cut-{number}"), signers)
        bench.restart()
        with cut_at(number), pytest.raises(PowerCut):
            bench.back.checkpoints.publish()
        assert whole(bench).size in {250, 260}
        bench.restart()
        assert bench.back.checkpoints.publish().size == 260
        assert whole(bench).size == 260
        bench.back.database.close()


def fill(bench: Bench, size: int) -> None:
    """Make the log as long as that, with facts of no meaning."""
    with bench.back.database.writing() as db:
        for number in range(logbook.size(db), size):
            fact = statement_fact("urn:interlock:stop:v1", digest(f"filler {number}"), b"x")
            logbook.record(db, bench.clock(), fact)


@both
def test_what_is_rolled_back_used_no_number(bench: Bench) -> None:
    def fail() -> None:
        with bench.back.database.writing() as db:
            fact = statement_fact("urn:interlock:go:v1", digest("x"), b"")
            logbook.record(db, bench.clock(), fact)
            raise PowerCut

    with pytest.raises(PowerCut):
        fail()
    said = order(targets=(V1.target(),))
    bench.say_all(said)
    assert [one.number for one in entries(bench)] == list(range(9))


def test_a_transition_is_recorded_with_what_it_changes(bench: Bench) -> None:
    """Twice through one state are two entries; what is rolled back is none."""
    said = order(targets=(V1.target(),))
    bench.say_all(said)
    before = len(entries(bench))
    for kept in (b"paused by a stop", b"paused by a lapse"):
        with bench.back.database.writing() as session:
            logbook.record(session, bench.clock(), transition_fact("paused", said.id, kept))
    bench.back.checkpoints.publish_or_log()
    found = entries(bench)[before:]
    assert [(one.fact.kind, one.fact.name, one.fact.id) for one in found] == [
        ("transition", "rollout/paused", said.id)
    ] * 2
    assert [one.fact.sha256 for one in found] == [
        wire.sha256_hex(b"paused by a stop"),
        wire.sha256_hex(b"paused by a lapse"),
    ]
    assert whole(bench).size == before + 2
    agree(bench)


# Long logs, and proofs


@both
def test_a_log_of_several_bundles_is_read_from_static_files(bench: Bench) -> None:
    for size in (255, 256, 257, 700):
        fill(bench, size)
        bench.back.checkpoints.publish()
        assert whole(bench).size == size
    said, found = served(bench)
    for old in (1, 7, 256, 300, 512, 700):
        asked = f"/v1/log/consistency?old={old}&new=700"
        answer = wire.decode(bench.client.get(asked).data, LogProof, limit=10**6, what="proof")
        hashes = [bytes.fromhex(one) for one in answer.hashes]
        root = Tree.of([leaf_hash(one) for one in found[:old]]).root()
        verify_consistency(Checkpoint(ORIGIN, old, root), said, hashes)


@pytest.mark.parametrize("query", ["?old=x", "?old=9&new=8", "?old=1&new=99", "?old=-1&new=2"])
def test_no_proof_of_what_there_never_was(bench: Bench, query: str) -> None:
    answer = bench.client.get(f"/v1/log/consistency{query}")
    assert (answer.status_code, answer.json["reason"]) == (400, "bad_size")


def test_records_need_a_token_and_are_what_was_signed(bench: Bench) -> None:
    said = order(targets=(V1.target(),))
    bench.say_all(said)
    asked = bench.let_in(enrolment())
    bench.tell_all(report(asked))
    forked = report(asked, reason="another")
    bench.tell(forked)
    assert bench.client.get("/v1/log/records?from=0").status_code == 401
    assert bench.client.get("/v1/log/records?from=x", headers=bench.token()).status_code == 400
    page = bench.read("/v1/log/records?from=0", LogRecordPage)
    by_number = {one.number: one.envelope for one in page.items}
    for one in entries(bench):
        if one.fact.kind == "statement" or one.fact.name == "quarantined":
            envelope = wire.encode(by_number.pop(one.number))
            assert wire.sha256_hex(envelope) == one.fact.sha256
    assert by_number == {}
    assert page.next is None


def test_pages_of_records_end_where_the_log_does(bench: Bench) -> None:
    fill(bench, 230)
    start: int | None = 0
    pages = 0
    while start is not None:
        page = bench.read(f"/v1/log/records?from={start}", LogRecordPage)
        assert page.next is None or page.next > start
        start, pages = page.next, pages + 1
    assert pages == 3


# A log that does not continue what is published


def test_a_database_that_was_restored_signs_nothing(bench: Bench) -> None:
    old = bench.settings.database_file
    assert old is not None
    bench.back.database.close()
    backup = {path.name: path.read_bytes() for path in old.parent.glob(f"{old.name}*")}
    bench.restart()
    said = order(targets=(V1.target(),))
    bench.say_all(said, authorise(said))
    newest = whole(bench)
    bench.back.database.close()
    for path in old.parent.glob(f"{old.name}*"):
        path.unlink()
    for name, data in backup.items():
        (old.parent / name).write_bytes(data)
    bench.restart()
    with pytest.raises(ConflictError) as caught:
        bench.back.checkpoints.publish()
    assert caught.value.reason == "log_fork"
    # The log keeps nobody from stopping what is on file: another statement is taken all the same.
    bench.say_all(order(targets=(V1.target(),), seq=2))
    assert whole(bench) == newest
    bench.back.database.close()
    checked = call("check", "--config", bench.fleet.config, "--json")
    assert checked.code == 20
    names = {one["name"] for one in checked.answer["problems"]}
    assert names & {"edited_entry", "truncated_log"}


def edit(bench: Bench, *acts: str) -> None:
    """As somebody who owns the database would: triggers keep nobody out who may drop them."""
    drop = [f"DROP TRIGGER log_entry_no_{act}" for act in ("update", "delete")]
    _execute(bench, *drop, *acts)


SWAP = (
    "UPDATE log_entry SET number = 100 WHERE number = 5",
    "UPDATE log_entry SET number = 5 WHERE number = 6",
    "UPDATE log_entry SET number = 6 WHERE number = 100",
)


@pytest.mark.parametrize(
    ("acts", "name", "says"),
    [
        (
            (
                (
                    "UPDATE log_entry SET entry = CAST(REPLACE(CAST(entry AS TEXT), "
                    "'image/gateway', 'image/gateweg') AS BLOB) WHERE number = 6"
                ),
            ),
            "edited_entry",
            "edited",
        ),
        (("DELETE FROM log_entry WHERE number = 5",), "deleted_entry", "Entry 5"),
        (SWAP, "reordered_entry", "was moved"),
        (("DELETE FROM log_entry WHERE number = 8",), "truncated_log", "8"),
        (("DELETE FROM statement",), "fact_lost", "entry 7"),
    ],
    ids=["edited", "deleted", "reordered", "truncated", "a fact deleted"],
)
def test_check_names_what_was_changed_in_the_database(
    bench: Bench, acts: tuple[str, ...], name: str, says: str
) -> None:
    bench.say_all(order(targets=(V1.target(),)))
    bench.back.database.close()
    assert call("check", "--config", bench.fleet.config).code != 20
    edit(bench, *acts)
    bench.back.database.close()
    checked = call("check", "--config", bench.fleet.config, "--json")
    assert checked.code == 20
    found = {one["name"]: one["detail"] for one in checked.answer["problems"]}
    assert says in found[name]


def test_check_names_what_was_changed_in_the_store(bench: Bench) -> None:
    fill(bench, 300)
    bench.back.checkpoints.publish()
    bench.back.database.close()
    path = bench.store.path(bundle_key(0))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"image/root", b"image/toor"))
    checked = call("check", "--config", bench.fleet.config, "--json")
    problems = {(one["name"], one["where"]) for one in checked.answer["problems"]}
    assert ("log_mismatch", "log/entries/0") in problems
    path.write_bytes(data)
    forged = bench.store.get(CHECKPOINT_KEY).replace(b"300", b"299")
    bench.store.path(CHECKPOINT_KEY).write_bytes(forged)
    checked = call("check", "--config", bench.fleet.config, "--json")
    problems = {(one["name"], one["where"]) for one in checked.answer["problems"]}
    assert ("bad_checkpoint", "log/checkpoint") in problems


def test_check_names_what_is_not_published(bench: Bench) -> None:
    fill(bench, 9)
    bench.back.database.close()
    checked = call("check", "--config", bench.fleet.config, "--json")
    assert "log_outdated" in {one["name"] for one in checked.answer["problems"]}


# A server that had no log


def test_a_server_of_before_is_told_what_to_do(fleet: Fleet) -> None:
    config = fleet.config.read_text()
    fleet.config.write_text(config.replace('log = "online/log.key.json"\n', ""))
    with pytest.raises(ConfigurationError, match="keys new DIRECTORY") as caught:
        load_settings(fleet.config)
    assert caught.value.reason == "no_log_key"
    refused = call("serve", "--config", fleet.config, "--json")
    assert (refused.code, refused.answer["reason"]) == (2, "no_log_key")


def tables_since(revision: str) -> list[str]:
    """The tables that a database of that revision does not have yet."""
    config = schema._config()
    with create_engine("sqlite://").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        known = set(inspect(connection).get_table_names())
    return [table.name for table in Base.metadata.sorted_tables if table.name not in known][::-1]


def test_what_was_on_file_before_is_logged_by_migrate(bench: Bench, signers: Signers) -> None:
    said = order(targets=(V1.target(),))
    bench.say_all(said, authorise(said))
    asked = bench.let_in(enrolment())
    bench.tell_all(report(asked))
    edit(bench)
    before = {one.fact for one in entries(bench) if one.fact.kind == "statement"}
    config = schema._config()
    with bench.back.database.engine.begin() as connection:
        # As the schema before: there is no log at all.
        for table in tables_since("0005"):
            connection.execute(text(f"DROP TABLE {table}"))
        config.attributes["connection"] = connection
        command.stamp(config, "0005")
    for key in (CHECKPOINT_KEY, TAIL_KEY):
        bench.store.path(key).unlink()
    bench.back.database.close()
    assert call("serve", "--config", bench.fleet.config).code == 2
    done = call("migrate", "--config", bench.fleet.config, "--json")
    assert (done.code, done.answer["changed"]) == (0, True)
    again = call("migrate", "--config", bench.fleet.config, "--json")
    assert (again.answer["changed"], again.answer["recorded"]) == (False, 0)
    bench.restart()
    found = entries(bench)
    assert found[0].fact.kind == "begun"
    assert {one.fact for one in found if one.fact.kind == "statement"} == before
    assert done.answer["recorded"] == len(found)
    whole(bench)
    agree(bench)
    check_ready(bench.back)


def test_nothing_is_served_before_the_log_is_begun(empty: Fleet) -> None:
    bench = Bench(empty)
    schema.upgrade(bench.back.database)
    with bench.back.database.writing() as db:
        db.execute(
            text("INSERT INTO fleet VALUES (1, 'f', 'a', 'b', x'00', '2027-03-01 08:00:00')")
        )
    with pytest.raises(ConfigurationError) as caught:
        check_ready(bench.back)
    assert caught.value.reason == "no_log"
    bench.back.database.close()


def test_init_publishes_the_first_checkpoint(empty: Fleet) -> None:
    words = [word for cohort in COHORTS for word in ("--cohort", cohort)]
    assert call("init", empty.ceremony, "--config", empty.config, *words).code == 0
    bench = Bench(empty)
    assert whole(bench).size == 4
    bench.back.database.close()
