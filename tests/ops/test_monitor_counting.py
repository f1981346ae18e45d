"""What the monitor keeps and counts, without a server: statements in, votes out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from interlock_core.abort import Counts
from interlock_core.catalogue import Catalogue
from interlock_core.errors import ConfigurationError
from interlock_core.order import Order
from interlock_core.placement import point
from interlock_core.report import Attempt, Decided, Enrolment, Report
from interlock_core.roster import Judge, Roster
from interlock_core.statement import Opened
from interlock_ops.monitor.books import Books
from interlock_ops.monitor.counting import Counting
from interlock_ops.monitor.gate import Evidence
from interlock_ops.monitor.intake import WINDOW, Intake
from interlock_ops.monitor.memory import FILE, Memory
from tests.support.papers import (
    authorise,
    countersign,
    days,
    decommission,
    enrolment,
    exclusion,
    hours,
    order,
    report,
    resume,
    revocation,
    stage,
    started,
    stop,
)
from tests.support.people import CANARY, DAY0, OLGA, OMAR, PEOPLE, ROSTER, ST_BERT, roster
from tests.support.released import catalogue, listed

ORDER = order(stages=(stage(CANARY),), deadline_seconds=6 * 3600)


class Kept:
    """A monitor's memory, and what is put into it."""

    def __init__(self, directory: Path) -> None:
        self.memory = Memory(directory)
        self.books = Books(self.memory)
        self.released = Catalogue("gateway", ())
        self.counting = Counting(self.memory, self.books, lambda _: self.released)
        self.now: datetime = DAY0
        self.roster: Roster = ROSTER
        self.tips: dict[str, Opened[Report]] = {}

    @property
    def judge(self) -> Judge:
        return Judge(self.roster, self.now)

    def take(self, *papers: Opened[Any]) -> list[str]:
        """As a page of the log holds them; what became of each."""
        with self.memory.writing():
            intake = Intake(self.memory, self.judge)
            found = [intake.take(one.envelope) for one in papers]
            for one in intake.reported:
                self.counting.report(one, self.now)
            if intake.left_out:
                self.counting.leave_out()
            self.counting.settle_product(self.judge, "gateway")
        return found

    def devices(self, number: int, cohort: str = CANARY) -> list[Opened[Enrolment]]:
        """So many devices that were let in."""
        made = [enrolment(f"{cohort}-{n}", cohort=cohort) for n in range(number)]
        self.take(*made, *(countersign(one) for one in made))
        return made

    def tell(self, of: Opened[Enrolment], outcome: str | None = None, **fields: Any) -> str:
        """A device's next report; ``outcome`` is of its attempt."""
        if outcome is not None and outcome != "confirmed":
            fields["attempt"] = Attempt(
                order=ORDER.id,
                target=ORDER.said.targets[0].sha256,
                outcome=outcome,  # type: ignore[arg-type]  # a word of the wire
                reason=fields.pop("why", "health_check_failed"),
                deferred_since=None,
            )
        about = ORDER if outcome == "confirmed" else None
        said = report(of, self.tips.get(of.id), about=about, at=self.now, **fields)
        self.tips[of.id] = said
        [found] = self.take(said)
        return found

    def tick(self, of: Opened[Order] = ORDER) -> None:
        with self.memory.writing():
            self.counting.tick(of, CANARY, self.now)
            self.counting.exclude(self.judge, of, CANARY)

    def evidence(self) -> Evidence:
        return self.counting.evidence(ORDER, self.now)

    def counts(self) -> Counts:
        return self.evidence().counts[0, CANARY]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "state")
    yield made
    made.memory.close()


def test_the_denominator_is_frozen_when_the_stage_opens(kept: Kept) -> None:
    kept.devices(3)
    stranger = enrolment("waits")
    kept.take(stranger, ORDER, *started(ORDER))
    assert kept.counts().started == 3
    kept.take(countersign(stranger))
    kept.devices(2, ST_BERT)
    assert kept.counts().started == 3
    assert kept.tell(stranger, "failed") == "kept"
    assert kept.counts().failures() == 0


def test_one_vote_for_each_device_whatever_key_it_has(kept: Kept) -> None:
    first, *_ = kept.devices(3)
    kept.take(ORDER, *started(ORDER))
    kept.tell(first, "rolled_back")
    again = enrolment(first.said.device, key="a-new-key", at=DAY0 + hours(1))
    kept.now += hours(1)
    kept.take(again, countersign(again, at=kept.now))
    kept.tell(again, "failed", key="a-new-key")
    kept.tell(again, "confirmed", key="a-new-key")
    counts = kept.counts()
    assert (counts.votes, counts.recovered) == ({"rolled_back": 1}, 1)


