"""What the model says that a power cut can leave, rule by rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_client.powercut.model import Model, State, Tear
from interlock_client.powercut.operations import (
    Add,
    Mode,
    Move,
    Node,
    Operation,
    Recording,
    Remove,
    Resize,
    Sync,
    Write,
)
from interlock_client.powercut.states import Plan, lost, restored, states, windows

TOP, A, B, NEW, SUB = 1, 2, 3, 4, 5
OLD_A = b"a" * 1000


def recording(*operations: Operation) -> Recording:
    """On a directory with the files ``a`` and ``b``; ``NEW`` and ``SUB`` are there to be made."""
    return Recording(
        roots={"/top": TOP},
        nodes={
            TOP: Node("directory", mode=0o755),
            A: Node("file", OLD_A),
            B: Node("file", b"b"),
            NEW: Node("file"),
            SUB: Node("directory", mode=0o755),
        },
        entries={(TOP, "a"): A, (TOP, "b"): B},
        operations=operations,
    )


def seen(*operations: Operation, plan: Plan | None = None) -> set[tuple[tuple[str, bytes], ...]]:
    """Every state that is tried, as names and contents."""
    model = Model(recording(*operations))
    found = set()
    for _, state in states(model.recording, plan or Plan()):
        tree = model.tree(state)
        files = [
            (path.removeprefix("/top/"), model.content(item.node, state))
            for path, item in tree.items()
            if item.kind == "file"
        ]
        found.add(tuple(sorted(files)))
    return found


def flush(node: int, before: int, *, modes: bool = True) -> Sync:
    return Sync(frozenset({node}), before, modes)


def contents(name: str, *operations: Operation) -> set[bytes | None]:
    return {dict(files).get(name) for files in seen(*operations)}


def test_what_was_not_flushed_is_there_or_not() -> None:
    assert contents("b", Write(B, 0, b"new")) >= {b"b", b"new"}


def test_what_was_flushed_is_there() -> None:
    operations = (Write(B, 0, b"new"), flush(B, 1), Write(A, 0, b"x"))
    late = {dict(f)["b"] for f in seen(*operations) if dict(f)["a"] != OLD_A}
    assert late == {b"new"}


def test_a_flush_covers_only_what_was_over_when_it_began() -> None:
    """Two threads: the second write ended while the flush was under way."""
    operations = (Write(B, 0, b"one"), Write(B, 0, b"two"), flush(B, 1), Write(A, 0, b"x"))
    late = {dict(f)["b"] for f in seen(*operations) if dict(f)["a"] != OLD_A}
    assert {b"one", b"two"} <= late
    assert b"b" not in late


def test_a_file_is_flushed_and_its_name_is_not() -> None:
    operations = (Add(TOP, "n", NEW), Write(NEW, 0, b"new"), flush(NEW, 2))
    assert contents("n", *operations) >= {None, b"new"}
    assert windows(recording(*operations))[-1].pending == (0,)


def test_a_name_is_flushed_and_its_file_is_not() -> None:
    """The file of no length, which every editor knew once."""
    operations = (
        Add(TOP, "n", NEW),
        Write(NEW, 0, b"new"),
        Move(TOP, "n", TOP, "b", NEW),
        flush(TOP, 3),
    )
    assert contents("b", *operations) >= {b"b", b"", b"new", b"\0\0\0"}


def test_a_rename_is_never_half_there() -> None:
    operations = (Add(TOP, "n", NEW), flush(TOP, 1), Move(TOP, "n", TOP, "b", NEW))
    end = [files for files in seen(*operations) if ("n", b"") in files or ("b", b"") in files]
    assert {tuple(name for name, _ in files) for files in end} == {("a", "b", "n"), ("a", "b")}


def test_a_move_is_certain_when_both_directories_were_flushed() -> None:
    start = (Add(TOP, "s", SUB), flush(TOP, 1), Move(TOP, "a", SUB, "a", A))
    assert windows(recording(*start, flush(TOP, 3)))[-1].pending == (2,)
    assert windows(recording(*start, flush(TOP, 3), flush(SUB, 3)))[-1].pending == ()


def test_two_names_are_exchanged_together() -> None:
    swapped = seen(Move(TOP, "a", TOP, "b", A, exchanged=B))
    assert swapped == {(("a", OLD_A), ("b", b"b")), (("a", b"b"), ("b", OLD_A))}


def test_mode_bits_are_flushed_by_fsync_and_not_by_fdatasync() -> None:
    change = (Mode(A, 0o755),)
    assert windows(recording(*change, flush(A, 1, modes=False)))[-1].pending == (0,)
    assert windows(recording(*change, flush(A, 1)))[-1].pending == ()
    model = Model(recording(*change))
    assert model.tree(State(0))["/top/a"].mode == 0o644
    assert model.tree(model.whole)["/top/a"].mode == 0o755


def test_what_is_written_tears_at_sectors() -> None:
    found = contents("a", Write(A, 0, b"n" * 1000))
    assert {OLD_A, b"n" * 1000, b"n" * 512 + b"a" * 488, b"a" * 512 + b"n" * 488} <= found
    assert all(text[:512] in {b"n" * 512, b"a" * 512} for text in found if text)


def test_a_sector_is_old_or_new() -> None:
    assert {text for text in contents("a", Write(A, 5, b"n" * 7)) if text} == {
        OLD_A,
        OLD_A[:5] + b"n" * 7 + OLD_A[12:],
    }


@pytest.mark.parametrize("filler", [b"\0", b"\xa5"])
def test_a_file_may_have_grown_without_its_data(filler: bytes) -> None:
    assert b"b" + filler * 2000 in contents("b", Write(B, 1, b"n" * 2000))


def test_of_two_writes_in_one_place_the_later_wins() -> None:
    found = contents("b", Write(B, 0, b"1"), Write(B, 0, b"2"))
    assert found == {b"b", b"1", b"2"}
    model = Model(recording(Write(B, 0, b"1"), Write(B, 0, b"2")))
    assert model.content(B, model.whole) == b"2"


def test_a_device_keeps_its_size() -> None:
    device = Recording({"/dev/x": 1}, {1: Node("device", b"abc")}, {}, (Write(1, 2, b"zz"),))
    model = Model(device)
    assert model.content(1, model.whole) == b"abz"
    assert model.content(1, State(0)) == b"abc"


def test_what_a_lost_directory_holds_is_lost_too() -> None:
    operations = (Add(TOP, "s", SUB), Add(SUB, "n", NEW), flush(SUB, 2))
    assert contents("s/n", *operations) == {None, b""}


def test_a_cut_file_may_be_as_long_as_before() -> None:
    assert contents("a", Resize(A, 3)) == {OLD_A, b"aaa"}


def test_a_removed_name_may_come_back() -> None:
    assert contents("a", Remove(TOP, "a")) == {OLD_A, None}
    assert windows(recording(Remove(TOP, "a"), flush(TOP, 1)))[-1].pending == ()


def some_operations() -> st.SearchStrategy[list[Operation]]:
    files = st.sampled_from([A, B, NEW])
    names = st.sampled_from(["a", "b", "n"])
    one: st.SearchStrategy[Operation] = st.one_of(
        st.builds(Write, files, st.integers(0, 1500), st.binary(min_size=1, max_size=1200)),
        st.builds(Resize, files, st.integers(0, 1500)),
        st.builds(Add, st.just(TOP), names, files),
        st.builds(Remove, st.just(TOP), names),
        st.builds(Move, st.just(TOP), names, st.just(TOP), names, files),
    )
    syncs = st.sampled_from([A, B, NEW, TOP])

    def numbered(drawn: list[Operation | int]) -> list[Operation]:
        return [flush(o, place) if isinstance(o, int) else o for place, o in enumerate(drawn)]

    return st.lists(st.one_of(one, syncs), max_size=14).map(numbered)


@given(some_operations())
def test_no_state_has_lost_what_is_certain(operations: list[Operation]) -> None:
    made = recording(*operations)
    numbers = range(len(operations))
    for window, state in states(made, Plan(most=300)):
        assert state.kept & window.certain == window.certain
        assert not any(state.has(n) for n in numbers if n >= window.end)
        assert not {n for n, _ in state.torn} - set(window.pending)
        for number in lost(window, state):
            state = restored(state, number)  # noqa: PLW2901  # one after the other
        assert lost(window, state) == ()


@given(some_operations(), st.integers(0, 3))
def test_states_keep_their_numbers(operations: list[Operation], seed: int) -> None:
    made, plan = recording(*operations), Plan(seed=seed, samples=4, most=200)
    first = list(states(made, plan))
    assert first == list(states(made, plan))
    assert len({state for _, state in first}) == len(first)
    assert first[:50] == list(states(made, Plan(seed=seed, samples=4, most=50)))


@given(some_operations())
def test_every_subset_of_few_is_tried(operations: list[Operation]) -> None:
    made = recording(*operations)
    window = windows(made)[-1]
    if len(window.pending) > 5:
        return
    tried = {state.kept for _, state in states(made, Plan())}
    for bits in range(1 << len(window.pending)):
        kept = [n for place, n in enumerate(window.pending) if bits >> place & 1]
        assert window.certain | sum(1 << n for n in kept) in tried


@given(st.integers(0, 5000), st.integers(1, 9000), st.sampled_from([512, 4096]))
def test_a_tear_leaves_whole_sectors(offset: int, length: int, sector: int) -> None:
    for keep in ("first", "last", "but_first", "but_last"):
        start, stop = Tear(keep, sector).pieces(offset, length)
        assert offset <= start <= stop <= offset + length
        assert start in {offset, stop} or start % sector == 0
        assert stop == offset + length or stop % sector == 0 or start == stop
