"""Permits that could cover the one move that is wanted: which, and their bytes (I/O).

Rules:

1. They are asked for when a decision was reached, what it learned is durable, and nothing but a
   permit stands between this gateway and what is wanted. So no stop waits for one (16).
2. Of all that are listed those could cover the move that are under this order, from what runs
   here, to what is wanted, unspent, and not expired at the time of the decision.
3. Of these so many are read, and so many bytes, as publishers take of one move
   (``release``, rule 6). Any more are named with those that are missing, never left out silently.
4. One that no server has, or whose bytes are not those that were signed, is not there: it permits
   nothing and forbids nothing, and the reason is kept. So another gateway's permit, which this one
   does not need, cannot end its decision.
5. What was read once is kept by digest and verified again when it is read; what could cover no
   move any more is removed. Losing it costs requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import TargetFile, Targets

from interlock_client.fetch import BundleFetcher
from interlock_client.servers import HttpStatusError, Server
from interlock_client.state import StateDir
from interlock_client.trust import IMAGE, target_bytes
from interlock_core import durable
from interlock_core.errors import NotFoundError, RefusedError, TransientError, WireError
from interlock_core.release import (
    MAX_PERMIT,
    MAX_PERMITS,
    MAX_PERMITS_BYTES,
    Permit,
    PermitFacts,
    permit_facts,
    read_permit,
)

SHOWN: Final = 200


@dataclass(frozen=True)
class Listed:
    """A permit that the product's metadata lists.

    Attributes:
        digest: its SHA-256.
        target: what the metadata says of its bytes.
        facts: what it says of the permit.
    """

    digest: str
    target: TargetFile
    facts: PermitFacts


@dataclass
class Had:
    """What came of asking.

    Attributes:
        permits: by digest.
        missing: why the others could not be had, by digest.
    """

    permits: dict[str, Permit] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def listed(role: Targets, order: str) -> tuple[Listed, ...]:
    """Every permit under one order that a product's metadata lists, by path."""
    return tuple(
        Listed(digest, target, facts)
        for path, target in sorted(role.targets.items())
        if (facts := permit_facts(path, target.custom)) is not None
        and facts.order == order
        and (digest := target.hashes.get("sha256")) is not None
    )


def for_move(
    permits: Iterable[Listed],
    *,
    from_sha256: str | None,
    to_sha256: str,
    spent: Iterable[str],
    now: datetime,
) -> tuple[Listed, ...]:
    """Those that could cover a move (rule 2); from what is not known there is none."""
    used = set(spent)
    return tuple(
        one
        for one in permits
        if one.facts.from_sha256 == from_sha256
        and one.facts.to_sha256 == to_sha256
        and one.facts.expires > now
        and one.digest not in used
    )


def have(candidates: Sequence[Listed], servers: Sequence[Server], state: StateDir) -> Had:
    """Read permits, from what is kept or else from the servers (rules 3 to 5).

    Args:
        candidates: those that could cover the move.
        servers: in order of preference.
        state: where they are kept.

    Raises:
        TransientError: the state directory cannot be read.
    """
    had, room, asked = Had(), MAX_PERMITS_BYTES, list(servers)
    for number, one in enumerate(candidates):
        if number >= MAX_PERMITS or one.target.length > room:
            had.missing[one.digest] = (
                f"no more than {MAX_PERMITS} permits of one move, of {MAX_PERMITS_BYTES} bytes "
                "together, are read"
            )
            continue
        room -= one.target.length
        try:
            data = _kept(state, one.target, one.digest) or _fetched(state, one, asked)
            had.permits[one.digest] = read_permit(data, one.facts)
        except (RefusedError, TransientError, WireError) as e:
            had.missing[one.digest] = f"{e.reason}: {str(e)[:SHOWN].rstrip('.')}"
    _forget(state, {one.digest for one in candidates})
    return had


def _kept(state: StateDir, target: TargetFile, digest: str) -> bytes | None:
    try:
        data = durable.read(state.permits / f"{digest}.json", limit=MAX_PERMIT, what="permit")
        target.verify_length_and_hashes(data)
    except (NotFoundError, WireError, LengthOrHashMismatchError):
        return None
    return data


def _fetched(state: StateDir, one: Listed, servers: list[Server]) -> bytes:
    """From the first server that has it; one that does not answer is not asked again."""
    first: RefusedError | TransientError | None = None
    for server in tuple(servers):
        try:
            data = target_bytes(server, BundleFetcher(server, None), IMAGE, one.target, MAX_PERMIT)
        except (RefusedError, TransientError) as e:
            if isinstance(e, TransientError) and not isinstance(e, HttpStatusError):
                servers.remove(server)
            first = first or e
            continue
        with suppress(TransientError):
            # Whoever cannot keep it fetches it again.
            durable.mkdir(state.permits, mode=0o700)
            durable.replace(state.permits / f"{one.digest}.json", data, mode=0o600)
        return data
    raise first or TransientError("No server that answers is left to ask.", reason="network")


def _forget(state: StateDir, wanted: set[str]) -> None:
    """Remove what could cover no move any more (rule 5)."""
    if not state.permits.is_dir():
        return
    with suppress(TransientError), durable.translated("sweep", state.permits):
        for path in state.permits.iterdir():
            if path.suffix == ".json" and path.stem not in wanted:
                durable.remove(path)
