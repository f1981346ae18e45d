"""What ``status`` says of a repository: what expires when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Root, Signed, Snapshot, Targets, Timestamp

from interlock_core.clock import system_clock
from interlock_core.errors import Exit
from interlock_core.names import ROSTER_ROLE
from interlock_core.roster import read_roster
from interlock_core.tuf_metadata import delegated_roles, parse_metadata
from interlock_core.wire import format_time
from interlock_repo.cli.edge import Outcome
from interlock_repo.directors import read_directors
from interlock_repo.forecast import End, Standing, forecast
from interlock_repo.repository import Repository, open_repository
from interlock_repo.review import printable

MARKS = {"expired": "x", "soon": "!", "later": " "}


def expiry(
    repository: str,
    root: Path,
    director_root: Path | None,
    cohorts: Sequence[str],
    *,
    warn_days: int,
    ca_file: Path | None,
    proxy: str | None,
) -> Outcome:
    """Read what is in force, or was, and say what ends when.

    Raises:
        InterlockError: as ``open_repository`` and ``read_directors``, but for what has expired.
    """
    now = system_clock()
    with open_repository(
        repository, root, now, ca_file=ca_file, proxy=proxy, judge_expiry=False
    ) as opened:
        standing = _standing(opened)
    if director_root is not None:
        directors = read_directors(repository, director_root, cohorts, ca_file=ca_file, proxy=proxy)
        standing = replace(standing, directors=directors)
    ends = forecast(standing, warn_days)
    states = [end.state(now) for end in ends]
    facts = {
        "repository": repository,
        "ends": [_facts(end, now) for end in ends],
        "expired": states.count("expired"),
        "soon": states.count("soon"),
    }
    lines = list(_lines(ends, now))
    if "expired" in states:
        lines.append(f"{states.count('expired')} have expired: mend that now.")
        return Outcome("expired", lines, facts, Exit.REFUSED)
    if "soon" in states:
        lines.append(f"{states.count('soon')} end soon: see to them.")
        return Outcome("expires_soon", lines, facts, Exit.DEFERRED)
    lines.append("Nothing ends soon.")
    return Outcome("nothing_expires", lines, facts)


def _standing(opened: Repository) -> Standing:
    top: list[Signed] = [parse_metadata(opened.roots[-1], Root, what="root metadata").signed]
    targets = parse_metadata(opened.targets, Targets, what="targets metadata").signed
    top.append(targets)
    snapshot, timestamp = (opened.heads.get(kind.type) for kind in (Snapshot, Timestamp))
    if snapshot is not None and timestamp is not None:
        top.append(parse_metadata(snapshot, Snapshot, what="snapshot metadata").signed)
        top.append(parse_metadata(timestamp, Timestamp, what="timestamp metadata").signed)
    roles, roster = {}, None
    for name in delegated_roles(targets):
        data = opened.role(name)
        if data is None:
            continue
        roles[name] = parse_metadata(data, Targets, what=f"{name} metadata").signed
        if name == ROSTER_ROLE:
            roster = read_roster(opened.roster(roles[name]))
    return Standing(tuple(top), roles, roster)


def _lines(ends: list[End], now: datetime) -> Iterator[str]:
    width = max((len(printable(end.what)) for end in ends), default=0)
    for end in ends:
        mark, left = MARKS[end.state(now)], (end.at - now).days
        when = f"in {left:>4} days" if end.at > now else "has expired "
        yield f"  {mark} {format_time(end.at)}  {when}  {printable(end.what):<{width}}  {end.stops}"


def _facts(end: End, now: datetime) -> dict[str, object]:
    return {
        "kind": end.kind,
        "what": end.what,
        "at": format_time(end.at),
        "days_left": (end.at - now).days,
        "state": end.state(now),
        "warned_from": format_time(end.warned),
        "stops": end.stops,
    }
