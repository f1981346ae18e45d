"""The director's choice: which order is in force, what its directive holds, and what it cuts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tuf.api.metadata import TargetFile

from interlock_core.directive import MAX_DIRECTIVE, MAX_STOPS, ProductDirective, read_directive
from interlock_core.order import Order
from interlock_core.roster import Judge, Roster
from interlock_core.statement import Opened
from interlock_server.director import Directed, direct
from interlock_server.image import Released
from interlock_server.onfile import collect
from tests.support.papers import (
    PRODUCT,
    authorise,
    hours,
    opening,
    order,
    renewal,
    resume,
    stage,
    started,
    stop,
    target,
)
from tests.support.people import CANARY, DAY0, FLEET, ROSTER, ST_BERT

NOW = DAY0 + hours(2)


def released(*orders: Opened[Order]) -> Released:
    products: dict[str, dict[str, TargetFile]] = {}
    for one in orders:
        for wanted in one.said.targets:
            info = TargetFile(wanted.length, {"sha256": wanted.sha256}, wanted.path)
            info.unrecognized_fields["custom"] = {"kind": "image"}
            products.setdefault(one.said.product, {})[wanted.path] = info
    return Released(None, products)


def directed(
    *papers: Opened[Any],
    cohort: str = CANARY,
    roster: Roster = ROSTER,
    now: Any = NOW,
    of: Released | None = None,
) -> Directed:
    orders = [paper for paper in papers if isinstance(paper.said, Order)]
    facts = of if of is not None else released(*orders)
    return direct(Judge(roster, now), collect(papers), facts, FLEET, cohort)


def product(said: Directed, name: str = PRODUCT) -> ProductDirective:
    return read_directive(said.directive).products[name]


# What the directive holds


def test_only_what_counts_now_is_in_the_chain() -> None:
    said = order(stages=(stage(CANARY), stage(CANARY)))
    first = opening(said)
    unapproved, early = opening(said, seq=2), opening(said, 1, at=DAY0 + hours(1))
    later = opening(said, at=DAY0 + hours(3))
    kept = renewal(first, at=DAY0 + hours(1))
    papers = [
        said, authorise(said), first, authorise(first), unapproved, early, authorise(early),
        later, authorise(later), kept,
    ]  # fmt: skip
    entry = product(directed(*papers))
    assert set(entry.chain) == {first.envelope, kept.envelope}
    # Words about what is not in the chain are left out with it.
    assert len(entry.authorisations) == 2


def test_each_person_is_heard_once_about_each_thing() -> None:
    said = order()
    words = [authorise(said, at=DAY0 + timedelta(minutes=n)) for n in range(40)]
    reviewed = authorise(said, "alan", meaning="reviewed")
    entry = product(directed(said, *words, reviewed))
    assert entry.authorisations == (words[0].envelope,)


def test_a_dead_signature_does_not_hide_a_living_one() -> None:
    said = order()
    dead, living = authorise(said, key="ada-1"), authorise(said, at=DAY0 + hours(1))
    entry = product(directed(said, dead, living))
    assert entry.authorisations == (living.envelope,)


def test_stops_stand_until_a_resume_that_counts_names_them() -> None:
    said = order()
    one, two = stop(said, at=DAY0 + hours(1)), stop(said, by="mona", at=DAY0 + hours(1))
    again = resume(said, at=DAY0 + hours(1), clears=(one,))
    papers = [said, *started(said), one, two, again]
    assert set(product(directed(*papers)).stops) == {one.envelope, two.envelope}
    cleared = product(directed(*papers, authorise(again)))
    assert cleared.stops == (two.envelope,)
    assert again.envelope in cleared.chain


def test_a_stop_of_an_order_that_is_not_in_force_is_shown_too() -> None:
    said = order()
    halt = stop(said)
    entry = product(directed(said, halt))
    assert (entry.order, entry.stops) == (None, (halt.envelope,))
    newer = order(seq=2)
    entry = product(directed(said, halt, newer, authorise(newer)))
    assert (entry.order, entry.stops) == (newer.envelope, (halt.envelope,))


def test_a_stop_elsewhere_and_a_stop_by_nobody_are_not_shown() -> None:
    elsewhere = order(stages=(stage(ST_BERT),))
    said = order(seq=2)
    nobody = stop(said, by="hanna")
    entry = product(directed(elsewhere, stop(elsewhere), said, authorise(said), nobody))
    assert entry.stops == ()


def test_the_same_papers_in_any_order_give_the_same_bytes() -> None:
    said = order()
    papers = [said, *started(said), stop(said), stop(said, by="mona"), authorise(said, "alan")]
    assert directed(*papers).directive == directed(*reversed(papers)).directive


def test_before_the_first_roster_a_directive_is_empty() -> None:
    said = order()
    empty = direct(None, collect([said]), released(said), FLEET, CANARY)
    assert read_directive(empty.directive).products == {}
    assert empty.images == {}


# What the director lists


def test_images_are_listed_as_the_image_repository_has_them() -> None:
    said = order(targets=(target("2.0.0"), target("1.5.0")))
    listed = directed(said, authorise(said)).images
    assert set(listed) == {wanted.path for wanted in said.said.targets}
    info = listed[target().path]
    assert (info.length, info.hashes, info.custom) == (1024, {"sha256": target().sha256}, None)


def test_an_image_that_is_not_released_as_ordered_is_named() -> None:
    said = order()
    gone = directed(said, authorise(said), of=Released(None, {}))
    assert (gone.images, gone.unlisted) == ({}, (target().path,))
    other = released(order(targets=(target(),)))
    other.products[PRODUCT][target().path].hashes = {"sha256": "0" * 64}
    assert directed(said, authorise(said), of=other).unlisted == (target().path,)


# Floods


def test_a_flood_of_narrow_stops_drives_no_wide_one_out() -> None:
    said = order()
    flood = [stop(said, by="omar", site=f"s{n}", at=DAY0) for n in range(MAX_STOPS * 2)]
    honest = stop(said, at=DAY0 + hours(1))
    entry = product(directed(said, authorise(said), *flood, honest))
    assert len(entry.stops) == MAX_STOPS
    assert entry.stops[0] == honest.envelope


def test_a_flood_of_stops_of_old_orders_drives_none_of_the_present_one_out() -> None:
    old, said = order(seq=1), order(seq=2)
    flood = [stop(old, at=DAY0 + timedelta(seconds=n)) for n in range(MAX_STOPS + 9)]
    halt = stop(said, site="ward-7", at=DAY0 + hours(1))
    entry = product(directed(old, said, authorise(said), *flood, halt))
    assert entry.stops[0] == halt.envelope


def test_a_flood_of_renewals_leaves_the_openings() -> None:
    said = order()
    first = opening(said)
    flood = [renewal(first, at=DAY0 + timedelta(seconds=n), by="mona") for n in range(300)]
    entry = product(directed(said, authorise(said), *flood, first, authorise(first)))
    assert len(entry.chain) == 256
    assert entry.chain[0] == first.envelope


def test_what_is_said_about_one_product_crowds_out_no_other() -> None:
    bulky = "x" * 4096
    loud = [
        order(product=name, targets=(target(product=name),), seq=1)
        for name in ("a-pump", "b-pump", "c-pump")
    ]
    papers: list[Opened[Any]] = [*loud]
    for said in loud:
        first = opening(said)
        papers += [authorise(said), first, authorise(first)]
        papers += [
            renewal(first, at=DAY0 + timedelta(seconds=n), reason="y" * 1000, checkpoint=bulky)
            for n in range(250)
        ]
    recall = order(kind="recall")
    start = opening(recall)
    honest = [recall, authorise(recall), start, authorise(start)]
    full = directed(*papers, *honest)
    assert len(full.directive) <= MAX_DIRECTIVE
    assert set(full.cut) == {"a-pump", "b-pump", "c-pump"}
    entry = product(full)
    assert (entry.order, entry.chain) == (recall.envelope, (start.envelope,))
    assert len(entry.authorisations) == 2
