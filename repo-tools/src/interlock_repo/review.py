"""A human account of a signing event (pure).

Rules:

1. Everything that would be signed is shown: what is new, what changes from what to what, and what
   goes. What stays is not, so that nobody overlooks what does not.
2. What a gateway could newly install comes first; then who may sign, and who has.
3. Text from outside is shown with everything unprintable spelled out: no escape code reaches a
   terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import UnsetType
from tuf.api.metadata import DelegatedRole, TargetFile, Targets

from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.reach import stranded
from interlock_core.release import Delta, Image, Permit
from interlock_core.released import deltas, images, read_facts, sha256_of
from interlock_core.roster import Roster
from interlock_core.tuf_metadata import ISSUED, delegated_roles
from interlock_core.wire import format_time, sha256_hex
from interlock_core.withdrawn import WITHDRAWN, withdrawals
from interlock_repo.event import Event, Kind
from interlock_repo.permits import titles
from interlock_repo.released import new_paths
from interlock_repo.rosters import SOON, ending
from interlock_repo.signatures import SignatureFile, Signed, Tally
from interlock_repo.trust import HOLDERS, Holder, role_of, spoken
from interlock_repo.vetting import new_hardware

KINDS: Final = {
    "delegations": "delegations: who may release which product, and who keeps the roster",
    "release": "a release",
    "roster": "the roster: who runs the fleet, and by which rules",
    "withdrawal": "a withdrawal: a release that nobody may install any more",
    "permit": "permits: moves below the floor, each once on each gateway",
    "renewal": "a renewal: what is in force, signed again",
}

Facts = dict[str, str]
"""What there is to know about one thing, by label."""


@dataclass(frozen=True)
class Line:
    """One line: ``mark`` is ``+`` new, ``-`` gone, ``~`` changed, or a space."""

    mark: str
    what: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class Section:
    """Some lines under a title."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Account:
    """All that a person needs to know before signing."""

    sections: tuple[Section, ...]
    spoken_digest: str


def tally_of(event: Event) -> Tally:
    """Who signed this copy of the event, and who still may."""
    return Tally(role_of(event.delegator, event.file.role), event.signatures)


def account(event: Event, now: datetime, *, root_is_trusted: bool = False) -> Account:
    """The account of ``event`` (rules 1 and 2).

    Args:
        event: as ``reading.open_event`` gave it.
        now: to say how long the metadata lasts.
        root_is_trusted: whether a root file of the reader's own was compared.
    """
    sections = [
        Section("Signing event", tuple(_summary(event, now, root_is_trusted))),
        *_installable(event, now),
        *_changes(event),
        _signers(tally_of(event)),
    ]
    return Account(tuple(sections), event.spoken_digest)


