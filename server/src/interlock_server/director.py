"""What each cohort's director shall say: pure, from the statements on file and the roster.

Rules (numbers in brackets are those of ``docs/wire-format.md``, "Who is believed"):

1. In force for a cohort and product is the accepted order with the highest ``seq`` (6, 7): one that
   a cohort has not consented to is not served there. An order below the roster's ``min_order_seq``
   is over. An expired one stays until it is replaced, so that a finished fleet reads "nothing to
   do" and the others read why not.
2. A baseline is served only where no update or recall is in force (8): an unexpired one comes
   first whatever the numbers say; an expired one gives way to a baseline with a higher number.
3. The directive holds the order in force, every ``go`` that counts now, the first word of each
   person and role about either, and every stop that is validly signed and that no resume has
   cleared (15, 16). Nothing is enlarged by what is left out.
4. A directive has limits. If more was signed than fits, each product is cut within its own share,
   the least important first: nobody can crowd out another product, a recall, or a wider stop.
5. The director lists the directive and the targets of the orders in it, exactly as the image
   repository does (TAP 4).
6. An assignment stands under the product of its enrolment, at the cohort that it leads out of,
   while it counts (18) and no other of that enrolment and cohort with a higher ``seq`` does: one
   that leads out of another cohort, whoever signed it, hides none. Each stands there
   with the words that it needs or not at all, the newest first, after all that the order needs.
7. Of an order that the server holds at a cohort no opening and no renewal is shown: gateways that
   have not begun wait (``not_started``). Its resumes are: stops that they ended stay ended.
8. A hold stands at every cohort that has devices of its site, while it counts there (22) and is not
   over; of more than fit, one of each site first, the longest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec import UNSET
from tuf.api.metadata import TargetFile

from interlock_core import wire
from interlock_core.chain import Chain, cleared, goes_in_force, read_chain, stop_counts
from interlock_core.current import in_force
from interlock_core.directive import (
    MAX_DIRECTIVE,
    MAX_HOLDS,
    MAX_STOPS,
    Directive,
    ProductDirective,
)
from interlock_core.errors import RefusedError
from interlock_core.fleet import assigned_at
from interlock_core.hold import standing_holds
from interlock_core.order import Assignment, Authorisation, Go, Order, Stop
from interlock_core.roster import COUNTING_MEANINGS, Judge, order_of_signing
from interlock_core.statement import Envelope, Opened
from interlock_server.image import Released
from interlock_server.onfile import OnFile

MAX_LINKS: Final = 256
"""How many authorisations, goes, and assignments a directive holds for one product."""
MAX_PRODUCTS: Final = 64
HOLDS_SHARE: Final = MAX_DIRECTIVE // 8
"""How many bytes of a directive holds may take."""


@dataclass(frozen=True)
class Directed:
    """What one cohort's director shall list.

    Attributes:
        directive: its text.
        images: the targets beside the directive.
        unlisted: targets that an order names and the image repository does not have any more as
            the order names them; gateways refuse those orders.
        cut: products of which not everything fitted (rule 4).
    """

    directive: bytes
    images: dict[str, TargetFile]
    unlisted: tuple[str, ...]
    cut: tuple[str, ...]


def direct(
    judge: Judge | None,
    on_file: OnFile,
    released: Released,
    fleet: str,
    cohort: str,
    held: Collection[str] = (),
) -> Directed:
    """What the director of ``cohort`` shall list now.

    Args:
        judge: the roster at the time of decision; None before the first roster.
        held: the ids of orders that the server holds here (rule 7).

    Raises:
        RefusedError: ``directive_too_large``: the orders in force alone are too long.
    """
    products: dict[str, ProductDirective] = {}
    orders: list[Opened[Order]] = []
    if judge is not None:
        moves = moves_from(judge, on_file, cohort)
        ordered = {order.said.product for order in on_file.orders}
        for product in [*sorted(ordered), *sorted(set(moves) - ordered)]:
            order = in_force(judge, on_file.orders_of(product), on_file.papers, cohort)
            stops = _stops(judge, on_file, product, cohort, order)
            if order is not None:
                orders.append(order)
            leaving = moves.get(product, ())
            if order is not None or stops or (leaving and len(products) < MAX_PRODUCTS):
                held_here = order is not None and order.id in held
                products[product] = _entry(
                    judge, on_file, order, cohort, stops, leaving, held=held_here
                )
    holds = _holds(judge, on_file, cohort) if judge is not None else ()
    directive, cut = _fitted(fleet, cohort, products, holds)
    images, unlisted = _images(orders, released)
    return Directed(directive, images, unlisted, cut)


def moves_from(
    judge: Judge, on_file: OnFile, cohort: str
) -> Mapping[str, Sequence[Opened[Assignment]]]:
    """The assignments that lead out of a cohort now, by product, newest first (rule 6)."""
    last: dict[str, Opened[Assignment]] = {}
    for one in on_file.assignments:
        if one.said.from_cohort != cohort:
            continue
        best = last.get(one.said.enrolment)
        higher = best is None or one.said.seq > best.said.seq
        if higher and assigned_at(judge, one, on_file.words(one.id)) is not None:
            last[one.said.enrolment] = one
    moves: dict[str, list[Opened[Assignment]]] = {}
    for one in reversed(on_file.assignments):
        enrolment = on_file.enrolled.get(one.said.enrolment)
        if enrolment is not None and last.get(one.said.enrolment) is one:
            moves.setdefault(enrolment.said.product, []).append(one)
    return moves


def _entry(
    judge: Judge,
    on_file: OnFile,
    order: Opened[Order] | None,
    cohort: str,
    stops: Sequence[Opened[Stop]],
    leaving: Sequence[Opened[Assignment]],
    *,
    held: bool,
) -> ProductDirective:
    goes: list[Opened[Go]] = []
    words: list[Opened[Authorisation]] = []
    assignments: list[Opened[Assignment]] = []
    if order is not None:
        papers = on_file.papers(order)
        chain = read_chain(judge, papers, cohort)
        goes = (list(chain.resumes) if held else _ranked(chain))[:MAX_LINKS]
        words = _words(judge, papers.authorisations, [order, *goes])[:MAX_LINKS]
    for one in leaving[:MAX_LINKS]:
        about = _words(judge, on_file.words(one.id), [one])
        if len(words) + len(about) > MAX_LINKS:
            break
        words += about
        assignments.append(one)
    return ProductDirective(
        order=order.envelope if order else None,
        authorisations=tuple(word.envelope for word in words),
        chain=tuple(go.envelope for go in goes),
        stops=tuple(stop.envelope for stop in stops[:MAX_STOPS]),
        assignments=tuple(one.envelope for one in assignments),
    )


def _ranked(chain: Chain) -> list[Opened[Go]]:
    """The goes in force, those first without which the others count for nothing."""
    needed = [stage.opening for stage in chain.stages]
    known = {go.id for go in needed}
    rest = {go.id: go for go in goes_in_force(chain) if go.id not in known}
    return [
        *needed,
        *sorted(rest.values(), key=lambda go: (go.said.act == "open", go.said.at, go.id)),
    ]


def _words(
    judge: Judge,
    authorisations: Sequence[Opened[Authorisation]],
    subjects: Sequence[Opened[Order] | Opened[Go] | Opened[Assignment]],
) -> list[Opened[Authorisation]]:
    """Each person's first word in each role that could count, by the rank of its subject."""
    about = {subject.id: (rank, subject.said.author) for rank, subject in enumerate(subjects)}
    first: dict[tuple[int, str, str], Opened[Authorisation]] = {}
    for word in sorted(authorisations, key=order_of_signing):
        rank, author = about.get(word.said.id, (0, word.said.author))
        if (
            word.said.author != author
            and word.said.meaning in COUNTING_MEANINGS
            # A word under a key that is gone must not hide the same person's newer one.
            and judge.signer_key(word) is not None
        ):
            first.setdefault((rank, word.said.author, word.said.role), word)
    return [first[key] for key in sorted(first)]


