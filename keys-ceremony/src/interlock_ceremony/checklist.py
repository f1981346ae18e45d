"""The script as a paper checklist, with lines for times and initials (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap
from typing import Final

from interlock_ceremony.fingerprint import spoken
from interlock_ceremony.plan import Plan
from interlock_ceremony.recovery import Reserve
from interlock_ceremony.steps import steps

WIDTH: Final = 96
_HEAD: Final = " No   Time (UTC)  Initials  Step"
_LINE: Final = "_" * 62


def checklist(plan: Plan, reserves: Iterable[Reserve], digest: str) -> Iterator[str]:
    """The lines of the checklist.

    Args:
        plan: one without problems.
        reserves: what happens, role by role, if one more key is lost.
        digest: SHA-256 of the script.
    """
    script = plan.script
    what = "the genesis" if plan.before is None else f"ceremony {plan.number}"
    yield f"Checklist: {what} of fleet {script.fleet}"
    yield f"Date: {script.date or '____________'}    Place: {'_' * 30}"
    yield "Script SHA-256:"
    for line in spoken(digest).splitlines():
        yield from _wrapped("  ", line.strip())
    yield ""
    yield "If one more key is lost:"
    for reserve in reserves:
        yield from _wrapped("  ", reserve.says())
    yield ""
    yield _HEAD
    for step in steps(plan):
        start = f"{step.number:>3}   ___________  ________  {step.kind.upper():<5}  "
        yield from _wrapped(start, step.says)
        if step.verb in {"make", "open", "attend", "import", "metadata"}:
            yield from _wrapped(" " * len(start), f"first words or digits: {'_' * 20}")
    yield ""
    yield "What was not as planned (step, time, what, who says so):"
    yield from (f"  {_LINE}" for _ in range(5))
    yield ""
    yield "Everybody who was there:"
    for person, name in script.persons.items():
        parts = " and ".join(plan.parts(person))
        yield from _wrapped("  ", f"{name} ({parts})")
        yield f"    initials ________  signature {'_' * 40}"


def _wrapped(start: str, text: str) -> list[str]:
    rest = " " * len(start)
    return wrap(text, WIDTH, initial_indent=start, subsequent_indent=rest)
