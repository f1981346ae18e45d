"""The checkpoint of the log that a gateway was shown: carried by its next report, and no more."""

from __future__ import annotations

import pytest

from interlock_core.checkpoint import (
    MAX_CHECKPOINT,
    Checkpoint,
    read_checkpoint,
    sign_checkpoint,
)
from interlock_core.errors import Exit
from interlock_core.log import CHECKPOINT_KEY
from tests.client.bed import Bed
from tests.client.fleet import Fleet
from tests.client.test_power import cut, every_step
from tests.client.web import Web
from tests.client.world import FLEET, World, new_keys

PATH = f"/{CHECKPOINT_KEY}"
[KEY] = new_keys(1)


def shows(web: Web, size: int, *, origin: str = f"{FLEET}/log") -> str:
    """The server shows a log of that size."""
    text = sign_checkpoint(Checkpoint(origin, size, bytes(32)), KEY)
    web.store.replace(CHECKPOINT_KEY, text.encode())
    return text


@pytest.fixture
def enrolled(bed: Bed, fleet: Fleet) -> Bed:
    assert bed.enrol().reason == "countersigned"
    return bed


def carried(fleet: Fleet) -> list[str | None]:
    return [report.said.checkpoint for report in fleet.reports]


def news(bed: Bed) -> None:
    """Something to report: a long silence."""
    bed.world.clock.pass_(days=2)


def test_what_was_shown_stands_in_the_next_report(enrolled: Bed, fleet: Fleet, web: Web) -> None:
    first = shows(web, 7)
    assert enrolled.report().reason == "acknowledged"
    second = shows(web, 9)
    news(enrolled)
    enrolled.report()
    # A smaller one, of another face, is testimony as well: nothing is judged here.
    third = shows(web, 3)
    news(enrolled)
    enrolled.report()
    news(enrolled)
    enrolled.report()
    assert carried(fleet) == [None, first, second, third]


def test_it_costs_no_poll_and_one_question_a_report(enrolled: Bed, fleet: Fleet, web: Web) -> None:
    shows(web, 7)
    before = len(web.requests)
    enrolled.report()
    assert web.requests[before:] == ["/v1/reports", PATH]
    # With nothing to say nothing is asked, and neither does a poll.
    assert web.count(enrolled.report) == 0
    enrolled.check()
    before = len(web.requests)
    enrolled.check()
    assert PATH not in web.requests[before:]
    enrolled.report()
    # Several that waited share one question.
    news(enrolled)
    web.lies["/v1/"] = lambda handler: handler.say(503, b"")
    assert enrolled.report().exit_code is Exit.TRANSIENT
    enrolled.change(interlock="none")
    assert enrolled.report().exit_code is Exit.TRANSIENT
    fleet.answers(web)
    before = len(web.requests)
    enrolled.report()
    assert web.requests[before:].count("/v1/reports") == 2
    assert web.requests[before:].count(PATH) == 1


def test_what_is_unchanged_is_not_sent_again(enrolled: Bed, fleet: Fleet, web: Web) -> None:
    text = shows(web, 7)
    statuses: list[bool] = []

    def watched(handler: object) -> None:
        statuses.append("If-None-Match" in handler.headers)  # type: ignore[attr-defined]
        handler.serve(PATH)  # type: ignore[attr-defined]

    web.lies[PATH] = watched
    for _ in range(3):
        enrolled.report()
        news(enrolled)
    assert statuses == [False, True, True]
    assert carried(fleet) == [None, text, text]


def _garbage(text: str) -> dict[str, tuple[bytes, str]]:
    return {
        "nothing": (b"", "bad_checkpoint"),
        "no UTF-8": (b"\xff\xfe", "bad_checkpoint"),
        "a page": (b"<html>log in first</html>", "bad_checkpoint"),
        "another log's": (text.replace(FLEET, "elsewhere").encode(), "bad_checkpoint"),
        "too long": (text.encode() + b"x" * (4 * MAX_CHECKPOINT), "too_long"),
        "too many characters": (
            text.replace("\n\n", "\n" + "y" * MAX_CHECKPOINT + "\n\n", 1).encode(),
            "bad_checkpoint",
        ),
    }


