"""The rules of signed statements as predicates on a decision: who would object to this grant?

Written from the rules as people read them (``docs/wire-format.md``, "Who is believed", and the
same numbers here), not from the code that decides: statements are read with ``json``, signatures
checked with ``cryptography``, and where the rules leave a choice (which authorisation counts, which
opening) a predicate asks only that some choice keeps the rule. So a predicate never asks for more
than its rule says, and a grant that breaks one is wrong.

Each predicate takes a ``World`` and its ``Decision`` and returns whether the rule is kept. Those of
``OF_A_GRANT`` speak about grants alone, those of ``OF_ANY`` about every decision.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from interlock_core.facts import Decision, Grant, Phase
from interlock_core.roster import CohortRules, Person
from interlock_core.statement import Envelope
from tests.support.decisions import World

LONGEST: Final = timedelta(days=30)
COUNTING: Final = ("approved", "consented")


@dataclass(frozen=True)
class Paper:
    """A statement as it stands in an envelope."""

    envelope: Envelope

    @cached_property
    def payload(self) -> bytes:
        return base64.b64decode(self.envelope.payload)

    @cached_property
    def said(self) -> Any:
        return json.loads(self.payload)["predicate"]

    @cached_property
    def id(self) -> str:
        return hashlib.sha256(self.payload).hexdigest()

    @property
    def at(self) -> datetime:
        return time(self.said["at"])

    def keys_that_signed(self, keys: Iterable[str]) -> set[str]:
        """Which of these Ed25519 keys (hexadecimal) made one of the signatures."""
        raw = frozenset(base64.b64decode(one.sig) for one in self.envelope.signatures)
        return {key for key in keys if verifies(key, raw, self.payload)}


def time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


@cache
def verifies(key: str, signatures: frozenset[bytes], payload: bytes) -> bool:
    kind = b"application/vnd.in-toto+json"
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    for signature in signatures:
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, signed)
        except InvalidSignature:
            continue
        return True
    return False


@cache
def paper(envelope: Envelope) -> Paper:
    return Paper(envelope)


@dataclass(frozen=True)
class Case:
    """A decision with what was shown for it, read once."""

    world: World
    decision: Decision
    phase: Phase

    @cached_property
    def grant(self) -> Grant:
        assert isinstance(self.decision.verdict, Grant)
        return self.decision.verdict

    @property
    def now(self) -> datetime:
        return self.world.now

    @property
    def mine(self) -> str:
        return self.world.gateway.cohort

    @cached_property
    def persons(self) -> Mapping[str, Person]:
        return {person.name: person for person in self.world.trusted.roster.persons}

    @cached_property
    def _shown(self) -> Any:
        return self.world.trusted.directive.products.get(self.world.gateway.product)

    def papers(self, field: str) -> list[Paper]:
        return [paper(envelope) for envelope in getattr(self._shown, field)] if self._shown else []

    @cached_property
    def order(self) -> Paper:
        return paper(self._shown.order)

    @cached_property
    def goes(self) -> list[Paper]:
        return [go for go in self.papers("chain") if go.said["order"] == self.order.id]

    @cached_property
    def stages(self) -> Sequence[Mapping[str, Any]]:
        stages: Sequence[Mapping[str, Any]] = self.order.said["stages"]
        return stages

    def rules(self, cohort: str) -> CohortRules | None:
        """The rules of the most specific pattern that covers ``cohort``."""
        best: CohortRules | None = None
        for rules in self.world.trusted.roster.rules:
            stem, star = rules.pattern.removesuffix("*"), rules.pattern.endswith("*")
            if cohort == rules.pattern:
                return rules
            if (
                star
                and cohort[: len(stem)] == stem
                and len(stem) >= len(best.pattern if best else "")
            ):
                best = rules
        return best

    def signed(self, said: Paper) -> set[str]:
        """The keys of its author, by the current roster, with which he signed it."""
        author = self.persons.get(said.said["author"])
        if author is None or said.said["fleet"] != self.world.gateway.fleet:
            return set()
        return said.keys_that_signed(key.keyval.public for key in author.keys)

    def holds(self, name: str, role: str, cohort: str, site: str | None = None) -> bool:
        person = self.persons.get(name)
        grants = person.grants if person else ()
        return any(
            grant.role == role
            and self.now < grant.expires
            and (not grant.sites or site in grant.sites)
            and any(
                cohort == p or (p.endswith("*") and cohort.startswith(p.rstrip("*")))
                for p in grant.cohorts
            )
            for grant in grants
        )

    def author_holds(
        self, said: Paper, roles: Iterable[str], cohort: str, site: str | None = None
    ) -> bool:
        return bool(self.signed(said)) and any(
            self.holds(said.said["author"], role, cohort, site) for role in roles
        )

    def met_at(
        self, subject: Paper, rule: Mapping[str, int], cohort: str, *, relaxed: str = ""
    ) -> datetime | None:
        """The earliest time by which others had authorised ``subject`` as ``rule`` asks.

        ``relaxed`` names what is let pass: ``others`` (who, and in which meaning: rule 2) and
        ``roster`` (who holds what: rule 3).
        """
        words = [
            word
            for word in self.papers("authorisations")
            if word.said["id"] == subject.id
            and word.at <= self.now
            and self.signed(word)
            and (
                "others" in relaxed
                or (
                    word.said["author"] != subject.said["author"]
                    and word.said["meaning"] in COUNTING
                )
            )
            and ("roster" in relaxed or self.holds(word.said["author"], word.said["role"], cohort))
        ]
        if not rule:
            return subject.at
        own = set() if "others" in relaxed else self.signed(subject)
        for end in sorted({word.at for word in words}):
            if self._seats([w for w in words if w.at <= end], rule, own):
                return max(end, subject.at)
        return None

    def _seats(self, words: Sequence[Paper], rule: Mapping[str, int], taken: set[str]) -> bool:
        """Whether distinct persons with distinct keys can take every seat that the rule has (1)."""
        seats = [role for role, count in sorted(rule.items()) for _ in range(count)]

        def fill(seat: int, persons: frozenset[str], keys: frozenset[str]) -> bool:
            if seat == len(seats):
                return True
            return any(
                fill(seat + 1, persons | {word.said["author"]}, keys | {key})
                for word in words
                if word.said["role"] == seats[seat] and word.said["author"] not in persons
                for key in self.signed(word) - keys
            )

        return fill(0, frozenset(), frozenset(taken))

    def judging(self, stage: int) -> Sequence[str]:
        """By whose rules a link of ``stage`` may be judged (4)."""
        named: Sequence[str] = self.stages[stage]["cohorts"]
        return [self.mine] if self.mine in named else named

    def order_at(self, cohort: str) -> datetime | None:
        """When the order was authorised for ``cohort`` (5)."""
        rules = self.rules(cohort)
        if rules is None or not self.author_holds(self.order, ["operator"], cohort):
            return None
        return self.met_at(self.order, rules.start, cohort)

    def opens_at(self, go: Paper, stage: int) -> datetime | None:
        """When this opening took effect here at the earliest, or None if it does not count."""
        times = []
        for cohort in self.judging(stage):
            rules, order_at = self.rules(cohort), self.order_at(cohort)
            if rules is None or order_at is None:
                continue
            if self.stages[stage]["gate"] == "auto":
                if not self.author_holds(go, ["monitor"], cohort):
                    continue
                met: datetime | None = time(go.said["opened_at"])
            else:
                if not self.author_holds(go, ["operator"], cohort):
                    continue
                met = self.met_at(go, rules.start if stage == 0 else rules.advance, cohort)
            if met is not None:
                times.append(max(met, order_at, time(go.said["opened_at"])))
        return min(times, default=None)

    def openings(self, stage: int) -> list[tuple[Paper, datetime]]:
        """What opens ``stage`` by rules 1 to 5 and 10, without its soak, and since when."""
        found = [
            (go, self.opens_at(go, stage))
            for go in self.goes
            if go.said["act"] == "open"
            and go.said["stage"] == stage
            and go.at <= self.now
            and time(go.said["opened_at"]) <= self.now
        ]
        return [(go, at) for go, at in found if at is not None and at <= self.now]

    @cached_property
    def opened(self) -> list[list[tuple[Paper, datetime]]]:
        """For each stage opened without a gap, soaks kept: its openings (10, 11)."""
        result: list[list[tuple[Paper, datetime]]] = []
        earliest = time("1970-01-01T00:00:00Z")
        for number, stage in enumerate(self.stages):
            counting = [
                (go, at)
                for go, at in self.openings(number)
                if time(go.said["opened_at"]) >= earliest
            ]
            if not counting:
                break
            result.append(counting)
            earliest = min(at for _, at in counting) + timedelta(seconds=stage["soak_seconds"])
        return result

    @cached_property
    def resumes(self) -> list[Paper]:
        rules = self.rules(self.mine)
        return [
            go
            for go in self.goes
            if rules is not None
            and go.said["act"] == "resume"
            and go.at <= self.now
            and self.author_holds(go, ["operator"], self.mine)
            and (met := self.met_at(go, rules.resume, self.mine)) is not None
            and met <= self.now
        ]

    def by_operator(self, go: Paper) -> bool:
        stage = go.said["stage"]
        return stage < len(self.stages) and any(
            self.author_holds(go, ["operator"], cohort) for cohort in self.judging(stage)
        )

    @cached_property
    def renewals(self) -> list[Paper]:
        """By rule 12, without the monitor's bound."""
        openings = [go for stage in self.opened for go, _ in stage]
        return [
            go
            for go in self.goes
            if go.said["act"] == "renew"
            and go.at <= self.now
            and go.said["stage"] < len(self.stages)
            and any(
                self.author_holds(go, ["operator", "monitor"], cohort)
                for cohort in self.judging(go.said["stage"])
            )
            and any(
                go.said["renews"] == opening.id
                and go.said["stage"] == opening.said["stage"]
                and go.said["opened_at"] == opening.said["opened_at"]
                for opening in openings
            )
        ]

    def lives(self, *, bounded: bool, unbroken: bool) -> bool:
        """Whether a ``go`` at or above the granted stage is unexpired.

        ``bounded``: a monitor's reaches 30 days beyond an operator's newest at most (12).
        ``unbroken``: there was no lapse before it that a resume did not end (13).
        """
        # An opening that its last signature reached too late never kept anything open.
        openings = [
            go
            for stage in self.opened
            for go, since in stage
            if since < time(go.said["valid_until"])
        ]
        links = sorted([*openings, *self.renewals, *self.resumes], key=lambda go: go.at)
        people = max((go.at for go in links if self.by_operator(go)), default=None)
        covered: datetime | None = None
        alive = []
        for go in links:
            end = time(go.said["valid_until"])
            if bounded and not self.by_operator(go):
                if people is None:
                    continue
                end = min(end, people + LONGEST)
            if unbroken and covered is not None and go.at >= covered and go.said["act"] != "resume":
                continue
            covered = max(covered, end) if covered is not None else end
            if self.grant.stage <= go.said["stage"] < len(self.opened) and end > self.now:
                alive.append(go)
        return bool(alive)

    def stop_counts(self, stop: Paper) -> bool:
        rules = self.rules(self.mine)
        extra = rules.stop if rules else ()
        return self.author_holds(
            stop, ["operator", "monitor", *extra], self.mine, stop.said["site"]
        )


