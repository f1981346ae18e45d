"""Whatever the network does to an update: nothing is lost, it is named, and the next run goes on.

One gateway runs ``OLD`` and is ordered ``NEW``. A fault holds for one run, at one of the places
where an update asks; after it, the machine is switched off and on, and an honest run must end with
``NEW`` confirmed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from interlock_client.download import keeper
from interlock_client.journal import State
from interlock_client.servers import Limits
from interlock_core.errors import Exit
from tests.client.bed import Bed
from tests.client.fleet import Fleet
from tests.client.web import Web
from tests.client.world import PRODUCT, World
from tests.support import faults, thin
from tests.support.faults import Exchange, Fault, FaultProxy

OLD = b"release one " * 100
NEW = b"".join(hashlib.sha256(bytes([n % 251, n // 251])).digest() for n in range(3000))
"""96,000 bytes that no compression shortens."""

HASTY = Limits(
    connect_seconds=1.0,
    silence_seconds=0.2,
    answer_seconds=0.4,
    image_seconds=5.0,
    image_window_seconds=0.4,
    image_bytes_per_second=10_000,
)

PATIENT = Limits()
"""Where nothing has to run into a time limit: a machine under load must not either."""

POLL = "/poll/"
METADATA = "/image/metadata/"
IMAGE = f"/image/targets/{PRODUCT}/"
MIDDLE = len(NEW) // 2


@dataclass
class Scene:
    """A gateway before an update, and what stands between it and its server."""

    bed: Bed
    proxy: FaultProxy
    web: Web


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    place = tmp_path_factory.mktemp("faults")
    with ExitStack() as stack:
        world = World(place)
        web = stack.enter_context(Web(world.store))
        proxy = stack.enter_context(FaultProxy(web.url))
        world.roll_out(world.release("1.0.0", OLD))
        bed = Bed(place / "gateway", world, web, interlock="none", health="none")
        bed.power_on()
        assert bed.install().outcome == "confirmed"
        world.roll_out(world.release("2.0.0", NEW))
        bed.change(servers=(proxy.url,))
        bed.save()
        yield Scene(bed, proxy, web)


@pytest.fixture
def scene(made: Scene) -> Scene:
    made.proxy.heal()
    made.proxy.seen.clear()
    made.bed.restore()
    made.bed.power_on()
    return made


def broken(
    scene: Scene, where: str, fault: Fault, *, after: int = 0, limits: Limits = PATIENT
) -> str:
    """Run an update into a fault; returns the reason that it gave."""
    scene.proxy.breaks(where, fault, after=after)
    scene.bed.limits = limits
    outcome = scene.bed.update()
    scene.bed.limits = PATIENT
    scene.proxy.heal()
    assert outcome.exit_code in {Exit.DONE, Exit.TRANSIENT, Exit.REFUSED}, outcome
    assert outcome.detail
    if outcome.outcome == "rebooting":
        return "none"
    assert not scene.bed.wants_reboot
    assert scene.bed.environment.load().armed is None
    return outcome.reason


def finishes(scene: Scene) -> list[str | None]:
    """Off and on, and an honest run; returns the ranges that it asked of the image."""
    bed = scene.bed
    bed.power_on()
    if bed.running != NEW:
        assert bed.running == OLD
        scene.proxy.seen.clear()
        assert bed.update().outcome == "rebooting"
        bed.power_on()
    asked = scene.proxy.ranges(IMAGE)
    assert bed.confirm().outcome == "confirmed"
    assert bed.running == NEW
    assert bed.journal.state is State.CONFIRMED
    assert bed.check().reason == "already_installed"
    return asked


FAILURES: dict[str, Fault] = {
    "lost": faults.lost,
    "closed": faults.closed,
    "reset": faults.reset,
    "reset in the body": faults.reset_after(10),
    "cut short": faults.cut(-1),
    "silent after some bytes": faults.lost_after(10),
    "a drip feed": faults.drip,
    "garbage": faults.garbage,
    "many headers": faults.many_headers,
    "a long header": faults.long_header,
}
"""What no answer can be read of."""

ANSWERS: dict[str, Fault] = {
    "no length, and an early end": faults.no_length,
    "a redirect": faults.elsewhere,
    "in maintenance": faults.says(503),
    "not there": faults.says(404),
    "compressed": faults.zipped,
    "the answer to another request": faults.displaced,
    "a wrong bit": faults.flipped,
}
"""Answers that are none to what was asked."""


def of_each(reasons: list[str]) -> list[tuple[Fault, str]]:
    """What each of ``ANSWERS`` is called."""
    return list(zip(ANSWERS.values(), reasons, strict=True))


@pytest.mark.parametrize("fault", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("where", [POLL, METADATA, IMAGE])
def test_the_network_fails(scene: Scene, where: str, fault: Fault) -> None:
    assert broken(scene, where, fault, limits=HASTY) == "network"
    finishes(scene)


@pytest.mark.parametrize("fault", ANSWERS.values(), ids=ANSWERS)
def test_a_bundle_that_is_none_costs_requests_and_nothing_else(scene: Scene, fault: Fault) -> None:
    assert broken(scene, POLL, fault) == "none"
    finishes(scene)


@pytest.mark.parametrize(
    ("fault", "reason"),
    of_each(["untrusted_metadata", *["network"] * 3, *["untrusted_metadata"] * 3]),
    ids=ANSWERS,
)
def test_metadata_that_is_none(scene: Scene, fault: Fault, reason: str) -> None:
    assert broken(scene, METADATA, fault) == reason
    finishes(scene)


@pytest.mark.parametrize(
    ("fault", "reason"),
    of_each([*["network"] * 4, *["hash_mismatch"] * 3]),
    ids=ANSWERS,
)
def test_an_image_that_is_none(scene: Scene, fault: Fault, reason: str) -> None:
    assert broken(scene, IMAGE, fault) == reason
    if reason == "hash_mismatch" and fault is faults.flipped:
        # All of it came, and it was wrong: its server is left alone until a person or time says.
        with scene.bed.context() as context:
            assert keeper.lift(context.state.transfer)
    finishes(scene)


@pytest.mark.parametrize("there", [0, 1, MIDDLE, len(NEW) - 1])
def test_a_download_goes_on_at_the_very_byte(scene: Scene, there: int) -> None:
    assert broken(scene, IMAGE, faults.cut(there)) == "network"
    assert finishes(scene) == [f"bytes={there}-{len(NEW) - 1}" if there else None]


@pytest.mark.parametrize("there", [1, MIDDLE, len(NEW) - 1])
@pytest.mark.parametrize("fault", [faults.reset_after, faults.lost_after])
def test_what_was_received_is_not_fetched_again(
    scene: Scene, fault: Callable[[int], Fault], there: int
) -> None:
    """A reset may take back what the kernel had and nobody had read; silence does not."""
    limits = replace(PATIENT, image_window_seconds=2.0)
    assert broken(scene, IMAGE, fault(there), limits=limits) == "network"
    [asked] = finishes(scene)
    kept = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
    assert kept <= there
    assert kept == there or fault is faults.reset_after


@pytest.mark.parametrize(
    ("fault", "again", "reason"),
    [
        (faults.says(416), False, "hash_mismatch"),
        (faults.part(None), False, "network"),
        (faults.part("bytes 0-9/10"), False, "hash_mismatch"),
        (faults.part(f"bytes 0-{len(NEW) - 1}/{len(NEW)}"), False, "network"),
        (faults.part(f"bytes {MIDDLE}-{len(NEW) - 1}/9"), False, "hash_mismatch"),
        (faults.part("bytes */*"), False, "network"),
        (faults.part(f"bytes {MIDDLE}-{MIDDLE}/{len(NEW)}"), False, "network"),
    ],
)
def test_a_part_that_is_another_takes_nothing_away(
    scene: Scene, fault: Fault, again: bool, reason: str
) -> None:
    assert broken(scene, IMAGE, faults.cut(MIDDLE)) == "network"
    assert broken(scene, IMAGE, fault) == reason
    assert finishes(scene) == [f"bytes={MIDDLE}-{len(NEW) - 1}"]


def test_a_server_that_was_rebuilt_sends_all_and_what_is_right_stays(scene: Scene) -> None:
    """Its validator is another, so that it does not go on in the middle of another file."""

    def first_half(exchange: Exchange) -> None:
        exchange.send(exchange.with_header("ETag", '"old"') + exchange.body[:MIDDLE])

    assert broken(scene, IMAGE, first_half) == "network"
    assert broken(scene, IMAGE, faults.another_validator) == "none"
    assert finishes(scene)[-1] == f"bytes={MIDDLE}-{len(NEW) - 1}"


@pytest.mark.parametrize("where", [POLL, METADATA, IMAGE])
def test_answers_that_nobody_asked_for_are_not_taken_for_others(scene: Scene, where: str) -> None:
    assert broken(scene, where, faults.twice) == "none"
    finishes(scene)


@pytest.mark.parametrize("where", [POLL, METADATA, IMAGE])
def test_what_is_only_late_is_waited_for(scene: Scene, where: str) -> None:
    assert broken(scene, where, faults.late(0.1)) == "none"
    finishes(scene)


@pytest.mark.parametrize("fault", [faults.lost, faults.closed, faults.reset, faults.drip])
def test_the_network_fails_at_the_last_moment(scene: Scene, fault: Fault) -> None:
    """The image is there and stays; what was asked last decides, so nothing is armed without it."""
    limits = replace(PATIENT, answer_seconds=3.0)
    assert broken(scene, POLL, fault, after=1, limits=limits) == "network"
    assert scene.bed.journal.state is State.WAITING
    assert finishes(scene) == [], "not a byte of the image is fetched again"


def test_a_server_moves_to_another_address_in_the_middle(scene: Scene) -> None:
    assert broken(scene, IMAGE, faults.cut(MIDDLE)) == "network"
    with FaultProxy(scene.web.url) as elsewhere:
        scene.bed.change(servers=(elsewhere.url,))
        try:
            assert scene.bed.update().outcome == "rebooting"
        finally:
            scene.bed.change(servers=(scene.proxy.url,))
        assert elsewhere.ranges(IMAGE) == [f"bytes={MIDDLE}-{len(NEW) - 1}"]
    finishes(scene)


def test_a_server_that_restarts_in_the_middle(scene: Scene) -> None:
    """It answers nobody for a while, then at the same address again."""
    assert broken(scene, IMAGE, faults.cut(MIDDLE)) == "network"
    upstream, scene.proxy.upstream = scene.proxy.upstream, "http://127.0.0.1:1"
    try:
        assert scene.bed.update().reason == "network"
        assert scene.bed.update().reason == "network"
    finally:
        scene.proxy.upstream = upstream
    assert finishes(scene) == [f"bytes={MIDDLE}-{len(NEW) - 1}"]


def test_two_bad_servers_make_one_good_one(scene: Scene) -> None:
    """One breaks off early, the other late: each goes on where the other stopped."""
    scene.proxy.breaks(IMAGE, faults.cut(MIDDLE))
    with FaultProxy(scene.web.url) as other:
        other.breaks(METADATA, faults.garbage)
        scene.bed.change(servers=(scene.proxy.url, other.url))
        try:
            assert scene.bed.update().outcome == "rebooting"
        finally:
            scene.bed.change(servers=(scene.proxy.url,))
        assert other.ranges(IMAGE) == [f"bytes={MIDDLE}-{len(NEW) - 1}"]
    finishes(scene)


REPORTS = "/v1/reports"


@pytest.mark.parametrize("fault", (EVERY := FAILURES | ANSWERS).values(), ids=EVERY)
def test_a_report_is_told_once(reporting: tuple[Scene, Fleet], fault: Fault) -> None:
    """Whether the server took it and the answer was lost, or nobody got it."""
    scene, fleet = reporting
    scene.proxy.breaks(REPORTS, fault)
    scene.bed.limits = HASTY
    outcome = scene.bed.report()
    scene.bed.limits = PATIENT
    scene.proxy.heal()
    assert outcome.exit_code is Exit.TRANSIENT, outcome
    assert outcome.reason in {"network", "wrong_answer"}
    again = scene.bed.report()
    assert again.reason == "acknowledged"
    numbers = [report.said.number for report in fleet.reports]
    assert numbers == list(range(1, len(numbers) + 1))
    assert scene.bed.report().reason == "nothing_to_report"


@pytest.fixture
def reporting(tmp_path: Path) -> Iterator[tuple[Scene, Fleet]]:
    """An enrolled gateway that has something to tell."""
    with ExitStack() as stack:
        world = World(tmp_path)
        web = stack.enter_context(Web(world.store))
        fleet = Fleet()
        fleet.answers(web)
        proxy = stack.enter_context(FaultProxy(web.url))
        bed = Bed(tmp_path / "gateway", world, web)
        bed.power_on()
        assert bed.enrol().outcome == "enrolled"
        bed.change(servers=(proxy.url,))
        bed.check()
        yield Scene(bed, proxy, web), fleet


def test_a_link_of_one_megabit(tmp_path: Path) -> None:
    """It takes its time, breaks in the middle, goes on there, and is never called too slow."""
    root = Path(__file__).parents[2]
    words = ["unshare", "--net", sys.executable, "-m", "tests.support.thin", str(tmp_path)]
    if os.geteuid() != 0 or any(shutil.which(name) is None for name in ("unshare", "ip", "tc")):
        pytest.skip("a link of 1 Mbit/s needs root, unshare, ip and tc")
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    if "qdisc kind is unknown" in done.stderr or "unshare failed" in done.stderr:
        pytest.skip(f"a link of 1 Mbit/s cannot be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["said"] == ["network", "rebooting", "confirmed"]
    half = thin.IMAGE_BYTES // 2
    assert found["ranges"] == [None, f"bytes={half}-{thin.IMAGE_BYTES - 1}"]
    # The proxy is asked over the link, and asks over it: each byte goes there twice.
    assert found["seconds"] > 2 * 8 * thin.IMAGE_BYTES / thin.RATE_BITS * 0.9
