"""Where a gateway stands in an order, seen from outside: the gateway's own choice is the oracle."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from interlock_core.catalogue import Catalogue
from interlock_core.chain import stage_of
from interlock_core.order import Order
from interlock_core.placed import Placing
from interlock_core.placement import point
from tests.support.papers import HARDWARE, order, stage, target
from tests.support.people import CANARY
from tests.support.released import catalogue, gone, listed

OTHER = "x86-r1"


def an_order(*versions: int, share: int = 5_000) -> Order:
    targets = tuple(target(f"{one}.0.0") for one in versions)
    return order(targets=targets, stages=(stage(CANARY, share=share), stage(CANARY))).said


def sha(version: int) -> str:
    return target(f"{version}.0.0").sha256


def placed(
    of: Order, releases: Catalogue, runs: int | None, hardware: str = HARDWARE
) -> str | None:
    found = Placing(of, releases).target(hardware, None if runs is None else sha(runs))
    return None if found is None else found.sha256


def test_each_hardware_is_placed_by_its_own_target() -> None:
    releases = catalogue(listed(1), listed(2), listed(3, hardware_ids=(OTHER,)))
    of = an_order(2, 3)
    assert placed(of, releases, 1) == sha(2)
    assert placed(of, releases, 1, OTHER) == sha(3)
    assert placed(of, releases, 1, "none-of-these") is None


def test_a_barrier_is_met_by_what_runs_listed_or_taken_back() -> None:
    wanted = listed(3, min_counter_installed=2)
    of = an_order(3, 2)
    releases = catalogue(listed(1), listed(2), wanted)
    assert [placed(of, releases, runs) for runs in (1, 2)] == [sha(2), sha(3)]
    assert placed(of, catalogue(listed(1), listed(2), wanted, gone=(gone(4),)), 4) == sha(3)


def test_who_is_known_to_be_behind_a_barrier_is_nowhere_and_who_is_not_is_somewhere() -> None:
    releases = catalogue(listed(1), listed(3, min_counter_installed=2))
    of = an_order(3)
    assert placed(of, releases, 1) is None
    assert placed(of, releases, None) == sha(3)
    assert placed(of, releases, 9) == sha(3)
    # One that may be new takes the step, as it will by itself.
    steps = catalogue(listed(2), listed(3, min_counter_installed=2))
    assert placed(an_order(3, 2), steps, None) == sha(2)


def test_what_the_repository_does_not_list_leaves_nobody_out() -> None:
    assert placed(an_order(2, 3), catalogue(listed(3)), 3) == sha(2)


@given(
    barriers=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    mine=st.lists(st.booleans(), min_size=4, max_size=4),
    runs=st.integers(0, 5),
    number=st.integers(0, 99),
)
def test_the_stage_is_that_of_the_first_target_that_fits(
    barriers: list[int], mine: list[bool], runs: int, number: int
) -> None:
    versions = range(10, 10 + len(barriers))
    images = [
        listed(one, min_counter_installed=barrier, hardware_ids=(HARDWARE if here else OTHER,))
        for one, barrier, here in zip(versions, barriers, mine, strict=False)
    ]
    releases = catalogue(*images, *(listed(one) for one in range(1, 6)))
    of = an_order(*versions)
    device = f"GW-{number}"
    found = Placing(of, releases).stage(CANARY, device, HARDWARE, sha(runs) if runs else None)
    fits = [
        one.sha256
        for one in images
        if HARDWARE in one.image.hardware_ids and one.image.min_counter_installed <= runs
    ]
    if fits:
        share = of.stages[0].basis_points
        assert found == (0 if point(fits[0], device) < share else 1)
        assert found == stage_of(of, CANARY, fits[0], device)
    elif runs:
        assert found is None
