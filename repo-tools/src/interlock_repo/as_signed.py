"""What an event was when somebody signed it, kept beside the signatures (pure).

Rules:

1. ``signed/<digest>.json`` is a copy of the ``event.json`` with that SHA-256, of the metadata that
   it pins, and of the small files that a person is shown beside it, such as a roster. Each
   signature names the digest, so nobody can exchange the copy.
2. If the event is another one now, every signature is void. What changed is said from the copy:
   which file, and which fact from what to what; and who had signed, when and why.
3. A copy explains and nothing else: no signature counts for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from tuf.api.metadata import Metadata, Targets

from interlock_core import wire
from interlock_core.errors import InterlockError, RefusedError
from interlock_core.names import ROSTER_PATH, TargetPath
from interlock_core.roster import MAX_ROSTER, Roster, read_roster
from interlock_core.tuf_metadata import MAX_LENGTH, parse_metadata, serialise
from interlock_repo.event import MAX_EVENT, Event, EventFile, Kind
from interlock_repo.permits import MAX_MADE
from interlock_repo.review import Facts, Line, Section, compared, facts_of, told
from interlock_repo.signatures import SignatureFile

MAX_AS_SIGNED: Final = 4 * MAX_LENGTH[Targets.type]
SHOWN_KINDS: Final = frozenset[Kind]({"roster", "permit"})
"""Kinds of events whose targets are small, and are shown to people (rule 1)."""
SHOWN_CHANGES: Final = 4
"""How many changes are told in the line of an error; the sections tell all."""

Text = Annotated[str, Meta(max_length=MAX_LENGTH[Targets.type])]


class AsSigned(wire.Record, frozen=True, kw_only=True):
    """A copy of an event as it was signed (rule 1).

    Attributes:
        event: the text of its ``event.json``.
        metadata: the text of its metadata file.
        shown: the texts of its small targets by path.
    """

    type: Literal["urn:interlock:signed:v1"] = "urn:interlock:signed:v1"
    event: Annotated[str, Meta(max_length=MAX_EVENT)]
    metadata: Text
    shown: Annotated[dict[TargetPath, Text], Meta(max_length=MAX_MADE)]


class EventChangedError(RefusedError):
    """An event is not what people signed, or two copies are of two events (rule 2).

    Attributes:
        sections: what changed, and whose signatures are void, for people.
        void: those signatures.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        sections: Iterable[Section],
        void: Iterable[SignatureFile],
    ) -> None:
        super().__init__(message, reason=reason)
        self.sections = tuple(sections)
        self.void = tuple(void)


@dataclass(frozen=True)
class State:
    """An event as far as it can be read, whether or not it is whole.

    Attributes:
        file: its ``event.json``.
        digest: of it.
        metadata: what it calls for.
        shown: the bytes of its small targets by path.
    """

    file: EventFile
    digest: str
    metadata: Metadata[Targets]
    shown: Mapping[str, bytes]

    @classmethod
    def of(cls, event: Event) -> State:
        """An event that was opened."""
        shown = {path: wire.encode(permit) for path, permit in event.permits.items()}
        if event.roster is not None:
            shown[ROSTER_PATH] = wire.encode(event.roster)
        return cls(event.file, event.digest, event.metadata, shown)

    def facts(self) -> dict[str, Facts]:
        """All that it says, by title and label; of what cannot be read, the JSON by its path."""
        try:
            data = self.shown.get(ROSTER_PATH)
            roster: Roster | None = read_roster(data) if data is not None else None
            facts = facts_of(self.file.kind, self.metadata.signed, roster)
            permits = {} if self.file.kind != "permit" else self.shown
            return facts | {
                f"permit {path}": dict(_flat(wire.parse(data, limit=MAX_ROSTER, what=path), ""))
                for path, data in permits.items()
            }
        except InterlockError:
            return {"signed metadata": dict(_flat(self.metadata.signed.to_dict(), ""))}


def as_signed(event: Event) -> bytes:
    """The copy to keep of an event that is about to be signed (rule 1)."""
    state = State.of(event)
    return wire.encode(
        AsSigned(
            event=wire.encode(event.file).decode(),
            metadata=serialise(event.metadata).decode(),
            shown={path: data.decode() for path, data in state.shown.items()},
        )
    )


