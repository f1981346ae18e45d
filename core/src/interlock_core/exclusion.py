"""A known issue: failures that two people leave out of the counts of one order (pure).

No gateway reads it: what it changes is when the server and the monitor stop by themselves.

Rules:

1. An exclusion names one order, and either one device or one reason for which devices fail, and
   never more than that: nobody leaves out "everything".
2. It counts at a cohort when an operator over that cohort signed it and others authorised it by
   the cohort's rule ``resume``: leaving failures out is as much as going on in spite of them. Where
   that rule asks for nobody else, one other operator must: one person alone excludes nothing.
3. It takes a device off both sides, failed and started (``abort``, rule 1), whenever it failed. One
   that did not fail stays in.
4. It counts by the roster of the moment, as everything does: when somebody whom it needs is
   revoked or his grant runs out, those that it left out are failures again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from interlock_core.names import DeviceId, Digest
from interlock_core.order import Authorisation
from interlock_core.report import ReasonName
from interlock_core.roster import OPERATOR, Judge
from interlock_core.statement import Opened, Said, Subject, subject


class Exclusion(Said, frozen=True, kw_only=True):
    """Leaves the failures of one device, or those of one reason, out of the counts of an order.

    Attributes:
        device: whose failure; None for any device's.
        failure: the reason that the device gave, or ``silent`` where it was not heard; None for
            any reason.
    """

    PREDICATE = "urn:interlock:exclusion:v1"

    order: Digest
    device: DeviceId | None
    failure: ReasonName | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.device is None) == (self.failure is None):
            raise ValueError("an exclusion names a device or a reason, and not both")

    def subjects(self) -> tuple[Subject, ...]:
        """The order, by id."""
        return (subject("order", self.order),)

    def covers(self, device: str, failure: str) -> bool:
        """Whether it is about this failure of this device (rule 3)."""
        return self.device == device if self.device is not None else self.failure == failure


def asked(judge: Judge, cohort: str) -> Mapping[str, int] | None:
    """How many others of which role an exclusion takes at a cohort; None where nobody may (2)."""
    rules = judge.rules_for(cohort)
    if rules is None:
        return None
    return rules.resume if any(rules.resume.values()) else {OPERATOR: 1}


def excluded_since(
    judge: Judge,
    exclusion: Opened[Exclusion],
    words: Sequence[Opened[Authorisation]],
    cohort: str,
) -> datetime | None:
    """Since when an exclusion counts at a cohort, or None if it does not (rule 2)."""
    rule = asked(judge, cohort)
    if rule is None or judge.author_is(exclusion, (OPERATOR,), cohort) is None:
        return None
    since = judge.authorised_at(exclusion, rule, words, cohort)
    return since if since is not None and since <= judge.now else None
