"""What ``decide`` asks before it grants anything, one removal for each condition."""

from __future__ import annotations

from infra.removals.removal import CORE, Removal
from infra.removals.suite import OFFLINE, ONLINE, PLACE, ROLLOUTS, ROSTERS, STOPS

UNITS = ("tests/core/test_decide.py", "tests/core/test_fleet.py")


def _decide(what: str, within: str, old: str, new: str, *tests: str) -> Removal:
    return Removal(what, f"{CORE}decide.py", within, old, new, (*tests, *UNITS))


def _target(what: str, within: str, old: str, new: str, *tests: str) -> Removal:
    return Removal(what, f"{CORE}decide_target.py", within, old, new, (*tests, *UNITS))


def _here(what: str, within: str, old: str, new: str, *tests: str) -> Removal:
    return Removal(what, f"{CORE}decide_here.py", within, old, new, (*tests, *UNITS))


def _hold(what: str, within: str, old: str, new: str) -> Removal:
    return Removal(what, f"{CORE}hold.py", within, old, new, ("tests/core/test_hold.py",))


DECIDING: tuple[Removal, ...] = (
    # To believe anything.
    _decide(
        "decide: metadata is unexpired at this clock",
        "_metadata",
        "item.expires <= c.now",
        "False",
        f"{PLACE}::TestClock",
    ),
    _decide("decide: there is metadata at all", "_metadata", "not c.trusted.expiries", "False"),
    _decide(
        "decide: the roster is of this fleet",
        "_roster",
        "roster.fleet != c.gateway.fleet",
        "False",
    ),
    _decide(
        "decide: the roster is not older than the last",
        "_roster",
        "roster.seq < c.floor_was.roster_seq",
        "False",
    ),
    _decide(
        "decide: the roster is young enough",
        "_roster",
        "c.now >= roster.issued + MAX_ROSTER_AGE",
        "False",
        f"{ROSTERS}::TestRosters::test_frozen",
    ),
    _decide(
        "decide: the director's heads are for this cohort",
        "_cohort",
        "[*c.trusted.director_cohorts, c.trusted.directive.cohort]",
        "[c.trusted.directive.cohort]",
    ),
    _decide(
        "decide: the directive is for this cohort",
        "_cohort",
        "[*c.trusted.director_cohorts, c.trusted.directive.cohort]",
        "[*c.trusted.director_cohorts]",
    ),
    _decide(
        "decide: the director names a cohort at all",
        "_cohort",
        "not c.trusted.director_cohorts or any",
        "any",
    ),
    _decide(
        "decide: the directive is of this fleet",
        "_cohort",
        "c.trusted.directive.fleet != c.gateway.fleet",
        "False",
    ),
    _decide(
        "decide: a pattern of the roster covers this cohort",
        "_cohort",
        "c.judge.roster.rules_for(mine) is None",
        "False",
        f"{ONLINE}::TestElsewhere::test_a_cohort_that_no_rule_covers",
    ),
    # To download.
    _decide(
        "decide: no assignment moves this gateway elsewhere",
        "",
        '    ("no assignment moves this gateway to another cohort", _not_moved),\n',
        "",
    ),
    _decide(
        "decide: the director does not delegate",
        "_director",
        "if c.trusted.director_delegates:",
        "if False:",
        f"{ONLINE}::TestImages::test_a_director_that_delegates",
    ),
    _decide(
        "decide: the director lists only the orders' images",
        "_director",
        "if extra:",
        "if False:",
        f"{ONLINE}::TestImages::test_an_image_that_no_order_names",
    ),
    _decide(
        "decide: the order is of this fleet",
        "_wanted",
        "c.order.said.fleet != c.gateway.fleet",
        "False",
        f"{ONLINE}::TestElsewhere::test_an_order_of_another_fleet",
    ),
    _decide(
        "decide: the order is for this product",
        "_wanted",
        "c.order.said.product != c.gateway.product",
        "False",
        f"{ONLINE}::TestElsewhere::test_an_order_for_another_product",
    ),
    _decide(
        "decide: the order names this cohort",
        "_authorised",
        "c.gateway.cohort not in c.order.said.cohorts()",
        "False",
        f"{ONLINE}::TestElsewhere::test_a_cohort_in_which_everybody_is_canary",
    ),
    _decide(
        "decide: the order is authorised",
        "_authorised",
        "accepted_at(c.judge, c.papers, c.gateway.cohort) is None",
        "False",
        f"{ROLLOUTS}::TestRollouts::test_one_that_nobody_authorised",
    ),
    _decide(
        "decide: the roster did not end the order",
        "_superseded",
        "seq < least",
        "False",
        f"{ROLLOUTS}::TestRollouts::test_one_that_the_roster_ended",
    ),
    _decide(
        "decide: no newer order was accepted",
        "_superseded",
        "seq < floor.order_seq",
        "False",
        f"{ROLLOUTS}::TestRollouts::test_an_older_one_after_a_newer",
    ),
    _decide(
        "decide: no other order of this number was accepted",
        "_superseded",
        "floor.order_id not in (None, c.order.id)",
        "False",
        f"{ROLLOUTS}::TestRollouts::test_another_of_the_same_number",
    ),
    _decide(
        "decide: an accepted order raises the order floor",
        "_superseded",
        "c.floors = replace(c.floors, order_seq=seq, order_id=c.order.id)",
        "pass",
        f"{ROLLOUTS}::TestRollouts::test_an_older_one_after_a_newer",
    ),
    _decide(
        "decide: what runs already is not installed again",
        "_not_installed",
        "c.wanted.sha256 == c.gateway.running_sha256",
        "False",
    ),
    _decide(
        "decide: the order has not expired",
        "_in_time",
        "c.now >= c.order.said.expires",
        "False",
        f"{ROLLOUTS}::TestRollouts::test_one_that_expired",
    ),
    _decide(
        "decide: the order has begun",
        "_in_time",
        "c.now < c.order.said.not_before",
        "False",
        f"{ROLLOUTS}::TestRollouts::test_before_its_earliest_time",
    ),
    _decide(
        "decide: no stop stands",
        "",
        '    ("no stop stands", _not_stopped),\n',
        "",
        f"{STOPS}::TestStops::test_one_whose_stop_is_not_shown_any_more",
    ),
    _decide(
        "decide: a recorded stop stands though it is not shown",
        "_not_stopped",
        "(*c.floors.stops, *c.stops)",
        "c.stops",
        f"{STOPS}::TestStops::test_one_whose_stop_is_not_shown_any_more",
    ),
    _decide(
        "decide: a stop that is shown stands though the record is full",
        "_not_stopped",
        "(*c.floors.stops, *c.stops)",
        "c.floors.stops",
        f"{STOPS}::TestFloods::test_a_stop_that_the_record_has_no_room_for_stands_while_it_is_shown",
    ),
    _decide(
        "decide: a stop covers its own order alone",
        "_not_stopped",
        "stop.order == c.order.id",
        "True",
        f"{STOPS}::TestFloods::test_stops_are_bounded_and_a_resume_clears_each",
    ),
    _decide(
        "decide: stops are learned, and made durable",
        "_learn_stops",
        "stops=tuple(ranked[:MAX_STOPS])",
        "stops=c.floor_was.stops",
        f"{STOPS}::TestStops::test_one_whose_stop_is_not_shown_any_more",
    ),
    _decide(
        "decide: stops are learned before the order is looked at",
        "decide",
        "        _learn_stops(c)\n        refusal = _first_objection(c, _TO_DOWNLOAD, checks)\n",
        "        c.read, c.chain = _read(c), Chain((), -1, None, (), (), (), ())\n"
        "        refusal = _first_objection(c, _TO_DOWNLOAD[:4], checks)\n"
        "        if refusal is None:\n"
        "            _learn_stops(c)\n"
        "            refusal = _first_objection(c, _TO_DOWNLOAD[4:], checks)\n",
        f"{STOPS}::TestStops::test_a_stop_is_seen_whatever_is_said_of_its_order",
    ),
    _decide(
        "decide: stops learned before are kept",
        "_learn_stops",
        "(*c.floors.stops, *c.stops)",
        "c.stops",
        f"{STOPS}::TestStops::test_one_whose_stop_is_not_shown_any_more",
    ),
    _decide(
        "decide: at most 64 stops are recorded",
        "_learn_stops",
        "ranked[:MAX_STOPS]",
        "ranked",
        f"{STOPS}::TestFloods::test_never_more_than_64_are_recorded",
    ),
    _decide(
        "decide: only stops by people entitled are learned",
        "_learn_stops",
        "if stop_counts(c.judge, stop, c.gateway.cohort)",
        "",
        f"{STOPS}::TestFloods::test_a_stop_by_nobody_entitled_stops_nothing",
    ),
    _decide(
        "decide: nobody's flood drives out what another has stopped",
        "_shared",
        "by[stop.author] += 1",
        "pass",
        f"{STOPS}::TestFloods::test_no_flood_keeps_a_later_stop_out",
    ),
    _decide(
        "decide: of one person, no flood drives out the last stop of an order",
        "_shared",
        "about[stop.author, stop.order] += stop.id not in over",
        "pass",
        f"{STOPS}::TestFloods::test_no_flood_keeps_a_later_stop_out",
    ),
    _decide(
        "decide: stops that a resume has ended make room first",
        "_shared",
        "turns.append((stop.id in over,",
        "turns.append((False,",
    ),
    _decide(
        "decide: the roster floor rises",
        "_learn_stops",
        "roster_seq=c.trusted.roster.seq, ",
        "",
    ),
    _target(
        "decide: the image repository has the target",
        "first_fit",
        "if image is None:\n            return Refusal(",
        "if image is None:\n            continue\n            return Refusal(",
        f"{OFFLINE}::TestRosterHolders::test_nor_by_a_path_of_their_own",
    ),
    _target(
        "decide: the image is for this hardware",
        "first_fit",
        "hardware not in image.hardware_ids",
        "False",
        f"{ONLINE}::TestElsewhere::test_an_image_for_others",
    ),
    _target(
        "decide: the barrier is met",
        "first_fit",
        "image.min_counter_installed <= highest_confirmed_counter",
        "True",
        f"{ONLINE}::TestElsewhere::test_an_image_for_others",
    ),
    _decide(
        "decide: this device is inside some stage",
        "_go",
        "if stage is None:\n        return Refusal",
        "if stage is None:\n        stage = 0\n    if stage < 0:\n        return Refusal",
        f"{ROLLOUTS}::TestRollouts::test_a_larger_share_than_was_signed",
    ),
    _decide(
        "decide: this device's stage is open",
        "_go",
        "if stage >= len(chain.stages):",
        "stage = min(stage, len(chain.stages) - 1)\n    if not chain.stages:",
        f"{ROLLOUTS}::TestRollouts::test_one_that_nobody_started",
    ),
    _decide(
        "decide: the stage has not lapsed",
        "_go",
        "until <= c.now",
        "False",
        f"{ROLLOUTS}::TestRollouts::test_one_that_people_let_lapse",
    ),
    _target(
        "decide: the image is what the order names by digest",
        "disagreement",
        '(image.length, image.hashes.get("sha256")) != (wanted.length, wanted.sha256)',
        "False",
    ),
    _target(
        "decide: both repositories agree on length and hashes",
        "disagreement",
        "if director is None or (director.length, dict(director.hashes)) != (\n"
        "        image.length,\n        dict(image.hashes),\n    ):",
        "if director is None:",
        f"{ONLINE}::TestImages::test_an_image_that_nobody_signed",
    ),
    _target(
        "decide: the director lists the image",
        "disagreement",
        "if director is None or (director.length, dict(director.hashes)) != (",
        "if director is not None and (director.length, dict(director.hashes)) != (",
        f"{ONLINE}::TestImages::test_an_image_that_the_director_hides",
    ),
    _target(
        "decide: the image is of this product",
        "permit_needed",
        "image.product != gateway.product",
        "False",
    ),
    _target(
        "decide: the image is cleared for this market",
        "permit_needed",
        "gateway.market not in image.markets",
        "False",
        f"{ONLINE}::TestElsewhere::test_an_image_for_others",
    ),
    _target(
        "decide: only a recall lowers the release counter",
        "permit_needed",
        "counter < gateway.running_counter",
        "False",
        f"{ROLLOUTS}::TestRollouts::test_an_older_release_by_an_update",
    ),
    _target(
        "decide: the counter is at or above the floor",
        "permit_needed",
        "counter >= gateway.release_floor",
        "True",
        f"{ROLLOUTS}::TestRollouts::test_an_older_release",
    ),
    _target(
        "decide: a permit is of this fleet", "_permit", "permit.fleet == gateway.fleet", "True"
    ),
    _target(
        "decide: a permit is of this product",
        "_permit",
        "permit.product == gateway.product",
        "True",
    ),
    _target(
        "decide: a permit is from what runs",
        "_permit",
        "permit.from_sha256 == gateway.running_sha256",
        "True",
    ),
    _target(
        "decide: a permit is to what is wanted",
        "_permit",
        "permit.to_sha256 == wanted.sha256",
        "True",
    ),
    _target(
        "decide: a permit is for this device or cohort",
        "_permit",
        "(gateway.device in permit.devices or gateway.cohort in permit.cohorts)",
        "True",
    ),
    _target("decide: a permit is for this order", "_permit", "permit.order == order.id", "True"),
    _target("decide: a permit has not expired", "_permit", "permit.expires > now", "True"),
    _target(
        "decide: a permit is spent once",
        "_permit",
        "digest not in gateway.spent_permits",
        "True",
    ),
    _target(
        "decide: it did not roll back here",
        "rolled_back_here",
        "(order.id, wanted.sha256) in gateway.rolled_back",
        "False",
        f"{ROLLOUTS}::TestRollouts::test_one_that_rolled_back_here",
    ),
    _here("decide: space is enough", "no_space", "local.free_bytes < needed", "False"),
    # To install and to reboot.
    _here(
        "decide: the hospital does not hold it back",
        "held",
        "local.hold is not None",
        "False",
        f"{PLACE}::TestInterlock::test_a_hold_of_the_hospital",
    ),
    _here(
        "decide: no signed hold of the site stands",
        "site_held",
        "hold is None",
        "True",
        f"{PLACE}::TestInterlock::test_a_signed_hold_of_the_hospital",
    ),
    _hold(
        "decide: a hold is for its own site",
        "holding",
        "and site in (None, one.said.site)",
        "",
    ),
    _hold("decide: a hold begins", "holding", "and one.said.begins <= now", ""),
    _hold("decide: a hold ends", "standing_holds", "and one.said.until > judge.now", ""),
    _hold(
        "decide: a hold is signed by somebody entitled",
        "standing_holds",
        "and hold_role(judge, one, cohort) is not None",
        "",
    ),
    _hold(
        "decide: a release is signed by the role that holds",
        "releases",
        "and judge.author_is(release, (role,), cohort, hold.said.site) is not None",
        "",
    ),
    _hold(
        "decide: a release ends the hold that it names",
        "releases",
        "and release.said.ends == hold.id",
        "",
    ),
    _here(
        "decide: the windows are open",
        "outside_window",
        "_since(window, second) >= _length(window)",
        "False",
    ),
    _here("decide: this device's turn has come", "not_my_turn", "elapsed < turn", "False"),
    _here(
        "decide: the slot holds the wanted image",
        "slot_differs",
        "local.slot_digests.get(slot.name) != slot.sha256",
        "False",
        f"{PLACE}::TestSlots::test_an_image_swapped_after_it_was_verified",
    ),
    _here(
        "decide: the clinical interlock was asked",
        "not_safe",
        "if answer is None:\n",
        "if answer is None:\n        return None\n    if answer is None:\n",
    ),
    _here(
        "decide: the clinical interlock said yes",
        "not_safe",
        "None if answer.clear else",
        "None if True else",
        f"{PLACE}::TestInterlock::test_none_configured",
    ),
    _decide(
        "decide: what only a change needs is asked before a change",
        "decide",
        "phase is not Phase.DOWNLOAD",
        "False",
        f"{PLACE}::TestInterlock::test_none_configured",
    ),
)
