"""The golden vectors, re-made byte for byte, and read by a hand that shares no code with core."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from backports import zstd
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from interlock_core import keys, wire
from interlock_core.acts import ACT_STATEMENTS
from interlock_core.bundle import read_bundle
from interlock_core.delta import MAGIC, read_header
from interlock_core.directive import read_directive
from interlock_core.errors import WireError
from interlock_core.exclusion import Exclusion
from interlock_core.genesis import read_fleet
from interlock_core.order import ROLLOUT_STATEMENTS
from interlock_core.recall_papers import RECALL_STATEMENTS
from interlock_core.release import Evidence, Permit, read_delta, read_image
from interlock_core.report import FLEET_STATEMENTS
from interlock_core.roster import read_roster
from interlock_core.statement import (
    PAYLOAD_TYPE,
    Envelope,
    Session,
    open_statement,
    read_envelope,
)
from tests.support.decisions import NEW
from tests.vectors import delta
from tests.vectors.make import HERE, vectors
from tests.vectors.refused import SIGNATURE, SMALL_LIMIT

EVERY_TYPE = (
    *ROLLOUT_STATEMENTS,
    *RECALL_STATEMENTS,
    *FLEET_STATEMENTS,
    *ACT_STATEMENTS,
    Exclusion,
    Session,
)


def load(name: str) -> Any:
    return json.loads((HERE / name).read_text())


STATEMENTS = load("statements.json")
DOCUMENTS = load("documents.json")
PLACEMENT = load("placement.json")
REFUSED = load("refused.json")
KEYS = {key["name"]: key for key in load("keys.json")}


def canonical(value: Any) -> bytes:
    """Keys sorted, no white space, UTF-8, by the standard library."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def test_the_committed_vectors_are_what_the_generator_makes() -> None:
    made = vectors()
    assert {path.name for path in HERE.glob("*.json")} == set(made)
    for name, content in made.items():
        assert (HERE / name).read_bytes() == content, name


@pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: str(key["name"]))
def test_a_key_follows_from_its_seed(key: Any) -> None:
    public = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key["seed"])).public_key()
    said = json.loads(key["public_key"])
    assert said["keyval"]["public"] == public.public_bytes_raw().hex()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert spki.hex() == key["der"]
    # TUF's key id: the digest of the key's canonical form without the id itself.
    assert said.pop("keyid") == hashlib.sha256(canonical(said)).hexdigest()


@pytest.mark.parametrize("vector", STATEMENTS, ids=lambda vector: str(vector["name"]))
def test_a_statement_is_canonical_and_signed_by_its_author(vector: Any) -> None:
    payload = vector["payload"].encode()
    assert canonical(json.loads(payload)) == payload
    assert hashlib.sha256(payload).hexdigest() == vector["id"]
    envelope = json.loads(vector["envelope"])
    assert canonical(envelope) == vector["envelope"].encode()
    assert base64.b64decode(envelope["payload"]) == payload
    kind = b"application/vnd.in-toto+json"
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    names = [*vector.get("also", []), vector["key"]]
    for name, signature in zip(names, envelope["signatures"], strict=True):
        key = json.loads(KEYS[name]["public_key"])
        assert signature["keyid"] == key["keyid"]
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key["keyval"]["public"]))
        public.verify(base64.b64decode(signature["sig"]), signed)


@pytest.mark.parametrize("vector", STATEMENTS, ids=lambda vector: str(vector["name"]))
def test_a_statement_is_read(vector: Any) -> None:
    opened = open_statement(read_envelope(vector["envelope"].encode()), EVERY_TYPE)
    assert opened.id == vector["id"]
    assert opened.said.author == vector["key"]


def test_every_statement_has_a_vector() -> None:
    shown = {json.loads(vector["payload"])["predicateType"] for vector in STATEMENTS}
    assert shown == {type_.PREDICATE for type_ in EVERY_TYPE}
    goes = [json.loads(v["payload"])["predicate"] for v in STATEMENTS if v["name"][:3] == "go,"]
    assert {go["act"] for go in goes} == {"open", "renew", "resume"}


