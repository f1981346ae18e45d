"""What an earlier version of the agent kept is read by this one.

After a rollback the previous version reads what this one wrote, and after an update this one reads
what that wrote. The files in ``records/`` were written by the agent before slots had names: a
gateway on its second release, which waits, reboots, and is confirmed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from interlock_client import journal, memory
from interlock_client.boot import BootEnvironment
from interlock_client.journal import State
from interlock_core.wire import sha256_hex

RECORDS = Path(__file__).with_name("records")
OLD = b"release one " * 100
NEW = b"release two " * 100


@pytest.mark.parametrize("name", ["waiting", "rebooting"])
def test_an_attempt_goes_on(name: str) -> None:
    found = journal.load(RECORDS / f"journal-{name}.json")
    assert found.state is State(name)
    attempt, written = found.attempt, found.written
    assert attempt is not None
    assert written is not None
    assert written.holds(attempt)
    # Without a word of slots, a slot holds the target itself.
    [content] = attempt.contents
    assert (content.length, content.sha256) == (len(NEW), sha256_hex(NEW))
    assert attempt.slot == "a"


def test_how_the_last_one_ended_is_known() -> None:
    found = journal.load(RECORDS / "journal-confirmed.json")
    assert found.state is State.CONFIRMED
    assert found.ended is not None
    assert found.ended.sha256 == sha256_hex(NEW)


def test_nothing_is_forgotten() -> None:
    found = memory.load(RECORDS / "memory.json")
    assert (found.release_floor, found.highest_confirmed_counter) == (2, 2)
    assert found.versions["image/root"] == found.versions["director/root"] == 1
    assert found.roster_seq > 0
    assert {slot: content.sha256 for slot, content in found.slots.items()} == {
        "a": sha256_hex(NEW),
        "b": sha256_hex(OLD),
    }
    assert [len(content.contents) for content in found.slots.values()] == [1, 1]


def test_it_boots_what_was_committed(tmp_path: Path) -> None:
    for number in (0, 1):
        shutil.copy(RECORDS / f"boot-{number}.json", tmp_path)
    environment = BootEnvironment(tmp_path, tmp_path / "booted")
    assert environment.load().active == "a"
    assert environment.boot() == ("a", None)
