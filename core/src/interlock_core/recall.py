"""Recalls: who is affected, and when it is over (pure).

Rules:

1. Who is affected follows from what gateways signed, never from a list of the server's. A gateway
   *runs* what its newest report says; it *holds* a recalled image that it is downloading,
   installing or waiting with. One that was let near it, and has not said since the recall that it
   found that order stopped or superseded, is *unheard*: it may have begun. One that nothing is
   known of, because its papers do not count or it never reported, is *unknown*. All are open.
2. Any other gateway is clear; it is *updated* if it confirmed a target of this very order.
3. Of the dispositions that count (``recall_papers``) the newest stands, until the gateway signs
   something after it: what was thought to be away speaks for itself again. A decommissioning that
   counts (24 of the statements) is a disposition too, and nothing is taken from the device then.
4. A recall is closed when nobody is open, and open again when somebody is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal

from interlock_core.chain import stage_of
from interlock_core.facts import Reason
from interlock_core.order import Order
from interlock_core.recall_papers import Disposition, Notice, disposition_counts, notice_counts
from interlock_core.report import Report
from interlock_core.roster import Judge
from interlock_core.seen import Seen
from interlock_core.statement import Opened

HELD: Final = frozenset(
    {"waiting_for_consent", "downloading", "downloaded", "installing", "rebooting", "deferred"}
)
"""Outcomes of an attempt that is not over: the image is there, or on its way."""


UNACCEPTED: Final = frozenset(
    {
        Reason.MALFORMED,
        Reason.MOVED,
        Reason.ORDER_MISMATCH,
        Reason.SUPERSEDED_ORDER,
        Reason.UNAUTHORISED_ROLLOUT,
        Reason.WRONG_FLEET,
        Reason.WRONG_PRODUCT,
    }
)
"""Refusals that come before an order is accepted, so that it supersedes nothing yet."""


Standing = Literal["open", "updated", "clear", "unreachable", "returned", "decommissioned"]
Why = Literal["runs", "holds", "unheard", "unknown", "updated", "clear"]
ENDS: Final[Mapping[Why, Standing]] = MappingProxyType({"updated": "updated", "clear": "clear"})
"""What a gateway's own report ends; everything else is open until a person's word."""


@dataclass(frozen=True)
class Exposure:
    """An order that installs what is recalled, and how many of its stages are open, by cohort."""

    order: Opened[Order]
    stages_open: Mapping[str, int]

    def let_near(self, seen: Seen) -> bool:
        """Whether an open stage has the gateway inside, for some target."""
        opened = self.stages_open.get(seen.cohort, 0)
        return any(
            stage is not None and stage < opened
            for target in self.order.said.targets
            for stage in (stage_of(self.order.said, seen.cohort, target.sha256, seen.device),)
        )


@dataclass(frozen=True)
class Recall:
    """One recall: the order, what it takes back, since when, and what installed it.

    Attributes:
        since: when the first notice that counts was signed.
        later: ids of orders of the product with a higher number.
    """

    order: Opened[Order]
    recalled: frozenset[str]
    since: datetime
    exposures: tuple[Exposure, ...] = ()
    later: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Affected:
    """One gateway under a recall.

    Attributes:
        why: what its own papers say (1, 2).
        detail: for people.
        heard_at: when it last signed a report; None if it never did.
        word: the person's word that stands, if one does (3).
    """

    seen: Seen
    why: Why
    detail: str
    heard_at: datetime | None
    word: Opened[Disposition] | None

    @property
    def standing(self) -> Standing:
        """Where it stands: open, or how that ended."""
        if self.why in ENDS:
            return ENDS[self.why]
        if self.seen.out_of_service:
            return "decommissioned"
        return "open" if self.word is None else self.word.said.disposition


def recall_of(
    judge: Judge,
    order: Opened[Order],
    notices: Iterable[Opened[Notice]],
    exposures: Sequence[Exposure] = (),
    later: Iterable[str] = (),
) -> Recall | None:
    """What an order recalls; None if no notice counts."""
    counting = [one for one in notices if notice_counts(judge, one, order)]
    if not counting:
        return None
    recalled = frozenset(image.sha256 for one in counting for image in one.said.images)
    return Recall(
        order, recalled, min(one.said.at for one in counting), tuple(exposures), frozenset(later)
    )


def stand(
    judge: Judge, recall: Recall, seen: Seen, words: Iterable[Opened[Disposition]]
) -> Affected:
    """Where one gateway of the product stands (rules 1 to 3)."""
    why, detail = _shows(recall, seen)
    return Affected(seen, why, detail, seen.heard_at, _word(judge, recall, seen, words))


def _shows(recall: Recall, seen: Seen) -> tuple[Why, str]:
    if seen.excluded is not None:
        return "unknown", f"nothing that it says counts: {seen.excluded}"
    report = seen.report
    if report is None or seen.heard_at is None:
        return "unknown", "it has not reported yet"
    if report.running is None:
        return "unknown", "it has not said what runs"
    if report.running.sha256 in recall.recalled:
        return "runs", f"it runs {report.running.version}"
    attempt = report.attempt
    if attempt is not None and attempt.target in recall.recalled and attempt.outcome in HELD:
        return "holds", f"it has that image, or fetches it ({attempt.outcome})"
    runs = f"it runs {report.running.version}"
    if (
        attempt is not None
        and (attempt.order, attempt.outcome) == (recall.order.id, "confirmed")
        and seen.heard_at > recall.since
    ):
        return "updated", f"{runs} by this order"
    near = any(one.let_near(seen) for one in recall.exposures)
    if near and not _turned_away(recall, seen.heard_at, report):
        return "unheard", f"{runs}, and has not said since the recall that it was stopped"
    return "clear", runs


def _turned_away(recall: Recall, heard_at: datetime, report: Report) -> bool:
    """Whether it found, since the recall, a stop or an order that supersedes what it was let near.

    Either stays with it, whatever a server shows it later (7, 16 of the statements).
    """
    decided = report.decided
    if decided is None or min(decided.at, heard_at) <= recall.since:
        return False
    if decided.reason == Reason.STOPPED:
        return True
    return decided.order in {recall.order.id, *recall.later} and decided.reason not in UNACCEPTED


def _word(
    judge: Judge, recall: Recall, seen: Seen, words: Iterable[Opened[Disposition]]
) -> Opened[Disposition] | None:
    counting = [
        word
        for word in words
        if (word.said.enrolment, word.said.device) == (seen.enrolment, seen.device)
        and (seen.heard_at is None or seen.excluded is not None or seen.heard_at <= word.said.at)
        and disposition_counts(judge, word, recall.order.id, seen.cohort, seen.site)
    ]
    return max(counting, key=lambda word: (word.said.at, word.id), default=None)


@dataclass(frozen=True)
class Account:
    """How a recall stands (4).

    Attributes:
        affected: everybody who is or was, the open ones first, by device; those who are clear are
            counted alone.
        counts: by standing.
        open_by: the open ones, by why.
    """

    affected: tuple[Affected, ...]
    counts: Mapping[Standing, int]
    open_by: Mapping[Why, int]

    @property
    def closed(self) -> bool:
        """Whether nobody is open."""
        return not self.counts.get("open")


def account(found: Iterable[Affected]) -> Account:
    """Add up where every gateway stands (4)."""
    counts: Counter[Standing] = Counter()
    open_by: Counter[Why] = Counter()
    affected: list[Affected] = []
    for one in found:
        counts[one.standing] += 1
        if one.standing == "open":
            open_by[one.why] += 1
        if one.standing != "clear":
            affected.append(one)
    affected.sort(key=lambda one: (one.standing != "open", one.seen.device))
    return Account(tuple(affected), dict(counts), dict(open_by))
