"""``/healthz``, ``/readyz`` and ``/metrics``, on a loopback port of their own.

Rules:

1. ``/healthz``: this process answers. ``/readyz``: store and database can be read, no root or head
   of any repository has expired, and the online keys that the roots name are held here; else 503
   and what is wrong.
2. ``/metrics`` is read from the database and the Store at the moment of asking, so it is the same
   whichever process or host is asked, and survives restarts.
3. The port is bound once, by the master, before any worker is forked; every worker answers on it
   from one thread of its own. So it needs no process more, it answers while all request threads
   are busy, it stays plain HTTP when the main port speaks TLS, and a lost worker loses nothing.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from tuf.api.metadata import Targets

from interlock_core import wire
from interlock_core.decide import MAX_ROSTER_AGE
from interlock_core.errors import InterlockError
from interlock_core.genesis import IMAGE
from interlock_core.order import Assignment, Authorisation
from interlock_core.report import Claim, Enrolment
from interlock_core.tuf_stored import StoredRepository
from interlock_server.db.fleet_tables import AssignmentRow, ClaimRow, EnrolmentRow, WordRow
from interlock_server.db.tables import PublicationRow, RefusalRow, StatementRow
from interlock_server.db.webhook_tables import WebhookRow
from interlock_server.fleet import STATES
from interlock_server.heads import director_prefix
from interlock_server.image import read_released
from interlock_server.logbook import size
from interlock_server.monitors import Monitors
from interlock_server.webhooks import DEAD_AFTER
from interlock_server.wiring import Backstage

PATIENCE_SECONDS: Final = 5.0
"""How long a caller may take to send a request, or to take the answer."""

Expiry = tuple[str, str, datetime]

_log = logging.getLogger(__name__)


def expiries(back: Backstage) -> Iterator[Expiry]:
    """When each head and each newest root expires: repository, role, time.

    Raises:
        TransientError: the store or the database failed.
    """
    with back.database.reading() as session:
        cohorts = back.publisher.cohorts(session)
    for prefix in (IMAGE, *map(director_prefix, cohorts)):
        stored = StoredRepository(back.store, prefix)
        targets = None if prefix == IMAGE else stored.published_targets(Targets.type)
        heads = (stored.timestamp(), stored.snapshot(), targets)
        for head in (*heads, stored.root() if any(heads) else None):
            if head is not None:
                yield prefix, head.signed.type, head.signed.expires


def readiness(back: Backstage) -> list[str]:
    """What keeps the server from being ready; empty if nothing does (rule 1)."""
    try:
        heads = list(expiries(back))
        now = back.clock()
        expired = [f"{prefix}/{role} has expired" for prefix, role, time in heads if time <= now]
        with back.database.reading() as session:
            cohorts = back.publisher.cohorts(session)
        missing = back.publisher.missing_keys(cohorts) if heads else []
    except InterlockError as e:
        return [str(e)]
    return [*expired, *missing] if heads else ["nothing was published yet"]


class Facts(Collector):
    """The server's numbers, read when they are asked for (rule 2)."""

    def __init__(self, back: Backstage) -> None:
        self._back = back

    def collect(self) -> Iterable[Metric]:
        """All numbers.

        Raises:
            TransientError: the store or the database failed.
        """
        expires = GaugeMetricFamily(
            "interlock_head_expires_seconds",
            "When a head expires, in seconds since 1970.",
            labels=["repository", "role"],
        )
        for prefix, role, time in expiries(self._back):
            expires.add_metric([prefix, role], time.timestamp())
        yield expires
        roster = read_released(self._back.store).roster
        if roster is not None:
            yield GaugeMetricFamily(
                "interlock_roster_expires_seconds",
                "Until when gateways believe the roster, in seconds since 1970.",
                value=(roster.issued + MAX_ROSTER_AGE).timestamp(),
            )
        yield from self._monitors()
        yield from self._counts()
        yield from self._webhooks()

    def _monitors(self) -> Iterator[Metric]:
        """When each was heard: an alert on its age is how a dead monitor is noticed."""
        seen = GaugeMetricFamily(
            "interlock_monitor_seen_seconds",
            "When a monitor read the log last, in seconds since 1970; 0 if never.",
            labels=["monitor"],
        )
        signed = GaugeMetricFamily(
            "interlock_monitor_signed_seconds",
            "When a monitor's newest statement came, in seconds since 1970; 0 if none did.",
            labels=["monitor"],
        )
        for one in Monitors(self._back.database, self._back.store, self._back.clock).views().items:
            for family, time in ((seen, one.seen_at), (signed, one.signed_at)):
                family.add_metric([one.name], time.timestamp() if time is not None else 0)
        yield from (seen, signed)

    def _webhooks(self) -> Iterator[Metric]:
        behind = GaugeMetricFamily(
            "interlock_webhook_behind",
            "Log entries that a webhook has not been told of yet.",
            labels=["webhook"],
        )
        failing = GaugeMetricFamily(
            "interlock_webhook_failing_since_seconds",
            "Since when a webhook fails, in seconds since 1970; 0 while it answers.",
            labels=["webhook"],
        )
        dead = GaugeMetricFamily(
            "interlock_webhook_dead",
            "1 for a webhook that fails since three days or more.",
            labels=["webhook"],
        )
        now = self._back.clock()
        with self._back.database.reading() as session:
            end = size(session)
            rows = {row.name: row for row in session.scalars(select(WebhookRow))}
        for hook in self._back.webhooks.hooks:
            row = rows.get(hook.name)
            since = row.failing_since if row is not None else None
            behind.add_metric([hook.name], end - row.next if row is not None else 0)
            failing.add_metric([hook.name], since.timestamp() if since is not None else 0)
            is_dead = since is not None and now - since >= DEAD_AFTER
            dead.add_metric([hook.name], float(is_dead))
        yield from (behind, failing, dead)

    def _counts(self) -> Iterator[Metric]:
        statements = CounterMetricFamily(
            "interlock_statements", "Statements accepted.", labels=["type"]
        )
        devices = GaugeMetricFamily("interlock_devices", "Enrolments by state.", labels=["state"])
        reports = CounterMetricFamily("interlock_reports", "Reports taken.")
        publications = GaugeMetricFamily(
            "interlock_publications", "Publications.", labels=["role", "state"]
        )
        refusals = CounterMetricFamily(
            "interlock_refusals", "What was refused, by name.", labels=["kind", "reason"]
        )
        with self._back.database.reading() as session:
            for type_, number in sorted(_statements(session).items()):
                statements.add_metric([type_], number)
            states = select(EnrolmentRow.state, func.count()).group_by(EnrolmentRow.state)
            known = dict(session.execute(states).all())
            for state in STATES:
                devices.add_metric([state], known.get(state, 0))
            # They are numbered without a gap, so the newest numbers count them.
            taken = session.scalar(select(func.sum(EnrolmentRow.tip_number)))
            reports.add_metric([], int(taken or 0))
            for role, state, number in session.execute(
                select(PublicationRow.role, PublicationRow.state, func.count()).group_by(
                    PublicationRow.role, PublicationRow.state
                )
            ):
                publications.add_metric([role, state], number)
            for row in session.scalars(select(RefusalRow)):
                refusals.add_metric([row.kind, row.reason], row.times)
        yield from (statements, publications, refusals, devices, reports)