@pytest.mark.parametrize("what", sorted(_garbage("")))
def test_what_is_no_checkpoint_harms_nothing(
    enrolled: Bed, fleet: Fleet, web: Web, what: str
) -> None:
    text = shows(web, 7)
    enrolled.report()
    data, reason = _garbage(text)[what]
    web.answer(PATH, data)
    news(enrolled)
    outcome = enrolled.report()
    assert (outcome.reason, outcome.exit_code) == ("acknowledged", Exit.DONE)
    assert outcome.more["checkpoint_fault"] == reason
    news(enrolled)
    enrolled.report()
    assert carried(fleet) == [None, text, text], "what was kept before stays"


def test_a_server_without_a_log(enrolled: Bed, fleet: Fleet) -> None:
    outcome = enrolled.report()
    assert outcome.reason == "acknowledged"
    assert outcome.more["checkpoint_fault"] == "network"
    news(enrolled)
    enrolled.report()
    assert carried(fleet) == [None, None]


def test_the_longest_one_is_carried(enrolled: Bed, fleet: Fleet, web: Web) -> None:
    """No text that is kept may be one that a report cannot hold: it could tell nothing any more."""
    text = shows(web, 7)
    room = MAX_CHECKPOINT - len(text) - 1
    longest = text.replace("\n\n", "\n" + "\U0001f512" * room + "\n\n", 1)
    assert len(longest) == MAX_CHECKPOINT
    read_checkpoint(longest)
    web.store.replace(CHECKPOINT_KEY, longest.encode())
    enrolled.report()
    news(enrolled)
    assert enrolled.report().reason == "acknowledged"
    assert carried(fleet)[-1] == longest


@pytest.mark.parametrize("damage", [b"", b"torn {", b'{"body":{},"sha256":"00"}'])
def test_a_record_that_is_damaged_is_asked_for_again(
    enrolled: Bed, fleet: Fleet, web: Web, damage: bytes
) -> None:
    text = shows(web, 7)
    enrolled.report()
    (enrolled.home / "state" / "log-checkpoint.json").write_bytes(damage)
    news(enrolled)
    assert enrolled.report().reason == "acknowledged"
    news(enrolled)
    enrolled.report()
    assert carried(fleet) == [None, None, text]


def test_nothing_is_decided_by_it(world: World, enrolled: Bed, web: Web) -> None:
    """The log that was shown has two faces, and then is gone: what was ordered is installed."""
    enrolled.change(interlock="none", health="none")
    for size in (9, 3):
        shows(web, size)
        enrolled.report()
        news(enrolled)
    web.answer(PATH, b"gone", 410)
    world.roll_out(world.release("1.0.0", b"release one " * 100))
    assert enrolled.install().outcome == "confirmed"
    assert PATH not in web.requests[-5:]


def test_the_power_goes_while_it_is_kept(enrolled: Bed, fleet: Fleet, web: Web) -> None:
    """The old text or the new one, whole; and the chain of reports goes on."""
    old = shows(web, 7)
    enrolled.report()
    new = shows(web, 8)
    news(enrolled)
    chain = dict(fleet.chains)
    seen = set()

    def explore(bed: Bed, step: int) -> bool:
        fleet.chains = {name: list(reports) for name, reports in chain.items()}
        was_cut = cut(bed.report, step)
        bed.power_on()
        assert bed.report().exit_code is Exit.DONE
        news(bed)
        assert bed.report().exit_code is Exit.DONE
        assert fleet.quarantined == set()
        seen.add(fleet.reports[-1].said.checkpoint)
        return was_cut

    assert every_step(enrolled, explore) > 8
    assert seen == {old, new}