def _each_link(case: Case, check: Callable[[Paper, Mapping[str, int], str], bool]) -> bool:
    """Whether the order, and an opening of every manual stage up to mine, pass ``check``."""
    mine = case.rules(case.mine)
    if mine is None or not check(case.order, mine.start, case.mine):
        return False
    for number in range(case.grant.stage + 1):
        if case.stages[number]["gate"] == "auto":
            continue
        if not any(
            check(go, rules.start if number == 0 else rules.advance, cohort)
            for cohort in case.judging(number)
            if (rules := case.rules(cohort)) is not None
            for go in case.goes
            if go.said["act"] == "open" and go.said["stage"] == number
        ):
            return False
    return True


def rule_1_signatures_are_counted_by_person_and_key(case: Case) -> bool:
    return _each_link(
        case,
        lambda said, rule, cohort: (
            bool(case.signed(said))
            and case.met_at(said, rule, cohort, relaxed="others roster") is not None
        ),
    )


def rule_2_others_approve_or_consent(case: Case) -> bool:
    return _each_link(
        case,
        lambda said, rule, cohort: case.met_at(said, rule, cohort, relaxed="roster") is not None,
    )


def rule_3_the_current_roster_judges(case: Case) -> bool:
    return _each_link(
        case,
        lambda said, rule, cohort: (
            case.author_holds(said, ["operator"], cohort)
            and case.met_at(said, rule, cohort) is not None
        ),
    )


