"""Random worlds for ``decide``: an honest rollout, and what an attacker or a mistake makes of it.

A world is drawn from one ``random.Random`` (hypothesis' own, or a seeded one), in two steps:

1. a *draft* of an honest rollout: people, rules, an order of one to three stages, and what was
   signed about it until now, by name and not yet signed;
2. up to three *changes*: papers forged, dropped, replayed, re-dated or signed by somebody else,
   grants that expired, facts, floors, clocks and local answers that differ.

The draft is signed at the end, so that a changed paper is one that its author did sign. The world
is small on purpose: few people, few cohorts, times on a grid of half days.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import msgspec

from interlock_core.facts import Expiry, InterlockAnswer, KnownStop, TargetInfo
from interlock_core.order import Authorisation, Go, Order, Stage, Stop, Target, Window
from interlock_core.placement import point
from interlock_core.release import Image, Permit
from interlock_core.roster import CohortRules, Person, Roster
from interlock_core.statement import Opened
from tests.support import papers
from tests.support.decisions import GATEWAY, LOCAL, NEW, NO_FLOORS, World, image, trusted
from tests.support.papers import days, digest, hours, stage, target
from tests.support.people import CANARY, DAY0, FAR, ST_ANNA, ST_BERT, grant, person, rules

HALF: Final = hours(12)
OTHER: Final = target("1.9.0")
DEVICES: Final = ("GW-0001", "GW-0002", "GW-0003", "GW-0007")
MY_COHORTS: Final = (CANARY, ST_ANNA)
NAMES: Final = ("olga", "omar", "ada", "alan", "hanna", "mona", "eve")
FORGED: Final = "a signature by Eve under the author's key id"
ROLES: Final = ("operator", "approver", "hospital", "monitor")
SHIFTS: Final = tuple(n * HALF for n in (-80, -20, -14, -6, -2, -1, 1, 2, 6, 14, 20, 50))

Rule = dict[str, int]
ONE: Final[Rule] = {"approver": 1}
TWO: Final[Rule] = {"approver": 2}
BOTH: Final[Rule] = {"approver": 1, "hospital": 1}


@dataclass
class Draft:
    """A paper before it is signed: who says what, about which other draft."""

    kind: type[Order | Authorisation | Go | Stop]
    by: str
    fields: dict[str, Any]
    about: Draft | None = None
    renews: Draft | None = None
    clears: list[Draft] = field(default_factory=list)
    key: str | None = None

    def signed(self) -> Opened[Any]:
        made = {"fleet": "north", "author": self.by, "reason": "so", **self.fields}
        if self.about is not None:
            made["id" if self.kind is Authorisation else "order"] = self.about.signed().id
        if self.kind is Go:
            made["renews"] = self.renews.signed().id if self.renews is not None else None
            made["clears"] = tuple({stop.signed().id: None for stop in self.clears})
        return _signed(self.kind(**made), self.key)


@cache
def _signed(said: Any, key: str | None) -> Opened[Any]:
    if key != FORGED:
        return papers.signed(said, key)
    forged, true = papers.signed(said, "eve"), papers.signed(said)
    [signature], [claimed] = forged.envelope.signatures, true.envelope.signatures
    signature = msgspec.structs.replace(signature, keyid=claimed.keyid)
    return replace(
        forged, envelope=msgspec.structs.replace(forged.envelope, signatures=(signature,))
    )


@dataclass
class Rollout:
    """A world in the making."""

    order: Draft
    shown: list[Draft]
    persons: dict[str, Person]
    rules: dict[str, CohortRules]
    now: datetime
    device: str
    cohort: str
    facts: dict[str, Image]
    recorded: list[Draft] = field(default_factory=list)
    roster: dict[str, Any] = field(default_factory=dict)
    gateway: dict[str, Any] = field(default_factory=dict)
    local: dict[str, Any] = field(default_factory=dict)
    floors: dict[str, Any] = field(default_factory=dict)
    trusted: dict[str, Any] = field(default_factory=dict)
    permits: list[Callable[[str], Permit]] = field(default_factory=list)

    def drafts(self, *kinds: type[Any]) -> list[Draft]:
        return [draft for draft in self.shown if draft.kind in kinds]

    def build(self) -> World:
        order = self.order.signed()
        seen: dict[str, Opened[Any]] = {}
        for draft in self.shown:
            opened = draft.signed()
            seen[f"{opened.id} {draft.key}"] = opened
        roster = papers_roster(
            tuple(self.persons.values()), tuple(self.rules.values()), **self.roster
        )
        said = dict(self.trusted)
        cohort, fleet = said.pop("cohort", self.cohort), said.pop("fleet", "north")
        facts = trusted(order, seen.values(), images=self.facts, roster=roster, cohort=cohort)
        facts = replace(
            facts,
            directive=msgspec.structs.replace(facts.directive, fleet=fleet),
            permits={digest(f"permit {n}"): p(order.id) for n, p in enumerate(self.permits)},
            **said,
        )
        stops = tuple(_known(draft.signed()) for draft in self.recorded)
        return World(
            trusted=facts,
            gateway=replace(
                GATEWAY, **{"device": self.device, "cohort": self.cohort} | self.gateway
            ),
            floors=replace(NO_FLOORS, stops=stops, **self.floors),
            local=replace(LOCAL, **self.local),
            now=self.now,
        )


def papers_roster(
    persons: tuple[Person, ...], cohort_rules: tuple[CohortRules, ...], **fields: Any
) -> Roster:
    made: dict[str, Any] = {
        "fleet": "north",
        "seq": 3,
        "issued": DAY0 - days(1),
        "min_order_seq": {},
        "persons": persons,
        "rules": cohort_rules,
    }
    return Roster(**made | fields)


def _known(stop: Opened[Stop]) -> KnownStop:
    said = stop.said
    return KnownStop(stop.id, said.order, said.cohort, said.site, said.author)


# --- the honest rollout ---------------------------------------------------------------------------

LAYOUTS: Final[tuple[tuple[Stage, ...], ...]] = (
    (stage(CANARY, ST_ANNA),),
    (stage(CANARY), stage(CANARY, ST_ANNA)),
    (stage(CANARY, share=5_000), stage(CANARY, ST_ANNA, gate="auto")),
    (stage(ST_BERT), stage(CANARY, ST_ANNA, gate="auto", soak=days(2)), stage(CANARY, ST_ANNA)),
    (stage(ST_BERT, gate="manual"), stage(CANARY, ST_ANNA, share=5_000), stage(CANARY, ST_ANNA)),
    (stage(CANARY, ST_BERT, share=5_000, soak=days(2)), stage(CANARY, ST_ANNA, ST_BERT)),
)
RULE_SETS: Final[tuple[tuple[CohortRules, ...], ...]] = tuple(
    (
        rules("*", start=start, advance=advance, resume=resume),
        rules("st-*", start=hospital, advance=hospital, resume=hospital, stop=("hospital",)),
        rules(ST_BERT, start={}, advance={}, resume={}),
    )
    for start, advance, resume, hospital in (
        (ONE, ONE, ONE, BOTH),
        (TWO, ONE, TWO, BOTH),
        (ONE, {}, TWO, ONE),
        (BOTH, {}, ONE, TWO),
    )
)


def _people() -> dict[str, Person]:
    """Olga may approve as well, and Ada speak for a hospital; both have two keys."""
    everybody = (
        person("olga", grant("operator"), grant("approver"), keys=("olga", "olga-2")),
        person("omar", grant("operator")),
        person("ada", grant("approver"), grant("hospital"), keys=("ada", "ada-2")),
        person("alan", grant("approver")),
        person("hanna", grant("hospital", ST_ANNA, CANARY)),
        person("mona", grant("monitor")),
    )
    return {one.name: one for one in everybody}


def _authorisations(rng: random.Random, about: Draft, rule_of: Mapping[str, Rule]) -> list[Draft]:
    """What meets the rule of every one of these cohorts."""
    asked: Rule = {}
    for rule in rule_of.values():
        for role, count in rule.items():
            asked[role] = max(asked.get(role, 0), count)
    by_role = {"approver": ["ada", "alan", "omar"], "hospital": ["hanna"]}
    late = rng.choice((timedelta(0), timedelta(0), HALF))
    return [
        _authorise(about, by_role[role][seat], role, at=about.fields["at"] + late)
        for role, count in sorted(asked.items())
        for seat in range(count)
    ]


def _authorise(about: Draft, by: str, role: str, **fields: Any) -> Draft:
    made = {
        "at": about.fields["at"],
        "authorises": about.kind.__name__.lower(),
        "role": role,
        "meaning": "approved",
    }
    return Draft(Authorisation, by, made | fields, about=about)


def _go(order: Draft, number: int, act: str, by: str, at: datetime, **fields: Any) -> Draft:
    made = {
        "at": at,
        "stage": number,
        "act": act,
        "opened_at": at,
        "valid_until": at + days(7),
        "seq": 1,
    }
    return Draft(Go, by, made | fields, about=order)


def _order(
    seq: int, stages: tuple[Stage, ...], targets: tuple[Target, ...], **fields: Any
) -> Draft:
    made = papers.order(seq=seq, stages=stages, targets=targets, abort=()).said
    kept = {name: getattr(made, name) for name in made.__struct_fields__ if name != "author"}
    return Draft(Order, "olga", kept | fields)


def honest(rng: random.Random) -> Rollout:
    """A rollout that has come to this device's stage."""
    rule_set = rng.choice(RULE_SETS)
    cohort = rng.choice(MY_COHORTS)
    device = rng.choice(DEVICES)
    stages = rng.choice(LAYOUTS)
    order = _order(rng.choice((4, 5)), stages, (NEW,))
    by_pattern = {one.pattern: one for one in rule_set}

    def rules_for(name: str) -> CohortRules:
        return by_pattern.get(name) or by_pattern["st-*" if name.startswith("st-") else "*"]

    everyone = tuple({name: None for each in stages for name in each.cohorts})
    shown = _authorisations(rng, order, {name: rules_for(name).start for name in everyone})
    settled = max([DAY0, *(draft.fields["at"] for draft in shown)])
    at, last = settled, order
    mine = next(
        number
        for number, each in enumerate(stages)
        if cohort in each.cohorts and point(NEW.sha256, device) < each.basis_points
    )
    top = rng.randrange(mine, len(stages))
    for number in range(top + 1):
        auto = stages[number].gate == "auto"
        last = _go(order, number, "open", "mona" if auto else "olga", at)
        shown.append(last)
        words: list[Draft] = []
        if not auto:
            act = "start" if number == 0 else "advance"
            asked = {name: getattr(rules_for(name), act) for name in stages[number].cohorts}
            words = _authorisations(rng, last, asked)
        shown += words
        settled = max([at, *(draft.fields["at"] for draft in words)])
        at = settled + timedelta(seconds=stages[number].soak_seconds) + rng.choice((0, 0, 1)) * HALF
    now = settled + rng.choice((1, 2, 5, 20, 60)) * HALF
    _renew(rng, shown, last, now)
    made = Rollout(
        order=order,
        shown=shown,
        persons=_people(),
        rules={one.pattern: one for one in rule_set},
        now=now,
        device=device,
        cohort=cohort,
        facts={NEW.path: image(NEW), OTHER.path: image(OTHER, counter=19)},
    )
    made.roster["issued"] = now - days(rng.choice((1, 1, 34)))
    if rng.random() < 0.3:
        _stop_and_resume(rng, made, rules_for(cohort), top)
    return made


