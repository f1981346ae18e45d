"""Whatever the world, a grant keeps every rule; and without a rule, some grant breaks it.

The first half looks for a decision that breaks a rule (``predicates``) in random worlds
(``worlds``). The second half shows that it would be found: each row of ``WITHOUT`` takes one rule
out of the code, and a world that tells is found among those drawn from fixed seeds.
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import SSlibKey

from interlock_core import chain, decide, decide_here, decide_target, placement
from interlock_core.chain import _Reading
from interlock_core.facts import Grant, Phase
from interlock_core.roster import Judge
from interlock_core.statement import Opened, open_as
from tests.core.mutation import mutated
from tests.core.predicates import OF_A_GRANT, OF_ANY, broken
from tests.core.worlds import honest, world
from tests.support.decisions import World

PHASES = tuple(Phase)
SEEDS = 4_000
"""How many worlds are searched for one that tells that a rule is missing."""


@given(st.randoms(use_true_random=False))
@settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_a_decision_keeps_every_rule(rng: random.Random) -> None:
    drawn, phase = world(rng), rng.choice(PHASES)
    decision = drawn.decide(phase)
    event("granted" if isinstance(decision.verdict, Grant) else decision.verdict.reason.value)
    assert broken(drawn, decision, phase) == []


@functools.cache
def seeded(seed: int) -> tuple[World, Phase]:
    rng = random.Random(seed)  # noqa: S311  a reproducible choice, no secret
    return world(rng), rng.choice(PHASES)


def test_worlds_are_varied_and_often_granted() -> None:
    """Or else the property above would say little: about a third is granted, and all else occurs."""
    verdicts = Counter[str]()
    for seed in range(800):
        drawn, phase = seeded(seed)
        decision = drawn.decide(phase)
        assert broken(drawn, decision, phase) == []
        granted = isinstance(decision.verdict, Grant)
        verdicts["granted" if granted else decision.verdict.reason.value] += 1
    assert verdicts["granted"] >= 200
    assert len(verdicts) >= 25


def test_an_honest_rollout_is_granted() -> None:
    """So that no rule is kept by refusing everything."""
    for seed in range(150):
        rollout = honest(random.Random(seed)).build()  # noqa: S311  as above
        assert isinstance(rollout.decide(Phase.REBOOT).verdict, Grant), seed


Row = tuple[Callable[..., Any], str, str]
WITHOUT: tuple[Row, ...] = (
    # 1 to 3: who is believed
    (
        Opened.verified_by,
        "continue\n                return key",
        "return key\n                return key",
    ),
    (Judge._times, "and word.said.author not in first", ""),
    (
        Judge._times,
        "word.said.author not in first",
        "(word.said.author, word.said.role) not in first",
    ),
    (Judge._times, "first[word.said.author] = word", "first[word.id] = word"),
    (Judge._times, "and word.said.author != subject.said.author", ""),
    (Judge._times, "and word.said.meaning in COUNTING_MEANINGS", ""),
    (Judge._times, "and self.holds(word.said.author, word.said.role, cohort)", ""),
    (Judge._times, "and self.signer_key(word) not in (None, author_key)", ""),
    (Judge._times, "and word.said.fleet == self.roster.fleet", ""),
    (Judge._times, "word.said.id == subject.id\n", "True\n"),
    (Judge.authorised_at, "len(times[role]) < count", "not times[role]"),
    (Judge.authorised_at, "times[role][count - 1]", "said.at"),
    (Judge.holds, "and grant.expires > self.now", ""),
    (Judge.holds, "and any(covers(pattern, cohort) for pattern in grant.cohorts)", ""),
    (Judge.holds, "grant.role == role", "True"),
    (Judge.author_is, "or self.signer_key(opened) is None", ""),
    (Judge.author_is, "said.fleet != self.roster.fleet or ", ""),
    # 4 and 5: by whose rule
    (_Reading.judging_cohorts, "(mine,) if mine in named else named", "named"),
    (_Reading._opened_for, "rules.start if go.said.stage == 0 else rules.advance", "rules.advance"),
    (_Reading._accepted_at, "rules.start", "{}"),
    # 6 and 7: orders
    (decide._authorised, "accepted_at(c.judge, c.papers, c.gateway.cohort) is None", "False"),
    (decide._authorised, "c.gateway.cohort not in c.order.said.cohorts()", "False"),
    (_Reading._accepted_at, "or self.order.said.at > self.judge.now", ""),
    (_Reading._said_at, "and since <= self.judge.now", ""),
    (decide._superseded, "seq < least", "False"),
    (decide._superseded, "seq < floor.order_seq", "False"),
    (decide._superseded, "seq == floor.order_seq and", "False and"),
    (decide._superseded, "replace(c.floors, order_seq=seq, order_id=c.order.id)", "c.floors"),
    # 8, 9 and 19: the target
    (decide_target.permit_needed, 'order.said.kind != "recall" and', "False and"),
    (decide_target.permit_needed, "counter >= gateway.release_floor", "True"),
    (decide_target._permit, "permit.fleet == gateway.fleet\n", "True\n"),
    (decide_target._permit, "and permit.product == gateway.product", ""),
    (decide_target._permit, "and permit.from_sha256 == gateway.running_sha256", ""),
    (decide_target._permit, "and permit.to_sha256 == wanted.sha256", ""),
    (decide_target._permit, "gateway.device in permit.devices or", "True or"),
    (decide_target._permit, "and permit.order == order.id", ""),
    (decide_target._permit, "and permit.expires > now", ""),
    (decide_target._permit, "and digest not in gateway.spent_permits", ""),
    (decide_target.choose, "gateway.hardware not in image.hardware_ids", "False"),
    (
        decide_target.choose,
        "image.min_counter_installed <= gateway.highest_confirmed_counter",
        "True",
    ),
    (decide_target.choose, "barred = Refusal(", "return target, image\n        barred = Refusal("),
    # 10 and 11: stages
    (_Reading._opened_for, '.gate == "auto"', '.gate == "never"'),
    (_Reading._opened_for, "(MONITOR,)", "(MONITOR, OPERATOR)"),
    (_Reading._said_at, "(OPERATOR,)", "(OPERATOR, MONITOR)"),
    (_Reading._opened_for, "max(since, go.said.opened_at, order_since)", "go.said.opened_at"),
    (_Reading.openings, "go.said.opened_at < not_before", "False"),
    (
        _Reading.openings,
        "go.said.at > self.judge.now or go.said.opened_at > self.judge.now",
        "False",
    ),
    (_Reading.openings, "go.said.stage != number", "False"),
    (_Reading.openings, 'go.said.act != "open" or', ""),
    (chain.read_chain, "timedelta(seconds=stage.soak_seconds)", "timedelta(0)"),
    (_Reading.__init__, "if go.said.order == papers.order.id", ""),
    (decide._go, "stage >= len(chain.stages)", "not chain.stages"),
    (chain.first_stage, "cohort in stage.cohorts and", ""),
    (placement.inside, "point_ < basis_points", "True"),
    # 12 and 13: how long
    (chain._lifetimes, "role is None or said.at >=", "role is None or None is"),
    (chain._lifetimes, "role is None or ", ""),
    (chain._lifetimes, "role == MONITOR and end > by_operator + MAX_GO", "False"),
    (chain._lifetimes, "end = min(end, by_operator + MAX_GO)", "pass"),
    (chain._lifetimes, "end = said.at\n", "pass\n"),
    (chain._lifetimes, "(go.said.stage, go.said.renews, go.said.opened_at) in opened", "True"),
    (decide._go, "until is None or until <= c.now", "until is None"),
    (decide._go, "chain.live_until(stage)", "chain.live_until(0)"),
    # 15 and 16: stops
    (_Reading.resume_counts, "self._said_at(go, rules.resume, cohort) is not None", "True"),
    (_Reading.resume_counts, "rules.resume", "{}"),
    (decide._not_stopped, "and stop.id not in over", "and False"),
    (decide._not_stopped, "*c.floors.stops, ", ""),
    (chain.applies, "stop_cohort in (None, cohort)", "stop_cohort is None"),
    (chain.stop_counts, "*(rules.stop if rules is not None else ())", ""),
    (decide._learn_stops, "(*c.floors.stops, *c.stops)", "c.stops"),
    # metadata, roster, cohort, repositories
    (decide._metadata, "item.expires <= c.now", "False"),
    (decide._roster, "roster.fleet != c.gateway.fleet", "False"),
    (decide._roster, "roster.seq < c.floor_was.roster_seq", "False"),
    (decide._roster, "c.now >= roster.issued + MAX_ROSTER_AGE", "False"),
    (decide._cohort, "any(cohort != mine for cohort in named)", "False"),
    (decide._cohort, "c.trusted.directive.fleet != c.gateway.fleet", "False"),
    (decide._director, "c.trusted.director_delegates", "False"),
    (decide._director, "if extra:", "if False:"),
    (decide._wanted, "c.order.said.fleet != c.gateway.fleet", "False"),
    (decide._wanted, "c.order.said.product != c.gateway.product", "False"),
    (
        decide_target.disagreement,
        '(image.length, image.hashes.get("sha256")) != (wanted.length, wanted.sha256)',
        "False",
    ),
    (
        decide_target.disagreement,
        "director is None or (director.length, dict(director.hashes)) != (\n        image.length,\n        dict(image.hashes),\n    )",
        "False",
    ),
    (decide_target.permit_needed, "image.product != gateway.product", "False"),
    (decide_target.permit_needed, "gateway.market not in image.markets", "False"),
    (decide_target.rolled_back_here, "in gateway.rolled_back", "in ()"),
    (decide._not_installed, "c.wanted.sha256 == c.gateway.running_sha256", "False"),
    (decide._in_time, "c.now >= c.order.said.expires", "False"),
    (decide._in_time, "c.now < c.order.said.not_before", "False"),
    # this place
    (decide_here.no_space, "local.free_bytes < needed", "False"),
    (decide_here.held, "local.hold is not None", "False"),
    (decide_here.outside_window, "_since(window, second) >= _length(window)", "False"),
    (decide_here.not_my_turn, "elapsed < turn", "False"),
    (decide_here.slot_differs, "local.slot_sha256 != wanted.sha256", "False"),
    (decide_here.not_safe, "None if answer.clear else", "None if True else"),
    (
        decide_here.not_safe,
        'if answer is None:\n        return Refusal(Reason.INTERLOCK_NOT_CLEAR, "the clinical interlock was not asked")',
        "if answer is None:\n        return None",
    ),
)