def rule_4_my_cohorts_rule_judges_what_names_it(case: Case) -> bool:
    rules = case.rules(case.mine)
    own = [go for go in case.goes if go.said["stage"] == case.grant.stage]
    auto = case.stages[case.grant.stage]["gate"] == "auto"
    rule = rules.start if rules and case.grant.stage == 0 else rules.advance if rules else {}
    return (
        rules is not None
        and case.mine in case.stages[case.grant.stage]["cohorts"]
        and case.met_at(case.order, rules.start, case.mine) is not None
        and (auto or any(case.met_at(go, rule, case.mine) is not None for go in own))
    )


def rule_5_order_and_start_meet_start(case: Case) -> bool:
    return case.order_at(case.mine) is not None and bool(case.openings(0))


def rule_6_an_accepted_order_raises_the_floor(case: Case) -> bool:
    """And no other: it is of my product, names my cohort, is authorised, and not of the future."""
    before, after = case.world.floors, case.decision.floors
    raised = (before.order_seq, before.order_id) != (after.order_seq, after.order_id)
    if not raised and not isinstance(case.decision.verdict, Grant):
        return True
    return (
        (after.order_seq, after.order_id) == (case.order.said["seq"], case.order.id)
        and case.order.at <= case.now
        and case.order.said["product"] == case.world.gateway.product
        and any(case.mine in stage["cohorts"] for stage in case.stages)
        and case.order_at(case.mine) is not None
    )