def _renew(rng: random.Random, shown: list[Draft], opening: Draft, now: datetime) -> None:
    """Keep an opening alive until ``now``, by the monitor or an operator."""
    alive = opening.fields["valid_until"]
    by_operator = max(go.fields["at"] for go in shown if go.kind is Go and go.by == "olga")
    while alive <= now:
        at, end = alive - HALF, alive - HALF + days(rng.choice((7, 14)))
        by = "olga" if end > by_operator + days(30) else rng.choice(("mona", "olga"))
        by_operator = at if by == "olga" else by_operator
        renewal = _go(
            opening.about or opening,
            opening.fields["stage"],
            "renew",
            by,
            at,
            opened_at=opening.fields["opened_at"],
            valid_until=end,
        )
        renewal.renews = opening
        shown.append(renewal)
        alive = end


def _stop_and_resume(rng: random.Random, r: Rollout, mine: CohortRules, top: int) -> None:
    stop = Draft(Stop, rng.choice(("omar", "mona")), {"at": DAY0, "cohort": None, "site": None})
    stop.about = r.order
    resume = _go(r.order, top, "resume", "olga", r.now - HALF)
    resume.clears = [stop]
    r.shown += [stop, resume]
    r.shown += _authorisations(rng, resume, {r.cohort: mine.resume})
    for draft in r.shown[-3:]:
        draft.fields["at"] = min(draft.fields["at"], r.now)
    if rng.random() < 0.5:
        r.recorded.append(stop)


