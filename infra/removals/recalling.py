"""Checks of recalls: who takes a release back, whose word ends it, and what keeps it open."""

from __future__ import annotations

from typing import Final

from infra.removals.removal import CORE, Removal

UNITS: Final = "tests/core/test_recall.py"


def _recall(what: str, module: str, within: str, old: str, new: str, test: str) -> Removal:
    return Removal(f"recall: {what}", f"{CORE}{module}.py", within, old, new, (f"{UNITS}::{test}",))


RECALLING: Final[tuple[Removal, ...]] = (
    _recall(
        "an operator takes a release back",
        "recall_papers",
        "notice_counts",
        "judge.author_is(notice, (OPERATOR,), cohort)",
        "cohort",
        "test_a_notice_is_an_operators",
    ),
    _recall(
        "what takes a release back is about its own order",
        "recall_papers",
        "notice_counts",
        "said.order == order.id",
        "True",
        "test_a_notice_is_about_its_own_order_which_is_a_recall",
    ),
    _recall(
        "only a recall takes a release back",
        "recall_papers",
        "notice_counts",
        'order.said.kind == "recall"',
        "True",
        "test_a_notice_is_about_its_own_order_which_is_a_recall",
    ),
    _recall(
        "nothing leads to what is taken back",
        "recall_papers",
        "notice_counts",
        "wanted.isdisjoint(image.sha256 for image in said.images)",
        "True",
        "test_what_the_order_wants_is_not_recalled",
    ),
    _recall(
        "a disposition is given by whoever looks after the gateway",
        "recall_papers",
        "disposition_counts",
        "judge.author_is(word, COUNTERSIGNERS, cohort, site) is not None",
        "True",
        "test_a_disposition_is_an_operators_or_of_the_sites_own_engineer",
    ),
    _recall(
        "a disposition is of this recall",
        "recall_papers",
        "disposition_counts",
        "word.said.order == order_id",
        "True",
        "test_a_disposition_is_an_operators_or_of_the_sites_own_engineer",
    ),
    _recall(
        "a disposition is of this gateway",
        "recall",
        "_word",
        "(word.said.enrolment, word.said.device) == (seen.enrolment, seen.device)",
        "True",
        "test_the_newest_word_counts_and_only_of_this_gateway",
    ),
    _recall(
        "what a gateway signs later ends a disposition",
        "recall",
        "_word",
        "seen.heard_at <= word.said.at",
        "True",
        "test_a_word_stands_until_the_gateway_speaks",
    ),
    _recall(
        "what does not count clears nobody",
        "recall",
        "_shows",
        "if seen.excluded is not None:",
        "if False:",
        "test_nothing_known_is_open",
    ),
    _recall(
        "whoever was let near it says that it was stopped",
        "recall",
        "_shows",
        "if near and not",
        "if False and not",
        "test_who_was_let_near_it_is_open_until_it_says_that_it_was_stopped",
    ),
    _recall(
        "an order that was not accepted turns nobody away",
        "recall",
        "_turned_away",
        "decided.reason not in UNACCEPTED",
        "True",
        "test_who_was_let_near_it_is_open_until_it_says_that_it_was_stopped",
    ),
    _recall(
        "an old decision turns nobody away",
        "recall",
        "_turned_away",
        "min(decided.at, heard_at) <= recall.since",
        "False",
        "test_who_was_let_near_it_is_open_until_it_says_that_it_was_stopped",
    ),
)
