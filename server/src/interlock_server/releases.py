"""What the server further asks of a publication (pure).

``interlock_core.released`` says what may stand in a product's metadata. Here:

1. No target is larger than this server takes.
2. The role ``interlock`` holds exactly the roster. The roster's fleet is ours, its ``seq`` rises
   when its bytes change, and gateways would still believe it.
3. A permit is what its facts say, for this fleet, for somebody, and from one image to another.
"""

from __future__ import annotations

from datetime import datetime

from tuf.api.metadata import TargetFile, Targets

from interlock_core import released
from interlock_core.decide import MAX_ROSTER_AGE
from interlock_core.errors import RefusedError, WireError
from interlock_core.names import ROSTER_PATH
from interlock_core.release import PermitFacts, read_permit
from interlock_core.roster import MAX_ROSTER, Roster, read_roster
from interlock_core.tuf_metadata import MAX_CLOCK_SKEW
from interlock_core.wire import format_time


def check_release(new: Targets, before: Targets | None, *, largest_target_bytes: int) -> None:
    """Check a product's metadata against the version before it, and its sizes (rule 1).

    Raises:
        RefusedError: ``target_too_large``, or as ``released.check_release``.
        WireError: ``bad_path``.
    """
    for path, info in new.targets.items():
        check_length(path, info, largest_target_bytes)
    released.check_release(new, before)


def check_length(path: str, info: TargetFile, largest: int) -> None:
    """Check the size of one target (rule 1).

    Args:
        path: where it lies.
        info: what the signed metadata says of it.
        largest: the most bytes that it may have.

    Raises:
        RefusedError: ``target_too_large``.
    """
    if not 1 <= info.length <= largest:
        raise RefusedError(
            f"{path} has {info.length} bytes; this server takes 1 to {largest} of its kind "
            "(storage.largest_target_bytes for images and evidence).",
            reason="target_too_large",
        )


def check_roster_targets(new: Targets) -> TargetFile:
    """Check that the role ``interlock`` holds the roster alone, and return what it says of it.

    Raises:
        RefusedError: ``bad_roster`` or ``bad_hashes``.
    """
    if list(new.targets) != [ROSTER_PATH]:
        raise RefusedError(
            f"The role interlock holds exactly {ROSTER_PATH}, nothing more or less.",
            reason="bad_roster",
        )
    info = new.targets[ROSTER_PATH]
    check_length(ROSTER_PATH, info, MAX_ROSTER)
    released.sha256_of(ROSTER_PATH, info)
    return info


def check_roster(data: bytes, before: Roster | None, *, fleet: str, now: datetime) -> Roster:
    """Check a roster's bytes before it takes effect (rule 2).

    Args:
        data: its bytes, with the digest that was signed.
        before: the roster in force, if there is one.
        fleet: ours.
        now: to judge its age by.

    Raises:
        RefusedError: ``bad_roster``, ``wrong_fleet``, ``rollback`` or ``roster_stale``.
    """
    try:
        roster = read_roster(data)
    except WireError as e:
        raise RefusedError(str(e), reason="bad_roster") from e
    if roster.fleet != fleet:
        raise RefusedError(
            f"The roster is of fleet {roster.fleet} and this server serves {fleet}.",
            reason="wrong_fleet",
        )
    if before is not None and roster.seq <= before.seq and roster != before:
        raise RefusedError(
            f"The roster has seq {roster.seq} and {before.seq} is in force: raise it.",
            reason="rollback",
        )
    if now >= roster.issued + MAX_ROSTER_AGE or roster.issued > now + MAX_CLOCK_SKEW:
        raise RefusedError(
            f"The roster was issued at {format_time(roster.issued)}: gateways believe it for "
            f"{MAX_ROSTER_AGE.days} days from then, and not before; issue a new one.",
            reason="roster_stale",
        )
    return roster


def check_permit(path: str, data: bytes, facts: PermitFacts, *, fleet: str) -> None:
    """Check a permit's bytes before it takes effect (rule 3).

    Args:
        path: where it lies.
        data: its bytes, with the digest that was signed.
        facts: what its metadata says of it.
        fleet: ours.

    Raises:
        RefusedError: ``bad_permit`` or ``wrong_fleet``.
    """
    try:
        permit = read_permit(data, facts)
    except WireError as e:
        raise RefusedError(f"{path}: {e}", reason="bad_permit") from e
    if permit.fleet != fleet:
        raise RefusedError(
            f"The permit {path} is of fleet {permit.fleet} and this server serves {fleet}.",
            reason="wrong_fleet",
        )
    if not (permit.devices or permit.cohorts) or permit.from_sha256 == permit.to_sha256:
        raise RefusedError(
            f"The permit {path} is for nobody, or leads nowhere: no gateway could use it.",
            reason="bad_permit",
        )
