"""Everything that a server returned about one order, opened (pure).

Rules:

1. A statement's id is computed from its payload. An order under another id than was asked for is
   refused; a statement that cannot be read, or is about something else, is counted and left out.
2. Opening judges nothing: whose signature counts is for ``view`` and the plans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from interlock_core.api import Rollout
from interlock_core.chain import Papers
from interlock_core.errors import RefusedError, WireError
from interlock_core.exclusion import Exclusion
from interlock_core.order import Authorisation, Go, Order, Stop
from interlock_core.statement import Envelope, Opened, Said, open_as

S = TypeVar("S", bound=Said)


@dataclass(frozen=True)
class Dossier:
    """Everything that was signed about one order, opened and not judged.

    Attributes:
        order: under the id that was asked for.
        stops: those that name this order.
        exclusions: likewise; what was said about them is among the authorisations.
        left_out: how many statements could not be read or are about something else.
        told: what the server says about it, for comparison only.
    """

    order: Opened[Order]
    authorisations: tuple[Opened[Authorisation], ...]
    goes: tuple[Opened[Go], ...]
    stops: tuple[Opened[Stop], ...]
    left_out: int
    told: Rollout
    exclusions: tuple[Opened[Exclusion], ...] = ()

    @property
    def papers(self) -> Papers:
        """The order with its chain, as ``chain`` reads it."""
        return Papers(self.order, self.authorisations, self.goes)


def open_rollout(told: Rollout, order_id: str) -> Dossier:
    """Open what a server returned for ``order_id`` (rule 1).

    Raises:
        RefusedError: ``wrong_order``: the order has another id.
        WireError: the order is malformed.
    """
    order = open_as(told.order, Order)
    if order.id != order_id:
        raise RefusedError(
            f"The server answered with the order {order.id} when asked for {order_id}: what it "
            "says about this order is not believed. Ask who runs it.",
            reason="wrong_order",
        )
    goes, bad_goes = _open_all(told.goes, Go)
    stops, bad_stops = _open_all(told.stops, Stop)
    words, bad_words = _open_all(told.authorisations, Authorisation)
    exclusions, words_about, bad_known = _open_known_issues(told.exclusions)
    words += words_about
    mine = tuple(go for go in goes if go.said.order == order.id)
    issues = tuple(one for one in exclusions if one.said.order == order.id)
    known = {order.id, *(go.id for go in mine), *(one.id for one in issues)}
    about = tuple(word for word in words if word.said.id in known)
    against = tuple(stop for stop in stops if stop.said.order == order.id)
    foreign = len(goes) - len(mine) + len(words) - len(about) + len(stops) - len(against)
    foreign += len(exclusions) - len(issues)
    bad = bad_goes + bad_stops + bad_words + bad_known
    return Dossier(order, about, mine, against, bad + foreign, told, issues)


def _open_known_issues(
    envelopes: Sequence[Envelope],
) -> tuple[list[Opened[Exclusion]], list[Opened[Authorisation]], int]:
    """The exclusions, and what was said about them: they come in one list."""
    exclusions, others = _open_all(envelopes, Exclusion)
    words, no_words = _open_all(envelopes, Authorisation)
    # Each is one of the two at most: what is neither was counted twice.
    return exclusions, words, others + no_words - len(envelopes)


def _open_all(envelopes: Sequence[Envelope], type_: type[S]) -> tuple[list[Opened[S]], int]:
    opened: dict[str, Opened[S]] = {}
    bad = 0
    for envelope in envelopes:
        try:
            one = open_as(envelope, type_)
        except WireError:
            bad += 1
            continue
        opened.setdefault(one.id, one)
    return list(opened.values()), bad
