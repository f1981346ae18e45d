"""A place for operators' commands: key files, a real image repository, and a server's stand-in.

``StandIn`` is a stand-in for the Interlock server: a small real HTTP server on loopback that
answers the calls of ``docs/interfaces.md`` (section 4) with core's own types, serves the image
repository's files, and can be told to lie, to refuse or to be down. It verifies nothing but what
it needs to answer; what is tested is the operators' side.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from click.testing import CliRunner, Result
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, TargetFile, Targets

from interlock_core import encrypted_keys, keys, wire
from interlock_core.acts import POSTED
from interlock_core.api import (
    Accepted,
    ActionPage,
    Challenge,
    CohortView,
    DeviceAction,
    LogRecord,
    LogRecordPage,
    MonitorList,
    MonitorView,
    Problem,
    RecallPage,
    Rollout,
    RolloutPage,
    RolloutSummary,
    Token,
)
from interlock_core.chain import Papers, accepted_at, cleared, read_chain, stop_counts
from interlock_core.clock import system_clock
from interlock_core.exclusion import Exclusion
from interlock_core.order import Authorisation, Go, Order, Stop
from interlock_core.recall_papers import RECALL_STATEMENTS
from interlock_core.roster import Judge, Roster
from interlock_core.statement import (
    Envelope,
    Opened,
    Session,
    open_as,
    open_statement,
    read_envelope,
)
from interlock_core.store import FileStore
from interlock_core.tuf_metadata import delegated_paths, serialise, set_issued
from interlock_core.tuf_repository import OnlineRepository
from interlock_ops.cli import main
from interlock_ops.cli.edge import Edge
from tests.ops.fleet_stand_in import FleetStandIn
from tests.support.people import CANARY, DAY0, ELLEN, FLEET, PEOPLE, ROSTER, signer
from tests.support.people import roster as roster_of
from tests.support.people import rules as rules_of

OPS_ROSTER: Final = roster_of(
    *PEOPLE,
    ELLEN,
    rules=(
        rules_of(stop=("hospital",)),
        rules_of(CANARY, stop=("hospital", "engineer")),
        next(rule for rule in ROSTER.rules if rule.pattern == "st-anna"),
    ),
)
"""``ROSTER`` with Ellen, whose one signature stops at ward 7."""
PASSPHRASE: Final = "correct horse battery"
PRODUCT: Final = "gateway"
IMAGE: Final = b"the bytes of a firmware image, version 2.0.0"
PATH: Final = f"{PRODUCT}/2.0.0/image.img"
SHA256: Final = hashlib.sha256(IMAGE).hexdigest()
OLD: Final = b"the bytes of a firmware image, version 1.0.0"
OLD_PATH: Final = f"{PRODUCT}/1.0.0/image.img"
OLD_SHA: Final = hashlib.sha256(OLD).hexdigest()

ORDER: Final = f"""
product = "{PRODUCT}"
kind = "update"
expires = "30d"
deadline = "6h"

[[targets]]
path = "{PATH}"

[[stages]]
cohorts = ["canary"]
percent = 100
soak = "1d"
gate = "manual"

