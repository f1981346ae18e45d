"""``rollout propose``: whom it would reach, and the steps that its barriers need."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock_core import wire
from interlock_core.api import Device
from interlock_core.order import Order
from interlock_core.report import Decided, Running
from interlock_ops.settings import CONFIG_VARIABLE
from interlock_ops.units import show_size
from tests.ops.world import (
    IMAGE,
    OPS_ROSTER,
    ORDER,
    PATH,
    PRODUCT,
    SHA256,
    Original,
    Place,
    at_work,
    build,
    facts,
)
from tests.support.papers import countersign, enrolment, hold, report

FILES = {
    f"{PRODUCT}/{version}/image.img": (f"the image {version}".encode(), counter, barrier)
    for version, counter, barrier in (("1.0.0", 1, 0), ("1.5.0", 3, 1), ("3.0.0", 5, 3))
}
NEWEST = f"{PRODUCT}/3.0.0/image.img"
STEP = f"{PRODUCT}/1.5.0/image.img"
SHARES = """
[[stages]]
cohorts = ["canary"]
percent = 50
soak = "1d"
gate = "manual"

[[stages]]
cohorts = ["canary"]
percent = 100
soak = "0s"
gate = "auto"
"""


def sha(path: str) -> str:
    return hashlib.sha256(FILES[path][0]).hexdigest()


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """1.0.0, 1.5.0 and 2.0.0; and 3.0.0 behind a barrier at counter 3."""
    made = build(tmp_path_factory.mktemp("forecast"))
    images = {
        path: (data, facts(path.split("/")[1], counter) | {"min_counter_installed": barrier})
        for path, (data, counter, barrier) in FILES.items()
    }
    made.writer.publish(
        2,
        {
            PATH: (IMAGE, facts()),
            **images,
            "interlock/roster.json": (wire.encode(OPS_ROSTER), None),
        },
    )
    return made


@pytest.fixture
def place(releases: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    with at_work(releases, tmp_path) as made:
        yield made


def add(place: Place, device: str, runs: str | None = None, **fields: Any) -> None:
    """A device that runs the image of a path."""
    said = enrolment(device, at=place.clock.now)
    place.server.post(countersign(said))
    if runs is None:
        place.server.fleet.add(said)
        return
    running = Running(slot="a", sha256=sha(runs), version=runs.split("/")[1])
    place.server.fleet.add(said, report(said, running=running, at=place.clock.now, **fields))


def order_text(path: str, stages: str = SHARES) -> str:
    head = ORDER[: ORDER.index("[[targets]]")]
    return f'{head}\n[[targets]]\npath = "{path}"\n{stages}'


def proposed(place: Place, path: str, *words: str, code: int = 0) -> dict[str, Any]:
    file = place.order_file(order_text(path))
    return place.json("rollout", "propose", file, "--reason", "x", "--yes", *words, code=code)


@pytest.fixture
def fleet(place: Place) -> Place:
    old = f"{PRODUCT}/1.0.0/image.img"
    add(place, "GW-1", old)
    hold = Decided(at=place.clock.now, order=None, reason="local_hold", detail="study")
    add(place, "GW-2", old, decided=hold)
    add(place, "GW-3")
    add(place, "GW-4", STEP)
    return place


def test_a_dry_run_says_whom_it_would_reach(fleet: Place) -> None:
    found = proposed(fleet, NEWEST, "--dry-run")["forecast"]
    assert (found["total"], found["versions"]) == (4, {"1.0.0": 2, "1.5.0": 1, "unknown": 1})
    assert sum(stage["devices"] for stage in found["stages"]) == 4
    means = found["stages"][0]["means"]["canary"]
    assert len(means) == found["stages"][0]["devices"]
    missed: dict[str, list[str]] = {}
    for stage in found["stages"]:
        for reason, one in stage["missed"].items():
            missed.setdefault(reason, []).extend(one["named"])
    assert missed == {"held": ["GW-2"], "no_report": ["GW-3"]}
    assert found["dead_ends"] == []


def test_a_hold_that_was_signed_is_seen(fleet: Place) -> None:
    fleet.server.post(hold(at=fleet.clock.now))
    found = proposed(fleet, NEWEST, "--dry-run")["forecast"]
    held = [one["missed"]["held"]["named"] for one in found["stages"] if "held" in one["missed"]]
    assert sorted(name for names in held for name in names) == ["GW-1", "GW-2", "GW-4"]


def test_steps_are_found_and_said(fleet: Place) -> None:
    file = fleet.order_file(order_text(NEWEST))
    shown = fleet.run("rollout", "propose", file, "--reason", "x", "--dry-run")
    assert f"Steps for gateways that a barrier holds back: {STEP}." in shown.stderr
    assert "by a step first" in shown.stdout
    assert "50 % of canary means" in shown.stdout
    # What people sign names the step, behind what is wanted.
    proposed(fleet, NEWEST)
    [order] = fleet.server.of(Order)
    assert [target.path for target in order.said.targets] == [NEWEST, STEP]


def test_without_steps_it_is_a_dead_end(fleet: Place) -> None:
    answer = proposed(fleet, NEWEST, "--via", "none", "--dry-run")
    [target] = (
        answer["statements"][0]["predicate"]["targets"]
        if isinstance(answer["statements"], list)
        else answer["statements"]["predicate"]["targets"]
    )
    assert target["path"] == NEWEST
    dead = answer["forecast"]["dead_ends"]
    assert {one["counter"]: one["gateways"] for one in dead} == {1: 2}


def test_steps_that_are_named(fleet: Place) -> None:
    proposed(fleet, NEWEST, "--via", STEP)
    [order] = fleet.server.of(Order)
    assert [target.path for target in order.said.targets] == [NEWEST, STEP]
    answer = proposed(fleet, NEWEST, "--via", f"{PRODUCT}/9.9.9/image.img", code=20)
    assert answer["reason"] == "no_such_target"


def test_without_a_barrier_nothing_is_added(fleet: Place) -> None:
    proposed(fleet, PATH)
    [order] = fleet.server.of(Order)
    assert [target.sha256 for target in order.said.targets] == [SHA256]


def test_without_the_devices_there_is_no_forecast(fleet: Place) -> None:
    def unreadable(_: Device) -> Device:
        return None  # type: ignore[return-value]

    fleet.server.fleet.alter = unreadable
    answer = proposed(fleet, NEWEST, "--dry-run")
    assert (answer["outcome"], "forecast" in answer) == ("dry_run", False)
    assert "forecast" not in proposed(fleet, NEWEST, "--dry-run", "--no-forecast")


def test_a_forecast_beside_the_real_thing(fleet: Place) -> None:
    answer = proposed(fleet, NEWEST, "--forecast")
    assert (answer["reason"], answer["forecast"]["total"]) == ("proposed", 4)


def test_it_supersedes_what_it_names(fleet: Place) -> None:
    first = proposed(fleet, PATH)["id"]
    proposed(fleet, NEWEST, "--supersedes", first)
    newest = max((one.said for one in fleet.server.of(Order)), key=lambda said: said.seq)
    assert newest.supersedes == first


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1_550_000, "1.6 MB"),
        (2 * 10**12, "2 TB"),
        (10**16, "10000 TB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert show_size(size) == text