# --- changes --------------------------------------------------------------------------------------

Change = Callable[[random.Random, Rollout], None]
CHANGES: list[Change] = []


def change(made: Change) -> Change:
    CHANGES.append(made)
    return made


def _one(rng: random.Random, r: Rollout, *kinds: type[Any]) -> Draft:
    """A paper that was shown, of these kinds; the order itself if there is none."""
    among = r.drafts(*kinds) if kinds else r.shown
    return rng.choice(among) if among else r.order


@change
def drop_a_paper(rng: random.Random, r: Rollout) -> None:
    if r.shown:
        r.shown.remove(rng.choice(r.shown))


@change
def drop_a_go(rng: random.Random, r: Rollout) -> None:
    goes = r.drafts(Go)
    if goes:
        r.shown.remove(rng.choice(goes))


@change
def forge(rng: random.Random, r: Rollout) -> None:
    """Somebody else signs, or claims to be the author's key."""
    rng.choice([r.order, _one(rng, r)]).key = rng.choice((FORGED, FORGED, *NAMES))


@change
def another_author(rng: random.Random, r: Rollout) -> None:
    rng.choice([r.order, _one(rng, r), _one(rng, r, Go)]).by = rng.choice(NAMES)


@change
def another_renewer(rng: random.Random, r: Rollout) -> None:
    renewals = [go for go in r.drafts(Go) if go.fields["act"] == "renew"]
    if renewals:
        rng.choice(renewals).by = rng.choice(NAMES)


