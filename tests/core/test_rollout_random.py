"""Any order of what people, gateways and time may do: what nobody may break is held at each step.

A small fleet is led by the real engine (``rollout``, ``action``, ``abort``) and decides by the real
``decide``. Beside them stands a model of a page, which knows nothing of signatures: when each stage
was opened by those who may, and which stops stand. Held after every event:

1. Nobody outside a stage that people opened is granted, and no stage counts before its time.
2. A larger share contains the smaller: with a gateway, all of a lower point at its cohort are in.
3. A stop that was shown wins, whatever else is shown, until people resume.
4. Counts are those of the devices that were started, each once.
5. While nothing stands in the way, those who are inside are granted: the rules above are not kept
   by refusing everybody.
6. The same events again give the same.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from interlock_core import action, rollout
from interlock_core.abort import Counts, Place
from interlock_core.action import Action, Reported, Tick, counts_of
from interlock_core.chain import Papers, first_stage
from interlock_core.current import in_force
from interlock_core.facts import Floors, Grant, Phase
from interlock_core.order import Authorisation, Go, Order, Stop
from interlock_core.placement import point
from interlock_core.report import Outcome
from interlock_core.rollout import Counted, OpenActions, Read, Rollout
from interlock_core.rollout_reading import at_cohort
from interlock_core.roster import Judge
from interlock_core.statement import Opened
from tests.support.decisions import GATEWAY, World, trusted
from tests.support.papers import (
    authorise,
    days,
    hours,
    opening,
    order,
    renewal,
    resume,
    stage,
    stop,
)
from tests.support.people import CANARY, DAY0, ROSTER, ST_BERT

SOAK = hours(12)
STAGES = (
    stage(CANARY, share=3_000, soak=SOAK),
    stage(CANARY, ST_BERT, share=6_000, soak=SOAK),
    stage(CANARY, ST_BERT, soak=SOAK),
)
COHORTS = (CANARY, ST_BERT)
DEVICES = {f"GW-{n:04}": COHORTS[n % 2] for n in range(10)}
THE_ORDER = order(stages=STAGES, abort=(), deadline_seconds=86_400)
POINTS = {name: point(THE_ORDER.said.targets[0].sha256, name) for name in DEVICES}
END = DAY0 + days(30)
"""Up to then the roster is fresh."""


class Fleet(RuleBasedStateMachine):
    @initialize()
    def order_it(self) -> None:
        self.now = DAY0
        self.authorisations: list[Opened[Authorisation]] = [authorise(THE_ORDER)]
        self.goes: list[Opened[Go]] = []
        self.stops: list[Opened[Stop]] = []
        self.hidden: set[str] = set()
        self.floors = dict.fromkeys(DEVICES, Floors())
        self.seen: dict[str, set[str]] = {name: set() for name in DEVICES}
        self.events: list[rollout.Event] = []
        self.state = Rollout()
        self.actions: dict[str, Action] = {}
        # The model.
        self.since: list[datetime] = []
        self.until: datetime | None = None
        self.cleared: set[str] = set()
        self.calm = True
        self._engine()

    # What people do

    @rule(
        number=st.integers(0, 2),
        flaw=st.sampled_from(["", "", "", "nobody else", "too early", "by nobody"]),
    )
    def open_a_stage(self, number: int, flaw: str) -> None:
        before = self.since[-1] if self.since else None
        at = self.now
        if flaw == "too early":
            if before is None:
                # The first stage has none before it. Dated back, it could make good an opening of
                # the second that was signed too soon, which this model does not keep.
                return
            at = before + SOAK / 2
            if at > self.now:
                return
        by = "eve" if flaw == "by nobody" else "olga"
        go = opening(THE_ORDER, number, by=by, at=at, reason=f"{len(self.goes)}")
        self.goes.append(go)
        if flaw != "nobody else":
            self.authorisations.append(authorise(go, at=at))
        due = DAY0 if before is None else before + SOAK
        if flaw in {"", "too early"} and number == len(self.since) and at >= due:
            self.since.append(at)
        if self.until is not None and self.now >= self.until:
            self.calm = False
        if flaw != "by nobody":
            self._lasts(go)

    @rule()
    def renew(self) -> None:
        openings = [go for go in self.goes if go.said.act == "open" and go.said.author == "olga"]
        if openings:
            go = renewal(openings[-1], at=self.now, seq=2 + len(self.goes))
            self.goes.append(go)
            self._lasts(go)

    @rule(where=st.sampled_from([None, *COHORTS]), hidden=st.booleans())
    def stop_it(self, where: str | None, *, hidden: bool) -> None:
        one = stop(THE_ORDER, at=self.now, cohort=where, reason=f"stop {len(self.stops)}")
        self.stops.append(one)
        if hidden:
            self.hidden.add(one.id)
        self.calm = False

    @rule(alone=st.booleans())
    def resume_it(self, *, alone: bool) -> None:
        standing = [one for one in self.stops if one.id not in self.cleared]
        if not standing or not self.since:
            return
        go = resume(THE_ORDER, at=self.now, clears=standing, reason=f"{len(self.goes)}")
        self.goes.append(go)
        if not alone:
            self.authorisations.append(authorise(go, at=self.now))
            self.cleared |= {one.id for one in standing}
        self._lasts(go)

    @rule()
    def show_what_was_hidden(self) -> None:
        self.hidden.clear()

    def _lasts(self, go: Opened[Go]) -> None:
        end = go.said.valid_until
        self.until = end if self.until is None else max(self.until, end)

    # What time and gateways do

    @rule(by=st.sampled_from([hours(1), hours(6), hours(12), days(1), days(4)]))
    def wait(self, by: timedelta) -> None:
        self.now = min(END, self.now + by)
        if self.until is not None and self.now >= self.until:
            self.calm = False

    @rule(
        name=st.sampled_from(sorted(DEVICES)),
        outcome=st.sampled_from(
            ["downloading", "confirmed", "failed", "rolled_back", "deferred", "already_installed"]
        ),
    )
    def report(self, name: str, outcome: Outcome) -> None:
        if name in self.actions:
            self._tell(name, Reported(self.now, outcome, "interlock"))

    def _tell(self, name: str, event: action.Event) -> None:
        before = self.actions[name]
        after = action.step(before, event)
        assert before.vote is None or after.vote == before.vote, "one vote, and none taken back"
        self.actions[name] = after

    # The server

    def _papers(self) -> Papers:
        return Papers(THE_ORDER, self.authorisations, self.goes)

    def _counts(self) -> dict[Place, Counts]:
        counts: dict[Place, Counts] = {}
        for name, one in self.actions.items():
            place = (one.stage, DEVICES[name])
            counts[place] = counts.get(place, Counts()) + counts_of(one)
        return counts

    def _engine(self) -> None:
        judge = Judge(ROSTER, self.now)
        current = in_force(judge, [THE_ORDER], lambda _: self._papers(), CANARY)
        read = [at_cohort(judge, self._papers(), self.stops, current, one) for one in COHORTS]
        self._feed(Read(self.now, tuple(read)))
        for name in self.actions:
            if self.state.parts[DEVICES[name]].still is None:
                self._tell(name, Tick(self.now))
        self._feed(Counted(self.now, self._counts(), {}))

    def _feed(self, event: rollout.Event) -> None:
        self.events.append(event)
        before = self.state.state
        self.state, effects = rollout.step(THE_ORDER.said, self.state, event)
        for effect in effects:
            if isinstance(effect, OpenActions):
                assert self.since[effect.stage] <= self.now
                assert not self._stopped_at(effect.cohort, hidden=True)
                self._begin(effect)
            if isinstance(effect, rollout.Record):
                assert effect.before == before
                assert before in rollout.FROM[effect.after]
                before = effect.after
        assert before == self.state.state

    def _begin(self, effect: OpenActions) -> None:
        for name, cohort in DEVICES.items():
            mine = first_stage(THE_ORDER.said, cohort, POINTS[name])
            if cohort == effect.cohort and mine == effect.stage:
                assert name not in self.actions, "started twice"
                self.actions[name] = action.opened(effect.stage, self.now, 86_400)

    def _stopped_at(self, cohort: str, *, hidden: bool) -> bool:
        return any(
            one.id not in self.cleared
            and one.said.cohort in {None, cohort}
            and (hidden or one.id not in self.hidden)
            for one in self.stops
        )

    # What is held

    def _granted(self, name: str) -> bool:
        shown = [one for one in self.stops if one.id not in self.hidden]
        cohort = DEVICES[name]
        world = World(
            trusted=trusted(THE_ORDER, [*self.authorisations, *self.goes, *shown], cohort=cohort),
            gateway=replace(GATEWAY, device=name, cohort=cohort),
            floors=self.floors[name],
            now=self.now,
        )
        decision = world.decide(Phase.REBOOT)
        self.floors[name] = decision.floors
        self.seen[name] |= {one.id for one in shown if one.said.cohort in {None, cohort}}
        return isinstance(decision.verdict, Grant)

    @invariant()
    def nobody_goes_beyond_what_people_said(self) -> None:
        if not hasattr(self, "state"):
            return
        self._engine()
        self._counts_are_of_who_was_started()
        granted = {name for name in DEVICES if self._granted(name)}
        for name, cohort in DEVICES.items():
            shares = [
                STAGES[number].basis_points
                for number, since in enumerate(self.since)
                if since <= self.now and cohort in STAGES[number].cohorts
            ]
            inside = POINTS[name] < max(shares, default=0)
            if name in granted:
                assert inside, "outside every stage that was opened"
                assert not self.seen[name] - self.cleared, "a stop was shown"
                assert self.until is not None
                assert self.now < self.until, "nobody renewed it"
            elif self.calm:
                assert not inside, "nothing stands in its way"
        for name in granted:
            lower = {
                other
                for other, cohort in DEVICES.items()
                if cohort == DEVICES[name] and POINTS[other] <= POINTS[name]
            }
            assert lower <= granted, "a larger share contains the smaller"

    def _counts_are_of_who_was_started(self) -> None:
        for (number, cohort), counts in self._counts().items():
            members = {
                name
                for name, where in DEVICES.items()
                if where == cohort and first_stage(THE_ORDER.said, cohort, POINTS[name]) == number
            }
            assert counts.started == len(members)
            assert sum(counts.states.values()) == counts.eligible
            assert sum(counts.votes.values()) <= counts.eligible
        for cohort, part in self.state.parts.items():
            if part.opened and part.over is None and self._stopped_at(cohort, hidden=True):
                assert part.still == "stopped"

    def teardown(self) -> None:
        if not hasattr(self, "state"):
            return
        again = Rollout()
        for event in self.events:
            again, _ = rollout.step(THE_ORDER.said, again, event)
        assert again == self.state


def test_whatever_happens_nobody_goes_beyond_what_people_said() -> None:
    run_state_machine_as_test(
        Fleet,
        settings=settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_fleet_has_somebody_in_and_out_of_every_stage() -> None:
    """So that what is held above is held of somebody."""
    said: Order = THE_ORDER.said
    found = {(cohort, first_stage(said, cohort, POINTS[name])) for name, cohort in DEVICES.items()}
    assert found >= {(CANARY, 0), (CANARY, 1), (CANARY, 2), (ST_BERT, 1), (ST_BERT, 2)}
