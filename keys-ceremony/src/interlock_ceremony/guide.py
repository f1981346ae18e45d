"""Leads people through the steps of a ceremony (I/O).

Rules:

1. Each step is shown with its number and the time before it is taken, and confirmed after it, by
   somebody who is there: with the short name, or with initials that are nobody else's.
2. Where something was not as the script has it, a person says so in a sentence. It is written
   down, and the step is asked for again.
3. Where there is nobody to ask, no name is put to a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from interlock_ceremony.acts import Confirmed, Deviated, confirmed
from interlock_ceremony.journal import Journal
from interlock_ceremony.steps import Step
from interlock_core import wire
from interlock_core.clock import Clock

Say = Callable[[str], None]
"""Tells the people in the room; lines, without the last one's end."""

Ask = Callable[[str], str]
"""Asks the people in the room for one line."""

DEVIATION: Final = "!"
_MAX_WORDS: Final = 1024


class Guide:
    """Shows steps and has them confirmed."""

    def __init__(
        self, persons: Mapping[str, str], journal: Journal, clock: Clock, say: Say, ask: Ask | None
    ) -> None:
        self._persons = persons
        self._journal = journal
        self._clock = clock
        self._say = say
        self._ask = ask

    def show(self, step: Step) -> None:
        """Say what the step is (rule 1)."""
        time = wire.format_time(self._clock())
        self._say(f"{time}  {step.number:>3}  {step.kind.upper():<5}  {step.says}")

    def confirm(self, step: Step) -> None:
        """Have the step confirmed, unless it was before an interruption.

        Raises:
            ConflictError, TransientError: as ``Journal.tell``.
        """
        before = self._journal.told_next()
        if before is not None and isinstance(before.act, Confirmed):
            self._journal.tell(confirmed(step, before.act.by))
            return
        self._journal.tell(confirmed(step, self._who(step)))

    def _who(self, step: Step) -> str | None:
        if self._ask is None:
            return None
        while True:
            typed = self._ask(f"     {step.number:>3}  initials ({DEVIATION} if it deviates)")
            if typed.strip() == DEVIATION:
                self._deviate()
            elif person := self._person(typed):
                return person
            else:
                self._say(f"Type the short name of somebody here: {', '.join(self._persons)}.")

    def _deviate(self) -> None:
        ask = self._ask
        assert ask is not None
        while not (person := self._person(ask("          who says so"))):
            self._say(f"Type the short name of somebody here: {', '.join(self._persons)}.")
        says = "".join(
            char if char.isprintable() else " " for char in ask("          what was not as planned")
        ).strip()
        if not says:
            self._say("Nothing was written down.")
            return
        self._journal.aside(Deviated(by=person, says=says[:_MAX_WORDS]))
        self._say(f"Written down, in the words of {self._persons[person]}.")

    def _person(self, typed: str) -> str | None:
        word = typed.strip().casefold()
        if word in self._persons:
            return word
        found = [person for person, name in self._persons.items() if initials(name) == word]
        return found[0] if len(found) == 1 else None


def initials(name: str) -> str:
    """The initials of a full name, in small letters."""
    return "".join(part[0] for part in name.split()).casefold()
