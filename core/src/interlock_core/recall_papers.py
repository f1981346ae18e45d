"""What people sign about a recall, beside its order (pure).

A recall is an order like any other, of the kind ``recall``; gateways obey nothing else. Beside it
stand two statements that no gateway reads: the *notice* says which images are taken back, and a
*disposition* is a person's word about one gateway.

Rules:

1. A notice counts if an operator over a cohort of its order signed it. It names an order of kind
   ``recall``, and images that this order does not want. Of several, all images count.
2. A disposition counts if an operator over the gateway's cohort, or an engineer of its site over
   that cohort, signed it for this order and this enrolment.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta

from interlock_core.fleet import COUNTERSIGNERS
from interlock_core.names import DeviceId, Digest, Name, TargetPath
from interlock_core.order import Order
from interlock_core.roster import OPERATOR, Judge
from interlock_core.statement import Opened, Said, Subject, subject
from interlock_core.wire import Record

MAX_RECALLED: Final = 64


class Recalled(Record, frozen=True, kw_only=True):
    """One image that is taken back."""

    path: TargetPath
    sha256: Digest


class Notice(Said, frozen=True, kw_only=True):
    """Which images an order of kind ``recall`` takes back (1).

    Attributes:
        order: the order that leads away from them.
    """

    PREDICATE = "urn:interlock:recall:v1"

    order: Digest
    product: Name
    images: Annotated[tuple[Recalled, ...], Meta(min_length=1, max_length=MAX_RECALLED)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len({image.sha256 for image in self.images}) != len(self.images):
            raise ValueError("`images` names one image twice")

    def subjects(self) -> tuple[Subject, ...]:
        """The order by id, and each image by path."""
        return (
            subject("order", self.order),
            *(subject(image.path, image.sha256) for image in self.images),
        )


Given = Literal["unreachable", "returned", "decommissioned"]
"""What people say of a gateway that does not say that it was updated."""
GIVEN: Final[tuple[Given, ...]] = ("unreachable", "returned", "decommissioned")


class Disposition(Said, frozen=True, kw_only=True):
    """A person's word on what became of one gateway under one recall (2).

    Attributes:
        since: from when on it is so.
    """

    PREDICATE = "urn:interlock:disposition:v1"

    order: Digest
    enrolment: Digest
    device: DeviceId
    disposition: Given
    since: datetime

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.since > self.at:
            raise ValueError("`since` must not lie after `at`")

    def subjects(self) -> tuple[Subject, ...]:
        """The order and the enrolment, by id."""
        return (subject("order", self.order), subject("enrolment", self.enrolment))


RECALL_STATEMENTS: Final = (Notice, Disposition)


# What counts


def notice_counts(judge: Judge, notice: Opened[Notice], order: Opened[Order]) -> bool:
    """Whether a notice counts for its order (1)."""
    said = notice.said
    wanted = {target.sha256 for target in order.said.targets}
    return (
        said.order == order.id
        and order.said.kind == "recall"
        and said.product == order.said.product
        and said.at <= judge.now
        and wanted.isdisjoint(image.sha256 for image in said.images)
        and any(judge.author_is(notice, (OPERATOR,), cohort) for cohort in order.said.cohorts())
    )


def disposition_counts(
    judge: Judge, word: Opened[Disposition], order_id: str, cohort: str, site: str
) -> bool:
    """Whether a person entitled gave this word, by now (2).

    Args:
        judge: the roster, now.
        word: the disposition.
        order_id: of the recall.
        cohort: where the gateway is.
        site: likewise.
    """
    return (
        word.said.order == order_id
        and word.said.at <= judge.now
        and judge.author_is(word, COUNTERSIGNERS, cohort, site) is not None
    )
