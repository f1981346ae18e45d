"""A server may ask to be left alone, for a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_client import retry_after
from interlock_client.outcome import Outcome
from interlock_client.rounds import FIRST_BACK_OFF_SECONDS, Waits
from interlock_core.errors import Exit
from tests.client.bed import Bed
from tests.client.web import Answer, Handler, Web
from tests.client.world import World

NOW = datetime(2027, 3, 1, 8, 0, tzinfo=UTC)
DATE = "Mon, 01 Mar 2027 08:00:00 GMT"
IN_TWO_MINUTES = "Mon, 01 Mar 2027 08:02:00 GMT"
MAX = retry_after.MAX_SECONDS


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("9" * 19, MAX),
        (IN_TWO_MINUTES, 120),
        ("Monday, 01-Mar-27 08:02:00 GMT", 120),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX),
        ("Fri, 01 Jan 2027 00:00:00 GMT", 0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 5000, None),
        ("Mon, 99 Mar 2027 08:02:00 GMT", None),
        ("\u0661\u0662", None),
    ],
)
def test_both_forms_within_bounds(header: str, wait: int | None) -> None:
    assert retry_after.seconds(503, header, None, NOW) == wait


def test_a_date_is_held_against_the_servers_own_clock() -> None:
    """This one may start in 1970."""
    early = datetime(1970, 1, 1, tzinfo=UTC)
    assert retry_after.seconds(429, IN_TWO_MINUTES, DATE, early) == 120
    assert retry_after.seconds(429, IN_TWO_MINUTES, "rubbish", NOW) == 120


@pytest.mark.parametrize("status", [200, 304, 301, 404, 500])
def test_nobody_else_is_listened_to(status: int) -> None:
    assert retry_after.seconds(status, "120", DATE, NOW) is None


@given(st.text(max_size=80), st.text(max_size=80))
def test_anything_is_bounded_or_nothing(header: str, date: str) -> None:
    wait = retry_after.seconds(503, header, date, NOW)
    assert wait is None or 0 <= wait <= MAX


def busy(after: str) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(503)
        handler.send_header("Retry-After", after)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def wait_after(bed: Bed, outcome: Outcome) -> float:
    return Waits(bed.settings, lambda low, _: low).after(outcome)


def test_a_poll_leaves_a_server_alone(web: Web, bed: Bed) -> None:
    web.lies["/poll/"] = busy("1800")
    outcome = bed.update()
    assert (outcome.reason, outcome.exit_code) == ("network", Exit.TRANSIENT)
    assert web.requests == ["/poll/wards"], "what else it has is not asked for either"
    assert outcome.more["retry_after_seconds"] == 1800
    assert wait_after(bed, outcome) == 1800
    web.lies["/poll/"] = busy("5")
    assert wait_after(bed, bed.update()) == FIRST_BACK_OFF_SECONDS


def test_a_download_does(world: World, web: Web, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", b"release one"))
    web.lies["/image/targets/ward"] = busy("1800")
    assert wait_after(bed, bed.update()) == 1800
    web.lies.clear()
    assert bed.install().outcome == "confirmed"


def test_another_server_that_does_not_ask_is_asked(tmp_path: Path, world: World, web: Web) -> None:
    with Web(world.store) as tired:
        tired.lies["/"] = busy("1800")
        bed = Bed(tmp_path / "gateway", world, tired, web)
        bed.power_on()
        assert bed.check().reason == "nothing_wanted"
        web.answer("/", b"", 500)
        web.lies["/poll/"] = lambda handler: handler.connection.close()
        outcome = bed.check()
        assert "retry_after_seconds" not in outcome.more, "one of them may be well again sooner"
        web.lies["/"] = web.lies["/poll/"] = busy("60")
        assert bed.check().more["retry_after_seconds"] == 60


def test_the_wait_does_not_shorten_the_interval(bed: Bed) -> None:
    waits = Waits(bed.settings, lambda low, _: low)
    outcome = Outcome("transient", "network", "", Exit.TRANSIENT, {"retry_after_seconds": 1})
    found = [waits.after(outcome) for _ in range(10)]
    assert found[-1] == bed.settings.poll_interval_seconds
    assert timedelta(seconds=MAX) <= timedelta(hours=1)
