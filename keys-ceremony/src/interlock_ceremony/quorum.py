"""Who holds which key, and whether the script's numbers can work (pure).

Rules:

1. An offline role takes two signatures or more: nobody alone makes a root or delegates a product.
2. No person stands twice, under one short name or two, and no role asks for more signatures than
   it has holders. A short name means the same person in every ceremony, and never reads like the
   name of a key: a key that somebody brings bears their short name.
3. A key belongs to one person, one repository and one role. The image repository and the
   directors share holders where the script says so, and keys never.
4. ML-DSA signs for root and targets only: its signatures are too large for the 16,384 bytes that
   a client reads of a timestamp. A role with keys of both families asks for two more signatures
   than the larger family has, so that with either family broken two people remain to be deceived.
5. Lifetimes lie between 30 days and five years: a key that was replaced is believed until what
   it signed expires.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from interlock_ceremony import plan as plans
from interlock_ceremony.forms import (
    MAX_HOLDERS,
    AnyScript,
    Later,
    Repository,
    Role,
    RoleScript,
    Script,
    scheme_of,
)
from interlock_ceremony.plan import Plan, key_name
from interlock_ceremony.script import Path, Problem
from interlock_ceremony.standing import Place
from interlock_core.errors import ConfigurationError
from interlock_core.genesis import DIRECTOR, IMAGE, ONLINE_ROLES
from interlock_core.hybrid import POST_QUANTUM, families, least_threshold
from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.names import is_name
from interlock_core.token_keys import CURVES
from interlock_core.tokens import read_uri

MIN_THRESHOLD: Final = 2
MIN_LIFETIME_DAYS: Final = 30
MAX_LIFETIME_DAYS: Final = 5 * 366
MAX_FULL_NAME: Final = 100

EARLIEST: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""An earlier clock is wrong: a machine whose battery died wakes up long ago."""

_SPELLING: Final = "use 1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit"


def may_sign_online(name: str, scheme: str) -> bool:
    """Whether a key of this kind may be the online key ``name`` (rule 4)."""
    return scheme not in POST_QUANTUM or all(role == "targets" for _, role in ONLINE_ROLES[name])


def problems(script: Script, now: datetime) -> list[Problem]:
    """Everything that is wrong with what the script of a genesis says, at the time ``now``."""
    return [
        *path_problems(script),
        *fleet_problems(script),
        *person_problems(script, plans.genesis(script)),
        *(
            problem
            for place, role in _roles(script).items()
            for problem in _role(script, *place, role)
        ),
        *clock_problems(script, now),
    ]


def _roles(script: Script) -> dict[Place, RoleScript]:
    return {
        (IMAGE, "root"): script.image.root,
        (IMAGE, "targets"): script.image.targets,
        (DIRECTOR, "root"): script.director.root,
    }


def path_problems(script: AnyScript) -> list[Problem]:
    """What is wrong with how the script spells paths."""
    paths: dict[Path, str] = {("output",): script.output}
    paths |= {("attendance", person): path for person, path in script.attendance.items()}
    if isinstance(script, Script):
        paths |= {("online", name): path for name, path in script.online.paths().items()}
    if isinstance(script, Later):
        paths |= plans.later_paths(script)
    return [
        Problem(where, f"{path[:80]!r} has unprintable characters; take them out.")
        for where, path in paths.items()
        if not path.isprintable()
    ]


def fleet_problems(script: AnyScript) -> Iterator[Problem]:
    """What is wrong with the fleet id."""
    if not is_name(script.fleet):
        yield Problem(("fleet",), f"{script.fleet[:80]!r} cannot name a fleet; {_SPELLING}.")


def person_problems(script: AnyScript, plan: Plan) -> Iterator[Problem]:
    """What is wrong with who is there."""
    if script.administrator not in script.persons:
        yield Problem(
            ("administrator",),
            f"{script.administrator[:80]!r} is not among the persons; add them to [persons].",
        )
    for index, witness in enumerate(script.witnesses):
        if witness in script.witnesses[:index]:
            yield Problem(("witnesses",), f"{witness!r} stands twice; name each witness once.")
        elif witness not in script.persons:
            yield Problem(
                ("witnesses",),
                f"{witness[:80]!r} is not among the persons; add them to [persons].",
            )
    seen: dict[str, str] = {}
    for person, name in script.persons.items():
        path = ("persons", person)
        if not is_name(person):
            yield Problem(path, f"this cannot be a short name; {_SPELLING}.")
        elif plans.reads_like_a_key(person):
            yield Problem(path, f"{person!r} reads like the name of a key; use another short name.")
        same = _same(name)
        if not same or not name.isprintable() or len(name) > MAX_FULL_NAME:
            yield Problem(
                path, f"write the person's name, in 1 to {MAX_FULL_NAME} printable characters."
            )
        elif same in seen:
            yield Problem(
                path, f"{name!r} is {seen[same]!r} already; nobody takes part twice, remove one."
            )
        seen.setdefault(same, person)
        if not plan.parts(person):
            yield Problem(
                path,
                "this person has no part; make them a holder or a witness, or remove them.",
            )
    yield from _known(script, plan)
    yield from _attendance(script, plan)


