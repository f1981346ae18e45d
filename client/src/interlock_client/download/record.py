"""How far a download is, and what it has cost: kept from run to run (pure).

Rules:

1. A record is of one target at one place. For another target nothing of it counts; at another
   place the bytes do not. The same target under a newer order goes on.
2. Only what was flushed counts as kept, and with it its digest: bytes that are read back and have
   another digest are not what was kept, and the download begins anew.
3. The budget of an order's image is spent by every byte of a body that arrives, tries that failed
   included. A new order lifts it, and ``lifted``, for which a person asks. A power cut loses the
   count of what came since the last mark, no more than a segment.
4. Wrong bytes are found at the end. Then all are dropped; from then on bytes of two servers are
   not mixed, so that a server is proven wrong by its own bytes alone, once: by those of one answer,
   or by those of several after all was dropped once, since its copy may have been mended between
   them. It is not asked again for a day, or until there is a new order.
5. When every server is proven wrong, they are asked once more at the next run (a cache may have
   been healing), and after that less and less often: 30 minutes, doubled up to a day. A clock that
   went back ends every such wait.
6. A delta that was given up is not tried again under its order. Of a delta every frame has its own
   digest: whoever sent wrong bytes of one is known at once, and is asked for none for a day.
7. Whoever sent wrong bytes, or some of what was wrong as a whole, is asked after all others from
   then on, also when waits and budget are lifted: no server spends the budget twice before the
   others had their turn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from interlock_client.sealed import Kept

NO_BYTES: Final = hashlib.sha256().hexdigest()
MAX_WAIT: Final = timedelta(days=1)
MAX_STALLS: Final = 5
"""Runs in a row that may end with nothing of a delta before it is given up."""
_FIRST_WAIT: Final = timedelta(minutes=30)


class Record(Kept, frozen=True, kw_only=True):
    """One download.

    Attributes:
        sha256, length: of the target.
        place: where it goes.
        order: under which it is fetched.
        kept: bytes from its beginning that are flushed there.
        kept_sha256: their digest.
        received: bytes that arrived under this order.
        sources: URLs of the servers whose bytes are kept.
        answers: how many answers they came in.
        validators: the strong ETag that each server gave, by its URL.
        alone: whether no bytes of two servers may be mixed any more.
        wrong: servers whose own bytes were proven wrong.
        wrong_at: when the last of them was.
        failures: how often in a row every server was.
        from_delta: the delta by which the last bytes came, if there is one.
        given_up: deltas that are not tried again.
        fell_back: why the whole image is fetched in place of a delta.
        stalls: how many runs in a row got nothing of the delta that they tried.
        wrong_delta: servers whose bytes of a delta were proven wrong.
        wrong_delta_at: when the last of them was.
        doubted: servers that are asked last, the last one last (rule 7).
    """

    sha256: str
    length: int
    place: str
    order: str
    kept: int = 0
    kept_sha256: str = NO_BYTES
    received: int = 0
    sources: tuple[str, ...] = ()
    answers: int = 0
    validators: Mapping[str, str] = {}
    alone: bool = False
    wrong: tuple[str, ...] = ()
    wrong_at: Annotated[datetime, Meta(tz=True)] | None = None
    failures: int = 0
    from_delta: str | None = None
    given_up: tuple[str, ...] = ()
    fell_back: str | None = None
    stalls: int = 0
    wrong_delta: tuple[str, ...] = ()
    wrong_delta_at: Annotated[datetime, Meta(tz=True)] | None = None
    doubted: tuple[str, ...] = ()

    def with_(self, **changes: Any) -> Record:
        """With some fields changed."""
        return msgspec.structs.replace(self, **changes)

    def used(self, url: str, etag: str | None) -> Record:
        """An answer of the server at ``url`` adds bytes, under ``etag`` if that is a validator."""
        sources = self.sources if url in self.sources else (*self.sources, url)
        validators = {known: tag for known, tag in self.validators.items() if known != url}
        if etag is not None:
            validators[url] = etag
        return self.with_(sources=sources, validators=validators, answers=self.answers + 1)

    def begun_again(self) -> Record:
        """One server sends all of it again: whatever is there will be its."""
        return self.with_(sources=(), answers=0)

    def dropped(self) -> Record:
        """Nothing is kept any more."""
        return self.begun_again().with_(kept=0, kept_sha256=NO_BYTES, from_delta=None)

    def giving_up(self, delta: str, why: str) -> Record:
        """The delta at this path is not tried again (rule 6)."""
        told = f"{delta.rpartition('/')[2]}: {why}"
        return self.with_(given_up=(*self.given_up, delta), fell_back=told, stalls=0)

    def stalling(self) -> Record:
        """A run got nothing of the delta that it tried."""
        return self.with_(stalls=self.stalls + 1)

    def doubting(self, urls: Collection[str]) -> Record:
        """These servers are asked after all others (rule 7)."""
        before = tuple(url for url in self.doubted if url not in urls)
        return self.with_(doubted=(*before, *urls))

    def turn(self, url: str) -> int:
        """When a server is asked: the lowest first, and the configured order among equals."""
        return self.doubted.index(url) + 1 if url in self.doubted else 0

    def deceived(self, url: str, now: datetime) -> Record:
        """The server at ``url`` sent wrong bytes of a delta (rule 6)."""
        wrong = tuple(dict.fromkeys((*self.wrong_delta, url)))
        return self.doubting([url]).with_(wrong_delta=wrong, wrong_delta_at=now)

    def mismatched(self, urls: Collection[str], now: datetime) -> Record:
        """What was whole is not what was signed (rule 4); ``urls`` are all servers."""
        wrong, at = self.wrong, self.wrong_at
        proven = len(self.sources) == 1 and (self.alone or self.answers == 1)
        if proven and self.sources[0] not in wrong:
            wrong, at = (*wrong, self.sources[0]), now
        failures = self.failures + (1 if set(urls) <= set(wrong) else 0)
        record = self.doubting(self.sources).dropped()
        return record.with_(alone=True, wrong=wrong, wrong_at=at, failures=failures)

    def waits_until(self, urls: Collection[str]) -> datetime | None:
        """Until when no server is asked (rule 5); None if one may be."""
        if self.wrong_at is None or not set(urls) <= set(self.wrong):
            return None
        if self.failures <= 1:
            return self.wrong_at
        return self.wrong_at + min(MAX_WAIT, _FIRST_WAIT * (1 << min(self.failures - 2, 10)))

    def at(self, now: datetime, urls: Collection[str]) -> Record:
        """As a run at ``now`` finds it: waits that are over, are forgotten (rules 4 to 6)."""
        changes: dict[str, Any] = {}
        if self.wrong_at is not None:
            until = self.waits_until(urls) or self.wrong_at + MAX_WAIT
            if not self.wrong_at <= now < until:
                changes |= {"wrong": (), "wrong_at": None}
        since = self.wrong_delta_at
        if since is not None and not since <= now < since + MAX_WAIT:
            changes |= {"wrong_delta": (), "wrong_delta_at": None}
        return self.with_(**changes)

    def lifted(self) -> Record:
        """As if nothing had been spent or proven wrong: what a person asks for (rule 3)."""
        return self.with_(
            received=0,
            wrong=(),
            wrong_at=None,
            failures=0,
            given_up=(),
            fell_back=None,
            stalls=0,
            wrong_delta=(),
            wrong_delta_at=None,
        )


def goes_on(found: Record | None, *, sha256: str, length: int, place: str, order: str) -> Record:
    """The record of a download that begins or goes on (rule 1)."""
    if found is None or (found.sha256, found.length) != (sha256, length):
        return Record(sha256=sha256, length=length, place=place, order=order)
    if found.order != order:
        found = found.lifted().with_(order=order, alone=False)
    if found.place != place or not 0 <= found.kept <= length:
        found = found.dropped().with_(place=place)
    return found
