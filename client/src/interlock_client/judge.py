"""Decides, and keeps what was learned and why (I/O around the pure decision).

Rules:

1. What a decision learned (stops, order and roster floors) and its time are durable before
   anybody acts on its verdict.
2. Every decision is recorded with everything that went into it; so is a refusal that came before
   anything could be decided.
3. A signed assignment is obeyed as soon as it is durable: the same command asks the new cohort's
   director and decides again. What was decided for the old cohort counts for nothing then.
4. Permits are asked for when one is all that is missing, and what was decided without is durable
   (``permits``). The decision is made again with those that could be had.
5. Only a decision that was reached is remembered as the last one, and only if all that was believed
   outlasts it (``clock``, rule 5). A clock that is far ahead makes metadata look expired or the
   roster old, and nothing remains of that once it is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from interlock_client import interlock, permits, poll, scratch
from interlock_client.believe import Believed, believe
from interlock_client.context import Context, Place, running
from interlock_client.journal import Journal
from interlock_client.memory import Answered, Assigned, Memory, OrderFloor, RecordedStop
from interlock_client.outcome import Outcome, of_exit
from interlock_client.poll import Polled, Settled
from interlock_client.probes import Verdict
from interlock_client.reading import ends
from interlock_client.sealed import Checked
from interlock_client.timekeeping import looked, timed
from interlock_core import facts
from interlock_core.clock import first_end, kept_until
from interlock_core.decide import decide
from interlock_core.directive import ProductDirective
from interlock_core.errors import RefusedError, TransientError, WireError
from interlock_core.facts import (
    Decision,
    Floors,
    Grant,
    KnownStop,
    Local,
    Phase,
    Reason,
    Refusal,
    Trusted,
    exit_of,
)
from interlock_core.order import Assignment, Authorisation, Window
from interlock_core.statement import open_statement

HOLD_SHOWN = 200
MAX_MOVES = 4
"""How often one command follows assignments from cohort to cohort."""

NOTHING_READ: Mapping[str, str] = MappingProxyType({})

_TOO_LATE = frozenset({Reason.EXPIRED_METADATA, Reason.ROSTER_STALE})


@dataclass(frozen=True)
class Judgement:
    """One decision, made and recorded.

    Attributes:
        memory: as it is now on the disk.
        at: the time of the decision.
        slots: by slot name, digests of what the inactive side holds, if the decision took it in.
    """

    decision: Decision
    believed: Believed
    memory: Memory
    at: datetime
    slots: Mapping[str, str]

    def refusal(self) -> Outcome | None:
        """The outcome of a refusal; None if it was a grant."""
        verdict = self.decision.verdict
        if not isinstance(verdict, Refusal):
            return None
        reason = verdict.reason
        return of_exit(exit_of(reason), reason.value, f"{verdict.detail}.", **self.more())

    def more(self) -> dict[str, Any]:
        """What machines are told beside the verdict."""
        wanted, verdict = self.decision.wanted, self.decision.verdict
        return {
            "order": self.decision.order,
            "target": wanted.path if wanted else None,
            "target_sha256": wanted.sha256 if wanted else None,
            "permit": verdict.permit if isinstance(verdict, Grant) else None,
            "decided_at": self.at,
        }


def judge(context: Context, polled: Polled, phase: Phase, **asked: Any) -> Judgement:
    """Believe and decide afresh, in the cohort to which this gateway is assigned by then (rule 3).

    Args:
        context: the gateway, locked.
        polled: the answer to a poll made now.
        phase: what is asked for.
        asked: as ``again`` takes it.

    Raises:
        RefusedError: nothing could be believed; recorded (rule 2).
        TransientError: ``network``, or the disk; ``moving``: assigned from cohort to cohort.
        ConfigurationError, NotFoundError: an embedded root is missing or wrong.
    """
    for _ in range(MAX_MOVES + 1):
        judgement = _judge(context, polled, phase, **asked)
        if judgement.decision.moved is None:
            return judgement
        polled = context.poll()
    raise TransientError(
        f"This gateway was assigned to another cohort {MAX_MOVES + 1} times in a row: it goes on "
        "at the next poll.",
        reason="moving",
    )


def _judge(context: Context, polled: Polled, phase: Phase, **asked: Any) -> Judgement:
    memory = context.memory()
    cohort = context.place(memory).cohort
    scratch.sweep(context.state)
    polled = poll.restored(polled, cohort, context.state)
    now = context.times.decision_time(memory.clock_floor, memory.last)
    try:
        believed = believe(context, polled, memory, now)
    except RefusedError as e:
        poll.note_trouble(context.state, e.reason, now)
        if (clocked := looked(memory, context.times, now)) != memory:
            context.remember(clocked)
        _record(context, now, phase, {"outcome": "refused", "reason": e.reason, "detail": str(e)})
        raise
    poll.note_trouble(context.state, None, now)
    believed, memory = _with_permits(context, believed)
    judgement = again(context, believed, memory, phase, **asked)
    settled = _settled(context, judgement)
    poll.keep(believed.polled, cohort, settled, context.state)
    return judgement


def _with_permits(context: Context, believed: Believed) -> tuple[Believed, Memory]:
    """With the permits that could be had, if one is all that is missing (rule 4)."""
    read, memory = believed.facts, believed.facts.memory
    if not read.permits:
        return believed, memory
    now = context.times.decision_time(memory.clock_floor, memory.last)
    place = context.place(memory)
    gateway = _gateway(context, memory, place, context.journal())
    local = _local(context, now, slots={}, answer=None)
    floors = _floors(context, memory, place)
    decision = decide(Phase.DOWNLOAD, read.trusted, gateway, floors, local, now)
    verdict, wanted = decision.verdict, decision.wanted
    if wanted is None or not isinstance(verdict, Refusal):
        return believed, memory
    if verdict.reason is not Reason.BELOW_FLOOR:
        return believed, memory
    memory = context.remember(_learned(context, memory, place, decision, read.trusted, now))
    could = permits.for_move(
        read.permits,
        from_sha256=gateway.running_sha256,
        to_sha256=wanted.sha256,
        spent=gateway.spent_permits,
        now=now,
    )
    first = believed.server
    others = (server for server in context.servers.each if server is not first)
    had = permits.have(could, (first, *others), context.state)
    facts_ = replace(
        read,
        trusted=replace(read.trusted, permits=had.permits, permits_missing=had.missing),
        inputs=read.inputs
        | {"permits": sorted(had.permits), "permits_missing": dict(sorted(had.missing.items()))},
    )
    return replace(believed, facts=facts_), memory


def again(
    context: Context,
    believed: Believed,
    memory: Memory,
    phase: Phase,
    *,
    slots: Mapping[str, str] | Callable[[], Mapping[str, str]] = NOTHING_READ,
    ask: bool = False,
) -> Judgement:
    """Decide another phase about what is believed already.

    Args:
        context: the gateway, locked.
        believed: what both repositories say.
        memory: floors in force.
        phase: what is asked for.
        slots: by slot name, digests of what the inactive side holds; or reads it back, after all
            that was fetched.
        ask: whether to ask the clinical interlock.

    Raises:
        TransientError: the disk did not do it.
    """
    found = slots() if callable(slots) else slots
    now = context.times.decision_time(memory.clock_floor, memory.last)
    place = context.place(memory)
    gateway = _gateway(context, memory, place, context.journal())
    answer = context.ask_interlock() if ask else None
    local = _local(context, now, slots=found, answer=answer)
    floors = _floors(context, memory, place)
    decision = decide(phase, believed.facts.trusted, gateway, floors, local, now)
    memory = _learned(context, memory, place, decision, believed.facts.trusted, now)
    memory = context.remember(_asked(memory, answer, now))
    verdict = decision.verdict
    _record(
        context,
        now,
        phase,
        {
            "outcome": "refused",
            "reason": verdict.reason,
            "detail": verdict.detail,
            "exit": int(exit_of(verdict.reason)),
        }
        if isinstance(verdict, Refusal)
        else {
            "outcome": "granted",
            "reason": "granted",
            "detail": verdict.target.path,
            "permit": verdict.permit,
        },
        inputs=believed.facts.inputs,
        gateway=gateway,
        floors=floors,
        local=local,
        order=decision.order,
        wanted=decision.wanted,
        checks=decision.checks,
        moved=decision.moved and {"id": decision.moved.id, "cohort": decision.moved.said.to_cohort},
    )
    return Judgement(decision, believed, memory, now, found)


def _gateway(context: Context, memory: Memory, place: Place, journal: Journal) -> facts.Gateway:
    settings = context.settings
    present = running(memory, journal, context.installer.booted())
    return facts.Gateway(
        fleet=settings.fleet,
        device=settings.device,
        product=settings.product,
        cohort=place.cohort,
        hardware=settings.hardware,
        market=settings.market,
        site=settings.site,
        running_sha256=present.sha256 if present else None,
        running_counter=present.counter if present else 0,
        highest_confirmed_counter=memory.highest_confirmed_counter,
        release_floor=memory.release_floor,
        rolled_back=frozenset((pair.order, pair.sha256) for pair in memory.rolled_back),
        spent_permits=frozenset(memory.spent_permits),
        enrolment=place.enrolment,
        cohort_patterns=settings.cohort_patterns,
    )


def _local(
    context: Context, now: datetime, *, slots: Mapping[str, str], answer: Verdict | None
) -> Local:
    settings = context.settings
    standing = context.installer.standing()
    window = settings.window
    return Local(
        hold=_hold(context),
        window=Window(opens=window.opens, closes=window.closes) if window else None,
        utc_offset=context.times.utc_offset(now),
        interlock=facts.InterlockAnswer(answer.passed, answer.detail) if answer else None,
        # What the slot holds now counts as free. With unconfirmed firmware running there is no
        # slot that may be written.
        free_bytes=context.installer.room() if standing.booted == standing.active else 0,
        slot_digests=dict(slots),
    )


def _hold(context: Context) -> str | None:
    path = context.settings.hold_file
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            line = file.readline(4 * HOLD_SHOWN)
    except FileNotFoundError:
        return None
    except OSError as e:
        return f"the hold file {path} cannot be read ({e.strerror})"
    text = line.decode(errors="replace").strip()
    return "".join(c if c.isprintable() else "?" for c in text)[:HOLD_SHOWN] or "no reason given"


def _floors(context: Context, memory: Memory, place: Place) -> Floors:
    product = context.settings.product
    floor = memory.order_floor(product, place.cohort)
    return Floors(
        roster_seq=memory.roster_seq,
        order_seq=floor.seq,
        order_id=floor.id,
        stops=tuple(
            KnownStop(stop.id, stop.order, stop.cohort, stop.site, stop.author)
            for stop in memory.stops(product)
        ),
        assignment_seq=place.seq,
    )


def _learned(
    context: Context,
    memory: Memory,
    place: Place,
    decision: Decision,
    trusted: Trusted,
    now: datetime,
) -> Memory:
    settings, floors, verdict = context.settings, decision.floors, decision.verdict
    too_late = isinstance(verdict, Refusal) and verdict.reason in _TOO_LATE
    floor = OrderFloor(
        seq=floors.order_seq,
        id=floors.order_id,
        stops=tuple(
            RecordedStop(
                id=stop.id,
                order=stop.order,
                cohort=stop.cohort,
                site=stop.site,
                author=stop.author,
            )
            for stop in floors.stops
        ),
    )
    until = None if too_late else _kept_until(trusted)
    accepted = memory.having_accepted(settings.product, place.cohort, floor)
    return msgspec.structs.replace(
        timed(accepted, context.times, now, until),
        roster_seq=floors.roster_seq,
        assigned=_obeyed(context, place, decision) or memory.assigned,
    )


def _kept_until(trusted: Trusted) -> datetime:
    return kept_until(first_end(ends(trusted.expiries, trusted.roster)))


def _obeyed(context: Context, place: Place, decision: Decision) -> Assigned | None:
    """The assignment to be obeyed from now on, with its number as the floor (rules 1 and 3)."""
    if decision.moved is None or place.enrolment is None:
        return None
    said = decision.moved.said
    return Assigned(
        enrolment=place.enrolment,
        seq=said.seq,
        cohort=said.to_cohort,
        configured=context.settings.cohort,
        id=decision.moved.id,
        by=said.author,
        at=said.at,
        reason=said.reason,
    )


def _asked(memory: Memory, answer: Verdict | None, now: datetime) -> Memory:
    """With the clinical interlock's answer, for those who are told how safety is judged here."""
    if answer is None:
        return memory
    checks = tuple(Checked(name=probe.name, passed=probe.passed) for probe in answer.probes)
    return msgspec.structs.replace(
        memory, interlock=Answered(at=now, clear=answer.passed, checks=checks)
    )


