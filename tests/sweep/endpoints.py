"""The server's endpoints: how each is asked well, and everything that can be wrong with that.

What is bad is made from what is good: every part of a body replaced, left out and added to, every
part of an address, every header that the application reads.
"""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from interlock_core import wire
from interlock_core.api import MAX_BODY, EnrolmentRequest
from interlock_core.statement import MAX_ENVELOPE
from interlock_server.enrolments import MAX_REQUEST
from interlock_server.web.tokens import MAX_EMPTY
from tests.server.later import first
from tests.server.world import HOLDERS, MANAGERS, PRODUCT, V1, V2, Bench, sha256, sign
from tests.support.papers import (
    SECRET,
    Named,
    assignment,
    authorise,
    claim,
    countersign,
    disposition,
    enrolment,
    exclusion,
    notice,
    opening,
    order,
    report,
    session,
    stop,
)
from tests.sweep.tree import Eye

OPEN: Final = f"open-{SECRET}"
"""The secret of a claim that nobody uses."""
ORDER: Final = order(targets=(V1.target(),))
RECALL: Final = order(seq=3, kind="recall", targets=(V1.target(),))
ENROLLED: Final = enrolment("GW-IN")
ASKS: Final = enrolment("GW-ASKS")
STATEMENTS: Final = {
    "order": ORDER,
    "authorisation": authorise(ORDER),
    "go": opening(ORDER),
    "stop": stop(ORDER),
    "exclusion": exclusion(ORDER, device="GW-IN"),
    "claim": claim(f"another-{SECRET}"),
    "assignment": assignment(ENROLLED.id, device="GW-IN"),
    "countersignature": countersign(ENROLLED),
    "recall": notice(RECALL, "2.0.0"),
    "disposition": disposition(RECALL, Named("GW-IN", ENROLLED.id)),
}

JSON: Final = {"Content-Type": "application/json"}
COUNTED: Final = frozenset({"refusal", "report_refusal"})
"""Tables of how often what was refused: evidence, and all that a bad request may change."""


@dataclass(frozen=True)
class Endpoint:
    """One method of one rule of the URL map.

    Attributes:
        body: a good JSON body, which may be sent again; None where none is read.
        fresh: one that was not sent yet, to make bad ones of; ``body`` by default.
        limit: the most bytes of a body that are read.
        path: good values of the parts of the address.
        token: somebody must have logged in.
        raw: a good body that is no JSON.
        query: parameters that are read.
    """

    body: Callable[[Bench], Any] | None = None
    fresh: Callable[[Bench], Any] | None = None
    limit: int = MAX_ENVELOPE
    path: Callable[[Bench], Mapping[str, str]] = lambda _: {}
    token: bool = False
    raw: bytes | None = None
    query: tuple[str, ...] = ()


def metadata(bench: Bench) -> bytes:
    """The next release, signed."""
    return sign(bench.fleet.product(2, V1, V2), MANAGERS)


def _offer(bench: Bench) -> Any:
    return {"metadata": {PRODUCT: metadata(bench).decode()}}


def _offered(bench: Bench) -> dict[str, str]:
    return {"id_": sha256(metadata(bench))}


def _published(bench: Bench) -> dict[str, str]:
    return {"id_": sha256(sign(bench.fleet.product(1, V1), MANAGERS))}


def _in_force(bench: Bench) -> Any:
    """The first roots and the targets metadata, which are in force."""
    roots = {name: [first(bench.fleet, name).decode()] for name in ("image", "director")}
    return {**roots, "targets": bench.store.get("image/metadata/2.targets.json").decode()}


def _ceremony(bench: Bench) -> Any:
    """The next roots, under the same online keys."""
    roots = {
        name: [sign(bench.fleet.root(name, 2), holders).decode()]
        for name, holders in HOLDERS.items()
    }
    return {**roots, "targets": None}


def _login(bench: Bench) -> Any:
    challenge = bench.post("/v1/challenges", {}).json["challenge"]
    return session(challenge, at=bench.clock()).envelope


