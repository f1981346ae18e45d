"""What the changes of a later script come to, one after the other (pure).

Rules:

1. Changes are applied in the order in which they stand. Each must make sense at its place: who
   leaves holds a key there, who comes holds none, and at no point does a role ask for more
   signatures than it has holders.
2. One person makes one key for a role in one ceremony, and a key that was made does not leave in
   the same one.
3. A key that is lost or compromised is answered first: whatever else changes comes after.
4. At the end every role that changed keeps the rules of ``quorum``, and both quorums of every new
   root, and that of new targets, are in the room. Otherwise it is said who must be there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from interlock_ceremony import quorum
from interlock_ceremony.forms import (
    Add,
    AnyChange,
    Compromised,
    Later,
    Lost,
    Remove,
    Renew,
    Replace,
    Rotate,
    SetThreshold,
    place_of,
    scheme_of,
)
from interlock_ceremony.plan import Outcome, Plan, Signing, fresh, key_name
from interlock_ceremony.script import Path, Problem
from interlock_ceremony.standing import Duty, Place, RoleState, Standing, Why, spelled
from interlock_core.names import is_name

_URGENT: Final = (Lost, Compromised)


class Changes:
    """The changes of a script, applied to what is in force.

    Attributes:
        outcome: what they come to.
        problems: what is wrong with them; ``outcome`` means nothing if there is one.
    """

    def __init__(self, script: Later, before: Standing) -> None:
        self._script = script
        self._before = before
        self._touched: dict[Place, int] = {}
        self.outcome = Outcome(dict(before.roles), [], {}, {}, set())
        self.problems: list[Problem] = []
        for index, change in enumerate(script.changes):
            self._apply(index, change)
        self._check_roles()

    def _apply(self, index: int, change: AnyChange) -> None:
        path: Path = ("changes", index)
        if isinstance(change, _URGENT) and not all(
            isinstance(earlier, _URGENT) for earlier in self._script.changes[:index]
        ):
            self._wrong(
                (*path, "do"),
                "a key that is lost or compromised is answered first; move this above the others.",
            )
        match change:
            case Add():
                self._enter(path, place_of(change.role), change.holder, "holder", change)
            case Remove():
                self._leave(path, place_of(change.role), change.holder, "removed")
            case Replace():
                self._swap(path, place_of(change.role), change, "replaced")
            case Lost():
                self._swap(path, place_of(change.role), change, "lost")
            case SetThreshold():
                self._set_threshold(path, place_of(change.role), change.threshold)
            case Renew():
                self._renew(path, change)
            case Rotate():
                self._import(path, change.key, change.file, "rotated")
            case Compromised():
                self._compromised(path, change)

    def _compromised(self, path: Path, change: Compromised) -> None:
        if change.key is not None and change.role is None and change.holder is None:
            if change.file is None:
                self._wrong((*path, "key"), "name its successor: add 'file', a public key file.")
            elif change.by is not None:
                self._wrong((*path, "by"), "nobody holds an online key; remove this line.")
            else:
                self._import(path, change.key, change.file, "compromised")
        elif change.key is None and change.file is None and change.role and change.holder:
            self._swap(path, place_of(change.role), change, "compromised")
        else:
            self._wrong(
                (*path, "do"),
                "name either a holder's key by 'role' and 'holder', or an online key by 'key' and "
                "'file'.",
            )

    def _swap(
        self, path: Path, place: Place, change: Replace | Lost | Compromised, why: Why
    ) -> None:
        holder = change.holder or ""
        index = self._leave(path, place, holder, why, brief=change.by is not None)
        if change.by is None or index is None:
            return
        if change.by != holder and self._state(place).of(change.by):
            self._wrong(
                (*path, "by"),
                f"{change.by!r} holds a key of {spelled(place)} already; name somebody else.",
            )
        else:
            self._enter(path, place, change.by, "by", change, index)

    def _leave(
        self, path: Path, place: Place, holder: str, why: Why, *, brief: bool = False
    ) -> int | None:
        """Take a holder's key out; return where it stood, or None if there was a problem."""
        state = self._state(place)
        duty = state.of(holder)
        if duty is None:
            self._wrong((*path, "holder"), self._no_holder(path, place, holder))
            return None
        if duty in self.outcome.makes:
            self._wrong(
                (*path, "holder"),
                f"{holder!r} gets that key further up in this script; remove one of the two.",
            )
            return None
        index = state.holders.index(duty)
        left = tuple(other for other in state.holders if other != duty)
        self._put(path, place, left, state.threshold)
        self.outcome.retires[duty.key] = why
        if not brief and state.threshold > len(left):
            self._wrong(
                (*path, "do"),
                f"this leaves {spelled(place)} with {len(left)} holders, and {state.threshold} "
                "must sign; add a holder or lower the threshold above this change.",
            )
        return index

    def _enter(
        self,
        path: Path,
        place: Place,
        person: str,
        field: str,
        change: Add | Replace | Lost | Compromised,
        index: int | None = None,
    ) -> None:
        state = self._state(place)
        where = (*path, field)
        name = fresh(key_name(person, place), self._before.names, self._before.number + 1)
        if person not in self._script.persons:
            self._wrong(
                where,
                f"{person[:80]!r} is not among the persons; who gets a key is there: add them to "
                "[persons].",
            )
        elif state.of(person):
            self._wrong(
                where,
                f"{person!r} holds a key of {spelled(place)} already; to renew it, use 'replace'.",
            )
        elif any(duty.key == name for duty in self.outcome.makes):
            self._wrong(where, f"{person!r} made a key of {spelled(place)} above; one is enough.")
        elif is_name(person) and not is_name(name):
            self._wrong(where, f"{person!r} is too long; use a shorter short name.")
        else:
            scheme = scheme_of(change.scheme, change.token)
            self.problems += quorum.scheme_problems((*path, "scheme"), scheme, change.token)
            if change.token is not None:
                self.problems += quorum.token_problems(
                    (*path, "token"), change.token, (duty.token for duty in self.outcome.makes)
                )
            duty = Duty(person, *place, scheme, name, change.token)
            self.outcome.makes.append(duty)
            at = len(state.holders) if index is None else index
            holders = (*state.holders[:at], duty, *state.holders[at:])
            self._put(path, place, holders, state.threshold)

    def _set_threshold(self, path: Path, place: Place, threshold: int) -> None:
        state = self._state(place)
        if threshold == state.threshold:
            self._wrong((*path, "threshold"), f"it is {threshold} already; remove this change.")
        elif threshold > len(state.holders):
            names = ", ".join(duty.holder for duty in state.holders)
            self._wrong(
                (*path, "threshold"),
                f"{threshold} signatures cannot come from the {len(state.holders)} holders that "
                f"{spelled(place)} has at this point ({names}); add holders above, or lower it.",
            )
        else:
            self._put(path, place, state.holders, threshold)

    def _renew(self, path: Path, change: Renew) -> None:
        place = place_of(change.role)
        if place in self.outcome.renewed:
            self._wrong((*path, "role"), f"{change.role} is renewed above; remove one.")
        self.outcome.renewed.add(place)
        if change.lifetime_days is not None:
            self.problems += quorum.lifetime_problems(
                (*path, "lifetime_days"), change.lifetime_days
            )
            state = self._state(place)
            self.outcome.roles[place] = RoleState(
                state.holders, state.threshold, change.lifetime_days
            )

    def _import(self, path: Path, key: str, file: str, why: Why) -> None:
        if key in self.outcome.imports:
            self._wrong((*path, "key"), f"{key} is replaced above; remove one of the two.")
        self.outcome.imports[key] = file
        self.outcome.retires[key] = why

    def _state(self, place: Place) -> RoleState:
        return self.outcome.roles[place]

    def _put(self, path: Path, place: Place, holders: tuple[Duty, ...], threshold: int) -> None:
        days = self._state(place).lifetime_days
        self.outcome.roles[place] = RoleState(holders, threshold, days)
        self._touched[place] = int(path[1])

    def _no_holder(self, path: Path, place: Place, holder: str) -> str:
        """Say why somebody is no holder here: never, not yet, or not any more."""
        for later in self._script.changes[int(path[1]) + 1 :]:
            comes = {Add: "holder", Replace: "by", Lost: "by", Compromised: "by"}.get(type(later))
            if comes and getattr(later, comes) == holder and later.role == spelled(place):  # type: ignore[union-attr]  # those four have a role
                return (
                    f"{holder!r} becomes a holder of {spelled(place)} only further down; move "
                    "that up."
                )
        duty = self._before.roles[place].of(holder)
        if duty is not None and duty.key in self.outcome.retires:
            return f"{holder!r} left {spelled(place)} further up; remove one of the two."
        names = ", ".join(duty.holder for duty in self._state(place).holders)
        return f"{holder[:80]!r} holds no key of {spelled(place)}; its holders are {names}."

    def _wrong(self, path: Path, says: str) -> None:
        self.problems.append(Problem(path, says))

    def _check_roles(self) -> None:
        """Hold the roles that changed against the rules of ``quorum`` (rule 4)."""
        if self.problems:
            return
        for place, index in self._touched.items():
            state = self._state(place)
            schemes = [duty.scheme for duty in state.holders]
            for problem in quorum.threshold_problems((), state.threshold, schemes):
                self._wrong(("changes", index), f"{spelled(place)} at the end: {problem.says}")