@change
def another_gate(rng: random.Random, r: Rollout) -> None:
    """The order asks for another hand than the one that opened the stage."""
    stages = list(r.order.fields["stages"])
    if len(stages) > 1:
        number = rng.randrange(1, len(stages))
        gate = "manual" if stages[number].gate == "auto" else "auto"
        stages[number] = msgspec.structs.replace(stages[number], gate=gate)
        r.order.fields["stages"] = tuple(stages)


@change
def authorise_oneself(rng: random.Random, r: Rollout) -> None:
    word = _one(rng, r, Authorisation)
    if word.about is not None:
        word.by = word.about.by
        word.key = rng.choice((word.by, f"{word.by}-2"))


@change
def authorise_twice(rng: random.Random, r: Rollout) -> None:
    """Instead of two people, one: with a second key, or in a second role."""
    words = [w for w in r.drafts(Authorisation) if w.by in {"alan", "hanna"}]
    if words:
        word = rng.choice(words)
        word.by, word.key = "ada", rng.choice(("ada", "ada-2"))
        word.fields["reason"] = "once more"


@change
def another_word(rng: random.Random, r: Rollout) -> None:
    word = _one(rng, r, Authorisation)
    if word.kind is Authorisation:
        word.fields |= rng.choice(
            (
                {"meaning": "reviewed"},
                {"meaning": "reviewed"},
                {"role": rng.choice(ROLES)},
                {"authorises": rng.choice(("order", "go"))},
                {"fleet": "south"},
            )
        )


@change
def replay_a_word(rng: random.Random, r: Rollout) -> None:
    """A word about one paper is shown for another."""
    word = _one(rng, r, Authorisation)
    if word.kind is Authorisation:
        word.about = rng.choice([r.order, _one(rng, r, Go), _order(3, LAYOUTS[0], (NEW,))])


@change
def re_date(rng: random.Random, r: Rollout) -> None:
    paper = rng.choice([_one(rng, r), _one(rng, r, Go), _one(rng, r, Authorisation), r.order])
    shift = rng.choice(SHIFTS)
    paper.fields["at"] += shift
    if paper.kind is Go:
        paper.fields["valid_until"] += shift
        if rng.random() < 0.7:
            paper.fields["opened_at"] += shift


@change
def another_opened_at(rng: random.Random, r: Rollout) -> None:
    paper = _one(rng, r, Go)
    if paper.kind is Go:
        paper.fields["opened_at"] += rng.choice(SHIFTS)


