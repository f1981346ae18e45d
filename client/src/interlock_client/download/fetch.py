"""One run of a download: as far as the servers, the budget and the time allow (I/O).

Rules (those of the package hold):

1. The servers are asked in order, again and again, as long as a round brings bytes: networks cut
   connections that live long. A round that brings next to nothing ends the run, and so does one
   that mostly repeats what is there.
2. Bytes are charged when they arrive. Nothing is asked for that the budget does not allow, as far
   as can be known before.
3. However a run ends, short of a power cut, what is there is flushed and noted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from interlock_client.context import Progress
from interlock_client.download import keeper
from interlock_client.download.ledger import Ledger, OverBudgetError
from interlock_client.download.part import Flow, Source, later, opened, url_path
from interlock_client.download.patched import Patch, patched
from interlock_client.download.ranges import Asked, strong
from interlock_client.download.record import goes_on
from interlock_client.download.sink import SEGMENT, Behind, Sink
from interlock_client.install.destination import Destination
from interlock_client.journal import Came
from interlock_client.servers import together
from interlock_core.errors import RefusedError, TransientError
from interlock_core.facts import TargetInfo
from interlock_core.wire import format_time

LEAST_PROGRESS: Final = 256 * 1024
"""Bytes that a round must bring to be followed by another (rule 1)."""
ROUND_SECONDS: Final = 1.0
"""Between two rounds."""


@dataclass(frozen=True)
class Wanted:
    """What is to be fetched.

    Attributes:
        path: its target path in the image repository.
        info: signed length and hashes, among them SHA-256.
        order: id of the order under which it is fetched.
        patches: deltas by which it may come from what this gateway holds.
    """

    path: str
    info: TargetInfo
    order: str
    patches: tuple[Patch, ...] = ()


@dataclass(frozen=True)
class Terms:
    """What a run keeps to.

    Attributes:
        record: where it is kept how far the download is.
        budget_bytes: what the image of an order may cost; None for whatever it takes.
        now: this clock.
        flow: other clocks, and rates.
        progress: told how many bytes of how many are there.
        segment: bytes after which it is made durable that they are there.
        aside: whether that happens beside the receiving.
    """

    record: Path
    budget_bytes: int | None
    now: Callable[[], datetime]
    flow: Flow
    progress: Progress
    segment: int = SEGMENT
    aside: bool = True


def fetch(
    wanted: Wanted, servers: Sequence[Source], destination: Destination, terms: Terms
) -> Came:
    """Fetch a target to where it belongs, or go on with that.

    Args:
        wanted: the target.
        servers: in the order in which they are tried.
        destination: where it goes.
        terms: what to keep to.

    Raises:
        RefusedError: ``hash_mismatch``: no server has the bytes that were signed.
        TransientError: ``network``, ``over_budget``, ``no_space``, or the disk; what arrived is
            kept, and the next call goes on.
        ConfigurationError: nothing can be written there.
    """
    length = wanted.info.length
    urls = [server.url for server in servers]
    record = goes_on(
        keeper.load(terms.record),
        sha256=wanted.info.hashes["sha256"],
        length=length,
        place=str(destination.path.absolute()),
        order=wanted.order,
    ).at(terms.now(), urls)
    until = record.waits_until(urls)
    if until is not None:
        raise _nobody(wanted, f"they are asked again from {format_time(until)} on")
    room = destination.room()
    if room < length:
        raise TransientError(
            f"{wanted.path} has {length} bytes, and there is room for {room} at "
            f"{destination.path}: free some space and run this again.",
            reason="no_space",
        )
    with destination.open() as writer, Behind(aside=terms.aside) as behind:
        ledger = Ledger(record, terms.record, terms.budget_bytes)
        run = _Run(wanted, servers, ledger, terms, behind)
        sink = Sink(
            writer,
            wanted.info,
            ledger.keep,
            behind,
            monotonic=terms.flow.monotonic,
            segment=terms.segment,
            progress=terms.progress,
        )
        return run.all(sink)


class _Run:
    def __init__(
        self,
        wanted: Wanted,
        servers: Sequence[Source],
        ledger: Ledger,
        terms: Terms,
        behind: Behind,
    ) -> None:
        self.wanted = wanted
        self.length = wanted.info.length
        self.servers = servers
        self.ledger = ledger
        self.terms = terms
        self._behind = behind
        self._url_path = url_path(wanted.path, wanted.info)
        self._refusing: dict[str, RefusedError] = {}

    def all(self, sink: Sink) -> Came:
        """The whole run."""
        kept = sink.go_on(self.ledger.record.kept, self.ledger.record.kept_sha256)
        if kept == 0:
            self.ledger.record = self.ledger.record.dropped()
        try:
            self._fill(sink)
            while (bad := sink.disagrees()) is not None:
                self._drop(sink, bad)
                self._fill(sink)
        except (RefusedError, TransientError) as e:
            self._leave(sink, e)
            raise
        sink.finish()
        record = self.ledger.record
        return Came(
            received=record.received,
            resumed_from=kept,
            from_delta=record.from_delta,
            fell_back=record.fell_back,
        )

    def _leave(self, sink: Sink, error: RefusedError | TransientError) -> None:
        """Note what is there (rule 3); of a disk that failed only what it said before."""
        with suppress(TransientError):
            if error.reason != "disk":
                sink.mark()
                self._behind.wait()
                return
            self.ledger.after_a_fault()

    def _drop(self, sink: Sink, bad: str) -> None:
        """What is whole is wrong: begin anew, unless every server was proven wrong."""
        record = self.ledger.record
        if record.from_delta is not None and not record.sources:
            # Every byte of it is what the delta's signers named: nobody on the way is to blame.
            why = "it does not give what was signed."
            self.ledger.record = record.dropped().giving_up(record.from_delta, why)
            sink.restart()
            sink.mark()
            return
        urls = [server.url for server in self.servers]
        self.ledger.record = self.ledger.record.mismatched(urls, self.terms.now())
        sink.restart()
        if set(urls) <= set(self.ledger.record.wrong):
            raise _nobody(self.wanted, f"the {bad} is another on every server")

    def _fill(self, sink: Sink) -> None:
        """Receive until all of it is there (rule 1)."""
        terms = self.terms
        patched(self.wanted.patches, self.servers, self.ledger, sink, terms.flow, terms.now)
        while sink.offset < self.length:
            before, spent = sink.offset, self.ledger.record.received
            troubles: list[TransientError] = []
            for server in self._candidates():
                try:
                    self._receive(server, sink)
                except TransientError as e:
                    if e.reason not in {"network", "over_budget"}:
                        raise
                    troubles.append(e)
                except RefusedError as e:
                    self._refusing[server.url] = e
                if sink.offset == self.length:
                    return
                if self.terms.flow.over:
                    raise later(sink.offset, self.length)
            gained, spent = sink.offset - before, self.ledger.record.received - spent
            if gained < max(LEAST_PROGRESS, spent // 2):
                raise self._worst(troubles)
            self.terms.flow.pause(ROUND_SECONDS)

    def _candidates(self) -> list[Source]:
        """Whom to ask; first the one whose bytes are kept, where bytes must not be mixed."""
        record = self.ledger.record
        shunned = {*record.wrong, *self._refusing}
        asked = [server for server in self.servers if server.url not in shunned]
        asked.sort(key=lambda server: record.turn(server.url))
        if record.alone:
            asked.sort(key=lambda server: server.url not in record.sources)
        return asked

    def _receive(self, server: Source, sink: Sink) -> None:
        """Receive what one server sends of what is missing."""
        ledger = self.ledger
        before = ledger.record
        # Bytes of others may not be mixed with this server's: they go when its first ones come.
        others = before.alone and before.sources not in {(), (server.url,)}
        offset = 0 if others else sink.offset
        ledger.afford(self.length - offset)
        validator = strong(before.validators.get(server.url)) if offset else None
        asked = Asked(offset, self.length, self.length, validator)
        with opened(server, self._url_path, asked, self.terms.flow) as part:
            again, first = part.offset < offset, True
            if again:
                ledger.afford(self.length)
                sink.rewind()
            try:
                for chunk in part.chunks(self.length):
                    if first:
                        if others:
                            sink.restart()
                        ledger.record = before.begun_again() if others or again else before
                        ledger.record, first = ledger.record.used(server.url, part.etag), False
                    # Charged first: what fails from here on was received all the same (rule 2).
                    ledger.charge(len(chunk))
                    sink.put(chunk)
            finally:
                if sink.settle():
                    # What was there before stands, and so does whose it is.
                    known = {"sources": before.sources, "answers": before.answers}
                    ledger.record = ledger.record.with_(**known)
        if sink.offset < self.length:
            raise TransientError(
                f"{server.url}{self._url_path} broke off at {sink.offset} of {self.length} "
                "bytes: run this again.",
                reason="network",
            )

    def _worst(self, troubles: list[TransientError]) -> TransientError | RefusedError:
        spent = next((e for e in troubles if isinstance(e, OverBudgetError)), None)
        if spent is not None:
            return spent
        if troubles:
            return together(troubles)
        refused = next(iter(self._refusing.values()), None)
        return refused or _nobody(self.wanted, "every server was proven wrong")


def _nobody(wanted: Wanted, why: str) -> RefusedError:
    return RefusedError(
        f"No server has {wanted.path} as it was signed ({why}): look at what lies between this "
        "gateway and the server.",
        reason="hash_mismatch",
    )