def rule_7_the_highest_order_wins(case: Case) -> bool:
    before, after = case.world.floors, case.decision.floors
    if after.order_seq < before.order_seq:
        return False
    if after.order_seq == before.order_seq and before.order_id not in (None, after.order_id):
        return False
    least = case.world.trusted.roster.min_order_seq.get(case.world.gateway.product, 0)
    return after == before or after.order_seq == before.order_seq or after.order_seq >= least


def rule_7_the_roster_ends_orders(case: Case) -> bool:
    least = case.world.trusted.roster.min_order_seq.get(case.world.gateway.product, 0)
    return bool(case.order.said["seq"] >= least)


def rule_8_only_a_recall_goes_down(case: Case) -> bool:
    counter = case.world.trusted.images[case.grant.target.path].release_counter
    recall = case.order.said["kind"] == "recall"
    return recall or counter >= case.world.gateway.running_counter


def rule_9_the_first_target_that_fits(case: Case) -> bool:
    for target in case.order.said["targets"]:
        facts = case.world.trusted.images.get(target["path"])
        if facts is None:
            return False
        fits = case.world.gateway.hardware in facts.hardware_ids
        if fits and facts.min_counter_installed <= case.world.gateway.highest_confirmed_counter:
            return (target["path"], target["sha256"], target["length"]) == (
                case.grant.target.path,
                case.grant.target.sha256,
                case.grant.target.length,
            )
    return False


def rule_10_every_stage_was_opened_by_its_gate(case: Case) -> bool:
    return all(case.openings(number) for number in range(case.grant.stage + 1))


def rule_11_soaks_are_kept_between_signed_times(case: Case) -> bool:
    return len(case.opened) > case.grant.stage


def rule_12_a_monitor_reaches_30_days(case: Case) -> bool:
    return case.lives(bounded=True, unbroken=False)


def rule_13_the_rollout_lives(case: Case) -> bool:
    return case.lives(bounded=False, unbroken=False)


def rule_13_only_a_resume_revives(case: Case) -> bool:
    return case.lives(bounded=True, unbroken=True)


def rule_15_every_stop_here_was_cleared_by_a_resume(case: Case) -> bool:
    cleared = {stop for go in case.resumes for stop in go.said["clears"]}
    shown = [
        (stop.id, stop.said["order"], stop.said["cohort"], stop.said["site"])
        for stop in case.papers("stops")
        if case.stop_counts(stop)
    ]
    recorded = [(s.id, s.order, s.cohort, s.site) for s in case.world.floors.stops]
    site = case.world.gateway.site
    return all(
        id_ in cleared
        or order != case.order.id
        or of_cohort not in (None, case.mine)
        or (of_site is not None and site is not None and of_site != site)
        for id_, order, of_cohort, of_site in [*shown, *recorded]
    )


