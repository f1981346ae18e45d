"""Bytes from the servers in order of preference (I/O).

Rules:

1. TLS is always verified, plain HTTP is for loopback (``config`` checks that), no redirect is
   followed, nothing is decompressed.
2. Everything has an end: a limit of bytes, a time-out between bytes, and a deadline that also ends
   a peer who sends one byte now and then, in headers or in a handshake: for a small answer as a
   whole, for an image within a window that moves with it (``download``).
3. No library's error leaks: what the network does wrong is a ``TransientError`` (``network``).
4. Requests are counted, because a check with nothing new must cost one.
5. How long a server asks to be left alone is kept with the error, for whoever waits (``rounds``).
"""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from interlock_client import __version__, question, retry_after
from interlock_client.deadline import Deadline
from interlock_client.line import Line
from interlock_client.tls import Tls
from interlock_core.errors import RefusedError, TransientError

if TYPE_CHECKING:
    import urllib3

    from interlock_client.config import ClientCertificate

CHUNK: Final = 256 * 1024
USER_AGENT: Final = f"interlock-client/{__version__}"


@dataclass(frozen=True)
class Limits:
    """How long the network may take.

    Attributes:
        connect_seconds: for a connection.
        silence_seconds: between two bytes.
        answer_seconds: for a whole small answer (metadata, bundle, roster).
        image_seconds: for one run of a download, over all servers; it goes on in the next one.
        image_window_seconds: over which the rate of an image is judged.
        image_bytes_per_second: the least rate of an image within every such window.
    """

    connect_seconds: float = 10.0
    silence_seconds: float = 30.0
    answer_seconds: float = 300.0
    image_seconds: float = 3600.0
    image_window_seconds: float = 60.0
    image_bytes_per_second: int = 4096


@dataclass(frozen=True)
class Answer:
    """A whole small answer.

    Attributes:
        status: the HTTP status, 200 or 304.
        etag: the validator, if one was sent.
        body: empty with 304.
    """

    status: int
    etag: str | None
    body: bytes


@dataclass(frozen=True)
class Reply:
    """A whole small answer of the API, whatever its status."""

    status: int
    body: bytes


class Headers(Protocol):
    """Header fields by name."""

    def get(self, name: str, /) -> str | None:
        """The value of one, or None."""


class Response(Protocol):
    """What urllib3's and the standard library's answers have in common."""

    status: int

    @property
    def headers(self) -> Headers:
        """Those of the answer."""

    @property
    def closed(self) -> bool:
        """Whether all of it was read."""

    def read(self, amt: int, /) -> bytes:
        """So many bytes, or fewer where it ends."""

    def read1(self, amt: int, /) -> bytes:
        """What has come, at most so many bytes; nothing where it ends."""

    def close(self) -> None:
        """Read no more."""


class HttpStatusError(TransientError):
    """The server answered, but not with what was asked for.

    Attributes:
        status: the HTTP status.
        retry_after: seconds for which it asks to be left alone, or None (rule 5).
    """

    def __init__(
        self, url: str, status: int, hint: str = "", retry_after: int | None = None
    ) -> None:
        super().__init__(
            f"{url} answered {status}: the server may be in maintenance; try again later.{hint}",
            reason="network",
        )
        self.status = status
        self.retry_after = retry_after


def together(troubles: Sequence[TransientError]) -> TransientError:
    """One error for those of several servers: the first; it asks to wait if all of them do."""
    first = troubles[0]
    waits = [getattr(trouble, "retry_after", None) for trouble in troubles]
    if isinstance(first, HttpStatusError):
        asked = [wait for wait in waits if wait is not None]
        first.retry_after = min(asked) if len(asked) == len(waits) else None
    return first


