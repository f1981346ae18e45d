"""A stand-in for the server: real HTTP on loopback, the four calls of publishing, the read path.

It verifies with the same core code as the server and keeps publications in memory. It is not the
server: what tests of ``publish`` show with it is the client's side of the calls.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from tuf.api.metadata import TargetFile, Targets

from interlock_core import wire
from interlock_core.api import (
    MAX_BODY,
    CeremonyInForce,
    CeremonyRequest,
    MetadataInForce,
    Problem,
    Publication,
    PublicationList,
    PublicationRequest,
)
from interlock_core.clock import system_clock
from interlock_core.errors import ConflictError, InterlockError, NotFoundError
from interlock_core.root_chain import follow
from interlock_core.store import FileStore
from interlock_core.tuf_metadata import parse_metadata, verify_new_offline
from interlock_core.tuf_repository import OnlineRepository
from interlock_core.tuf_stored import StoredRepository


class FaultError(Exception):
    """Raised by a test to make the server break off here."""


@dataclass
class StandIn:
    """What the stand-in knows.

    Attributes:
        calls: "METHOD path" of each call, as it arrived.
        fault: called before and after each call is acted on; may raise ``FaultError``.
    """

    repository: OnlineRepository
    store: FileStore
    calls: list[str] = field(default_factory=list)
    fault: Callable[[str], None] = lambda _when: None
    waiting: dict[str, PublicationRequest] = field(default_factory=dict)
    published: set[str] = field(default_factory=set)
    url: str = ""
    fleet: str = "north"
    roots: list[bytes] = field(default_factory=list)

    def post(self, data: bytes) -> Publication:
        request = wire.decode(data, PublicationRequest, limit=MAX_BODY, what="publication")
        stored = StoredRepository(self.store, "image")
        top = stored.newest_targets().signed
        # New delegations first: they say who signed the rest.
        for role in sorted(request.metadata, key=lambda name: name != Targets.type):
            text = request.metadata[role].encode()
            verified = verify_new_offline(
                text,
                role,
                root=stored.root().signed,
                targets=None if role == Targets.type else top,
                current=stored.newest_bytes(role),
                now=system_clock(),
            )
            top = verified.signed if role == Targets.type else top
        id_ = wire.sha256_hex(request.text)
        self.waiting[id_] = request
        return self.view(id_)

    def parts(self, id_: str) -> dict[str, Targets]:
        if id_ not in self.waiting:
            raise NotFoundError("There is no such publication.", reason="unknown_publication")
        return {
            role: parse_metadata(text.encode(), Targets, what=role).signed
            for role, text in self.waiting[id_].metadata.items()
        }

    def files(self, id_: str) -> dict[str, TargetFile]:
        return {
            path: info for part in self.parts(id_).values() for path, info in part.targets.items()
        }

    def view(self, id_: str) -> Publication:
        versions = {role: part.version for role, part in self.parts(id_).items()}
        missing = [
            {"path": path, "length": info.length, "sha256": info.hashes["sha256"]}
            for path, info in self.files(id_).items()
            if not self.has(path, info.hashes["sha256"])
        ]
        role = self.waiting[id_].role
        tree = {
            "id": id_, "role": role, "version": versions[role], "versions": versions,
            "state": "published" if id_ in self.published else "waiting", "missing": missing,
        }  # fmt: skip
        return wire.convert(tree, Publication, what="view")

    def listed(self, query: str) -> PublicationList:
        asked = parse_qs(query.partition("?")[2])
        items = []
        for id_, request in self.waiting.items():
            role = request.role
            metadata = parse_metadata(request.metadata[role].encode(), Targets, what=role)
            if ([role], [str(metadata.signed.version)]) != (asked["role"], asked["version"]):
                continue
            images = [
                path
                for path, info in metadata.signed.targets.items()
                if (info.custom or {}).get("kind") == "image"
            ]
            items.append(
                {
                    "id": id_,
                    "role": role,
                    "version": metadata.signed.version,
                    "state": "published" if id_ in self.published else "waiting",
                    "posted_at": wire.format_time(system_clock()),
                    "signed_by": sorted(metadata.signatures),
                    "installs": images,
                }
            )
        return wire.convert({"items": items}, PublicationList, what="list")

    def has(self, path: str, sha256: str) -> bool:
        return bool(self.store.list(self.key(path, sha256)))

    @staticmethod
    def key(path: str, sha256: str) -> str:
        folder, _, name = path.rpartition("/")
        return f"image/targets/{folder}/{sha256}.{name}"

    def put(self, id_: str, sha256: str, body: Any, length: int) -> None:
        named = [
            path
            for path, info in self.files(id_).items()
            if (info.hashes["sha256"], info.length) == (sha256, length)
        ]
        if not named:
            raise NotFoundError("The metadata names no such target.", reason="unknown_target")
        data = body.read(length)
        for path in named:
            self.store.put_new_stream(self.key(path, sha256), [data], length=length, sha256=sha256)

    def commit(self, id_: str) -> Publication:
        if self.view(id_).missing:
            raise ConflictError("Targets are missing.", reason="targets_missing")
        for role, text in self.waiting[id_].metadata.items():
            self.repository.put_offline(role, text.encode())
        self.repository.publish()
        self.published.add(id_)
        return self.view(id_)

    def ceremony(self, data: bytes) -> CeremonyInForce:
        """Follows image roots, and keeps them in mind alone; of directors it tells the newest."""
        request = wire.decode(data, CeremonyRequest, limit=MAX_BODY, what="ceremony")
        before = self.roots or StoredRepository(self.store, "image").roots()
        sent = [text.encode() for text in request.image]
        self.roots = roots = [*before, *follow(sent, before, system_clock()).texts]
        return CeremonyInForce(
            fleet=self.fleet,
            image_root=MetadataInForce(version=len(roots), sha256=wire.sha256_hex(roots[-1])),
            director_root=MetadataInForce(
                version=len(request.director),
                sha256=wire.sha256_hex(request.director[-1].encode()),
            ),
            targets=MetadataInForce(version=1, sha256="0" * 64),
            changed=roots != before,
        )


def _handler(server: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def act(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            server.calls.append(f"{self.command} {self.path}")
            try:
                server.fault("before")
                body = self.call(length)
                server.fault("after")
            except FaultError:
                self.close_connection = True
                return
            except InterlockError as e:
                self.close_connection = True
                status = {NotFoundError: 404, ConflictError: 409}.get(type(e), 422)
                problem = Problem(
                    type="about:blank", title="No", status=status, detail=str(e), reason=e.reason
                )
                self.answer(status, wire.encode(problem))
                return
            self.answer(204 if body is None else 200, body or b"")

        def call(self, length: int) -> bytes | None:
            match self.command, self.path.strip("/").split("/"):
                case "GET", ["v1", wanted] if wanted.startswith("publications?"):
                    return wire.encode(server.listed(wanted))
                case "GET", parts:
                    return server.store.get("/".join(parts))
                case "POST", ["v1", "ceremonies" | "publications" as kind]:
                    act = server.ceremony if kind == "ceremonies" else server.post
                    return wire.encode(act(self.rfile.read(length)))
                case "POST", ["v1", "publications", id_, "commit"]:
                    self.rfile.read(length)
                    return wire.encode(server.commit(id_))
                case "PUT", ["v1", "publications", id_, "targets", sha256]:
                    server.put(id_, sha256, self.rfile, length)
                    return None
            raise NotFoundError(f"There is no {self.path}.")

        do_GET = do_POST = do_PUT = act  # noqa: N815  # the names that http.server looks for

    return Handler


@contextmanager
def standing_in(server: StandIn) -> Iterator[StandIn]:
    """Serve on a loopback port while the block runs."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
