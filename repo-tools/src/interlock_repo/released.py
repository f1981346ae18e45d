"""The next version of a product's metadata, and whether it may be signed (pure).

``interlock_core.released`` says what may stand in it. The same rules are kept when an event is
staged and each time it is opened, so that an event that was made by other means is refused before
anybody signs it. Further rules:

1. A permit that has expired leaves with the next version, whatever that is for.
2. An event changes what its kind says and nothing else, so that nobody signs a downgrade under the
   title of a release.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime
from typing import Final

from tuf.api.metadata import DelegatedRole, Targets

from interlock_core import released
from interlock_core.errors import RefusedError
from interlock_core.release import Delta, Evidence, Image, PermitFacts
from interlock_core.tuf_metadata import set_issued
from interlock_core.withdrawn import withdrawals


def following(previous: Targets | None, *, now: datetime, expires: datetime) -> Targets:
    """A copy of metadata with the next version, issued now; empty metadata for the first."""
    targets = Targets() if previous is None else Targets.from_dict(deepcopy(previous.to_dict()))
    targets.version = 1 if previous is None else previous.version + 1
    targets.expires = expires
    set_issued(targets, now)
    return targets


def next_product(previous: Targets | None, *, now: datetime, expires: datetime) -> Targets:
    """As ``following``, without the permits that have expired (rule 1)."""
    targets = following(previous, now=now, expires=expires)
    for path, facts in released.permits(targets).items():
        if facts.expires <= now:
            del targets.targets[path]
    return targets


def new_paths(targets: Targets, previous: Targets | None) -> list[str]:
    """Paths that the version before did not have, sorted: whose bytes must come along."""
    return sorted(targets.targets.keys() - (previous.targets.keys() if previous else set()))


def check_release(targets: Targets, previous: Targets | None, role: DelegatedRole) -> None:
    """Check a product's new metadata, paths first.

    Raises:
        RefusedError: ``outside_delegation``, or as ``interlock_core.released.check_release``.
        WireError: malformed paths.
    """
    for path in targets.targets:
        if not role.is_delegated_path(path):
            raise RefusedError(
                f"{path[:120]!r} lies outside what {role.name} may sign "
                f"({' '.join(role.paths or [])}): a file's name is one level, below its version.",
                reason="outside_delegation",
            )
    released.check_release(targets, previous)


ADDED: Final[Mapping[str, tuple[type, ...]]] = {
    "release": (Image, Evidence, Delta),
    "permit": (PermitFacts,),
    "withdrawal": (),
    "renewal": (),
}
"""What targets each kind of event of a product adds (rule 2)."""


def check_kind(kind: str, targets: Targets, previous: Targets | None) -> None:
    """Check that a product's new metadata is of the kind that the event says (rule 2).

    Raises:
        RefusedError: ``wrong_kind``.
        WireError: malformed paths.
    """
    for path in new_paths(targets, previous):
        facts = released.read_facts(path, targets.targets[path])
        if not isinstance(facts, ADDED[kind]):
            raise _wrong_kind(kind, f"adds {path}")
    more = withdrawals(targets).keys() - withdrawals(previous).keys()
    if bool(more) != (kind == "withdrawal"):
        raise _wrong_kind(kind, f"withdraws {', '.join(sorted(more)) or 'nothing'}")


def _wrong_kind(kind: str, what: str) -> RefusedError:
    return RefusedError(
        f"The event says that it is a {kind}, and it {what}: have it staged anew.",
        reason="wrong_kind",
    )
