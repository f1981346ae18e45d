"""Who holds which key, and whether the script's numbers can work (pure).

Rules:

1. An offline role takes two signatures or more: nobody alone makes a root or delegates a product.
2. No person stands twice, under one short name or two, and no role asks for more signatures than
   it has holders.
3. A key belongs to one person, one repository and one role. The image repository and the
   directors share holders where the script says so, and keys never.
4. ML-DSA signs for root and targets only: its signatures are too large for the 16,384 bytes that
   a client reads of a timestamp. A role with keys of both families asks for two more signatures
   than the larger family has, so that with either family broken two people remain to be deceived.
5. Lifetimes lie between 30 days and five years: a key that was replaced is believed until what
   it signed expires.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

from interlock_ceremony.script import DEFAULT_SCHEME, Problem, RoleScript, Script
from interlock_core.genesis import DIRECTOR, IMAGE, ONLINE_ROLES
from interlock_core.hybrid import POST_QUANTUM, families, least_threshold
from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.names import is_name

Repository = Literal["image", "director"]
Role = Literal["root", "targets"]
Part = Literal["administrator", "holder"]

MIN_THRESHOLD: Final = 2
MIN_LIFETIME_DAYS: Final = 30
MAX_LIFETIME_DAYS: Final = 5 * 366
MAX_FULL_NAME: Final = 100

EARLIEST: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""An earlier clock is wrong: a machine whose battery died wakes up long ago."""

_SPELLING: Final = "use 1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit"


@dataclass(frozen=True)
class Duty:
    """One key to be made: whose, and for what.

    Attributes:
        holder: the person's short name.
        repository: where it signs.
        role: what it signs there.
        scheme: the kind of key.
    """

    holder: str
    repository: Repository
    role: Role
    scheme: str

    @property
    def key(self) -> str:
        """The key's name, which names its files too."""
        return f"{self.holder}-{self.repository}-{self.role}"


def roles(script: Script) -> dict[tuple[Repository, Role], RoleScript]:
    """The offline roles by (repository, role), in the order in which they are treated."""
    return {
        (IMAGE, "root"): script.image.root,
        (IMAGE, "targets"): script.image.targets,
        (DIRECTOR, "root"): script.director.root,
    }


def duties(script: Script) -> list[Duty]:
    """Every key to be made, person by person (rule 3)."""
    return [
        Duty(person, repository, role, plan.schemes.get(person, DEFAULT_SCHEME))
        for person in script.persons
        for (repository, role), plan in roles(script).items()
        if person in plan.holders
    ]


def parts(script: Script, person: str) -> tuple[Part, ...]:
    """What a person does in the ceremony."""
    found: list[Part] = []
    if person == script.administrator:
        found.append("administrator")
    if any(person in plan.holders for plan in roles(script).values()):
        found.append("holder")
    return tuple(found)


def may_sign_online(name: str, scheme: str) -> bool:
    """Whether a key of this kind may be the online key ``name`` (rule 4)."""
    return scheme not in POST_QUANTUM or all(role == "targets" for _, role in ONLINE_ROLES[name])


def problems(script: Script, now: datetime) -> list[Problem]:
    """Everything that is wrong with what the script says, at the time ``now``."""
    return [
        *_fleet(script),
        *path_problems(script),
        *_persons(script),
        *(
            problem
            for (repository, role), plan in roles(script).items()
            for problem in _role(script, repository, role, plan)
        ),
        *_clock(script.date, now),
    ]


def path_problems(script: Script) -> list[Problem]:
    """What is wrong with how the script spells paths."""
    paths: dict[tuple[str, ...], str] = {("output",): script.output}
    paths |= {("online", name): path for name, path in script.online.paths().items()}
    return [
        Problem(where, f"{path[:80]!r} has unprintable characters; take them out.")
        for where, path in paths.items()
        if not path.isprintable()
    ]


