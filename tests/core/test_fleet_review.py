"""What a device's newest report says of an order, where it could be taken for more than it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from interlock_core.fleet import action
from interlock_core.order import Target
from interlock_core.report import Attempt, Decided, Running
from tests.support.papers import DEVICE, digest, enrolment, order, report, target
from tests.support.people import DAY0

FINAL, STEP = target("2.0.0"), target("1.5.0")
ORDER = order(targets=(FINAL, STEP))
ENROLMENT = enrolment(DEVICE)


def runs(wanted: Target | None, version: str = "2.0.0") -> Running:
    sha256 = wanted.sha256 if wanted is not None else digest("what was there before")
    return Running(slot="a", sha256=sha256, version=version)


def attempt(wanted: Target, outcome: Any, reason: str | None = None) -> Attempt:
    return Attempt(
        order=ORDER.id, target=wanted.sha256, outcome=outcome, reason=reason, deferred_since=None
    )


def decided(reason: str) -> Decided:
    return Decided(at=DAY0, order=ORDER.id, reason=reason, detail="as it says")


def said(**fields: Any) -> tuple[str, str]:
    found = action(ORDER, msgspec.structs.replace(report(ENROLMENT).said, **fields))
    return found.outcome, found.reason


def test_what_is_only_tried_out_is_not_installed() -> None:
    """It booted, and nothing has confirmed it yet: it may fall back in a moment."""
    assert said(running=runs(FINAL), attempt=attempt(FINAL, "rebooting")) == (
        "rebooting",
        "rebooting",
    )


def test_who_fell_back_after_he_confirmed_is_not_done() -> None:
    found = action(
        ORDER,
        msgspec.structs.replace(
            report(ENROLMENT).said,
            running=runs(None, "1.0.0"),
            attempt=attempt(FINAL, "confirmed"),
        ),
    )
    assert (found.outcome, found.reason) == ("scheduled", "not_running")
    assert "1.0.0" in found.detail


def test_what_runs_nobody_knows_is_believed_confirmed() -> None:
    assert said(running=None, attempt=attempt(FINAL, "confirmed"))[0] == "confirmed"


class TestSteps:
    """The order lists a step for gateways that a barrier holds, after what is wanted."""

    def test_the_wanted_one_is_tried_from_there(self) -> None:
        deferred = attempt(FINAL, "deferred", "interlock_not_clear")
        assert said(running=runs(STEP), attempt=deferred) == ("deferred", "interlock_not_clear")

    def test_the_wanted_one_was_tried_from_there(self) -> None:
        back = attempt(FINAL, "rolled_back", "health_check_failed")
        assert said(running=runs(STEP), attempt=back) == ("rolled_back", "health_check_failed")

    @pytest.mark.parametrize("before", [attempt(STEP, "confirmed"), None])
    def test_it_says_why_it_goes_no_further(self, before: Attempt | None) -> None:
        found = said(running=runs(STEP), attempt=before, decided=decided("no_space"))
        assert found == ("scheduled", "no_space")

    @pytest.mark.parametrize(
        ("before", "outcome"),
        [(attempt(STEP, "confirmed"), "confirmed"), (None, "already_installed")],
    )
    def test_on_other_hardware_it_is_all_that_is_wanted(
        self, before: Attempt | None, outcome: str
    ) -> None:
        fields: dict[str, Any] = {"running": runs(STEP), "attempt": before}
        assert said(**fields, decided=decided("already_installed"))[0] == outcome
        assert said(**fields, decided=None)[0] == outcome


def test_what_failed_once_and_runs_all_the_same_is_installed() -> None:
    back = attempt(FINAL, "rolled_back", "health_check_failed")
    assert said(running=runs(FINAL), attempt=back)[0] == "already_installed"
