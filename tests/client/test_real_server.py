"""A gateway beside the real server's application: enrolled, countersigned, heard, and moved."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import msgspec
import pytest

from interlock_client import agent, check, confirm, context, enrol, reporting
from interlock_client.config import Settings
from interlock_client.context import Context
from interlock_client.identity import load_in_force
from interlock_client.install.control import own_state
from interlock_client.installers import Slots
from interlock_client.poll import load_trouble
from interlock_client.tables import SlotPaths
from interlock_client.times import Times
from interlock_core.api import Device
from interlock_core.errors import RefusedError, TransientError
from interlock_core.report import Enrolment, Report
from interlock_core.statement import Opened, open_as, read_envelope
from interlock_server.app import create_app
from tests.server.later import new_online, restart, rotation, send
from tests.server.world import NOW, V1, Bench, Fleet
from tests.support.papers import (
    DEVICE,
    HARDWARE,
    PRODUCT,
    SECRET,
    assignment,
    authorise,
    claim,
    countersign,
    days,
    order,
    started,
)
from tests.support.people import CANARY, FLEET, ST_ANNA


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its signature
        """Say nothing."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A founded fleet with one release."""
    made = Bench(Fleet(tmp_path_factory.mktemp("server"), NOW))
    made.found()
    made.delegate()
    made.publish_roster()
    made.release(1, V1)
    yield made
    made.back.database.close()


@pytest.fixture
def url(bench: Bench) -> Iterator[str]:
    with make_server("127.0.0.1", 0, create_app(bench.services), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Gateway:
    """A gateway of the canary cohort whose slots are files."""

    def __init__(self, home: Path, bench: Bench, url: str) -> None:
        for name in ("slots", "boot"):
            (home / name).mkdir(parents=True)
        (home / "slots" / "a").write_bytes(b"factory firmware")
        ceremony = bench.fleet.ceremony
        self.settings = Settings(
            fleet=FLEET,
            device=DEVICE,
            market="DE",
            product=PRODUCT,
            hardware=HARDWARE,
            cohort=CANARY,
            cohort_patterns=("*",),
            site="ward-7",
            servers=(url,),
            image_root=ceremony / "image" / "1.root.json",
            director_root=ceremony / "director" / "1.root.json",
            state=home / "state",
            installer=Slots(
                a=SlotPaths.one(home / "slots" / "a"),
                b=SlotPaths.one(home / "slots" / "b"),
                boot_environment=home / "boot",
                booted=home / "booted",
            ),
            reboot_command=("true",),
            health="none",
            interlock="none",
        )
        self.boots = 0
        self.times = Times(clock=bench.clock, boot_id=lambda: str(self.boots), monotonic=lambda: 0)
        self.power_on()

    def power_on(self) -> None:
        self.boots += 1
        own_state(self.settings.installer).boot()

    def context(self) -> Context:
        return context.assemble(self.settings, times=self.times)

    def enrolment(self) -> Opened[Enrolment]:
        known = load_in_force(self.context().state)
        assert known is not None
        return open_as(read_envelope(known.envelope.encode()), Enrolment)


def test_from_the_claim_to_another_cohort(bench: Bench, url: str, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gateway", bench, url)
    made = gateway.context()
    now = bench.clock()

    with pytest.raises(RefusedError) as unknown:
        enrol.enrol(made, lambda: "A" * 40)
    assert unknown.value.reason == "bad_claim"
    bench.say_all(claim(SECRET, at=now, expires=now + days(7)))
    assert enrol.enrol(made, lambda: SECRET).reason == "waiting"
    assert enrol.enrol(made, None).reason == "waiting"

    assert check.check(made).reason == "nothing_wanted"
    with pytest.raises(TransientError) as early:
        reporting.report(made)
    assert early.value.reason == "not_countersigned"
    opened = gateway.enrolment()
    bench.say_all(countersign(opened, at=now))
    assert reporting.report(made).reason == "acknowledged"
    assert enrol.enrol(made, None).reason == "countersigned"

    update = order(targets=(V1.target(),), at=now, not_before=now, expires=now + days(30))
    bench.say_all(update, *started(update))
    assert agent.update(made).outcome == "rebooting"
    gateway.power_on()
    assert confirm.confirm(made).outcome == "confirmed"
    assert reporting.report(made).reason == "acknowledged"

    device = bench.read(f"/v1/devices/{DEVICE}", Device)
    assert device.report is not None
    said = open_as(device.report, Report).said
    assert said.attempt is not None
    assert (said.attempt.outcome, said.running and said.running.version) == ("confirmed", "1.0.0")

    moving = assignment(
        opened.id, from_cohort=CANARY, to_cohort=ST_ANNA, at=now, expires=now + days(3)
    )
    words = [authorise(moving, at=now), authorise(moving, by="hanna", role="hospital", at=now)]
    bench.say_all(moving, *words)
    check.check(made)
    assert made.place(made.memory()).cohort == ST_ANNA
    assert reporting.report(made).reason == "acknowledged"
    device = bench.read(f"/v1/devices/{DEVICE}", Device)
    assert device.report is not None
    assert open_as(device.report, Report).said.cohort == ST_ANNA
    made.close()


def test_a_rotation_is_followed_by_one_poll_and_nobody_is_alarmed(
    bench: Bench, url: str, tmp_path: Path
) -> None:
    """New online keys in every repository, by way of the server's own door."""
    gateway = Gateway(tmp_path / "gateway", bench, url)
    with closing(gateway.context()) as made:
        before = check.check(made).reason
    new_online(bench.fleet)
    restart(bench, "online", "online-2")
    with make_server("127.0.0.1", 0, create_app(bench.services), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            gateway.settings = msgspec.structs.replace(
                gateway.settings, servers=(f"http://127.0.0.1:{server.server_port}",)
            )
            for act in (
                lambda: send(bench, rotation(bench.fleet)),
                bench.back.publisher.refresh,
                lambda: restart(bench, "online-2"),
            ):
                act()
                with closing(gateway.context()) as made:
                    outcome = check.check(made)
                assert outcome.reason == before, outcome.detail
                assert load_trouble(made.state) is None
            versions = made.memory().versions
            assert (versions["image/root"], versions["director/root"]) == (2, 2)
        finally:
            server.shutdown()
            thread.join()