[[stages]]
cohorts = ["canary", "st-anna"]
percent = 100
soak = "0s"
gate = "manual"
"""


def facts(version: str = "2.0.0", counter: int = 2) -> dict[str, Any]:
    """The ``custom`` of an image."""
    return {
        "kind": "image",
        "product": PRODUCT,
        "version": version,
        "hardware_ids": ["cm4-r2"],
        "release_counter": counter,
        "raises_floor_to": 0,
        "min_counter_installed": 0,
        "update_class": {"type": "security", "urgency": "critical"},
        "markets": ["DE"],
        "support_end": "2036-12-31",
        "udi_di": None,
        "slots": [{"name": "rootfs", "length": len(IMAGE), "sha256": SHA256}],
        "references": [],
    }


class ImageWriter:
    """Writes a real image repository with the keys of one ceremony, online roles by core."""

    def __init__(self, directory: Path) -> None:
        self.store = FileStore(directory)
        self.people = CryptoSigner.generate_ed25519()
        self.online = CryptoSigner.generate_ed25519()
        self.now = system_clock()
        self.root = self._signed(self._root())
        self._repository().put_root(self.root)
        self._repository().put_offline("targets", self._signed(self._targets()))

    def _repository(self) -> OnlineRepository:
        signers = {"snapshot": [self.online], "timestamp": [self.online]}
        return OnlineRepository(self.store, "image", signers, system_clock)

    def _signed(self, payload: Root | Targets) -> bytes:
        metadata: Metadata[Any] = Metadata(payload)
        metadata.sign(self.people)
        return serialise(metadata)

    def _root(self) -> Root:
        root = Root(expires=self.now + timedelta(days=365))
        for role, key in (
            ("root", self.people),
            ("targets", self.people),
            ("snapshot", self.online),
            ("timestamp", self.online),
        ):
            root.add_key(key.public_key, role)
        set_issued(root, self.now)
        return root

    def _targets(self) -> Targets:
        targets = Targets(expires=self.now + timedelta(days=365))
        targets.delegations = Delegations(
            {},
            {
                name: DelegatedRole(name, [], 1, True, delegated_paths(name))
                for name in (PRODUCT, "interlock")
            },
        )
        for name in (PRODUCT, "interlock"):
            targets.add_key(self.people.public_key, name)
        set_issued(targets, self.now)
        return targets

    def publish(self, version: int, files: dict[str, tuple[bytes, dict[str, Any] | None]]) -> None:
        """Publish these files as all that there is."""
        for role in (PRODUCT, "interlock"):
            metadata = Targets(version=version, expires=self.now + timedelta(days=90))
            set_issued(metadata, self.now)
            for path, (data, custom) in files.items():
                if path.startswith(f"{role}/"):
                    metadata.targets[path] = _target(path, data, custom)
                    self._put(path, data)
            self._repository().put_offline(role, self._signed(metadata))
        self._repository().publish()

    def _put(self, path: str, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        folder, _, name = path.rpartition("/")
        self.store.put_new(f"image/targets/{folder}/{digest}.{name}", data)


def _target(path: str, data: bytes, custom: dict[str, Any] | None) -> TargetFile:
    target = TargetFile.from_data(path, data, ["sha256"])
    if custom is not None:
        target.unrecognized_fields["custom"] = custom
    return target


class Ticking:
    """A clock that tests set."""

    def __init__(self, now: datetime = DAY0) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@dataclass
class StandIn:
    """A stand-in for the server; see the module's docstring.

    Attributes:
        papers: every statement that was posted, in order.
        refuse: posts of statements are answered with this problem.
        alter: changes a rollout before it is sent: a lie.
        lie: other bytes for a static file's path.
        summaries: changes each line of the list before it is sent: a lie.
        receipt: the id in every receipt: a lie.
        log: the files of a log, by path.
        records: what stands behind its entries.
        heard: when each monitor was heard; by default mona, now.
        room: so many statements are taken before it is busy; below 0 any number.
        fleet: what it knows of devices.
        hides: types of what stands beside a recall that it does not show.
        stages: what it answers about the counters of a rollout, one after another; the last stays.
        actions: of the devices of any rollout, or what it answers instead.
    """

    roster: Roster
    clock: Ticking
    files: Path
    papers: list[Opened[Any]] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refuse: Problem | None = None
    alter: Callable[[Rollout], Rollout] | None = None
    summaries: Callable[[RolloutSummary], RolloutSummary] | None = None
    receipt: str | None = None
    lie: dict[str, bytes] = field(default_factory=dict)
    page: int = 2
    heard: dict[str, datetime | None] | None = None
    room: int = -1
    log: dict[str, bytes] = field(default_factory=dict)
    records: tuple[LogRecord, ...] = ()
    fleet: FleetStandIn = field(default_factory=FleetStandIn)
    hides: tuple[type[Any], ...] = ()
    stages: list[tuple[int, object]] = field(default_factory=list)
    actions: Sequence[DeviceAction] | Problem = ()

    def __post_init__(self) -> None:
        self.stages = [(404, problem(404, "not_found", "It keeps no counters."))]

    def of(self, type_: type[Any]) -> list[Opened[Any]]:
        """The statements of one type."""
        return [paper for paper in self.papers if isinstance(paper.said, type_)]

    def post(self, *papers: Opened[Any]) -> None:
        """Hold these as if they had been posted."""
        self.papers += papers

    def rollout(self, order: Opened[Order]) -> Rollout:
        """Everything about one order, and how it reads."""
        goes = [go for go in self.of(Go) if go.said.order == order.id]
        about = {order.id, *(go.id for go in goes)}
        words = [word for word in self.of(Authorisation) if word.said.id in about]
        stops = [stop for stop in self.of(Stop) if stop.said.order == order.id]
        judge = Judge(self.roster, self.clock())
        papers = Papers(order, words, goes)
        return Rollout(
            summary=self.summary(order),
            order=order.envelope,
            authorisations=tuple(word.envelope for word in words),
            goes=tuple(go.envelope for go in goes),
            stops=tuple(stop.envelope for stop in stops),
            cohorts=tuple(
                self._view(judge, papers, stops, cohort) for cohort in order.said.cohorts()
            ),
            exclusions=self._exclusions(order),
        )

    def _exclusions(self, order: Opened[Order]) -> tuple[Envelope, ...]:
        known = [one for one in self.of(Exclusion) if one.said.order == order.id]
        ids = {one.id for one in known}
        words = [word for word in self.of(Authorisation) if word.said.id in ids]
        return tuple(paper.envelope for paper in (*known, *words))

    def _view(
        self, judge: Judge, papers: Papers, stops: list[Opened[Stop]], cohort: str
    ) -> CohortView:
        chain = read_chain(judge, papers, cohort)
        accepted = accepted_at(judge, papers, cohort)
        over = cleared(chain)
        return CohortView(
            cohort=cohort,
            accepted_at=accepted,
            missing=(),
            stages_open=len(chain.stages),
            objection=chain.objection,
            live_until=chain.live_until(0),
            standing_stops=tuple(
                stop.id
                for stop in stops
                if stop.id not in over
                and stop.said.cohort in (None, cohort)
                and stop_counts(judge, stop, cohort)
            ),
            in_force=accepted is not None,
        )

    def summary(self, order: Opened[Order]) -> RolloutSummary:
        """One line of the list."""
        said = order.said
        return RolloutSummary(
            id=order.id,
            product=said.product,
            seq=said.seq,
            kind=said.kind,
            author=said.author,
            at=said.at,
            expires=said.expires,
            state="ready",
            in_force=self._in_force(order),
        )

    def _in_force(self, order: Opened[Order]) -> bool:
        """Whether it is accepted somewhere; which of several counts is for who asks."""
        judge = Judge(self.roster, self.clock())
        words = [word for word in self.of(Authorisation) if word.said.id == order.id]
        papers = Papers(order, words, ())
        return any(accepted_at(judge, papers, cohort) for cohort in order.said.cohorts())

    # HTTP

    def answer(self, method: str, target: str, body: bytes, token: str) -> tuple[int, object]:
        """Answer one call with a status and a body."""
        self.asked.append(f"{method} {target}")
        url = urlsplit(target)
        path = url.path
        if method == "GET" and path.startswith(("/image/", "/log/")):
            return self._file(path)
        if (method, path) == ("POST", "/v1/challenges"):
            return 201, Challenge(challenge="challenge-" + "0" * 16, expires=self.clock())
        if (method, path) == ("POST", "/v1/tokens"):
            return self._token(body)
        if (method, path) == ("POST", "/v1/statements"):
            return self._statement(body)
        if (method, path) == ("GET", "/v1/info"):
            return 200, self.fleet.info(self.roster.fleet)
        if token not in self.tokens:
            return 401, problem(401, "no_token", "Sign a challenge first.")
        if (method, path) == ("GET", "/v1/log/records"):
            return 200, LogRecordPage(items=self.records, next=None)
        if (method, path) == ("GET", "/v1/rollouts"):
            return 200, self._list(parse_qs(url.query))
        if method == "GET" and not path.startswith("/v1/rollouts"):
            return self._fleet(path, parse_qs(url.query))
        return self._rollout(path.removeprefix("/v1/rollouts/"), parse_qs(url.query))

    def _rollout(self, path: str, query: dict[str, list[str]]) -> tuple[int, object]:
        id_, _, what = path.partition("/")
        order = next((one for one in self.of(Order) if one.id == id_), None)
        if order is None:
            return 404, problem(404, "not_found", "There is no such rollout.")
        if what == "stages":
            return self.stages.pop(0) if len(self.stages) > 1 else self.stages[0]
        if what == "actions":
            return self._actions(query)
        if what == "recall":
            return 200, self._beside(order, query)
        rollout = self.rollout(order)
        return 200, self.alter(rollout) if self.alter else rollout

    def _fleet(self, path: str, query: dict[str, list[str]]) -> tuple[int, object]:
        judge = Judge(self.roster, self.clock())
        match path.removeprefix("/v1/").split("/"):
            case ["devices"]:
                return 200, self.fleet.devices(judge, self.papers, query)
            case ["devices", id_]:
                found = self.fleet.device(judge, self.papers, unquote(id_))
                if found is not None:
                    return 200, found
            case ["monitors"]:
                heard = self.heard if self.heard is not None else {"mona": judge.now}
                return 200, MonitorList(
                    items=tuple(
                        MonitorView(name=name, seen_at=time, signed_at=None)
                        for name, time in heard.items()
                    )
                )
            case ["claims"]:
                return 200, self.fleet.claims(judge.now, self.papers, query)
            case ["sites", name]:
                site = self.fleet.site(judge, self.papers, unquote(name))
                if site is not None:
                    return 200, site
            case ["cohorts" | "sites" as kind]:
                return 200, self.fleet.places(judge, self.papers, kind, query)
        return 404, problem(404, "not_found", "There is no such thing.")

    def _file(self, path: str) -> tuple[int, object]:
        if path.startswith("/log/"):
            return (200, self.log[path]) if path in self.log else (404, b"")
        file = self.files / path.removeprefix("/")
        if path in self.lie:
            return 200, self.lie[path]
        return (200, file.read_bytes()) if file.is_file() else (404, b"")

    def _token(self, body: bytes) -> tuple[int, object]:
        session = open_as(read_envelope(body), Session)
        judge = Judge(self.roster, self.clock())
        if judge.signer_key(session) is None:
            return 403, problem(403, "unknown_key", "Nobody in the roster signed this.")
        token = f"token-{len(self.tokens)}"
        self.tokens[token] = session.said.author
        return 201, Token(token=token, expires=self.clock() + timedelta(minutes=15))

    def _statement(self, body: bytes) -> tuple[int, object]:
        if self.refuse is not None:
            return self.refuse.status, self.refuse
        if self.room == 0:
            return 503, problem(503, "busy", "Another publisher is at work.")
        self.room -= 1
        paper = open_statement(read_envelope(body), POSTED)
        new = all(paper.id != known.id for known in self.papers)
        if new:
            self.papers.append(paper)
        kind = type(paper.said).__name__.lower()
        return 201 if new else 200, Accepted(id=self.receipt or paper.id, type=kind)

    def _actions(self, query: dict[str, list[str]]) -> tuple[int, object]:
        if isinstance(self.actions, Problem):
            return self.actions.status, self.actions
        vote, page = query.get("vote"), int(query.get("page", ["1"])[0])
        found = [one for one in self.actions if vote is None or one.vote in vote]
        rest = found[(page - 1) * self.page :]
        return 200, ActionPage(
            items=tuple(rest[: self.page]), next=page + 1 if len(rest) > self.page else None
        )

    def _beside(self, order: Opened[Order], query: dict[str, list[str]]) -> RecallPage:
        page = int(query.get("page", ["1"])[0])
        beside = [
            paper
            for paper in self.papers
            if isinstance(paper.said, RECALL_STATEMENTS) and not isinstance(paper.said, self.hides)
        ]
        rest = [p.envelope for p in beside if p.said.order == order.id][(page - 1) * self.page :]
        return RecallPage(
            items=tuple(rest[: self.page]), next=page + 1 if len(rest) > self.page else None
        )

    def _list(self, query: dict[str, list[str]]) -> RolloutPage:
        [product] = query.get("product", [""])
        orders = [o for o in self.of(Order) if product in ("", o.said.product)]
        newest = sorted(orders, key=lambda order: -order.said.seq)
        items = tuple(self.summary(order) for order in newest)
        if self.summaries is not None:
            items = tuple(map(self.summaries, items))
        page = int(query.get("page", ["1"])[0])
        rest = items[(page - 1) * self.page :]
        return RolloutPage(
            items=rest[: self.page], next=page + 1 if len(rest) > self.page else None
        )


def problem(status: int, reason: str, detail: str) -> Problem:
    """A problem document."""
    return Problem(type="about:blank", title=reason, status=status, detail=detail, reason=reason)


class Served:
    """The stand-in, listening on a loopback port until it is closed."""

    def __init__(self, stand_in: StandIn) -> None:
        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                status, body = stand_in.answer(
                    self.command, self.path, self.rfile.read(length), token
                )
                data = body if isinstance(body, bytes) else wire.encode(body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _answer  # noqa: N815  # http.server's names

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass
class Place:
    """Where an operator works.

    Attributes:
        home: holds key files, settings and order files.
        clock: for statements; metadata is judged by the machine's clock.
    """

    home: Path
    clock: Ticking
    server: StandIn
    url: str
    slept: list[float] = field(default_factory=list)

    def config(self, whose: str, /, **settings: str) -> Path:
        """The settings of a person."""
        own = {
            "server": self.url,
            "fleet": FLEET,
            "image_root": "1.root.json",
            "key": f"{whose}.key.json",
            "passphrase_file": "passphrase",
            "state_directory": "state",
        } | settings
        path = self.home / f"{whose}.toml"
        path.write_text("".join(f"{name} = {json.dumps(text)}\n" for name, text in own.items()))
        return path

    def order_file(self, text: str = ORDER) -> Path:
        """An order file."""
        path = self.home / "order.toml"
        path.write_text(text)
        return path

    def run(
        self,
        *words: str | Path,
        by: str | None = "olga",
        answer: str | None = None,
        config: Path | None = None,
    ) -> Result:
        """Run a command as a person; ``answer`` is what he types at a terminal."""
        edge = Edge(self.clock, self._sleep, at_terminal=lambda: answer is not None)
        said = [str(word) for word in words]
        if by is not None:
            said += ["--config", str(config or self.config(by))]
        return CliRunner().invoke(main, said, obj=edge, input=answer)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.now += timedelta(seconds=seconds)

    def json(self, *words: str | Path, by: str | None = "olga", code: int = 0) -> dict[str, Any]:
        """Run with ``--json``; the answer, once the exit code is as expected."""
        result = self.run(*words, "--json", by=by)
        assert result.exit_code == code, result.output
        answer: dict[str, Any] = json.loads(result.stdout)
        assert {"outcome", "reason"} <= answer.keys()
        return answer

    def device(self, *words: str | Path, by: str = "olga", code: int = 0) -> dict[str, Any]:
        """An acting ``device`` command with a reason and without a question."""
        return self.json("device", *words, "--reason", "a good one", "--yes", by=by, code=code)

    def act(self, *words: str | Path, by: str = "olga", code: int = 0) -> dict[str, Any]:
        """An acting ``rollout`` command with a reason and without a question."""
        return self.json("rollout", *words, "--reason", "a good one", "--yes", by=by, code=code)


@dataclass(frozen=True)
class Original:
    """What all tests share and none changes: an image repository and key files."""

    store: Path
    home: Path
    writer: ImageWriter


def build(directory: Path, roster: Roster = OPS_ROSTER) -> Original:
    """Make the image repository and everybody's key files."""
    home = directory / "home"
    home.mkdir(parents=True)
    writer = ImageWriter(directory / "store")
    writer.publish(
        1,
        {
            PATH: (IMAGE, facts()),
            f"{PRODUCT}/2.0.0/notes.txt": (b"notes", None),
            "interlock/roster.json": (wire.encode(roster), None),
        },
    )
    (home / "1.root.json").write_bytes(writer.root)
    (home / "passphrase").write_text(PASSPHRASE + "\n")
    (home / "passphrase").chmod(0o600)
    for name in ("olga", "omar", "ada", "hanna", "ellen", "mallory"):
        write_key(home, name)
    return Original(directory / "store", home, writer)