@pytest.mark.parametrize("vector", DOCUMENTS, ids=lambda vector: str(vector["name"]))
def test_a_document_is_canonical_and_read(vector: Any) -> None:
    data = vector["text"].encode()
    assert canonical(json.loads(data)) == data
    assert (len(data), hashlib.sha256(data).hexdigest()) == (vector["length"], vector["sha256"])
    assert wire.encode(READERS[vector["name"].partition(",")[0]](data)) == data


@pytest.mark.parametrize("vector", PLACEMENT["placement"])
def test_placement_is_worked_out_by_hand(vector: Any) -> None:
    wanted, device = bytes.fromhex(vector["digest"]), vector["device"].encode()
    text = b"interlock placement v1\0\0\0\x20" + wanted + b"\0\0\0" + bytes([len(device)]) + device
    assert text.hex() == vector["hashed"]
    assert hashlib.sha256(text).hexdigest() == vector["sha256"]
    assert int(vector["sha256"][:16], 16) % 10_000 == vector["point"]
    for share, inside in vector["inside"].items():
        assert inside == (vector["point"] < int(share))


@pytest.mark.parametrize("vector", PLACEMENT["spread"])
def test_the_spread_is_worked_out_by_hand(vector: Any) -> None:
    order, device = bytes.fromhex(vector["order"]), vector["device"].encode()
    text = b"interlock spread v1\0\0\0\x20" + order + b"\0\0\0" + bytes([len(device)]) + device
    assert text.hex() == vector["hashed"]
    assert hashlib.sha256(text).hexdigest() == vector["sha256"]
    assert int(vector["sha256"][:16], 16) % (vector["spread_seconds"] + 1) == vector["offset"]


def _read_payload(data: bytes) -> object:
    payload = base64.b64encode(data).decode()
    tree = {"payload": payload, "payloadType": PAYLOAD_TYPE, "signatures": [SIGNATURE]}
    return open_statement(wire.convert(tree, Envelope, what="envelope"), EVERY_TYPE).said


def _read_custom(data: bytes) -> object:
    return read_image(NEW.path, wire.parse(data, limit=SMALL_LIMIT, what="custom"))


def _read_envelope(data: bytes) -> object:
    return open_statement(read_envelope(data), EVERY_TYPE).said


def _read_delta_header(data: bytes) -> object:
    header = MAGIC + data + b"\n"
    return read_header(header, delta.facts_of(header))


def _public_key_file(data: bytes) -> object:
    keys.parse_public_key(data)
    return wire.parse(data, limit=SMALL_LIMIT, what="public key file")


READERS: dict[str, Callable[[bytes], object]] = {
    "json": lambda data: wire.parse(data, limit=SMALL_LIMIT, what="value"),
    "payload": _read_payload,
    "envelope": _read_envelope,
    "roster": read_roster,
    "directive": read_directive,
    "bundle": read_bundle,
    "image": _read_custom,
    "evidence": lambda d: wire.decode_canonical(d, Evidence, limit=SMALL_LIMIT, what="custom"),
    "permit": lambda d: wire.decode_canonical(d, Permit, limit=SMALL_LIMIT, what="permit"),
    "delta": lambda d: read_delta(NEW.path, wire.parse(d, limit=SMALL_LIMIT, what="custom")),
    "delta header": _read_delta_header,
    "fleet": read_fleet,
    "public key file": _public_key_file,
}


@pytest.mark.parametrize("vector", REFUSED, ids=lambda v: f"{v['reader']}: {v['why']}")
def test_what_is_malformed_is_refused_for_its_reason(vector: Any) -> None:
    data = (
        base64.b64decode(vector["base64"]) if "base64" in vector else vector["text"].encode()
    ).ljust(vector.get("padded_to", 0))
    with pytest.raises(WireError) as caught:
        READERS[vector["reader"]](data)
    assert vector["says"] in str(caught.value)


def test_refused_vectors_differ_from_accepted_ones_by_one_thing() -> None:
    """Each reader accepts something: what it refuses, it refuses for the reason given."""
    accepted = {vector["name"] for vector in DOCUMENTS} | {"json", "payload", "envelope"}
    assert {vector["reader"] for vector in REFUSED} <= accepted
    assert len({(vector["reader"], vector["why"]) for vector in REFUSED}) == len(REFUSED)


