"""The next version of a product's metadata, and whether it may be signed (pure).

``interlock_core.released`` says what may stand in it. The same rules are kept when an event is
staged and each time it is opened, so that an event that was made by other means is refused before
anybody signs it.
"""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime

from tuf.api.metadata import DelegatedRole, Targets

from interlock_core import released
from interlock_core.errors import RefusedError
from interlock_core.tuf_metadata import set_issued


def following(previous: Targets | None, *, now: datetime, expires: datetime) -> Targets:
    """A copy of metadata with the next version, issued now; empty metadata for the first."""
    targets = Targets() if previous is None else Targets.from_dict(deepcopy(previous.to_dict()))
    targets.version = 1 if previous is None else previous.version + 1
    targets.expires = expires
    set_issued(targets, now)
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
