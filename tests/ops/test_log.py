"""The log as operators and auditors meet it: taken along at each contact, exported, and verified
offline; and every way to tamper with it, by name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock_core.checkpoint import Checkpoint, read_checkpoint, sign_checkpoint
from interlock_core.log import CHECKPOINT_KEY, TAIL_KEY, pack, read_entry, unpack
from interlock_core.statement import open_as
from interlock_core.tree import Tree, leaf_hash
from interlock_ops.settings import CONFIG_VARIABLE
from interlock_server.onfile import open_kept
from tests.ops.test_real_server import Real, started
from tests.server.world import V1
from tests.support.papers import order
from tests.support.people import CANARY, FLEET


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """A real server whose log's key lies with an operator; tests leave its log as it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(CONFIG_VARIABLE, raising=False)
        real = Real(tmp_path_factory.mktemp("log"))
        shutil.copy(real.fleet.online / "log.pub.json", real.place.home)
        claimed_with_log(real, "GW-0001")
        asked = real.ask("GW-0001")
        real.place.device("countersign", "GW-0001", "--role", "engineer", *KEY, by="ellen")
        real.tell(asked)
        started(real)
        real.bench.back.checkpoints.publish()
        yield real
        real.close()


KEY = ("--log-key", "log.pub.json")


def claimed_with_log(real: Real, device: str) -> None:
    global KEY  # noqa: PLW0603  # its path is known once the server is
    KEY = ("--log-key", str(real.place.home / "log.pub.json"))
    where = ("--product", "gateway", "--site", "ward-7", "--cohort", CANARY)
    real.place.device("claim", *where, "--device", device, "--secret-dir", real.secrets, *KEY)


