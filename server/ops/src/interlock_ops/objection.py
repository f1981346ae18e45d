"""Why a statement is not signed, and what several plans ask (pure).

Rules:

1. A statement that would count for nothing is not signed: the objection says why, and what would.
2. Nothing is signed about an order that has expired or that the roster has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from interlock_core.chain import Chain, read_chain
from interlock_core.errors import Exit, InterlockError
from interlock_core.order import Authorisation, Meaning
from interlock_core.roster import COUNTING_MEANINGS, Judge, order_of_signing
from interlock_core.statement import Opened
from interlock_core.wire import format_time
from interlock_ops.dossier import Dossier


@dataclass(frozen=True)
class Objection:
    """Why a statement is not signed: a stable name and a sentence for people.

    Attributes:
        exit: ``DONE`` where there is nothing to do, ``DEFERRED`` where it is only too early.
    """

    reason: str
    detail: str
    exit: Exit = Exit.REFUSED

    def error(self) -> InterlockError:
        """As an error, for the edge."""
        error = InterlockError(self.detail, reason=self.reason)
        error.exit_code = self.exit
        return error


def asks(judge: Judge, act: str, stage: int, cohort: str) -> Mapping[str, int]:
    """Who must authorise an ``order``, or a ``go`` of this act and stage, by a cohort's rule."""
    rules = judge.roster.rules_for(cohort)
    if rules is None:
        return {}
    if act == "resume":
        return rules.resume
    return rules.start if act == "order" or stage == 0 else rules.advance


def asks_of_order(judge: Judge, cohorts: Iterable[str]) -> dict[str, Mapping[str, int]]:
    """Who must authorise an order, by cohort."""
    return {cohort: asks(judge, "order", 0, cohort) for cohort in cohorts}


def chains_of(judge: Judge, dossier: Dossier) -> dict[str, Chain]:
    """How far the order is open, by cohort."""
    return {
        cohort: read_chain(judge, dossier.papers, cohort) for cohort in dossier.order.said.cohorts()
    }


def ended(judge: Judge, dossier: Dossier) -> Objection | None:
    """Why the order is over, whatever is signed now."""
    order = dossier.order.said
    if order.expires <= judge.now:
        return Objection(
            "expired_order",
            f"The order expired at {format_time(order.expires)}: propose a new one.",
        )
    least = judge.roster.min_order_seq.get(order.product, 0)
    if order.seq < least:
        return Objection(
            "superseded_order", f"The roster ended orders below {least}: propose a new one."
        )
    return None


def next_seq(judge: Judge, dossier: Dossier, stage: int) -> int:
    """The next number of a ``go`` for one stage, after those that somebody in the roster signed."""
    signed = [go for go in dossier.goes if judge.signer_key(go) is not None]
    return 1 + max((go.said.seq for go in signed if go.said.stage == stage), default=0)


def said_already(
    judge: Judge,
    words: Sequence[Opened[Authorisation]],
    subject_id: str,
    me: str,
    role: str,
    meaning: Meaning,
) -> Objection | None:
    """What ``me`` said of a subject before, if another word of his would not count.

    A person's first word about a subject is the one that counts.
    """
    for word in sorted(words, key=order_of_signing):
        said = word.said
        if said.id != subject_id or said.author != me or judge.signer_key(word) is None:
            continue
        if (said.role, said.meaning) == (role, meaning):
            return Objection(
                "already_authorised",
                f"{me} {meaning} this as {role} at {format_time(said.at)}.",
                Exit.DONE,
            )
        if said.meaning in COUNTING_MEANINGS and meaning in COUNTING_MEANINGS:
            return Objection(
                "already_authorised",
                f"{me} {said.meaning} this as {said.role} at {format_time(said.at)}, and a "
                "person's first word is the one that counts.",
            )
    return None
