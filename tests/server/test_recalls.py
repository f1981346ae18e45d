"""Notices and dispositions: which are taken, that no directive moves, and how they are read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from interlock_core.api import RecallPage
from interlock_core.order import Order
from interlock_core.recall_papers import Disposition, Notice, Recalled
from interlock_core.seen import Seen
from interlock_core.statement import Opened, open_statement
from tests.server.world import V1, Bench, both
from tests.support.papers import authorise, disposition, enrolment, hours, notice, order
from tests.support.people import DAY0

HERE = enrolment()
PLACED = Seen(
    device=HERE.said.device,
    enrolment=HERE.id,
    product=HERE.said.product,
    hardware=HERE.said.hardware,
    site=HERE.said.site,
    cohort=HERE.said.cohort,
)


def paper(**fields: Any) -> Opened[Order]:
    return order(**{"targets": (V1.target(),), "kind": "recall"} | fields)


RECALL = paper()


@pytest.fixture
def recalled(bench: Bench) -> Bench:
    """A server with a gateway, and a recall that is on file."""
    bench.let_in(HERE)
    bench.say_all(RECALL)
    return bench


def beside(bench: Bench, of: Opened[Order] = RECALL, page: int = 1) -> RecallPage:
    return bench.read(f"/v1/rollouts/{of.id}/recall?page={page}", RecallPage)


def read(page: RecallPage) -> list[str]:
    return [open_statement(one, (Notice, Disposition)).id for one in page.items]


def refused(bench: Bench, said: Opened[Any]) -> tuple[int, str]:
    answer = bench.say(said)
    return answer.status_code, answer.json["reason"]


def test_they_are_kept_and_read_in_order(recalled: Bench) -> None:
    said, word = notice(RECALL, "2.0.0"), disposition(RECALL, PLACED)
    assert recalled.say(said).status_code == 201
    assert recalled.say(word).json == {"id": word.id, "type": "urn:interlock:disposition:v1"}
    assert recalled.say(word).status_code == 200
    found = beside(recalled)
    assert (read(found), found.next) == ([said.id, word.id], None)


def test_no_directive_moves(recalled: Bench) -> None:
    recalled.say_all(authorise(RECALL))
    before = recalled.store.get("poll/canary")
    recalled.say_all(notice(RECALL, "2.0.0"), disposition(RECALL, PLACED))
    assert recalled.store.get("poll/canary") == before
    # What is published next does not show them either, and the rollout's own papers do not.
    recalled.services.backstage.publisher.publish_cohorts(["canary"])
    assert recalled.directive().products["gateway"].order == RECALL.envelope


@both
def test_pages(recalled: Bench) -> None:
    recalled.say_all(notice(RECALL, "2.0.0"))
    said = [disposition(RECALL, PLACED, reason=f"call {number}") for number in range(100)]
    recalled.say_all(*said)
    first, second = beside(recalled), beside(recalled, page=2)
    assert (len(first.items), first.next, second.next) == (100, 2, None)
    assert read(second) == [said[-1].id]


def test_refused_notices(recalled: Bench) -> None:
    update = paper(seq=2, kind="update")
    recalled.say_all(update)
    assert refused(recalled, notice(paper(seq=9), "2.0.0")) == (403, "unknown_order")
    assert refused(recalled, notice(update, "2.0.0")) == (403, "order_mismatch")
    own = Recalled(path=V1.path, sha256=V1.target().sha256)
    wants = notice(RECALL, "2.0.0", images=(own,))
    assert refused(recalled, wants) == (403, "order_mismatch")
    assert refused(recalled, notice(RECALL, "2.0.0", product="other")) == (403, "order_mismatch")
    assert refused(recalled, notice(RECALL, "2.0.0", by="ada")) == (403, "role_not_held")
    assert refused(recalled, notice(RECALL, "2.0.0", key="mallory")) == (403, "bad_signature")
    late = notice(RECALL, "2.0.0", at=recalled.clock() + hours(1))
    assert refused(recalled, late) == (403, "dated_in_future")
    assert beside(recalled).items == ()


def test_refused_dispositions(recalled: Bench) -> None:
    update = paper(seq=2, kind="update")
    recalled.say_all(update)
    assert refused(recalled, disposition(update, PLACED)) == (403, "order_mismatch")
    assert refused(recalled, disposition(paper(seq=9), PLACED)) == (403, "unknown_order")
    stranger = disposition(RECALL, PLACED, enrolment="0" * 64)
    assert refused(recalled, stranger) == (403, "unknown_enrolment")
    other = disposition(RECALL, replace(PLACED, device="GW-9"))
    assert refused(recalled, other) == (403, "device_mismatch")
    for by in ("ada", "hanna", "mona"):
        assert refused(recalled, disposition(RECALL, PLACED, by=by)) == (403, "role_not_held")
    assert recalled.refusals()["statement", "role_not_held"] == 3
    assert beside(recalled).items == ()


def test_reading_needs_a_token_and_an_order(recalled: Bench) -> None:
    path = f"/v1/rollouts/{RECALL.id}/recall"
    assert recalled.client.get(path).status_code == 401
    for wrong in ("0" * 64, "x", HERE.id):
        answer = recalled.client.get(f"/v1/rollouts/{wrong}/recall", headers=recalled.token())
        assert (answer.status_code, answer.json["reason"]) == (404, "unknown_order")


def test_an_order_that_is_none_of_its_own_has_nothing_beside_it(recalled: Bench) -> None:
    other = paper(seq=2, at=DAY0)
    recalled.say_all(other, notice(RECALL, "2.0.0"))
    assert beside(recalled, other).items == ()