def _stops(
    judge: Judge, on_file: OnFile, product: str, cohort: str, current: Opened[Order] | None
) -> list[Opened[Stop]]:
    """Stops that stand here, the most important first (rules 3 and 4)."""
    standing: list[Opened[Stop]] = []
    for order in on_file.orders:
        stops = on_file.stops_of(order)
        if order.said.product != product or cohort not in order.said.cohorts() or not stops:
            continue
        over = cleared(read_chain(judge, on_file.papers(order), cohort))
        standing += [
            stop for stop in stops if stop.id not in over and stop_counts(judge, stop, cohort)
        ]
    in_force_id = current.id if current else None

    def rank(stop: Opened[Stop]) -> tuple[bool, bool, bool, datetime, str]:
        said = stop.said
        # The widest of the order in force first, then the oldest: a flood of narrow ones, or of
        # new ones, drives nothing out that stops more.
        return (
            said.order != in_force_id,
            said.cohort not in {None, cohort},
            said.site is not None,
            said.at,
            stop.id,
        )

    return sorted(standing, key=rank)


def _holds(judge: Judge, on_file: OnFile, cohort: str) -> tuple[Envelope, ...]:
    """The holds that stand here, within their share (rule 8)."""
    here = on_file.sites.get(cohort, ())
    nth: Counter[str] = Counter()
    ranked: list[tuple[int, Envelope]] = []
    for hold in standing_holds(judge, on_file.holds, cohort):
        if hold.said.site in here:
            ranked.append((nth[hold.said.site], hold.envelope))
            nth[hold.said.site] += 1
    ordered = [envelope for _, envelope in sorted(ranked, key=lambda pair: pair[0])]
    return _within(ordered[:MAX_HOLDS], HOLDS_SHARE)


