"""Calls of the API that servers offer gateways: enrolments and reports (I/O).

Rules:

1. The servers are asked in order of preference until one gives an answer of the API. One that
   cannot be reached, fails, or knows nothing of an API (a mirror, a cache) is followed by the next.
2. A problem document is an answer: what it refuses, the others need not be asked.
3. Nothing of an answer is believed that a gateway's safety depends on: who is enrolled and what
   was received changes what is sent, never what is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from interlock_client.servers import HttpStatusError, Reply, Server, Servers
from interlock_core import wire
from interlock_core.errors import (
    NotFoundError,
    RefusedError,
    TransientError,
    WireError,
)

MAX_REPLY: Final = 256 * 1024
SHOWN: Final = 500

_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507})

T = TypeVar("T")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457, as far as it is looked at: a newer server may say more."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Answered(Generic[T]):
    """What a server answered.

    Attributes:
        new: whether it learned something (201), or knew it before.
    """

    said: T
    new: bool
    server: Server


def call(
    servers: Servers, method: str, path: str, type_: type[T], body: bytes | None = None
) -> Answered[T]:
    """Ask the servers in order (rules 1 and 2).

    Args:
        servers: all of them.
        method: ``GET`` or ``POST``.
        path: URL path under each server, with a leading slash.
        type_: what a good answer is.
        body: JSON, for ``POST``.

    Raises:
        RefusedError: a server refuses, by the reason that it names.
        NotFoundError: to a ``GET``: there is no such thing.
        TransientError: ``network``, or by the reason that a server names.
    """
    trouble: TransientError | None = None
    for server in servers.each:
        try:
            reply = server.send(method, path, body, limit=MAX_REPLY)
            return Answered(_read(server, path, method, reply, type_), reply.status == 201, server)
        except TransientError as e:
            # What a server of ours says of itself tells more than that another cannot be reached.
            if trouble is None or (trouble.reason == "network" and e.reason != "network"):
                trouble = e
    raise trouble or TransientError("No server is configured.", reason="network")


def _read(server: Server, path: str, method: str, reply: Reply, type_: type[T]) -> T:
    url = server.url + path
    if reply.status in {200, 201}:
        try:
            return wire.decode(reply.body, type_, limit=MAX_REPLY, what=f"answer of {url}")
        except WireError as e:
            raise TransientError(
                f"{url} does not answer as an Interlock server does: {e}", reason="network"
            ) from e
    problem = _problem(reply.body)
    if problem is None:
        raise HttpStatusError(url, reply.status)
    if reply.status in _LATER:
        raise TransientError(problem.detail, reason=problem.reason)
    if reply.status == 404 and method == "GET":
        raise NotFoundError(problem.detail, reason=problem.reason)
    if reply.status in {404, 405} and problem.reason in {"not_found", "method_not_allowed"}:
        # A server of ours that has no such call: an older one.
        raise HttpStatusError(url, reply.status)
    raise RefusedError(problem.detail, reason=problem.reason)


def _problem(body: bytes) -> Problem | None:
    try:
        tree: Any = wire.parse(body, limit=MAX_REPLY, what="problem document")
        problem = msgspec.convert(tree, Problem)
    except (WireError, msgspec.ValidationError):
        return None
    if not problem.reason.isidentifier() or not problem.reason.isascii():
        return None
    return msgspec.structs.replace(
        problem, reason=problem.reason[:63], detail=problem.detail[:SHOWN]
    )
