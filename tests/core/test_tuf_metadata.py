"""What is believed of TUF metadata that people sign offline."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Metadata, Root, Snapshot, SuccinctRoles, Targets, Timestamp

from interlock_core.errors import ConflictError, InterlockError, RefusedError, WireError
from interlock_core.store import FileStore
from interlock_core.tuf_metadata import (
    MAX_CLOCK_SKEW,
    MAX_LENGTH,
    REHEARSAL,
    issued_of,
    parse_metadata,
    refuse_shared_keys,
    serialise,
    set_issued,
    verify_new_offline,
    verify_root,
)
from tests.core.tuf_world import NOW, World, keys, signed, target_file


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(FileStore(tmp_path), lambda: NOW)
    world.sign_genesis()
    return world


def under_another_id(key: SSlibKey, keyid: str) -> SSlibKey:
    return SSlibKey(keyid, key.keytype, key.scheme, dict(key.keyval))


def verify(
    world: World,
    data: bytes,
    role: str = "gw-a",
    *,
    current: bytes | None = None,
    now: datetime = NOW,
    targets: Targets | None = None,
) -> Metadata[Targets]:
    return verify_new_offline(
        data,
        role,
        root=world.root(),
        targets=targets or (None if role == "targets" else world.targets()),
        current=current,
        now=now,
    )


def product(world: World, version: int = 1, **changes: Any) -> bytes:
    payload = world.role(version, {"gw-a/1.0/image.bin": b"image"})
    for field, value in changes.items():
        setattr(payload, field, value)
    return signed(payload, world.product_keys)


def reason_of(call: Callable[[], object]) -> str:
    with pytest.raises(InterlockError) as refused:
        call()
    return refused.value.reason


# Delegated roles and targets


def test_metadata_signed_by_the_threshold_is_returned(world: World) -> None:
    metadata = verify(world, product(world))
    assert list(metadata.signed.targets) == ["gw-a/1.0/image.bin"]
    assert verify(world, world.signed_targets, "targets").signed.version == 1
    roster = signed(world.role(1, {"interlock/roster.json": b"r"}), world.roster_keys)
    assert list(verify(world, roster, "interlock").signed.targets) == ["interlock/roster.json"]


@pytest.mark.parametrize("which", ["one", "none", "twice", "foreign", "roster"])
def test_metadata_below_its_threshold_is_refused(world: World, which: str) -> None:
    signers = {
        "one": world.product_keys[:1],
        "none": [],
        "twice": [world.product_keys[0], world.product_keys[0]],
        "foreign": keys(2),
        "roster": world.roster_keys,
    }[which]
    payload = world.role(1, {})
    assert reason_of(lambda: verify(world, signed(payload, signers))) == "untrusted_metadata"


def test_an_edit_after_signing_is_refused(world: World) -> None:
    tree = json.loads(product(world))
    tree["signed"]["targets"]["gw-a/1.0/image.bin"]["length"] = 6
    edited = json.dumps(tree).encode()
    assert reason_of(lambda: verify(world, edited)) == "untrusted_metadata"


def test_a_role_that_is_not_delegated_is_refused(world: World) -> None:
    data = product(world)
    assert reason_of(lambda: verify(world, data, "gw-b")) == "untrusted_metadata"
    call = lambda: verify_new_offline(  # noqa: E731  # one expression, called once
        data, "gw-a", root=world.root(), targets=None, current=None, now=NOW
    )
    assert reason_of(call) == "untrusted_metadata"


def test_one_person_under_two_key_ids_is_counted_once(world: World) -> None:
    alice = world.product_keys[0]
    twin_key = under_another_id(alice.public_key, "ab" * 32)
    twin = CryptoSigner(alice._private_key, twin_key)
    targets = world.targets(roles={"gw-a": [alice, twin]})
    data = signed(world.role(1, {}), [alice, twin])
    # python-tuf alone is content:
    parsed = Metadata[Targets].from_bytes(data)
    targets.verify_delegate("gw-a", parsed.signed_bytes, parsed.signatures)
    call = lambda: verify(world, data, targets=targets)  # noqa: E731  # one expression, called once
    assert reason_of(call) == "untrusted_metadata"
    assert reason_of(lambda: refuse_shared_keys(targets)) == "shared_key"
    as_new = signed(targets, world.targets_keys)
    assert reason_of(lambda: verify(world, as_new, "targets")) == "shared_key"


def test_one_key_spelled_twice_is_a_shared_key(world: World) -> None:
    first = CryptoSigner.generate_ecdsa()
    pem = "a comment\n" + first.public_key.keyval["public"]
    second = SSlibKey("cd" * 32, "ecdsa", "ecdsa-sha2-nistp256", {"public": pem})
    targets = world.targets(roles={"gw-a": [first]})
    targets.add_key(second, "gw-a")
    assert reason_of(lambda: refuse_shared_keys(targets)) == "shared_key"


def test_two_roles_may_share_a_key_and_one_role_may_not_lack_keys(world: World) -> None:
    refuse_shared_keys(world.targets(roles={"gw-b": world.product_keys}))
    targets = world.targets()
    assert targets.delegations is not None
    assert targets.delegations.roles is not None
    targets.delegations.roles["gw-a"].threshold = 3
    assert reason_of(lambda: refuse_shared_keys(targets)) == "bad_threshold"
    del targets.delegations.keys[world.product_keys[0].public_key.keyid]
    assert reason_of(lambda: refuse_shared_keys(targets)) == "bad_key"


def test_versions_go_up_one_by_one(world: World) -> None:
    first, second, third = (product(world, version) for version in (1, 2, 3))
    assert verify(world, second, current=first).signed.version == 2
    assert verify(world, second, current=second).signed.version == 2
    assert reason_of(lambda: verify(world, third, current=first)) == "version_gap"
    assert reason_of(lambda: verify(world, first, current=second)) == "rollback"
    assert reason_of(lambda: verify(world, second)) == "version_gap"
    other = signed(world.role(2, {}), world.product_keys)
    with pytest.raises(ConflictError):
        verify(world, other, current=second)


def test_expired_metadata_is_refused(world: World) -> None:
    data = product(world, expires=NOW + timedelta(days=1))
    verify(world, data, now=NOW + timedelta(hours=23))
    later = NOW + timedelta(days=1)
    assert reason_of(lambda: verify(world, data, now=later)) == "expired_metadata"


def test_metadata_from_the_future_is_refused(world: World) -> None:
    payload = world.role(1, {})
    set_issued(payload, NOW + MAX_CLOCK_SKEW)
    verify(world, signed(payload, world.product_keys))
    set_issued(payload, NOW + MAX_CLOCK_SKEW + timedelta(seconds=1))
    data = signed(payload, world.product_keys)
    assert reason_of(lambda: verify(world, data)) == "issued_in_future"


@pytest.mark.parametrize(
    ("role", "path"),
    [
        ("gw-a", "gw-b/1.0/image.bin"),
        ("gw-a", "gw-a/image.bin"),
        ("gw-a", "gw-a/1.0/sub/image.bin"),
        ("gw-a", "gw-a//image.bin"),
        ("gw-a", "interlock/roster.json"),
        ("interlock", "interlock/1/roster.json"),
        ("interlock", "gw-a/1.0/image.bin"),
    ],
)
def test_targets_outside_the_delegation_are_refused(world: World, role: str, path: str) -> None:
    signers = world.product_keys if role == "gw-a" else world.roster_keys
    data = signed(world.role(1, {path: b"x"}), signers)
    assert reason_of(lambda: verify(world, data, role)) == "bad_delegation"


def test_a_product_may_not_delegate_further(world: World) -> None:
    payload = world.role(1, {})
    payload.delegations = world.targets().delegations
    data = signed(payload, world.product_keys)
    assert reason_of(lambda: verify(world, data)) == "bad_delegation"


def test_top_level_targets_only_delegates_as_interlock_does(world: World) -> None:
    def with_(change: Callable[[Targets], None]) -> str:
        payload = world.targets()
        change(payload)
        data = signed(payload, world.targets_keys)
        return reason_of(lambda: verify(world, data, "targets"))

    def roles(payload: Targets) -> Any:
        assert payload.delegations is not None
        return payload.delegations.roles

    def lists(payload: Targets) -> None:
        payload.targets["x"] = target_file("x", b"")

    def succinct(payload: Targets) -> None:
        assert payload.delegations is not None
        payload.delegations.roles = None
        payload.delegations.succinct_roles = SuccinctRoles([], 1, 1, "bin")

    def reserved(payload: Targets) -> None:
        roles(payload)["gw-a"].name = "snapshot"

    def upper(payload: Targets) -> None:
        roles(payload)["gw-a"].name = "GW-A"

    empty = Targets(expires=NOW + timedelta(days=1))
    assert verify(world, signed(empty, world.targets_keys), "targets").signed.targets == {}
    assert with_(lists) == "bad_delegation"
    assert with_(succinct) == "bad_delegation"
    assert with_(reserved) == "malformed"
    assert with_(upper) == "bad_name"
    assert with_(lambda p: setattr(roles(p)["gw-a"], "terminating", False)) == "bad_delegation"
    assert with_(lambda p: setattr(roles(p)["gw-a"], "paths", ["*/*/*"])) == "bad_delegation"
    assert with_(lambda p: setattr(roles(p)["interlock"], "paths", ["*/*"])) == "bad_delegation"


# Roots


def next_root(world: World, signers: list[CryptoSigner] | None = None, version: int = 2) -> bytes:
    return signed(world.root(version), world.root_keys[:2] if signers is None else signers)


def test_the_first_root_is_signed_by_itself(world: World) -> None:
    assert verify_root(world.signed_root, None, NOW).signed.version == 1
    lone = signed(world.root(), world.root_keys[:1])
    assert reason_of(lambda: verify_root(lone, None, NOW)) == "untrusted_metadata"
    later = next_root(world)
    assert reason_of(lambda: verify_root(later, None, NOW)) == "version_gap"


def test_a_new_root_carries_the_old_and_the_new_threshold(world: World) -> None:
    old = world.root_keys
    world.root_keys = keys(3)
    both = next_root(world, [*old[:2], *world.root_keys[:2]])
    assert verify_root(both, world.signed_root, NOW).signed.version == 2
    for signers in (old, world.root_keys, [*old[:1], *world.root_keys], [*old, world.root_keys[0]]):
        data = next_root(world, signers)
        call = lambda data=data: verify_root(data, world.signed_root, NOW)  # noqa: E731
        assert reason_of(call) == "untrusted_metadata"


def test_roots_go_up_one_by_one(world: World) -> None:
    second = next_root(world)
    assert verify_root(second, second, NOW).signed.version == 2
    third = next_root(world, version=3)
    assert reason_of(lambda: verify_root(third, world.signed_root, NOW)) == "version_gap"
    assert reason_of(lambda: verify_root(world.signed_root, second, NOW)) == "rollback"
    other = next_root(world, world.root_keys[1:])
    assert reason_of(lambda: verify_root(other, second, NOW)) == "conflict"


def test_a_root_that_expired_or_lies_in_the_future_is_refused(world: World) -> None:
    later = NOW + timedelta(days=365)
    assert reason_of(lambda: verify_root(world.signed_root, None, later)) == "expired_metadata"
    earlier = NOW - timedelta(hours=1)
    assert reason_of(lambda: verify_root(world.signed_root, None, earlier)) == "issued_in_future"


def test_a_root_with_a_key_under_two_ids_is_refused(world: World) -> None:
    root = world.root()
    root.add_key(under_another_id(world.root_keys[0].public_key, "ab" * 32), "root")
    data = signed(root, world.root_keys)
    assert reason_of(lambda: verify_root(data, None, NOW)) == "shared_key"


def test_nothing_new_lists_a_key_under_the_id_of_another(world: World) -> None:
    """People compare ids: they would see that nothing changed."""
    thief = CryptoSigner.generate_ed25519().public_key
    targets, root = world.targets(), world.root()
    assert targets.delegations is not None
    for listed in (targets.delegations.keys, root.keys):
        keyid = next(iter(listed))
        listed[keyid] = under_another_id(thief, keyid)
    data = signed(targets, world.targets_keys)
    assert reason_of(lambda: verify(world, data, "targets")) == "bad_key"
    other = signed(root, world.root_keys)
    assert reason_of(lambda: verify_root(other, None, NOW)) == "bad_key"


def test_no_role_lists_keys_without_end(world: World) -> None:
    root = world.root()
    for signer in keys(65):
        root.add_key(signer.public_key, "root")
    data = signed(root, world.root_keys)
    assert reason_of(lambda: verify_root(data, None, NOW)) == "bad_delegation"


@pytest.mark.parametrize("field", [True, False, None, "no"])
def test_what_a_rehearsal_made_is_trusted_by_nobody(world: World, field: object) -> None:
    root, targets = world.root(), world.targets()
    for made in (root, targets):
        made.unrecognized_fields[REHEARSAL] = field
    first, second = signed(root, world.root_keys), signed(targets, world.targets_keys)
    assert reason_of(lambda: verify_root(first, None, NOW)) == "rehearsal"
    assert reason_of(lambda: verify(world, second, "targets")) == "rehearsal"
    # A ceremony checks what its own rehearsal made.
    assert verify_root(first, None, NOW, rehearsal=True).signed.version == 1


def test_a_root_without_consistent_snapshots_is_refused(world: World) -> None:
    root = world.root()
    root.consistent_snapshot = False
    with pytest.raises(WireError, match="consistent snapshots"):
        verify_root(signed(root, world.root_keys), None, NOW)


# Form


def test_another_type_is_refused(world: World) -> None:
    with pytest.raises(WireError, match="is root metadata, not targets"):
        parse_metadata(world.signed_root, Targets, what="x")
    for payload in (Snapshot(expires=NOW), Timestamp(expires=NOW)):
        with pytest.raises(WireError, match="not root"):
            parse_metadata(signed(payload, keys(1)), Root, what="x")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version":1', '"version":1,"version":2'),
        ('"version":1', '"version":1.0'),
        ('"version":1', '"version":"1"'),
        ('"version":1', '"version":true'),
        ('"version":1', '"version":0'),
        ('"version":1', '"version":99999999999999999999'),
        ('"_type":"targets"', '"_type":"other"'),
        ('"_type":"targets",', ""),
        ('"spec_version":"1', '"spec_version":"2'),
        ('"signatures":', '"trust":"me","signatures":'),
        ('"expires":"', '"expires":"x'),
        ('"targets":{', '"targets":[{'),
    ],
)
def test_what_is_not_metadata_is_refused(world: World, old: str, new: str) -> None:
    text = product(world).decode()
    assert old in text
    with pytest.raises(WireError):
        parse_metadata(text.replace(old, new, 1).encode(), Targets, what="x")


@pytest.mark.parametrize("odd", [None, 7, True])
@pytest.mark.parametrize("where", ["root", "targets", "name"])
def test_roles_and_keys_are_named_by_texts(world: World, where: str, odd: object) -> None:
    """Nobody has to sign this: it is read before any signature is looked at."""
    top = world.root() if where == "root" else world.targets()
    tree = json.loads(serialise(Metadata(top)))
    if where == "root":
        tree["signed"]["roles"]["timestamp"]["keyids"] = [odd]
    else:
        role = tree["signed"]["delegations"]["roles"][0]
        role["keyids" if where == "targets" else "name"] = [odd] if where == "targets" else odd
    type_: Any = type(top)
    with pytest.raises(WireError, match="metadata"):
        parse_metadata(json.dumps(tree).encode(), type_, what="metadata")


def test_metadata_is_bounded() -> None:
    assert MAX_LENGTH["timestamp"] == 16384
    with pytest.raises(WireError, match="at most"):
        parse_metadata(b" " * (MAX_LENGTH["timestamp"] + 1), Timestamp, what="x")
    with pytest.raises(WireError, match="not JSON"):
        parse_metadata(b" " * MAX_LENGTH["timestamp"], Timestamp, what="x")
    with pytest.raises(WireError, match="nested"):
        parse_metadata(b'{"signed":' + b"[" * 10_000, Timestamp, what="x")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    with pytest.raises(WireError):
        parse_metadata(data, Targets, what="x")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["signed", "signatures", "_type", "version", "targets", "keyid"]),
                inner,
            )
        ),
        max_leaves=20,
    )
)
def test_no_json_crashes_the_reader(tree: object) -> None:
    with pytest.raises(WireError):
        parse_metadata(json.dumps(tree).encode(), Targets, what="x")


def test_serialising_is_stable(world: World) -> None:
    metadata = parse_metadata(world.signed_targets, Targets, what="x")
    assert serialise(metadata) == world.signed_targets


# Issue times


def test_issue_times_are_signed_whole_seconds_in_utc(world: World) -> None:
    payload = world.role(1, {})
    set_issued(payload, datetime(2030, 1, 1, 12, 0, 0, 999, tzinfo=UTC))
    parsed = parse_metadata(signed(payload, keys(1)), Targets, what="x")
    assert parsed.signed.to_dict()["issued"] == "2030-01-01T12:00:00Z"
    assert issued_of(parsed.signed) == NOW
    assert issued_of(Targets(expires=NOW)) is None


@pytest.mark.parametrize(
    "value", [5, True, [], "", "soon", "2030-01-01", "2030-01-01T12:00:00", "20300101T120000Z",
              "2030-13-01T12:00:00Z", "2030-01-01T12:00:00+00:00", "2030-01-01T12:00:00Z\n"]
)  # fmt: skip
def test_what_is_no_issue_time_is_refused(world: World, value: object) -> None:
    payload = world.role(1, {})
    payload.unrecognized_fields["issued"] = value
    with pytest.raises(WireError, match="issued"):
        verify(world, signed(payload, world.product_keys))


def test_refusals_are_refusals(world: World) -> None:
    with pytest.raises(RefusedError):
        verify(world, signed(world.role(1, {}), []))
