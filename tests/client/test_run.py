"""``run``: how long it waits, what it says, and how signals reach it asleep or at work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock_client import daemon
from interlock_client.config import ClientCertificate, Settings
from interlock_client.daemon import Round
from interlock_client.journal import State
from interlock_client.outcome import Outcome
from interlock_client.rounds import FIRST_BACK_OFF_SECONDS, Voice, Waits
from interlock_client.signals import Signals, Stopped
from interlock_core.errors import Exit
from tests.client.bed import FACTORY, Bed
from tests.client.fleet import Fleet
from tests.client.test_cli import CLIENT, client
from tests.client.web import Handler, Web
from tests.client.world import NOW, Clock, World
from tests.support.certificates import Authority

NEW = b"release one " * 50_000
FINE = Outcome("nothing_to_do", "nothing_wanted", "Nothing.")
WAITS = Outcome("deferred", "interlock_not_clear", "A patient.", Exit.DEFERRED)
BROKEN = Outcome("transient", "network", "No network.", Exit.TRANSIENT)
REFUSED = Outcome("refused", "stopped", "Stopped.", Exit.REFUSED)


class TestWaits:
    @pytest.fixture
    def settings(self, bed: Bed) -> Settings:
        bed.change(poll_interval_seconds=900, poll_jitter_seconds=300, deferral_retry_seconds=60)
        return bed.settings

    @pytest.mark.parametrize("outcome", [FINE, REFUSED])
    def test_the_interval_and_a_jitter(self, settings: Settings, outcome: Outcome) -> None:
        asked: list[tuple[float, float]] = []

        def uniform(low: float, high: float) -> float:
            asked.append((low, high))
            return 123.5

        assert Waits(settings, uniform).after(outcome) == 1023.5
        assert asked == [(0, 300)]

    @pytest.mark.parametrize("reason", ["interlock_not_clear", "local_hold", "outside_window"])
    def test_sooner_while_it_waits_for_this_place(self, settings: Settings, reason: str) -> None:
        waiting = Outcome("deferred", reason, "", Exit.DEFERRED)
        assert Waits(settings, lambda _, high: high).after(waiting) == 60

    def test_not_sooner_while_it_waits_for_others(self, settings: Settings) -> None:
        waiting = Outcome("deferred", "not_in_stage", "", Exit.DEFERRED)
        assert Waits(settings, lambda low, _: low).after(waiting) == 900

    def test_trouble_backs_off_up_to_the_interval(self, settings: Settings) -> None:
        waits = Waits(settings, lambda low, _: low)
        found = [waits.after(BROKEN) for _ in range(40)]
        assert found[:6] == [FIRST_BACK_OFF_SECONDS, 60, 120, 240, 480, 900]
        assert set(found[6:]) == {900}
        assert waits.after(FINE) == 900
        assert waits.after(BROKEN) == FIRST_BACK_OFF_SECONDS, "and begins again"

    def test_trouble_is_jittered_too(self, settings: Settings) -> None:
        assert Waits(settings, lambda _, high: high).after(BROKEN) == 60


class TestVoice:
    def test_what_repeats_is_said_once_and_counted(self) -> None:
        voice = Voice()
        assert voice.line("update", BROKEN, NOW) is not None
        for _ in range(4):
            assert voice.line("update", BROKEN, NOW) is None
        line = voice.line("update", FINE, NOW)
        assert line is not None
        assert line.startswith("2030-01-01T12:00:00Z update: nothing_to_do (nothing_wanted): ")
        assert "5 times: transient network" in line
        assert voice.line("update", FINE, NOW) is None

    def test_subjects_are_told_apart(self) -> None:
        voice = Voice()
        assert voice.line("update", BROKEN, NOW) is not None
        assert voice.line("report", BROKEN, NOW) is not None


class TestRounds:
    """The loop in this process, with signals that the test sends itself."""

    def rounds(self, bed: Bed, *acts: Callable[[], object]) -> list[Round]:
        """Run until ``acts``, one after each round, are used up."""
        found: list[Round] = []
        left = list(acts)

        def say(one: Round) -> None:
            found.append(one)
            if not left:
                os.kill(os.getpid(), signal.SIGTERM)
                return
            left.pop(0)()
            os.kill(os.getpid(), signal.SIGUSR1)

        with bed.context() as made, suppress(Stopped), Signals() as signals:
            daemon.run(made, signals, say, lambda low, _: low)
        return found

    def test_it_confirms_updates_and_reports(self, world: World, bed: Bed, web: Web) -> None:
        fleet = Fleet()
        fleet.answers(web)
        bed.enrol()
        world.roll_out(world.release("1.0.0", NEW))
        (first,) = self.rounds(bed)
        assert (first.outcome.outcome, first.going_down, first.next_seconds) == (
            "rebooting",
            True,
            None,
        )
        assert fleet.reports == [], "nothing is sent while the power is about to go"
        bed.power_on()
        (second,) = self.rounds(bed)
        assert second.confirmed is not None
        assert second.confirmed.outcome == "confirmed"
        assert second.outcome.reason == "already_installed"
        assert second.reported is not None
        assert second.reported.outcome == "reported"
        assert ("confirmed", "healthy") in fleet.told()
        assert [line.split()[1] for line in second.lines] == ["confirm:", "update:", "report:"]

    def test_once_it_goes_down_it_does_nothing_more(self, world: World, bed: Bed, web: Web) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        found: list[Round] = []
        seen: list[int] = []

        class Impatient(Signals):
            """Told to look while it waits for the power to go, and then to end."""

            def wait(self, seconds: float | None) -> None:
                seen.append(len(web.requests))
                number = signal.SIGUSR1 if len(seen) == 1 else signal.SIGTERM
                os.kill(os.getpid(), number)
                super().wait(seconds)

        with bed.context() as made, suppress(Stopped), Impatient() as signals:
            daemon.run(made, signals, found.append, lambda low, _: low)
        assert len(found) == 1
        assert len(seen) == 2
        assert seen[0] == seen[1] == len(web.requests)
        assert bed.environment.load().armed == "b"

    def test_a_rollback_goes_down_too(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.update()
        bed.power_on()
        bed.script("health.d/10-up", "exit 1")
        (found,) = self.rounds(bed)
        assert (found.outcome.outcome, found.going_down) == ("rolled_back", True)
        assert bed.wants_reboot
        bed.power_on()
        (found,) = self.rounds(bed)
        assert found.outcome.reason == "rolled_back_here"
        assert bed.running == FACTORY

    def test_it_goes_on_when_the_patient_is_gone(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.script("interlock.d/10-idle", "exit 1")
        first, again, second = self.rounds(
            bed, lambda: None, lambda: bed.script("interlock.d/10-idle", "exit 0")
        )
        assert (first.outcome.reason, first.next_seconds) == ("interlock_not_clear", 60)
        assert (again.lines, again.repeated) == ((), 2)
        assert second.going_down

    def test_somebody_elses_reboot_is_given_time(self, world: World, bed: Bed) -> None:
        """Another command armed a slot while this one slept: its reboot is not undone at once."""
        world.roll_out(world.release("1.0.0", NEW))
        bed.update()
        armed: list[object] = []
        first, second = self.rounds(bed, lambda: armed.append(bed.environment.load().armed))
        assert (first.outcome.reason, armed) == ("reboot_pending", ["b"])
        assert second.outcome.outcome == "rebooting", "it never came, so all is asked again"

    def test_trouble_ends_a_round_and_not_the_process(self, bed: Bed, web: Web) -> None:
        def broken() -> None:
            (bed.home / "booted").unlink()

        found = self.rounds(bed, broken, bed.power_on)
        assert [one.outcome.reason for one in found] == [
            "nothing_wanted",
            "booted_unknown",
            "nothing_wanted",
        ]

    def test_each_round_counts_its_own_requests(self, bed: Bed) -> None:
        found = self.rounds(bed, lambda: None, lambda: None)
        assert [one.outcome.more["requests"] for one in found][1:] == [1, 1]

    def test_without_the_network_nothing_is_sent(self, bed: Bed, web: Web) -> None:
        fleet = Fleet()
        fleet.answers(web)
        bed.enrol()
        bed.change(servers=("http://127.0.0.1:9",))
        (found,) = self.rounds(bed)
        assert found.outcome.reason == "network"
        assert (found.reported, found.next_seconds) == (None, FIRST_BACK_OFF_SECONDS)

    def test_the_object_of_a_round(self, bed: Bed) -> None:
        (found,) = self.rounds(bed)
        assert set(found.fields()) == {
            "outcome",
            "reason",
            "detail",
            "order",
            "permit",
            "target",
            "target_sha256",
            "decided_at",
            "requests",
            "round",
            "at",
            "repeated",
            "next_seconds",
            "confirm",
            "report",
            "client_certificate",
        }

    def test_a_client_certificate_that_ends_is_said_once_before_and_once_after(
        self, tmp_path: Path, world: World, bed: Bed
    ) -> None:
        world.clock.now = datetime.now(UTC)
        pair = Authority(tmp_path).issue("GW-000001", days=31.5)
        bed.change(client_certificate=ClientCertificate(certificate=pair.certificate, key=pair.key))

        def days(number: int) -> Callable[[], None]:
            return lambda: world.clock.pass_(days=number)

        found = self.rounds(bed, days(2), days(1), days(40), days(1))
        said = [
            line.split(" ", 1)[1].split(":")[1]
            for one in found
            for line in one.lines
            if "client certificate" in line
        ]
        assert said == [" warning (expires_soon)", " warning (expired)"]
        assert found[0].fields()["client_certificate"] is None
        assert "in 29 days: renew it" in found[1].fields()["client_certificate"]


class TestSignals:
    def test_a_stop_inside_a_shield_comes_at_its_end(self) -> None:
        reached: list[str] = []

        def shielded(signals: Signals) -> None:
            with signals.uninterrupted():
                os.kill(os.getpid(), signal.SIGTERM)
                reached.append("its end")
            reached.append("what follows")

        with Signals() as signals, pytest.raises(Stopped):
            shielded(signals)
        assert reached == ["its end"]

    def test_it_breaks_off_once(self) -> None:
        with Signals() as signals:
            with pytest.raises(Stopped):
                os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.stopping
            with pytest.raises(Stopped):
                signals.wait(None)

    @pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
    def test_a_look_that_came_before_the_wait_is_not_lost(self, number: int) -> None:
        with Signals() as signals:
            os.kill(os.getpid(), number)
            signals.wait(None)

    def test_what_was_there_before_is_there_again(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        with Signals():
            assert signal.getsignal(signal.SIGTERM) is not before
        assert signal.getsignal(signal.SIGTERM) is before


class Running:
    """A real ``interlock-client run``; a test waits on the lines that it prints."""

    def __init__(self, config: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [CLIENT, "run", "--config", config, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def round(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.line())
        return found

    def tell(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.tell(number)
        _, err = self.process.communicate()
        return self.process.returncode, err


@pytest.fixture
def now_world(tmp_path: Path) -> World:
    return World(tmp_path, Clock(datetime.now(UTC).replace(microsecond=0)))


@pytest.fixture
def place(tmp_path: Path, now_world: World) -> Iterator[tuple[Bed, Web]]:
    with Web(now_world.store) as web:
        bed = Bed(
            tmp_path / "gateway", now_world, web, poll_interval_seconds=900, poll_jitter_seconds=0
        )
        bed.power_on()
        yield bed, web


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(bed: Bed, *words: str) -> Running:
        started.append(Running(bed.write_config(), *words))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


class TestProcess:
    def test_it_sleeps_looks_when_told_to_and_ends_with_0(
        self, now_world: World, place: tuple[Bed, Web], run: Callable[..., Running]
    ) -> None:
        bed, _ = place
        running = run(bed, "--json")
        first = running.round()
        assert (first["reason"], first["round"], first["next_seconds"]) == (
            "nothing_wanted",
            1,
            900,
        )
        # It sleeps, and holds no lock.
        said = client("check", "--config", bed.home / "gateway.toml", "--json")
        assert (said.code, said.json()["reason"]) == (0, "nothing_wanted")
        now_world.roll_out(now_world.release("1.0.0", NEW))
        running.tell(signal.SIGHUP)
        second = running.round()
        assert (second["outcome"], second["next_seconds"]) == ("rebooting", None)
        running.tell(signal.SIGUSR1)
        code, err = running.end()
        assert (code, err) == (0, "")
        assert bed.environment.load().armed == "b", "the power is about to go: it stays armed"
        bed.power_on()
        running = run(bed)
        assert " confirm: confirmed (healthy): " in running.line()
        assert " update: nothing_to_do (already_installed): " in running.line()
        assert running.end(signal.SIGINT) == (0, "")
        assert bed.running == NEW

    def test_it_ends_during_a_download_and_goes_on_later(
        self, now_world: World, place: tuple[Bed, Web], run: Callable[..., Running]
    ) -> None:
        bed, web = place
        now_world.roll_out(now_world.release("1.0.0", NEW))
        halfway = threading.Event()

        def slow(handler: Handler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(NEW)))
            handler.end_headers()
            handler.wfile.write(NEW[: len(NEW) // 2])
            handler.wfile.flush()
            halfway.set()
            web.over.wait()

        web.lies["/image/targets/ward"] = slow
        running = run(bed)
        assert halfway.wait(60)
        assert running.end() == (0, "")
        assert bed.journal.state is State.DOWNLOADING
        web.lies.clear()
        running = run(bed, "--json")
        assert running.round()["outcome"] == "rebooting"
        assert running.end()[0] == 0

    def test_it_ends_while_a_server_says_nothing(
        self, place: tuple[Bed, Web], run: Callable[..., Running]
    ) -> None:
        bed, web = place
        asked = threading.Event()

        def silent(_: Handler) -> None:
            asked.set()
            web.over.wait()

        web.lies["/poll/"] = silent
        running = run(bed)
        assert asked.wait(60)
        assert running.end() == (0, "")

    def test_the_shutdown_that_its_own_reboot_brings_does_not_undo_it(
        self, now_world: World, place: tuple[Bed, Web], run: Callable[..., Running]
    ) -> None:
        """The reboot command does not return before systemd ends the agent."""
        bed, _ = place
        now_world.roll_out(now_world.release("1.0.0", NEW))
        bed.script("reboot.sh", 'kill -TERM "$PPID"; exit 0')
        running = run(bed)
        running.process.wait(60)
        assert running.process.returncode == 0
        assert bed.environment.load().armed == "b"
        assert bed.journal.state is State.REBOOTING

    def test_a_configuration_that_is_wrong_is_said_at_once(self, place: tuple[Bed, Web]) -> None:
        bed, _ = place
        path = bed.write_config()
        path.write_text(path.read_text() + "nonsense = 1\n")
        said = client("run", "--config", path)
        assert said.code == 2
        assert said.err.count("\n") == 1


def test_ages_are_said_as_people_say_them() -> None:
    from interlock_client.why import age  # noqa: PLC0415

    assert [age(timedelta(minutes=minutes)) for minutes in (0, 61, 3000)] == [
        "0 min",
        "1 h 1 min",
        "2 days",
    ]