def test_the_documented_placement_is_the_first_vector() -> None:
    vector = PLACEMENT["placement"][0]
    documented = (HERE.parents[1] / "docs" / "wire-format.md").read_text().split("## 10.")[1]
    assert vector["digest"] in documented
    lines = documented.split("```")[1].splitlines()[1:4]
    assert "".join(line[8:81] for line in lines).replace(" ", "") == vector["hashed"]
    assert f"{vector['sha256'][:16]} {vector['sha256'][16:]}\n" in documented
    assert f"modulo 10,000 = {vector['point']:,}: outside" in documented


class TestDelta:
    """Put together with json, hashlib and libzstd alone."""

    delta = load("delta.json")

    def test_the_header_is_signed_and_names_both_images(self) -> None:
        data, facts = self.delta["header"].encode(), self.delta["facts"]
        assert len(data) == facts["header_length"]
        assert hashlib.sha256(data).hexdigest() == facts["header_sha256"]
        magic, text, rest = data.split(b"\n")
        assert (magic, rest) == (b"interlock delta v1", b"")
        header = json.loads(text)
        assert canonical(header) == text
        for which, key in (("old", "from_sha256"), ("new", "to_sha256")):
            image = self.delta[which].encode()
            assert header[which] == {"length": len(image), "sha256": facts[key]}
            assert hashlib.sha256(image).hexdigest() == facts[key]

    def test_the_frames_give_the_new_image(self) -> None:
        header = json.loads(self.delta["header"].split("\n")[1])
        old, new = self.delta["old"].encode(), b""
        for text, frame in zip(self.delta["frames"], header["frames"], strict=True):
            data = base64.b64decode(text)
            assert (len(data), hashlib.sha256(data).hexdigest()) == (
                frame["length"],
                frame["sha256"],
            )
            prefix = b"".join(old[start : start + length] for start, length in frame["prefix"])
            known = zstd.ZstdDict(prefix, is_raw=True).as_prefix if prefix else None
            output = zstd.decompress(data, zstd_dict=known)
            assert hashlib.sha256(output).hexdigest() == frame["output_sha256"]
            new += output
        assert new == self.delta["new"].encode()


class TestLog:
    """Read with hashlib and cryptography alone."""

    log = load("log.json")

    def test_leaves_and_the_bundle_are_the_bytes_of_the_entries(self) -> None:
        bundle = b""
        for number, one in enumerate(self.log["entries"]):
            data = one["text"].encode()
            assert json.loads(data)["number"] == number
            assert hashlib.sha256(b"\x00" + data).hexdigest() == one["leaf"]
            bundle += len(data).to_bytes(2, "big") + data
        assert bundle.hex() == self.log["bundle"]

    def test_roots_follow_from_the_leaves(self) -> None:
        leaves = [bytes.fromhex(one["leaf"]) for one in self.log["entries"]]
        for number, one in enumerate(self.log["entries"], 1):
            assert merkle(leaves[:number]).hex() == one["root"]

    def test_a_proof_leads_from_a_leaf_to_the_root(self) -> None:
        for one in self.log["inclusion"]:
            # Of eight leaves every path is whole: left or right by each bit of the number.
            node = bytes.fromhex(self.log["entries"][one["number"]]["leaf"])
            for level, text in enumerate(one["hashes"]):
                pair = (node, bytes.fromhex(text))
                left, right = reversed(pair) if one["number"] >> level & 1 else pair
                node = hashlib.sha256(b"\x01" + left + right).digest()
            assert node.hex() == self.log["entries"][-1]["root"]

    def test_the_checkpoint_is_signed_by_the_log(self) -> None:
        text, _, tail = self.log["checkpoint"].rpartition("\n\n")
        origin, size, root = text.split("\n")
        assert (int(size), base64.b64decode(root).hex()) == (8, self.log["entries"][-1]["root"])
        _, name, blob = tail.rstrip("\n").split(" ")
        public, raw = bytes.fromhex(self.log["log_key"]), base64.b64decode(blob)
        assert name == origin
        assert raw[:4] == hashlib.sha256(f"{origin}\n".encode() + b"\x01" + public).digest()[:4]
        Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], f"{text}\n".encode())


def merkle(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + merkle(leaves[:k]) + merkle(leaves[k:])).digest()
