"""Whose signature counts for what, and what the chain of ``go`` says: one removal each."""

from __future__ import annotations

from infra.removals.removal import CORE, Removal
from infra.removals.suite import ONLINE, PEOPLE, ROLLOUTS, ROSTERS, STOPS

UNITS = (
    "tests/core/test_roster.py",
    "tests/core/test_chain.py",
    "tests/core/test_statement.py",
    "tests/core/test_decide.py",
)
ONE = f"{PEOPLE}::TestOnePersonToo"
VECTORS = "tests/core/test_vectors.py"


def _roster(what: str, within: str, old: str, new: str, *tests: str) -> Removal:
    return Removal(what, f"{CORE}roster.py", within, old, new, (*tests, *UNITS))


def _chain(what: str, within: str, old: str, new: str, *tests: str) -> Removal:
    return Removal(what, f"{CORE}chain.py", within, old, new, (*tests, *UNITS))


def _statement(what: str, within: str, old: str, new: str, *tests: str) -> Removal:
    return Removal(what, f"{CORE}statement.py", within, old, new, (*tests, *UNITS))


COUNTING: tuple[Removal, ...] = (
    # One signature.
    _statement(
        "signatures: the key verifies",
        "Opened.verified_by",
        "key.verify_signature(SslibSignature(key.keyid, raw), signed_bytes)",
        "pass",
        f"{PEOPLE}::TestOnePersonToo::test_a_stranger_in_the_second_persons_name",
    ),
    _statement(
        "signatures: the key id is that of the key",
        "Opened.verified_by",
        "if signature.keyid != key.keyid:",
        "if False:",
    ),
    _statement(
        "signatures: the payload has its one canonical form",
        "open_statement",
        "if _payload(said) != payload:",
        "if False:",
        VECTORS,
    ),
    _statement(
        "signatures: a statement is of the type that is expected",
        "open_statement",
        "outer.type_ != STATEMENT_TYPE or outer.predicate_type not in by_name",
        "False",
        VECTORS,
    ),
    _statement(
        "signatures: the payload type is in-toto's",
        "open_statement",
        "envelope.payload_type != PAYLOAD_TYPE",
        "False",
        VECTORS,
    ),
    _roster(
        "signatures: only the author's own keys count",
        "Judge.signer_key",
        "opened.verified_by(self._keys_of(person)) if person else None",
        "opened.verified_by([k for p in self._persons.values() for k in self._keys_of(p)])",
    ),
    _roster(
        "signatures: what was verified is remembered with its signatures",
        "Judge.signer_key",
        "known = (opened.id, opened.envelope.signatures)",
        "known = (opened.id, ())",
    ),
    _roster(
        "signatures: two people never share a key",
        "Roster.__post_init__",
        '            "one public key twice (two people never share a key):",\n        )\n',
        '            "one public key twice (two people never share a key):",\n'
        "        ) if False else None\n",
        f"{PEOPLE}::TestOnePersonToo::test_one_key_twice_in_a_roster",
    ),
    _roster(
        "signatures: no person stands twice",
        "Roster.__post_init__",
        '_no_double((person.name for person in self.persons), "two persons named")',
        "pass",
    ),
    _roster(
        "signatures: no two patterns tie",
        "Roster.__post_init__",
        '_no_double((rule.pattern for rule in self.rules), "two rules for the cohort pattern")',
        "pass",
    ),
    _roster(
        "signatures: a monitor holds no other role",
        "Roster.__post_init__",
        "MONITOR in roles and len(roles) > 1",
        "False",
    ),
    _roster(
        "signatures: no rule asks for a monitor",
        "Roster.__post_init__",
        "if MONITOR in asked:",
        "if False:",
    ),
    # What a person holds.
    _roster(
        "signatures: a grant is for its role",
        "Judge.holds",
        "grant.role == role",
        "True",
        f"{PEOPLE}::TestOnePersonToo::test_one_word_where_two_are_asked",
    ),
    _roster(
        "signatures: a grant ends",
        "Judge.holds",
        "and grant.expires > self.now",
        "",
        f"{ROSTERS}::TestRosters::test_somebody_whose_grant_ended",
    ),
    _roster(
        "signatures: a grant is for its cohorts",
        "Judge.holds",
        "and any(covers(pattern, cohort) for pattern in grant.cohorts)",
        "",
        f"{ROSTERS}::TestRosters::test_somebody_whose_grant_is_for_elsewhere",
    ),
    _roster(
        "signatures: a grant is for its sites",
        "Judge.holds",
        "and grant.at_site(site)",
        "",
        "tests/core/test_fleet.py",
    ),
    _roster(
        "signatures: the author signed",
        "Judge.author_is",
        "or self.signer_key(opened) is None",
        "",
        f"{ROLLOUTS}::TestRollouts::test_one_that_the_attacker_starts",
    ),
    _roster(
        "signatures: what the author signed is for this fleet",
        "Judge.author_is",
        "said.fleet != self.roster.fleet or ",
        "",
    ),
    # Words of others.
    _roster(
        "signatures: as many as the rule asks for",
        "Judge.authorised_at",
        "if len(times[role]) < count:",
        "count = min(count, len(times[role]))\n            if not count:",
        f"{PEOPLE}::TestOnePersonToo::test_one_word_where_two_are_asked",
    ),
    _roster(
        "signatures: it counts from the newest word that was needed",
        "Judge.authorised_at",
        "times[role][count - 1]",
        "said.at",
        f"{ROLLOUTS}::TestRollouts::test_a_stage_whose_soak_began_with_the_last_word",
    ),
    _roster(
        "signatures: a word is about this very thing",
        "Judge._times",
        "word.said.id == subject.id\n",
        "True\n",
        ONE,
    ),
    _roster(
        "signatures: a word is about this kind of thing",
        "Judge._times",
        'and f"urn:interlock:{word.said.authorises}:v1" == subject.said.PREDICATE',
        "",
        f"{PEOPLE}::TestOnePersonToo::test_one_word_where_two_are_asked",
    ),
    _roster(
        "signatures: the author does not count",
        "Judge._times",
        "and word.said.author != subject.said.author",
        "",
        ONE,
    ),
    _roster(
        "signatures: a word is of this fleet",
        "Judge._times",
        "and word.said.fleet == self.roster.fleet",
        "",
        f"{PEOPLE}::TestOnePersonToo::test_one_word_where_two_are_asked",
    ),
    _roster(
        "signatures: only approved and consented count",
        "Judge._times",
        "and word.said.meaning in COUNTING_MEANINGS",
        "",
        f"{PEOPLE}::TestOnePersonToo::test_one_word_where_two_are_asked",
    ),
    _roster(
        "signatures: a word is in a role that the rule asks for",
        "Judge._times",
        "and word.said.role in rule",
        "",
        f"{PEOPLE}::TestOnePersonToo::test_a_word_that_is_not_asked_for_uses_nobody_up",
    ),
    _roster(
        "signatures: a person counts once",
        "Judge._times",
        "first[word.said.author] = word",
        "first[word.id] = word",
        f"{PEOPLE}::TestOnePersonToo::test_one_word_where_two_are_asked",
    ),
    _roster(
        "signatures: a person counts in one role",
        "Judge._times",
        "first[word.said.author] = word",
        "first[word.said.author + word.said.role] = word",
        f"{PEOPLE}::TestOnePersonToo::test_somebody_in_two_roles",
    ),
    _roster(
        "signatures: a person's first word is the one that counts",
        "Judge._times",
        "key=order_of_signing",
        "key=lambda a: a.id",
    ),
    _roster(
        "signatures: who speaks holds the role",
        "Judge._times",
        "and self.holds(word.said.author, word.said.role, cohort, site)",
        "",
        f"{PEOPLE}::TestOnePersonToo::test_one_word_where_two_are_asked",
    ),
    _roster(
        "signatures: who speaks signed",
        "Judge._times",
        "not in (None, author_key)",
        "!= author_key",
        f"{PEOPLE}::TestOnePersonToo::test_a_stranger_in_the_second_persons_name",
    ),
    _roster(
        "signatures: nobody speaks with the author's key",
        "Judge._times",
        "not in (None, author_key)",
        "is not None",
        "tests/core/test_judge_alone.py",
    ),
    # Orders.
    _chain(
        "chain: an order is accepted for a cohort that it names",
        "_Reading._accepted_at",
        "or cohort not in self._named",
        "",
    ),
    _chain(
        "chain: the order meets the rule start",
        "_Reading._accepted_at",
        "rules.start",
        "{}",
        f"{PEOPLE}::TestOnePersonToo::test_one_word_where_two_are_asked",
    ),
    _chain(
        "chain: an operator signs",
        "_Reading._said_at",
        "if self.judge.author_is(subject, (OPERATOR,), cohort) is None:",
        "if False:",
        f"{ROLLOUTS}::TestRollouts::test_one_that_nobody_authorised",
        f"{PEOPLE}::TestMonitorToo",
    ),
    _chain(
        "chain: nothing dated after now counts",
        "_Reading._said_at",
        "and since <= self.judge.now",
        "",
        f"{ONLINE}::TestTimes::test_a_statement_from_the_future_counts_for_nothing",
    ),
    # Openings.
    _chain(
        "chain: a go is about this order",
        "_Reading.__init__",
        "if go.said.order == papers.order.id",
        "",
        f"{ROLLOUTS}::TestRollouts::test_a_stage_of_another_order",
    ),
    _chain(
        "chain: an opening opens",
        "_Reading.openings",
        'go.said.act != "open" or ',
        "",
        f"{PEOPLE}::TestOnePersonToo::test_a_resume_opens_no_stage",
    ),
    _chain(
        "chain: an opening is of its stage",
        "_Reading.openings",
        " or go.said.stage != number",
        "",
        f"{ROLLOUTS}::TestRollouts::test_a_stage_without_the_one_before",
    ),
    _chain(
        "chain: an opening is not dated after now",
        "_Reading.openings",
        "go.said.at > self.judge.now or ",
        "",
        f"{PEOPLE}::TestMonitorToo::test_nor_for_longer_by_a_date_in_the_future",
    ),
    _chain(
        "chain: a stage does not open after now",
        "_Reading.openings",
        " or go.said.opened_at > self.judge.now",
        "",
        f"{PEOPLE}::TestMonitorToo::test_nor_from_the_future",
    ),
    _chain(
        "chain: a stage opens after the soak of the one before",
        "_Reading.openings",
        "go.said.opened_at < not_before",
        "False",
        f"{ROLLOUTS}::TestRollouts::test_a_stage_before_its_soak",
    ),
    _chain(
        "chain: the soak is as long as was signed",
        "read_chain",
        "timedelta(seconds=stage.soak_seconds)",
        "timedelta(0)",
        f"{ROLLOUTS}::TestRollouts::test_a_stage_before_its_soak",
    ),
    _chain(
        "chain: no stage opens before the order begins",
        "read_chain",
        "not_before = order.not_before",
        "not_before = order.at - timedelta(days=36_500)",
    ),
    _chain(
        "chain: stage k needs every stage below it",
        "read_chain",
        "        if not counting:\n            break\n",
        "        if not counting:\n            continue\n",
        f"{ROLLOUTS}::TestRollouts",
    ),
    _chain(
        "chain: the earliest opening that counts is taken",
        "read_chain",
        "stages.append(min(counting",
        "stages.append(max(counting",
    ),
    _chain(
        "chain: my cohort's rule judges what names my cohort",
        "_Reading.judging_cohorts",
        "(mine,) if mine in named else named",
        "named",
    ),
    _chain(
        "chain: an opening counts where its order does",
        "_Reading._opened_for",
        "order_since is None or ",
        "",
    ),
    _chain(
        "chain: an auto stage is opened by the monitor",
        "_Reading._opened_for",
        "if self.judge.author_is(go, (MONITOR,), cohort) is None:",
        "if False:",
        f"{PEOPLE}::TestMonitorToo::test_nor_does_a_person_open_an_auto_stage",
    ),
    _chain(
        "chain: other stages never by a monitor",
        "_Reading._opened_for",
        'gate == "auto"',
        'gate in ("auto", "manual")',
        f"{PEOPLE}::TestMonitorToo::test_auto_stages_open",
    ),
    _chain(
        "chain: opening stage 0 meets the rule start",
        "_Reading._opened_for",
        "rules.start if go.said.stage == 0 else rules.advance",
        "rules.advance if go.said.stage else {}",
        f"{PEOPLE}::TestOnePersonToo::test_one_word_where_two_are_asked",
    ),
    _chain(
        "chain: opening a manual stage meets the rule advance",
        "_Reading._opened_for",
        "rules.start if go.said.stage == 0 else rules.advance",
        "rules.start if go.said.stage == 0 else {}",
        f"{PEOPLE}::TestOnePersonToo::test_one_word_where_two_are_asked",
    ),
    _chain(
        "chain: a stage opens when the last needed word was said",
        "_Reading._opened_for",
        "max(since, go.said.opened_at, order_since)",
        "go.said.opened_at",
        f"{ROLLOUTS}::TestRollouts::test_a_stage_whose_soak_began_with_the_last_word",
    ),
    # How long.
    _chain(
        "chain: a renewal is not dated after now",
        "_lifetimes",
        "and go.said.at <= reading.judge.now",
        "",
    ),
    _chain(
        "chain: a renewal counts beside its opening",
        "_lifetimes",
        "and (go.said.stage, go.said.renews, go.said.opened_at) in opened",
        "",
        f"{PEOPLE}::TestOnePersonToo::test_a_renewal_of_nothing",
    ),
    _chain(
        "chain: a renewal is an operator's or a monitor's",
        "_lifetimes",
        "if role is None or",
        "if",
    ),
    _chain(
        "chain: a renewal is signed while its stage lives",
        "_lifetimes",
        "said.at >= until.get(said.stage, said.at)",
        "False",
        f"{PEOPLE}::TestOnePersonToo::test_an_operator_renews_nothing_that_lapsed",
    ),
    _chain(
        "chain: a monitor renews for 30 days after people",
        "_lifetimes",
        "role == MONITOR and end > by_operator + MAX_GO",
        "False",
        f"{PEOPLE}::TestMonitorToo::test_nor_beyond_thirty_days_of_people",
    ),
    _chain(
        "chain: a monitor's openings reach no further",
        "_lifetimes",
        "end = min(end, by_operator + MAX_GO)",
        "pass",
        f"{PEOPLE}::TestMonitorToo::test_nor_beyond_thirty_days_of_people",
    ),
    _chain(
        "chain: what was opened after the lapse revives nothing",
        "_lifetimes",
        "end = lapse",
        "pass",
        f"{PEOPLE}::TestOnePersonToo::test_nor_by_an_opening_that_is_shown_again",
    ),
    _chain(
        "chain: an opening approved after its end never lived",
        "_lifetimes",
        "if o.since < o.opening.said.valid_until",
        "",
    ),
    _chain(
        "chain: a stage lives by those above it, not by those below",
        "Chain.live_until",
        "self.valid_until[stage:]",
        "self.valid_until",
    ),
    # Stops and resumes.
    _chain(
        "chain: a resume is one",
        "_Reading.resume_counts",
        'go.said.act == "resume"\n            and',
        "",
    ),
    _chain(
        "chain: a resume meets the rule resume",
        "_Reading.resume_counts",
        "rules.resume",
        "{}",
        f"{PEOPLE}::TestOnePersonToo::test_one_word_where_two_are_asked",
    ),
    _chain(
        "chain: a resume ends the stops that it names, and no other",
        "cleared",
        "frozenset(stop for go in chain.resumes for stop in go.said.clears)",
        "frozenset(str(go.said.clears) for go in chain.resumes)",
        f"{STOPS}::TestFloods::test_stops_are_bounded_and_a_resume_clears_each",
    ),
    _chain(
        "chain: who stops is entitled to",
        "stop_counts",
        "judge.author_is(stop, stop_roles(judge, cohort), cohort, stop.said.site) is not None",
        "True",
        f"{STOPS}::TestFloods::test_a_stop_by_nobody_entitled_stops_nothing",
    ),
    _chain(
        "chain: a role of the rule stop may stop too",
        "stop_roles",
        "*(rules.stop if rules is not None else ())",
        "",
    ),
    _chain(
        "chain: a stop of one cohort stops that cohort",
        "applies",
        "stop_cohort in (None, cohort)",
        "True",
        f"{STOPS}::TestFloods::test_stops_elsewhere_stop_nothing_here",
    ),
    _chain(
        "chain: a stop of one site stops that site",
        "applies",
        "stop_site is None or site is None or stop_site == site",
        "True",
        f"{STOPS}::TestFloods::test_a_stop_that_the_record_has_no_room_for_stands_while_it_is_shown",
    ),
    _chain(
        "chain: a gateway that does not know its site is covered",
        "applies",
        "site is None or stop_site == site",
        "stop_site == site",
    ),
    _chain(
        "chain: a device is in a stage that names its cohort",
        "first_stage",
        "cohort in stage.cohorts and ",
        "",
        f"{ROLLOUTS}::TestRollouts::test_all_stages_at_once_when_the_calendar_says_so",
    ),
    _chain(
        "chain: a device is in a stage that has it inside",
        "first_stage",
        "and inside(at, stage.basis_points)",
        "",
        f"{ROLLOUTS}::TestRollouts::test_a_larger_share_than_was_signed",
    ),
)