def test_silence_and_a_late_success(kept: Kept) -> None:
    one, two, three = kept.devices(3)
    kept.take(ORDER, *started(ORDER))
    kept.now += hours(5)
    waits = Decided(at=kept.now, order=ORDER.id, reason="interlock_not_clear", detail="")
    kept.tell(two, decided=waits)
    kept.tell(three, "confirmed")
    kept.now += hours(1)
    kept.tick()
    assert kept.counts().votes == {"confirmed": 1, "timed_out": 1}
    assert kept.evidence().silent == {}
    kept.tell(one, "confirmed")
    counts = kept.counts()
    assert (counts.votes, counts.recovered) == ({"confirmed": 1, "timed_out": 1}, 1)


def test_who_was_not_heard_is_silent_before_the_deadline(kept: Kept) -> None:
    one, *_ = kept.devices(3)
    late = order(stages=(stage(CANARY),), deadline_seconds=60 * 86_400)
    kept.tell(one)
    kept.now += hours(1)
    kept.take(late, *started(late, at=kept.now))
    assert kept.counting.evidence(late, kept.now).silent == {(0, CANARY): 3}
    kept.now += hours(1)
    kept.tell(one)
    assert kept.counting.evidence(late, kept.now).silent == {(0, CANARY): 2}
    kept.now += days(2) + hours(1)
    assert kept.counting.evidence(late, kept.now).silent == {(0, CANARY): 3}


def test_known_issues_take_two_people(kept: Kept) -> None:
    devices = kept.devices(4)
    kept.take(ORDER, *started(ORDER))
    for one in devices[:2]:
        kept.tell(one, "failed", why="fan_controller")
    kept.tell(devices[2], "failed", why="disk")
    named = exclusion(ORDER, failure="fan_controller")
    assert kept.take(named) == ["kept"]
    assert kept.counts().excluded == 0
    kept.take(authorise(named))
    counts = kept.counts()
    assert (counts.excluded, counts.failures(), counts.eligible) == (2, 1, 2)
    kept.tell(devices[3], "failed", why="fan_controller")
    kept.tick()
    assert kept.counts().excluded == 3


def test_a_known_issue_is_a_failure_again_when_its_author_is_revoked(kept: Kept) -> None:
    one, two, _ = kept.devices(3)
    kept.take(ORDER, *started(ORDER))
    for device in (one, two):
        kept.tell(device, "failed", why="fan_controller")
    by_name = exclusion(ORDER, device=two.said.device)
    by_reason = exclusion(ORDER, failure="fan_controller", by="omar")
    kept.take(by_reason, authorise(by_reason), by_name, authorise(by_name))
    assert kept.counts().excluded == 2
    kept.roster = roster(*(one for one in PEOPLE if one != OMAR), seq=2)
    kept.tick()
    counts = kept.counts()
    assert (counts.excluded, counts.votes, counts.eligible) == (1, {"failed": 1}, 2)
    kept.roster = roster(OMAR, seq=3)
    kept.tick()
    assert (kept.counts().excluded, kept.counts().failures()) == (0, 2)


def test_a_fork_takes_a_device_out_and_keeps_its_vote(kept: Kept) -> None:
    one, two, _ = kept.devices(3)
    kept.take(ORDER, *started(ORDER))
    kept.tell(one, "failed")
    kept.tell(two)
    for device in (one, two):
        assert kept.take(report(device, reason="a clone")) == ["report_fork"]
        assert kept.tell(device, "confirmed") == "report_fork"
    counts = kept.counts()
    assert (counts.votes, counts.excluded) == ({"failed": 1}, 1)


def test_a_device_out_of_service_is_neither_silent_nor_counted(kept: Kept) -> None:
    one, two, three = kept.devices(3)
    kept.take(ORDER, *started(ORDER))
    kept.tell(two, "failed")
    for device in (one, two):
        assert kept.take(decommission(device, by="olga")) == ["kept"]
    assert kept.tell(one) == "ignored"
    counts = kept.counts()
    assert (counts.excluded, counts.votes, counts.eligible) == (1, {"failed": 1}, 2)
    kept.take(revocation(three, by="hanna"))
    assert kept.counts().excluded == 1
    again = enrolment(one.said.device, key="another", at=DAY0 + hours(1))
    kept.now += hours(1)
    kept.take(again, countersign(again, at=kept.now))
    assert kept.tell(again, key="another") == "kept"
    (stands,) = kept.memory.row("SELECT stands FROM enrolment WHERE id = ?", again.id)
    assert stands == 1


def test_reports_that_are_missing_come_again_or_are_old(kept: Kept) -> None:
    (one,) = kept.devices(1)
    chain = [report(one)]
    for _ in range(WINDOW + 2):
        chain.append(report(one, chain[-1]))
    assert kept.take(*chain[:3]) == ["kept"] * 3
    assert kept.take(chain[4]) == ["report_gap"]
    assert kept.take(chain[1]) == ["known"]
    assert set(kept.take(*chain[3:])) == {"kept"}
    assert kept.take(chain[0]) == ["old_report"]
    assert kept.take(report(one, key="a-thief")) == ["forged"]
    assert kept.take(report(enrolment("unheard-of"))) == ["unknown_enrolment"]
    (rows,) = kept.memory.row("SELECT count(*) FROM taken")
    assert rows == WINDOW