@pytest.fixture(scope="module")
def exported(made: Real, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("export") / "audit"
    answer = made.place.json("log", "export", directory, *KEY)
    assert answer["reason"] == "exported"
    return directory


@pytest.fixture
def audit(exported: Path, tmp_path: Path) -> Path:
    """A copy of the export, to be tampered with."""
    return Path(shutil.copytree(exported, tmp_path / "audit"))


@pytest.fixture
def memory(made: Real) -> Iterator[Path]:
    """What the operator remembers of the log; restored afterwards, as is the Store."""
    path = made.place.home / "state" / "log-checkpoint"
    before = path.read_bytes()
    store = {key: made.bench.store.get(key) for key in (CHECKPOINT_KEY, TAIL_KEY)}
    yield path
    path.write_bytes(before)
    for key, data in store.items():
        made.bench.store.replace(key, data)


def judged(made: Real, directory: Path, *words: str | Path, code: int = 20) -> dict[str, Any]:
    """The verdict, offline: the operator's server is not there."""
    config = made.place.home / "auditor.toml"
    config.write_text(f'fleet = "{FLEET}"\nlog_key = "log.pub.json"\n')
    result = made.place.run("log", "verify", directory, *words, "--json", config=config)
    assert result.exit_code == code, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    assert answer["outcome"] == ("refused" if code else "done")
    return answer


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def write(path: Path, changed: list[bytes]) -> None:
    path.write_bytes(b"".join(line + b"\n" for line in changed))


# Taken along


def test_what_is_signed_carries_the_checkpoint_that_was_seen(made: Real) -> None:
    with made.bench.back.database.reading() as db:
        from interlock_server.db.fleet_tables import WordRow  # noqa: PLC0415

        (envelope,) = db.query(WordRow.envelope).one()
    carried = open_kept(envelope).said.checkpoint
    assert carried is not None
    seen = read_checkpoint(carried)
    assert seen.said.origin == f"{FLEET}/log"
    assert seen.said.size > 7
    remembered = (made.place.home / "state" / "log-checkpoint").read_text()
    assert read_checkpoint(remembered).said.size >= seen.said.size


def test_without_the_key_nothing_is_looked_at(made: Real) -> None:
    answer = made.place.json(
        "rollout", "pause", order().id, "--reason", "x", "--yes", "--output",
        made.secrets / "stop.json", "--person", "olga",
    )  # fmt: skip
    assert answer["reason"] == "written"
    envelope = json.loads((made.secrets / "stop.json").read_bytes())
    from interlock_core.order import Stop  # noqa: PLC0415
    from interlock_core.statement import read_envelope  # noqa: PLC0415

    assert open_as(read_envelope(json.dumps(envelope).encode()), Stop).said.checkpoint is None


def shows(made: Real, note: str) -> None:
    made.bench.store.replace(CHECKPOINT_KEY, note.encode())


def contact(made: Real, code: int = 20) -> dict[str, Any]:
    return made.place.json("cohort", "list", *KEY, code=code)


def current(made: Real) -> Checkpoint:
    return read_checkpoint(made.bench.store.get(CHECKPOINT_KEY).decode()).said


def test_a_log_with_two_faces_is_refused_and_kept(made: Real, memory: Path) -> None:
    """A server that holds the log's key shows this operator another log than before."""
    contact(made, code=0)
    now = current(made)
    other = Checkpoint(now.origin, now.size + 1, b"\x07" * 32)
    shows(made, sign_checkpoint(other, made.bench.signers["log"][0]))
    answer = contact(made)
    assert answer["reason"] == "log_fork"
    assert "two faces" in answer["detail"]
    kept = list(memory.parent.glob("log-fork-*"))
    assert [read_checkpoint(path.read_text()).said for path in kept] == [other]
    assert read_checkpoint(memory.read_text()).said == now
    for path in kept:
        path.unlink()


def test_of_the_same_size_too(made: Real, memory: Path) -> None:
    contact(made, code=0)
    now = current(made)
    other = Checkpoint(now.origin, now.size, b"\x07" * 32)
    shows(made, sign_checkpoint(other, made.bench.signers["log"][0]))
    assert contact(made)["reason"] == "log_fork"
    for path in memory.parent.glob("log-fork-*"):
        path.unlink()


def test_a_stop_is_signed_all_the_same(made: Real, memory: Path) -> None:
    contact(made, code=0)
    now = current(made)
    other = Checkpoint(now.origin, now.size + 1, b"\x07" * 32)
    shows(made, sign_checkpoint(other, made.bench.signers["log"][0]))
    tail = [read_entry(one).fact for one in unpack(made.bench.store.get(TAIL_KEY))]
    wanted = next(fact.id for fact in tail if fact.name == "order")
    result = made.place.run(
        "rollout", "pause", wanted, "--reason", "now", "--yes", *KEY, "--json",
        "--output", made.secrets / "urgent.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "two faces" in result.stderr
    for path in memory.parent.glob("log-fork-*"):
        path.unlink()


def test_a_recall_stops_all_the_same_and_leads_nowhere(made: Real, memory: Path) -> None:
    contact(made, code=0)
    now = current(made)
    other = Checkpoint(now.origin, now.size + 1, b"\x07" * 32)
    shows(made, sign_checkpoint(other, made.bench.signers["log"][0]))
    result = made.place.run(
        "rollout", "recall", f"gateway/{V1.version}", "--reason", "now", "--yes", *KEY, "--json",
        "--output", made.secrets / "back.json",
    )  # fmt: skip
    assert result.exit_code == 20, result.output
    assert json.loads(result.stdout)["reason"] == "log_in_doubt"
    assert (made.secrets / "stop-back.json").exists()
    assert not (made.secrets / "back.json").exists()
    for path in memory.parent.glob("log-fork-*"):
        path.unlink()


def test_a_replayed_older_checkpoint(made: Real, memory: Path) -> None:
    contact(made, code=0)
    now = current(made)
    older = Checkpoint(now.origin, now.size - 1, b"\x07" * 32)
    shows(made, sign_checkpoint(older, made.bench.signers["log"][0]))
    assert contact(made)["reason"] == "log_behind"
    assert read_checkpoint(memory.read_text()).said == now


def test_a_log_that_is_gone(made: Real, memory: Path) -> None:
    contact(made, code=0)
    made.bench.store.path(CHECKPOINT_KEY).unlink()
    assert contact(made)["reason"] == "log_behind"


@pytest.mark.parametrize("what", ["another key", "a changed size", "no checkpoint"])
def test_a_forged_checkpoint(made: Real, memory: Path, what: str) -> None:
    note = made.bench.store.get(CHECKPOINT_KEY).decode()
    forged = {
        "another key": sign_checkpoint(current(made), made.bench.signers["image-online"][0]),
        "a changed size": note.replace(f"\n{current(made).size}\n", "\n9999\n"),
        "no checkpoint": "{}",
    }
    shows(made, forged[what])
    assert contact(made)["reason"] == "bad_checkpoint"


def test_entries_that_are_not_what_was_signed_are_not_exported(
    made: Real, memory: Path, tmp_path: Path
) -> None:
    made.bench.store.replace(TAIL_KEY, pack([b"something else"] * current(made).size))
    answer = made.place.json("log", "export", tmp_path / "audit", *KEY, code=20)
    assert answer["reason"] in {"log_mismatch", "malformed"}
    assert not (tmp_path / "audit").exists()


def test_an_export_overwrites_nothing(made: Real, audit: Path) -> None:
    answer = made.place.json("log", "export", audit, *KEY, code=20)
    assert answer["reason"] == "not_empty"


# Verified offline


def test_an_export_verifies_offline(made: Real, audit: Path) -> None:
    answer = judged(made, audit, code=0)
    assert answer["reason"] == "verified"
    assert answer["size"] == len(lines(audit / "entries.jsonl")) > 10
    assert answer["checkpoints"] >= 1
    assert answer["findings"] == []


def test_it_shows_where_a_statement_stands(made: Real, audit: Path) -> None:
    entries = [json.loads(line) for line in lines(audit / "entries.jsonl")]
    wanted = next(one for one in entries if one["fact"]["name"] == "order")
    answer = judged(made, audit, "--statement", wanted["fact"]["id"], code=0)
    assert answer["numbers"] == [wanted["number"]]
    assert judged(made, audit, "--statement", order(seq=99).id)["reason"] == "not_in_log"


def entry_of(audit: Path, name: str) -> int:
    entries = [json.loads(line) for line in lines(audit / "entries.jsonl")]
    return next(int(one["number"]) for one in entries if one["fact"]["name"] == name)


def edited(entries: list[bytes], at: int) -> list[bytes]:
    changed = json.loads(entries[at])
    changed["fact"]["id"] = "0" * 64
    data = json.dumps(changed, sort_keys=True, separators=(",", ":")).encode()
    return [*entries[:at], data, *entries[at + 1 :]]


Tamper = Callable[[list[bytes], int], list[bytes]]
TAMPERED: dict[str, tuple[Tamper, str]] = {
    "edited": (edited, "edited_entry"),
    "deleted": (lambda entries, at: [*entries[:at], *entries[at + 1 :]], "deleted_entry"),
    "reordered": (
        lambda entries, at: [entries[at], *entries[:at], *entries[at + 1 :]],
        "reordered_entry",
    ),
    "truncated": (lambda entries, at: entries[:at], "truncated_log"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_done_to_an_entry_is_named(made: Real, audit: Path, what: str) -> None:
    """With its number, and with what it was: the order that somebody would rather not have sent."""
    tamper, reason = TAMPERED[what]
    at = entry_of(audit, "order")
    write(audit / "entries.jsonl", tamper(lines(audit / "entries.jsonl"), at))
    first = judged(made, audit)["findings"][0]
    assert (first["reason"], first["number"]) == (reason, at)
    assert f"ntry {at} (order " in first["detail"]
    assert "by olga" in first["detail"]


def test_an_edit_with_its_hash_is_named_by_its_record(made: Real, audit: Path) -> None:
    at = entry_of(audit, "order")
    changed = edited(lines(audit / "entries.jsonl"), at)
    write(audit / "entries.jsonl", changed)
    write(audit / "hashes.txt", [leaf_hash(one).hex().encode() for one in changed])
    findings = judged(made, audit)["findings"]
    assert findings[0]["reason"] == "edited_entry"
    assert ("record_mismatch", at) in [(one["reason"], one["number"]) for one in findings]


def test_a_record_that_was_changed_or_left_out(made: Real, audit: Path) -> None:
    records = lines(audit / "records.jsonl")
    write(audit / "records.jsonl", records[1:])
    (finding,) = judged(made, audit)["findings"]
    assert (finding["reason"], finding["number"]) == ("record_mismatch", 7)
    swapped = [json.loads(one) for one in records]
    swapped[0]["envelope"], swapped[1]["envelope"] = swapped[1]["envelope"], swapped[0]["envelope"]
    write(audit / "records.jsonl", [json.dumps(one).encode() for one in swapped])
    assert {one["number"] for one in judged(made, audit)["findings"]} >= {7, 8}
    write(audit / "records.jsonl", [b"nonsense", *records])
    assert judged(made, audit)["reason"] == "record_mismatch"


def other_log(made: Real, size: int, root: bytes = b"\x07" * 32) -> str:
    return sign_checkpoint(Checkpoint(f"{FLEET}/log", size, root), made.bench.signers["log"][0])


def test_whoever_was_shown_another_log_is_named(made: Real, audit: Path, tmp_path: Path) -> None:
    """Two faces: somebody kept what he was shown, and it is not of this log."""
    kept = tmp_path / "kept"
    kept.write_text(other_log(made, 5))
    (finding,) = judged(made, audit, "--checkpoint", kept)["findings"]
    assert finding["reason"] == "log_fork"
    assert str(kept) in finding["detail"]


def test_a_log_that_was_longer_when_somebody_saw_it(
    made: Real, audit: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.write_text(other_log(made, 500))
    assert judged(made, audit, "--checkpoint", kept)["reason"] == "truncated_log"


def test_checkpoints_that_hold_say_what_is_intact(made: Real, audit: Path, tmp_path: Path) -> None:
    hashes = [leaf_hash(one) for one in lines(audit / "entries.jsonl")]
    kept = tmp_path / "kept"
    kept.write_text(other_log(made, 9, Tree.of(hashes).root(9)))
    assert judged(made, audit, "--checkpoint", kept, code=0)["intact"] >= 9


def test_a_checkpoint_by_another_key_is_no_checkpoint(made: Real, audit: Path) -> None:
    said = read_checkpoint((audit / "checkpoint").read_text()).said
    (audit / "checkpoint").write_text(
        sign_checkpoint(said, made.bench.signers["director-online"][0])
    )
    assert judged(made, audit)["reason"] == "bad_checkpoint"


@pytest.mark.parametrize("name", ["checkpoint", "entries.jsonl"])
def test_an_export_that_was_cut_off_is_none(made: Real, audit: Path, name: str) -> None:
    (audit / name).unlink()
    config = made.place.home / "auditor.toml"
    config.write_text(f'fleet = "{FLEET}"\nlog_key = "log.pub.json"\n')
    result = made.place.run("log", "verify", audit, config=config)
    assert result.exit_code != 0
    assert "no whole export" in result.stderr


def test_a_person_reads_the_verdict(made: Real, audit: Path) -> None:
    config = made.place.home / "auditor.toml"
    config.write_text(f'fleet = "{FLEET}"\nlog_key = "log.pub.json"\n')
    whole = made.place.run("log", "verify", audit, config=config)
    assert whole.exit_code == 0
    assert "The log is whole" in whole.stdout
    write(audit / "entries.jsonl", lines(audit / "entries.jsonl")[:-1])
    cut = made.place.run("log", "verify", audit, config=config)
    assert cut.exit_code == 20
    assert "was cut off at the end of the log" in cut.stdout


def test_it_asks_for_the_key(made: Real, audit: Path, tmp_path: Path) -> None:
    config = tmp_path / "auditor.toml"
    config.write_text(f'fleet = "{FLEET}"\n')
    result = made.place.run("log", "verify", audit, "--json", config=config)
    assert (result.exit_code, json.loads(result.stdout)["reason"]) == (2, "missing_setting")
