"""A ceremony that must not be finished is given up, and nobody finishes it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from interlock_core import wire
from interlock_core.ceremony_output import read_ceremony
from interlock_core.durable import watching
from interlock_core.errors import RefusedError
from tests.keys_ceremony.chain import NAMES, Chain
from tests.keys_ceremony.stage import NOW, Stage, told
from tests.keys_ceremony.test_media import SMALL, PowerCut, hold, keys_of, partial

pytestmark = pytest.mark.usefixtures("hasty")

KEYS = [
    f"{person}-{role}"
    for person in ("alice", "bob")
    for role in ("image-root", "image-targets", "director-root")
]
WHY = "the machine had a network"


@pytest.fixture
def small(stage: Stage) -> Stage:
    stage.script.write_text(SMALL)
    return stage


def cut_off(stage: Stage, act: str, name: str) -> None:
    """Begin the ceremony, and let the power go at one write."""

    def cut(found: str, path: Path) -> None:
        if (found, path.name) == (act, name):
            raise PowerCut

    with watching(cut), pytest.raises(PowerCut):
        hold(stage)


def abandon(stage: Stage, *more: str | Path, by: str = "alice", files: int = 4) -> Result:
    words = ("--by", by, "--reason", WHY, "--json", *stage.files[:files])
    return stage.call("abandon", stage.script, *words, *more)


def aside(stage: Stage, number: int = 1) -> Path:
    return stage.home / f"out.abandoned-{number}"


def verified(stage: Stage, number: int = 1) -> tuple[int, str, str]:
    result = stage.call("verify", aside(stage, number) / "abandoned.json", "--json")
    return result.exit_code, str(told(result)["reason"]), result.stderr


def test_it_is_signed_kept_and_never_finished(small: Stage) -> None:
    cut_off(small, "link", "1.targets.json")
    made = keys_of(partial(small))
    said = told(abandon(small))
    assert said["outcome"] == "done"
    assert said["signed_by"] == KEYS
    assert said["destroy_files"] == sorted(f"keys/{key}.key.json" for key in KEYS)
    assert said["never_publish"] == ["image/1.root.json"]
    assert said["destroy_in_tokens"] == []
    assert not partial(small).exists()
    assert not small.output.exists()
    assert keys_of(aside(small)) == made
    code, reason, error = verified(small)
    assert (code, reason) == (20, "abandoned")
    assert f"fleet north was given up at 2026-12-01T09:30:00Z by Alice Amsel: '{WHY}'. 6" in error
    assert "6 keys signed that, and nothing of it may be trusted" in error
    shutil.copytree(aside(small), partial(small))  # whoever puts it back does not finish it either
    result = small.call("run", small.script, *small.files[:4], "--json")
    assert (result.exit_code, told(result)["reason"]) == (20, "abandoned")
    assert told(abandon(small))["directory"].endswith("out.abandoned-2")
    assert hold(small) == 0  # it is begun again, with other keys
    assert not set(keys_of(small.output).values()) & set(made.values())
    assert '"resumed"' not in (small.output / "transcript.json").read_text()
    assert small.verify().exit_code == 0


def test_what_was_signed_is_not_published(small: Stage) -> None:
    """All metadata is signed, and every server would believe it."""
    cut_off(small, "link", "transcript.json")
    said = told(abandon(small))
    files = ["image/1.root.json", "image/1.targets.json", "director/1.root.json"]
    assert sorted(said["never_publish"]) == sorted(files)
    with pytest.raises(RefusedError, match="given up") as caught:
        read_ceremony(aside(small), NOW)
    assert caught.value.reason == "abandoned"
    (aside(small) / "abandoned.json").unlink()
    assert read_ceremony(aside(small), NOW).fleet.fleet == "north"  # so that is what kept it out


def test_who_is_absent_is_named_and_not_asked(small: Stage) -> None:
    cut_off(small, "link", "1.root.json")
    said = told(abandon(small, "--absent", "bob", files=2))
    assert said["absent"] == ["bob"]
    assert said["signed_by"] == KEYS[:3]
    assert verified(small)[1] == "abandoned"
    record = json.loads((aside(small) / "abandoned.json").read_bytes())
    word = {"act": "abandoned", "by": "alice", "says": WHY, "absent": ["bob"]}
    assert record["entries"][-1]["act"] == word
    assert record["entries"][-2]["act"] == {"act": "resumed"}


def unsigned(record: dict[str, Any]) -> None:
    record["signatures"].pop()


def another_signature(record: dict[str, Any]) -> None:
    record["signatures"][0]["sig"] = record["signatures"][1]["sig"]


def another_reason(record: dict[str, Any]) -> None:
    record["entries"][-1]["act"]["says"] = "somebody fell ill"


def another_absence(record: dict[str, Any]) -> None:
    record["entries"][-1]["act"]["absent"] = ["alice", "bob"]
    record["head"] = wire.sha256_hex(wire.encode(record["entries"][-1]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (unsigned, "bad_signature"),
        (another_signature, "bad_signature"),
        (another_reason, "broken_chain"),
        (another_absence, "bad_signature"),
    ],
)
def test_a_record_that_somebody_touched(
    small: Stage, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    cut_off(small, "link", "1.root.json")
    assert abandon(small).exit_code == 0
    path = aside(small) / "abandoned.json"
    record = json.loads(path.read_bytes())
    change(record)
    path.write_bytes(wire.encode(record))
    assert verified(small)[:2] == (20, reason)


@pytest.mark.parametrize(
    ("words", "files", "by", "reason"),
    [
        ((), 2, "alice", "no_passphrase"),
        (("--passphrase-file", "mallory=x"), 4, "alice", "configuration"),
        (("--absent", "mallory"), 4, "alice", "configuration"),
        (("--absent", "alice"), 4, "alice", "configuration"),
        ((), 4, "mallory", "configuration"),
    ],
)
def test_what_is_not_right_writes_nothing(
    small: Stage, words: tuple[str, ...], files: int, by: str, reason: str
) -> None:
    cut_off(small, "link", "1.root.json")
    before = {path: path.read_bytes() for path in small.home.rglob("*") if path.is_file()}
    result = abandon(small, *words, files=files, by=by)
    assert (result.exit_code, told(result)["reason"]) == (2, reason), result.output
    assert {path: path.read_bytes() for path in small.home.rglob("*") if path.is_file()} == before
    assert hold(small) == 0


@pytest.mark.parametrize("says", ["", " ", "a\nb", "x" * 1025])
def test_a_reason_is_a_sentence(small: Stage, says: str) -> None:
    result = small.call("abandon", small.script, "--by", "alice", "--reason", says)
    assert result.exit_code == 2
    assert "--reason must be a sentence" in result.stderr


def test_a_journal_that_was_changed_is_evidence_of_something_else(small: Stage) -> None:
    cut_off(small, "link", "1.root.json")
    journal = partial(small) / "journal"
    journal.write_text(journal.read_text().replace("Bob Bach", "Eve Eder"))
    result = abandon(small)
    assert (result.exit_code, told(result)["reason"]) == (20, "broken_chain")
    assert partial(small).exists()


def test_nothing_is_under_way(small: Stage) -> None:
    before = small.listing()
    result = abandon(small)
    assert (result.exit_code, told(result)["reason"]) == (2, "nothing_under_way")
    assert small.listing() == before


def test_a_ceremony_that_is_complete_but_for_its_name_is_finished_instead(small: Stage) -> None:
    cut_off(small, "rename", "out")
    result = abandon(small)
    assert (result.exit_code, told(result)["reason"]) == (20, "complete")
    assert hold(small) == 0


def test_a_public_key_that_was_lost_names_whose_it_was(small: Stage) -> None:
    cut_off(small, "link", "1.root.json")
    (partial(small) / "keys" / "bob-image-root.pub.json").write_text("{")
    result = abandon(small)
    assert (result.exit_code, told(result)["reason"]) == (2, "key_missing")
    assert "pass --absent bob" in result.stderr
    assert abandon(small, "--absent", "bob").exit_code == 0


def test_whatever_cuts_it_off_the_same_command_finishes_it(small: Stage, tmp_path: Path) -> None:
    cut_off(small, "link", "1.root.json")
    worlds: list[Path] = []

    def keep(_act: str, _path: Path) -> None:
        worlds.append(Path(shutil.copytree(small.home, tmp_path / "worlds" / str(len(worlds)))))

    with watching(keep):
        assert abandon(small).exit_code == 0
    assert len(worlds) > 8
    for world in worlds:
        after = Stage(world)
        if aside(after).exists():
            continue
        if "abandoned" in (partial(after) / "journal").read_text():
            result = after.call("run", after.script, *after.files[:4], "--json")
            assert told(result)["reason"] == "abandoned"
        assert abandon(after).exit_code == 0
        assert verified(after)[1] == "abandoned"
        assert not partial(after).exists()


def test_a_later_ceremony_is_given_up_by_the_keys_that_were_opened(hasty_original: Stage) -> None:
    chain = Chain(hasty_original)
    script = chain.script(
        {"do": "replace", "role": "image.root", "holder": "bob", "by": "bob"},
        persons={one: NAMES[one] for one in ("alice", "bob", "carol")},
    )

    def cut(act: str, path: Path) -> None:
        if (act, path.name) == ("link", "transcript.json"):
            raise PowerCut

    with watching(cut), pytest.raises(PowerCut):
        chain.run(script)
    words = ("abandon", chain.written, "--by", "carol", "--reason", WHY, "--json")
    files = chain.stage.files[:6]
    result = chain.stage.call(*words, *files)
    assert told(result)["reason"] == "key_missing"
    result = chain.stage.call(*words, *files, "--key", chain.output(1) / "keys")
    said = told(result)
    assert result.exit_code == 0, result.output
    assert set(said["signed_by"]) >= {"alice-image-root", "bob-image-root", "bob-image-root-2"}
    assert said["destroy_files"] == ["keys/bob-image-root-2.key.json"]
    assert said["never_publish"] == ["image/2.root.json"]
    record = chain.stage.home / "out-2.abandoned-1" / "abandoned.json"
    assert told(chain.stage.call("verify", record, "--json"))["reason"] == "abandoned"
    assert chain.done({"do": "renew", "role": "image.root"}).verify().exit_code == 0