def _known(script: AnyScript, plan: Plan) -> Iterator[Problem]:
    """A short name means one person for ever, and a person has one."""
    before = plan.before.people if plan.before else {}
    names = {_same(name): person for person, name in before.items()}
    for person, name in script.persons.items():
        if person in before and _same(before[person]) != _same(name):
            yield Problem(
                ("persons", person),
                f"{person!r} was {before[person]!r} in an earlier ceremony; use another short "
                "name for another person.",
            )
        elif names.get(_same(name), person) != person:
            yield Problem(
                ("persons", person),
                f"{name!r} is {names[_same(name)]!r} since an earlier ceremony; use that short "
                "name.",
            )


def _attendance(script: AnyScript, plan: Plan) -> Iterator[Problem]:
    attending = {one.person for one in plan.attends}
    for person in script.attendance:
        if person not in script.persons:
            yield Problem(("attendance", person), "this is nobody in [persons]; remove the line.")
        elif person not in attending:
            yield Problem(
                ("attendance", person),
                "this person signs with a key of a role and needs no other; remove the line.",
            )
    for one in plan.attends:
        if is_name(one.person) and not is_name(one.key):
            yield Problem(("persons", one.person), "this is too long; use a shorter short name.")


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
        elif is_name(holder) and not is_name(key_name(holder, (repository, role))):
            yield Problem((*path, "holders"), f"{holder!r} is too long; use a shorter short name.")
    schemes = [
        scheme_of(plan.schemes.get(person), plan.tokens.get(person)) for person in plan.holders
    ]
    yield from threshold_problems((*path, "threshold"), plan.threshold, schemes)
    yield from lifetime_problems((*path, "lifetime_days"), plan.lifetime_days)
    for person, scheme in plan.schemes.items():
        where = (*path, "schemes", person)
        if person not in plan.holders:
            yield Problem(where, "this is no holder of the role; add them or remove the line.")
        yield from scheme_problems(where, scheme, plan.tokens.get(person))
    for person, token in plan.tokens.items():
        where = (*path, "tokens", person)
        if person not in plan.holders:
            yield Problem(where, "this is no holder of the role; add them or remove the line.")
        elsewhere = (
            one.tokens.get(person)
            for place, one in _roles(script).items()
            if place < (repository, role)
        )
        yield from token_problems(where, token, elsewhere)


def token_problems(path: Path, token: str, others: Iterable[str | None]) -> Iterator[Problem]:
    """What is wrong with where a token is to keep a key, besides those kept in ``others``."""
    try:
        uri = read_uri(token)
    except ConfigurationError as e:
        yield Problem(path, str(e))
        return
    if str(uri) in {str(read_uri(other)) for other in others if other is not None}:
        yield Problem(path, f"{uri} holds another key of this script; use another number.")


def scheme_problems(path: Path, scheme: str, token: str | None = None) -> Iterator[Problem]:
    """What is wrong with a kind of key, made in a token or not."""
    if token is not None and scheme not in CURVES:
        yield Problem(
            path,
            f"a key of kind {scheme[:40]!r} is not made in a token; use one of "
            f"{', '.join(CURVES)}.",
        )
    elif scheme not in KEY_SCHEMES:
        yield Problem(
            path, f"{scheme[:40]!r} is not a kind of key; use one of {', '.join(KEY_SCHEMES)}."
        )


def lifetime_problems(path: Path, days: int) -> Iterator[Problem]:
    """What is wrong with a lifetime (rule 5)."""
    if not MIN_LIFETIME_DAYS <= days <= MAX_LIFETIME_DAYS:
        yield Problem(
            path,
            f"{days} is outside {MIN_LIFETIME_DAYS} to {MAX_LIFETIME_DAYS} days; 365 is usual.",
        )


def threshold_problems(path: Path, threshold: int, schemes: Sequence[str]) -> Iterator[Problem]:
    """What is wrong with a threshold over keys of these kinds (rules 1, 2 and 4)."""
    count = len(schemes)
    if threshold < MIN_THRESHOLD:
        yield Problem(
            path,
            f"{threshold} would let one person act alone; ask for {MIN_THRESHOLD} or more.",
        )
    elif threshold > count:
        yield Problem(
            path,
            f"{threshold} signatures cannot come from {count} holders; name more holders or "
            "lower it.",
        )
    if count > MAX_HOLDERS:
        yield Problem(path, f"{count} holders are more than the {MAX_HOLDERS} allowed.")
    needed = least_threshold(schemes)
    if threshold < needed > MIN_THRESHOLD:
        classical, post_quantum = families(schemes)
        yield Problem(
            path,
            f"with {classical} classical and {post_quantum} post-quantum keys it must be {needed} "
            "or more, so that a broken family leaves two people's signatures to forge; raise it, "
            "add holders, or use one family.",
        )


def clock_problems(script: AnyScript, now: datetime) -> Iterator[Problem]:
    """What is wrong with this machine's clock."""
    day = script.date
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


def _same(name: str) -> str:
    """A name as far as people who read it can tell it from others."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    seen = (char for char in plain if unicodedata.category(char) not in {"Mn", "Me", "Cf"})
    return " ".join("".join(seen).split())