def _fitted(
    fleet: str,
    cohort: str,
    products: Mapping[str, ProductDirective],
    holds: tuple[Envelope, ...],
) -> tuple[bytes, tuple[str, ...]]:
    """The directive's text, and the products that were cut to make it fit (rule 4)."""

    def text_of(products: Mapping[str, ProductDirective]) -> bytes:
        return wire.encode(
            Directive(fleet=fleet, cohort=cohort, products=dict(products), holds=holds or UNSET)
        )

    whole = text_of(products)
    if len(whole) <= MAX_DIRECTIVE:
        return whole, ()
    # Equal shares, so that what is signed about one product takes no room from another.
    share = (MAX_DIRECTIVE - len(wire.encode(holds))) // len(products) // 5
    shorter = {
        name: ProductDirective(
            order=entry.order,
            authorisations=_within(entry.authorisations, share),
            chain=_within(entry.chain, share),
            stops=_within(entry.stops, share),
            assignments=_within(entry.assignments, share),
        )
        for name, entry in products.items()
    }
    text = text_of(shorter)
    if len(text) > MAX_DIRECTIVE:
        raise RefusedError(
            f"The orders in force at {cohort} are longer than a directive may be: the old "
            "directive stands.",
            reason="directive_too_large",
        )
    return text, tuple(name for name in products if products[name] != shorter[name])


def _within(envelopes: Sequence[Envelope], limit: int) -> tuple[Envelope, ...]:
    kept: list[Envelope] = []
    for envelope in envelopes:
        limit -= len(wire.encode(envelope)) + 1
        if limit < 0:
            break
        kept.append(envelope)
    return tuple(kept)


def _images(
    orders: Iterable[Opened[Order]], released: Released
) -> tuple[dict[str, TargetFile], tuple[str, ...]]:
    images: dict[str, TargetFile] = {}
    unlisted: list[str] = []
    for order in orders:
        for target in order.said.targets:
            info = released.target(target.path)
            if info is None or info.hashes.get("sha256") != target.sha256:
                unlisted.append(target.path)
            else:
                # Facts come from the image repository alone: no custom here.
                images[target.path] = TargetFile(info.length, dict(info.hashes), target.path)
    return images, tuple(unlisted)
