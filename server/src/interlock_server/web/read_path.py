"""The read path: what gateways read, straight from the Store.

Rules:

1. The same bytes under the same names as any static file server would give: no database, no
   signature and no work for a single device.
2. The validator of a head or of metadata is the SHA-256 of its bytes, remembered for as long as the
   file's time, inode and length stay (a new version of a head has a new time). A target's
   is the digest in its name, which was verified when it was stored.
3. Versioned metadata and targets never change, so caches keep them; heads are asked for each time;
   no cache keeps a 404, since the next ``N.root.json`` or release may appear at any moment.
4. Only names of the forms below are looked up; the Store checks the key again.
5. The poll bundle may be had compressed: another representation, with a validator of its own.

It stands before Flask: a poll with nothing new costs one look at a file.
"""

from __future__ import annotations

import gzip
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import parse_accept_header, parse_etags
from werkzeug.utils import send_file

from interlock_core import durable
from interlock_core.errors import NotFoundError, TransientError, WireError
from interlock_core.store import FileStore
from interlock_core.wire import sha256_hex
from interlock_server.web.problems import of_error, problem

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

PREFIXES: Final = ("/image/", "/director/", "/log/", "/poll/")
IMMUTABLE: Final = "public, max-age=31536000, immutable"
NO_CACHE: Final = "no-cache"
JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
BINARY: Final = "application/octet-stream"

_NAME: Final = r"[a-z0-9][a-z0-9-]{0,62}"
_PATH: Final = re.compile(
    rf"""/(?:
      (?P<head>(?:image|director/{_NAME})/metadata/timestamp\.json)
    | (?P<checkpoint>log/checkpoint)
    | (?P<tail>log/tail)
    | (?P<bundle>log/entries/(?:0|[1-9][0-9]{{0,14}}))
    | (?P<poll>poll/{_NAME})
    | (?P<versioned>(?:image|director/{_NAME})/metadata/[1-9][0-9]{{0,14}}\.{_NAME}\.json
        | director/{_NAME}/targets/[0-9a-f]{{64}}\.directive\.json)
    | (?P<target>image/targets/{_NAME}/(?:[0-9a-z][0-9a-z._-]{{0,62}}/)?
        (?P<sha256>[0-9a-f]{{64}})\.[0-9A-Za-z][0-9A-Za-z._-]{{0,126}})
    )\Z""",
    re.VERBOSE,
)
_MAX_KNOWN: Final = 4096


@dataclass(frozen=True)
class _Known:
    """What is remembered of one file, while its stamp stays the same (rule 2)."""

    stamp: tuple[int, int, int]
    sha256: str
    packed: bytes | None


