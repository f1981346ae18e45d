"""A rollout from proposal to the last stage, by commands alone."""

from __future__ import annotations

import json
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock_core.order import Authorisation, Go, Order, Stop, Target
from interlock_core.statement import Opened, open_as, read_envelope
from tests.ops.world import IMAGE, ORDER, PATH, SHA256, Place
from tests.support import papers
from tests.support.papers import authorise, days, opening, started, stop
from tests.support.people import DAY0, FLEET, ST_ANNA

WANTED = Target(path=PATH, length=len(IMAGE), sha256=SHA256)


def order(**fields: Any) -> Opened[Order]:
    """An order for the image that the repository holds."""
    return papers.order(targets=(WANTED,), **fields)


# The whole thread


def test_from_proposal_to_the_last_stage(place: Place) -> None:
    proposed = place.act("propose", place.order_file())
    assert (proposed["outcome"], proposed["reason"], proposed["seq"]) == ("done", "proposed", 1)
    assert proposed["needed"] == {
        "canary": {"approver": 1},
        "st-anna": {"approver": 1, "hospital": 1},
    }
    id_ = proposed["id"]
    place.act("authorise", id_, "--role", "approver", by="ada")
    place.act("authorise", id_, "--role", "hospital", "--meaning", "consented", by="hanna")
    first = place.act("start", id_)
    place.act("authorise", "--go", first["id"], "--role", "approver", by="ada")
    assert place.act("advance", id_, code=10)["reason"] == "too_early"
    place.clock.now += timedelta(days=1)
    second = place.act("advance", id_, by="omar")
    assert (second["stage"], second["order"]) == (1, id_)
    place.act("authorise", id_, "--go", second["id"], "--role", "approver", by="ada")
    place.act("authorise", "--go", second["id"], "--role", "hospital", by="hanna")

    halt = place.act("pause", id_, by="omar")
    status = place.json("rollout", "status", id_)
    assert {cohort["state"] for cohort in status["cohorts"].values()} == {"paused"}
    again = place.act("resume", id_)
    assert again["clears"] == [halt["id"]]
    place.act("authorise", "--go", again["id"], "--role", "approver", by="ada")
    place.act("authorise", "--go", again["id"], "--role", "hospital", by="hanna")

    place.clock.now += timedelta(days=6)
    place.act("renew", id_)
    status = place.json("rollout", "status", id_, by="ada")
    assert status["reason"] == "status"
    for cohort in status["cohorts"].values():
        assert cohort["state"] == "running"
        assert [stage["open_since"] is not None for stage in cohort["stages"]] == [True, True]
        assert cohort["live_until"] == "2027-03-15T08:00:00Z"


def test_the_statement_is_what_was_asked_for(place: Place) -> None:
    place.act("propose", place.order_file())
    [paper] = place.server.papers
    said = paper.said
    assert isinstance(said, Order)
    assert said.targets == (WANTED,)
    assert (said.fleet, said.author, said.at, said.seq) == (FLEET, "olga", DAY0, 1)
    assert said.reason == "a good one"


def test_numbers_rise(place: Place) -> None:
    place.server.post(order(seq=3), order(seq=7), order(seq=5))
    assert place.act("propose", place.order_file())["seq"] == 8


def test_a_number_can_be_given(place: Place) -> None:
    assert place.act("propose", place.order_file(), "--seq", "40")["seq"] == 40
    assert not any("challenges" in asked for asked in place.server.asked)


# Shown, confirmed, signed


def test_an_order_is_shown_whole_before_anybody_signs(place: Place) -> None:
    text = ORDER.replace("percent = 100", "percent = 12.5", 1).replace(
        'soak = "0s"\ngate = "manual"', 'soak = "0s"\ngate = "auto"'
    )
    result = place.run(
        "rollout", "propose", place.order_file(text), "--reason", "CVE", answer="n\n"
    )
    assert result.exit_code == 2
    assert "Nothing was signed" in result.stderr
    assert place.server.papers == []
    for said in (PATH, SHA256, "12.5 %", "1d", "auto: the monitor", "counter 2", "CVE"):
        assert said in result.stdout
    assert "whoever steals the monitor's key" in result.stderr
    assert "is a probability" in result.stderr


def test_yes_at_a_terminal_signs(place: Place) -> None:
    result = place.run("rollout", "propose", place.order_file(), "--reason", "x", answer="y\n")
    assert result.exit_code == 0, result.output
    assert "Sign this statement as olga?" in result.stderr
    [paper] = place.server.papers
    assert paper.id in result.stdout
    assert "approver x 1, hospital x 1" in result.stdout


