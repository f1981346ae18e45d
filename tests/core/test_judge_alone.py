"""What the judge asks although a roster that breaks it is refused whole: each rule stands alone."""

from __future__ import annotations

import msgspec

from interlock_core.roster import Judge, Roster
from tests.support.papers import authorise, order
from tests.support.people import CANARY, DAY0, PEOPLE, person, roster


def with_a_shared_key(one: str, other: str) -> Roster:
    """A roster, made behind its own rules, in which ``other`` has the key of ``one`` as well."""
    honest = roster()
    shared = tuple(
        person(each.name, *each.grants, keys=(one,)) if each.name == other else each
        for each in PEOPLE
    )
    msgspec.structs.force_setattr(honest, "persons", shared)
    return honest


def test_the_authors_key_does_not_count_under_another_name() -> None:
    judge = Judge(with_a_shared_key("olga", "ada"), DAY0)
    paper = order()
    word = authorise(paper, "ada", key="olga")
    assert judge.signer_key(word) == judge.signer_key(paper)
    assert judge.authorised_at(paper, {"approver": 1}, [word], CANARY) is None
    assert judge.authorised_at(paper, {"approver": 1}, [word, authorise(paper, "alan")], CANARY)