def _statements(session: Session) -> Counter[str]:
    """How many statements of each type were accepted."""
    rollouts = select(StatementRow.type, func.count()).group_by(StatementRow.type)
    found = Counter(dict(session.execute(rollouts).all()))
    for type_, table in (
        (Claim.PREDICATE, ClaimRow),
        (Enrolment.PREDICATE, EnrolmentRow),
        (Assignment.PREDICATE, AssignmentRow),
        (Authorisation.PREDICATE, WordRow),
    ):
        found[type_] += session.scalar(select(func.count()).select_from(table)) or 0
    return +found


def health_app(back: Backstage) -> Callable[..., list[bytes]]:
    """The health listener's application, by WSGI."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Facts(back))

    def answer(path: str) -> tuple[int, str, bytes]:
        if path == "/healthz":
            return 200, "application/json", wire.encode({"alive": True})
        if path == "/readyz":
            wrong = readiness(back)
            body = wire.encode({"ready": not wrong, "wrong": wrong})
            return (503 if wrong else 200), "application/json", body
        if path == "/metrics":
            try:
                return 200, "text/plain; version=0.0.4; charset=utf-8", generate_latest(registry)
            except InterlockError as e:
                return 503, "text/plain; charset=utf-8", f"{e}\n".encode()
        return 404, "text/plain; charset=utf-8", b"/healthz, /readyz or /metrics\n"

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD")])
            return [b""]
        status, kind, body = answer(environ.get("PATH_INFO", ""))
        start_response(
            f"{status} {HTTPStatus(status).phrase}",
            [("Content-Type", kind), ("Content-Length", str(len(body)))],
        )
        return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return application


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        _log.debug(format, *args)


class _Server(WSGIServer):
    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        host, port = listener.getsockname()[:2]
        self.server_name, self.server_port = host, port
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that broke off, or was too slow, is no news."""
        del request
        _log.debug("the health listener lost %s", client_address, exc_info=True)


def serve_health(listener: socket.socket, back: Backstage) -> None:
    """Answer on a socket that listens, from a thread of this process, as long as it lives.

    Other processes may answer on the same socket: whoever accepts first does (rule 3).
    """
    # Somebody else may have taken the connection between the wake-up and the accept.
    listener.setblocking(False)
    server = _Server(listener)
    server.set_app(health_app(back))
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