def test_only_what_the_roster_knows_is_kept(kept: Kept) -> None:
    assert kept.take(order(by="olga", key="a-stranger")) == ["unknown_author"]
    assert kept.take(order(fleet="south")) == ["unknown_author"]
    assert kept.take(enrolment("x", key="other", author="x")) == ["kept"]
    assert kept.take(ORDER, ORDER) == ["kept", "known"]


def test_who_let_a_device_in_may_leave(kept: Kept) -> None:
    kept.devices(2)
    kept.roster = roster(*(one for one in PEOPLE if one != OLGA), seq=2)
    with kept.memory.writing():
        Intake(kept.memory, kept.judge).settle_all(2)
    (stand,) = kept.memory.row("SELECT count(*) FROM enrolment WHERE stands = 1")
    assert stand == 0


def test_a_resume_forgives_and_gives_time_back(kept: Kept) -> None:
    one, _, _ = kept.devices(3)
    halt = stop(ORDER, at=DAY0 + hours(1))
    kept.take(ORDER, *started(ORDER))
    kept.tell(one, "failed")
    kept.now = DAY0 + hours(1)
    kept.take(halt)
    kept.now = DAY0 + hours(10)
    again = resume(ORDER, at=kept.now, clears=(halt,))
    kept.take(again)
    assert kept.evidence().forgiven == {}
    kept.take(authorise(again))
    assert kept.evidence().forgiven[0, CANARY].failures() == 1
    kept.tick()
    assert kept.counts().failures() == 1
    kept.now = DAY0 + hours(15)
    kept.tick()
    assert kept.counts().failures() == 3


def test_a_stop_with_an_old_date_buys_no_time(kept: Kept) -> None:
    """Whoever may stop could otherwise see to it that nobody is ever silent again."""
    kept.devices(2)
    halt = stop(ORDER, at=DAY0 - days(20_000))
    kept.take(ORDER, *started(ORDER), halt)
    kept.now = DAY0 + hours(1)
    again = resume(ORDER, at=kept.now, clears=(halt,))
    kept.take(again, authorise(again))
    kept.now = DAY0 + hours(6)
    kept.tick()
    assert kept.counts().failures() == 0
    kept.now = DAY0 + hours(7)
    kept.tick()
    assert kept.counts().failures() == 2


def test_a_stop_of_what_is_no_order_holds_up_nothing(kept: Kept) -> None:
    papers = started(ORDER)
    kept.take(ORDER, *papers)
    odd = [stop(one.id) for one in papers]
    assert kept.take(*odd, *odd) == ["kept"] * len(odd) + ["known"] * len(odd)
    assert all(kept.books.stops(one.id)[0][1] is False for one in papers)


def test_another_order_lets_the_counts_go(kept: Kept) -> None:
    kept.devices(2)
    kept.take(ORDER, *started(ORDER))
    assert kept.counts().started == 2
    newer = order(seq=2, kind="recall")
    kept.take(newer, authorise(newer))
    assert kept.evidence().counts == {}


def test_a_memory_is_one_process_and_is_not_guessed(tmp_path: Path) -> None:
    one = Memory(tmp_path)
    with pytest.raises(ConfigurationError, match="Another process"):
        Memory(tmp_path)
    one.run("PRAGMA user_version = 99")
    one.close()
    with pytest.raises(ConfigurationError, match="version 99"):
        Memory(tmp_path)
    for path in tmp_path.glob(f"{FILE}*"):
        path.unlink()
    (tmp_path / FILE).write_bytes(b"no database, but as long as one could be" * 100)
    with pytest.raises(ConfigurationError, match="move it away"):
        Memory(tmp_path)


def test_what_is_cut_off_was_not_written(kept: Kept) -> None:
    class CutError(BaseException):
        pass

    def cut_off() -> None:
        with kept.memory.writing():
            kept.memory.put("cursor", "7")
            raise CutError

    with pytest.raises(CutError):
        cut_off()
    assert kept.memory.get("cursor") is None


def test_a_device_is_counted_in_the_stage_of_the_target_that_is_for_it(kept: Kept) -> None:
    first, second = listed(1), listed(2, hardware_ids=("x86-r1",))
    kept.released = catalogue(first, second)
    share = 5_000
    of = order(
        targets=(first.target, second.target),
        stages=(stage(CANARY, share=share), stage(CANARY)),
        deadline_seconds=6 * 3600,
    )
    made = [enrolment(f"GW-{n}", hardware="x86-r1") for n in range(24)]
    kept.take(*made, *(countersign(one) for one in made))
    kept.now += hours(1)
    kept.take(of, *started(of))
    inside = {device for (device,) in kept.memory.rows("SELECT device FROM action")}

    def below(wanted: str) -> set[str]:
        return {one.said.device for one in made if point(wanted, one.said.device) < share}

    assert inside == below(second.sha256) != below(first.sha256)