def parse_as_signed(data: bytes, digest: str, *, what: str) -> State:
    """Read a copy, and see that it is what its name says.

    Raises:
        WireError: it does not have the form.
        RefusedError: ``event_damaged``: it is another event's, or its parts do not belong together.
    """
    copy = wire.decode_canonical(data, AsSigned, limit=MAX_AS_SIGNED, what=what)
    text = copy.event.encode()
    file = wire.decode_canonical(text, EventFile, limit=MAX_EVENT, what=what)
    metadata = parse_metadata(copy.metadata.encode(), Targets, what=what)
    pinned = wire.sha256_hex(metadata.signed_bytes) == file.metadata_sha256
    shown = {path: text.encode() for path, text in copy.shown.items()}
    listed = metadata.signed.targets
    if (
        wire.sha256_hex(text) != digest
        or not pinned
        or any(
            path not in listed or listed[path].hashes.get("sha256") != wire.sha256_hex(data)
            for path, data in shown.items()
        )
    ):
        raise RefusedError(f"{what} is not a copy of what its name says.", reason="event_damaged")
    return State(file, digest, metadata, shown)


def differences(was: State, now: State) -> list[Section]:
    """What is otherwise in ``now`` (rule 2): the files that are pinned first, then the facts."""
    pinned = compared({"what the event is": _pinned(was)}, {"what the event is": _pinned(now)})
    facts = compared(was.facts(), now.facts())
    return [s for s in (*pinned, *facts) if s.lines]


def void_section(signatures: Iterable[SignatureFile]) -> Section:
    """Whose signatures count no more."""
    lines = tuple(Line("-", file.person, f"{told(file)}: void", None) for file in signatures)
    return Section("Void signatures: they were made for another version of the event", lines)


def changed(
    void: Iterable[SignatureFile], copies: Mapping[str, State], now: State
) -> EventChangedError:
    """The refusal of an event that changed after it was signed (rule 2).

    Args:
        void: the signatures that were made for something else; at least one.
        copies: what they were made for, by digest, as far as it was kept.
        now: the event as it stands there.
    """
    void = tuple(void)
    sections: list[Section] = []
    for digest in dict.fromkeys(file.event_sha256 for file in void):
        if digest in copies:
            sections += differences(copies[digest], now)
    first = void[0]
    names = ", ".join(dict.fromkeys(file.person for file in void))
    return EventChangedError(
        f"The event changed after it was signed: {first.person} signed metadata_sha256 "
        f"{first.metadata_sha256} at {wire.format_time(first.at)}, and it is "
        f"{wire.sha256_hex(now.metadata.signed_bytes)} now{_in_short(sections)}. The signatures of "
        f"{names} are void: make the event anew ('interlock-repo rebase' does it from an unchanged "
        "copy), and sign that.",
        reason="event_changed",
        sections=(*sections, void_section(void)),
        void=void,
    )


def _in_short(sections: Iterable[Section]) -> str:
    told = [
        f"{section.title.partition(': ')[2]}: {line.what} {line.old or 'nothing'} -> "
        f"{line.new or 'nothing'}"
        for section in sections
        for line in section.lines
    ]
    # The facts say more than the digests that follow from them, and stand last.
    said = "; ".join(told[-SHOWN_CHANGES:])
    return f" ({said})" if said else ""


def _pinned(state: State) -> Facts:
    file, signed = state.file, state.metadata.signed
    facts = {
        "kind": file.kind,
        "makes": f"{file.role} {file.version}",
        "expires": wire.format_time(signed.expires),
        "event.json": state.digest,
        "spec.json": file.spec_sha256,
    }
    facts |= {
        f"signed field {name}": wire.encode(value).decode()
        for name, value in signed.unrecognized_fields.items()
    }
    facts |= {f"base/{name}": digest for name, digest in file.base.items()}
    return facts


def _flat(value: Any, path: str) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from _flat(value[key], f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from _flat(item, f"{path}[{number}]")
    else:
        yield path, msgspec.json.encode(value).decode()