class Server:
    """One server.

    Args:
        url: its base URL, without a trailing slash.
        limits: how long it may take.
        line: counts requests, and watches connections.
        proxy: URL of an HTTP proxy, or None.
        tls: how connections are secured.
    """

    def __init__(
        self,
        url: str,
        *,
        limits: Limits,
        line: Line,
        tls: Tls,
        proxy: str | None = None,
    ) -> None:
        self.url: Final = url
        self.limits: Final = limits
        self._line = line
        self._proxy = proxy
        self._tls = tls

    @cached_property
    def _pool(self) -> urllib3.PoolManager:
        # Loaded when first needed: a poll that finds nothing new does without (question).
        from interlock_client.pool import make_pool  # noqa: PLC0415

        return make_pool(
            self._line,
            connect_seconds=self.limits.connect_seconds,
            silence_seconds=self.limits.silence_seconds,
            proxy=self._proxy,
            tls=self._tls,
        )

    def get(
        self, path: str, *, limit: int, etag: str | None = None, too_long: str = "too_long"
    ) -> Answer:
        """GET a small object.

        Args:
            path: URL path under the server, with a leading slash.
            limit: the most bytes allowed.
            etag: ask for the body only if it changed from this validator.
            too_long: the reason named if the body is longer than ``limit``.

        Raises:
            HttpStatusError: anything but 200, or 304 when an ``etag`` was passed.
            RefusedError: ``too_long``.
            TransientError: ``network``.
        """
        headers = {"If-None-Match": etag} if etag is not None else {}
        with self._exchange(path, headers, self._soon()) as response:
            if response.status == 304 and etag is not None:
                return Answer(304, etag, b"")
            if response.status != 200:
                raise self.no_answer(path, response)
            body = b"".join(_read(response, limit + 1))
            if len(body) > limit:
                raise RefusedError(
                    f"{self.url}{path} is longer than the {limit} bytes allowed.", reason=too_long
                )
            announced = response.headers.get("Content-Length")
            if announced is not None and announced != str(len(body)):
                raise TransientError(
                    f"{self.url}{path} broke off after {len(body)} bytes; try again later.",
                    reason="network",
                )
            return Answer(200, response.headers.get("ETag"), body)

    def send(self, method: str, path: str, body: bytes | None, *, limit: int) -> Reply:
        """Call the API: any status is an answer.

        Args:
            method: ``GET`` or ``POST``.
            path: URL path under the server, with a leading slash.
            body: JSON to send, or None.
            limit: the most bytes of an answer that are read.

        Raises:
            TransientError: ``network``: also if the answer is longer, or broke off.
        """
        headers = {"Content-Type": "application/json"} if body is not None else {}
        with self._exchange(path, headers, self._soon(), method=method, body=body) as response:
            data = b"".join(_read(response, limit + 1))
            announced = response.headers.get("Content-Length")
            if len(data) > limit or (announced is not None and announced != str(len(data))):
                raise TransientError(
                    f"{self.url}{path} did not answer whole within {limit} bytes; try again later.",
                    reason="network",
                )
            return Reply(response.status, data)

    @contextmanager
    def opened(
        self, path: str, headers: Mapping[str, str], deadline: Deadline
    ) -> Iterator[Response]:
        """GET a large object; what is not read of it is not sent for long.

        Args:
            path: URL path under the server, with a leading slash.
            headers: to send.
            deadline: made by ``deadline``; whoever reads moves it on.

        Raises:
            TransientError: ``network``: it broke off, or is too slow.
        """
        with self._exchange(path, headers, deadline) as response:
            yield response

    def deadline(
        self, at: float, says: str, monotonic: Callable[[], float] = time.monotonic
    ) -> Deadline:
        """A deadline for an exchange with this server."""
        return Deadline(at, says, self._line.end, monotonic)

    def close(self) -> None:
        """Close every connection."""
        if "_pool" in self.__dict__:
            self._pool.clear()

    def no_answer(self, path: str, response: Response) -> HttpStatusError:
        """The error that an answer with another status is."""
        status, headers = response.status, response.headers
        wait = retry_after.seconds(
            status, headers.get("Retry-After"), headers.get("Date"), datetime.now(UTC)
        )
        return HttpStatusError(self.url + path, status, self._tls.hint(status), wait)

    def _request(
        self, url: str, headers: Mapping[str, str], method: str, body: bytes | None
    ) -> Response:
        headers = {"User-Agent": USER_AGENT, **headers}
        if "If-None-Match" in headers and self._proxy is None:
            return question.ask(
                url,
                headers,
                self._line,
                connect_seconds=self.limits.connect_seconds,
                silence_seconds=self.limits.silence_seconds,
                tls=self._tls,
            )
        return self._pool.request(
            method,
            url,
            body=body,
            headers=headers,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )

    def _soon(self) -> Deadline:
        seconds = self.limits.answer_seconds
        return self.deadline(time.monotonic() + seconds, f"it did not end within {seconds:.0f} s")

    @contextmanager
    def _exchange(
        self,
        path: str,
        headers: Mapping[str, str],
        deadline: Deadline,
        *,
        method: str = "GET",
        body: bytes | None = None,
    ) -> Iterator[Response]:
        url = self.url + path
        self._line.begin()
        try:
            with deadline:
                response = self._request(url, headers, method, body)
                try:
                    yield response
                finally:
                    if not response.closed:
                        # What was not read is not wanted: the server shall not go on sending it.
                        response.close()
                        self._line.cut()
                if self._line.over:
                    # A body without a length ends like this; it is not whole.
                    raise TransientError(_too_slow(url, deadline), reason="network")
        except _network_errors() as e:
            if self._line.over:
                raise TransientError(_too_slow(url, deadline), reason="network") from e
            fault = self._tls.fault(url, e)
            raise fault or TransientError(_cause(url, e), reason="network") from e


