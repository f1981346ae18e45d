"""Calling the server's API (I/O): one place for TLS, proxies, limits and problem documents.

Rules:

1. TLS is always verified; plain HTTP is refused except on loopback.
2. An answer is read up to a limit and decoded strictly. A problem document becomes the error whose
   family its status names; what is no problem document becomes a transient error.
3. Nothing is retried here but connecting, and what a server has no room for yet: told to wait (429
   with Retry-After, at most a minute), it is asked again twice. Every call is idempotent; of what
   else went wrong, the caller decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from interlock_core import wire
from interlock_core.answers import BoundedResponse
from interlock_core.api import MAX_ANSWER, Problem
from interlock_core.certificates import check_ca_file
from interlock_core.errors import (
    ConfigurationError,
    ConflictError,
    InterlockError,
    NotFoundError,
    RefusedError,
    TransientError,
    WireError,
)
from interlock_core.urls import check_url

__all__ = ["Api", "check_url", "make_pool"]

T = TypeVar("T")

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
ASKED_AGAIN: Final = 2
MAX_WAIT_SECONDS: Final = 60
SENT_AT_ONCE: Final = 64 * 1024


class _Plain(HTTPConnection):
    response_class = BoundedResponse


class _Secure(HTTPSConnection):
    response_class = BoundedResponse


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


def make_pool(*, ca_file: Path | None = None, proxy: str | None = None) -> urllib3.PoolManager:
    """Connections as rules 1 and 3 ask for, also for those who fetch TUF metadata.

    Raises:
        ConfigurationError: ``proxy`` is no proxy URL, or ``ca_file`` holds no certificates.
        TransientError: ``ca_file`` cannot be read.
    """
    if ca_file is not None:
        check_ca_file(ca_file)
    settings: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        "retries": urllib3.Retry(connect=2, read=0, redirect=0, status=0, other=0),
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": str(ca_file) if ca_file else None,
    }
    try:
        pool = urllib3.ProxyManager(proxy, **settings) if proxy else urllib3.PoolManager(**settings)
    except urllib3.exceptions.HTTPError as e:
        raise ConfigurationError(
            f"{proxy!r} is no proxy URL: write http://host:port or https://host:port."
        ) from e
    pool.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return pool


def post_for_status(
    pool: urllib3.PoolManager,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    seconds: float,
) -> int:
    """POST to somebody who is no server of ours; of the answer only the status is looked at.

    Args:
        pool: of ``make_pool``; a redirect is not followed.
        url: as ``check_url`` let pass.
        body: whatever is sent.
        headers: likewise.
        seconds: to connect, and again to be answered.

    Raises:
        TransientError: there was no answer in time.
    """
    try:
        answer = pool.request(
            "POST",
            url,
            body=body,
            headers=headers,
            redirect=False,
            timeout=urllib3.Timeout(connect=seconds, read=seconds),
            preload_content=False,
        )
        answer.close()
    except urllib3.exceptions.HTTPError as e:
        raise TransientError(f"It could not be reached ({_cause(e)}).") from e
    return answer.status


def _next(file: IO[bytes], length: int) -> Iterator[bytes]:
    """The next ``length`` bytes: of a file, urllib3 would send all that there is to read."""
    while length and (data := file.read(min(length, SENT_AT_ONCE))):
        length -= len(data)
        yield data


class Api:
    """The server's API at ``url``."""

    def __init__(
        self,
        url: str,
        *,
        ca_file: Path | None = None,
        proxy: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = check_url(url)
        self._sleep = sleep
        self._pool = make_pool(ca_file=ca_file, proxy=proxy)

    def get(self, path: str, type_: type[T], *, token: str | None = None) -> T:
        """GET ``path`` and decode the answer.

        Raises:
            InterlockError: of the family that the status names (rule 2).
        """
        return wire.decode(
            self._call("GET", path, None, {}, token), type_, limit=MAX_ANSWER, what="answer"
        )

    def fetch(self, path: str, *, limit: int) -> bytes:
        """GET a static file of at most ``limit`` bytes, as it is.

        Raises:
            NotFoundError: nothing is there, whatever else serves the files and says so.
            WireError: it is longer.
            InterlockError: of the family that the status names (rule 2).
        """
        data = self._call("GET", path, None, {}, None)
        if len(data) > limit:
            raise WireError(f"{path} is longer than {limit} bytes.")
        return data

    def get_if_changed(
        self, path: str, type_: type[T], *, token: str | None = None, etag: str | None = None
    ) -> tuple[T, str | None] | None:
        """GET ``path`` if it is not what ``etag`` names; None where it still is.

        Returns:
            The decoded answer, and its own ETag if it has one.

        Raises:
            InterlockError: of the family that the status names (rule 2).
        """
        asked = {"If-None-Match": etag} if etag is not None else {}
        data, answered = self._exchange("GET", path, None, asked, token)
        if data is None:
            return None
        return wire.decode(data, type_, limit=MAX_ANSWER, what="answer"), answered

    def post(self, path: str, body: object, type_: type[T], *, token: str | None = None) -> T:
        """POST ``body`` as JSON and decode the answer.

        Raises:
            InterlockError: of the family that the status names (rule 2).
        """
        headers = {"Content-Type": "application/json"}
        answer = self._call("POST", path, wire.encode(body), headers, token)
        return wire.decode(answer, type_, limit=MAX_ANSWER, what="answer")

    def put(self, path: str, file: IO[bytes], length: int) -> None:
        """PUT the next ``length`` bytes of ``file``.

        Raises:
            InterlockError: of the family that the status names (rule 2).
        """
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        self._call("PUT", path, _next(file, length), headers, None)

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None,
        headers: Mapping[str, str],
        token: str | None,
    ) -> bytes:
        data, _ = self._exchange(method, path, body, headers, token)
        if data is None:
            raise TransientError("The server answered 304 where nothing was known before.")
        return data

    def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None,
        headers: Mapping[str, str],
        token: str | None,
    ) -> tuple[bytes | None, str | None]:
        """The body, or None for 304, and the ETag."""
        sent = dict(headers) | ({"Authorization": f"Bearer {token}"} if token else {})
        for _ in range(ASKED_AGAIN):
            answer, data = self._once(method, path, body, sent)
            seconds = _wait_of(answer)
            if seconds is None or not isinstance(body, bytes | None):
                break
            self._sleep(seconds)
        else:
            answer, data = self._once(method, path, body, sent)
        if answer.status >= 400:
            raise _error(answer.status, data)
        return (None if answer.status == 304 else data), answer.headers.get("ETag")

    def _once(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None,
        sent: Mapping[str, str],
    ) -> tuple[urllib3.BaseHTTPResponse, bytes]:
        try:
            answer = self._pool.request(
                method, f"{self.url}{path}", body=body, headers=sent, preload_content=False
            )
            with answer:
                return answer, answer.read(MAX_ANSWER + 1)
        except urllib3.exceptions.HTTPError as e:
            raise TransientError(
                f"{self.url} could not be asked ({_cause(e)}): check the address and the network."
            ) from e


def _wait_of(answer: urllib3.BaseHTTPResponse) -> int | None:
    """For how many seconds a server that has no room asks to wait; None if it does not."""
    text = answer.headers.get("Retry-After", "")
    if answer.status != 429 or not (text.isascii() and text.isdigit() and len(text) < 6):
        return None
    return int(text) if int(text) <= MAX_WAIT_SECONDS else None


def _cause(error: urllib3.exceptions.HTTPError) -> str:
    reason = getattr(error, "reason", None)
    return type(reason if isinstance(reason, Exception) else error).__name__


def _error(status: int, data: bytes) -> InterlockError:
    try:
        problem = wire.decode(data, Problem, limit=MAX_ANSWER, what="problem document")
    except WireError:
        said = f"The server answered {status} without saying why."
        return NotFoundError(said) if status in {404, 410} else TransientError(said)
    if status in {404, 410}:
        return NotFoundError(problem.detail, reason=problem.reason)
    if status == 409:
        return ConflictError(problem.detail, reason=problem.reason)
    if status in {429, 500, 502, 503, 504, 507}:
        return TransientError(problem.detail, reason=problem.reason)
    return RefusedError(problem.detail, reason=problem.reason)