ENDPOINTS: Final[dict[str, Endpoint]] = {
    "POST /v1/publications": Endpoint(_offer, limit=MAX_BODY),
    "GET /v1/publications": Endpoint(query=("role", "version")),
    "GET /v1/publications/<id_>": Endpoint(path=_offered),
    "PUT /v1/publications/<id_>/targets/<sha256>": Endpoint(
        path=lambda bench: {**_offered(bench), "sha256": sha256(V2.content)}, raw=V2.content
    ),
    "POST /v1/publications/<id_>/commit": Endpoint(path=_published),
    "POST /v1/ceremonies": Endpoint(_in_force, fresh=_ceremony, limit=MAX_BODY),
    "POST /v1/challenges": Endpoint(lambda _: {}, limit=MAX_EMPTY),
    "POST /v1/tokens": Endpoint(_login),
    "POST /v1/statements": Endpoint(
        lambda _: ORDER.envelope, fresh=lambda _: order(targets=(V1.target(),), seq=2).envelope
    ),
    "GET /v1/monitors": Endpoint(token=True),
    "GET /v1/rollouts": Endpoint(token=True, query=("page", "product")),
    "GET /v1/rollouts/<id_>": Endpoint(path=lambda _: {"id_": ORDER.id}, token=True),
    "GET /v1/rollouts/<id_>/stages": Endpoint(path=lambda _: {"id_": ORDER.id}, token=True),
    "GET /v1/rollouts/<id_>/actions": Endpoint(
        path=lambda _: {"id_": ORDER.id}, token=True, query=("page", "state", "vote")
    ),
    "GET /v1/rollouts/<id_>/recall": Endpoint(
        path=lambda _: {"id_": RECALL.id}, token=True, query=("page",)
    ),
    "GET /v1/info": Endpoint(),
    "GET /openapi.json": Endpoint(),
    "GET /v1/devices": Endpoint(token=True, query=("page", "cohort", "site", "state")),
    "GET /v1/devices/<device>": Endpoint(path=lambda _: {"device": "GW-IN"}, token=True),
    "GET /v1/cohorts": Endpoint(token=True, query=("page",)),
    "GET /v1/sites": Endpoint(token=True, query=("page",)),
    "GET /v1/sites/<site>": Endpoint(path=lambda _: {"site": "ward-7"}, token=True),
    "GET /v1/claims": Endpoint(token=True, query=("page",)),
    "GET /v1/log/consistency": Endpoint(query=("old", "new")),
    "GET /v1/log/records": Endpoint(token=True, query=("from",)),
    "POST /v1/enrolments": Endpoint(
        lambda _: EnrolmentRequest(claim=SECRET, enrolment=ASKS.envelope),
        fresh=lambda _: EnrolmentRequest(claim=OPEN, enrolment=enrolment("GW-NEW").envelope),
        limit=MAX_REQUEST,
    ),
    "GET /v1/enrolments/<id_>": Endpoint(path=lambda _: {"id_": ENROLLED.id}),
    "POST /v1/reports": Endpoint(
        lambda _: report(ENROLLED).envelope,
        fresh=lambda _: report(ENROLLED, report(ENROLLED)).envelope,
    ),
}
"""By method and rule. What the URL map has and this has not is named by a test."""


@dataclass(frozen=True)
class Request:
    """One request as a WSGI server hands it over.

    Attributes:
        name: what is wrong with it.
        path: raw bytes, with nothing left to decode.
        chunked: the body ends where it ends, and no length was announced.
        environ: set last; None removes.
    """

    name: str
    method: str
    path: bytes
    data: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    query: bytes = b""
    chunked: bool = False
    environ: Mapping[str, Any] | None = None