def test_without_a_terminal_yes_must_be_said(place: Place) -> None:
    result = place.run("rollout", "propose", place.order_file(), "--reason", "x")
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert place.server.papers == []


def test_a_dry_run_prints_the_statement_and_signs_nothing(place: Place) -> None:
    words = ("rollout", "propose", place.order_file(), "--reason", "x", "--dry-run")
    (place.home / "passphrase").unlink()
    answer = place.json(*words, "--seq", "1")
    assert answer["outcome"] == "dry_run"
    [statement] = answer["statements"]
    assert statement["predicateType"] == "urn:interlock:order:v1"
    assert statement["predicate"]["targets"] == [
        {"path": PATH, "length": len(IMAGE), "sha256": SHA256}
    ]
    assert SHA256 in place.run(*words, "--seq", "1").stdout
    assert place.server.papers == []


@pytest.mark.parametrize("command", ["start", "pause"])
def test_a_dry_run_of_other_acts_posts_nothing(place: Place, command: str) -> None:
    paper = order()
    place.server.post(paper, authorise(paper))
    words = ("rollout", command, paper.id, "--reason", "x", "--dry-run")
    assert place.json(*words)["outcome"] == "dry_run"
    assert len(place.server.papers) == 2


def test_a_reason_is_needed(place: Place) -> None:
    for words in ((), ("--reason", " "), ("--reason", "x" * 1001)):
        result = place.run("rollout", "propose", place.order_file(), "--yes", *words)
        assert result.exit_code == 2
    assert place.server.papers == []


