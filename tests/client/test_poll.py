"""One request when there is nothing new, and what a 304 is worth."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from interlock_client import context
from interlock_client.tables import to_plain
from interlock_core.errors import Exit
from tests.client.bed import Bed
from tests.client.fleet import Fleet
from tests.client.web import Handler, Web
from tests.client.world import WARDS, World

NEW = b"release one " * 100


@pytest.fixture
def installed(world: World, bed: Bed) -> Bed:
    """A gateway that runs what is wanted, and knows it."""
    world.roll_out(world.release("1.0.0", NEW))
    assert bed.install().outcome == "confirmed"
    assert bed.check().reason == "already_installed"
    return bed


def test_the_first_check_needs_few_requests(web: Web, bed: Bed) -> None:
    """The bundle; then the roots, metadata and roster that no bundle holds."""
    bed.check()
    assert [path.rsplit("/", 1)[1] for path in web.requests[:-1]] == [
        "wards",
        "1.targets.json",
        "1.interlock.json",
    ]
    assert web.requests[-1].endswith(".roster.json")


def test_nothing_new_is_one_request_and_a_304(world: World, web: Web, installed: Bed) -> None:
    statuses: list[int] = []

    def watch(handler: Handler) -> None:
        handler.serve(handler.path)

    web.lies["/poll/"] = watch
    say = Handler.say

    def record(
        self: Handler, status: int, data: bytes, etag: str | None = None, part: str | None = None
    ) -> None:
        statuses.append(status)
        say(self, status, data, etag, part)

    Handler.say = record  # type: ignore[method-assign]
    try:
        web.requests.clear()
        outcome = installed.check()
    finally:
        Handler.say = say  # type: ignore[method-assign]
    assert statuses == [304]
    assert set(web.requests) == {"/poll/wards"}
    assert (outcome.outcome, outcome.reason) == ("nothing_to_do", "already_installed")
    assert outcome.more["requests"] == 1


@pytest.mark.parametrize("enrolled", [False, True])
def test_nothing_new_does_not_touch_tuf(web: Web, installed: Bed, enrolled: bool) -> None:
    """Shown in a fresh process, whose imports are what a check costs."""
    if enrolled:
        Fleet().answers(web)
        assert installed.enrol().reason == "countersigned"
        installed.check()
        assert installed.report().reason == "acknowledged"
    settings = msgspec.to_builtins(installed.settings, enc_hook=to_plain)
    script = """
import json, sys
from pathlib import Path
import msgspec
from datetime import UTC, datetime, timedelta
from interlock_client import check, context
from interlock_client.config import Settings
from interlock_client.tables import from_toml
from interlock_client.times import Times
given = json.loads(sys.argv[1])
here = lambda kind, value: from_toml(kind, value, Path())
settings = msgspec.convert(given["settings"], Settings, dec_hook=here)
now = datetime.fromisoformat(given["now"])
times = Times(clock=lambda: now, boot_id=lambda: "boot-2", monotonic=lambda: 0.0,
              utc_offset=lambda _: timedelta(0))
