"""The log as devices were shown it: what they report of it is held against it, and they are named;
and a log whose key is changed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock_core import keys
from interlock_core.checkpoint import Checkpoint, read_checkpoint, sign_checkpoint
from interlock_core.log import CHECKPOINT_KEY
from interlock_ops.settings import CONFIG_VARIABLE
from tests.ops.test_real_server import Real, claimed
from tests.support.people import FLEET, signer

GOOD, FORKED, STRANGE, SILENT = "GW-0001", "GW-0002", "GW-0003", "GW-0004"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """A real server, and four gateways that were shown different logs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(CONFIG_VARIABLE, raising=False)
        real = Real(tmp_path_factory.mktemp("shown"))
        (real.place.home / "log.pub.json").write_bytes(
            (real.fleet.online / "log.pub.json").read_bytes()
        )
        claimed(real, GOOD, FORKED, STRANGE, SILENT)
        asked = {name: real.ask(name) for name in (GOOD, FORKED, STRANGE, SILENT)}
        real.place.device("countersign", "--waiting", "--role", "engineer", by="ellen")
        real.bench.back.checkpoints.publish()
        now = real.bench.store.get(CHECKPOINT_KEY).decode()
        said = read_checkpoint(now).said
        fork = Checkpoint(said.origin, 5, b"\x07" * 32)
        real.tell(asked[GOOD], checkpoint=now)
        real.tell(asked[FORKED], checkpoint=sign_checkpoint(fork, log_signer(real)))
        real.tell(asked[STRANGE], checkpoint=sign_checkpoint(said, signer("mallory")))
        real.tell(asked[SILENT])
        real.bench.back.checkpoints.publish()
        yield real
        real.close()


def log_signer(real: Real) -> Any:
    return real.bench.signers["log"][0]


def look(real: Real, device: str) -> dict[str, Any]:
    answer: dict[str, Any] = real.place.json(
        "device", "show", device, "--log-key", real.place.home / "log.pub.json"
    )
    return answer


class TestDeviceShow:
    def test_a_log_that_is_this_one(self, shown: Real) -> None:
        answer = look(shown, GOOD)
        assert answer["reason"] == "shown"
        assert answer["log"]["reason"] is None
        assert answer["log"]["size"] > 7

    def test_two_faces_are_named(self, shown: Real) -> None:
        answer = look(shown, FORKED)
        assert answer["reason"] == "log_fork"
        assert (answer["log"]["size"], answer["log"]["reason"]) == (5, "log_fork")
        assert "two faces" in answer["log"]["detail"]

    def test_what_anybody_could_have_written_is_no_fork(self, shown: Real) -> None:
        answer = look(shown, STRANGE)
        assert answer["reason"] == "shown"
        assert answer["log"]["reason"] == "bad_checkpoint"

    def test_nothing_is_said_where_there_is_nothing(self, shown: Real) -> None:
        assert look(shown, SILENT)["log"] is None
        # Without the key nobody could say which log is the log.
        assert shown.place.json("device", "show", FORKED)["log"] is None

    def test_people_read_it(self, shown: Real) -> None:
        key = shown.place.home / "log.pub.json"
        result = shown.place.run("device", "show", FORKED, "--log-key", key)
        assert "the log has two faces" in result.stdout
        assert "Keep its report" in result.stderr