@change
def another_end(rng: random.Random, r: Rollout) -> None:
    paper = _one(rng, r, Go)
    if paper.kind is Go:
        paper.fields["valid_until"] = paper.fields["at"] + rng.choice((1, 4, 14, 60)) * HALF


@change
def another_stage(rng: random.Random, r: Rollout) -> None:
    paper = _one(rng, r, Go)
    if paper.kind is Go:
        paper.fields["stage"] = rng.randrange(3)


@change
def of_another_fleet(rng: random.Random, r: Rollout) -> None:
    rng.choice([r.order, _one(rng, r)]).fields["fleet"] = "south"


@change
def of_another_order(rng: random.Random, r: Rollout) -> None:
    """A genuine paper about another order of the same people."""
    paper = _one(rng, r, Go, Stop)
    if paper.kind is not Order:
        paper.about = _order(3, LAYOUTS[1], (NEW,))


@change
def a_stop(rng: random.Random, r: Rollout) -> None:
    stop = Draft(
        Stop,
        rng.choice(("omar", "mona", "hanna", "ada", "eve")),
        {
            "at": r.now - HALF,
            "cohort": rng.choice((None, None, CANARY, ST_ANNA)),
            "site": rng.choice((None, None, "ward-7", "ward-8")),
        },
        about=rng.choice((r.order, r.order, _order(3, LAYOUTS[1], (NEW,)))),
    )
    where = rng.randrange(3)
    if where != 0:
        r.shown.append(stop)
    if where != 1 and stop.by in {"omar", "mona"}:
        r.recorded.append(stop)
    if rng.random() < 0.4:
        resume = _go(r.order, 0, "resume", rng.choice(("omar", "mona", "hanna")), r.now - HALF)
        resume.clears = [stop]
        r.shown.append(resume)
        if rng.random() < 0.5:
            r.shown.append(_authorise(resume, rng.choice(("ada", "hanna")), rng.choice(ROLES)))


@change
def a_lapse(rng: random.Random, r: Rollout) -> None:
    """Time goes by; then somebody alone shows something new to go on with."""
    goes = r.drafts(Go)
    if not goes:
        return
    r.now = max(go.fields["valid_until"] for go in goes) + rng.choice((1, 2, 10, 80)) * HALF
    r.roster["issued"] = r.now - days(1)
    at, first = r.now - HALF, rng.choice(goes)
    act = rng.choice(("open", "renew", "renew", "resume"))
    number = rng.choice((first.fields["stage"], first.fields["stage"] + 1))
    by = rng.choice(("mona", "omar", "olga"))
    new = _go(r.order, number, act, by, at, opened_at=rng.choice((at, first.fields["opened_at"])))
    new.renews = first if act == "renew" else None
    if rng.random() < 0.3:
        new.fields["valid_until"] = at + days(30)
    r.shown.append(new)
    if rng.random() < 0.4:
        r.shown += [_authorise(new, "ada", "approver"), _authorise(new, "alan", "approver")]


@change
def a_monitor_alone(rng: random.Random, r: Rollout) -> None:
    """Nobody but the monitor renews, or opens again, for a long time."""
    goes = [go for go in r.drafts(Go) if go.fields["act"] == "open"]
    if not goes:
        return
    r.shown = [d for d in r.shown if not (d.kind is Go and d.fields["act"] != "open")]
    last = goes[-1]
    alive = last.fields["valid_until"]
    act = rng.choice(("renew", "open"))
    for _ in range(rng.choice((1, 4, 5))):
        more = _go(r.order, last.fields["stage"], act, "mona", alive - HALF)
        more.fields["opened_at"] = last.fields["opened_at"]
        more.renews = last if act == "renew" else None
        r.shown.append(more)
        alive = more.fields["valid_until"]
    r.now = alive - HALF
    r.roster["issued"] = r.now - days(1)


@change
def somebody_left(rng: random.Random, r: Rollout) -> None:
    del r.persons[rng.choice(sorted(r.persons))]


