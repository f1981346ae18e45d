"""The steps of a ceremony, in the order in which people take them (pure).

Rules:

1. A plan gives one list of steps. The ceremony takes them, the paper checklist shows them, the
   transcript tells of each, and an audit makes the list again.
2. A step is something to DO, to CHECK or to SIGN. It is over when somebody confirmed it.
3. What a step is called stays for ever, because transcripts hold it; its wording may change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from interlock_ceremony.plan import Plan
from interlock_ceremony.standing import Duty, spelled

Kind = Literal["do", "check", "sign"]
Verb = Literal[
    "offline",
    "clock",
    "script",
    "previous",
    "present",
    "reserves",
    "targets",
    "open",
    "make",
    "attend",
    "import",
    "retire",
    "metadata",
    "fleet",
    "transcript",
]


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        number: from 1.
        kind: what people do.
        verb: what it is about.
        subject: which person, key or file, or empty.
        says: what people read.
    """

    number: int
    kind: Kind
    verb: Verb
    subject: str
    says: str

    @property
    def what(self) -> str:
        """What the transcript calls it (rule 3)."""
        return f"{self.verb}:{self.subject}" if self.subject else self.verb


def steps(plan: Plan) -> list[Step]:
    """Every step of a plan."""
    return [Step(number, *parts) for number, parts in enumerate(_steps(plan), 1)]


def _steps(plan: Plan) -> Iterator[tuple[Kind, Verb, str, str]]:
    yield from _opening(plan)
    yield from _keys(plan)
    yield from _closing(plan)


def _opening(plan: Plan) -> Iterator[tuple[Kind, Verb, str, str]]:
    script = plan.script
    yield "check", "offline", "", "This machine has no network: no cable, no radio, no modem."
    yield "check", "clock", "", "The time shown is that of a watch in the room, in UTC."
    yield "check", "script", "", "The script's SHA-256 is the one that everybody wrote down."
    if plan.before is not None:
        says = (
            f"Ceremony {plan.before.number} was verified; the last entry of its transcript is the "
            "one written down then."
        )
        yield "check", "previous", "", says
    for person, name in script.persons.items():
        parts = " and ".join(plan.parts(person))
        yield "check", "present", person, f"{name} ({person}), {parts}, is here and is known."
    says = "Read aloud what happens if one more key is lost. Everybody agrees to it."
    yield "check", "reserves", "", says
    if plan.before is not None:
        says = "The top-level targets are the newest that were published."
        yield "check", "targets", "", says


def _keys(plan: Plan) -> Iterator[tuple[Kind, Verb, str, str]]:
    for duty in plan.opens:
        yield "do", "open", duty.key, f"{_name(plan, duty.holder)} brings {duty.key}; it opens."
    for duty in plan.makes:
        yield "do", "make", duty.key, _making(plan, duty)
    for one in plan.attends:
        says = (
            f"{_name(plan, one.person)} makes {one.key}, to sign the transcript with."
            if one.path is None
            else f"{_name(plan, one.person)} brings the public key {one.key}, to sign the "
            "transcript with. Compare its words."
        )
        yield "do", "attend", one.key, says
    for name in plan.imports:
        says = f"Import {name}. Compare its words with those said where the key lives."
        yield "check", "import", name, says
    for name, why in plan.retires.items():
        yield "check", "retire", name, f"{name} is {why} and never comes back."


def _closing(plan: Plan) -> Iterator[tuple[Kind, Verb, str, str]]:
    for signing in plan.signings:
        says = f"{', '.join(signing.signers)} sign {signing.file}. Write its SHA-256 down."
        yield "sign", "metadata", signing.file, says
    if plan.before is None:
        yield "check", "fleet", "", f"The fleet is called {plan.script.fleet}, for ever."
    yield "sign", "transcript", "", f"{', '.join(plan.attesters())} sign the transcript."


def _making(plan: Plan, duty: Duty) -> str:
    where = f" inside the token {duty.token}" if duty.token else ""
    return (
        f"{_name(plan, duty.holder)} makes {duty.key} ({duty.scheme}){where}, for "
        f"{spelled(duty.place)}. "
        "Read its words aloud and write them down."
    )


def _name(plan: Plan, person: str) -> str:
    return plan.script.persons.get(person, person)
