"""The checkpoint of the server's log that this gateway was shown last (I/O).

Rules:

1. Nothing is judged or decided by it. It is testimony: the next report carries its text, as it was
   shown, so that a log with two faces is found by whoever has the log's key. A gateway has none.
2. It is asked for right after reports were acknowledged, of the server that did so: one conditional
   request, and none at a poll. When it is kept nothing waits in the outbox, so whatever was shown
   stands in the report that is made next.
3. What is no checkpoint of this fleet's log in its one form, or too long, is not kept. That it
   could not be had, or kept, harms nothing: it is said, and what was kept before stays.
"""

from __future__ import annotations

from interlock_client.sealed import MAX_RECORD, Kept, seal, unseal
from interlock_client.servers import Server
from interlock_client.state import StateDir
from interlock_core import durable
from interlock_core.checkpoint import MAX_CHECKPOINT, origin_of, read_checkpoint
from interlock_core.errors import InterlockError, WireError
from interlock_core.log import CHECKPOINT_KEY

_MAX_BYTES = 4 * MAX_CHECKPOINT
"""A character of UTF-8 has at most four bytes."""


class LogSeen(Kept, frozen=True, kw_only=True):
    """What was shown: where, under which validator, and its text."""

    url: str
    etag: str | None
    text: str


def load(state: StateDir) -> LogSeen | None:
    """What was shown last, or None before the first, or where it was lost or cannot be read."""
    try:
        data = durable.read(state.log_seen, limit=MAX_RECORD, what="checkpoint seen")
        return unseal(data, LogSeen)
    except InterlockError:
        # It is needed for nothing (rule 3): a report is made without.
        return None


def look(server: Server, fleet: str, state: StateDir) -> str | None:
    """Ask for the checkpoint, and keep it; the reason why not, or None (rules 2 and 3).

    Args:
        server: the one that acknowledged.
        fleet: ours.
        state: where it is kept.
    """
    try:
        known = load(state)
        path = f"/{CHECKPOINT_KEY}"
        same = known is not None and known.url == server.url + path
        etag = known.etag if known is not None and same else None
        answer = server.get(path, limit=_MAX_BYTES, etag=etag)
        if answer.status == 304:
            return None
        shown = LogSeen(url=server.url + path, etag=answer.etag, text=_text(answer.body, fleet))
        if shown != known:
            durable.replace(state.log_seen, seal(shown), mode=0o600)
    except InterlockError as e:
        return e.reason
    return None


def _text(data: bytes, fleet: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as e:
        raise WireError("The checkpoint is not UTF-8.", reason="bad_checkpoint") from e
    if read_checkpoint(text).said.origin != origin_of(fleet):
        raise WireError("The checkpoint is of another log.", reason="bad_checkpoint")
    return text