@dataclass(frozen=True)
class Servers:
    """All of them, in order of preference.

    Attributes:
        line: shared by all.
        tls: shared by all.
    """

    each: tuple[Server, ...]
    line: Line
    tls: Tls

    @property
    def requests(self) -> int:
        """How many requests were made."""
        return self.line.requests

    def close(self) -> None:
        """Close every connection."""
        for server in self.each:
            server.close()
        self.line.cut()
        self.tls.close()


def connect(
    urls: tuple[str, ...],
    *,
    proxy: str | None = None,
    ca_file: Path | None = None,
    client_certificate: ClientCertificate | None = None,
    wrong_pin: Path | None = None,
    limits: Limits | None = None,
    rate_limit: int | None = None,
) -> Servers:
    """The servers of a configuration. Nothing is sent yet.

    Args:
        urls: base URLs, in order of preference.
        proxy: URL of an HTTP proxy, or None.
        ca_file: certificates to trust instead of the system's, or None.
        client_certificate: to show to servers that ask for one, or None.
        wrong_pin: where a PIN of its token is remembered that was refused; needed for one.
        limits: how long they may take; the usual, by default.
        rate_limit: what images are slowed down to, in bytes per second: no deadline may forbid it.

    Raises:
        ConfigurationError, SecretError, NotFoundError: the CA file holds no certificates, or the
            client certificate and its key cannot be used.
        TransientError: a file cannot be read.
    """
    line = Line()
    limits = limits or Limits()
    if rate_limit is not None:
        least = min(limits.image_bytes_per_second, max(1, rate_limit // 2))
        limits = replace(limits, image_bytes_per_second=least)
    own = None
    if client_certificate is not None:
        # Most gateways have none.
        from interlock_client import client_certificate as certificates  # noqa: PLC0415

        own = certificates.own(
            client_certificate,
            ca_file=ca_file,
            proxy=proxy,
            wrong_pin=wrong_pin or Path("wrong-pin"),
            connect_seconds=limits.connect_seconds,
        )
    tls = Tls(ca_file, own)
    each = tuple(Server(url, limits=limits, line=line, proxy=proxy, tls=tls) for url in urls)
    return Servers(each, line, tls)


def _read(response: Response, most: int) -> Iterator[bytes]:
    """The body, up to ``most`` bytes; what follows is not read."""
    while most > 0:
        chunk = response.read(min(CHUNK, most))
        if not chunk:
            return
        most -= len(chunk)
        yield chunk


def _network_errors() -> tuple[type[Exception], ...]:
    """What libraries raise here; urllib3's only if it was loaded, or it cannot have raised."""
    known: tuple[type[Exception], ...] = (http.client.HTTPException, OSError)
    loaded = sys.modules.get("urllib3.exceptions")
    return known if loaded is None else (*known, loaded.HTTPError)


def _too_slow(url: str, deadline: Deadline) -> str:
    return f"{url} was too slow: {deadline.says}; try again later."


def _cause(url: str, error: Exception) -> str:
    reason = getattr(error, "reason", None)
    inner = reason if isinstance(reason, Exception) else error
    return f"{url} could not be read ({type(inner).__name__}): check the address and the network."