@change
def another_grant(rng: random.Random, r: Rollout) -> None:
    name = rng.choice(sorted(r.persons))
    options: tuple[dict[str, Any], ...] = (
        {"expires": r.now},
        {"expires": r.now - HALF},
        {"expires": FAR},
        {"cohorts": (ST_BERT,)},
        {"cohorts": ("st-*",)},
        {"cohorts": (CANARY,)},
        {"role": rng.choice(ROLES[:3])},
    )
    changed = rng.choice(options)
    old = r.persons[name]
    if "role" in changed and name == "mona":
        return
    which = rng.randrange(len(old.grants))
    grants = list(old.grants)
    grants[which] = msgspec.structs.replace(grants[which], **changed)
    r.persons[name] = Person(name=name, keys=old.keys, grants=tuple(grants))


@change
def keys_were_replaced(rng: random.Random, r: Rollout) -> None:
    name = rng.choice(sorted(r.persons))
    r.persons[name] = person(name, *r.persons[name].grants, keys=(f"{name}-new",))


@change
def another_rule(rng: random.Random, r: Rollout) -> None:
    pattern = rng.choice(("*", "st-*", ST_ANNA, CANARY))
    rule = rng.choice((TWO, BOTH, ONE, {"approver": 3}, {}))
    r.rules[pattern] = rules(pattern, start=rule, advance=rule, resume=rule)


@change
def another_roster(rng: random.Random, r: Rollout) -> None:
    r.roster |= rng.choice(
        (
            {"issued": r.now - days(35)},
            {"issued": r.now - days(40)},
            {"fleet": "south"},
            {"min_order_seq": {"gateway": rng.choice((4, 5, 6))}},
        )
    )


@change
def a_cohort_that_nothing_covers(rng: random.Random, r: Rollout) -> None:
    if rng.random() < 0.5:
        r.rules.pop("*", None)
    else:
        r.rules.pop("st-*", None)
    r.rules[ST_BERT] = rules(ST_BERT)


@change
def another_gateway(rng: random.Random, r: Rollout) -> None:
    r.gateway |= rng.choice(
        (
            {"hardware": "cm5"},
            {"market": "US"},
            {"product": "pump"},
            {"fleet": "south"},
            {"cohort": ST_BERT},
            {"cohort": CANARY},
            {"running_counter": 30},
            {"running_counter": 20},
            {"release_floor": 21},
            {"running_sha256": NEW.sha256},
            {"device": rng.choice(DEVICES)},
            {"rolled_back": frozenset({(r.order.signed().id, NEW.sha256)})},
            {"rolled_back": frozenset({(r.order.signed().id, OTHER.sha256)})},
        )
    )


@change
def another_floor(rng: random.Random, r: Rollout) -> None:
    seq = r.order.fields["seq"]
    r.floors |= rng.choice(
        (
            {"order_seq": seq + 1, "order_id": digest("newer")},
            {"order_seq": seq, "order_id": digest("another")},
            {"order_seq": seq, "order_id": r.order.signed().id},
            {"order_seq": seq - 1, "order_id": digest("older")},
            {"roster_seq": 4},
            {"roster_seq": 3},
        )
    )


@change
def other_metadata(rng: random.Random, r: Rollout) -> None:
    mine = r.cohort
    wrong = TargetInfo(NEW.length, {"sha256": digest("other bytes")})
    more = TargetInfo(NEW.length, {"sha256": NEW.sha256, "sha512": 128 * "0"})
    longer = TargetInfo(NEW.length + 1, {"sha256": NEW.sha256})
    right = TargetInfo(NEW.length, {"sha256": NEW.sha256})
    listed = {"directive.json": right}
    r.trusted |= rng.choice(
        (
            {"expiries": (Expiry("image/timestamp", r.now),)},
            {"expiries": (Expiry("director/targets", r.now - HALF),)},
            {"cohort": ST_BERT},
            {"cohort": ST_BERT, "director_cohorts": (mine, mine, mine)},
            {"fleet": "south"},
            {"director_cohorts": (mine, mine, None)},
            {"director_cohorts": (ST_BERT, mine, mine)},
            {"director_delegates": True},
            {"director_targets": listed},
            {"director_targets": listed | {NEW.path: right, OTHER.path: right}},
            {"director_targets": listed | {NEW.path: wrong}},
            {"director_targets": listed | {NEW.path: more}},
            {"director_targets": listed | {NEW.path: longer}},
            {"image_targets": {NEW.path: wrong}},
            {"image_targets": {NEW.path: longer}},
            {"image_targets": {NEW.path: wrong}, "director_targets": listed | {NEW.path: wrong}},
            {"image_targets": {NEW.path: longer}, "director_targets": listed | {NEW.path: longer}},
        )
    )


