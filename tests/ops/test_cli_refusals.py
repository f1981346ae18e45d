"""What goes wrong gets one line, a name and the right exit code, and nothing is signed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock_core.api import Rollout
from interlock_core.order import Order, Target
from interlock_core.statement import Opened
from tests.ops.world import IMAGE, ORDER, PATH, SHA256, Place, problem, write_key
from tests.support import papers
from tests.support.papers import authorise, digest, started
from tests.support.people import signer

WANTED = Target(path=PATH, length=len(IMAGE), sha256=SHA256)


def order(**fields: Any) -> Opened[Order]:
    """An order for the image that the repository holds."""
    return papers.order(targets=(WANTED,), **fields)


# The operator's own slips


@pytest.mark.parametrize("command", ["propose", "status", "start"])
def test_a_wrong_passphrase(place: Place, command: str) -> None:
    (place.home / "passphrase").write_text("something else\n")
    words: dict[str, tuple[str | Path, ...]] = {
        "propose": (place.order_file(), "--reason", "x", "--yes"),
        "start": ("ab" * 32, "--reason", "x", "--yes"),
        "status": (),
    }
    result = place.run("rollout", command, *words[command])
    assert result.exit_code == 2
    assert "passphrase does not open" in result.stderr
    assert "something else" not in result.output
    assert place.server.papers == []


def test_a_key_that_the_roster_does_not_know(place: Place) -> None:
    refused = place.act("propose", place.order_file(), by="mallory", code=20)
    assert refused["reason"] == "unknown_key"
    assert signer("mallory").public_key.keyid[:12] in refused["detail"]
    assert not any("POST" in asked for asked in place.server.asked)


def test_a_key_of_somebody_else(place: Place) -> None:
    config = place.config("olga", person="omar")
    result = place.run(
        "rollout", "propose", place.order_file(), "--reason", "x", "--yes", config=config
    )
    assert result.exit_code == 20
    assert "is olga's by roster 1, not omar's" in result.stderr


def test_a_private_key_that_is_not_the_public_one(place: Place) -> None:
    write_key(place.home, "alan")
    (place.home / "alan.key.json").rename(place.home / "olga.key.json")
    refused = place.act("propose", place.order_file(), code=2)
    assert refused["reason"] == "key_mismatch"


def test_a_fleet_that_is_not_the_rosters(place: Place) -> None:
    config = place.config("olga", fleet="staging")
    result = place.run("rollout", "status", "--json", config=config)
    assert result.exit_code == 20
    assert "wrong_fleet" in result.stdout


def test_missing_settings_are_named(place: Place) -> None:
    result = place.run("rollout", "status", "--json", by=None)
    assert result.exit_code == 2
    assert "missing_setting" in result.stdout


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("percent = 100", "percent = 12.345", "12.345 has more than two decimals"),
        (
            '"canary"]\npercent = 100\nsoak = "1d"',
            '"canary"]\npercent = 100\nsoak = "a while"',
            "is not a duration",
        ),
        ('["canary", "st-anna"]\npercent = 100', '["canary"]\npercent = 50', "canary falls"),
        ("product", "produkt", "produkt"),
        ("kind = ", "kind ", "line 3"),
    ],
)
def test_a_bad_order_file_is_one_line_and_2(place: Place, old: str, new: str, said: str) -> None:
    assert old in ORDER
    file = place.order_file(ORDER.replace(old, new))
    result = place.run("rollout", "propose", file, "--reason", "x", "--yes")
    assert result.exit_code == 2
    [only] = result.stderr.splitlines()
    assert said in only
    assert place.server.asked == []


def test_an_order_file_that_is_not_there(place: Place, tmp_path: Path) -> None:
    refused = place.act("propose", tmp_path / "absent.toml", code=2)
    assert "absent.toml" in refused["detail"]


def test_a_digest_in_the_file_that_differs(place: Place) -> None:
    wrong = ORDER.replace(f'path = "{PATH}"', f'path = "{PATH}"\nsha256 = "{digest("other")}"')
    refused = place.act("propose", place.order_file(wrong), code=20)
    assert refused["reason"] == "order_mismatch"
    right = ORDER.replace(f'path = "{PATH}"', f'path = "{PATH}"\nsha256 = "{SHA256}"')
    assert place.act("propose", place.order_file(right))["reason"] == "proposed"


def test_a_target_that_was_not_published(place: Place) -> None:
    file = place.order_file(ORDER.replace("2.0.0", "9.9.9"))
    assert place.act("propose", file, code=20)["reason"] == "no_such_target"


def test_a_cohort_where_i_am_no_operator(place: Place) -> None:
    assert place.act("propose", place.order_file(), by="ada", code=20)["reason"] == (
        "role_not_held"
    )


def test_my_own_order_is_not_mine_to_authorise(place: Place) -> None:
    paper = order()
    place.server.post(paper)
    refused = place.act("authorise", paper.id, "--role", "approver", code=20)
    assert refused["reason"] == "own_approval"
    assert "your own approval does not count" in refused["detail"]
    assert len(place.server.papers) == 1


# The server


@pytest.mark.parametrize("command", ["propose", "authorise", "start", "status", "pause", "post"])
def test_a_server_that_is_down(place: Place, tmp_path: Path, command: str) -> None:
    file = tmp_path / "order.json"
    place.act("propose", place.order_file(), "--output", file)
    place.url = "http://127.0.0.1:9"
    acting = ("--reason", "x", "--yes")
    words: dict[str, tuple[str | Path, ...]] = {
        "propose": (place.order_file(), *acting),
        "authorise": ("ab" * 32, "--role", "approver", *acting),
        "start": ("ab" * 32, *acting),
        "pause": ("ab" * 32, *acting),
        "status": (),
        "post": (file,),
    }
    result = place.run("rollout", command, *words[command])
    assert result.exit_code == 30, result.output
    assert "127.0.0.1:9" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("interlock-ops: ")


def test_a_server_that_refuses_says_why(place: Place) -> None:
    place.server.refuse = problem(403, "not_entitled", "olga may not propose for st-anna.")
    refused = place.act("propose", place.order_file(), code=20)
    assert (refused["outcome"], refused["reason"]) == ("refused", "not_entitled")
    assert refused["detail"] == "olga may not propose for st-anna."


def test_a_server_that_is_busy_may_be_asked_again(place: Place) -> None:
    place.server.refuse = problem(503, "busy", "Another publisher is at work.")
    answer = place.act("propose", place.order_file(), code=30)
    assert answer["reason"] == "busy"
    assert "It is not known whether" in answer["detail"]


def test_a_server_that_says_it_stored_something_else(place: Place) -> None:
    place.server.receipt = "0" * 64
    assert place.act("propose", place.order_file(), code=20)["reason"] == "wrong_receipt"


def test_a_server_that_lies_about_the_targets_digest(place: Place) -> None:
    path = "/image/metadata/1.gateway.json"
    true = (place.server.files / path.removeprefix("/")).read_bytes()
    place.server.lie[path] = true.replace(SHA256.encode(), digest("evil").encode())
    refused = place.act("propose", place.order_file(), code=20)
    assert refused["reason"] == "untrusted_metadata"
    assert place.server.papers == []


@pytest.mark.parametrize(
    "evil",
    [
        Target(path=PATH, length=len(IMAGE), sha256=digest("evil")),
        Target(path=PATH, length=len(IMAGE) + 1, sha256=SHA256),
    ],
)
@pytest.mark.parametrize("command", ["authorise", "start"])
def test_an_order_for_other_bytes_is_not_signed_for(
    place: Place, evil: Target, command: str
) -> None:
    paper = papers.order(targets=(evil,), by="omar")
    place.server.post(paper)
    who = "ada" if command == "authorise" else "olga"
    words = ("--role", "approver") if command == "authorise" else ()
    refused = place.act(command, paper.id, *words, by=who, code=20)
    assert refused["reason"] == "order_mismatch"
    assert len(place.server.papers) == 1


@pytest.mark.parametrize("command", ["authorise", "start", "status", "resume", "renew"])
def test_a_server_that_answers_with_another_order(place: Place, command: str) -> None:
    paper, other = order(), order(seq=2, by="omar")
    place.server.post(paper, *started(paper))

    def swap(rollout: Rollout) -> Rollout:
        return msgspec.structs.replace(rollout, order=other.envelope)

    place.server.alter = swap
    words: tuple[str, ...] = ("--role", "approver") if command == "authorise" else ()
    acting = () if command == "status" else ("--reason", "x", "--yes")
    answer = place.json("rollout", command, paper.id, *words, *acting, by="olga", code=20)
    assert answer["reason"] == "wrong_order"


def test_an_order_that_nobody_signed_is_not_authorised(place: Place) -> None:
    forged = order(key="mallory")
    place.server.post(forged)
    refused = place.act("authorise", forged.id, "--role", "approver", by="ada", code=20)
    assert refused["reason"] == "unauthorised_rollout"


def test_a_server_that_hides_a_stop_or_claims_too_much_is_named(place: Place) -> None:
    paper = order()
    place.server.post(paper, authorise(paper))

    def claim(rollout: Rollout) -> Rollout:
        views = tuple(msgspec.structs.replace(v, stages_open=2) for v in rollout.cohorts)
        return msgspec.structs.replace(rollout, cohorts=views)

    place.server.alter = claim
    answer = place.json("rollout", "status", paper.id)
    assert answer["reason"] == "server_differs"
    assert answer["cohorts"]["canary"]["state"] == "ready"
    shown = place.run("rollout", "status", paper.id).stdout
    assert "canary: open stages: the server says 2, the signatures 0" in shown


def test_numbers_are_not_used_up_by_a_server_that_lies(place: Place) -> None:
    paper = order()
    place.server.post(paper)
    place.server.summaries = lambda item: msgspec.structs.replace(item, seq=2**53 - 1)
    refused = place.act("propose", place.order_file(), code=20)
    assert refused["reason"] == "seq_unproven"
    assert place.act("propose", place.order_file(), "--seq", "2")["seq"] == 2


def test_nor_by_a_number_that_nobody_signed(place: Place) -> None:
    place.server.post(order(seq=2**53 - 1, key="mallory"))
    assert place.act("propose", place.order_file(), code=20)["reason"] == "seq_unproven"


def test_a_list_without_end_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock_ops.session.MAX_PAGES", 5)
    place.server.page = 1
    place.server.post(*[order(seq=seq) for seq in range(1, 8)])
    assert place.json("rollout", "status", code=20)["reason"] == "endless"


def test_an_answer_that_is_no_answer(place: Place) -> None:
    paper = order()
    place.server.post(paper)
    place.server.alter = lambda rollout: msgspec.structs.replace(rollout, cohorts=3)
    assert place.json("rollout", "status", paper.id, code=20)["reason"] == "malformed"


def test_a_rollout_that_the_server_does_not_know(place: Place) -> None:
    assert place.json("rollout", "status", "ab" * 32, code=2)["reason"] == "not_found"


def test_plain_http_beyond_loopback(place: Place) -> None:
    config = place.config("olga", server="http://updates.example.org")
    result = place.run("rollout", "status", config=config)
    assert result.exit_code == 2
    assert "plain HTTP beyond loopback" in result.stderr
