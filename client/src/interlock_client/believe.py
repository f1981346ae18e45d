"""From a poll to what may be believed (I/O).

Rules:

1. A refresh is adopted only when it verified whole and ``reading`` found it bound to this gateway.
2. A source that fails, for whatever reason, is followed by the next: the bundle, the same server's
   ordinary URLs, the other servers. So a stale or lying one costs requests and nothing else.
3. What fails everywhere is refused by the name that the first of the ordinary URLs gave it: the
   bundle carries no authority, not even that of an accuser.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from interlock_client import reading, scratch, trust
from interlock_client.context import Context, embedded_root
from interlock_client.fetch import BundleFetcher
from interlock_client.memory import Memory
from interlock_client.poll import Polled
from interlock_client.reading import Facts
from interlock_client.servers import Server
from interlock_client.trust import Roots
from interlock_core import durable
from interlock_core.bundle import Bundle
from interlock_core.errors import RefusedError, TransientError
from interlock_core.wire import sha256_hex


@dataclass(frozen=True)
class Believed:
    """What both repositories say, adopted.

    Attributes:
        facts: for the decision.
        server: where it came from, for the image.
        polled: the poll, without its bundle if that was of no use.
    """

    facts: Facts
    server: Server
    polled: Polled


def believe(context: Context, polled: Polled, memory: Memory, now: datetime) -> Believed:
    """Refresh, bind to this gateway, adopt (rules 1 to 3).

    Args:
        context: the gateway.
        polled: the answer to the poll, with its bundle.
        memory: floors in force.
        now: the time of the decision.

    Raises:
        RefusedError: by name.
        TransientError: no server could be read, or the disk failed.
        ConfigurationError, NotFoundError: an embedded root is missing or wrong.
    """
    settings = context.settings
    roots = Roots(
        embedded_root(settings.image_root, "image root"),
        embedded_root(settings.director_root, "director root"),
    )
    first: RefusedError | TransientError | None = None
    by_bundle: RefusedError | TransientError | None = None
    for server, bundle in _sources(context, polled):
        try:
            facts = _facts(context, server, bundle, roots, memory, now)
        except (RefusedError, TransientError) as e:
            if e.reason == "disk":
                raise
            if bundle is not None:
                by_bundle = e
            elif first is None or (
                isinstance(first, TransientError) and isinstance(e, RefusedError)
            ):
                first = e
            continue
        used = polled if bundle is not None else Polled(server)
        facts.inputs["bundle"] = sha256_hex(polled.data) if bundle is not None else None
        facts.inputs["server"] = server.url
        return Believed(facts, server, used)
    if isinstance(by_bundle, RefusedError) and isinstance(first, TransientError):
        # Nobody could be asked whether the bundle lied.
        raise by_bundle
    assert first is not None, "there is always a source"
    raise first


def _sources(context: Context, polled: Polled) -> Iterator[tuple[Server, Bundle | None]]:
    if polled.bundle is not None:
        yield polled.server, polled.bundle
    yield polled.server, None
    for server in context.servers.each:
        if server is not polled.server:
            yield server, None


def _facts(
    context: Context,
    server: Server,
    bundle: Bundle | None,
    roots: Roots,
    memory: Memory,
    now: datetime,
) -> Facts:
    state, cohort = context.state, context.place(memory).cohort
    fetcher = BundleFetcher(server, bundle)
    with trust.refreshed(state, server, fetcher, roots, cohort, now) as both:
        facts = reading.read(context.settings, cohort, state, both, memory)
        scratch.adopt(state, both.tree)
    if facts.new_roster is not None:
        durable.replace(state.roster, facts.new_roster, mode=0o600)
    return facts
