"""One honest world and one change: this refusal; and what is learned whatever the verdict says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from interlock_core.decide_here import outside_window
from interlock_core.directive import MAX_STOPS
from interlock_core.errors import Exit
from interlock_core.facts import (
    Expiry,
    Floors,
    Grant,
    InterlockAnswer,
    KnownStop,
    Phase,
    Reason,
    Refusal,
    TargetInfo,
    exit_of,
)
from interlock_core.hold import Hold
from interlock_core.order import Window
from interlock_core.placement import spread_offset
from interlock_core.release import Permit
from interlock_core.statement import Envelope, Opened
from tests.support.decisions import NEW, OLD, World, honest, image, info, trusted
from tests.support.papers import (
    DEVICE,
    PRODUCT,
    assignment,
    authorise,
    consent,
    days,
    digest,
    directive,
    entry,
    hold,
    hours,
    opening,
    order,
    resume,
    stage,
    started,
    stop,
    target,
)
from tests.support.people import (
    CANARY,
    DAY0,
    ELLEN,
    PEOPLE,
    ROSTER,
    ST_ANNA,
    ST_BERT,
    roster,
    rules,
    signer,
)

NOW = honest().now
ORDER = order()
SHUT = Window(opens="22:00", closes="04:00")


def reason(world: World, phase: Phase = Phase.REBOOT) -> Reason | None:
    verdict = world.decide(phase).verdict
    return verdict.reason if isinstance(verdict, Refusal) else None


def with_order(**fields: Any) -> World:
    return honest(order(**fields))


def without_order() -> World:
    said = directive({PRODUCT: entry(None)})
    return honest().with_trusted(directive=said, director_targets={})


def garbled() -> World:
    envelope = msgspec.structs.replace(ORDER.envelope, payload="e30=")
    said = directive({PRODUCT: msgspec.structs.replace(entry(ORDER), order=envelope)})
    return honest().with_trusted(directive=said)


def of_another_product() -> World:
    """The director shows the order for pumps where the one for gateways belongs."""
    pumps = order(product="pump", targets=(target(product="pump"),))
    return honest().but(trusted=trusted(pumps, started(pumps)))


def downgraded(kind: str = "recall", **fields: object) -> World:
    """To counter 4 below the floor 5, with a permit; ``fields`` change the permit."""
    of = order(kind=kind)
    made: dict[str, object] = {
        "fleet": "north",
        "product": PRODUCT,
        "from_sha256": OLD.sha256,
        "to_sha256": NEW.sha256,
        "devices": (DEVICE,),
        "cohorts": (),
        "order": of.id,
        "expires": NOW + hours(1),
    }
    permit = msgspec.convert(made | fields, Permit)
    facts = trusted(of, started(of), images={NEW.path: image(counter=4)})
    return honest(of).but(trusted=replace(facts, permits={digest("permit"): permit}))


def held(*holds: Opened[Hold]) -> World:
    """An engineer is in the roster, and the directive shows these holds."""
    said = honest().trusted.directive
    shown = msgspec.structs.replace(said, holds=tuple(one.envelope for one in holds))
    return honest().with_trusted(directive=shown, roster=roster(*PEOPLE, ELLEN))


def only_for_others() -> World:
    of = order(stages=(stage(ST_BERT),))
    return honest(of)


AWAY = assignment(digest("enrolment"), from_cohort=CANARY, to_cohort=ST_ANNA)
REFUSED: tuple[tuple[Reason, str, Callable[[], World]], ...] = (
    (Reason.NOTHING_WANTED, "no order", without_order),
    (
        Reason.NOTHING_WANTED,
        "no entry for the product",
        lambda: honest().with_trusted(directive=directive({}), director_targets={}),
    ),
    (
        Reason.ALREADY_INSTALLED,
        "the wanted image runs",
        lambda: honest().with_gateway(running_sha256=NEW.sha256),
    ),
    (
        Reason.NOT_BEFORE,
        "the order begins tomorrow",
        lambda: with_order(not_before=NOW + hours(1)),
    ),
    (Reason.NOT_STARTED, "nobody opened it", lambda: honest(ORDER, [authorise(ORDER)])),
    (
        Reason.NOT_IN_STAGE,
        "the second stage is not open",
        lambda: honest(order(stages=(stage(CANARY, share=1), stage(CANARY)))),
    ),
    (
        Reason.NOT_IN_STAGE,
        "no stage ever has this device",
        lambda: honest(order(stages=(stage(CANARY, share=1),))),
    ),
    (Reason.LOCAL_HOLD, "a hold", lambda: honest().with_local(hold="surgery")),
    (Reason.SITE_HOLD, "an engineer's hold of this site", lambda: held(hold())),
    (Reason.OUTSIDE_WINDOW, "the gateway's window", lambda: honest().with_local(window=SHUT)),
    (Reason.OUTSIDE_WINDOW, "the order's window", lambda: with_order(window=SHUT)),
    (Reason.SPREAD, "its turn is later", lambda: with_order(spread_seconds=90 * 86_400)),
    (Reason.INTERLOCK_NOT_CLEAR, "not asked", lambda: honest().with_local(interlock=None)),
    (
        Reason.INTERLOCK_NOT_CLEAR,
        "in use",
        lambda: honest().with_local(interlock=InterlockAnswer(clear=False, detail="in use")),
    ),
    (
        Reason.EXPIRED_METADATA,
        "a timestamp ends now",
        lambda: honest().with_trusted(expiries=(Expiry("image/timestamp", NOW),)),
    ),
    (
        Reason.EXPIRED_METADATA,
        "no metadata at all",
        lambda: honest().with_trusted(expiries=()),
    ),
    (
        Reason.ROSTER_STALE,
        "35 days old",
        lambda: honest().with_trusted(roster=roster(issued=NOW - days(35))),
    ),
    (Reason.ROLLBACK, "an older roster", lambda: honest(floors=Floors(roster_seq=2))),
    (
        Reason.WRONG_COHORT,
        "another cohort's directive",
        lambda: honest().with_trusted(directive=directive({}, ST_ANNA)),
    ),
    (
        Reason.WRONG_COHORT,
        "another cohort's snapshot",
        lambda: honest().with_trusted(director_cohorts=(CANARY, ST_ANNA, CANARY)),
    ),
    (
        Reason.WRONG_COHORT,
        "a timestamp of no cohort",
        lambda: honest().with_trusted(director_cohorts=(None, CANARY, CANARY)),
    ),
    (
        Reason.WRONG_COHORT,
        "no cohort of the director's metadata",
        lambda: honest().with_trusted(director_cohorts=()),
    ),
    (
        Reason.WRONG_FLEET,
        "another fleet's roster",
        lambda: honest().with_trusted(roster=roster(fleet="south")),
    ),
    (
        Reason.WRONG_FLEET,
        "another fleet's directive",
        lambda: honest().with_trusted(directive=directive({}, fleet="south")),
    ),
    (Reason.WRONG_FLEET, "another fleet's order", lambda: with_order(fleet="south")),
    (Reason.WRONG_PRODUCT, "another product's order", of_another_product),
    (
        Reason.WRONG_PRODUCT,
        "facts of another product",
        lambda: honest().with_trusted(images={NEW.path: image(product="pump")}),
    ),
    (
        Reason.WRONG_HARDWARE,
        "an image for other hardware",
        lambda: honest().with_gateway(hardware="cm5"),
    ),
    (Reason.WRONG_MARKET, "not cleared here", lambda: honest().with_gateway(market="US")),
    (
        Reason.COHORT_DENIED,
        "no pattern covers the cohort",
        lambda: honest().with_trusted(roster=roster(rules=(rules("st-*"),))),
    ),
    (Reason.MALFORMED, "an order that cannot be read", garbled),
    (Reason.ORDER_MISMATCH, "it does not name this cohort", only_for_others),
    (
        Reason.ORDER_MISMATCH,
        "the director delegates",
        lambda: honest().with_trusted(director_delegates=True),
    ),
    (
        Reason.ORDER_MISMATCH,
        "the director lists another image",
        lambda: honest().with_trusted(director_targets={NEW.path: info(NEW), OLD.path: info(OLD)}),
    ),
    (
        Reason.ORDER_MISMATCH,
        "the image repository lacks it",
        lambda: honest().with_trusted(image_targets={}),
    ),
    (
        Reason.ORDER_MISMATCH,
        "the image repository has no facts of it",
        lambda: honest().with_trusted(images={}),
    ),
    (
        Reason.ORDER_MISMATCH,
        "the image repository has other bytes",
        lambda: honest().with_trusted(image_targets={NEW.path: info(OLD)}),
    ),
    (
        Reason.ORDER_MISMATCH,
        "the image repository has another length",
        lambda: honest().with_trusted(
            image_targets={NEW.path: TargetInfo(NEW.length + 1, {"sha256": NEW.sha256})}
        ),
    ),
    (
        Reason.REPOSITORIES_DISAGREE,
        "the director has other bytes",
        lambda: honest().with_trusted(director_targets={NEW.path: info(OLD)}),
    ),
    (
        Reason.REPOSITORIES_DISAGREE,
        "the director has a hash more",
        lambda: honest().with_trusted(
            director_targets={
                NEW.path: TargetInfo(NEW.length, {"sha256": NEW.sha256, "sha512": 128 * "0"})
            }
        ),
    ),
    (
        Reason.REPOSITORIES_DISAGREE,
        "the director lacks it",
        lambda: honest().with_trusted(director_targets={}),
    ),
    (Reason.UNAUTHORISED_ROLLOUT, "no approver", lambda: honest(ORDER, started(ORDER)[1:])),
    (
        Reason.UNAUTHORISED_ROLLOUT,
        "an order of tomorrow",
        lambda: with_order(at=NOW + hours(1), not_before=DAY0),
    ),
    (
        Reason.SUPERSEDED_ORDER,
        "a newer one was accepted",
        lambda: honest(floors=Floors(order_seq=2, order_id=digest("newer"))),
    ),
    (
        Reason.SUPERSEDED_ORDER,
        "another of that number was accepted",
        lambda: honest(floors=Floors(order_seq=1, order_id=digest("another"))),
    ),
    (
        Reason.SUPERSEDED_ORDER,
        "the roster ended it",
        lambda: honest().with_trusted(roster=roster(min_order_seq={PRODUCT: 2})),
    ),
    (Reason.EXPIRED_ORDER, "it ends now", lambda: with_order(expires=NOW)),
    (
        Reason.STOPPED,
        "a stop is shown",
        lambda: honest(ORDER, [*started(ORDER), stop(ORDER)]),
    ),
    (
        Reason.STOPPED,
        "a stop is recorded and withheld",
        lambda: honest(floors=Floors(stops=(KnownStop(digest("s"), ORDER.id, None, None),))),
    ),
    (
        Reason.STAGE_NOT_OPEN,
        "an opening without an approver",
        lambda: honest(ORDER, started(ORDER)[:2]),
    ),
    (
        Reason.STAGE_NOT_OPEN,
        "an opening of tomorrow",
        lambda: honest(ORDER, started(ORDER, at=NOW + hours(1))),
    ),
    (
        Reason.MOVED,
        "it is assigned to another cohort",
        lambda: honest(ORDER, [*started(ORDER), AWAY, authorise(AWAY), consent(AWAY)]).with_gateway(
            enrolment=AWAY.said.enrolment, cohort_patterns=("st-*",)
        ),
    ),
    (Reason.GO_LAPSED, "nobody renewed it", lambda: honest().but(now=DAY0 + days(7))),
    (
        Reason.BELOW_FLOOR,
        "an update downhill",
        lambda: honest().with_gateway(running_counter=21),
    ),
    (
        Reason.BELOW_FLOOR,
        "a baseline downhill",
        lambda: with_order(kind="baseline").with_gateway(running_counter=21),
    ),
    (
        Reason.BELOW_FLOOR,
        "a recall below the floor",
        lambda: with_order(kind="recall").with_gateway(release_floor=21),
    ),
    (Reason.BELOW_FLOOR, "an update downhill, with a permit", lambda: downgraded("update")),
    (Reason.BELOW_FLOOR, "a permit that ends now", lambda: downgraded(expires=NOW)),
    (Reason.BELOW_FLOOR, "another device's permit", lambda: downgraded(devices=("GW-0002",))),
    (Reason.BELOW_FLOOR, "another cohort's", lambda: downgraded(devices=(), cohorts=(ST_ANNA,))),
    (Reason.BELOW_FLOOR, "another order's permit", lambda: downgraded(order=digest("another"))),
    (Reason.BELOW_FLOOR, "another fleet's permit", lambda: downgraded(fleet="south")),
    (Reason.BELOW_FLOOR, "another product's permit", lambda: downgraded(product="pump")),
    (Reason.BELOW_FLOOR, "from another image", lambda: downgraded(from_sha256=NEW.sha256)),
    (Reason.BELOW_FLOOR, "to another image", lambda: downgraded(to_sha256=OLD.sha256)),
    (
        Reason.BELOW_FLOOR,
        "a permit spent already",
        lambda: downgraded().with_gateway(spent_permits=frozenset({digest("permit")})),
    ),
    (
        Reason.BARRIER_NOT_MET,
        "a step was never confirmed",
        lambda: honest().with_trusted(images={NEW.path: image(min_counter_installed=11)}),
    ),
    (
        Reason.ROLLED_BACK_HERE,
        "it failed here before",
        lambda: honest().with_gateway(rolled_back=frozenset({(ORDER.id, NEW.sha256)})),
    ),
    (
        Reason.SLOT_MISMATCH,
        "the slot holds something else",
        lambda: honest().with_local(slot_digests={"rootfs": OLD.sha256}),
    ),
    (Reason.SLOT_MISMATCH, "nobody read the slot", lambda: honest().with_local(slot_digests={})),
    (
        Reason.NO_SPACE,
        "a byte too little",
        lambda: honest().with_local(free_bytes=NEW.length - 1),
    ),
    (
        Reason.NO_SPACE,
        "too little for the rest",
        lambda: honest().with_local(free_bytes=9, needed_bytes=10),
    ),
)


@pytest.mark.parametrize(
    ("expected", "made"),
    [pytest.param(reason, made, id=f"{reason}: {why}") for reason, why, made in REFUSED],
)
def test_one_change_is_refused_by_name(expected: Reason, made: Callable[[], World]) -> None:
    decision = made().decide()
    assert isinstance(decision.verdict, Refusal)
    assert decision.verdict.reason is expected, decision.verdict.detail
    assert decision.verdict.detail
    assert not decision.checks[-1].passed
    assert all(check.passed for check in decision.checks[:-1])


def test_every_reason_has_a_row() -> None:
    assert {row[0] for row in REFUSED} == set(Reason)


def test_the_honest_world_is_granted_in_every_phase() -> None:
    for phase in Phase:
        decision = honest().decide(phase)
        assert decision.verdict == Grant(ORDER.id, NEW, image(), 0)
        assert all(check.passed for check in decision.checks)
        assert (decision.wanted, decision.order) == (NEW, ORDER.id)


@pytest.mark.parametrize(
    "world",
    [
        honest().with_local(hold="surgery"),
        held(hold()),
        honest().with_local(window=SHUT),
        with_order(spread_seconds=90 * 86_400),
        honest().with_local(interlock=None),
        honest().with_local(slot_digests={}),
    ],
)
def test_what_only_a_change_needs_is_not_asked_to_download(world: World) -> None:
    assert reason(world, Phase.DOWNLOAD) is None
    assert reason(world, Phase.INSTALL) is not None
    assert reason(world, Phase.INSTALL) is reason(world, Phase.REBOOT)


def test_exit_codes_follow_the_outside_contract() -> None:
    exits = {reason: exit_of(reason) for reason in Reason}
    assert [r for r, e in exits.items() if e is Exit.DONE] == [
        Reason.NOTHING_WANTED,
        Reason.ALREADY_INSTALLED,
        Reason.MOVED,
    ]
    assert [r for r, e in exits.items() if e is Exit.TRANSIENT] == [Reason.NO_SPACE]
    deferred = {r for r, e in exits.items() if e is Exit.DEFERRED}
    assert deferred == {
        Reason.NOT_BEFORE,
        Reason.NOT_STARTED,
        Reason.NOT_IN_STAGE,
        Reason.LOCAL_HOLD,
        Reason.SITE_HOLD,
        Reason.OUTSIDE_WINDOW,
        Reason.SPREAD,
        Reason.INTERLOCK_NOT_CLEAR,
    }


# --- What is allowed, at its edge -----------------------------------------------------------------


def test_a_permit_allows_its_one_move() -> None:
    verdict = downgraded().decide().verdict
    assert isinstance(verdict, Grant)
    assert verdict.permit == digest("permit")
    verdict = downgraded(devices=(), cohorts=(CANARY,)).decide().verdict
    assert isinstance(verdict, Grant)


def test_a_permit_that_is_not_needed_is_not_spent() -> None:
    verdict = downgraded().with_gateway(release_floor=4).decide().verdict
    assert isinstance(verdict, Grant)
    assert verdict.permit is None


def test_a_recall_goes_down_to_the_floor_without_a_permit() -> None:
    world = with_order(kind="recall").with_gateway(running_counter=30, release_floor=20)
    assert reason(world) is None


def test_the_same_order_is_accepted_again() -> None:
    assert reason(honest(floors=Floors(roster_seq=1, order_seq=1, order_id=ORDER.id))) is None


def test_the_first_target_that_fits_is_wanted_and_no_later_one() -> None:
    step, other = target("1.5.0"), target("2.0.0-cm5")
    of = order(targets=(other, NEW, step))
    facts = {
        other.path: image(other, hardware_ids=("cm5",)),
        NEW.path: image(min_counter_installed=15),
        step.path: image(step, counter=15),
    }
    world = honest().but(trusted=trusted(of, started(of), images=facts))
    stepping = world.decide(Phase.DOWNLOAD).verdict
    assert isinstance(stepping, Grant)
    assert stepping.target == step
    after = world.with_gateway(highest_confirmed_counter=15).decide(Phase.DOWNLOAD).verdict
    assert isinstance(after, Grant)
    assert after.target == NEW
    # A lower one is not tried where the first that fits is refused.
    assert reason(world.with_gateway(highest_confirmed_counter=15, market="US")) is not None


def test_withheld_facts_of_an_earlier_target_select_no_later_one() -> None:
    step = target("1.5.0")
    of = order(targets=(NEW, step))
    facts = trusted(of, started(of), images={step.path: image(step, counter=15)})
    assert reason(honest().but(trusted=facts)) is Reason.ORDER_MISMATCH


# --- What is learned ------------------------------------------------------------------------------


def test_an_accepted_order_raises_the_floor_whatever_else_is_said() -> None:
    for world in (
        honest(),
        honest().with_gateway(running_sha256=NEW.sha256),
        with_order(expires=NOW),
        honest(ORDER, [authorise(ORDER)]),
        honest(ORDER, [*started(ORDER), stop(ORDER)]),
        honest().with_gateway(hardware="cm5"),
    ):
        decision = world.decide()
        assert (decision.floors.order_seq, decision.floors.order_id) == (1, decision.order)


def test_another_order_raises_no_floor() -> None:
    before = Floors(roster_seq=1, order_seq=3, order_id=digest("accepted"))
    for world in (
        honest(ORDER, started(ORDER)[1:]),
        only_for_others(),
        honest(),
        with_order(fleet="south", seq=9),
        of_another_product(),
    ):
        assert world.but(floors=before).decide().floors == before


def test_the_roster_floor_rises_with_a_roster_that_is_believed() -> None:
    newer = roster(seq=7)
    assert honest().with_trusted(roster=newer).decide().floors.roster_seq == 7
    stale = roster(seq=7, issued=NOW - days(36))
    assert honest().with_trusted(roster=stale).decide().floors.roster_seq == 0
    south = roster(seq=7, fleet="south")
    assert honest().with_trusted(roster=south).decide().floors.roster_seq == 0


def test_a_stop_is_recorded_whatever_is_said_of_its_order() -> None:
    signed = stop(ORDER)
    for of, papers in (
        (ORDER, [*started(ORDER), signed]),
        (ORDER, [signed]),
        (order(fleet="south"), [signed]),
        (order(expires=NOW), [signed]),
    ):
        world = honest(of, papers)
        assert world.decide().floors.stops == (KnownStop(signed.id, ORDER.id, None, None, "omar"),)
    nothing = directive({PRODUCT: entry(None, [signed])})
    assert honest().with_trusted(directive=nothing).decide().floors.stops[0].id == signed.id


def test_a_recorded_stop_outlives_its_author_and_its_showing() -> None:
    signed = stop(ORDER, by="omar")
    learned = honest(ORDER, [*started(ORDER), signed]).decide().floors
    without_omar = roster(*(person for person in PEOPLE if person.name != "omar"), seq=2)
    later = honest(floors=learned).with_trusted(roster=without_omar).decide()
    assert isinstance(later.verdict, Refusal)
    assert later.verdict.reason is Reason.STOPPED
    assert later.floors.stops == learned.stops


@pytest.mark.parametrize(
    "unsigned",
    [
        stop(ORDER, by="ada"),
        stop(ORDER, by="eve"),
        stop(ORDER, by="omar", key="eve"),
        stop(ORDER, fleet="south"),
    ],
    ids=["an approver", "a stranger", "a forger", "another fleet"],
)
def test_what_nobody_entitled_signed_stops_nothing(unsigned: object) -> None:
    decision = honest(ORDER, [*started(ORDER), unsigned]).decide()  # type: ignore[list-item]
    assert isinstance(decision.verdict, Grant)
    assert decision.floors.stops == ()


@pytest.mark.parametrize("by", ["olga", "mona", "hanna"])
def test_one_signature_stops(by: str) -> None:
    """An operator's, the monitor's, or that of a role that the rule ``stop`` names."""
    of = order(stages=(stage(ST_ANNA),))
    papers = started(of, consents=True)
    facts = trusted(of, [*papers, stop(of, by=by)], cohort=ST_ANNA)
    world = honest().but(trusted=facts).with_gateway(cohort=ST_ANNA)
    assert reason(world) is Reason.STOPPED
    assert reason(world.but(trusted=trusted(of, papers, cohort=ST_ANNA))) is None


@pytest.mark.parametrize(
    ("scope", "site", "stopped"),
    [
        ({}, "ward-7", True),
        ({"cohort": CANARY}, "ward-7", True),
        ({"cohort": ST_ANNA}, "ward-7", False),
        ({"site": "ward-7"}, "ward-7", True),
        ({"site": "ward-8"}, "ward-7", False),
        ({"site": "ward-8"}, None, True),
        ({"cohort": ST_ANNA, "site": "ward-7"}, "ward-7", False),
    ],
)
def test_a_stop_reaches_its_scope(scope: dict[str, Any], site: str | None, stopped: bool) -> None:
    world = honest(ORDER, [*started(ORDER), stop(ORDER, **scope)]).with_gateway(site=site)
    assert (reason(world) is Reason.STOPPED) is stopped
    assert len(world.decide().floors.stops) == 1


def test_a_stop_of_another_order_blocks_no_recall() -> None:
    """All 64 that are recorded and 64 more that are shown."""
    recall = order(seq=2, kind="recall")
    shown = [stop(ORDER, reason=f"again {n}") for n in range(MAX_STOPS)]
    recorded = tuple(KnownStop(digest(f"{n}"), ORDER.id, None, None) for n in range(MAX_STOPS))
    world = honest(recall, [*started(recall), *shown], floors=Floors(stops=recorded))
    assert reason(world) is None


def test_a_full_record_keeps_the_stops_of_orders_in_force() -> None:
    old = tuple(
        KnownStop(digest(f"{n}"), digest("old order"), None, None) for n in range(MAX_STOPS)
    )
    signed = stop(ORDER)
    learned = honest(ORDER, [*started(ORDER), signed], floors=Floors(stops=old)).decide().floors
    assert len(learned.stops) == MAX_STOPS
    assert learned.stops[0].id == signed.id


def test_one_key_alone_drives_no_other_persons_stop_out_of_the_record() -> None:
    """Not even one of an order that is not in force yet."""
    coming = stop(order(seq=2), by="olga")
    recorded = (KnownStop(coming.id, coming.said.order, None, None, "olga"),)
    flood = [stop(ORDER, by="omar", reason=f"again {n}") for n in range(MAX_STOPS)]
    world = honest(ORDER, [*started(ORDER), *flood], floors=Floors(stops=recorded))
    learned = world.decide().floors
    assert len(learned.stops) == MAX_STOPS
    assert recorded[0] in learned.stops
    again = honest(ORDER, [*started(ORDER), *flood], floors=learned).decide().floors
    assert recorded[0] in again.stops


def test_a_full_record_lets_cleared_stops_go_first() -> None:
    """64 stops by one key, all cleared, leave room for the next."""
    flood = [stop(ORDER, reason=f"again {n}") for n in range(MAX_STOPS)]
    recorded = tuple(KnownStop(one.id, ORDER.id, None, None) for one in flood)
    cleared = resume(ORDER, at=NOW - hours(0.5), clears=flood)
    papers = [*started(ORDER), cleared, authorise(cleared)]
    assert reason(honest(ORDER, papers, floors=Floors(stops=recorded))) is None
    late = stop(ORDER, by="olga", at=NOW)
    learned = honest(ORDER, [*papers, late], floors=Floors(stops=recorded)).decide().floors
    assert learned.stops[0].id == late.id
    # Withheld from now on, it holds all the same.
    assert reason(honest(ORDER, papers, floors=learned)) is Reason.STOPPED


def test_a_resume_by_rule_ends_the_stops_that_it_names() -> None:
    first, second = stop(ORDER), stop(ORDER, by="mona")
    both = resume(ORDER, at=NOW, clears=(first, second))
    one = resume(ORDER, at=NOW, clears=(first,))
    stopped = [*started(ORDER), first, second]
    assert reason(honest(ORDER, [*stopped, both, authorise(both)])) is None
    assert reason(honest(ORDER, [*stopped, one, authorise(one)])) is Reason.STOPPED
    assert reason(honest(ORDER, [*stopped, both])) is Reason.STOPPED


# --- Windows and turns ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clock", "is_open"),
    [
        ("21:59:59", False),
        ("22:00:00", True),
        ("23:59:59", True),
        ("00:00:00", True),
        ("03:59:59", True),
        ("04:00:00", False),
    ],
)
def test_a_window_over_midnight(clock: str, is_open: bool) -> None:
    hour, minute, second = map(int, clock.split(":"))
    now = (DAY0 + days(1)).replace(hour=hour, minute=minute, second=second)
    world = honest().with_local(window=SHUT).but(now=now)
    assert reason(world) is (None if is_open else Reason.OUTSIDE_WINDOW)
    # The same instant, said in another place's time.
    abroad = world.with_local(window=SHUT, utc_offset=hours(-5)).but(now=now + hours(5))
    assert reason(abroad) is reason(world)


def test_everybodys_turn_comes_within_the_spread() -> None:
    of = order(spread_seconds=7_200)
    offset = spread_offset(of.id, DEVICE, 7_200)
    world = honest(of)
    assert reason(world.but(now=DAY0 + timedelta(seconds=offset - 1))) is Reason.SPREAD
    assert reason(world.but(now=DAY0 + timedelta(seconds=offset))) is None


def test_a_turn_counts_from_the_opening_of_the_window() -> None:
    """On each later day too, so that a window does not open for all at once."""
    of = order(spread_seconds=3_600)
    offset = timedelta(seconds=spread_offset(of.id, DEVICE, 3_600))
    world = honest(of).with_local(window=SHUT)
    opens = DAY0.replace(hour=22)
    for day in (days(0), days(2)):
        assert reason(world.but(now=opens + day + offset - timedelta(seconds=1))) is Reason.SPREAD
        assert reason(world.but(now=opens + day + offset)) is None


@pytest.mark.parametrize("device", [f"GW-{n}" for n in range(40)])
def test_a_turn_comes_while_two_windows_are_open_together(device: str) -> None:
    """Or else a device whose turn lies beyond their overlap would wait for ever."""
    of = order(spread_seconds=86_400, window=Window(opens="20:00", closes="22:10"))
    world = honest(of).with_local(window=SHUT).with_gateway(device=device)
    last = DAY0.replace(hour=22, minute=9, second=59)
    assert reason(world.but(now=last)) is None


def test_windows_need_no_calendar() -> None:
    """The last second of the calendar, far east of Greenwich."""
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    local = replace(honest().local, utc_offset=hours(14), window=SHUT)
    refusal = outside_window(ORDER.said, local, last)
    assert refusal is not None
    assert refusal.reason is Reason.OUTSIDE_WINDOW
    assert outside_window(ORDER.said, replace(local, utc_offset=hours(1)), last) is None


# --- Malformed company ----------------------------------------------------------------------------


def _spoilt(envelope: Envelope) -> list[Envelope]:
    """Copies of an envelope that nobody can open, or whose signature is no signature."""
    [good] = envelope.signatures
    signatures = [
        msgspec.structs.replace(good, sig=sig)
        for sig in ("not base64!", "AA=", "AAAA", 8192 * "A", "")
    ]
    return [
        msgspec.structs.replace(envelope, payload="%%%"),
        msgspec.structs.replace(envelope, payload=""),
        msgspec.structs.replace(envelope, payload_type="text/plain"),
        msgspec.structs.replace(envelope, signatures=()),
        *(msgspec.structs.replace(envelope, signatures=(one,)) for one in signatures),
        msgspec.structs.replace(envelope, signatures=(*signatures, good)),
    ]


def test_malformed_statements_neither_count_nor_disturb() -> None:
    papers = started(ORDER)
    spoilt = [bad for paper in [*papers, stop(ORDER, by="eve")] for bad in _spoilt(paper.envelope)]
    product = entry(ORDER, papers)
    for field in ("authorisations", "chain", "stops"):
        product = msgspec.structs.replace(
            product, **{field: (*spoilt, *getattr(product, field), *spoilt)}
        )
    decision = honest().with_trusted(directive=directive({PRODUCT: product})).decide()
    assert isinstance(decision.verdict, Grant)
    assert decision.floors.stops == ()


def test_an_order_whose_signature_is_garbled_is_unauthorised() -> None:
    for envelope in _spoilt(ORDER.envelope)[4:9]:
        product = msgspec.structs.replace(entry(ORDER, started(ORDER)), order=envelope)
        world = honest().with_trusted(directive=directive({PRODUCT: product}))
        assert reason(world) is Reason.UNAUTHORISED_ROLLOUT


def test_words_shown_first_without_their_signature_count_when_shown_with_it() -> None:
    good = authorise(ORDER)
    [signature] = good.envelope.signatures
    bad = replace(
        good,
        envelope=msgspec.structs.replace(
            good.envelope, signatures=(msgspec.structs.replace(signature, sig="AAAA"),)
        ),
    )
    first = opening(ORDER)
    for papers in ([bad, good], [good, bad]):
        assert reason(honest(ORDER, [*papers, first, authorise(first)])) is None
    assert reason(honest(ORDER, [bad, first, authorise(first)])) is Reason.UNAUTHORISED_ROLLOUT


def test_consent_is_needed_where_the_hospitals_rule_asks_for_it() -> None:
    of = order(stages=(stage(CANARY, ST_ANNA),))
    words = started(of)
    for papers, expected in (
        (words, Reason.UNAUTHORISED_ROLLOUT),
        ([*words, consent(of)], Reason.STAGE_NOT_OPEN),
        ([*words, consent(of), consent(words[1])], None),
    ):
        facts = trusted(of, papers, cohort=ST_ANNA)
        assert reason(honest().but(trusted=facts).with_gateway(cohort=ST_ANNA)) is expected
        # One absent hospital does not block the others.
        assert reason(honest(of, papers)) is None


def test_the_people_of_the_support_module_hold_what_it_says() -> None:
    """Other tests rest on it."""
    assert {person.name for person in ROSTER.persons} == {person.name for person in PEOPLE}
    assert all(signer(person.name).public_key.keyid == person.keys[0].keyid for person in PEOPLE)