def rule_16_every_signed_stop_is_recorded(case: Case) -> bool:
    """Once the metadata is believed, whatever is said of the order."""
    after = {stop.id for stop in case.decision.floors.stops}
    before = {stop.id for stop in case.world.floors.stops}
    if len(after) > 64:
        return False
    if len(after) < 64 and not before <= after:
        return False
    if len(after) == 64 or not is_believed(case):
        return True
    return {stop.id for stop in case.papers("stops") if case.stop_counts(stop)} <= after


def rule_18_the_director_is_my_cohorts(case: Case) -> bool:
    trusted = case.world.trusted
    return {*trusted.director_cohorts, trusted.directive.cohort} == {case.mine} and case.rules(
        case.mine
    ) is not None


def rule_19_below_the_floor_takes_a_permit(case: Case) -> bool:
    gateway, grant = case.world.gateway, case.grant
    counter = case.world.trusted.images[grant.target.path].release_counter
    if counter >= gateway.release_floor:
        return grant.permit is None
    permit = case.world.trusted.permits.get(grant.permit or "")
    return (
        permit is not None
        and grant.permit not in gateway.spent_permits
        and (permit.fleet, permit.product) == (gateway.fleet, gateway.product)
        and (permit.from_sha256, permit.to_sha256) == (gateway.running_sha256, grant.target.sha256)
        and (gateway.device in permit.devices or gateway.cohort in permit.cohorts)
        and permit.order == case.order.id
        and case.now < permit.expires
    )


def nothing_dated_in_the_future(case: Case) -> bool:
    return case.order.at <= case.now and all(
        any(
            go.at <= case.now and time(go.said["opened_at"]) <= case.now
            for go in case.goes
            if go.said["act"] == "open" and go.said["stage"] == number
        )
        for number in range(case.grant.stage + 1)
    )


def fleet_and_product_are_mine(case: Case) -> bool:
    gateway, trusted = case.world.gateway, case.world.trusted
    facts = trusted.images[case.grant.target.path]
    fleets = {trusted.roster.fleet, trusted.directive.fleet, case.order.said["fleet"]}
    products = {case.order.said["product"], facts.product}
    return fleets == {gateway.fleet} and products == {gateway.product}


def the_order_is_in_time(case: Case) -> bool:
    said = case.order.said
    return time(said["not_before"]) <= case.now < time(said["expires"])


def is_believed(case: Case) -> bool:
    return (
        metadata_is_unexpired(case)
        and the_roster_is_fresh(case)
        and rule_18_the_director_is_my_cohorts(case)
        and {case.world.trusted.roster.fleet, case.world.trusted.directive.fleet}
        == {case.world.gateway.fleet}
    )


def metadata_is_unexpired(case: Case) -> bool:
    return all(case.now < item.expires for item in case.world.trusted.expiries)


def the_roster_is_fresh(case: Case) -> bool:
    roster = case.world.trusted.roster
    return roster.seq >= case.world.floors.roster_seq and case.now < roster.issued + timedelta(
        days=35
    )


def only_a_roster_that_is_believed_raises_its_floor(case: Case) -> bool:
    before, after = case.world.floors.roster_seq, case.decision.floors.roster_seq
    expected = case.world.trusted.roster.seq if is_believed(case) else before
    return after == expected >= before


def the_director_holds_nothing_else(case: Case) -> bool:
    trusted = case.world.trusted
    named = {
        target["path"]
        for product in trusted.directive.products.values()
        if product.order is not None
        for target in paper(product.order).said["targets"]
    }
    return not trusted.director_delegates and set(trusted.director_targets) <= {
        "directive.json",
        *named,
    }


def order_and_repositories_agree(case: Case) -> bool:
    trusted, target = case.world.trusted, case.grant.target
    image = trusted.image_targets[target.path]
    director = trusted.director_targets.get(target.path)
    return (
        director is not None
        and image.hashes["sha256"] == target.sha256
        and (image.length, dict(image.hashes)) == (director.length, dict(director.hashes))
        and image.length == target.length
    )


def it_is_cleared_for_my_market(case: Case) -> bool:
    return case.world.gateway.market in case.world.trusted.images[case.grant.target.path].markets


