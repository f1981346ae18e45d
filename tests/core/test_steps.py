"""Which targets an order needs, so that no barrier leaves a gateway behind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from interlock_core.catalogue import Listed
from interlock_core.steps import Start, climb, compose
from tests.support.papers import HARDWARE
from tests.support.released import listed

OTHER = "cm4-r3"
START = Start(HARDWARE, 1)


def counters(plan_targets: tuple[Listed, ...]) -> list[int]:
    return [one.image.release_counter for one in plan_targets]


def test_without_a_barrier_there_is_no_step() -> None:
    plan = compose([listed(3)], [listed(2)], {START})
    assert (counters(plan.targets), plan.dead_ends) == ([3], ())


def test_the_step_with_the_lowest_barrier_is_taken() -> None:
    releases = [listed(2), listed(4, min_counter_installed=2), listed(5, min_counter_installed=1)]
    plan = compose([listed(9, min_counter_installed=4)], releases, {START})
    assert counters(plan.targets) == [9, 5]
    assert climb(plan.targets, HARDWARE, 1) == (plan.targets[1], plan.targets[0])


def test_steps_stand_highest_barrier_first() -> None:
    releases = [listed(3, min_counter_installed=1), listed(6, min_counter_installed=3)]
    plan = compose([listed(9, min_counter_installed=6)], releases, {START})
    assert counters(plan.targets) == [9, 6, 3]
    assert [one.image.release_counter for one in climb(plan.targets, HARDWARE, 1) or ()] == [
        3,
        6,
        9,
    ]


def test_no_more_steps_than_the_gateways_need() -> None:
    releases = [listed(3), listed(6, min_counter_installed=3)]
    assert counters(compose([listed(9, min_counter_installed=5)], releases, {START}).targets) == [
        9,
        6,
        3,
    ]
    late = {Start(HARDWARE, 4)}
    assert counters(compose([listed(9, min_counter_installed=5)], releases, late).targets) == [9, 6]


def test_a_dead_end_is_named() -> None:
    wanted = listed(9, min_counter_installed=5)
    plan = compose([wanted], [listed(4)], {START, Start(HARDWARE, 7)})
    assert plan.dead_ends == (START,)
    assert climb(plan.targets, HARDWARE, 1) is None
    assert climb(plan.targets, HARDWARE, 7) == (wanted,)


def test_a_step_must_be_cleared_wherever_the_wanted_is() -> None:
    wanted = listed(9, min_counter_installed=5, markets=("DE", "FR"))
    assert compose([wanted], [listed(6)], {START}).dead_ends == (START,)
    step = listed(6, markets=("AT", "DE", "FR"))
    assert counters(compose([wanted], [step], {START}).targets) == [9, 6]


def test_hardware_that_nothing_is_for() -> None:
    plan = compose([listed(9)], [], {START, Start(OTHER, 1)})
    assert plan.without == (Start(OTHER, 1),)
    assert climb(plan.targets, OTHER, 1) is None


def test_each_kind_of_hardware_has_its_own_steps() -> None:
    wanted = [
        listed(9, min_counter_installed=5),
        listed(9, file="b.img", hardware_ids=(OTHER,)),
    ]
    plan = compose(wanted, [listed(5)], {START, Start(OTHER, 0)})
    assert counters(plan.targets) == [9, 9, 5]


@given(
    barriers=st.lists(st.integers(0, 8), min_size=1, max_size=8),
    start=st.integers(0, 9),
)
def test_who_is_no_dead_end_arrives(barriers: list[int], start: int) -> None:
    releases = [
        listed(number, min_counter_installed=min(barrier, number - 1))
        for number, barrier in enumerate(barriers, start=1)
    ]
    wanted, before = releases[-1], releases[:-1]
    begin = Start(HARDWARE, min(start, len(releases)))
    plan = compose([wanted], before, {begin})
    way = climb(plan.targets, HARDWARE, begin.counter)
    assert (way is None) == (plan.dead_ends == (begin,))
    if way is not None:
        assert way[-1] == wanted
    else:
        # No list of targets at all leads there: not even one with every release in it.
        whole = (wanted, *sorted(before, key=lambda one: -one.image.min_counter_installed))
        assert climb(whole, HARDWARE, begin.counter) is None
