"""Bytes of a repository, from a directory or a server, for ``tuf.ngclient`` (I/O).

Rules:

1. Where bytes come from gives them no authority: the client verifies each.
2. A directory is laid out as the Store is (``docs/interfaces.md``), so a mirror, a USB copy and
   the server's own store all serve.
3. TLS is verified and plain HTTP stays on loopback, as ``interlock_core.http`` rules.
4. Metadata passes Interlock's bounded JSON check before python-tuf reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import urllib3
from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

from interlock_core import wire
from interlock_core.errors import NotFoundError
from interlock_core.http import check_url, make_pool
from interlock_core.store import FileStore

CHUNK: Final = 256 * 1024
BASE: Final = "interlock:"
"""What URLs given to ``ngclient`` begin with; the rest is a Store key."""


class _Checking(FetcherInterface):
    """Fetches metadata as rule 4 asks."""

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Fetch metadata, and check its form."""
        data = super().download_bytes(url, max_length)
        wire.parse(data, limit=max_length, what=url.removeprefix(BASE))
        return data


class DirectoryFetcher(_Checking):
    """Reads a directory with the Store's layout (rule 2)."""

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise NotFoundError(f"There is no directory {directory} to read a repository from.")
        self._store = FileStore(directory)

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            file = self._store.open(url.removeprefix(BASE))
        except NotFoundError as e:
            raise DownloadHTTPError(str(e), 404) from e
        with file:
            while chunk := file.read(CHUNK):
                yield chunk


class ServerFetcher(_Checking):
    """Reads a server's public files (rule 3)."""

    def __init__(self, url: str, *, ca_file: Path | None, proxy: str | None) -> None:
        self._url = check_url(url)
        self._pool = make_pool(ca_file=ca_file, proxy=proxy)

    def _fetch(self, url: str) -> Iterator[bytes]:
        address = f"{self._url}/{url.removeprefix(BASE)}"
        try:
            answer = self._pool.request("GET", address, preload_content=False)
            try:
                if answer.status != 200:
                    raise DownloadHTTPError(f"{address} answered {answer.status}", answer.status)
                yield from answer.stream(CHUNK, decode_content=False)
            finally:
                answer.close()
        except urllib3.exceptions.HTTPError as e:
            raise DownloadError(f"{address} could not be read") from e
