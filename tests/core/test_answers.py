"""An answer is never read beyond what was asked for."""

from __future__ import annotations

import http.client
import io
from typing import Any, cast

import pytest

from interlock_core.answers import BoundedResponse

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Peer(io.BytesIO):
    """A connection whose other side said everything already.

    Attributes:
        asked: the most bytes that were asked for at once; infinite for all that there is.
    """

    asked = 0.0

    def makefile(self, _mode: str) -> Peer:
        return self

    def read(self, size: int | None = -1, /) -> bytes:
        self.asked = max(self.asked, float("inf") if size is None or size < 0 else size)
        return super().read(size)


def answer(body: bytes) -> tuple[BoundedResponse, Peer]:
    peer = Peer(HEAD + body)
    response = BoundedResponse(cast("Any", peer))
    response.begin()
    return response, peer


@pytest.mark.parametrize("length", [b"-1", b"-ff", b"-0x1", b" -1"])
def test_a_chunk_of_negative_length_ends_the_answer(length: bytes) -> None:
    response, peer = answer(length + b"\r\n" + b"a" * 100_000)
    with pytest.raises(http.client.IncompleteRead):
        response.read(10)
    assert peer.asked <= 10


def test_other_chunks_are_read() -> None:
    response, peer = answer(b"3\r\nabc\r\n00a;x=y\r\n0123456789\r\n0\r\n\r\n")
    assert response.read(5) + response.read(5) + response.read(5) == b"abc0123456789"
    assert peer.asked <= 5
