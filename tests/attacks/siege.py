"""A real server over real HTTP, whatever is thrown at it, and a gateway that goes on polling it.

A server of a founded fleet with one release listens on a loopback port. Somebody sends something::

    siege.refuses(403, "bad_signature", "POST", "/v1/statements", forged)

``refuses`` looks for all that a refusal means here: the status and the name in a problem document,
nothing stored or published, and then an honest rollout goes all the way: posted by people over the
same HTTP, and found by a real gateway.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import pytest
from sqlalchemy import func, select
from werkzeug.serving import make_server

from interlock_core import wire
from interlock_core.statement import Opened
from interlock_core.wire import sha256_hex
from interlock_server.app import create_app
from interlock_server.db.tables import Base
from tests.client.bed import Bed
from tests.client.web import Web
from tests.client.world import World
from tests.server.world import PRODUCT, V1, Bench
from tests.support.papers import authorise, opening, order, stage
from tests.support.people import CANARY, FLEET

PROBLEM = "application/problem+json"
COUNTERS = frozenset({"refusal", "report_refusal", "publisher"})
"""Tables that count what was refused, and whose turn it was: they change, and decide nothing."""

ORDER = order(seq=1000, targets=(V1.target(),), stages=(stage(CANARY),))
START = opening(ORDER)
ON_FILE = (ORDER, authorise(ORDER), START)
"""An honest rollout that lacks one word."""


@dataclass(frozen=True)
class Reply:
    """What the server answered."""

    status: int
    kind: str
    data: bytes

    @property
    def said(self) -> dict[str, Any]:
        """The JSON object of the body."""
        said: dict[str, Any] = json.loads(self.data)
        return said


@dataclass(frozen=True)
class _Ours:
    """What a gateway's test bed asks of its fleet."""

    image_root: bytes
    director_root: bytes
    clock: Callable[[], datetime]


@dataclass(frozen=True)
class _There:
    url: str


class Siege:
    """The server, its port, and one gateway.

    Args:
        bench: the server, in this process.
        directory: the gateway lives under it.
        log: what the server has logged.
    """

    def __init__(self, bench: Bench, directory: Path, log: pytest.LogCaptureFixture) -> None:
        self.bench = bench
        self.log = log
        self.app = create_app(bench.services)
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True)
        self._server.daemon_threads = True  # type: ignore[attr-defined]  # of its mix-in
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.port = self._server.server_port
        ours = _Ours(
            (bench.fleet.ceremony / "image/1.root.json").read_bytes(),
            (bench.fleet.ceremony / "director/1.root.json").read_bytes(),
            bench.clock,
        )
        self.bed = Bed(
            directory,
            cast("World", ours),
            cast("Web", _There(f"http://127.0.0.1:{self.port}")),
            fleet=FLEET,
            product=PRODUCT,
            hardware="cm4-r2",
            cohort=CANARY,
        )
        self._ended = False

    def __enter__(self) -> Self:
        self._thread.start()
        self.bed.power_on()
        assert self.bed.check().reason == "not_started"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None and not self._ended:
                self.recovers()
        finally:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    # What is sent

    def ask(
        self, method: str, path: str, body: object = b"", *, headers: Iterable[tuple[str, str]] = ()
    ) -> Reply:
        """One request, its path exactly as written; a body that is no bytes is encoded."""
        data = body if isinstance(body, bytes) else wire.encode(body)
        told = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        return self.send(method, path, told | dict(headers), [data])

    def send(
        self, method: str, path: str, headers: dict[str, str], pieces: Iterable[bytes]
    ) -> Reply:
        """One request in pieces, until they end or the server has heard enough."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        # It may hang up on what it does not want.
        with suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                connection.send(piece)
        answer = connection.getresponse()
        reply = Reply(answer.status, answer.headers.get("Content-Type", ""), answer.read())
        connection.close()
        return reply

    def post(self, paper: Opened[Any]) -> Reply:
        """One statement."""
        return self.ask("POST", "/v1/statements", paper.envelope)

    def says(self, *papers: Opened[Any]) -> None:
        """Statements that are accepted."""
        for paper in papers:
            reply = self.post(paper)
            assert reply.status in {200, 201}, reply.data

    def challenge(self) -> str:
        """To be signed, for a token."""
        return str(self.ask("POST", "/v1/challenges", {}).said["challenge"])

    # What is asked of the server

    def refuses(
        self, status: int, reason: str, method: str, path: str, body: object = b"", **more: Any
    ) -> None:
        """Refused by this name; nothing changed; an honest rollout goes all the way."""
        before = self.kept()
        self.is_refusal(self.ask(method, path, body, **more), status, reason)
        assert self.kept() == before
        self.recovers()

    def refuses_everywhere(
        self, paths: Iterable[str], status: int, reason: str, body: bytes, **more: Any
    ) -> None:
        """As ``refuses``, of one body posted to each of these paths."""
        before = self.kept()
        for path in paths:
            self.is_refusal(self.ask("POST", path, body, **more), status, reason)
        assert self.kept() == before
        self.recovers()

    def refuses_paper(self, reason: str, paper: Opened[Any], status: int = 403) -> None:
        """As ``refuses``, of a statement; and the log says so."""
        self.refuses(status, reason, "POST", "/v1/statements", paper.envelope)
        assert reason in self.log.text

    @staticmethod
    def is_refusal(reply: Reply, status: int, reason: str) -> None:
        """A problem document with this status and name."""
        assert (reply.status, reply.kind) == (status, PROBLEM), reply.data
        assert reply.said["reason"] == reason, reply.said

    def kept(self) -> dict[str, object]:
        """Everything that was stored, published, or waits."""
        tables = [table for name, table in Base.metadata.tables.items() if name not in COUNTERS]
        with self.bench.back.database.reading() as db:
            rows = {
                table.name: db.scalar(select(func.count()).select_from(table)) for table in tables
            }
        store = {key: sha256_hex(self.bench.store.get(key)) for key in self.bench.store.list("")}
        pending = self.bench.settings.pending_directory
        waiting = sorted(str(path) for path in pending.rglob("*") if path.is_file())
        return {**rows, "store": store, "waiting": waiting}

    def recovers(self) -> None:
        """Somebody says the last word about an honest rollout, and the gateway finds it."""
        self.says(authorise(START, at=self.bench.clock()))
        outcome = self.bed.check()
        assert outcome.outcome == "update_available", outcome
        self._ended = True
