"""A permit: fetched when it is needed, written down, and told."""

from __future__ import annotations

import pytest

from tests.client.bed import Bed
from tests.client.fleet import Fleet
from tests.client.web import Web
from tests.client.world import PRODUCT, World

PERMITS = f"/image/targets/{PRODUCT}/permits/"


@pytest.fixture
def recalled(bed: Bed, world: World) -> str:
    """Below the floor by order; returns the digest of the permit for it."""
    first, second = (
        world.release("1.0.0", b"first"),
        world.release("2.0.0", b"second", raises_floor_to=2),
    )
    for release in (first, second):
        world.roll_out(release)
        assert bed.install().outcome == "confirmed"
    recall = world.roll_out(first, kind="recall")
    world.permit(recall, second, first, devices=("GW-000009",))
    return world.permit(recall, second, first)


def fetched(web: Web) -> int:
    return sum(path.startswith(PERMITS) for path in web.requests)


def test_it_is_written_down_and_told(bed: Bed, web: Web, world: World, recalled: str) -> None:
    fleet = Fleet()
    fleet.answers(web)
    assert bed.enrol().reason == "countersigned"
    assert bed.update().more["permit"] == recalled
    with bed.context() as made:
        newest = made.decisions().newest()
    assert newest is not None
    assert newest["verdict"]["permit"] == recalled
    assert recalled in newest["inputs"]["permits"]
    assert bed.status()["attempt"]["permit"] == recalled
    bed.power_on()
    assert bed.confirm().outcome == "confirmed"
    assert bed.status()["ended"]["permit"] == recalled
    assert bed.status()["spent_permits"] == [recalled]
    assert bed.report().exit_code == 0
    last = fleet.reports[-1].said.attempt
    assert last is not None
    assert (last.outcome, last.permit) == ("confirmed", recalled)


def test_permits_are_fetched_only_where_something_is_below_the_floor(
    bed: Bed, web: Web, world: World
) -> None:
    first, second = world.release("1.0.0", b"first"), world.release("2.0.0", b"second")
    for release in (first, second):
        world.roll_out(release)
        assert bed.install().outcome == "confirmed"
    world.permit(world.roll_out(first, kind="recall"), second, first)
    assert bed.check().outcome == "update_available"
    assert fetched(web) == 0


def test_of_many_only_those_for_this_move_are_fetched(
    bed: Bed, web: Web, world: World, recalled: str
) -> None:
    recall = world.rollouts[-1]
    for number in range(20):
        world.permit(recall, *world.releases[::-1], from_sha256=f"{number:064}")
        world.permit(recall, *world.releases[::-1], order=f"{number:064}")
    web.requests.clear()
    assert bed.check().outcome == "update_available"
    # This device's and the other's, once for each source that was asked.
    assert fetched(web) == 2


def test_what_was_read_is_kept_and_verified_again(bed: Bed, web: Web, recalled: str) -> None:
    assert bed.check().outcome == "update_available"
    web.requests.clear()
    assert bed.check().outcome == "update_available"
    assert fetched(web) == 0
    kept = sorted(bed.settings.state.joinpath("permits").iterdir())
    assert [path.stem == recalled for path in kept].count(True) == 1
    assert len(kept) == 2
    for path in kept:
        path.write_bytes(path.read_bytes().replace(b"GW-00000", b"GW-00001"))
    assert bed.check().outcome == "update_available"
    assert fetched(web) == 2


def test_what_could_cover_no_move_any_more_is_not_kept(
    bed: Bed, world: World, recalled: str
) -> None:
    assert bed.check().outcome == "update_available"
    del world.permits[next(iter(world.permits))]
    world.put_product()
    for cohort in world.cohorts:
        world.bundle(cohort)
    assert bed.check().outcome == "update_available"
    assert [path.stem for path in bed.settings.state.joinpath("permits").iterdir()] == [recalled]


def test_one_that_one_server_has_not_comes_from_the_next(
    bed: Bed, web: Web, world: World, recalled: str
) -> None:
    with Web(world.store) as mirror:
        bed.change(servers=(web.url, mirror.url))
        web.answer(f"{PERMITS}{recalled}.0001.json", b"none", 404)
        assert bed.check().outcome == "update_available"
        assert (fetched(web), fetched(mirror)) == (2, 1)


def test_bytes_that_were_signed_and_are_no_permit_permit_nothing(
    bed: Bed, world: World, recalled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.permits.clear()
    monkeypatch.setattr("tests.client.world.encode", lambda _: b'{"type":"no permit"}')
    world.permit(world.rollouts[-1], *world.releases[::-1])
    monkeypatch.undo()
    world.put_product()
    for cohort in world.cohorts:
        world.bundle(cohort)
    assert bed.check().reason == "below_floor"
