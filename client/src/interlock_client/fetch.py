"""How ``tuf.ngclient`` gets its bytes: from the poll bundle, then from one server (I/O).

Rules:

1. The bundle carries no authority: its texts are handed on as if they had come from their URLs.
2. Metadata passes the bounded check of ``wire`` before python-tuf reads it. No more of it is read
   than its type may have, whatever length the metadata before it announces.
3. Roots beyond the newest that the bundle names are not asked for: they are answered 404 here, so
   that a check with nothing new costs no request. A bundle that hides a root withholds what the
   network could withhold as well.
4. An answer of the server that is an HTTP error becomes what ngclient expects; every other fault is
   an error of ours and passes through ngclient untouched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Targets
from tuf.ngclient import FetcherInterface

from interlock_client.servers import HttpStatusError, Server
from interlock_core import wire
from interlock_core.bundle import Bundle
from interlock_core.errors import RefusedError, WireError
from interlock_core.tuf_metadata import MAX_LENGTH

NOT_THERE: Final = frozenset({403, 404})

_METADATA: Final = re.compile(
    r"/(image|director/[^/]+)/metadata/(?:([1-9][0-9]*)\.)?([^/]+)\.json\Z"
)


class BundleFetcher(FetcherInterface):
    """Bytes by URL.

    Args:
        server: where they are if the bundle has not got them.
        bundle: the poll bundle, or None.
    """

    def __init__(self, server: Server, bundle: Bundle | None) -> None:
        self._server = server
        self._bundle = bundle

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """All bytes at ``url``.

        Raises:
            DownloadHTTPError: there is nothing there.
            RefusedError: ``inconsistent_metadata``: too long; ``untrusted_metadata``: no JSON
                within bounds.
            TransientError: ``network``.
        """
        path = url.removeprefix(self._server.url)
        metadata = _METADATA.match(path)
        if metadata is not None:
            longest = MAX_LENGTH.get(metadata[3], MAX_LENGTH[Targets.type])
            max_length = min(max_length, longest)
        data = self._answer(path, metadata, max_length)
        if metadata is not None:
            try:
                wire.parse(data, limit=max_length, what=f"metadata {path}")
            except WireError as e:
                raise RefusedError(str(e), reason="untrusted_metadata") from e
        return data

    def _answer(self, path: str, metadata: re.Match[str] | None, max_length: int) -> bytes:
        if self._bundle is not None:
            text = self._bundle.files.get(path)
            if text is not None:
                data = text.encode()
                if len(data) > max_length:
                    raise RefusedError(
                        f"{path} is longer than the {max_length} bytes allowed.",
                        reason="inconsistent_metadata",
                    )
                return data
            if metadata is not None and metadata[3] == "root" and metadata[2] is not None:
                roots = self._bundle.roots
                newest = roots.image if metadata[1] == "image" else roots.director
                if int(metadata[2]) > newest:
                    raise DownloadHTTPError("no newer root", 404)
        try:
            return self._server.get(path, limit=max_length, too_long="inconsistent_metadata").body
        except HttpStatusError as e:
            if e.status in NOT_THERE and metadata is not None and metadata[3] == "root":
                raise DownloadHTTPError(str(e), e.status) from e
            raise

    def _fetch(self, url: str) -> Iterator[bytes]:
        """Images are not fetched through ngclient (``download`` brings them where they belong)."""
        raise AssertionError(f"{url} was asked for as a stream")
