"""The log's key is changed: old and new sign together, and nothing that was shown is taken back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from interlock_core import keys
from interlock_core.checkpoint import verify_checkpoint
from interlock_core.errors import ConfigurationError, RefusedError
from interlock_core.log import CHECKPOINT_KEY
from interlock_core.tree import Tree, leaf_hash, verify_consistency
from interlock_server.config import load_settings
from interlock_server.wiring import open_signers
from tests.server.test_log import ORIGIN, served, whole
from tests.server.world import PASSPHRASE, V1, Bench, call
from tests.support.papers import authorise, order


def configure(bench: Bench, *files: str) -> None:
    """Start anew with these keys of the log."""
    text = bench.fleet.config.read_text()
    before = next(line for line in text.splitlines() if line.startswith("log ="))
    named = ", ".join(f'"online/{file}.key.json"' for file in files)
    bench.fleet.config.write_text(text.replace(before, f"log = [{named}]"))
    bench.settings = load_settings(bench.fleet.config)
    bench.signers = open_signers(bench.settings)
    bench.restart()


@pytest.fixture
def new(bench: Bench, tmp_path: Path) -> str:
    """Another key of the log, beside the old one."""
    made = tmp_path / "made"
    made.mkdir()
    keys.new_key(made, "log", "ed25519", PASSPHRASE, scrypt_n=keys.MIN_SCRYPT_N)
    for kind in ("key", "pub"):
        shutil.copy(made / f"log.{kind}.json", bench.fleet.online / f"log-2.{kind}.json")
    return "log-2"


def shown(bench: Bench, name: str) -> bool:
    """Whether somebody who was handed that key alone believes what is published."""
    key = keys.load_public_key(bench.fleet.online / f"{name}.pub.json").key
    text = bench.store.get(CHECKPOINT_KEY).decode()
    try:
        verify_checkpoint(text, ORIGIN, key)
    except RefusedError:
        return False
    return True


def test_the_key_is_changed_without_a_gap(bench: Bench, new: str) -> None:
    before, _ = served(bench)
    assert (shown(bench, "log"), shown(bench, new)) == (True, False)
    configure(bench, new, "log")
    # Nothing is new but the key: it signs what is published.
    assert bench.back.checkpoints.publish() == before
    assert (shown(bench, "log"), shown(bench, new)) == (True, True)
    said = order(targets=(V1.target(),))
    bench.say_all(said)
    assert (shown(bench, "log"), shown(bench, new)) == (True, True)
    configure(bench, new)
    bench.say_all(authorise(said))
    assert (shown(bench, "log"), shown(bench, new)) == (False, True)
    # It is the same log as before.
    now = whole(bench)
    _, found = served(bench)
    proof = Tree.of([leaf_hash(one) for one in found]).prove_consistency(before.size)
    verify_consistency(before, now, proof)
    assert [one for one in call_check(bench) if one.startswith("log")] == []


def call_check(bench: Bench) -> list[str]:
    answer = call("check", "--config", bench.fleet.config, "--json").answer
    return [one["name"] for one in answer["problems"]]


def test_a_key_that_comes_alone_signs_nothing(bench: Bench, new: str) -> None:
    """Nobody could tell the log from another one: the old key must vouch for the new."""
    before = bench.store.get(CHECKPOINT_KEY)
    configure(bench, new)
    with pytest.raises(RefusedError) as caught:
        bench.back.checkpoints.publish()
    assert caught.value.reason == "bad_checkpoint"
    assert bench.store.get(CHECKPOINT_KEY) == before


def test_each_must_be_a_key_for_checkpoints(bench: Bench, tmp_path: Path) -> None:
    keys.new_key(tmp_path, "log", "ecdsa-sha2-nistp256", PASSPHRASE, scrypt_n=keys.MIN_SCRYPT_N)
    for kind in ("key", "pub"):
        shutil.copy(tmp_path / f"log.{kind}.json", bench.fleet.online / f"log-3.{kind}.json")
    with pytest.raises(ConfigurationError) as caught:
        configure(bench, "log", "log-3")
    assert caught.value.reason == "wrong_log_key"