def build_with_older(directory: Path) -> Original:
    """The same, with a release 1.0.0 besides."""
    made = build(directory)
    made.writer.publish(
        2,
        {
            PATH: (IMAGE, facts()),
            OLD_PATH: (OLD, facts("1.0.0", 1)),
            "interlock/roster.json": (wire.encode(OPS_ROSTER), None),
        },
    )
    return made


@contextmanager
def at_work(original: Original, directory: Path) -> Iterator[Place]:
    """An operator's workstation with an honest server."""
    home = directory / "home"
    shutil.copytree(original.home, home)
    clock = Ticking()
    stand_in = StandIn(OPS_ROSTER, clock, original.store)
    served = Served(stand_in)
    try:
        yield Place(home, clock, stand_in, served.url)
    finally:
        served.close()


def write_key(home: Path, name: str) -> None:
    """The key files of the key that follows from a name, at the lowest cost of opening."""
    private = encrypted_keys.encrypted(signer(name), PASSPHRASE, keys.MIN_SCRYPT_N)
    (home / f"{name}.key.json").write_bytes(private)
    (home / f"{name}.pub.json").write_bytes(keys.public_key_file(name, signer(name)))


def told(
    order: Opened[Order], papers: Iterable[Opened[Any]], now: datetime, roster: Roster = ROSTER
) -> Rollout:
    """What an honest server would return at ``now``."""
    stand_in = StandIn(roster, Ticking(now), Path())
    stand_in.post(order, *papers)
    return stand_in.rollout(order)
