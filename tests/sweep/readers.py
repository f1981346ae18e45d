"""Every parser, with something good to make bad things of, and the errors that it may raise."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from interlock_ceremony import script, transcript
from interlock_ceremony.acts import Present
from interlock_ceremony.taken import take
from interlock_client import boot, config, identity, journal, memory, outbox, poll, sealed
from interlock_client.download.record import Record as Download
from interlock_client.identity import Home
from interlock_client.journal import Decisions
from interlock_client.powercut import scenario
from interlock_core import encrypted_keys, keys, store, tuf_metadata, urls, wire
from interlock_core.acts import ACT_STATEMENTS
from interlock_core.api import MAX_BODY, EnrolmentRequest, PublicationRequest
from interlock_core.bundle import read_bundle
from interlock_core.checkpoint import (
    Checkpoint,
    read_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from interlock_core.clock import EPOCH
from interlock_core.decommissioned import Certificate, read_certificate
from interlock_core.delta import encode_header, read_header
from interlock_core.directive import read_directive
from interlock_core.errors import (
    ConfigurationError,
    InterlockError,
    NotFoundError,
    RefusedError,
    SecretError,
    WireError,
)
from interlock_core.exclusion import Exclusion
from interlock_core.genesis import read_fleet
from interlock_core.inventory import read_gateways
from interlock_core.log import Entry, pack, read_entry, statement_fact, unpack, write_entry
from interlock_core.names import check_name, check_product, split_path
from interlock_core.order import ROLLOUT_STATEMENTS
from interlock_core.recall_papers import RECALL_STATEMENTS
from interlock_core.release import Evidence, Permit, facts_of, read_delta, read_image, read_permit
from interlock_core.report import FLEET_STATEMENTS
from interlock_core.roster import read_roster
from interlock_core.statement import (
    PAYLOAD_TYPE,
    Envelope,
    Session,
    open_statement,
    read_envelope,
)
from interlock_core.statement import Signature as StatementSignature
from interlock_core.tuf_metadata import COHORT, parse_metadata, serialise, set_issued
from interlock_ops import order_file, settings
from interlock_ops.taking import text_of
from interlock_repo import as_signed, intent, sbom, signatures, specs
from interlock_repo.event import MAX_EVENT, EventFile
from interlock_server import config as server_config
from interlock_server import releases
from tests.core.test_inventory import fleet as known_gateways
from tests.core.test_inventory import gateway, silent
from tests.core.test_vectors import DOCUMENTS, STATEMENTS
from tests.keys_ceremony.stage import NOW as HELD
from tests.keys_ceremony.stage import SCRIPT
from tests.ops.world import ORDER
from tests.repo_tools.world import CYCLONEDX
from tests.server.world import SERVER_TOML, sign
from tests.support import papers
from tests.support.people import DAY0, FLEET, signer
from tests.vectors import delta

EVERY_STATEMENT: Final = (
    *ROLLOUT_STATEMENTS,
    *RECALL_STATEMENTS,
    *FLEET_STATEMENTS,
    *ACT_STATEMENTS,
    Exclusion,
    Session,
)
Errors = tuple[type[InterlockError], ...]


@dataclass(frozen=True)
class Reader:
    """One parser of bytes.

    Attributes:
        names: the functions that it goes through, by qualified name.
        read: bytes and a scratch directory to a value.
        good: what it takes.
        errors: all that it may raise.
        again: the bytes of a value, where one value has one spelling.
        form: ``json``, ``toml`` or ``other``: how bad ones are made.
    """

    names: tuple[str, ...]
    read: Callable[[bytes, Path], Any]
    good: Callable[[], bytes]
    errors: Errors = (WireError,)
    again: Callable[[Any], bytes] | None = None
    form: str = "json"


def document(name: str) -> Callable[[], bytes]:
    """A golden vector."""
    return lambda: next(one["text"] for one in DOCUMENTS if one["name"] == name).encode()


def _payload(data: bytes, _: Path) -> Any:
    nobody = StatementSignature(keyid="0" * 64, sig="AAAA")
    text = base64.b64encode(data).decode()
    envelope = Envelope(payload=text, payload_type=PAYLOAD_TYPE, signatures=(nobody,))
    return open_statement(envelope, EVERY_STATEMENT)


def _custom(data: bytes, _: Path) -> Any:
    return read_image("gateway/2.0.0/image.img", wire.parse(data, limit=65_536, what="custom"))


def _delta_facts(data: bytes, _: Path) -> Any:
    return read_delta("gateway/2.0.0/x.delta", wire.parse(data, limit=65_536, what="custom"))


def _permit(data: bytes, _: Path) -> Any:
    good = wire.decode(document("permit")(), Permit, limit=65_536, what="permit")
    return read_permit(data, facts_of(good))


@cache
def _metadata(role: str) -> bytes:
    expires = DAY0 + timedelta(days=30)
    made: Any
    match role:
        case "root":
            made = Root(expires=expires)
            for name in ("root", "targets", "snapshot", "timestamp"):
                made.add_key(signer("olga").public_key, name)
        case "timestamp":
            made = Timestamp(expires=expires)
        case "snapshot":
            made = Snapshot(expires=expires, meta={"targets.json": MetaFile(3)})
        case _:
            made = Targets(expires=expires)
    if role in {"timestamp", "snapshot"}:
        made.unrecognized_fields[COHORT] = "canary"
    else:
        set_issued(made, DAY0)
    if role == "product":
        made.targets["gateway/1/x"] = TargetFile(1, {"sha256": "0" * 64}, "gateway/1/x")
    return sign(made, ["olga"])


def metadata(type_: type[Any]) -> Reader:
    """TUF metadata of one type."""
    return Reader(
        ("interlock_core.tuf_metadata.parse_metadata",),
        lambda data, _: parse_metadata(data, type_, what="metadata"),
        lambda: _metadata("product" if type_ is Targets else type_.type),
    )


def _root(data: bytes, _: Path) -> Any:
    return tuf_metadata.verify_root(data, None, DAY0)


def _own_root() -> Root:
    return parse_metadata(_metadata("root"), Root, what="root").signed


def _offline(data: bytes, _: Path) -> Any:
    return tuf_metadata.verify_new_offline(
        data, "targets", root=_own_root(), targets=None, current=None, now=DAY0
    )


def record(type_: type[Any], good: Any) -> Reader:
    """A sealed record of the gateway: any body, under a checksum that is right."""

    def read(data: bytes, _: Path) -> Any:
        digest = wire.sha256_hex(data).encode()
        return sealed.unseal(b'{"body":' + data + b',"sha256":"' + digest + b'"}\n', type_)

    return Reader(("interlock_client.sealed.unseal",), read, lambda: wire.encode(good))


def _written(name: str, read: Callable[[Path], Any]) -> Callable[[bytes, Path], Any]:
    def written(data: bytes, scratch: Path) -> Any:
        path = scratch / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return read(path)

    return written


def _private(path: Path) -> Any:
    return keys.load_signer(path, lambda _: "x", signer("olga").public_key)


@cache
def _key_file() -> bytes:
    # The password is made without scrypt here (``haste``).
    return encrypted_keys.encrypted(signer("olga"), "x", keys.MIN_SCRYPT_N)


def _spec(name: str, type_: type[Any]) -> Reader:
    sample = resources.files("interlock_repo") / "samples" / f"{name}.toml"
    return Reader(
        ("interlock_repo.specs.parse_spec",),
        lambda data, _: specs.parse_spec(data, type_, what="x.toml"),
        sample.read_bytes,
        (ConfigurationError,),
        form="toml",
    )


@cache
def _transcript() -> bytes:
    entries: list[transcript.Entry] = []
    for name in ("alice", "bob"):
        act = Present(person=name, name=name.title(), parts=("holder",))
        entries.append(transcript.next_entry(entries[-1] if entries else None, HELD, act))
    return transcript.signed(entries, {"alice-image-root": signer("alice")})


@cache
def _signature() -> bytes:
    text = {
        "type": "urn:interlock:signature:v1",
        "role": "gateway",
        "event_sha256": "2" * 64,
        "metadata_sha256": "0" * 64,
        "keyid": "1" * 64,
        "sig": "ab",
        "person": "rosa",
        "meaning": "approved",
        "at": "2027-03-01T08:00:00Z",
        "reason": "run 118",
        "record_sig": "cd",
    }
    return wire.encode(text)


def _certificate() -> bytes:
    gone = papers.enrolment()
    return wire.encode(
        Certificate(
            statement=papers.decommission(gone).envelope,
            enrolment=gone.envelope,
            report=None,
            roots=(_metadata("root").decode(),),
            targets="{}",
            interlock="{}",
            roster="{}",
        )
    )


def _entry() -> bytes:
    fact = statement_fact("urn:interlock:order:v1", "0" * 64, b"an envelope")
    return write_entry(Entry(number=7, at=DAY0, fact=fact))


def _event(metadata_sha256: str = "0" * 64) -> bytes:
    return wire.encode(
        EventFile(
            kind="delegations",
            role="targets",
            version=2,
            metadata_sha256=metadata_sha256,
            spec_sha256="3" * 64,
            base={"1.root.json": "1" * 64},
        )
    )


def _intent() -> bytes:
    spec = specs.DelegationsSpec()
    return wire.encode(intent.intent_of(spec, 30, {"rosa.pub.json": "{}"}))


@cache
def _as_signed() -> bytes:
    metadata = Metadata(Targets(expires=DAY0))
    event = _event(wire.sha256_hex(metadata.signed_bytes)).decode()
    copy = as_signed.AsSigned(event=event, metadata=serialise(metadata).decode(), shown={})
    return wire.encode(copy)


def _digest_of_event() -> str:
    text: str = json.loads(_as_signed())["event"]
    return wire.sha256_hex(text.encode())


def _sample(package: str, name: str) -> Callable[[], bytes]:
    return (resources.files(package) / "samples" / name).read_bytes


def _decision() -> bytes:
    verdict = {"outcome": "refused", "reason": "superseded_order", "detail": "x"}
    checks = [{"rule": "a rule", "passed": False, "detail": ""}]
    entry = {"at": "x", "phase": "install", "verdict": verdict, "checks": checks}
    return json.dumps(entry).encode()


def _text(read: Callable[[str], Any]) -> Callable[[bytes, Path], Any]:
    return lambda data, _: read(data.decode(errors="surrogateescape"))


FAULTS: Final = (ConfigurationError, NotFoundError)
REFUSED: Final = (RefusedError, WireError)
CORE: Final = "interlock_core."

READERS: Final[dict[str, Reader]] = {
    "JSON": Reader(
        (f"{CORE}wire.parse",),
        lambda data, _: wire.parse(data, limit=65_536, what="value"),
        document("roster"),
        again=None,
    ),
    "an envelope": Reader(
        (f"{CORE}statement.read_envelope", f"{CORE}wire.decode"),
        lambda data, _: read_envelope(data),
        STATEMENTS[0]["envelope"].encode,
    ),
    **{
        f"a statement: {one['name']}": Reader(
            (),
            _payload,
            lambda one=one: one["payload"].encode(),  # type: ignore[misc]  # bound here, not later
            again=lambda opened: opened.payload,
        )
        for one in STATEMENTS
    },
    "a roster": Reader(
        (f"{CORE}roster.read_roster", f"{CORE}wire.decode_canonical"),
        lambda data, _: read_roster(data),
        document("roster"),
        again=wire.encode,
    ),
    "a directive": Reader(
        (f"{CORE}directive.read_directive",),
        lambda data, _: read_directive(data),
        document("directive"),
        again=wire.encode,
    ),
    "a bundle": Reader(
        (f"{CORE}bundle.read_bundle",), lambda data, _: read_bundle(data), document("bundle")
    ),
    "an image's facts": Reader((), _custom, document("image")),
    "a piece of evidence": Reader(
        (), lambda d, _: wire.decode(d, Evidence, limit=65_536, what="x"), document("evidence")
    ),
    "a permit": Reader(
        (), lambda d, _: wire.decode(d, Permit, limit=65_536, what="x"), document("permit")
    ),
    "a permit by its facts": Reader(
        (f"{CORE}release.read_permit",), _permit, document("permit"), again=wire.encode
    ),
    "a delta's facts": Reader((), _delta_facts, document("delta")),
    "the header of a delta": Reader(
        (f"{CORE}delta.read_header",),
        lambda data, _: read_header(data, delta.facts_of(data)),
        lambda: delta.BYTES,
        again=encode_header,
        form="other",
    ),
    "a certificate of a device's end": Reader(
        (f"{CORE}decommissioned.read_certificate",),
        lambda data, _: read_certificate(data),
        _certificate,
        again=wire.encode,
    ),
    "fleet.json": Reader(
        (f"{CORE}genesis.read_fleet",), lambda data, _: read_fleet(data), document("fleet")
    ),
    "a public key": Reader(
        (f"{CORE}keys.parse_public_key",),
        lambda data, _: keys.parse_public_key(data),
        document("public key file"),
    ),
    "a private key": Reader(
        (),
        _written("x.key.json", _private),
        _key_file,
        (WireError, SecretError, ConfigurationError),
    ),
    "the handle of a key in a token": Reader(
        (f"{CORE}tokens.read_uri",),
        _written("x.key.json", keys.home_of),
        lambda: wire.encode({"format": "interlock token key v1", "uri": "hsm:2?label=alice"}),
        (WireError, ConfigurationError),
    ),
    "an inventory of gateways": Reader(
        (f"{CORE}inventory.read_gateways",),
        lambda data, _: read_gateways(data),
        lambda: wire.encode(known_gateways(gateway("A"), silent("B"))),
        again=wire.encode,
    ),
    **{f"{type_.type} metadata": metadata(type_) for type_ in (Root, Timestamp, Snapshot, Targets)},
    "a new root": Reader(
        (f"{CORE}tuf_metadata.verify_root",), _root, lambda: _metadata("root"), REFUSED
    ),
    "new offline metadata": Reader(
        (f"{CORE}tuf_metadata.verify_new_offline",), _offline, lambda: _metadata("targets"), REFUSED
    ),
    "top-level targets": Reader(
        (f"{CORE}tuf_metadata.verify_targets",),
        lambda data, _: tuf_metadata.verify_targets(data, _own_root(), DAY0),
        lambda: _metadata("targets"),
        REFUSED,
    ),
    "targets that a ceremony takes": Reader(
        ("interlock_ceremony.taken.take",),
        lambda data, _: take(data, _own_root(), (0, "")),
        lambda: _metadata("targets"),
        REFUSED,
    ),
    "a publication": Reader(
        (),
        lambda d, _: wire.decode(d, PublicationRequest, limit=MAX_BODY, what="x"),
        lambda: wire.encode({"metadata": {"gateway": "{}"}}),
    ),
    "an enrolment request": Reader(
        (),
        lambda d, _: wire.decode(d, EnrolmentRequest, limit=MAX_BODY, what="x"),
        lambda: wire.encode(
            {"claim": "x" * 40, "enrolment": json.loads(STATEMENTS[12]["envelope"])}
        ),
    ),
    # The gateway
    "a gateway's settings": Reader(
        (),
        _written("gateway.toml", config.load),
        _sample("interlock_client", "gateway.toml"),
        FAULTS,
        form="toml",
    ),
    "a gateway's installer": Reader(
        (),
        _written("gateway.toml", config.load_installer),
        _sample("interlock_client", "gateway.toml"),
        FAULTS,
        form="toml",
    ),
    "a power cut scenario": Reader(
        (),
        _written("power-cuts.toml", scenario.load),
        _sample("interlock_client", "power-cuts.toml"),
        FAULTS,
        form="toml",
    ),
    "a sealed record": Reader(
        ("interlock_client.sealed.unseal",),
        lambda data, _: sealed.unseal(data, memory.Memory),
        lambda: sealed.seal(memory.Memory()),
    ),
    "the memory": record(memory.Memory, memory.Memory(versions={"image/root": 3})),
    "the journal": record(journal.Journal, journal.Journal()),
    "the boot state": record(boot.BootState, boot.BootState()),
    "a poll record": record(poll.Seen, poll.Seen(url="x", etag="y", sha256="z")),
    "a record of trouble": record(poll.Trouble, poll.Trouble(reason="x", since=EPOCH, polls=1)),
    "the last report": record(outbox.Sent, outbox.Sent()),
    "a record of a download": record(
        Download, Download(sha256="x", length=2, place="y", order="z", wrong_at=EPOCH)
    ),
    "a decision": Reader(
        (),
        _written("decisions/0000000001.json", lambda path: Decisions(path.parent).newest()),
        _decision,
    ),
    "a device key": Reader(
        (),
        _written("device.key.pem", lambda path: identity.signer(Home(path.parent))),
        lambda: signer("olga").private_bytes,
        (RefusedError,),
        form="other",
    ),
    # The server
    "a server's settings": Reader(
        (),
        _written("server.toml", server_config.load_settings),
        SERVER_TOML.encode,
        FAULTS,
        form="toml",
    ),
    "a roster to be published": Reader(
        ("interlock_server.releases.check_roster",),
        lambda data, _: releases.check_roster(data, None, fleet=FLEET, now=DAY0),
        document("roster"),
        (RefusedError,),
    ),
    # The log
    "a log entry": Reader(
        ("interlock_core.log.read_entry",),
        lambda data, _: read_entry(data),
        _entry,
        again=write_entry,
    ),
    "a bundle of the log": Reader(
        ("interlock_core.log.unpack",),
        lambda data, _: unpack(data),
        lambda: pack([_entry(), b"x"]),
        again=pack,
        form="other",
    ),
    "a checkpoint": Reader(
        ("interlock_ops.taking.text_of",),
        lambda data, _: read_checkpoint(text_of(data)),
        lambda: sign_checkpoint(Checkpoint("fleet/log", 7, b"r" * 32), signer("olga")).encode(),
        form="other",
    ),
    "a checkpoint, believed": Reader(
        (),
        lambda data, _: verify_checkpoint(text_of(data), "fleet/log", signer("olga").public_key),
        lambda: sign_checkpoint(Checkpoint("fleet/log", 7, b"r" * 32), signer("olga")).encode(),
        (WireError, RefusedError),
        form="other",
    ),
    # The operators
    "an operator's settings": Reader(
        ("interlock_ops.order_file.read_toml",),
        _written("ops.toml", lambda path: settings.load(path, {})),
        _sample("interlock_ops", "ops.toml"),
        FAULTS,
        form="toml",
    ),
    "an order": Reader(
        ("interlock_ops.order_file.read_order_file",),
        lambda data, _: order_file.read_order_file(data, DAY0),
        ORDER.encode,
        (ConfigurationError,),
        form="toml",
    ),
    # The release managers
    "a release": _spec("release", specs.ReleaseSpec),
    "delegations": _spec("delegations", specs.DelegationsSpec),
    "a roster as people write it": _spec("roster", specs.RosterSpec),
    "an SBOM": Reader(
        ("interlock_repo.sbom.sbom_format",),
        lambda data, _: sbom.sbom_format(data, what="x"),
        lambda: json.dumps(CYCLONEDX).encode(),
        (RefusedError,),
    ),
    "a signature": Reader(
        ("interlock_repo.signatures.parse_signature",),
        lambda data, _: signatures.parse_signature(data, what="x"),
        _signature,
        again=wire.encode,
    ),
    "an event": Reader(
        (),
        lambda data, _: wire.decode_canonical(data, EventFile, limit=MAX_EVENT, what="x"),
        _event,
        again=wire.encode,
    ),
    "the specification in an event": Reader(
        ("interlock_repo.intent.parse_intent",),
        lambda data, _: intent.parse_intent(data, what="x"),
        _intent,
        again=wire.encode,
    ),
    "a copy of what was signed": Reader(
        ("interlock_repo.as_signed.parse_as_signed",),
        lambda data, _: as_signed.parse_as_signed(data, _digest_of_event(), what="x"),
        _as_signed,
        (WireError, RefusedError),
    ),
    # The key holders
    "a ceremony's script": Reader(
        ("interlock_ceremony.script.parse",),
        lambda data, _: script.parse(data, what="x.toml"),
        SCRIPT.encode,
        (script.ScriptError,),
        form="toml",
    ),
    "a transcript": Reader(
        ("interlock_ceremony.transcript.read",),
        lambda data, _: transcript.read(data),
        _transcript,
        REFUSED,
        again=wire.encode,
    ),
    # Words
    **{
        f"the word of {read.__name__}": Reader(
            (f"{read.__module__}.{read.__name__}",),
            _text(read),
            good.encode,
            errors,
            again=lambda text: str(text).encode(errors="surrogateescape"),
            form="other",
        )
        for read, good, errors in (
            (check_product, "gateway", (WireError,)),
            (urls.check_proxy, "http://proxy:80", (ConfigurationError,)),
            (store.check_key, "image/metadata/1.root.json", (WireError,)),
        )
    },
    "a server's URL": Reader(
        (f"{CORE}urls.check_url",),
        _text(urls.check_url),
        b"https://updates.example.org:8443/x".strip,
        (ConfigurationError,),
        form="other",
    ),
    "a cohort": Reader(
        (f"{CORE}names.check_name",),
        _text(lambda text: check_name(text, "cohort")),
        b"st-anna".strip,
        form="other",
    ),
    "a target's path": Reader(
        (f"{CORE}names.split_path",),
        _text(split_path),
        b"gateway/1.0.0/fw.img".strip,
        again=lambda parts: "/".join(parts).encode(),
        form="other",
    ),
    "an address": Reader(
        ("interlock_server.config.read_address",),
        _text(lambda text: server_config.read_address(text, "listen")),
        b"[::1]:8080".strip,
        (ConfigurationError,),
        form="other",
    ),
}

ELSEWHERE: Final = {
    "interlock_client.executable.last_line": "reads nothing: any bytes have a last line",
    "interlock_ceremony.audit.audit": "tests/keys_ceremony/test_audit.py",
    "interlock_core.tree.leaf_hash": "reads nothing",
    "interlock_core.tree.verify_inclusion": "tests/core/test_tree.py",
    "interlock_core.wire.sha256_hex": "reads nothing",
    "interlock_repo.frames.frame_of": "tests/repo_tools/test_frames.py",
    "interlock_repo.frames.output_of": "tests/repo_tools/test_frames.py",
}
"""What takes bytes, and where else it is given any."""
