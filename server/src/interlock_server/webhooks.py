"""Delivers events to webhooks, from the log (I/O).

Rules:

1. The log is the outbox: an event is there with the transaction that made it a fact, and a webhook
   has its place in the log. So an event is delivered at least once, in the order of the log, and
   nothing that is published waits for a delivery.
2. One process at a time delivers to a webhook, by a lease in the database. The place moves on with
   each answer of 2xx. Whatever else comes, it waits 5 s, and twice as long each time, at most an
   hour, and begins with the same event.
3. A webhook that fails for three days is dead: the log says so as an error, and
   ``interlock_webhook_dead`` is 1. It is tried once an hour all the same; when it answers, it gets
   everything that it missed.
4. A new webhook begins with what comes next.
5. Only the address in the settings is called: HTTPS (plain HTTP on loopback), no redirect is
   followed, and of an answer only the status is looked at.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from interlock_core import durable, wire
from interlock_core.clock import Clock
from interlock_core.errors import (
    ConfigurationError,
    InterlockError,
    NotFoundError,
    TransientError,
    WireError,
)
from interlock_core.http import make_pool, post_for_status
from interlock_core.log import read_entry
from interlock_server.config import Webhook
from interlock_server.db.session import Database
from interlock_server.db.tables import FleetRow
from interlock_server.db.webhook_tables import WebhookRow
from interlock_server.hook_events import EVENTS, event_of, headers, read_secret, wanted
from interlock_server.logbook import entries, size

FIRST_WAIT: Final = timedelta(seconds=5)
LONGEST_WAIT: Final = timedelta(hours=1)
DEAD_AFTER: Final = timedelta(days=3)
LEASE: Final = timedelta(minutes=5)
AT_ONCE: Final = 20
"""Deliveries under one lease; each takes ten seconds at most."""
PATIENCE_SECONDS: Final = 5.0
INTERVAL: Final = timedelta(seconds=2)
MAX_FILE: Final = 4096

_log = logging.getLogger(__name__)


class Webhooks:
    """Delivers.

    Args:
        database: where the log and the places are.
        hooks: of the settings.
        clock: now.
    """

    def __init__(self, database: Database, hooks: Sequence[Webhook], clock: Clock) -> None:
        self._database = database
        self.hooks = tuple(hooks)
        self._clock = clock
        self._secrets: dict[str, bytes] = {}
        self._pools = {hook.name: make_pool(ca_file=hook.ca_file) for hook in hooks}

    def open(self) -> None:
        """Read the secrets, and see that the events exist.

        Raises:
            ConfigurationError: a secret is missing, or is none; or there is no such event.
            TransientError: a secret cannot be read.
        """
        for hook in self.hooks:
            for pattern in hook.events:
                if not any(wanted(type_, [pattern]) for type_ in EVENTS):
                    raise ConfigurationError(
                        f"The webhook {hook.name} asks for {pattern!r}, and there is no such "
                        "event: docs/webhooks.md lists them."
                    )
            try:
                data = durable.read(hook.secret_file, limit=MAX_FILE, what="webhook's secret")
                self._secrets[hook.name] = read_secret(data.decode("ascii", "replace"))
            except (NotFoundError, WireError) as e:
                raise ConfigurationError(f"The secret of webhook {hook.name}: {e}") from e

    def round(self) -> int:
        """Deliver what waits; by how many entries of the log it went on.

        Raises:
            TransientError: the database failed.
        """
        return sum(self._deliver(hook) for hook in self.hooks)

    def _deliver(self, hook: Webhook) -> int:
        start = self._take(hook)
        if start is None:
            return 0
        done, failed = start, False
        with self._database.reading() as session:
            fleet = session.scalars(select(FleetRow.name)).one()
            waiting = [read_entry(one) for one in entries(session, start, start + AT_ONCE)]
        try:
            for entry in waiting:
                event = event_of(entry, fleet)
                if event is not None and wanted(event.type, hook.events):
                    failed = not self._send(hook, fleet, entry.number, wire.encode(event))
                    if failed:
                        break
                done = entry.number + 1
        finally:
            self._note(hook, done, failed=failed)
        return done - start

    def _take(self, hook: Webhook) -> int | None:
        """Its place, if it is this process's turn to deliver and there is something (rule 2)."""
        now = self._clock()
        with self._database.reading() as session:
            row, end = session.get(WebhookRow, hook.name), size(session)
        if row is not None and not _is_due(row, end, now):
            return None
        with self._database.storing() as session:
            row = session.get(WebhookRow, hook.name, with_for_update=True)
            if row is None:
                session.add(WebhookRow(name=hook.name, next=end, failures=0))
                return None
            if not _is_due(row, end, now):
                return None
            row.busy_until = now + LEASE
            return row.next

    def _note(self, hook: Webhook, done: int, *, failed: bool) -> None:
        now = self._clock()
        with self._database.storing() as session:
            row = _of(session, hook)
            row.next, row.busy_until = max(row.next, done), None
            if not failed:
                row.failures, row.failing_since, row.try_at = 0, None, None
                return
            wait = min(FIRST_WAIT * 2 ** min(row.failures, 20), LONGEST_WAIT)
            row.failures, row.try_at = row.failures + 1, now + wait
            row.failing_since = row.failing_since or now
            dead = now - row.failing_since >= DEAD_AFTER
        if dead:
            _log.error("webhook %s is dead: it fails since three days or more", hook.name)

    def _send(self, hook: Webhook, fleet: str, number: int, body: bytes) -> bool:
        """Whether a delivery was answered well (rule 5)."""
        signed = headers(fleet, number, self._clock(), body, self._secrets[hook.name])
        pool = self._pools[hook.name]
        try:
            status = post_for_status(pool, hook.url, body, signed, seconds=PATIENCE_SECONDS)
        except TransientError as e:
            _log.warning("webhook %s: %s", hook.name, e)
            return False
        if 200 <= status < 300:
            return True
        _log.warning("webhook %s answered %d", hook.name, status)
        return False


def _is_due(row: WebhookRow, end: int, now: datetime) -> bool:
    return (
        row.next < end
        and (row.try_at is None or row.try_at <= now)
        and (row.busy_until is None or row.busy_until <= now)
    )


def _of(session: Session, hook: Webhook) -> WebhookRow:
    return session.get_one(WebhookRow, hook.name, with_for_update=True)


def start(webhooks: Webhooks) -> None:
    """Deliver from a thread of this process, as long as it lives, if there is a webhook."""
    if webhooks.hooks:
        never = threading.Event()
        threading.Thread(target=_keep, args=(webhooks, never), name="webhooks", daemon=True).start()


def _keep(webhooks: Webhooks, stop: threading.Event) -> None:
    while not stop.wait(INTERVAL.total_seconds()):
        try:
            while webhooks.round():
                pass
        except InterlockError as e:
            _log.error("webhooks could not be looked after: %s", e)
        except Exception:  # noqa: BLE001  # the rounds go on: nothing may stand still unseen
            _log.exception("webhooks could not be looked after")