outcome = check.check(context.assemble(settings, times=times))
heavy = sorted({"tuf", "securesystemslib", "cryptography"} & set(sys.modules))
print(json.dumps([outcome.reason, outcome.more["requests"], heavy]))
"""
    given = json.dumps({"settings": settings, "now": installed.world.clock().isoformat()})
    done = subprocess.run(
        [sys.executable, "-c", script, given], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["already_installed", 1, []]


def test_update_with_nothing_new_is_one_request_too(web: Web, installed: Bed) -> None:
    assert web.count(installed.update) == 1


def test_a_304_is_not_believed_beyond_what_expires(world: World, installed: Bed) -> None:
    world.clock.pass_(days=9, hours=23)
    assert installed.check().reason == "already_installed"
    world.clock.pass_(hours=2)
    outcome = installed.check()
    assert (outcome.reason, outcome.exit_code) == ("expired_metadata", Exit.REFUSED)


def test_a_304_is_not_believed_beyond_a_persons_grant(world: World, installed: Bed) -> None:
    """The order was authorised by people who soon hold their role no longer."""
    world.put_roster(grant_days=3)
    world.image.publish()
    world.bundle(WARDS)
    assert installed.check().reason == "already_installed"
    world.clock.pass_(days=2)
    assert installed.check().reason == "already_installed"
    world.clock.pass_(days=2)
    assert installed.check().reason == "unauthorised_rollout"


def test_a_stop_is_noticed(world: World, web: Web, installed: Bed) -> None:
    [rollout] = world.rollouts
    world.stop(rollout)
    world.show(WARDS, rollout)
    installed.check()
    assert installed.memory.orders["ward-gateway/wards"].stops


def test_another_configuration_decides_again(world: World, web: Web, installed: Bed) -> None:
    installed.change(market="FR")
    assert web.count(installed.check) >= 1
    installed.change(fleet="staging")
    outcome = installed.check()
    assert (outcome.reason, outcome.exit_code) == ("wrong_fleet", Exit.REFUSED)


def test_another_slot_decides_again(world: World, installed: Bed) -> None:
    assert installed.rollback().exit_code is Exit.DONE
    installed.power_on()
    assert installed.check().reason == "rolled_back_here"


@pytest.mark.parametrize(
    "bundle",
    [b"", b"{", b"[]", b'{"type":"urn:interlock:poll:v1"}', b" " * (9 * 1024 * 1024)],
    ids=["empty", "truncated", "other", "incomplete", "too-large"],
)
def test_a_bundle_of_no_use_costs_requests_only(
    world: World, web: Web, bed: Bed, bundle: bytes
) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    web.answer("/poll/", bundle)
    assert bed.check().outcome == "update_available"
    web.lies.clear()
    assert bed.install().outcome == "confirmed"


def test_a_missing_bundle_costs_requests_only(world: World, web: Web, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    web.answer("/poll/", b"", 404)
    assert bed.install().outcome == "confirmed"


def test_a_forged_bundle_accuses_nobody(world: World, web: Web, bed: Bed) -> None:
    """Its texts are refused as if they had come from their URLs, and the URLs are read."""
    world.roll_out(world.release("1.0.0", NEW))
    genuine = json.loads(world.store.get("poll/wards"))
    for path, text in genuine["files"].items():
        forged = {**genuine, "files": {**genuine["files"], path: text.replace("a", "b", 1)}}
        web.answer("/poll/", json.dumps(forged).encode())
        assert bed.check().outcome == "update_available", path


def test_a_bundle_that_hides_new_roots_withholds_and_nothing_else(
    world: World, web: Web, bed: Bed
) -> None:
    stale = world.store.get("poll/wards")
    world.rotate_root("image")
    web.answer("/poll/", stale)
    assert bed.check().exit_code is Exit.DONE
    assert bed.memory.versions["image/root"] == 1
    web.lies.clear()
    assert bed.check().exit_code is Exit.DONE
    assert bed.memory.versions["image/root"] == 2


def test_a_damaged_copy_of_the_bundle_is_fetched_again(
    world: World, web: Web, installed: Bed
) -> None:
    state = installed.home / "state"
    (state / "bundle.json").write_bytes(b"torn")
    world.clock.pass_(days=8)
    world.refresh()
    assert installed.check().exit_code is Exit.DONE
    (state / "bundle.json").write_bytes(b"torn")
    (state / "seen.json").write_bytes(b"torn")
    assert installed.check().exit_code is Exit.DONE
    assert json.loads((state / "bundle.json").read_bytes())["cohort"] == WARDS


def test_a_damaged_copy_is_not_believed_after_a_304(installed: Bed) -> None:
    """The settings changed, so the kept bytes are needed, and they are not what they were."""
    (installed.home / "state" / "bundle.json").write_bytes(b"torn")
    installed.change(poll_interval_seconds=60)
    assert installed.check().reason == "already_installed"


def test_the_servers_are_asked_in_order(tmp_path: Path, world: World, web: Web) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    bed = Bed(tmp_path / "gateway", world, web)
    bed.change(servers=("http://127.0.0.1:9", web.url, "http://127.0.0.1:9"))
    bed.power_on()
    assert bed.install().outcome == "confirmed"


def test_no_server_is_a_reason_to_come_back(tmp_path: Path, world: World) -> None:
    bed = Bed(tmp_path / "gateway", world)
    bed.change(servers=("http://127.0.0.1:9",))
    bed.power_on()
    for command in (bed.check, bed.update):
        outcome = command()
        assert (outcome.outcome, outcome.reason, outcome.exit_code) == ("transient", "network", 30)


def test_a_server_in_trouble_is_a_reason_to_come_back(web: Web, bed: Bed) -> None:
    web.answer("/", b"on fire", 503)
    outcome = bed.check()
    assert (outcome.reason, outcome.exit_code) == ("network", 30)
    web.lies.clear()
    assert bed.check().exit_code is Exit.DONE


def test_building_a_gateway_asks_nobody(web: Web, bed: Bed) -> None:
    made = context.assemble(bed.settings)
    made.close()
    assert web.requests == []
