"""Entries and bundles; and what an audit names, however the entries were changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_core import wire
from interlock_core.checkpoint import Checkpoint, sign_checkpoint
from interlock_core.errors import WireError
from interlock_core.log import (
    BUNDLE,
    Entry,
    metadata_fact,
    pack,
    read_entry,
    state_fact,
    statement_fact,
    transition_fact,
    unpack,
    write_entry,
)
from interlock_core.log_audit import Finding, Seen, audit, hold_against, names_of, transitions
from interlock_core.tree import Tree, leaf_hash
from tests.support.people import DAY0, signer

ORIGIN = "fleet/log"
SIZE = 12


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def entry(number: int, word: str = "") -> bytes:
    fact = statement_fact("urn:interlock:order:v1", digest(f"{word}{number}"), b"envelope")
    return write_entry(Entry(number=number, at=DAY0 + timedelta(seconds=number), fact=fact))


ENTRIES = [entry(number) for number in range(SIZE)]
HASHES = [leaf_hash(one) for one in ENTRIES]
TREE = Tree.of(HASHES)
SAID = Checkpoint(ORIGIN, SIZE, TREE.root())


def found(
    entries: Sequence[bytes], hashes: Sequence[bytes] = HASHES
) -> list[tuple[str, int | None]]:
    findings = audit(entries, hashes, SAID, names_of(ENTRIES, {}))
    assert all(str(one.number) in one.detail for one in findings if one.number is not None)
    return [(one.reason, one.number) for one in findings]


def test_entries_as_they_were_logged() -> None:
    assert found(ENTRIES) == []
    assert found(ENTRIES, []) == []


CHANGED = {
    "edited": ([*ENTRIES[:4], entry(4, "x"), *ENTRIES[5:]], [("edited_entry", 4)]),
    "edited into nonsense": ([*ENTRIES[:4], b"{}", *ENTRIES[5:]], [("edited_entry", 4)]),
    "deleted": ([*ENTRIES[:4], *ENTRIES[5:]], [("deleted_entry", 4)]),
    "the first deleted": (ENTRIES[1:], [("deleted_entry", 0)]),
    "two deleted": (
        [*ENTRIES[:4], *ENTRIES[6:]],
        [("deleted_entry", 4), ("deleted_entry", 5)],
    ),
    "moved to the front": ([ENTRIES[7], *ENTRIES[:7], *ENTRIES[8:]], [("reordered_entry", 7)]),
    "the last one moved": ([*ENTRIES[:2], ENTRIES[11], *ENTRIES[2:11]], [("reordered_entry", 11)]),
    "cut off": (ENTRIES[:11], [("truncated_log", 11)]),
    "moved and another edited": (
        [ENTRIES[7], *ENTRIES[:4], entry(4, "x"), *ENTRIES[5:7], *ENTRIES[8:]],
        [("reordered_entry", 7), ("edited_entry", 4)],
    ),
}


@pytest.mark.parametrize("what", CHANGED)
def test_what_was_changed_is_named(what: str) -> None:
    entries, wanted = CHANGED[what]
    assert found(entries) == wanted


def test_what_was_put_in_is_named() -> None:
    assert [reason for reason, _ in found([*ENTRIES[:3], entry(30), *ENTRIES[3:]])] == [
        "inserted_entry"
    ]
    assert [reason for reason, _ in found([*ENTRIES, ENTRIES[5]])] == ["inserted_entry"]


def test_two_that_changed_places() -> None:
    entries = [*ENTRIES[:4], ENTRIES[5], ENTRIES[4], *ENTRIES[6:]]
    ((reason, number),) = found(entries)
    assert reason == "reordered_entry"
    assert number in {4, 5}


def test_all_of_it_cut_off() -> None:
    assert found([]) == [("truncated_log", number) for number in range(SIZE)]
    assert found([], []) == [("truncated_log", 0)]


@pytest.mark.parametrize("what", [name for name in CHANGED if name != "edited"])
def test_without_hashes_the_numbers_inside_name_it(what: str) -> None:
    entries, wanted = CHANGED[what]
    named = found(entries, [])
    assert named
    # An edit that keeps the number needs the hashes, or a record, to be named.
    assert {one for one in wanted if one[0] != "edited_entry" or "nonsense" in what} <= set(named)


def test_hashes_that_were_changed_too_are_not_believed() -> None:
    entries = [*ENTRIES[:4], entry(4, "x"), *ENTRIES[5:]]
    assert found(entries, [leaf_hash(one) for one in entries]) == [("edited_entry", None)]


@given(st.lists(st.integers(0, SIZE - 1), max_size=SIZE + 3), st.booleans())
def test_nothing_but_the_log_itself_passes(order: list[int], hashed: bool) -> None:
    entries = [ENTRIES[number] for number in order]
    named = found(entries, HASHES if hashed else [])
    assert (named == []) == (entries == ENTRIES)


def signed_by_the_log(entries: Sequence[bytes]) -> str:
    tree = Tree.of([leaf_hash(one) for one in entries])
    return sign_checkpoint(Checkpoint(ORIGIN, tree.size, tree.root()), signer("log"))


def against(*notes: str) -> tuple[list[Finding], int]:
    seen = [Seen(f"Entry {n} (a stop by olga)", n, note) for n, note in enumerate(notes)]
    held = hold_against(TREE, SAID, seen, [signer("log").public_key])
    assert held.strange == []
    return held.findings, held.intact


def test_any_two_checkpoints_agree() -> None:
    assert against(*(signed_by_the_log(ENTRIES[:n]) for n in range(SIZE + 1))) == ([], SIZE)


def test_a_log_with_two_faces_is_named_with_whoever_saw_it() -> None:
    other = [*ENTRIES[:4], entry(4, "x")]
    (finding,), intact = against(signed_by_the_log(ENTRIES[:3]), signed_by_the_log(other))
    assert (finding.reason, finding.number, intact) == ("log_fork", 1, 3)
    assert "a stop by olga" in finding.detail


def test_a_log_that_was_longer_once() -> None:
    longer = signed_by_the_log([*ENTRIES, entry(SIZE), entry(SIZE + 1)])
    (finding,), _ = against(longer)
    assert finding.reason == "truncated_log"
    assert "entries 12 to 13" in finding.detail


def test_what_was_carried_and_is_no_checkpoint() -> None:
    forged = sign_checkpoint(SAID, signer("mallory"))
    findings, intact = against(forged, "nonsense")
    assert [one.reason for one in findings] == ["bad_checkpoint"] * 2
    assert intact == 0


def test_what_a_device_was_shown_is_evidence_by_the_logs_signature_alone() -> None:
    fork = signed_by_the_log([*ENTRIES[:4], entry(4, "x")])
    forged = sign_checkpoint(SAID, signer("mallory"))
    longer = signed_by_the_log([*ENTRIES, entry(SIZE)])
    good = signed_by_the_log(ENTRIES[:6])
    notes = (forged, fork, longer, "nonsense", good)
    seen = [Seen(f"Report {n}", n, note, testimony=True) for n, note in enumerate(notes)]
    held = hold_against(TREE, SAID, seen, [signer("log").public_key])
    assert [(one.reason, one.number) for one in held.findings] == [
        ("log_fork", 1),
        ("truncated_log", 2),
    ]
    assert held.intact == 6
    assert [text.split(" was shown")[0] for text in held.strange] == ["Report 0", "Report 3"]


def test_a_key_of_before_vouches_for_what_it_signed() -> None:
    older = sign_checkpoint(Checkpoint(ORIGIN, 4, TREE.root(4)), signer("mallory"))
    seen = [Seen("A checkpoint", None, older)]
    now, before = signer("log").public_key, signer("mallory").public_key
    held = hold_against(TREE, SAID, seen, [now, before])
    assert (held.findings, held.intact) == ([], 4)
    fork = sign_checkpoint(Checkpoint(ORIGIN, 4, bytes(32)), signer("mallory"))
    held = hold_against(TREE, SAID, [Seen("A checkpoint", None, fork)], [now, before])
    assert [one.reason for one in held.findings] == ["log_fork"]


# Rollouts


def moved(*states: str, order: str = "order") -> list[Entry]:
    return [
        Entry(number=n, at=DAY0, fact=transition_fact(state, digest(order), b"%d" % n))
        for n, state in enumerate(states)
    ]


@pytest.mark.parametrize(
    ("states", "wrong"),
    [
        (("waiting_for_approval", "ready", "running", "paused", "running", "finished"), []),
        (("waiting_for_approval", "scheduled", "stopped"), []),
        # One that was left out, whatever it was.
        (("waiting_for_approval", "running"), [1]),
        (("ready",), [0]),
        (("waiting_for_approval", "ready", "running", "running"), [3]),
        # What is over stays over.
        (("waiting_for_approval", "ready", "running", "finished", "running"), [4]),
        (("waiting_for_approval", "nowhere", "ready"), [1, 2]),
    ],
)
def test_a_rollout_goes_where_its_states_allow(states: tuple[str, ...], wrong: list[int]) -> None:
    findings = transitions(moved(*states))
    assert [(one.reason, one.number) for one in findings] == [("bad_transition", n) for n in wrong]


def test_each_rollout_goes_its_own_way() -> None:
    one, other = moved("waiting_for_approval", "ready"), moved("waiting_for_approval", order="two")
    assert transitions([one[0], other[0], one[1]]) == []
    said = [read_entry(entry(number)) for number in range(3)]
    assert transitions(said) == []


def test_an_entry_that_was_signed_under_a_wrong_number_is_named() -> None:
    """A server that holds the key can log what it wants; it cannot log it unseen."""
    entries = [entry(0), entry(2), entry(2)]
    tree = Tree.of([leaf_hash(one) for one in entries])
    said = Checkpoint(ORIGIN, 3, tree.root())
    findings = audit(entries, [], said, names_of(entries, {}))
    assert [(one.reason, one.number) for one in findings] == [("edited_entry", 1)]


# Entries and bundles


def test_an_entry_has_one_form() -> None:
    data = ENTRIES[3]
    assert write_entry(read_entry(data)) == data
    for wrong in (
        data + b" ",
        data.replace(b'"number":3', b'"number":3,"number":3'),
        data.replace(b'"kind":"statement"', b'"kind":"other"'),
        data.replace(b'"name":"order"', b'"name":"Order"'),
        data.replace(b'"version":null', b'"version":0'),
        b"x" * 1025,
    ):
        with pytest.raises(WireError):
            read_entry(wrong)


def test_facts_name_ids_and_digests_alone() -> None:
    assert statement_fact("urn:interlock:go:v1", digest("a"), b"b").name == "go"
    fact = metadata_fact("image", "root", 3, b"text")
    assert (fact.name, fact.version, fact.sha256) == ("image/root", 3, wire.sha256_hex(b"text"))
    assert state_fact("waiting", digest("e")).sha256 is None


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=BUNDLE))
def test_bundles_hold_what_was_packed(entries: list[bytes]) -> None:
    assert unpack(pack(entries)) == entries


@given(st.binary(max_size=600))
def test_no_bytes_make_trouble_as_a_bundle(data: bytes) -> None:
    reasons = set()
    try:
        assert pack(unpack(data)) == data
    except WireError as e:
        reasons.add(e.reason)
    assert reasons <= {"bad_bundle"}


def test_a_bundle_of_too_many_or_too_long() -> None:
    for data in (pack([b"x"] * (BUNDLE + 1)), pack([b"x" * 1025]), b"\x00\x00", b"\x00"):
        with pytest.raises(WireError):
            unpack(data)