def quorum_problems(plan: Plan) -> Iterator[Problem]:
    """Who must be there and is not (rule 4).

    Args:
        plan: of a later ceremony whose changes have no problems.
    """
    assert plan.before is not None
    for signing in plan.signings:
        before, after = plan.before.roles[signing.place], plan.roles[signing.place]
        if signing.role == "root":
            yield from _short(plan, signing, before, signing.old, signing.version - 1)
        yield from _short(plan, signing, after, signing.new, signing.version)


def _short(
    plan: Plan, signing: Signing, state: RoleState, keys: tuple[str, ...], version: int
) -> Iterator[Problem]:
    missing = state.threshold - len(keys)
    if missing <= 0:
        return
    unusable = {key for key, why in plan.retires.items() if why in {"lost", "compromised"}}
    could = [d.holder for d in state.holders if d.key not in keys and d.key not in unusable]
    asks = f"{signing.repository}.root {version}" if signing.role == "root" else "image.targets"
    says = (
        f"{signing.file} is signed by {len(keys)} of the {state.threshold} keys that {asks} asks "
        "for; "
    )
    if len(could) < missing:
        says += (
            f"only {len(keys) + len(could)} can sign any more: this quorum is lost, and no "
            "ceremony brings it back; see the playbook for a lost quorum."
        )
    else:
        says += (
            f"{missing} more of {', '.join(could)} must sign: add them to [persons], with their "
            "keys."
        )
    yield Problem(("persons",), says)
