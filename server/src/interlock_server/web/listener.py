"""Listens and forks: gunicorn, embedded (I/O).

Rules:

1. Both ports are bound here, before anything else: a port in use is one clear error, and what is
   bound is passed on, never raced for.
2. The online keys were opened before; workers inherit them by fork. What connects (database,
   store) is made in each worker, after the fork.
3. Each worker looks at rollouts from a thread of its own; the database lets one at a time.
4. SIGTERM stops in order: no new connection, requests at work may finish, exit code 0. A worker
   that is just being made stops too: no signal reaches it before it listens to any.
"""

from __future__ import annotations

import errno
import signal
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from interlock_core.errors import ConfigurationError, TransientError
from interlock_server import engine, webhooks
from interlock_server.config import Address, Settings
from interlock_server.web.health import serve_health
from interlock_server.wiring import Backstage

BACKLOG: Final = 1024
KEEP_ALIVE_SECONDS: Final = 15
MAX_REQUEST_LINE: Final = 2048
MAX_HEADERS: Final = 64
MAX_HEADER_BYTES: Final = 8190
_STOPS: Final = frozenset({signal.SIGTERM, signal.SIGQUIT, signal.SIGINT})


def bind(address: Address, what: str) -> socket.socket:
    """Listen on an address.

    Raises:
        TransientError: ``address_in_use``.
        ConfigurationError: it is not an address of this machine, or may not be used.
    """
    host = "127.0.0.1" if address.host == "localhost" else address.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, address.port))
        listener.listen(BACKLOG)
    except OSError as e:
        listener.close()
        if e.errno == errno.EADDRINUSE:
            raise TransientError(
                f"{what} cannot listen on {address}: another process does. Stop that one, or "
                "change the settings.",
                reason="address_in_use",
            ) from e
        raise ConfigurationError(f"{what} cannot listen on {address}: {e.strerror}.") from e
    return listener


def address_of(listener: socket.socket) -> Address:
    """Where it listens."""
    host, port = listener.getsockname()[:2]
    return Address(host, port)


def check_tls(tls: tuple[Path, Path] | None) -> None:
    """See that certificate and key can be used, before anybody connects.

    Raises:
        ConfigurationError: they cannot.
    """
    if tls is None:
        return
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(*map(str, tls))
    except (OSError, ssl.SSLError) as e:
        raise ConfigurationError(
            f"The certificate {tls[0]} and the key {tls[1]} cannot be used: {e}."
        ) from e


@dataclass(frozen=True)
class Listeners:
    """Both ports, bound (rule 1)."""

    main: socket.socket
    health: socket.socket

    def close(self) -> None:
        """Give both ports back."""
        self.main.close()
        self.health.close()


def bind_both(settings: Settings) -> Listeners:
    """Bind both ports.

    Raises:
        TransientError: ``address_in_use``.
        ConfigurationError: an address that cannot be listened on, or an unusable certificate.
    """
    check_tls(settings.tls)
    main = bind(settings.listen, "The server")
    try:
        return Listeners(main, bind(settings.health_listen, "The health listener"))
    except (ConfigurationError, TransientError):
        main.close()
        raise


def run(
    settings: Settings,
    listeners: Listeners,
    make: Callable[[], tuple[Any, Backstage]],
    announce: Callable[[], None],
) -> None:
    """Serve until a signal says stop; then leave by ``SystemExit`` with code 0 (rule 4).

    Args:
        settings: checked.
        listeners: bound; from here on they belong to the workers.
        make: called in each worker: its application, and what the health listener reads.
        announce: called once when connections are taken.
    """
    certificate, key = settings.tls or (None, None)
    options: dict[str, Any] = {
        "bind": [f"fd://{listeners.main.detach()}"],
        "workers": settings.workers,
        "worker_class": _Worker,
        "threads": settings.threads_per_worker,
        "graceful_timeout": settings.stop_within_seconds,
        "keepalive": KEEP_ALIVE_SECONDS,
        "limit_request_line": MAX_REQUEST_LINE,
        "limit_request_fields": MAX_HEADERS,
        "limit_request_field_size": MAX_HEADER_BYTES,
        "certfile": str(certificate) if certificate else None,
        "keyfile": str(key) if key else None,
        "proc_name": "interlock-server",
        "loglevel": "warning",
        "logger_class": _Logger,
        # A second way in, made by default in the home directory, which nobody here needs.
        "control_socket_disable": True,
        "when_ready": lambda _arbiter: announce(),
    }
    interval = timedelta(seconds=settings.engine_interval_seconds)
    _Gunicorn(options, make, listeners.health, interval).run()


class _Logger(Logger):
    """Says what gunicorn says through the one handler that the program has."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class _Worker(ThreadWorker):
    """Takes the signals that came while it was being made (rule 4)."""

    def init_signals(self) -> None:
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)


class _Arbiter(Arbiter):
    """Makes workers that lose no signal (rule 4).

    Between the fork and its own handlers a worker has those of the arbiter, and would note a stop
    for nobody to read.
    """

    def spawn_worker(self) -> int:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        try:
            pid: int = super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid


class _Gunicorn(BaseApplication):
    def __init__(
        self,
        options: dict[str, Any],
        make: Callable[[], tuple[Any, Backstage]],
        health: socket.socket,
        interval: timedelta,
    ) -> None:
        self._interval = interval
        self._options = options
        self._make = make
        self._health = health
        self._back: Backstage | None = None
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)
        self.cfg.set("post_worker_init", lambda _worker: self._begin())

    def run(self) -> None:
        _Arbiter(self).run()

    def load(self) -> Any:
        app, self._back = self._make()
        return app

    def _begin(self) -> None:
        assert self._back is not None
        serve_health(self._health, self._back)
        engine.start(self._back.engine, self._interval, self._back.checkpoints.later)
        webhooks.start(self._back.webhooks)
        self._back.checkpoints.keep_publishing()
