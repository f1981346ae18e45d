"""The gateway's decision: everything it knows in, a ``Grant`` or a named ``Refusal`` out.

Pure: no file, no network, no clock of its own. The rules run in this order, and the first that
objects decides (numbers are those of ``docs/wire-format.md``):

 1. all metadata is unexpired at this clock, and the roster is young enough;
 2. the director is for my cohort, and holds nothing beside the directive and the orders' images;
 3. fleet and product are mine; my cohort is covered by the roster;
 4. the order is signed, and authorised by my cohort's rule (1-6);
 5. its ``seq`` is not superseded, here or by the roster's ``min_order_seq`` (7);
 6. what is wanted does not run already (else there is nothing to do);
 7. the order has begun and has not expired;
 8. no stop stands (15-17);
 9. a target of the order is for my hardware, and I have passed its barrier (9);
10. the chain of ``go`` is valid up to my stage, in which my point is inside; soaks kept, not
    lapsed (10-14);
11. order, image repository and director agree on length and digest of the wanted target;
12. market, and release counter or a permit (8, 19);
13. this version did not roll back here under this order;
14. space is enough;
15. only to install or reboot: no local hold, no hold of my site (22), the windows are open, my turn
    in the spread has come, the slot holds the wanted digest, and the clinical interlock says that
    now is safe.

Whatever rules 4 to 15 say, the stops that were signed are learned first (16), and an order that is
fully authorised raises the order floor (6). After the stops, a signed assignment that moves this
gateway to another cohort is obeyed (18): what this cohort wants is not for it any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from msgspec import UNSET

from interlock_core import decide_here, decide_target
from interlock_core.chain import (
    Chain,
    Papers,
    accepted_at,
    applies,
    cleared,
    read_chain,
    stage_of,
    stop_counts,
)
from interlock_core.directive import MAX_STOPS, ProductDirective
from interlock_core.errors import WireError
from interlock_core.facts import (
    Check,
    Decision,
    Floors,
    Gateway,
    Grant,
    KnownStop,
    Local,
    Phase,
    Reason,
    Refusal,
    Trusted,
)
from interlock_core.fleet import Place, move
from interlock_core.hold import Hold, standing_holds
from interlock_core.names import DIRECTIVE_PATH
from interlock_core.order import Assignment, Authorisation, Go, Order, Stop, Target
from interlock_core.release import Image
from interlock_core.roster import Judge
from interlock_core.statement import Envelope, Opened, S, open_as
from interlock_core.wire import format_time

MAX_ROSTER_AGE: Final = timedelta(days=35)


@dataclass
class _Case:
    """One decision in the making; what a rule found out stands here for those after it."""

    trusted: Trusted
    gateway: Gateway
    floors: Floors
    local: Local
    now: datetime
    judge: Judge
    floor_was: Floors
    stops: tuple[KnownStop, ...] = ()
    order_id: str | None = None
    wanted: Target | None = None
    permit: str | None = None
    moved: Opened[Assignment] | None = None
    read: Papers | Refusal = field(init=False)
    papers: Papers = field(init=False)
    chain: Chain = field(init=False)
    choice: tuple[Target, Image] | Refusal = field(init=False)
    target: Target = field(init=False)
    image: Image = field(init=False)
    stage: int = field(init=False)

    @property
    def entry(self) -> ProductDirective | None:
        return self.trusted.directive.products.get(self.gateway.product)

    @property
    def order(self) -> Opened[Order]:
        return self.papers.order


def _open_all(envelopes: Sequence[Envelope], type_: type[S]) -> list[Opened[S]]:
    """Those that can be opened: a malformed statement counts for nothing."""
    opened = []
    for envelope in envelopes:
        try:
            opened.append(open_as(envelope, type_))
        except WireError:
            continue
    return opened


def _metadata(c: _Case) -> Refusal | None:
    if not c.trusted.expiries:
        return Refusal(Reason.EXPIRED_METADATA, "no metadata was verified")
    for item in c.trusted.expiries:
        if item.expires <= c.now:
            return Refusal(
                Reason.EXPIRED_METADATA,
                f"{item.role} expired at {format_time(item.expires)}",
            )
    return None


def _roster(c: _Case) -> Refusal | None:
    roster = c.trusted.roster
    if roster.fleet != c.gateway.fleet:
        return Refusal(Reason.WRONG_FLEET, f"the roster is of fleet {roster.fleet}")
    if roster.seq < c.floor_was.roster_seq:
        return Refusal(
            Reason.ROLLBACK, f"roster {roster.seq} is older than {c.floor_was.roster_seq}"
        )
    if c.now >= roster.issued + MAX_ROSTER_AGE:
        return Refusal(
            Reason.ROSTER_STALE, f"the roster was issued at {format_time(roster.issued)}"
        )
    return None


def _cohort(c: _Case) -> Refusal | None:
    mine = c.gateway.cohort
    named = [*c.trusted.director_cohorts, c.trusted.directive.cohort]
    if not c.trusted.director_cohorts or any(cohort != mine for cohort in named):
        return Refusal(Reason.WRONG_COHORT, f"this director is not for cohort {mine}")
    if c.trusted.directive.fleet != c.gateway.fleet:
        return Refusal(Reason.WRONG_FLEET, f"the directive is of fleet {c.trusted.directive.fleet}")
    if c.judge.roster.rules_for(mine) is None:
        return Refusal(Reason.COHORT_DENIED, f"no pattern of the roster covers cohort {mine}")
    return None


def _not_moved(c: _Case) -> Refusal | None:
    if c.entry is None:
        return None
    place = Place(
        c.gateway.enrolment,
        c.gateway.device,
        c.gateway.cohort,
        c.gateway.cohort_patterns,
        c.floor_was.assignment_seq,
    )
    words = _open_all(c.entry.authorisations, Authorisation)
    c.moved = move(c.judge, _open_all(c.entry.assignments, Assignment), words, place)
    if c.moved is None:
        return None
    to_cohort = c.moved.said.to_cohort
    return Refusal(Reason.MOVED, f"this gateway is assigned to cohort {to_cohort} from now on")


def _director(c: _Case) -> Refusal | None:
    if c.trusted.director_delegates:
        return Refusal(Reason.ORDER_MISMATCH, "the director delegates")
    allowed = {DIRECTIVE_PATH}
    for entry in c.trusted.directive.products.values():
        if entry.order is not None:
            try:
                order = open_as(entry.order, Order)
            except WireError as e:
                return Refusal(Reason.MALFORMED, str(e))
            allowed |= {target.path for target in order.said.targets}
    extra = sorted(set(c.trusted.director_targets) - allowed)
    if extra:
        # Online keys choose its length, and what is said here is kept.
        return Refusal(
            Reason.ORDER_MISMATCH, f"no order names the director's target {extra[0][:120]}"
        )
    return None


def _read(c: _Case) -> Papers | Refusal:
    """The order in force and what was signed about it: opened, not judged."""
    if c.entry is None or c.entry.order is None:
        return Refusal(Reason.NOTHING_WANTED, "no order is in force here")
    try:
        order = open_as(c.entry.order, Order)
    except WireError as e:
        return Refusal(Reason.MALFORMED, str(e))
    return Papers(
        order,
        _open_all(c.entry.authorisations, Authorisation),
        _open_all(c.entry.chain, Go),
    )


def _wanted(c: _Case) -> Refusal | None:
    if isinstance(c.read, Refusal):
        return c.read
    c.papers = c.read
    c.order_id = c.order.id
    if c.order.said.fleet != c.gateway.fleet:
        return Refusal(Reason.WRONG_FLEET, f"the order is of fleet {c.order.said.fleet}")
    if c.order.said.product != c.gateway.product:
        return Refusal(Reason.WRONG_PRODUCT, f"the order is for {c.order.said.product}")
    return None


def _authorised(c: _Case) -> Refusal | None:
    if c.gateway.cohort not in c.order.said.cohorts():
        return Refusal(Reason.ORDER_MISMATCH, "the order does not name this cohort")
    if accepted_at(c.judge, c.papers, c.gateway.cohort) is None:
        return Refusal(
            Reason.UNAUTHORISED_ROLLOUT,
            "the order lacks signatures that this cohort's rule asks for",
        )
    return None


def _superseded(c: _Case) -> Refusal | None:
    seq, floor = c.order.said.seq, c.floor_was
    least = c.trusted.roster.min_order_seq.get(c.gateway.product, 0)
    if seq < least:
        return Refusal(Reason.SUPERSEDED_ORDER, f"the roster ended orders below {least}")
    if seq < floor.order_seq:
        return Refusal(
            Reason.SUPERSEDED_ORDER, f"order {seq} is older than {floor.order_seq}, accepted here"
        )
    if seq == floor.order_seq and floor.order_id not in (None, c.order.id):
        return Refusal(Reason.SUPERSEDED_ORDER, f"another order {seq} was accepted here")
    # The floor is raised before any later rule speaks (6): even a finished order supersedes.
    c.floors = replace(c.floors, order_seq=seq, order_id=c.order.id)
    return None


def _not_installed(c: _Case) -> Refusal | None:
    c.choice = decide_target.choose(c.order.said, c.gateway, c.trusted)
    if isinstance(c.choice, Refusal):
        gone = decide_target.runs_though_unlisted(c.order.said, c.gateway, c.trusted)
        if gone is not None:
            c.wanted = gone
            return Refusal(
                Reason.ALREADY_INSTALLED, f"{gone.path} runs already, and was withdrawn since"
            )
        return None
    c.wanted, _ = c.choice
    if c.wanted.sha256 == c.gateway.running_sha256:
        return Refusal(Reason.ALREADY_INSTALLED, f"{c.wanted.path} runs already")
    return None


def _in_time(c: _Case) -> Refusal | None:
    if c.now >= c.order.said.expires:
        return Refusal(
            Reason.EXPIRED_ORDER, f"the order expired at {format_time(c.order.said.expires)}"
        )
    if c.now < c.order.said.not_before:
        return Refusal(
            Reason.NOT_BEFORE, f"the order begins at {format_time(c.order.said.not_before)}"
        )
    return None


def _not_stopped(c: _Case) -> Refusal | None:
    over = cleared(c.chain)
    # All that were shown, also those beyond what is recorded.
    for stop in (*c.floors.stops, *c.stops):
        if (
            stop.order == c.order.id
            and stop.id not in over
            and applies(stop.cohort, stop.site, c.gateway.cohort, c.gateway.site)
        ):
            return Refusal(Reason.STOPPED, f"the rollout was stopped (stop {stop.id[:12]})")
    return None


def _fits(c: _Case) -> Refusal | None:
    if isinstance(c.choice, Refusal):
        return c.choice
    c.target, c.image = c.choice
    return None


def _go(c: _Case) -> Refusal | None:
    chain = c.chain
    stage = stage_of(c.order.said, c.gateway.cohort, c.target.sha256, c.gateway.device)
    if stage is None:
        return Refusal(Reason.NOT_IN_STAGE, "no stage of this order has this device inside")
    if stage >= len(chain.stages):
        if chain.claims >= stage:
            return Refusal(Reason.STAGE_NOT_OPEN, f"stage {stage} is not open: {chain.objection}")
        if not chain.stages and chain.claims < 0:
            return Refusal(Reason.NOT_STARTED, "nobody has started this order yet")
        return Refusal(Reason.NOT_IN_STAGE, f"this device is in stage {stage}, not open yet")
    until = chain.live_until(stage)
    if until is None or until <= c.now:
        return Refusal(Reason.GO_LAPSED, "nobody renewed the rollout: it stands still")
    c.stage = stage
    return None


def _facts(c: _Case) -> Refusal | None:
    permit = decide_target.permit_needed(c.order, c.target, c.image, c.gateway, c.trusted, c.now)
    if isinstance(permit, Refusal):
        return permit
    c.permit = permit
    return None


def _site(c: _Case) -> Refusal | None:
    signed = c.trusted.directive.holds
    if signed is UNSET:
        return None
    standing = standing_holds(c.judge, _open_all(signed, Hold), c.gateway.cohort)
    return decide_here.site_held(standing, c.gateway.site, c.now)


def _turn(c: _Case) -> Refusal | None:
    opened = c.chain.stages[c.stage].since
    return decide_here.not_my_turn(c.order, c.gateway.device, opened, c.local, c.now)


_Rule = Callable[[_Case], Refusal | None]
_TO_BELIEVE: Final[tuple[tuple[str, _Rule], ...]] = (
    ("metadata is unexpired", _metadata),
    ("the roster is of this fleet, and fresh", _roster),
    ("the director is for this cohort", _cohort),
)
_TO_DOWNLOAD: Final[tuple[tuple[str, _Rule], ...]] = (
    ("no assignment moves this gateway to another cohort", _not_moved),
    ("the director holds only the orders' images", _director),
    ("an order for this product is in force", _wanted),
    ("the order is authorised by this cohort's rule", _authorised),
    ("the order is not superseded", _superseded),
    ("it is not installed already", _not_installed),
    ("the order has begun and not expired", _in_time),
    ("no stop stands", _not_stopped),
    ("a target fits this hardware and its barrier", _fits),
    ("this device's stage is open, and live", _go),
    (
        "order and both repositories agree",
        lambda c: decide_target.disagreement(c.target, c.trusted),
    ),
    ("market and release counter allow it", _facts),
    (
        "it did not roll back here",
        lambda c: decide_target.rolled_back_here(c.order, c.target, c.gateway),
    ),
    ("space is enough", lambda c: decide_here.no_space(c.target, c.local)),
)
_TO_CHANGE: Final[tuple[tuple[str, _Rule], ...]] = (
    ("the hospital does not hold it back", lambda c: decide_here.held(c.local)),
    ("no signed hold of this site stands", _site),
    (
        "the window is open",
        lambda c: decide_here.outside_window(c.order.said, c.local, c.now),
    ),
    ("this device's turn has come", _turn),
    ("the slot holds the wanted image", lambda c: decide_here.slot_differs(c.image, c.local)),
    ("the clinical interlock is clear", lambda c: decide_here.not_safe(c.local)),
)


def _learn_stops(c: _Case) -> None:
    """Record every validly signed stop (16).

    A full record lets those go first that a resume has ended, and is shared evenly among those who
    signed: or else whoever signs 64 stops leaves no room for the next, which must not be forgotten.
    """
    c.stops = tuple(
        KnownStop(stop.id, stop.said.order, stop.said.cohort, stop.said.site, stop.said.author)
        for stop in _open_all(c.entry.stops if c.entry else (), Stop)
        if stop_counts(c.judge, stop, c.gateway.cohort)
    )
    c.read = _read(c)
    in_force, over = {c.floor_was.order_id}, frozenset[str]()
    if isinstance(c.read, Papers):
        if accepted_at(c.judge, c.read, c.gateway.cohort) is not None:
            in_force.add(c.read.order.id)
        c.chain = read_chain(c.judge, c.read, c.gateway.cohort)
        over = cleared(c.chain)
    known = {stop.id: stop for stop in (*c.floors.stops, *c.stops)}
    ranked = _shared(sorted(known.values(), key=lambda s: s.order not in in_force), over)
    c.floors = replace(c.floors, roster_seq=c.trusted.roster.seq, stops=tuple(ranked[:MAX_STOPS]))


def _shared(stops: Sequence[KnownStop], over: Collection[str]) -> list[KnownStop]:
    """Everybody's first stop before anybody's second; of one person, one of each order first.

    So a stolen key drives out nothing that others signed, and of what its owner signed no last stop
    of any order. Those in ``over`` come last; otherwise the order given stands.
    """
    about, by = Counter[tuple[str, str]](), Counter[str]()
    turns: list[tuple[bool, int, KnownStop]] = []
    for stop in stops:
        turns.append((stop.id in over, about[stop.author, stop.order], stop))
        about[stop.author, stop.order] += stop.id not in over
    shared: list[tuple[bool, int, KnownStop]] = []
    for ended, _, stop in sorted(turns, key=lambda turn: turn[:2]):
        shared.append((ended, by[stop.author], stop))
        by[stop.author] += 1
    return [stop for _, _, stop in sorted(shared, key=lambda turn: turn[:2])]


def decide(
    phase: Phase,
    trusted: Trusted,
    gateway: Gateway,
    floors: Floors,
    local: Local,
    now: datetime,
) -> Decision:
    """Decide one phase at ``now`` (UTC).

    The caller makes ``Decision.floors`` durable before it acts on the verdict.
    """
    c = _Case(
        trusted=trusted,
        gateway=gateway,
        floors=floors,
        local=local,
        now=now,
        judge=Judge(trusted.roster, now),
        floor_was=floors,
    )
    checks: list[Check] = []
    refusal = _first_objection(c, _TO_BELIEVE, checks)
    if refusal is None:
        # Before any check of the order, whatever that check will say (16).
        _learn_stops(c)
        refusal = _first_objection(c, _TO_DOWNLOAD, checks)
    if refusal is None and phase is not Phase.DOWNLOAD:
        refusal = _first_objection(c, _TO_CHANGE, checks)
    verdict = refusal or _grant(c)
    return Decision(verdict, c.floors, c.wanted, c.order_id, tuple(checks), c.moved)


def _first_objection(
    c: _Case, rules: Sequence[tuple[str, _Rule]], checks: list[Check]
) -> Refusal | None:
    for rule, check in rules:
        refusal = check(c)
        checks.append(Check(rule, refusal is None, refusal.detail if refusal else ""))
        if refusal is not None:
            return refusal
    return None


def _grant(c: _Case) -> Grant:
    return Grant(c.order.id, c.target, c.image, c.stage, c.permit)
