"""Whether a monitor is at work, as ``rollout status`` tells it."""

from __future__ import annotations

from datetime import timedelta

from interlock_core.api import MonitorList, MonitorView
from interlock_ops.monitor_silence import SILENT_AFTER, silence
from tests.ops.world import Place
from tests.support import papers
from tests.support.people import DAY0


def told(**heard: timedelta | None) -> MonitorList:
    return MonitorList(
        items=tuple(
            MonitorView(name=name, seen_at=None if ago is None else DAY0 - ago, signed_at=None)
            for name, ago in heard.items()
        )
    )


def test_one_that_is_heard_is_enough() -> None:
    short = SILENT_AFTER - timedelta(seconds=1)
    assert silence(told(mona=short), DAY0, auto=True) is None
    assert silence(told(mona=None, zoe=timedelta(0)), DAY0, auto=True) is None


def test_silence_is_told_with_its_beginning() -> None:
    said = silence(told(mona=SILENT_AFTER, zoe=None), DAY0, auto=False)
    assert said is not None
    assert "mona silent since 2027-03-01T07:45:00Z, 15m ago; zoe never heard" in said
    assert "auto gates stay shut" in said
    assert "has no monitor" in (silence(told(), DAY0, auto=True) or "")
    assert silence(told(), DAY0, auto=False) is None


def test_status_warns(place: Place) -> None:
    order = papers.order()
    place.server.post(order)
    words = ("rollout", "status", order.id)
    assert "monitor" not in place.run(*words).stderr
    place.server.heard = {"mona": DAY0 - timedelta(hours=2)}
    shown = place.run(*words)
    assert "No monitor is at work (mona silent since 2027-03-01T06:00:00Z" in shown.stderr
    [one] = place.json(*words)["monitors"]
    assert (one["name"], one["silent"]) == ("mona", True)
