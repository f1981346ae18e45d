"""Reports until acknowledged: numbered and chained, whatever is lost on the way."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from interlock_client import outbox
from interlock_client.outbox import Entry, Outbox, Sent
from interlock_client.sealed import seal
from interlock_core.errors import Exit, RefusedError
from interlock_core.wire import sha256_hex
from tests.client.bed import Bed
from tests.client.fleet import Fleet
from tests.client.test_power import cut, every_step
from tests.client.web import Web
from tests.client.world import NOW, World

NEW = b"release one " * 100


@pytest.fixture
def enrolled(bed: Bed, fleet: Fleet) -> Bed:
    assert bed.enrol().reason == "countersigned"
    return bed


def box(bed: Bed) -> Outbox:
    home = bed.home / "state" / "identity"
    return Outbox(home / "outbox", home / "sent.json")


def refused(act: object) -> str:
    with pytest.raises(RefusedError) as caught:
        act()  # type: ignore[operator]
    return caught.value.reason


class TestFiles:
    @pytest.fixture
    def kept(self, tmp_path: Path) -> Outbox:
        (tmp_path / "sent.json").write_bytes(seal(Sent()))
        return Outbox(tmp_path / "outbox", tmp_path / "sent.json")

    def add(self, kept: Outbox, number: int) -> Entry:
        entry = Entry(
            number=number, id=f"{number:064}", at=NOW, told={"n": number}, ended=None, envelope="{}"
        )
        kept.add(entry)
        return entry

    def test_what_comes_next_follows_from_the_newest(self, kept: Outbox) -> None:
        assert kept.tip() == (Sent(), 0)
        first = self.add(kept, 1)
        second = self.add(kept, 2)
        assert kept.tip() == (second.sent(), 2)
        kept.acknowledge(first)
        assert kept.numbers() == [2]
        kept.acknowledge(second)
        assert kept.tip() == (second.sent(), 0)

    def test_what_was_acknowledged_and_not_removed_is_not_sent_again(self, kept: Outbox) -> None:
        first = self.add(kept, 1)
        kept.acknowledged.write_bytes(seal(first.sent()))
        assert kept.numbers() == []
        self.add(kept, 2)
        assert [entry.number for entry in kept.entries()] == [2]
        kept.acknowledge(kept.entry(2))
        assert list(kept.directory.iterdir()) == []

    @pytest.mark.parametrize("damage", [None, b"", b"{}", b"torn {"])
    def test_a_lost_or_damaged_record_of_what_was_sent(
        self, kept: Outbox, damage: bytes | None
    ) -> None:
        self.add(kept, 1)
        kept.acknowledged.unlink() if damage is None else kept.acknowledged.write_bytes(damage)
        assert refused(kept.tip) == "damaged_state"
        assert refused(kept.numbers) == "damaged_state"

    def test_a_hole_and_a_file_of_another_number(self, kept: Outbox) -> None:
        for number in (1, 2, 3):
            self.add(kept, number)
        (kept.directory / f"{2:010}.json").rename(kept.directory / "away")
        assert refused(kept.tip) == "damaged_state"
        shutil.copy(kept.directory / f"{1:010}.json", kept.directory / f"{2:010}.json")
        assert refused(lambda: list(kept.entries())) == "damaged_state"

    def test_other_files_are_no_reports(self, kept: Outbox) -> None:
        self.add(kept, 1)
        (kept.directory / ".interlock-0000000000000000.partial").write_bytes(b"torn")
        assert kept.numbers() == [1]


class TestTelling:
    def test_nothing_is_told_before_there_is_an_enrolment(
        self, world: World, bed: Bed, fleet: Fleet
    ) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        assert bed.install().outcome == "confirmed"
        assert bed.report().reason == "not_enrolled"
        assert fleet.asked == []

    def test_it_is_kept_until_a_server_can_be_reached(
        self, world: World, enrolled: Bed, fleet: Fleet
    ) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        assert enrolled.install().outcome == "confirmed"
        assert fleet.reports == []
        waiting = enrolled.status()["outbox"]["waiting"]
        assert waiting > 0
        outcome = enrolled.report()
        assert (outcome.outcome, outcome.more["sent"]) == ("reported", waiting)
        assert fleet.told() == [("rebooting", None), ("confirmed", "healthy")]
        assert enrolled.status()["outbox"]["acknowledged"]["number"] == waiting

    def test_what_did_not_change_is_not_told_again(
        self, world: World, enrolled: Bed, fleet: Fleet
    ) -> None:
        enrolled.check()
        enrolled.report()
        told = len(fleet.reports)
        for _ in range(5):
            world.clock.pass_(hours=1)
            enrolled.check()
            assert enrolled.report().reason == "nothing_to_report"
        assert len(fleet.reports) == told

    def test_a_sign_of_life_once_a_day(self, world: World, enrolled: Bed, fleet: Fleet) -> None:
        enrolled.check()
        enrolled.report()
        told = len(fleet.reports)
        world.clock.pass_(hours=24)
        world.refresh()
        assert enrolled.check().reason == "nothing_wanted"
        assert enrolled.report().more["sent"] == 1
        assert len(fleet.reports) == told + 1
        assert fleet.reports[-1].said.reason == "nothing changed"
        enrolled.change(report_interval_seconds=3600)
        world.clock.pass_(hours=1)
        assert enrolled.report().more["sent"] == 1

    def test_a_sign_of_life_adds_nothing_to_what_waits(self, world: World, enrolled: Bed) -> None:
        enrolled.check()
        waiting = enrolled.status()["outbox"]["waiting"]
        for _ in range(3):
            world.clock.pass_(days=2)
            enrolled.change(servers=("http://127.0.0.1:9",))
            enrolled.check()
        assert enrolled.status()["outbox"]["waiting"] == waiting

    def test_a_countdown_is_no_news(self, world: World, enrolled: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW), spread_seconds=86_400)
        assert enrolled.update().reason == "spread"
        waiting = enrolled.status()["outbox"]["waiting"]
        world.clock.pass_(minutes=1)
        assert enrolled.update().reason == "spread"
        assert enrolled.status()["outbox"]["waiting"] == waiting

    def test_a_deferral_is_told_with_its_age_and_without_what_a_check_printed(
        self, world: World, enrolled: Bed, fleet: Fleet
    ) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        enrolled.script("interlock.d/10-idle", "echo Mrs Miller in bed 4; exit 1")
        since = world.clock()
        enrolled.update()
        world.clock.pass_(hours=1)
        enrolled.update()
        enrolled.report()
        said = fleet.reports[-1].said
        assert said.attempt is not None
        assert (said.attempt.outcome, said.attempt.reason) == ("deferred", "interlock_not_clear")
        assert said.attempt.deferred_since == since
        assert (said.interlock.mode, said.interlock.clear) == ("checks", False)
        assert [(one.name, one.passed) for one in said.interlock.checks] == [("10-idle", False)]
        assert not [one for one in fleet.reports if b"Miller" in one.payload]

    def test_a_hold_keeps_its_words(self, world: World, enrolled: Bed, fleet: Fleet) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        (enrolled.home / "hold").write_text("Mrs Miller leaves on Monday\n")
        assert enrolled.update().reason == "local_hold"
        enrolled.report()
        assert fleet.told()[-1] == ("deferred", "local_hold")
        assert not [one for one in fleet.reports if b"Miller" in one.payload]

    def test_a_rollback_is_told_with_the_checks_that_failed(
        self, world: World, enrolled: Bed, fleet: Fleet
    ) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        enrolled.script("health.d/10-up", "exit 1")
        assert enrolled.install().outcome == "rolled_back"
        enrolled.power_on()
        enrolled.report()
        assert ("rolled_back", "health_check_failed") in fleet.told()
        said = next(one.said for one in fleet.reports if one.said.health)
        assert [(one.name, one.passed) for one in said.health] == [("10-up", False)]

    def test_a_rollback_by_hand(self, world: World, enrolled: Bed, fleet: Fleet) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        enrolled.install()
        assert enrolled.rollback().outcome == "rolling_back"
        enrolled.power_on()
        enrolled.report()
        assert fleet.told()[-1] == ("rolled_back", "by_hand")
        running = fleet.reports[-1].said.running
        assert running is not None
        assert running.version == "factory"

    def test_bytes_that_nobody_signed(
        self, world: World, enrolled: Bed, fleet: Fleet, web: Web
    ) -> None:
        release = world.release("1.0.0", NEW)
        world.roll_out(release)
        web.answer("/image/targets/ward", b"x" * len(NEW))
        assert enrolled.update().reason == "hash_mismatch"
        enrolled.report()
        assert fleet.told()[-1] == ("failed", "hash_mismatch")
        del web.lies["/image/targets/ward"]
        assert enrolled.install().outcome == "confirmed"
        enrolled.report()
        assert fleet.told()[-1] == ("confirmed", "healthy")

    def test_what_is_refused_at_every_poll(self, world: World, enrolled: Bed, fleet: Fleet) -> None:
        enrolled.check()
        world.clock.pass_(days=20)
        since = world.clock()
        assert enrolled.check().reason == "expired_metadata"
        world.clock.pass_(days=1)
        enrolled.check()
        enrolled.report()
        trouble = fleet.reports[-1].said.trouble
        assert trouble is not None
        assert (trouble.reason, trouble.since) == ("expired_metadata", since)
        world.refresh()
        enrolled.check()
        enrolled.report()
        assert fleet.reports[-1].said.trouble is None

    def test_installed_already(self, world: World, enrolled: Bed, fleet: Fleet) -> None:
        release = world.release("1.0.0", NEW)
        world.roll_out(release)
        enrolled.install()
        again = world.roll_out(release)
        assert enrolled.update().reason == "already_installed"
        enrolled.report()
        attempt = fleet.reports[-1].said.attempt
        assert attempt is not None
        assert (attempt.outcome, attempt.order) == ("already_installed", again.order.id)

    def test_stopped_while_it_waited(self, world: World, enrolled: Bed, fleet: Fleet) -> None:
        rollout = world.roll_out(world.release("1.0.0", NEW))
        enrolled.script("interlock.d/10-idle", "exit 1")
        enrolled.update()
        world.stop(rollout)
        world.show("wards", rollout)
        assert enrolled.update().reason == "stopped"
        enrolled.report()
        assert fleet.told()[-2:] == [("deferred", "interlock_not_clear"), ("rejected", "stopped")]

    def test_a_reboot_command_that_fails(self, world: World, enrolled: Bed, fleet: Fleet) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        enrolled.script("reboot.sh", "exit 7")
        assert enrolled.update().reason == "reboot_failed"
        enrolled.report()
        assert fleet.told()[-1] == ("failed", "reboot_failed")

    def test_no_interlock_is_shown_in_every_report(self, enrolled: Bed, fleet: Fleet) -> None:
        enrolled.change(interlock="none")
        enrolled.report()
        enrolled.change(interlock=None)
        enrolled.report()
        said = [(one.said.interlock.mode, one.said.interlock.clear) for one in fleet.reports]
        assert said == [("none", True), ("checks", False)]


class TestBounds:
    def test_a_full_outbox_takes_ends_alone(
        self, world: World, enrolled: Bed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from interlock_client import tell  # noqa: PLC0415

        enrolled.check()
        monkeypatch.setattr(tell, "MAX_WAITING", 1)
        monkeypatch.setattr(tell, "MAX_ENDS", 2)
        world.roll_out(world.release("1.0.0", NEW))
        assert enrolled.install().outcome == "confirmed"
        told = [entry.told["attempt"] for entry in box(enrolled).entries()]
        assert [one and one["outcome"] for one in told] == [None, "confirmed"]
        world.roll_out(world.release("2.0.0", NEW * 2))
        assert enrolled.install().outcome == "confirmed"
        assert len(box(enrolled).numbers()) == 2

    def test_status_says_that_it_is_full(
        self, enrolled: Bed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        enrolled.check()
        monkeypatch.setattr("interlock_client.status.MAX_WAITING", 1)
        assert enrolled.status()["outbox"]["full"] is True
        assert outbox.MAX_WAITING < outbox.MAX_ENDS


class TestRefused:
    def test_not_countersigned_yet(self, enrolled: Bed, fleet: Fleet) -> None:
        fleet.countersigned = False
        outcome = enrolled.report()
        assert (outcome.outcome, outcome.reason) == ("transient", "not_countersigned")
        assert enrolled.status()["enrolment"]["state"] == "waiting"
        assert "waiting for a countersignature" in enrolled.status()["why"]
        fleet.countersigned = True
        assert enrolled.report().reason == "acknowledged"
        assert enrolled.status()["enrolment"]["state"] == "countersigned"

    def test_a_fork(self, enrolled: Bed, fleet: Fleet) -> None:
        """The state directory is put back to an older copy of itself."""
        enrolled.report()
        state = enrolled.home / "state"
        shutil.copytree(state, enrolled.home / "old", symlinks=True)
        enrolled.script("interlock.d/10-idle", "exit 1")
        enrolled.change(interlock="none")
        enrolled.report()
        shutil.rmtree(state)
        (enrolled.home / "old").rename(state)
        enrolled.change(interlock=None, cohort="canary")
        outcome = enrolled.report()
        assert (outcome.reason, outcome.exit_code) == ("report_fork", Exit.REFUSED)
        assert "--renew" in outcome.detail
        assert enrolled.status()["enrolment"]["state"] == "quarantined"
        assert enrolled.check().reason == "nothing_wanted"

    def test_a_server_that_lost_reports(self, enrolled: Bed, fleet: Fleet) -> None:
        enrolled.report()
        enrolled.change(interlock="none")
        enrolled.report()
        for chain in fleet.chains.values():
            chain.pop()
        enrolled.change(interlock=None)
        outcome = enrolled.report()
        assert (outcome.reason, outcome.exit_code) == ("report_gap", Exit.REFUSED)
        assert "nothing was removed here" in outcome.detail
        assert enrolled.status()["outbox"]["waiting"] == 1

    def test_a_busy_server_is_asked_again(
        self, enrolled: Bed, web: Web, fleet: Fleet, world: World
    ) -> None:
        busy = b'{"type":"x","title":"x","status":503,"detail":"Later.","reason":"busy"}'
        web.answer("/v1/reports", busy, 503)
        # The first answer that fits is taken, in the order in which they were set.
        web.lies = {"/v1/reports": web.lies.pop("/v1/reports"), **web.lies}
        outcome = enrolled.report()
        assert (outcome.reason, outcome.exit_code) == ("busy", Exit.TRANSIENT)
        with Web(world.store) as second:
            fleet.answers(second)
            enrolled.change(servers=(*enrolled.settings.servers, second.url))
            assert enrolled.report().reason == "acknowledged"

    def test_an_answer_about_another_report(self, enrolled: Bed, web: Web, fleet: Fleet) -> None:
        other = b'{"id":"' + b"0" * 64 + b'","number":1,"next":2}'
        web.lies = {"/v1/reports": lambda handler: handler.say(201, other), **web.lies}
        assert enrolled.report().reason == "wrong_answer"
        assert enrolled.status()["outbox"]["waiting"] == 1


class TestPower:
    """The power goes before any change of the disk: told is told, once, and never forked."""

    def test_during_an_update(self, world: World, enrolled: Bed, fleet: Fleet) -> None:
        enrolled.change(interlock="none", health="none")
        enrolled.report()
        world.roll_out(world.release("1.0.0", NEW))
        chain = dict(fleet.chains)

        def explore(bed: Bed, step: int) -> bool:
            fleet.chains = {name: list(reports) for name, reports in chain.items()}
            was_cut = cut(bed.update, step)
            bed.power_on()
            assert bed.report().exit_code is Exit.DONE
            assert fleet.quarantined == set()
            return was_cut

        assert every_step(enrolled, explore) > 60

    def test_from_the_confirmation_to_the_acknowledgement(
        self, world: World, enrolled: Bed, fleet: Fleet
    ) -> None:
        enrolled.change(interlock="none", health="none")
        enrolled.report()
        world.roll_out(world.release("1.0.0", NEW))
        enrolled.update()
        enrolled.power_on()
        chain = dict(fleet.chains)

        def both(bed: Bed) -> None:
            bed.confirm()
            bed.report()

        def explore(bed: Bed, step: int) -> bool:
            fleet.chains = {name: list(reports) for name, reports in chain.items()}
            was_cut = cut(lambda: both(bed), step)
            bed.power_on()
            bed.confirm()
            assert bed.report().exit_code is Exit.DONE
            assert fleet.told()[-1] == ("confirmed", "healthy")
            assert len(told_ends(fleet)) == 1
            assert fleet.quarantined == set()
            return was_cut

        assert every_step(enrolled, explore) > 30

    def test_a_confirmation_and_then_the_next_update(
        self, world: World, enrolled: Bed, fleet: Fleet
    ) -> None:
        """Cut off right after the end: it is told before the next attempt hides it."""
        enrolled.change(interlock="none", health="none")
        enrolled.report()
        world.roll_out(world.release("1.0.0", NEW))
        enrolled.update()
        enrolled.power_on()
        chain = dict(fleet.chains)

        def explore(bed: Bed, step: int) -> bool:
            fleet.chains = {name: list(reports) for name, reports in chain.items()}
            was_cut = cut(bed.confirm, step)
            world.roll_out(world.release(f"{len(world.releases) + 1}.0.0", NEW * 2))
            bed.power_on()
            for _ in range(3):
                bed.confirm()
                if bed.update().outcome == "rebooting":
                    bed.power_on()
            assert bed.report().exit_code is Exit.DONE
            assert len(told_ends(fleet)) == 2
            assert fleet.quarantined == set()
            return was_cut

        assert every_step(enrolled, explore) > 15

    def test_an_end_is_told_before_the_next_end_takes_its_place(
        self, world: World, enrolled: Bed, fleet: Fleet
    ) -> None:
        """Twice the power goes right before a report is made."""
        enrolled.change(interlock="none", health="none")
        enrolled.report()
        link = enrolled.home / "state" / "identity"
        mine = link.readlink()
        world.roll_out(world.release("1.0.0", NEW))
        enrolled.update()
        enrolled.power_on()
        link.unlink()
        assert enrolled.confirm().outcome == "confirmed"
        world.roll_out(world.release("2.0.0", NEW * 2))
        assert enrolled.update().outcome == "rebooting"
        enrolled.power_on()
        link.symlink_to(mine)
        assert enrolled.confirm().outcome == "confirmed"
        enrolled.report()
        assert len(told_ends(fleet)) == 2


def told_ends(fleet: Fleet) -> list[str]:
    """The reports that were made because an attempt had ended."""
    return [one.id for one in fleet.reports if one.said.reason == "an attempt ended"]


class Chains(RuleBasedStateMachine):
    """A device and a server: whatever is lost on the way, the server has 1..n and no fork."""

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp())
        (self.place / "sent.json").write_bytes(seal(Sent()))
        self.kept = Outbox(self.place / "outbox", self.place / "sent.json")
        self.accepted: list[str] = []
        self.said = 0

    def teardown(self) -> None:
        shutil.rmtree(self.place)

    def _tell(self) -> None:
        last, _ = self.kept.tip()
        self.said += 1
        id_ = sha256_hex(f"{last.id} {self.said}".encode())
        entry = Entry(
            number=last.number + 1,
            id=id_,
            at=NOW + timedelta(seconds=self.said),
            told={"previous": last.id},
            ended=None,
            envelope="{}",
        )
        self.kept.add(entry)

    def _post(self, entry: Entry) -> None:
        if entry.number <= len(self.accepted):
            assert self.accepted[entry.number - 1] == entry.id, "a fork"
            return
        assert entry.number == len(self.accepted) + 1, "a gap"
        previous = self.accepted[-1] if self.accepted else None
        assert entry.told["previous"] == previous, "not chained"
        self.accepted.append(entry.id)

    def _send(self) -> None:
        for entry in self.kept.entries():
            self._post(entry)
            self.kept.acknowledge(entry)

    @rule()
    def tell(self) -> None:
        self._tell()

    @rule()
    def send(self) -> None:
        self._send()
        assert self.kept.numbers() == []

    @rule()
    def send_and_lose_the_answer(self) -> None:
        for entry in self.kept.entries():
            self._post(entry)
            return

    @rule(step=st.integers(0, 12))
    def tell_and_crash(self, step: int) -> None:
        cut(self._tell, step)

    @rule(step=st.integers(0, 30))
    def send_and_crash(self, step: int) -> None:
        cut(self._send, step)

    @rule()
    def restart(self) -> None:
        self.kept = Outbox(self.place / "outbox", self.place / "sent.json")

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "kept"):
            last, waiting = self.kept.tip()
            assert last.number >= len(self.accepted)
            assert self.kept.sent().number + waiting == last.number


Chains.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


TestChains = Chains.TestCase