def test_an_envelope_crosses_the_air_gap_in_a_file(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    written = place.act("propose", place.order_file(), "--output", file)
    assert (written["reason"], written["files"]) == ("written", [str(file)])
    assert place.server.papers == []
    assert open_as(read_envelope(file.read_bytes()), Order).id == written["id"]
    posted = place.json("rollout", "post", file)
    assert posted["ids"] == [written["id"]]
    assert [paper.id for paper in place.server.papers] == [written["id"]]
    # Once more does no harm, and other bytes are never overwritten.
    assert place.json("rollout", "post", file)["reason"] == "posted"
    place.clock.now += timedelta(seconds=1)
    assert place.act("propose", place.order_file(), "--output", file, code=20)["reason"] == (
        "conflict"
    )


def test_what_is_no_statement_is_not_posted(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text("{}")
    assert place.json("rollout", "post", file, code=20)["reason"] == "malformed"
    assert place.json("rollout", "post", tmp_path / "absent", code=2)["reason"] == "not_found"
    assert place.server.asked == []


# Start, advance, renew


def test_start_signs_an_opening_of_stage_0(place: Place) -> None:
    paper = order()
    place.server.post(paper, authorise(paper))
    answer = place.act("start", paper.id, "--valid-for", "3d", by="omar")
    go = place.server.papers[-1].said
    assert isinstance(go, Go)
    assert (go.order, go.stage, go.act, go.seq) == (paper.id, 0, "open", 1)
    assert (go.at, go.opened_at, go.valid_until) == (DAY0, DAY0, DAY0 + days(3))
    assert (go.author, answer["needed"]) == ("omar", {"canary": {"approver": 1}})


def test_a_go_is_at_most_30_days_valid(place: Place) -> None:
    paper = order()
    place.server.post(paper, authorise(paper))
    for text in ("31d", "0s", "never"):
        result = place.run(
            "rollout", "start", paper.id, "--reason", "x", "--yes", "--valid-for", text
        )
        assert result.exit_code == 2, result.output
    assert len(place.server.papers) == 2


def test_a_start_can_be_dated(place: Place) -> None:
    paper = order()
    place.server.post(paper, authorise(paper))
    place.act("start", paper.id, "--opened-at", "2027-03-01T22:00:00Z")
    go = place.server.papers[-1].said
    assert isinstance(go, Go)
    assert go.opened_at == DAY0 + timedelta(hours=14)
    refused = place.act("start", paper.id, "--opened-at", "tonight", code=2)
    assert "'tonight' is not a time" in refused["detail"]


def test_starting_twice_names_the_go_that_waits(place: Place) -> None:
    paper = order()
    first = opening(paper)
    place.server.post(paper, authorise(paper), first)
    refused = place.act("start", paper.id, code=20)
    assert refused["reason"] == "waiting_for_approval"
    assert first.id in refused["detail"]


def test_what_is_open_is_nothing_to_do(place: Place) -> None:
    paper = order()
    place.server.post(paper, *started(paper))
    answer = place.act("start", paper.id)
    assert (answer["outcome"], answer["reason"]) == ("nothing_to_do", "already_open")


def test_renew_names_its_opening(place: Place) -> None:
    paper = order()
    _, first, _ = started(paper)
    place.server.post(paper, *started(paper))
    place.clock.now += timedelta(days=5)
    place.act("renew", paper.id, "--valid-for", "14d")
    go = place.server.papers[-1].said
    assert isinstance(go, Go)
    assert (go.act, go.stage, go.renews, go.opened_at) == ("renew", 0, first.id, DAY0)
    assert go.valid_until == DAY0 + days(19)


def test_a_lapsed_rollout_is_not_renewed_and_is_resumed(place: Place) -> None:
    paper = order()
    place.server.post(paper, *started(paper))
    place.clock.now += timedelta(days=8)
    assert place.act("renew", paper.id, code=20)["reason"] == "go_lapsed"
    again = place.act("resume", paper.id)
    place.act("authorise", "--go", again["id"], "--role", "approver", by="ada")
    status = place.json("rollout", "status", paper.id)
    assert status["cohorts"]["canary"]["state"] == "running"


# Pause and resume


def test_one_signature_stops_everywhere(place: Place) -> None:
    paper = order()
    place.server.post(paper)
    assert place.act("pause", paper.id, by="omar")["reason"] == "paused"
    said = place.server.papers[-1].said
    assert isinstance(said, Stop)
    assert (said.order, said.cohort, said.site, said.author) == (paper.id, None, None, "omar")


def test_a_stop_can_be_of_one_cohort_and_site(place: Place) -> None:
    paper = order()
    place.server.post(paper)
    place.act("pause", paper.id, "--cohort", ST_ANNA, "--site", "ward-7", by="hanna")
    said = place.server.papers[-1].said
    assert isinstance(said, Stop)
    assert (said.cohort, said.site) == (ST_ANNA, "ward-7")
    refused = place.act("pause", paper.id, "--cohort", "elsewhere", code=2)
    assert refused["reason"] == "no_such_cohort"


def test_a_stop_that_would_count_nowhere_is_said_and_sent(place: Place) -> None:
    paper = order()
    place.server.post(paper)
    result = place.run("rollout", "pause", paper.id, "--reason", "x", "--yes", by="ada")
    assert result.exit_code == 0
    assert "counts for nothing at canary, st-anna, st-bert" in result.stderr
    assert isinstance(place.server.papers[-1].said, Stop)


def test_a_stop_does_not_wait_for_the_image_repository(place: Place) -> None:
    paper = order()
    place.server.post(paper)
    place.server.lie["/image/metadata/timestamp.json"] = b"{}"
    config = place.config("omar", person="omar")
    words = ("rollout", "pause", paper.id, "--reason", "x", "--yes")
    result = place.run(*words, by="omar", config=config)
    assert result.exit_code == 0, result.output
    assert "roster could not be checked" in result.stderr
    assert isinstance(place.server.papers[-1].said, Stop)


def test_a_stop_needs_no_network_to_be_signed(place: Place, tmp_path: Path) -> None:
    config = place.config("omar", person="omar", server="http://127.0.0.1:9")
    file = tmp_path / "stop.json"
    words = ("rollout", "pause", "ab" * 32, "--reason", "x", "--yes", "--output", file)
    result = place.run(*words, by="omar", config=config)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert open_as(read_envelope(file.read_bytes()), Stop).said.order == "ab" * 32


def test_a_stop_of_an_unknown_order_is_a_slip(place: Place) -> None:
    assert place.act("pause", "ab" * 32, code=2)["reason"] == "not_found"
    assert place.server.papers == []


def test_resume_shows_what_it_ends(place: Place) -> None:
    paper = order()
    halt = stop(paper, reason="alarms\x1b[31m late")
    place.server.post(paper, *started(paper), halt)
    result = place.run("rollout", "resume", paper.id, "--reason", "cabling", "--yes")
    assert result.exit_code == 0, result.output
    assert halt.id in result.stdout
    assert "Stop by omar: everywhere" in result.stdout
    assert "alarms\\u{1b}[31m late" in result.stdout
    go = place.server.papers[-1].said
    assert isinstance(go, Go)
    assert (go.act, go.clears) == ("resume", (halt.id,))


def test_resume_can_name_a_stop_that_the_server_hides(place: Place) -> None:
    paper = order()
    place.server.post(paper, *started(paper))
    words = ("rollout", "resume", paper.id, "--clears", "ab" * 32, "--reason", "x", "--yes")
    result = place.run(*words)
    assert result.exit_code == 0, result.output
    assert "The server does not show the stop" in result.stderr
    go = place.server.papers[-1].said
    assert isinstance(go, Go)
    assert go.clears == ("ab" * 32,)


def test_nothing_to_resume(place: Place) -> None:
    paper = order()
    place.server.post(paper, *started(paper))
    assert place.act("resume", paper.id)["outcome"] == "nothing_to_do"


# Authorise


def test_authorise_signs_the_id_of_what_was_shown(place: Place) -> None:
    paper = order()
    place.server.post(paper)
    words = ("rollout", "authorise", paper.id, "--role", "approver", "--reason", "x", "--yes")
    result = place.run(*words, by="ada")
    assert result.exit_code == 0, result.output
    for said in (paper.id, SHA256, "canary", "approved as approver"):
        assert said in result.stdout
    said_ = place.server.papers[-1].said
    assert isinstance(said_, Authorisation)
    assert (said_.authorises, said_.id, said_.role, said_.meaning) == (
        "order",
        paper.id,
        "approver",
        "approved",
    )


def test_authorising_again_is_nothing_to_do(place: Place) -> None:
    paper = order()
    place.server.post(paper, authorise(paper))
    answer = place.act("authorise", paper.id, "--role", "approver", by="ada")
    assert (answer["outcome"], answer["reason"]) == ("nothing_to_do", "already_authorised")
    assert len(place.server.papers) == 2


def test_a_go_is_found_among_all_orders(place: Place) -> None:
    orders = [order(seq=seq) for seq in range(1, 6)]
    go = opening(orders[0])
    place.server.post(*orders, go)
    place.act("authorise", "--go", go.id, "--role", "approver", by="ada")
    said = place.server.papers[-1].said
    assert isinstance(said, Authorisation)
    assert (said.authorises, said.id) == ("go", go.id)


def test_an_unknown_go_is_named(place: Place) -> None:
    paper = order()
    place.server.post(paper)
    for words in (("--go", "ab" * 32), (paper.id, "--go", "ab" * 32)):
        refused = place.act("authorise", *words, "--role", "approver", by="ada", code=2)
        assert refused["reason"] == "no_such_go"
    assert place.act("authorise", "--role", "approver", by="ada", code=2)["reason"] == "usage"


# Status


def test_the_list_is_paged_and_newest_first(place: Place) -> None:
    place.server.post(*[order(seq=seq) for seq in range(1, 6)])
    listed = place.json("rollout", "status")["rollouts"]
    assert [one["seq"] for one in listed] == [5, 4, 3, 2, 1]
    assert place.json("rollout", "status", "--product", "other")["rollouts"] == []
    shown = place.run("rollout", "status").stdout
    assert all(one["id"] in shown for one in listed)


def test_status_in_words(place: Place) -> None:
    paper = order()
    place.server.post(paper, *started(paper), stop(paper, cohort=ST_ANNA, by="hanna"))
    place.clock.now += timedelta(hours=4)
    shown = place.run("rollout", "status", paper.id).stdout
    assert "canary: running" in shown
    assert "open since 2027-03-01T08:00:00Z, soak left 20h" in shown
    assert "live until   2027-03-08T08:00:00Z (in 6d20h)" in shown
    assert "st-anna: waiting for approval" in shown
    assert "missing      hospital x 1" in shown
    assert "alarms sound late" in shown


def test_status_looks_at_later_orders(place: Place) -> None:
    paper, later = order(), order(seq=2)
    place.server.post(paper, *started(paper), later, authorise(later))
    cohorts = place.json("rollout", "status", paper.id)["cohorts"]
    assert cohorts["canary"]["superseded_by"] == f"order 2 ({later.id[:12]})"


def test_status_of_a_running_rollout_needs_one_token(place: Place) -> None:
    paper = order()
    place.server.post(paper, *started(paper))
    place.json("rollout", "status", paper.id)
    assert sum("tokens" in asked for asked in place.server.asked) == 1


def test_a_stale_roster_is_said(place: Place) -> None:
    paper = order()
    place.server.post(paper, *started(paper))
    place.clock.now += timedelta(days=35)
    assert "gateways believe one for 35 days" in place.run("rollout", "status", paper.id).stderr


def test_the_settings_variable_is_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_OPS_CONFIG", str(place.config("olga")))
    assert place.run("rollout", "status", "--json", by=None).exit_code == 0


def test_a_closed_port_is_closed() -> None:
    """Port 9, which tests take for nobody listening, has nobody listening."""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", 9)) != 0


def test_json_is_one_object(place: Place) -> None:
    place.server.post(order())
    result = place.run("rollout", "status", "--json")
    assert len(result.stdout.splitlines()) == 1
    assert json.loads(result.stdout)["outcome"] == "done"