def my_point_is_inside_my_stage(case: Case) -> bool:
    device = case.world.gateway.device.encode()
    wanted = bytes.fromhex(case.grant.target.sha256)
    text = b"interlock placement v1" + b"".join(
        len(part).to_bytes(4, "big") + part for part in (wanted, device)
    )
    point = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % 10_000
    return bool(point < case.stages[case.grant.stage]["basis_points"])


def it_did_not_roll_back_here(case: Case) -> bool:
    pair = (case.order.id, case.grant.target.sha256)
    return pair not in case.world.gateway.rolled_back


def it_is_not_installed_already(case: Case) -> bool:
    return case.grant.target.sha256 != case.world.gateway.running_sha256


def there_is_room(case: Case) -> bool:
    local = case.world.local
    needed = case.grant.target.length if local.needed_bytes is None else local.needed_bytes
    return local.free_bytes >= needed


def this_place_agrees(case: Case) -> bool:
    """Hold, windows, turn, slot and interlock; asked to install or reboot only."""
    local, order = case.world.local, case.order.said
    if case.phase is Phase.DOWNLOAD:
        return True
    clock = (case.now + local.utc_offset).strftime("%H:%M")
    own = [(local.window.opens, local.window.closes)] if local.window else []
    ordered = [(order["window"]["opens"], order["window"]["closes"])] if order["window"] else []
    return (
        local.hold is None
        and all(
            opens <= clock < closes if opens < closes else not closes <= clock < opens
            for opens, closes in own + ordered
        )
        and all(local.slot_digests.get(slot.name) == slot.sha256 for slot in case.grant.image.slots)
        and local.interlock is not None
        and local.interlock.clear is True
    )


def my_turn_has_come(case: Case) -> bool:
    """Where no window is, the turn counts from the opening of my stage."""
    spread, local = case.order.said["spread_seconds"], case.world.local
    if case.phase is Phase.DOWNLOAD or local.window or case.order.said["window"]:
        return True
    device, order = case.world.gateway.device.encode(), bytes.fromhex(case.order.id)
    text = b"interlock spread v1" + b"".join(
        len(part).to_bytes(4, "big") + part for part in (order, device)
    )
    offset = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % (spread + 1)
    if len(case.opened) <= case.grant.stage:
        return False
    since = min(at for _, at in case.opened[case.grant.stage])
    return case.now - since >= timedelta(seconds=offset)


OF_ANY: Final = (
    rule_6_an_accepted_order_raises_the_floor,
    rule_7_the_highest_order_wins,
    rule_16_every_signed_stop_is_recorded,
    only_a_roster_that_is_believed_raises_its_floor,
)
OF_A_GRANT: Final = (
    rule_1_signatures_are_counted_by_person_and_key,
    rule_2_others_approve_or_consent,
    rule_3_the_current_roster_judges,
    rule_4_my_cohorts_rule_judges_what_names_it,
    rule_5_order_and_start_meet_start,
    rule_7_the_roster_ends_orders,
    rule_8_only_a_recall_goes_down,
    rule_9_the_first_target_that_fits,
    rule_10_every_stage_was_opened_by_its_gate,
    rule_11_soaks_are_kept_between_signed_times,
    rule_12_a_monitor_reaches_30_days,
    rule_13_the_rollout_lives,
    rule_13_only_a_resume_revives,
    rule_15_every_stop_here_was_cleared_by_a_resume,
    rule_18_the_director_is_my_cohorts,
    rule_19_below_the_floor_takes_a_permit,
    nothing_dated_in_the_future,
    fleet_and_product_are_mine,
    the_order_is_in_time,
    metadata_is_unexpired,
    the_roster_is_fresh,
    the_director_holds_nothing_else,
    order_and_repositories_agree,
    it_is_cleared_for_my_market,
    my_point_is_inside_my_stage,
    it_did_not_roll_back_here,
    it_is_not_installed_already,
    there_is_room,
    this_place_agrees,
    my_turn_has_come,
)


def broken(world: World, decision: Decision, phase: Phase) -> list[str]:
    """The names of the rules that this decision breaks."""
    case = Case(world, decision, phase)
    asked: Sequence[Callable[[Case], bool]] = OF_ANY
    if isinstance(decision.verdict, Grant):
        asked = (*OF_ANY, *OF_A_GRANT)
    return [rule.__name__ for rule in asked if not rule(case)]
