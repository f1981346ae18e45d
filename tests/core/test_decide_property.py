"""Whatever the world, a grant keeps every rule; and without a rule, some grant breaks it.

The first half looks for a decision that breaks a rule (``predicates``) in random worlds
(``worlds``). The second half shows that one would be found: each row of ``WITHOUT`` takes one rule
out of the code, and names a change of worlds among which, drawn from fixed seeds, one tells.
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signature, SSlibKey

from interlock_core import chain, decide, decide_here, decide_target, placement
from interlock_core.chain import _Reading
from interlock_core.facts import Decision, Grant, Phase, Refusal
from interlock_core.roster import Judge
from interlock_core.statement import Envelope, Opened
from tests.core import worlds
from tests.core.mutation import mutated
from tests.core.predicates import OF_A_GRANT, OF_ANY, broken
from tests.core.worlds import Change, honest, world
from tests.support.decisions import World

PHASES = tuple(Phase)
SEEDS = 400
"""How many worlds of one change are searched for one that tells that a rule is missing."""


def word(decision: Decision) -> str:
    return decision.verdict.reason if isinstance(decision.verdict, Refusal) else "granted"


@given(st.randoms(use_true_random=False))
@settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_a_decision_keeps_every_rule(rng: random.Random) -> None:
    drawn, phase = world(rng), rng.choice(PHASES)
    decision = drawn.decide(phase)
    event(word(decision))
    assert broken(drawn, decision, phase) == []


@functools.cache
def seeded(seed: int, first: Change | None = None) -> tuple[World, Phase]:
    rng = random.Random(seed)  # noqa: S311  a reproducible choice, no secret
    return world(rng, first), rng.choice(PHASES)


def test_worlds_are_varied_and_often_granted() -> None:
    """Or else the property would say little: about a third is granted, and all else occurs."""
    verdicts = Counter[str]()
    for seed in range(800):
        drawn, phase = seeded(seed)
        decision = drawn.decide(phase)
        assert broken(drawn, decision, phase) == [], seed
        verdicts[word(decision)] += 1
    assert verdicts["granted"] >= 200
    assert len(verdicts) >= 25


def test_an_honest_rollout_is_granted() -> None:
    """So that no rule is kept by refusing everything."""
    for seed in range(150):
        rollout = honest(random.Random(seed)).build()  # noqa: S311  as above
        assert isinstance(rollout.decide(Phase.REBOOT).verdict, Grant), seed


def shown_as(
    rng: random.Random,
    drawn: World,
    change: Callable[[random.Random, list[Envelope]], list[Envelope]],
) -> World:
    """The same world with every list of statements changed."""
    said = drawn.trusted.directive
    products = {
        name: msgspec.structs.replace(
            entry,
            **{
                field: tuple(change(rng, list(getattr(entry, field))))
                for field in ("authorisations", "chain", "stops")
            },
        )
        for name, entry in said.products.items()
    }
    return drawn.with_trusted(directive=msgspec.structs.replace(said, products=products))


def shuffled(rng: random.Random, shown: list[Envelope]) -> list[Envelope]:
    return rng.sample(shown, len(shown))


def with_garbage(rng: random.Random, shown: list[Envelope]) -> list[Envelope]:
    """With damaged copies between them, which nobody signed."""
    more = list(shown)
    for good in shown:
        [signature] = good.signatures
        at = rng.randrange(len(good.payload))
        piece = rng.choice(("", "A", "=", "/", "é", "\n"))
        sig = rng.choice(("", "AAAA", "%", signature.sig[:-4], signature.sig[::-1]))
        payload = good.payload[:at] + piece + good.payload[at + 1 :]
        bad = rng.choice(
            (
                msgspec.structs.replace(good, payload=payload),
                msgspec.structs.replace(
                    good, signatures=(msgspec.structs.replace(signature, sig=sig),)
                ),
                msgspec.structs.replace(good, signatures=()),
                msgspec.structs.replace(good, payload_type=""),
            )
        )
        more.insert(rng.randrange(len(more) + 1), bad)
    return more


@pytest.mark.parametrize("change", [shuffled, with_garbage], ids=["order", "garbage"])
def test_neither_order_nor_garbage_changes_a_decision(
    change: Callable[[random.Random, list[Envelope]], list[Envelope]],
) -> None:
    for seed in range(250):
        drawn, phase = seeded(seed)
        rng = random.Random(seed)  # noqa: S311  as above
        expected, got = drawn.decide(phase), shown_as(rng, drawn, change).decide(phase)
        assert word(got) == word(expected), seed
        assert (got.floors.order_seq, set(got.floors.stops)) == (
            expected.floors.order_seq,
            set(expected.floors.stops),
        ), seed
        if isinstance(expected.verdict, Grant):
            assert got.verdict == expected.verdict, seed


Row = tuple[Callable[..., Any], str, str, Change]
WITHOUT: tuple[Row, ...] = (
    # 1 to 3: who is believed.
    (
        Opened.verified_by,
        "key.verify_signature(SslibSignature(key.keyid, raw), signed_bytes)",
        "pass",
        worlds.forge,
    ),
    (
        Judge._times,
        "first[word.said.author] =",
        "first[word.said.author + word.said.role] =",
        worlds.authorise_twice,
    ),
    (Judge._times, "first[word.said.author] =", "first[word.id] =", worlds.authorise_twice),
    (Judge._times, "and word.said.author != subject.said.author", "", worlds.authorise_oneself),
    (Judge._times, "and word.said.meaning in COUNTING_MEANINGS", "", worlds.another_word),
    (
        Judge._times,
        "and self.holds(word.said.author, word.said.role, cohort, site)",
        "",
        worlds.another_grant,
    ),
    (Judge._times, "and self.signer_key(word) not in (None, author_key)", "", worlds.forge),
    (Judge._times, "and word.said.fleet == self.roster.fleet", "", worlds.another_word),
    (
        Judge.authorised_at,
        "if len(times[role]) < count:",
        "count = min(count, len(times[role]))\n        if not count:",
        worlds.drop_a_paper,
    ),
    (Judge.authorised_at, "times[role][count - 1]", "said.at", worlds.re_date),
    (Judge.holds, "and grant.expires > self.now", "", worlds.another_grant),
    (
        Judge.holds,
        "and any(covers(pattern, cohort) for pattern in grant.cohorts)",
        "",
        worlds.another_grant,
    ),
    (Judge.holds, "grant.role == role", "True", worlds.another_grant),
    (Judge.author_is, "or self.signer_key(opened) is None", "", worlds.forge),
    (Judge.author_is, "said.fleet != self.roster.fleet or ", "", worlds.of_another_fleet),
    # 4 and 5: by whose rule.
    (_Reading.judging_cohorts, "(mine,) if mine in named else named", "named", worlds.another_rule),
    (
        _Reading._opened_for,
        "rules.start if go.said.stage == 0 else rules.advance",
        "rules.advance",
        worlds.drop_a_paper,
    ),
    (_Reading._accepted_at, "rules.start", "{}", worlds.drop_a_paper),
    # 6 and 7: orders.
    (
        decide._authorised,
        "accepted_at(c.judge, c.papers, c.gateway.cohort) is None",
        "False",
        worlds.drop_a_paper,
    ),
    (_Reading._said_at, "and since <= self.judge.now", "", worlds.re_date),
    (decide._wanted, "c.order.said.product != c.gateway.product", "False", worlds.other_order),
    (decide._superseded, "seq < least", "False", worlds.another_roster),
    (decide._superseded, "seq < floor.order_seq", "False", worlds.another_floor),
    (decide._superseded, "seq == floor.order_seq and", "False and", worlds.another_floor),
    (
        decide._superseded,
        "replace(c.floors, order_seq=seq, order_id=c.order.id)",
        "c.floors",
        worlds.another_floor,
    ),
    # 8, 9 and 19: the target.
    (decide_target.permit_needed, 'order.said.kind != "recall" and', "False and", worlds.downhill),
    (decide_target.permit_needed, "counter >= gateway.release_floor", "True", worlds.downhill),
    (decide_target._permit, "permit.fleet == gateway.fleet\n", "True\n", worlds.downhill),
    (decide_target._permit, "and permit.product == gateway.product", "", worlds.downhill),
    (
        decide_target._permit,
        "and permit.from_sha256 == gateway.running_sha256",
        "",
        worlds.downhill,
    ),
    (decide_target._permit, "and permit.to_sha256 == wanted.sha256", "", worlds.downhill),
    (decide_target._permit, "gateway.device in permit.devices or", "True or", worlds.downhill),
    (decide_target._permit, "and permit.order == order.id", "", worlds.downhill),
    (decide_target._permit, "and permit.expires > now", "", worlds.downhill),
    (decide_target._permit, "and digest not in gateway.spent_permits", "", worlds.downhill),
    (
        decide_target.first_fit,
        "hardware not in image.hardware_ids",
        "False",
        worlds.two_targets,
    ),
    (decide_target.first_fit, "image.min_counter_installed <=", "0 <=", worlds.two_targets),
    # 10 and 11: stages.
    (_Reading._opened_for, '.gate == "auto"', '.gate == "never"', worlds.another_gate),
    (_Reading._opened_for, "(MONITOR,)", "(MONITOR, OPERATOR)", worlds.another_gate),
    (_Reading._said_at, "(OPERATOR,)", "(OPERATOR, MONITOR)", worlds.another_gate),
    (
        _Reading._opened_for,
        "max(since, go.said.opened_at, order_since)",
        "go.said.opened_at",
        worlds.re_date,
    ),
    (_Reading.openings, "go.said.opened_at < not_before", "False", worlds.another_opened_at),
    (_Reading.openings, "go.said.at > self.judge.now or", "", worlds.re_date),
    (_Reading.openings, "or go.said.opened_at > self.judge.now", "", worlds.another_opened_at),
    (_Reading.openings, "or go.said.stage != number", "", worlds.drop_a_go),
    (_Reading.openings, 'go.said.act != "open" or', "", worlds.drop_a_go),
    (
        chain.read_chain,
        "timedelta(seconds=stage.soak_seconds)",
        "timedelta(0)",
        worlds.another_opened_at,
    ),
    (_Reading.__init__, "if go.said.order == papers.order.id", "", worlds.of_another_order),
    (chain.first_stage, "cohort in stage.cohorts and", "", worlds.other_order),
    (placement.inside, "point_ < basis_points", "True", worlds.other_order),
    # 12 and 13: how long.
    (chain._lifetimes, "said.at >= until.get(said.stage, said.at)", "False", worlds.a_lapse),
    (chain._lifetimes, "role is None or ", "", worlds.another_renewer),
    (
        chain._lifetimes,
        "role == MONITOR and end > by_operator + MAX_GO",
        "False",
        worlds.a_monitor_alone,
    ),
    (chain._lifetimes, "end = min(end, by_operator + MAX_GO)", "pass", worlds.a_monitor_alone),
    (chain._lifetimes, "end = lapse\n", "pass\n", worlds.a_lapse),
    (
        chain._lifetimes,
        "(go.said.stage, go.said.renews, go.said.opened_at) in opened",
        "True",
        worlds.another_opened_at,
    ),
    (decide._go, "until is None or until <= c.now", "until is None", worlds.a_lapse),
    (decide._go, "chain.live_until(stage)", "chain.live_until(0)", worlds.another_end),
    # 15 and 16: stops.
    (
        _Reading.resume_counts,
        "self._said_at(go, rules.resume, cohort) is not None",
        "True",
        worlds.a_stop,
    ),
    (_Reading.resume_counts, "rules.resume", "{}", worlds.a_stop),
    (decide._not_stopped, "and stop.id not in over", "and False", worlds.a_stop),
    (decide._not_stopped, "(*c.floors.stops, *c.stops)", "c.stops", worlds.a_stop),
    (decide._not_stopped, "(*c.floors.stops, *c.stops)", "c.floor_was.stops", worlds.a_stop),
    (chain.applies, "stop_cohort in (None, cohort)", "stop_cohort is None", worlds.a_stop),
    (chain.applies, "site is None or stop_site == site", "site is None", worlds.a_stop),
    (chain.stop_roles, "*(rules.stop if rules is not None else ())", "", worlds.a_stop),
    (decide._learn_stops, "(*c.floors.stops, *c.stops)", "c.stops", worlds.a_stop),
    # Metadata, roster, cohort, fleet; both repositories.
    (decide._metadata, "item.expires <= c.now", "False", worlds.other_metadata),
    (decide._roster, "roster.fleet != c.gateway.fleet", "False", worlds.another_roster),
    (decide._roster, "roster.seq < c.floor_was.roster_seq", "False", worlds.another_floor),
    (decide._roster, "c.now >= roster.issued + MAX_ROSTER_AGE", "False", worlds.another_roster),
    (decide._cohort, "*c.trusted.director_cohorts, ", "", worlds.other_metadata),
    (decide._cohort, ", c.trusted.directive.cohort", "", worlds.other_metadata),
    (
        decide._cohort,
        "c.trusted.directive.fleet != c.gateway.fleet",
        "False",
        worlds.other_metadata,
    ),
    (
        decide._cohort,
        "c.judge.roster.rules_for(mine) is None",
        "False",
        worlds.a_cohort_that_nothing_covers,
    ),
    (decide._director, "c.trusted.director_delegates", "False", worlds.other_metadata),
    (decide._director, "if extra:", "if False:", worlds.other_metadata),
    (
        decide_target.disagreement,
        "(wanted.length, wanted.sha256)",
        "(image.length, image.hashes.get('sha256'))",
        worlds.other_metadata,
    ),
    (
        decide_target.disagreement,
        "director is None or (director.length, dict(director.hashes)) !=",
        "None ==",
        worlds.other_metadata,
    ),
    (decide_target.permit_needed, "image.product != gateway.product", "False", worlds.other_facts),
    (
        decide_target.permit_needed,
        "gateway.market not in image.markets",
        "False",
        worlds.other_facts,
    ),
    (decide_target.rolled_back_here, "in gateway.rolled_back", "in ()", worlds.another_gateway),
    (
        decide._not_installed,
        "c.wanted.sha256 == c.gateway.running_sha256",
        "False",
        worlds.another_gateway,
    ),
    (decide._in_time, "c.now >= c.order.said.expires", "False", worlds.other_order),
    # This place.
    (decide_here.no_space, "local.free_bytes < needed", "False", worlds.other_local_answers),
    (decide_here.held, "local.hold is not None", "False", worlds.other_local_answers),
    (
        decide_here.outside_window,
        "_since(window, second) >= _length(window)",
        "False",
        worlds.other_local_answers,
    ),
    (decide_here.not_my_turn, "elapsed < turn", "False", worlds.other_order),
    (
        decide_here.slot_differs,
        "local.slot_digests.get(slot.name) != slot.sha256",
        "False",
        worlds.other_local_answers,
    ),
    (
        decide_here.not_safe,
        "None if answer.clear else",
        "None if True else",
        worlds.other_local_answers,
    ),
    (
        decide_here.not_safe,
        "if answer is None:\n",
        "if answer is None:\n        return None\n",
        worlds.other_local_answers,
    ),
)


def found(row: Row) -> list[str]:
    """The rules that the first two telling decisions break; empty if none tells."""
    function, old, new, first = row
    told: list[list[str]] = []
    with mutated(function, old, new):
        for seed in range(SEEDS):
            drawn, phase = seeded(seed, first)
            names = broken(drawn, drawn.decide(phase), phase)
            told += [names] if names else []
            if len(told) == 2:
                break
    return [name for names in told for name in names]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify each signature once: no row changes a key."""
    verify = SSlibKey.verify_signature

    @functools.cache
    def verifies(public: str, key: SSlibKey, signature: str, data: bytes) -> bool:
        try:
            verify(key, Signature(key.keyid, signature), data)
        except UnverifiedSignatureError:
            return False
        return True

    def remembered(key: SSlibKey, signature: Signature, data: bytes) -> None:
        if not verifies(key.keyval["public"], key, signature.signature, data):
            raise UnverifiedSignatureError

    monkeypatch.setattr(SSlibKey, "verify_signature", remembered)


def test_every_rule_is_missed_when_it_is_gone(quick: None) -> None:
    told = Counter[str]()
    untold = []
    for row in WITHOUT:
        names = found(row)
        told.update(names)
        if not names:
            untold.append((row[0].__qualname__, row[1]))
    assert untold == []
    assert {rule.__name__ for rule in (*OF_ANY, *OF_A_GRANT)} == set(told)