def printable(text: str) -> str:
    """``text`` with everything unprintable spelled out (rule 3)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _summary(event: Event, now: datetime, root_is_trusted: bool) -> Iterable[Line]:
    signed, file = event.metadata.signed, event.file
    yield _told("for", KINDS[file.kind])
    after = f", which follows {event.previous.version}" if event.previous else ", the first"
    yield _told("makes", f"{file.role} {signed.version}{after}")
    yield _told("issued", str(signed.unrecognized_fields.get(ISSUED, "it does not say when")))
    left = signed.expires - now
    yield _told("expires", f"{format_time(signed.expires)} ({_days(left.days)})")
    if event.previous is not None:
        yield _told("what it follows expires", format_time(event.previous.expires))
    if event.new_holders:
        yield _told(
            "to be published with",
            f"targets {event.delegator.version}, which names who may sign it",
        )
    for label, value in _unknown(signed.unrecognized_fields, ISSUED, WITHDRAWN).items():
        yield _told(f"signed field {label}", value)
    first, last = event.roots[0].signed.version, event.roots[-1].signed.version
    digest = sha256_hex(event.base[f"{first}.root.json"])
    trust = "your root file" if root_is_trusted else "compare it with yours, or pass --root"
    yield _told("rests on", f"root {first}, sha256 {digest} ({trust})")
    if last != first:
        yield _told("newest root", f"{last}, signed through from root {first}")
    yield _told("metadata_sha256", file.metadata_sha256)
    yield _told("read aloud", event.spoken_digest)
    yield _told("in words", event.words)


def _installable(event: Event, now: datetime) -> Iterable[Section]:
    targets, before = event.metadata.signed, event.previous
    match event.file.kind:
        case "release":
            known = images(targets)
            lines = [
                Line("+", path, None, _headline(known[path]))
                for path in new_paths(targets, before)
                if path in known
            ]
        case "permit":
            names = titles((before, targets))
            lines = [
                Line("+", path, None, _move(permit, names))
                for path, permit in event.permits.items()
            ]
        case "roster" if event.roster is not None:
            ends = ending(event.roster, now)
            if ends:
                yield Section(
                    f"What runs out within {SOON.days} days",
                    tuple(Line("-", who, what, None) for who, what in ends),
                )
            return
        case "withdrawal" if before is not None:
            known = images(before)
            gone = [path for path in known if path not in targets.targets]
            yield Section(
                "What a gateway could not install any more",
                tuple(Line("-", path, _headline(known[path]), None) for path in gone),
            )
            lost = stranded(known.values(), images(targets).values(), now.date())
            if lost:
                yield Section(
                    "Who would be left behind",
                    tuple(Line("-", one.version, one.said, None) for one in lost),
                )
            return
        case _:
            return
    yield Section("What a gateway could newly install", tuple(lines))
    if ways := delta_lines(event):
        yield Section("By which deltas it could come", ways)
    if event.file.kind == "release" and (unheard := new_hardware(targets, before)):
        yield Section("Hardware that no release before names", _for_hardware(targets, unheard))


def delta_lines(event: Event) -> tuple[Line, ...]:
    """The deltas that come with a release: from what to what, and how much they save."""
    if event.file.kind != "release":
        return ()
    targets = event.metadata.signed
    names = titles((event.previous, targets))
    lengths = {sha256_of(path, target): target.length for path, target in targets.targets.items()}
    return tuple(
        Line("+", path, None, _way(one, targets.targets[path].length, lengths, names))
        for path, one in deltas(targets).items()
        if path in new_paths(targets, event.previous)
    )


def _way(one: Delta, length: int, lengths: Mapping[str, int], names: Mapping[str, str]) -> str:
    whole = lengths[one.to_sha256]
    there = names.get(one.from_sha256, one.from_sha256[:12])
    return printable(
        f"{length:,} bytes in place of {whole:,} ({length * 100 / whole:.1f} %), where slot "
        f"{one.from_slot} holds {there}"
    )


def _for_hardware(targets: Targets, ids: Iterable[str]) -> tuple[Line, ...]:
    """Which images would run on hardware."""
    known = images(targets)
    return tuple(
        Line("+", id_, None, ", ".join(path for path in known if id_ in known[path].hardware_ids))
        for id_ in ids
    )


def _move(permit: Permit, names: Mapping[str, str]) -> str:
    """A permit in words: what goes down to what, for whom, under which order, until when."""
    there, to = (names.get(s, s[:12]) for s in (permit.from_sha256, permit.to_sha256))
    whom = [f"device {device}" for device in permit.devices]
    whom += [f"cohort {cohort}" for cohort in permit.cohorts]
    return printable(
        f"a downgrade of {permit.product} from {there} to {to}, below the floor, once on each of "
        f"{', '.join(whom)}, under order {permit.order} of fleet {permit.fleet}, until "
        f"{format_time(permit.expires)}"
    )


def _headline(image: Image) -> str:
    floor = (
        f"; once confirmed, nothing below counter {image.raises_floor_to}"
        if image.raises_floor_to
        else ""
    )
    barrier = (
        f"; only where counter {image.min_counter_installed} was confirmed before"
        if image.min_counter_installed
        else ""
    )
    return printable(
        f"{image.product} {image.version}, release counter {image.release_counter}, on "
        f"{', '.join(image.hardware_ids)} in {', '.join(image.markets)}{floor}{barrier}"
    )


def _changes(event: Event) -> Iterable[Section]:
    kind, old = event.file.kind, event.previous
    before = facts_of(kind, old, event.previous_roster) if old is not None else {}
    return compared(before, facts_of(kind, event.metadata.signed, event.roster)) or [
        Section("Nothing changes but the version and the expiry", ())
    ]


def facts_of(kind: Kind, targets: Targets, roster: Roster | None) -> dict[str, Facts]:
    """All that metadata of a kind says, by title and label.

    Args:
        kind: of the event that makes it.
        targets: the metadata.
        roster: that it lists, of a roster event.

    Raises:
        RefusedError, WireError: facts that cannot be read.
    """
    if kind == "roster":
        return _of_roster(roster) if roster is not None else {}
    return _of_delegations(targets) if kind == "delegations" else _of_targets(targets)


def compared(old: Mapping[str, Facts], new: Mapping[str, Facts]) -> list[Section]:
    """Sections for what was added, changed or removed (rule 1)."""
    sections = []
    for title in [*new, *(title for title in old if title not in new)]:
        before, after = old.get(title, {}), new.get(title, {})
        lines = [
            _change(label, before.get(label), after.get(label))
            for label in [*after, *(label for label in before if label not in after)]
            if before.get(label) != after.get(label)
        ]
        if lines:
            act = "Changed" if title in old and title in new else "Added"
            sections.append(Section(f"{act if title in new else 'Removed'}: {title}", tuple(lines)))
    return sections


def _change(what: str, old: str | None, new: str | None) -> Line:
    mark = "+" if old is None else "-" if new is None else "~"
    return Line(mark, what, old, new)


def _of_targets(targets: Targets) -> dict[str, Facts]:
    listed = {
        printable(path): _of_target(path, target)
        for path, target in sorted(targets.targets.items())
    }
    gone = {
        f"withdrawal of {version}": {
            label: _value(value) for label, value in msgspec.to_builtins(one).items()
        }
        for version, one in withdrawals(targets).items()
    }
    return listed | gone


def _of_target(path: str, target: TargetFile) -> Facts:
    stated = msgspec.to_builtins(read_facts(path, target))
    facts = {"length": f"{target.length:,} bytes", "sha256": sha256_of(path, target)}
    facts |= {f"hash {k}": v for k, v in target.hashes.items() if k != "sha256"}
    facts |= {label: _value(value) for label, value in stated.items()}
    return facts | _unknown(target.unrecognized_fields, "custom")


def _of_delegations(targets: Targets) -> dict[str, Facts]:
    return {f"role {name}": _of_role(targets, r) for name, r in delegated_roles(targets).items()}


def _of_role(targets: Targets, role: DelegatedRole) -> Facts:
    holders = role_of(targets, role.name).holders
    facts = {
        "threshold": f"{role.threshold} of {len(holders)} must sign",
        "paths": " ".join(role.paths or []) + (" (terminating)" if role.terminating else ""),
    }
    for holder in holders:
        label = f"holder {holder.title}"
        # No holder may hide behind another.
        facts[f"{label} ({holder.key.keyid})" if label in facts else label] = _of_key(holder)
    return facts | _unknown(role.unrecognized_fields, HOLDERS)


def _of_key(holder: Holder) -> str:
    return f"{KEY_SCHEMES[holder.key.scheme].title} key {spoken(holder.key.keyid)}"


def _of_roster(roster: Roster) -> dict[str, Facts]:
    general = {
        "fleet": roster.fleet,
        "number": str(roster.seq),
        "issued": format_time(roster.issued),
    }
    general |= {
        f"orders of {product}": f"refused below number {seq}"
        for product, seq in roster.min_order_seq.items()
    }
    sections = {"roster": general}
    for person in roster.persons:
        facts = {f"key {spoken(key.keyid)}": KEY_SCHEMES[key.scheme].title for key in person.keys}
        for number, grant in enumerate(person.grants, start=1):
            where = (
                "" if isinstance(grant.sites, UnsetType) else f" at {', '.join(grant.sites)} only"
            )
            facts[f"grant {number}"] = (
                f"{grant.role} over {', '.join(grant.cohorts)}{where} "
                f"until {format_time(grant.expires)}"
            )
        sections[f"person {person.name}"] = facts
    for rule in roster.rules:
        asked = {act: getattr(rule, act) for act in ("start", "advance", "resume", "assign")}
        facts = {act: _asked(others) for act, others in asked.items()}
        facts["stop"] = ", ".join(("operator", "monitor", *rule.stop)) + " (one signature)"
        sections[f"rule for cohorts {rule.pattern}"] = facts
    return sections


def _asked(others: Mapping[str, int]) -> str:
    counts = [f"{count} other {role}" for role, count in sorted(others.items())]
    return f"the author and {', '.join(counts)}" if counts else "the author alone"


def _signers(tally: Tally) -> Section:
    signed = {one.file.keyid: one for one in tally.signed}
    lines = [
        Line("+" if h.key.keyid in signed else " ", h.title, None, _said(h, signed))
        for h in tally.role.holders
    ]
    count = f"{tally.role.threshold} of {len(tally.role.holders)}"
    return Section(f"Who may sign {tally.role.name} ({count} must)", tuple(lines))


def _said(holder: Holder, signed: Mapping[str, Signed]) -> str:
    one = signed.get(holder.key.keyid)
    if one is None:
        return f"{_of_key(holder)}: not yet"
    return f"{_of_key(holder)}: {told(one.file)}"


def told(file: SignatureFile) -> str:
    """Who signed, with which meaning, when and why, on one line."""
    return f"{file.person} {file.meaning} at {format_time(file.at)}: {printable(file.reason)}"


def _unknown(fields: Mapping[str, Any], *known: str) -> Facts:
    return {printable(k): _value(v) for k, v in fields.items() if k not in known}


def _value(value: object) -> str:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list | tuple):
        return ("; " if any(isinstance(v, dict) for v in value) else ", ").join(map(_value, value))
    if value is None:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{printable(str(k))} {_value(v)}" for k, v in value.items())
    return printable(json.dumps(value))


def _told(what: str, value: str) -> Line:
    return Line(" ", what, None, printable(value))


def _days(days: int) -> str:
    return f"in {days} days" if days >= 0 else "it has expired"
