"""Who may let a device in and move it, and what its reports are worth."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import msgspec
import pytest

from interlock_core.directive import Directive
from interlock_core.facts import Phase, Reason, Refusal
from interlock_core.fleet import (
    Countersigned,
    Place,
    Tip,
    action,
    assigned_at,
    claim_counts,
    claim_refuses,
    countersigned,
    follows,
    in_force,
    lacking,
    move,
    report_counts,
    signed_by_device,
)
from interlock_core.order import Assignment
from interlock_core.report import Attempt, Decided, Trouble
from interlock_core.roster import Grant, Judge
from interlock_core.statement import Opened, open_as, read_envelope
from interlock_core.wire import encode
from tests.support.decisions import NEW, OLD, World, honest
from tests.support.papers import (
    DEVICE,
    PRODUCT,
    assignment,
    authorise,
    claim,
    consent,
    days,
    digest,
    enrolment,
    hours,
    order,
    report,
    rotation,
    started,
    stop,
)
from tests.support.people import (
    CANARY,
    DAY0,
    FAR,
    ST_ANNA,
    grant,
    person,
    roster,
    rules,
)

WARD_7 = ("ward-7",)
ENNO = person("enno", Grant(role="engineer", cohorts=("*",), expires=FAR, sites=WARD_7))
PEOPLE = (
    person("olga", grant("operator")),
    person("omar", grant("operator", ST_ANNA)),
    person("ada", grant("approver")),
    person("alan", grant("approver")),
    person("hanna", grant("hospital", ST_ANNA)),
    ENNO,
)
ENROLMENT = enrolment()
NOW = DAY0 + hours(2)


def judge(*people: Any, now: datetime = NOW, **fields: Any) -> Judge:
    return Judge(roster(*(people or PEOPLE), **fields), now)


class TestClaims:
    def test_an_operator_or_an_engineer_of_the_site_lets_a_device_ask(self) -> None:
        assert claim_counts(judge(), claim(by="olga"))
        assert claim_counts(judge(), claim(by="enno"))

    @pytest.mark.parametrize(
        "made",
        [
            claim(by="ada"),
            claim(by="omar"),
            claim(by="eve"),
            claim(by="olga", key="omar"),
            claim(by="enno", site="ward-8"),
            claim(fleet="south"),
            claim(at=NOW + hours(1)),
            claim(expires=NOW),
        ],
        ids=["role", "cohort", "unknown", "key", "site", "fleet", "ahead", "expired"],
    )
    def test_nobody_else_does(self, made: Any) -> None:
        assert not claim_counts(judge(), made)

    def test_it_is_for_what_it_names_and_no_more(self) -> None:
        said = claim(device=DEVICE, hardware="cm4-r2").said
        asked = ENROLMENT.said
        assert claim_refuses(said, asked) is None
        assert claim_refuses(claim().said, asked) is None
        for field in ("product", "site", "cohort", "hardware"):
            other = msgspec.structs.replace(asked, **{field: "another"})
            assert claim_refuses(said, other) == (
                f"the claim is for {field} {getattr(said, field)}, not another"
            )
        assert claim_refuses(said, enrolment("GW-0002").said)

    @pytest.mark.parametrize("days_", [0, 31])
    def test_it_expires_within_30_days(self, days_: int) -> None:
        with pytest.raises(ValueError, match="expires"):
            claim(expires=DAY0 + days(days_))


class TestEnrolments:
    def test_one_word_of_somebody_entitled_lets_the_device_in(self) -> None:
        by_olga = authorise(ENROLMENT, "olga", role="operator", at=NOW)
        assert countersigned(judge(), ENROLMENT, [by_olga]) == Countersigned(
            "olga", "operator", NOW
        )
        by_enno = authorise(ENROLMENT, "enno", role="engineer", meaning="consented")
        assert countersigned(judge(), ENROLMENT, [by_olga, by_enno]) == Countersigned(
            "enno", "engineer", DAY0
        )

    @pytest.mark.parametrize(
        "word",
        [
            authorise(ENROLMENT, "olga", role="operator", meaning="reviewed"),
            authorise(ENROLMENT, "olga", role="operator", key="omar"),
            authorise(ENROLMENT, "olga", role="operator", fleet="south"),
            authorise(ENROLMENT, "olga", role="operator", at=NOW + hours(1)),
            authorise(ENROLMENT, "olga", role="engineer"),
            authorise(ENROLMENT, "omar", role="operator"),
            authorise(ENROLMENT, "ada", role="approver"),
            authorise(enrolment("GW-0002"), "olga", role="operator"),
            authorise(ENROLMENT, "olga", role="operator", authorises="order"),
        ],
        ids=[
            "reviewed", "key", "fleet", "ahead", "a role that is not hers", "cohort",
            "an approver", "another device", "another kind",
        ],
    )  # fmt: skip
    def test_no_other_word_does(self, word: Any) -> None:
        assert countersigned(judge(), ENROLMENT, [word]) is None

    def test_an_engineer_of_another_site_does_not(self) -> None:
        elsewhere = enrolment(site="ward-8")
        word = authorise(elsewhere, "enno", role="engineer", meaning="consented")
        assert countersigned(judge(), elsewhere, [word]) is None

    def test_a_device_that_did_not_sign_is_not_let_in(self) -> None:
        forged = enrolment(key="GW-0002", author=DEVICE)
        stolen = msgspec.structs.replace(
            forged.said,
            key=ENROLMENT.said.key,
        )
        assert signed_by_device(ENROLMENT)
        words = ENROLMENT.envelope
        other = enrolment(reason="other words").envelope
        swapped = msgspec.structs.replace(other, signatures=words.signatures)
        opened = open_as(read_envelope(encode(swapped)), type(stolen))
        assert not signed_by_device(opened)
        word = authorise(opened, "olga", role="operator")
        assert countersigned(judge(), opened, [word]) is None

    def test_the_author_is_the_device(self) -> None:
        with pytest.raises(ValueError, match="author"):
            enrolment(author="GW-0002", key=DEVICE)

    def test_of_several_the_one_countersigned_last_is_in_force(self) -> None:
        newer = enrolment(key="GW-0001 again", at=DAY0 + hours(1))
        words = [authorise(newer, "olga", role="operator", at=DAY0 + hours(1.2))]
        assert in_force(judge(), [ENROLMENT, newer], words) is newer
        assert in_force(judge(), [ENROLMENT, newer], []) is None
        # A word about the old one, said later, brings the old one back.
        words.append(authorise(ENROLMENT, "olga", role="operator", at=DAY0 + hours(1.5)))
        assert in_force(judge(), [ENROLMENT, newer], words) is ENROLMENT

    def test_of_one_second_a_rotation_is_in_force_before_what_it_replaces(self) -> None:
        above, below = 0, 0
        for number in range(8):
            newer = rotation(ENROLMENT, f"key-{number}")
            keys = (f"after-{number}", f"key-{number}")
            newest = rotation(newer, keys[0], keys=keys)
            above += newest.id > max(newer.id, ENROLMENT.id)
            below += newest.id < max(newer.id, ENROLMENT.id)
            each = [ENROLMENT, newer, newest]
            words = [authorise(one, "olga", role="operator") for one in each]
            for some in permutations(each):
                assert in_force(judge(), some, words) is newest
        assert above, "ids of both orders were tried"
        assert below, "as above"

    def test_of_one_second_the_one_that_was_asked_for_last_is_in_force(self) -> None:
        for number in range(8):
            newer = enrolment(key=f"key-{number}", at=DAY0 + timedelta(seconds=1))
            words = [
                authorise(one, "olga", role="operator", at=DAY0 + hours(1))
                for one in (newer, ENROLMENT)
            ]
            for some in ([ENROLMENT, newer], [newer, ENROLMENT]):
                assert in_force(judge(), some, words) is newer

    def test_only_the_key_that_gives_way_lets_another_in_before_itself(self) -> None:
        """What names another as the one that it replaces, without its key, is no rotation."""
        for number in range(8):
            keys = (f"key-{number}",)
            false = rotation(ENROLMENT, *keys, keys=keys, at=DAY0 - timedelta(seconds=1))
            words = [authorise(one, "olga", role="operator") for one in (false, ENROLMENT)]
            assert in_force(judge(), [false, ENROLMENT], words) is ENROLMENT

    def test_a_rotation_of_one_second_stays_though_who_let_the_key_before_in_left(self) -> None:
        newer = rotation(ENROLMENT)
        words = [
            authorise(ENROLMENT, "omar", role="operator"),
            authorise(newer, "olga", role="operator"),
        ]
        both = [ENROLMENT, newer]
        omar = person("omar", grant("operator"))
        others = [one for one in PEOPLE if one.name != "omar"]
        assert in_force(judge(*others, omar), both, words) is newer
        assert in_force(judge(*others), both, words) is newer
        # The other way round it stays out: who let the newer key in speaks for nobody.
        words = [
            authorise(ENROLMENT, "olga", role="operator"),
            authorise(newer, "omar", role="operator"),
        ]
        assert in_force(judge(*others), both, words) is None

    def test_an_older_one_is_not_in_force_again_because_somebody_left(self) -> None:
        """The older key may be the reason why there is a newer one."""
        newer = enrolment(key="GW-0001 again", at=DAY0 + hours(1))
        words = [
            authorise(ENROLMENT, "olga", role="operator", at=DAY0 + hours(0.5)),
            authorise(newer, "omar", role="operator", at=DAY0 + hours(1.2)),
        ]
        both = [ENROLMENT, newer]
        without_omar = [one for one in PEOPLE if one.name != "omar"]
        everywhere = person("omar", grant("operator"))
        assert in_force(judge(*without_omar, everywhere), both, words) is newer
        assert in_force(judge(*without_omar), both, words) is None
        # What was only reviewed took nothing's place.
        seen = authorise(newer, "omar", role="operator", meaning="reviewed", at=DAY0 + hours(1.2))
        assert in_force(judge(*without_omar), both, [words[0], seen]) is ENROLMENT
        # Somebody may say so anew, of the older or of the newer one.
        for said in both:
            anew = authorise(said, "olga", role="operator", at=DAY0 + hours(1.5))
            assert in_force(judge(*without_omar), both, [*words, anew]) is said


ASSIGN = (
    rules(assign={"approver": 1}),
    rules(ST_ANNA, assign={"approver": 1, "hospital": 1}),
)
MOVE = assignment(ENROLMENT.id)
WORDS = (authorise(MOVE), consent(MOVE))
PLACE = Place(ENROLMENT.id, DEVICE, ST_ANNA, ("can*",))


def moved(made: Opened[Assignment], *words: Any, place: Place = PLACE, **more: Any) -> bool:
    return move(judge(rules=ASSIGN, **more), [made], words, place) is made


class TestAssignments:
    def test_one_that_both_cohorts_rules_allow_is_obeyed(self) -> None:
        assert moved(MOVE, *WORDS)
        assert assigned_at(judge(rules=ASSIGN), MOVE, WORDS) == DAY0
        assert lacking(judge(rules=ASSIGN), MOVE, WORDS) == ()

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ((), "1 more approver over st-anna"),
            (WORDS[:1], "1 more hospital over st-anna"),
            (WORDS[1:], "1 more approver over canary"),
            ((authorise(MOVE, at=NOW + hours(1)), WORDS[1]), "1 more approver over canary"),
            ((authorise(MOVE, "olga", role="approver"), WORDS[1]), "1 more approver over canary"),
        ],
        ids=["nobody", "not the old one", "not the new one", "ahead", "its author"],
    )
    def test_it_takes_both_cohorts_rules(self, words: tuple[Any, ...], says: str) -> None:
        assert not moved(MOVE, *words)
        assert assigned_at(judge(rules=ASSIGN), MOVE, words) is None
        assert says in lacking(judge(rules=ASSIGN), MOVE, words)

    @pytest.mark.parametrize(
        "made",
        [
            assignment(ENROLMENT.id, by="omar"),
            assignment(ENROLMENT.id, by="ada"),
            assignment(ENROLMENT.id, key="omar"),
            assignment(ENROLMENT.id, at=NOW + hours(1)),
            assignment(ENROLMENT.id, expires=NOW),
            assignment(ENROLMENT.id, fleet="south"),
        ],
        ids=["over one cohort only", "no operator", "key", "ahead", "expired", "fleet"],
    )
    def test_its_author_is_an_operator_over_both(self, made: Opened[Assignment]) -> None:
        assert not moved(made, authorise(made, at=DAY0), consent(made, at=DAY0))
        assert lacking(judge(rules=ASSIGN), made, [authorise(made), consent(made)])

    @pytest.mark.parametrize(
        "made",
        [
            assignment(enrolment("GW-0002").id),
            assignment(ENROLMENT.id, device="GW-0002"),
            assignment(ENROLMENT.id, from_cohort="st-bert"),
            assignment(ENROLMENT.id, to_cohort="st-bert"),
        ],
        ids=["another enrolment", "another device", "from elsewhere", "not my patterns"],
    )
    def test_another_is_not_for_me(self, made: Opened[Assignment]) -> None:
        assert not moved(made, authorise(made), consent(made))

    def test_its_number_rises(self) -> None:
        assert not moved(MOVE, *WORDS, place=msgspec_place(seq=1))
        later = assignment(ENROLMENT.id, seq=3)
        words = [*WORDS, authorise(later), consent(later)]
        assert move(judge(rules=ASSIGN), [MOVE, later], words, PLACE) is later
        # One that is not authorised hides none that is.
        assert move(judge(rules=ASSIGN), [MOVE, later], WORDS, PLACE) is MOVE

    def test_nothing_moves_what_is_not_enrolled(self) -> None:
        assert not moved(MOVE, *WORDS, place=msgspec_place(enrolment=None))

    def test_a_cohort_that_the_roster_denies_is_none(self) -> None:
        denied = judge(rules=(rules(ST_ANNA, assign={}),))
        free = assignment(ENROLMENT.id)
        assert move(denied, [free], (), PLACE) is None
        assert "a roster rule that covers canary" in lacking(denied, free, ())


def msgspec_place(**fields: Any) -> Place:
    made: dict[str, Any] = {
        "enrolment": ENROLMENT.id,
        "device": DEVICE,
        "cohort": ST_ANNA,
        "patterns": ("can*",),
        "seq": 0,
    }
    return Place(**made | fields)


AWAY = assignment(ENROLMENT.id, from_cohort=CANARY, to_cohort=ST_ANNA)


def enrolled(*papers: Any, **fields: Any) -> World:
    rollout = order()
    world = honest(rollout, [*started(rollout), *papers])
    mine = {"enrolment": ENROLMENT.id, "cohort_patterns": ("st-*",)}
    return world.with_gateway(**mine | fields)


class TestDecide:
    """An assignment inside a whole decision."""

    def test_moved_is_a_verdict_and_is_learned(self) -> None:
        decision = enrolled(AWAY, authorise(AWAY), consent(AWAY)).decide(Phase.DOWNLOAD)
        assert isinstance(decision.verdict, Refusal)
        assert decision.verdict.reason is Reason.MOVED
        assert decision.moved is not None
        assert decision.moved.id == AWAY.id

    def test_without_authority_the_order_stands(self) -> None:
        decision = enrolled(AWAY).decide()
        assert decision.moved is None
        assert not isinstance(decision.verdict, Refusal)

    def test_stops_are_learned_before_it_moves(self) -> None:
        rollout = order()
        papers = [*started(rollout), stop(rollout), AWAY, authorise(AWAY), consent(AWAY)]
        mine = {"enrolment": ENROLMENT.id, "cohort_patterns": ("*",)}
        decision = honest(rollout, papers).with_gateway(**mine).decide()
        assert decision.moved is not None
        assert [known.order for known in decision.floors.stops] == [rollout.id]

    def test_it_is_not_believed_of_a_director_that_is_not_mine(self) -> None:
        world = enrolled(AWAY, authorise(AWAY), consent(AWAY))
        for changed in (
            world.with_trusted(director_cohorts=(ST_ANNA,)),
            world.but(now=DAY0 + days(61)),
        ):
            assert changed.decide().moved is None

    def test_another_products_entry_moves_nothing(self) -> None:
        world = enrolled(AWAY, authorise(AWAY), consent(AWAY))
        said: Directive = world.trusted.directive
        other = msgspec.structs.replace(said, products={"pump": said.products[PRODUCT]})
        assert world.with_trusted(directive=other).decide().moved is None


FIRST = report(ENROLMENT)
SECOND = report(ENROLMENT, FIRST, reason="again")
FORKED = report(ENROLMENT, FIRST, reason="elsewhere")


class TestReports:
    def test_the_enrolments_key_signs(self) -> None:
        assert report_counts(ENROLMENT, FIRST)
        for other in (
            report(ENROLMENT, key="GW-0002"),
            report(ENROLMENT, fleet="south"),
            report(ENROLMENT, author="GW-0002", key=DEVICE),
            report(enrolment("GW-0002")),
            # The same device and key, under another enrolment.
            report(enrolment(reason="again")),
        ):
            assert not report_counts(ENROLMENT, other)

    def test_they_follow_one_another(self) -> None:
        first, second = Tip(1, FIRST.id), Tip(2, SECOND.id)
        assert follows(None, None, FIRST) == "next"
        assert follows(first, None, SECOND) == "next"
        assert follows(first, FIRST.id, FIRST) == "known"
        assert follows(second, FIRST.id, FIRST) == "known"
        assert follows(None, None, SECOND) == "gap"
        assert follows(second, SECOND.id, FORKED) == "fork"
        assert follows(Tip(1, digest("another first")), None, SECOND) == "fork"


ORDER = order()


class TestActions:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"about": ORDER}, ("confirmed", "confirmed")),
            (
                {"running": None, "attempt": None, "decided": None},
                ("scheduled", "not_seen"),
            ),
            (
                {"trouble": Trouble(reason="expired_metadata", since=DAY0)},
                ("rejected", "expired_metadata"),
            ),
            (
                {"decided": Decided(at=DAY0, order=ORDER.id, reason="not_in_stage", detail="x")},
                ("scheduled", "not_in_stage"),
            ),
            (
                {"decided": Decided(at=DAY0, order=digest("o"), reason="stopped", detail="x")},
                ("scheduled", "not_seen"),
            ),
            (
                {
                    "attempt": Attempt(
                        order=ORDER.id,
                        target=NEW.sha256,
                        outcome="deferred",
                        reason="interlock_not_clear",
                        deferred_since=DAY0,
                    )
                },
                ("deferred", "interlock_not_clear"),
            ),
            (
                {
                    "attempt": Attempt(
                        order=digest("before"),
                        target=OLD.sha256,
                        outcome="rolled_back",
                        reason="health_check_failed",
                        deferred_since=None,
                    )
                },
                ("scheduled", "not_seen"),
            ),
        ],
    )
    def test_the_newest_report_says_it(
        self, fields: dict[str, Any], expected: tuple[str, str]
    ) -> None:
        done = action(ORDER, report(ENROLMENT, **fields).said)
        assert (done.outcome, done.reason) == expected
        assert done.detail

    def test_what_runs_already_needs_no_attempt(self) -> None:
        said = report(ENROLMENT, about=ORDER).said
        done = action(ORDER, msgspec.structs.replace(said, attempt=None))
        assert done.outcome == "already_installed"

    def test_silence_is_said(self) -> None:
        assert action(ORDER, None).reason == "no_report"


def test_a_key_that_is_none_has_signed_nothing() -> None:
    broken = msgspec.structs.replace(
        ENROLMENT.said.key, keyval=msgspec.structs.replace(ENROLMENT.said.key.keyval, public="00")
    )
    said = msgspec.structs.replace(ENROLMENT.said, key=broken)
    opened = Opened(
        said=said, id=ENROLMENT.id, payload=ENROLMENT.payload, envelope=ENROLMENT.envelope
    )
    assert not signed_by_device(opened)
    assert not report_counts(opened, FIRST)
    assert countersigned(judge(), opened, [authorise(opened, "olga", role="operator")]) is None
