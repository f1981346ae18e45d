"""Does an event still follow what is in force? (pure: what was read comes in)

Rules:

1. An event names what it follows, and carries it. Once the role has another version in force the
   event is stale: its version is taken, and gateways would refuse it.
2. It is stale, too, once other people hold its role, or another number of them must sign. New
   delegations that leave the role as it was, and new roots, do not make it so.
3. What is in force and is the event's own metadata was published.
4. A repository that is older than what the event rests on says nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from tuf.api.metadata import DelegatedRole, Metadata, Root, Targets

from interlock_core.errors import RefusedError
from interlock_core.tuf_metadata import delegated_roles, parse_metadata
from interlock_repo.event import BASE_ROSTER, Event
from interlock_repo.repository import Repository

Follows = Literal["in_force", "stale", "published"]

REBASE: Final = "interlock-repo rebase"


class OwnBase:
    """What was in force when an event was made, as the event carries it."""

    def __init__(self, event: Event) -> None:
        self._event = event
        self.roots = tuple(event.base[f"{root.signed.version}.root.json"] for root in event.roots)

    @property
    def targets(self) -> bytes:
        """The top-level targets metadata."""
        if self._event.file.role == Targets.type:
            return self._event.base[self._event.file.previous_name or ""]
        # Where new holders sign again there are two, and the newer was not in force.
        names = [name for name in self._event.base if name.endswith(".targets.json")]
        return self._event.base[min(names, key=lambda name: int(name.partition(".")[0]))]

    @property
    def heads(self) -> Mapping[str, bytes]:
        """An event carries none."""
        return {}

    def older_targets(self) -> Iterator[bytes]:
        """An event carries none; the repository that it is rebased on has them."""
        return iter(())

    def role(self, name: str) -> bytes | None:
        """The version that the event follows; of other roles it carries none."""
        previous = self._event.file.previous_name
        if name != self._event.file.role or previous is None:
            return None
        return self._event.base[previous]

    def roster(self, metadata: Targets) -> bytes:
        """The roster that was in force."""
        del metadata
        return self._event.base[BASE_ROSTER]


def unmoved(event: Event, repository: Repository) -> bool:
    """Whether everything that an event rests on is in force, to the byte."""
    own, role = OwnBase(event), event.file.role
    same_delegator = role == Targets.type or own.targets == repository.targets
    return (own.roots[-1], _ours(own, role), same_delegator) == (
        repository.roots[-1],
        _theirs(repository, role),
        True,
    )


def check_not_older(event: Event, repository: Repository) -> None:
    """Check rule 4.

    Raises:
        RefusedError: ``rollback``.
    """
    own, role = OwnBase(event), event.file.role
    if _version(_theirs(repository, role), role) < _version(_ours(own, role), role) or _version(
        repository.targets, Targets.type
    ) < _version(own.targets, Targets.type):
        raise RefusedError(
            f"The repository is older than what {event.directory} rests on: get a newer copy.",
            reason="rollback",
        )


def follows(event: Event, repository: Repository) -> tuple[Follows, str]:
    """Whether an event follows what is in force (rules 1 to 4), and a sentence for people.

    Raises:
        RefusedError: ``rollback``; or what is served does not verify.
        WireError, TransientError: it cannot be read.
    """
    check_not_older(event, repository)
    own, file = OwnBase(event), event.file
    name = f"{file.role} {file.version}"
    theirs = _theirs(repository, file.role)
    if theirs is not None and theirs != _ours(own, file.role):
        now = _metadata(theirs, file.role)
        if now.signed_bytes == event.metadata.signed_bytes:
            return "published", f"{name} is in force: it was published."
        version = now.signed.version
        other = "another of that version" if version == file.version else f"version {version}"
        return "stale", (
            f"{event.directory} is stale: it makes {name}, and {other} is in force already. Unless "
            f"it was published before, it can never be: '{REBASE} {event.directory}' makes it "
            "anew, and everybody signs again."
        )
    if not event.new_holders and _holders(own.roots[-1], own.targets, file.role) != _holders(
        repository.roots[-1], repository.targets, file.role
    ):
        return "stale", (
            f"{event.directory} is stale: other people hold {file.role} now than those who may "
            f"sign it here. '{REBASE} {event.directory}' makes it anew."
        )
    return "in_force", "It follows what is in force."


def _holders(root: bytes, targets: bytes, role: str) -> tuple[frozenset[str], int] | None:
    """Who may sign a role: ids of keys, which follow from the keys, and how many must."""
    if role == Targets.type:
        found = parse_metadata(root, Root, what="root metadata").signed.roles[role]
        return frozenset(found.keyids), found.threshold
    one: DelegatedRole | None = delegated_roles(_metadata(targets, Targets.type).signed).get(role)
    return (frozenset(one.keyids), one.threshold) if one is not None else None


def _theirs(repository: Repository, role: str) -> bytes | None:
    return repository.targets if role == Targets.type else repository.role(role)


def _ours(own: OwnBase, role: str) -> bytes | None:
    return own.targets if role == Targets.type else own.role(role)


def _version(data: bytes | None, role: str) -> int:
    return 0 if data is None else _metadata(data, role).signed.version


def _metadata(data: bytes, role: str) -> Metadata[Targets]:
    return parse_metadata(data, Targets, what=f"{role} metadata")