@pytest.fixture(scope="module")
def audit(shown: Real, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("export") / "audit"
    key = shown.place.home / "log.pub.json"
    assert shown.place.json("log", "export", directory, "--log-key", key)["reason"] == "exported"
    return directory


def judged(named: list[Path], directory: Path, *, code: int, real: Real) -> dict[str, Any]:
    """The verdict of an auditor, whose keys of the log are the files ``named``."""
    config = real.place.home / "auditor.toml"
    listed = json.dumps([str(path) for path in named])
    config.write_text(f'fleet = "{FLEET}"\nlog_key = {listed}\n')
    result = real.place.run("log", "verify", directory, "--json", config=config)
    assert result.exit_code == code, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_log_verify_names_the_report_with_the_other_face(shown: Real, audit: Path) -> None:
    """By the log's signature alone: what nobody proves is told beside it, and refuses nothing."""
    key = shown.place.home / "log.pub.json"
    answer = judged([key], audit, code=20, real=shown)
    (finding,) = answer["findings"]
    assert finding["reason"] == "log_fork"
    assert f"by {FORKED}" in finding["detail"]
    (strange,) = answer["strange"]
    assert f"by {STRANGE}" in strange


# Another key


@pytest.fixture
def new(shown: Real, tmp_path: Path) -> Iterator[Path]:
    """A new key of the log, by which alone the server signs what it shows; undone afterwards."""
    before = shown.bench.store.get(CHECKPOINT_KEY)
    memory = shown.place.home / "state" / "log-checkpoint"
    remembered = memory.read_bytes()
    said = read_checkpoint(before.decode()).said
    shown.bench.store.replace(
        CHECKPOINT_KEY, sign_checkpoint(said, signer("another log key")).encode()
    )
    public = tmp_path / "log-2.pub.json"
    public.write_bytes(keys.public_key_file("log-2", signer("another log key")))
    yield public
    shown.bench.store.replace(CHECKPOINT_KEY, before)
    memory.write_bytes(remembered)


def contact(real: Real, *named: Path, code: int = 0) -> dict[str, Any]:
    words = [word for path in named for word in ("--log-key", path)]
    answer: dict[str, Any] = real.place.json("cohort", "list", *words, code=code)
    return answer


def test_what_was_remembered_under_the_old_key_is_continued(shown: Real, new: Path) -> None:
    old = shown.place.home / "log.pub.json"
    assert contact(shown, old, code=20)["reason"] == "bad_checkpoint"
    # The new one alone cannot say what was remembered.
    assert contact(shown, new, code=20)["reason"] == "bad_checkpoint"
    assert contact(shown, new, old)["outcome"] == "done"
    # From here on it can.
    said = read_checkpoint(shown.bench.store.get(CHECKPOINT_KEY).decode()).said
    assert said.size > 0


def test_a_key_of_before_vouches_for_nothing_new(shown: Real, new: Path) -> None:
    old = shown.place.home / "log.pub.json"
    said = read_checkpoint(shown.bench.store.get(CHECKPOINT_KEY).decode()).said
    shown.bench.store.replace(CHECKPOINT_KEY, sign_checkpoint(said, log_signer(shown)).encode())
    assert contact(shown, new, old, code=20)["reason"] == "bad_checkpoint"


def test_an_export_under_the_new_key_with_checkpoints_of_the_old(
    shown: Real, audit: Path, new: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(audit, tmp_path / "audit"))
    said = read_checkpoint((audit / "checkpoint").read_text()).said
    (copied / "checkpoint").write_text(sign_checkpoint(said, signer("another log key")))
    old = shown.place.home / "log.pub.json"
    alone = judged([new], copied, code=0, real=shown)
    assert len(alone["strange"]) == 3, "nobody was handed the key by which the others were shown it"
    both = judged([new, old], copied, code=20, real=shown)
    assert [one["reason"] for one in both["findings"]] == ["log_fork"]
    assert (both["checkpoints"], len(both["strange"])) == (2, 1)
    assert judged([old, new], copied, code=20, real=shown)["reason"] == "bad_checkpoint"


@pytest.mark.parametrize("wrong", ["[]", '[""]', "[1]", "7", str(["x"] * 9), '["a\\u0000"]'])
def test_a_list_of_keys_that_is_none(shown: Real, audit: Path, wrong: str) -> None:
    config = shown.place.home / "wrong.toml"
    config.write_text(f"log_key = {wrong}\n")
    result = shown.place.run("log", "verify", audit, "--json", config=config)
    assert (result.exit_code, json.loads(result.stdout)["reason"]) == (2, "bad_settings")
