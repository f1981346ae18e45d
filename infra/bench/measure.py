"""How things are measured here.

Rules:

1. What is compared does the same work, in the same run, in turn (A B A B …), after a warm-up.
2. A process is measured as the operating system accounts for it (``wait4``): user plus system
   time of a whole fresh process, imports included. The median of all runs is quoted.
3. What a server does for a request is measured as the CPU time of all its processes, before and
   after.
4. Requests and bytes are counted on the wire, by a relay between client and server.
"""

from __future__ import annotations

import os
import socket
import socketserver
import statistics
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import Struct


class Row(Struct):
    """One line of ``build/bench.json``; ``ratio`` is ``value`` over ``peer_value``."""

    name: str
    value: float
    unit: str
    better: str
    peer: str
    peer_value: float
    ratio: float
    runs: int


@dataclass(frozen=True)
class Cost:
    """What one run of a process cost."""

    wall_ms: float
    cpu_ms: float


def run(command: Sequence[str]) -> Cost:
    """Run ``command`` to its end.

    Raises:
        RuntimeError: it failed.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    assert process.stderr is not None
    error = process.stderr.read()
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {error.decode(errors='replace')[-2000:]}")
    return Cost(wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000)


def session_cpu_ms(leader: int) -> float:
    """User plus system time so far of every living process of a session, in milliseconds.

    Args:
        leader: the process that began it: a server whose workers live on.
    """
    ticks = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        # proc(5): behind the name stand state, parent, group, session …, and utime and stime.
        if int(fields[3]) == leader:
            ticks += int(fields[11]) + int(fields[12])
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


def in_turn(
    ours: Sequence[str], peer: Sequence[str], *, runs: int, warm_up: int
) -> tuple[list[Cost], list[Cost]]:
    """Run both commands in turn."""
    for _ in range(warm_up):
        run(ours)
        run(peer)
    pairs = [(run(ours), run(peer)) for _ in range(runs)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def median(values: Sequence[float]) -> float:
    """The median, to two decimals."""
    return round(statistics.median(values), 2)


def row(name: str, value: float, unit: str, peer: str, peer_value: float, runs: int) -> Row:
    """A row in which less is better."""
    return Row(name, value, unit, "lower", peer, peer_value, round(value / peer_value, 3), runs)


@dataclass
class Wire:
    """What crossed the relay since ``reset``."""

    requests: int = 0
    bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        """Begin to count anew."""
        with self.lock:
            self.requests = self.bytes = 0


class Relay(socketserver.ThreadingTCPServer):
    """Passes bytes between clients and one server on loopback, and counts them."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.wire = Wire()
        super().__init__(("127.0.0.1", 0), _Pass)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Pass(socketserver.BaseRequestHandler):
    server: Relay

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.upstream_port)) as upstream:
            back = threading.Thread(target=self._pump, args=(upstream, self.request, False))
            back.start()
            self._pump(self.request, upstream, True)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket, is_request: bool) -> None:
        wire: Wire = self.server.wire
        while data := _received(source):
            with wire.lock:
                wire.bytes += len(data)
                # Requests here are GETs without a body, so each begins a segment of its own.
                wire.requests += is_request and data.startswith(b"GET ")
            sink.sendall(data)
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other side is gone already


def _received(source: socket.socket) -> bytes:
    try:
        data: bytes = source.recv(65536)
    except ConnectionError:
        return b""
    return data


def as_table(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Rows for people."""
    return [
        (r.name, f"{r.value:g} {r.unit}", r.peer, f"{r.peer_value:g} {r.unit}", f"{r.ratio:g}")
        for r in rows
    ]
