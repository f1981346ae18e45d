"""HTTP answers that cost no more memory than was asked for (I/O).

Rule: ``read(n)`` holds n bytes, whatever the peer says. Python's library takes a chunk of negative
length for "all that comes until the end", and so would hold whatever a peer cares to send.
"""

from __future__ import annotations

import http.client


class BoundedResponse(http.client.HTTPResponse):
    """An answer of ``http.client``; set it as the ``response_class`` of a connection.

    A chunk of negative length ends the answer with ``http.client.IncompleteRead``.
    """

    def _read_next_chunk_size(self) -> int:
        # The library has no public place for this; tests/core/test_http.py guards it.
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]  # not in typeshed
        if size < 0:
            self.close()
            raise ValueError("a chunk of negative length")
        return size