class ReadPath:
    """Answers what gateways read; passes everything else on.

    Args:
        store: where it lies.
        others: the application for every other path.
    """

    def __init__(self, store: FileStore, others: Application) -> None:
        self._store = store
        self._others = others
        self._known: dict[str, _Known] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request, by WSGI."""
        path: str = environ.get("PATH_INFO", "")
        if not path.startswith(PREFIXES):
            return self._others(environ, start_response)
        method: str = environ["REQUEST_METHOD"]
        if method not in {"GET", "HEAD"}:
            refusal = problem(
                405, "method_not_allowed", "Only GET and HEAD.", [("Allow", "GET, HEAD")]
            )
            return refusal(environ, start_response)
        try:
            return self._found(path, environ, start_response)
        except (NotFoundError, WireError):
            response = problem(404, "not_found", "There is nothing under this address.")
        except TransientError as e:
            response = of_error(e)
        return response(environ, start_response)

    def _found(self, path: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        match = _PATH.match(path)
        if match is None:
            raise NotFoundError(path[:120])
        key = path[1:]
        file = self._store.path(key)
        if match["target"]:
            return self._target(file, match["sha256"], environ, start_response)
        if match["poll"]:
            return self._poll(file, environ, start_response)
        cached = IMMUTABLE if match["versioned"] or match["bundle"] else NO_CACHE
        kind = TEXT if match["checkpoint"] else BINARY if match["bundle"] or match["tail"] else JSON
        known = self._look(file, pack=False)
        etag = f'"{known.sha256}"'
        headers = [("ETag", etag), ("Cache-Control", cached), ("Content-Type", kind)]
        return self._send(file, known, etag, headers, environ, start_response)

    # Small objects

    def _poll(self, file: Path, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        packed = _accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING"))
        known = self._look(file, pack=packed)
        etag = f'"{known.sha256}-gzip"' if packed else f'"{known.sha256}"'
        headers = [("ETag", etag), ("Cache-Control", NO_CACHE), ("Vary", "Accept-Encoding")]
        if packed:
            headers.append(("Content-Encoding", "gzip"))
        headers.append(("Content-Type", JSON))
        return self._send(file, known, etag, headers, environ, start_response)

    def _look(self, file: Path, *, pack: bool) -> _Known:
        """What the file is now; read only if that is not known yet."""
        stamp = _stamp(file)
        known = self._known.get(str(file))
        if known is not None and known.stamp == stamp and (known.packed or not pack):
            return known
        data, stamp = _read(file)
        # The same bytes must pack alike in every process, so no time stands in them.
        packed = gzip.compress(data, 6, mtime=0) if pack else None
        known = _Known(stamp, sha256_hex(data), packed)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[str(file)] = known
        return known

    def _send(
        self,
        file: Path,
        known: _Known,
        etag: str,
        headers: list[tuple[str, str]],
        environ: Environ,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        held: str | None = environ.get("HTTP_IF_NONE_MATCH")
        if held is not None and (held == etag or _matches(held, etag)):
            kept = [one for one in headers if one[0] not in {"Content-Encoding", "Content-Type"}]
            start_response("304 Not Modified", kept)
            return []
        if ("Content-Encoding", "gzip") in headers:
            body = known.packed or b""
        else:
            body, stamp = _read(file)
            if stamp != known.stamp:
                # Replaced between the look and the read: look again.
                return self(environ, start_response)
        headers = [
            *headers,
            ("Content-Length", str(len(body))),
            ("X-Content-Type-Options", "nosniff"),
        ]
        start_response("200 OK", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    # Targets

    def _target(
        self, file: Path, sha256: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        size = _stamp(file)[2]
        if environ.get("HTTP_IF_MATCH", "").strip() == "*":
            # It is there, which is all that is asked; werkzeug knows no star.
            environ = {name: value for name, value in environ.items() if name != "HTTP_IF_MATCH"}
        try:
            with durable.translated("read", file):
                response = send_file(
                    file,
                    environ,
                    mimetype="application/octet-stream",
                    conditional=True,
                    etag=sha256,
                )
        except RequestedRangeNotSatisfiable:
            response = problem(
                416,
                "range_not_satisfiable",
                f"The target has {size} bytes.",
                [("Content-Range", f"bytes */{size}")],
            )
        else:
            if response.status_code == HTTPStatus.PRECONDITION_FAILED:
                response.close()
                refusal = problem(412, "precondition_failed", "The target is another than that.")
                return refusal(environ, start_response)
            response.headers["Cache-Control"] = IMMUTABLE
            response.headers["X-Content-Type-Options"] = "nosniff"
            del response.headers["Content-Disposition"]
        return response(environ, start_response)


def _stamp(file: Path) -> tuple[int, int, int]:
    try:
        status = os.stat(file)  # noqa: PTH116  # on every poll: the shortest way
    except (FileNotFoundError, NotADirectoryError) as e:
        raise NotFoundError(file.name) from e
    except OSError as e:
        raise TransientError(f"{file.name} cannot be read ({e.strerror}).", reason="disk") from e
    if not stat.S_ISREG(status.st_mode):
        raise NotFoundError(file.name)
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read(file: Path) -> tuple[bytes, tuple[int, int, int]]:
    """The bytes and the stamp of one and the same version of a file."""
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            return opened.read(), (status.st_mtime_ns, status.st_ino, status.st_size)
    except FileNotFoundError as e:
        raise NotFoundError(file.name) from e
    except OSError as e:
        raise TransientError(f"{file.name} cannot be read ({e.strerror}).", reason="disk") from e


def _matches(held: str, etag: str) -> bool:
    """Whether ``If-None-Match`` names this validator; the comparison is weak (RFC 9110, 13.1.2)."""
    return parse_etags(held).contains_weak(etag.strip('"'))


@lru_cache(maxsize=256)
def _accepts_gzip(header: str | None) -> bool:
    if header is None or "gzip" not in header:
        return False
    return parse_accept_header(header)["gzip"] > 0