@change
def other_facts(rng: random.Random, r: Rollout) -> None:
    fields = rng.choice(
        (
            {"hardware_ids": ("cm5",)},
            {"markets": ("US",)},
            {"release_counter": 4},
            {"release_counter": 9},
            {"min_counter_installed": 10},
            {"min_counter_installed": 11},
            {"product": "pump"},
        )
    )
    r.facts[NEW.path] = image(NEW, **{"counter": 20} | _renamed(fields))


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {{"release_counter": "counter"}.get(name, name): v for name, v in fields.items()}


@change
def two_targets(rng: random.Random, r: Rollout) -> None:
    r.order.fields["targets"] = rng.choice(((OTHER, NEW), (NEW, OTHER)))
    if rng.random() < 0.5:
        other_facts(rng, r)
    r.facts[OTHER.path] = rng.choice(
        (image(OTHER, counter=19), image(OTHER, counter=19, hardware_ids=("cm5",)))
    )


@change
def other_order(rng: random.Random, r: Rollout) -> None:
    r.order.fields |= rng.choice(
        (
            {"kind": "recall"},
            {"kind": "baseline"},
            {"expires": r.now},
            {"expires": r.now + HALF},
            {"not_before": r.now + HALF, "expires": r.now + days(9)},
            {"product": "pump", "targets": (target(product="pump"),)},
            {"stages": rng.choice(LAYOUTS)},
            {"spread_seconds": rng.choice((3_600, 90 * 86_400))},
            {"window": Window(opens="19:00", closes="21:00")},
            {"window": Window(opens="22:00", closes="06:00")},
        )
    )


@change
def downhill(rng: random.Random, r: Rollout) -> None:
    """An older image, under any kind of order, with permits that fit more or less."""
    r.facts[NEW.path] = image(NEW, counter=rng.choice((4, 9)))
    r.order.fields["kind"] = rng.choice(("recall", "recall", "recall", "update", "baseline"))
    if rng.random() < 0.3:
        r.gateway["spent_permits"] = frozenset({digest("permit 0")})
    for _ in range(rng.choice((0, 1, 1))):
        fields = {
            "fleet": "north",
            "product": "gateway",
            "from_sha256": GATEWAY.running_sha256,
            "to_sha256": NEW.sha256,
            "devices": (r.device,),
            "cohorts": (),
            "expires": r.now + days(1),
        } | rng.choice(
            (
                {},
                {"fleet": "south"},
                {"product": "pump"},
                {"from_sha256": digest("another")},
                {"to_sha256": digest("another")},
                {"devices": ("GW-9999",)},
                {"devices": (), "cohorts": (r.cohort,)},
                {"expires": r.now},
                {"order": digest("another order")},
            )
        )
        r.permits.append(lambda id_, f=fields: Permit(**{"order": id_} | f))  # type: ignore[misc]


@change
def other_local_answers(rng: random.Random, r: Rollout) -> None:
    r.local |= rng.choice(
        (
            {"hold": "surgery"},
            {"window": Window(opens="19:00", closes="21:00")},
            {"window": Window(opens="22:00", closes="06:00")},
            {"window": Window(opens="22:00", closes="06:00"), "utc_offset": hours(-9)},
            {"interlock": None},
            {"interlock": InterlockAnswer(clear=False, detail="in use")},
            {"slot_digests": {"rootfs": digest("half written")}},
            {"slot_digests": {}},
            {"free_bytes": NEW.length - 1},
            {"free_bytes": 10, "needed_bytes": 10},
        )
    )


@change
def another_time(rng: random.Random, r: Rollout) -> None:
    r.now += rng.choice(SHIFTS)


def world(rng: random.Random, first: Change | None = None) -> World:
    """An honest world, changed up to three times; ``first`` and at most once more, if given."""
    while True:
        rollout = honest(rng)
        more = rng.choice((0, 1, 1, 1, 2, 2, 3) if first is None else (0, 0, 1))
        changes = [*([first] if first else ()), *(rng.choice(CHANGES) for _ in range(more))]
        try:
            for one in changes:
                one(rng, rollout)
            return rollout.build()
        except ValueError:
            # Such a paper cannot be made: its form is refused before anybody signs it.
            continue