def ask(bench: Bench, request: Request) -> Any:
    """The answer to a request."""
    overrides: dict[str, Any] = {
        "PATH_INFO": request.path.decode("latin-1"),
        "QUERY_STRING": request.query.decode("latin-1"),
        "REQUEST_METHOD": request.method,
    }
    if request.chunked:
        overrides |= {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    overrides |= request.environ or {}
    return bench.client.open(
        "/", data=request.data, headers=dict(request.headers), environ_overrides=overrides
    )


def good(bench: Bench, name: str, token: Mapping[str, str]) -> Request:
    """A request that is taken."""
    method = name.partition(" ")[0]
    endpoint = ENDPOINTS[name]
    data = endpoint.raw or b""
    headers: dict[str, str] = {}
    if endpoint.body is not None:
        data, headers = wire.encode(endpoint.body(bench)), dict(JSON)
    return Request("nothing", method, address(bench, name), data, headers | dict(token))


def unsent(bench: Bench, name: str) -> Request:
    """A request that would be taken, and is not made."""
    fresh = ENDPOINTS[name].fresh
    right = good(bench, name, {})
    return replace(right, data=wire.encode(fresh(bench))) if fresh is not None else right


def address(bench: Bench, name: str, **parts: bytes) -> bytes:
    """The endpoint's path, with good parts but for those given."""
    _, _, rule = name.partition(" ")
    path = rule.encode()
    filled = {part: text.encode() for part, text in ENDPOINTS[name].path(bench).items()} | parts
    for part, value in filled.items():
        path = path.replace(f"<{part}>".encode(), value)
    assert b"<" not in path or any(b"<" in value for value in parts.values()), path
    return path


class Held:
    """All that the server keeps: the Store, what waits, and every row but the counts."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._eye = Eye()

    def now(self) -> dict[str, Any]:
        """Everything, by place."""
        bench = self._bench
        bench.back.refusals.flush()
        held: dict[str, Any] = {}
        for place in (bench.settings.store_directory, bench.settings.pending_directory):
            if place.exists():
                held[place.name] = self._eye.look(place)
        assert bench.settings.database_file is not None
        with sqlite3.connect(bench.settings.database_file) as database:
            tables = [name for (name,) in database.execute("select name from sqlite_master")]
            names = database.execute("select name from sqlite_master where type = 'table'")
            for (table,) in names.fetchall():
                if table not in COUNTED:
                    # A name of our own schema, and no word from outside.
                    rows = database.execute(f'select * from "{table}"')  # noqa: S608
                    held[table] = rows.fetchall()
        database.close()
        assert set(tables) >= COUNTED
        return held


# Bodies

VALUES: Final[tuple[Any, ...]] = (
    None, True, -1, 2**60, 1.5, "", "\0", "../../../etc/passwd", "x" * 9000, [], {}, [[]],
)  # fmt: skip
"""What takes the place of each part of a body."""


def places(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each part of a tree, whatever its type."""
    if above:
        yield above
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from places(value, (*above, key))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from places(value, (*above, number))


def at(tree: Any, place: tuple[Any, ...]) -> Any:
    """What stands at the end of a way."""
    for key in place:
        tree = tree[key]
    return tree


def variants(tree: Any, values: tuple[Any, ...] = VALUES) -> Iterator[tuple[str, Any]]:
    """Every tree with one part replaced, left out, or one field too many, and what was done."""
    for place in places(tree):
        for value in values:
            if type(at(tree, place)) is type(value) and at(tree, place) == value:
                continue
            changed = copy.deepcopy(tree)
            at(changed, place[:-1])[place[-1]] = value
            yield f"{place} is {str(value)[:20]!r}", changed
        if isinstance(at(tree, place[:-1]), dict):
            changed = copy.deepcopy(tree)
            del at(changed, place[:-1])[place[-1]]
            yield f"{place} is missing", changed
    for place in ((), *places(tree)):
        if isinstance(at(tree, place), dict):
            changed = copy.deepcopy(tree)
            at(changed, place)["zz"] = 1
            yield f"{place} has a field too many", changed


def encoded(tree: Any) -> bytes:
    """JSON in the one canonical spelling, also of what cannot have one."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def broken(text: bytes) -> dict[str, bytes]:
    """JSON that is none, or not ours, by what is wrong with it."""
    twice = b'{"zz":1,"zz":1' + (b"" if text == b"{}" else b",")
    return {
        "nothing": b"",
        "a half": text[: len(text) // 2],
        "two": text + text,
        "a comment": text + b"//",
        "null": b"null",
        "a number": b"7",
        "a string": b'"{}"',
        "a list": b"[" + text + b"]",
        "deep lists": b"[" * 900,
        "deep objects": b'{"a":' * 150,
        "a key twice": text.replace(b"{", twice, 1),
        "not a number": b'{"a":NaN}',
        "infinity": b'{"a":-Infinity}',
        "too large a float": b'{"a":1e400}',
        "a fraction": b'{"a":1.5}',
        "too large an integer": b'{"a":' + b"9" * 400 + b"}",
        "no UTF-8": b'{"a":"\xff"}',
        "a surrogate": b'{"a":"\\ud800"}',
        "a raw surrogate": b'{"a":"\xed\xa0\x80"}',
        "a NUL": b'{"a":"\0"}',
        "only NULs": b"\0" * 64,
        "a byte order mark": b"\xef\xbb\xbf" + text,
        "UTF-16": text.decode().encode("utf-16"),
        "XML": b"<a/>",
        "a form": b"a=1&b=2",
    }


# Addresses

WIDE: Final = "\N{FULLWIDTH DIGIT ONE}"
"""A digit to Python's ``int``, and to nobody else."""
PARTS: Final = (
    b"..", b"../..", b"../../../etc/passwd", b"..%2f..", b"%2e%2e", b"%00", b"\0", b"a/b", b"a//b",
    b"\xff", b"\xed\xa0\x80", b"x" * 5000, b"A" * 64, b"0" * 63, WIDE.encode() * 64,
    b"0" * 64 + b"\n", b"{}", b"<id_>", b"-1", b"*", b" ", b"\\", b"con", b";x", b"?x", b"#",
)  # fmt: skip
QUERIES: Final = (
    b"", b"0", b"-1", b"1e3", WIDE.encode(), b"9" * 40, b"1%00", b"%ff", b"%ed%a0%80", b"%", b"%zz",
    b"../x", b"A", b"x" * 1500, b"'--", b"1&page=2", b"[]", b"null",
)  # fmt: skip
TOKENS: Final = (
    "", "Bearer", "Bearer ", "Bearer  x", "Basic eDp4", "Bearer x", "bearer .eJx.x.x", "Token x",
    "Bearer " + "x" * 3000, "Bearer x, Bearer y", "Bearer \xff\xfe", "Bearer a.b.c\t", "Bearer {}",
)  # fmt: skip
METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND")
