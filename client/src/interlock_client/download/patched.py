"""An image by a delta, as far as that goes (I/O).

Rules:

1. Before a frame is decompressed its digest was compared with the one in the header, and that of
   the header with what was signed. So no validator is needed here, and no server is believed.
2. Each segment that comes out is put where it belongs like any other bytes. Whatever ends a delta,
   the whole image goes on at the very byte.
3. A delta is given up if no server has it as it was signed, if the slot that runs cannot be read,
   or if it does not lead from there to the image, which shows at a frame or, where its signers were
   wrong, at the end of the image (``fetch``). That is noted, with the reason, before anything of
   the whole image is asked for; what that costs is decided against the budget then. A network that
   is away is no reason: the next run goes on with the delta, whatever other servers said of it
   meanwhile, so that one server's word does not make a gateway fetch the whole. But where
   ``MAX_STALLS`` runs in a row got nothing of it, after servers answered all else, it is given up
   too: one file that a server cannot read must not keep a gateway from its image.
4. It is used only while it costs less than the rest of the whole image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from interlock_client.download.ledger import Ledger, OverBudgetError
from interlock_client.download.part import Flow, Part, Source, later, opened, url_path
from interlock_client.download.ranges import Asked
from interlock_client.download.record import MAX_STALLS
from interlock_client.download.sink import Sink
from interlock_client.install.destination import Destination
from interlock_client.servers import HttpStatusError, together
from interlock_core.delta import Header, frame_starts, read_header
from interlock_core.errors import RefusedError, TransientError, WireError
from interlock_core.facts import TargetInfo
from interlock_core.release import Delta

ROUND_SECONDS: Final = 1.0
"""Between two rounds over all servers; a round that brought no frame is the last."""
_NOT_THERE: Final = frozenset({403, 404, 406, 410, 451})
"""What says of a delta that asking again is of no use; some are said by filters on the way."""


@dataclass(frozen=True)
class Patch:
    """A delta from what a slot holds.

    Attributes:
        path: its target path.
        info: signed length and hashes.
        facts: how its header is known.
        source: the slot of the side that runs.
    """

    path: str
    info: TargetInfo
    facts: Delta
    source: Destination


class _GivenUpError(Exception):
    """Why a delta cannot be used (rule 3)."""


def patched(
    patches: Sequence[Patch],
    servers: Sequence[Source],
    ledger: Ledger,
    sink: Sink,
    flow: Flow,
    now: Callable[[], datetime],
) -> None:
    """Bring the image by one of its deltas, or as far as one leads.

    Args:
        patches: those that fit what this gateway holds.
        servers: whom to ask, in order.
        ledger: of the run.
        sink: where the image goes.
        flow: clocks and rates.
        now: this clock.

    Raises:
        TransientError: ``network``, ``over_budget``, or the disk.
    """
    for patch in sorted(patches, key=lambda patch: patch.info.length):
        left = sink.length - sink.offset
        if patch.path in ledger.record.given_up or left <= patch.facts.header_length:
            continue
        before = sink.offset
        try:
            _Patching(patch, servers, ledger, sink, flow, now).all()
        except _GivenUpError as e:
            ledger.record = ledger.record.giving_up(patch.path, str(e))
            sink.mark()
        except OverBudgetError:
            raise
        except TransientError as e:
            if e.reason != "network" or sink.offset > before:
                raise
            ledger.record = ledger.record.stalling()
            if ledger.record.stalls < MAX_STALLS:
                raise
            why = f"in {MAX_STALLS} runs in a row no server could send it. {e}"
            ledger.record = ledger.record.giving_up(patch.path, why)
            sink.mark()


class _Patching:
    def __init__(
        self,
        patch: Patch,
        servers: Sequence[Source],
        ledger: Ledger,
        sink: Sink,
        flow: Flow,
        now: Callable[[], datetime],
    ) -> None:
        self.patch = patch
        self.servers = servers
        self.ledger = ledger
        self.sink = sink
        self.flow = flow
        self._now = now
        self._path = url_path(patch.path, patch.info)
        self._refused: dict[str, str] = {}
        self._header: Header | None = None
        self._starts: tuple[int, ...] = ()

    def all(self) -> None:
        """All of it, or nothing where the rest of the whole image costs less (rule 4)."""
        self._until_done(self._receive_header)
        header, sink = self._header, self.sink
        assert header is not None
        starts = self._starts = frame_starts(header, self.patch.facts.header_length)
        if header.new.length != sink.length or starts[-1] != self.patch.info.length:
            raise _GivenUpError("it is not as long as was signed.")
        if starts[-1] - starts[sink.offset // header.segment] < sink.length - sink.offset:
            self._until_done(self._receive_frames)

    def _until_done(self, receive: Callable[[Source], None]) -> None:
        """Ask one server after the other, as long as that brings something."""
        while True:
            before = self.sink.offset
            troubles: list[TransientError] = []
            for server in self._candidates():
                if self._did(receive, server, troubles):
                    return
                if self.flow.over:
                    raise later(self.sink.offset, self.sink.length)
            if self.sink.offset == before:
                raise self._ended(troubles)
            self.flow.pause(ROUND_SECONDS)

    def _candidates(self) -> list[Source]:
        """Whom to ask, in order: nobody who refused it, or sent wrong bytes of one of late."""
        record = self.ledger.record
        shunned = {*self._refused, *record.wrong_delta}
        asked = [server for server in self.servers if server.url not in shunned]
        return sorted(asked, key=lambda server: record.turn(server.url))

    def _did(
        self, receive: Callable[[Source], None], server: Source, troubles: list[TransientError]
    ) -> bool:
        """Whether one server did it; else what was wrong is noted."""
        try:
            receive(server)
        except TransientError as e:
            if e.reason not in {"network", "over_budget"}:
                raise
            if isinstance(e, HttpStatusError) and e.status in _NOT_THERE:
                self._refused[server.url] = f"it is not there ({e.status})."
            else:
                troubles.append(e)
        except RefusedError as e:
            if e.reason != "hash_mismatch":
                raise _GivenUpError(str(e)) from e
            self._refused[server.url] = str(e)
            self.ledger.record = self.ledger.record.deceived(server.url, self._now())
        else:
            return True
        return False

    def _ended(self, troubles: list[TransientError]) -> Exception:
        spent = next((e for e in troubles if isinstance(e, OverBudgetError)), None)
        if spent is not None:
            return spent
        if troubles:
            return together(troubles)
        why = next(iter(self._refused.values()), "no server has it as it was signed.")
        return _GivenUpError(why)

    def _receive_header(self, server: Source) -> None:
        facts = self.patch.facts
        length = facts.header_length
        data = bytearray()
        with self._opened(server, 0, length) as part:
            for chunk in part.chunks(length):
                self.ledger.charge(len(chunk))
                data += chunk
        if len(data) < length:
            raise self._broke_off(server, len(data))
        try:
            self._header = read_header(bytes(data), facts)
        except WireError as e:
            raise RefusedError(str(e), reason=e.reason) from e

    def _receive_frames(self, server: Source) -> None:
        # What unpacks it is loaded by those alone who use it.
        from interlock_client.delta import apply_frame  # noqa: PLC0415

        header, sink, starts = self._header, self.sink, self._starts
        assert header is not None
        number = sink.offset // header.segment
        begin, end = starts[number], starts[-1]
        pending = bytearray()
        with self._opened(server, begin, end) as part:
            skip = begin - part.offset
            self.ledger.afford(skip + end - begin)
            for chunk in part.chunks(skip + end - begin):
                self.ledger.charge(len(chunk))
                pending += chunk[skip:]
                skip -= min(skip, len(chunk))
                while number < len(header.frames) and len(pending) >= header.frames[number].length:
                    size = header.frames[number].length
                    output = apply_frame(header, number, bytes(pending[:size]), self._read)
                    del pending[:size]
                    record = self.ledger.record.with_(from_delta=self.patch.path, stalls=0)
                    self.ledger.record = record
                    # The beginning of a segment may be there already.
                    sink.put(output[sink.offset - number * header.segment :])
                    number += 1
        if sink.offset < sink.length:
            raise self._broke_off(server, starts[number] + len(pending))

    def _opened(self, server: Source, begin: int, end: int) -> AbstractContextManager[Part]:
        self.ledger.afford(end - begin)
        return opened(server, self._path, Asked(begin, end, self.patch.info.length), self.flow)

    def _read(self, offset: int, length: int) -> bytes:
        """What the delta is applied to."""
        try:
            return self.patch.source.read(offset, length)
        except TransientError as e:
            raise _GivenUpError(f"it cannot be applied. {e}") from e

    def _broke_off(self, server: Source, at: int) -> TransientError:
        return TransientError(
            f"{server.url}{self._path} broke off at {at} of {self.patch.info.length} bytes: run "
            "this again.",
            reason="network",
        )
