"""Which releases can still be reached, and who would be left behind."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from interlock_core.reach import Ladder, Stranded, stranded
from interlock_core.release import Image, Slot, UpdateClass

TODAY = date(2030, 1, 1)
A, B = "cg-200", "cg-210"


def image(counter: int, barrier: int = 0, **changes: Any) -> Image:
    made = Image(
        product="ward",
        version=f"{counter}.0",
        hardware_ids=(A,),
        release_counter=counter,
        raises_floor_to=0,
        min_counter_installed=barrier,
        update_class=UpdateClass(type="feature", urgency="routine"),
        markets=("DE",),
        support_end="2040-01-01",
        udi_di=None,
        slots=(Slot(name="rootfs", length=1, sha256="0" * 64),),
        references=(),
    )
    return msgspec.structs.replace(made, **changes)


def test_one_step_after_another() -> None:
    ladder = Ladder([image(1), image(3, barrier=2), image(2), image(9, barrier=3)], A, "DE")
    assert (ladder.climb(1), ladder.newest) == (9, 9)
    assert Ladder([image(1), image(3, barrier=2)], A, "DE").climb(1) == 1
    assert Ladder([image(5)], B, "DE").climb(1) == 1
    assert Ladder([image(5)], A, "FR").newest == 0


def test_a_barrier_that_is_taken_away_leaves_those_below_it() -> None:
    before = [image(1), image(2), image(3, barrier=2)]
    after = [before[0], before[2]]
    assert stranded(before, after, TODAY) == [Stranded("1.0", A, "DE", 1, 3)]


def test_the_withdrawn_release_itself_needs_a_way_up() -> None:
    old = image(2, support_end="2029-01-01")
    before = [old, image(3, barrier=1)]
    assert stranded(before, [image(3, barrier=2)], TODAY) == []
    assert stranded([old, image(4, barrier=2)], [image(4, barrier=3)], TODAY) == [
        Stranded("2.0", A, "DE", 2, 4)
    ]


def test_what_is_not_supported_any_more_is_not_waited_for() -> None:
    before = [image(1, support_end="2029-12-31"), image(2), image(3, barrier=2)]
    assert stranded(before, [before[0], before[2]], TODAY) == []
    before[0] = image(1, support_end="2030-01-01")
    assert len(stranded(before, [before[0], before[2]], TODAY)) == 1


def test_hardware_and_market_have_each_their_own_way() -> None:
    both: dict[str, Any] = {"hardware_ids": (A, B), "markets": ("DE", "FR")}
    before = [image(1, **both), image(2, **both), image(3, barrier=2, **both)]
    bridge = image(2, hardware_ids=(A,), markets=("DE",))
    after = [before[0], bridge, before[2]]
    assert {(one.hardware, one.market) for one in stranded(before, after, TODAY)} == {
        (A, "FR"), (B, "DE"), (B, "FR")
    }  # fmt: skip


def test_who_was_left_behind_before_is_not_counted_again() -> None:
    before = [image(1), image(2), image(5, barrier=3), image(6, barrier=5)]
    assert stranded(before, [before[0], *before[2:]], TODAY) == []


steps = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 11)), max_size=8).map(
    lambda pairs: [image(c, b) for c, b in pairs if b < c]
)


def by_brute_force(images: Sequence[Image], counter: int) -> int:
    reached = {counter}
    while True:
        more = {
            i.release_counter
            for i in images
            for at in reached
            if i.release_counter > at >= i.min_counter_installed
        }
        if more <= reached:
            return max(reached)
        reached |= more


@given(steps, st.integers(0, 12))
def test_the_highest_step_is_always_the_best(images: list[Image], counter: int) -> None:
    assert Ladder(images, A, "DE").climb(counter) == by_brute_force(images, counter)


@given(steps, st.data())
def test_whoever_is_not_named_gets_to_the_newest_or_never_could(
    before: list[Image], data: st.DataObject
) -> None:
    after = [one for one in before if data.draw(st.booleans())]
    named = {one.version for one in stranded(before, after, TODAY)}
    newest = max((one.release_counter for one in after), default=0)
    was_newest = max((one.release_counter for one in before), default=0)
    for one in before:
        at = one.release_counter
        could = by_brute_force(before, at) == was_newest
        can = by_brute_force(after, at) >= newest
        assert (one.version in named) == (could and not can)