def _fleet(script: Script) -> Iterator[Problem]:
    if not is_name(script.fleet):
        yield Problem(("fleet",), f"{script.fleet[:80]!r} cannot name a fleet; {_SPELLING}.")


def _persons(script: Script) -> Iterator[Problem]:
    if script.administrator not in script.persons:
        yield Problem(
            ("administrator",),
            f"{script.administrator[:80]!r} is not among the persons; add them to [persons].",
        )
    seen: dict[str, str] = {}
    for person, name in script.persons.items():
        path = ("persons", person)
        if not is_name(person):
            yield Problem(path, f"this cannot be a short name; {_SPELLING}.")
        same = " ".join(name.split()).casefold()
        if not same or not name.isprintable() or len(name) > MAX_FULL_NAME:
            yield Problem(
                path, f"write the person's name, in 1 to {MAX_FULL_NAME} printable characters."
            )
        elif same in seen:
            yield Problem(
                path, f"{name!r} is {seen[same]!r} already; nobody takes part twice, remove one."
            )
        seen.setdefault(same, person)
        if not parts(script, person):
            yield Problem(path, "this person has no part; make them a holder or remove them.")


def _role(
    script: Script, repository: Repository, role: Role, plan: RoleScript
) -> Iterator[Problem]:
    path = (repository, role)
    for index, holder in enumerate(plan.holders):
        if holder in plan.holders[:index]:
            yield Problem((*path, "holders"), f"{holder!r} stands twice; name each holder once.")
        elif holder not in script.persons:
            yield Problem(
                (*path, "holders"),
                f"{holder[:80]!r} is not among the persons; add them to [persons].",
            )
        elif is_name(holder) and not is_name(Duty(holder, repository, role, "").key):
            yield Problem((*path, "holders"), f"{holder!r} is too long; use a shorter short name.")
    yield from _threshold((*path, "threshold"), plan)
    if not MIN_LIFETIME_DAYS <= plan.lifetime_days <= MAX_LIFETIME_DAYS:
        yield Problem(
            (*path, "lifetime_days"),
            f"{plan.lifetime_days} is outside {MIN_LIFETIME_DAYS} to {MAX_LIFETIME_DAYS} days; "
            "365 is usual.",
        )
    for person, scheme in plan.schemes.items():
        where = (*path, "schemes", person)
        if person not in plan.holders:
            yield Problem(where, "this is no holder of the role; add them or remove the line.")
        if scheme not in KEY_SCHEMES:
            yield Problem(
                where,
                f"{scheme[:40]!r} is not a kind of key; use one of {', '.join(KEY_SCHEMES)}.",
            )


def _threshold(path: tuple[str, ...], plan: RoleScript) -> Iterator[Problem]:
    count = len(plan.holders)
    if plan.threshold < MIN_THRESHOLD:
        yield Problem(
            path,
            f"{plan.threshold} would let one person act alone; ask for {MIN_THRESHOLD} or more.",
        )
    elif plan.threshold > count:
        yield Problem(
            path,
            f"{plan.threshold} signatures cannot come from {count} holders; name more holders or "
            "lower it.",
        )
    schemes = [plan.schemes.get(person, DEFAULT_SCHEME) for person in plan.holders]
    needed = least_threshold(schemes)
    if plan.threshold < needed > MIN_THRESHOLD:
        classical, post_quantum = families(schemes)
        yield Problem(
            path,
            f"with {classical} classical and {post_quantum} post-quantum keys it must be {needed} "
            "or more, so that a broken family leaves two people's signatures to forge; raise it, "
            "add holders, or use one family.",
        )


def _clock(day: date | None, now: datetime) -> Iterator[Problem]:
    if now < EARLIEST:
        yield Problem(
            (), f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC; set the clock first."
        )
    elif day is not None and abs(day - now.date()) > timedelta(days=1):
        yield Problem(
            ("date",),
            f"the ceremony is for {day}, and this machine's clock says {now.date()}; set the "
            "clock, or mend the date.",
        )