def _settled(context: Context, judgement: Judgement) -> Settled | None:
    """What the same bytes need not be decided again for, and until when."""
    outcome = judgement.refusal()
    if outcome is None or outcome.exit_code != 0 or judgement.decision.moved is not None:
        return None
    present = running(judgement.memory, context.journal(), context.installer.booted())
    trusted = judgement.believed.facts.trusted
    return Settled(
        reason=outcome.reason,
        detail=outcome.detail,
        config=context.trusted_digest(),
        booted=context.installer.booted(),
        running=present.sha256 if present else None,
        enrolment=context.place(judgement.memory).enrolment,
        until=_until(trusted, context.settings.product, judgement.at),
        kept_until=_kept_until(trusted),
    )


def _until(trusted: Trusted, product: str, now: datetime) -> datetime:
    """When the same bytes may mean something else.

    The earliest end of anything that was believed (metadata, the roster, a person's grant), or the
    beginning of an assignment that is dated ahead of this gateway's clock.
    """
    persons = [
        grant.expires
        for person in trusted.roster.persons
        for grant in person.grants
        if grant.expires > now
    ]
    believed = ends(trusted.expiries, trusted.roster)
    return min([*believed, *persons, *_ahead(trusted.directive.products.get(product), now)])


def _ahead(entry: ProductDirective | None, now: datetime) -> Iterator[datetime]:
    for envelope in (*entry.assignments, *entry.authorisations) if entry is not None else ():
        with suppress(WireError):
            said = open_statement(envelope, (Assignment, Authorisation)).said
            if said.at > now:
                yield said.at


def _record(
    context: Context, now: datetime, phase: Phase, verdict: Mapping[str, Any], **inputs: Any
) -> None:
    context.decisions().record(
        {
            "type": "urn:interlock:decision:v1",
            "at": now,
            "phase": phase.value,
            "verdict": verdict,
            "config": context.settings.digest(),
            "interlock": interlock.mode(context.settings),
            **inputs,
        }
    )
