"""The one request of an update check (I/O).

Rules:

1. ``poll/<cohort>`` is asked for with the validator of the last bundle whose content was verified
   here; the servers are asked in order until one answers. One that asks to be left alone is.
2. A bundle carries no authority. One that is missing, malformed, too large or for another cohort
   costs requests and nothing else, so it is no error.
3. A bundle is kept only after all that it holds was verified, with where it came from, its digest
   and what was decided. A 304 is then as good as the same bytes again, and no better.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from interlock_client.sealed import MAX_RECORD, Kept, seal, unseal
from interlock_client.servers import HttpStatusError, Server, Servers, together
from interlock_client.state import StateDir
from interlock_core import disk, durable
from interlock_core.bundle import MAX_BUNDLE, Bundle, read_bundle
from interlock_core.clock import EPOCH
from interlock_core.errors import NotFoundError, RefusedError, TransientError, WireError
from interlock_core.wire import sha256_hex


class Settled(Kept, frozen=True, kw_only=True):
    """An outcome that needs nothing to be done, and what it holds for.

    Attributes:
        config: digest of the settings and of the embedded roots.
        booted: the slot that was running.
        running: digest of what ran, if it was known.
        enrolment: under which assignments were looked for.
        until: from then on it must be decided again, because something expires.
        kept_until: the latest time that may be kept of a decision like it (``clock``, rule 5).
    """

    reason: str
    detail: str
    config: str
    booted: str
    running: str | None
    enrolment: str | None = None
    until: datetime
    kept_until: datetime = EPOCH

    def holds(
        self,
        *,
        config: str,
        booted: str,
        running: str | None,
        enrolment: str | None,
        now: datetime,
    ) -> bool:
        """Whether nothing that it depends on has changed."""
        known = (self.config, self.booted, self.running, self.enrolment)
        return known == (config, booted, running, enrolment) and now < self.until


class Seen(Kept, frozen=True, kw_only=True):
    """What the last poll led to (rule 3)."""

    url: str
    etag: str
    sha256: str
    settled: Settled | None = None


class Trouble(Kept, frozen=True, kw_only=True):
    """What is refused at every poll, and since when: once may be a stale source, often is not."""

    reason: str
    since: datetime
    polls: int


@dataclass(frozen=True)
class Polled:
    """An answer.

    Attributes:
        server: who answered.
        bundle: as it arrived, or as it is kept if it is unchanged; None without a usable one.
        data: its bytes.
        etag: its validator.
        unchanged: what was kept, if the server says that nothing changed.
    """

    server: Server
    bundle: Bundle | None = None
    data: bytes = b""
    etag: str | None = None
    unchanged: Seen | None = None


def ask(servers: Servers, cohort: str, state: StateDir) -> Polled:
    """Poll (rules 1 and 2).

    Raises:
        TransientError: ``network``: no server can be reached, or each asks to be left alone.
    """
    path = f"/poll/{cohort}"
    seen = load_seen(state)
    troubles: list[TransientError] = []
    for server in servers.each:
        known = seen if seen is not None and seen.url == server.url + path else None
        try:
            answer = server.get(path, limit=MAX_BUNDLE, etag=known.etag if known else None)
        except RefusedError:
            return Polled(server)
        except HttpStatusError as e:
            if e.retry_after is None:
                # It is there, and has no bundle for us: the ordinary URLs will do.
                return Polled(server)
            troubles.append(e)
            continue
        except TransientError as e:
            troubles.append(e)
            continue
        if answer.status == 304:
            return Polled(server, etag=answer.etag, unchanged=known)
        return _read(Polled(server, data=answer.body, etag=answer.etag), cohort)
    raise together(troubles)


def note_answer(state: StateDir, now: datetime) -> None:
    """Keep when a server answered, for people: not flushed, because nothing is decided by it.

    Raises:
        TransientError: the disk did not do it.
    """
    with durable.translated("touch", state.polled):
        disk.step("make", state.polled)
        state.polled.touch(mode=0o600)
        os.utime(state.polled, (now.timestamp(), now.timestamp()))


def last_answer(state: StateDir) -> datetime | None:
    """When a server answered last, or None if that is not known."""
    try:
        changed = state.polled.stat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(changed, UTC).replace(microsecond=0)


def restored(polled: Polled, cohort: str, state: StateDir) -> Polled:
    """After a 304, with the bundle that is kept; without one if it is damaged.

    Raises:
        TransientError: it cannot be read.
    """
    seen = polled.unchanged
    if seen is None:
        return polled
    try:
        data = durable.read(state.bundle, limit=MAX_BUNDLE, what="poll bundle")
    except (NotFoundError, WireError):
        return Polled(polled.server)
    if sha256_hex(data) != seen.sha256:
        return Polled(polled.server)
    return _read(Polled(polled.server, data=data, etag=polled.etag, unchanged=seen), cohort)


def keep(polled: Polled, cohort: str, settled: Settled | None, state: StateDir) -> None:
    """Keep what was verified, and what was decided (rule 3).

    Raises:
        TransientError: the disk did not do it.
    """
    if polled.bundle is None or polled.etag is None:
        forget(state)
        return
    sha256 = sha256_hex(polled.data)
    if polled.unchanged is None:
        durable.replace(state.bundle, polled.data, mode=0o600)
    seen = Seen(
        url=f"{polled.server.url}/poll/{cohort}",
        etag=polled.etag,
        sha256=sha256,
        settled=settled,
    )
    if seen != polled.unchanged:
        durable.replace(state.seen, seal(seen), mode=0o600)


def forget(state: StateDir) -> None:
    """Ask for everything again next time.

    Raises:
        TransientError: the disk did not do it.
    """
    if state.seen.exists():
        durable.remove(state.seen)


def load_seen(state: StateDir) -> Seen | None:
    """What the last poll led to, or None if that is not known.

    Raises:
        TransientError: it cannot be read.
    """
    try:
        return unseal(durable.read(state.seen, limit=MAX_RECORD, what="poll record"), Seen)
    except (NotFoundError, WireError):
        # No evidence: what is damaged is fetched again.
        return None


def load_trouble(state: StateDir) -> Trouble | None:
    """What has been refused at every poll until now, or None.

    Raises:
        TransientError: it cannot be read.
    """
    try:
        data = durable.read(state.trouble, limit=MAX_RECORD, what="record of trouble")
        return unseal(data, Trouble)
    except (NotFoundError, WireError):
        return None


def note_trouble(state: StateDir, reason: str | None, now: datetime) -> None:
    """Count a refused poll, or with None forget those before.

    Raises:
        TransientError: the disk did not do it.
    """
    known = load_trouble(state)
    if reason is not None:
        same = known if known is not None and known.reason == reason else None
        trouble = Trouble(
            reason=reason,
            since=same.since if same else now,
            polls=same.polls + 1 if same else 1,
        )
        durable.replace(state.trouble, seal(trouble), mode=0o600)
    elif known is not None:
        durable.remove(state.trouble)


def _read(polled: Polled, cohort: str) -> Polled:
    try:
        bundle = read_bundle(polled.data)
    except WireError:
        return Polled(polled.server)
    if bundle.cohort != cohort:
        return Polled(polled.server)
    return replace(polled, bundle=bundle)
