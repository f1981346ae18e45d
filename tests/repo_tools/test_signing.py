"""One person at a time signs, on copies and in any order."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner, Key, Signature, Signer

from interlock_core import keys, wire
from interlock_core.clock import system_clock
from interlock_core.errors import RefusedError
from interlock_core.keys import load_public_key
from interlock_repo.copies import open_copies
from interlock_repo.publishing import assemble
from interlock_repo.reading import open_event
from interlock_repo.signing import holder_for, sign
from tests.repo_tools.world import (
    MEANT,
    PASSPHRASE,
    PRODUCT,
    RELEASE_MANAGERS,
    World,
    role,
    tool,
)


def signatures(event: Path) -> list[Path]:
    return sorted((event / "signatures").iterdir())


def test_a_signature_says_who_what_and_why(staged: Path, delegated: World) -> None:
    said = delegated.sign(staged, "rosa", "--meaning", "reviewed", "--reason", "run 118", "--json")
    assert said.code == 0, said.err
    [file] = signatures(staged)
    record = json.loads(file.read_bytes())
    key = load_public_key(delegated.public("rosa")).key
    assert file.stem == record["keyid"] == key.keyid
    assert (record["person"], record["meaning"], record["reason"]) == (
        "rosa", "reviewed", "run 118",
    )  # fmt: skip
    event = open_event(staged)
    key.verify_signature(Signature(key.keyid, record["sig"]), event.metadata.signed_bytes)
    assert said.answer["needed"] == 1
    assert said.answer["read_aloud"] in said.err


def test_status_counts_until_the_threshold(staged: Path, delegated: World) -> None:
    said = tool("status", staged, "--json")
    assert (said.code, said.answer["outcome"], said.answer["needed"]) == (10, "deferred", 2)
    delegated.sign(staged, "rosa")
    said = tool("status", staged)
    assert said.code == 10
    assert "1 more of raul, rita must sign" in said.out
    delegated.sign(staged, "rita")
    said = tool("status", staged, "--json")
    assert (said.code, said.answer["reason"]) == (0, "threshold_met")
    assert [one["person"] for one in said.answer["signed"]] == sorted(
        ("rosa", "rita"), key=lambda n: load_public_key(delegated.public(n)).key.keyid
    )


def test_the_same_key_signs_once(staged: Path, delegated: World) -> None:
    delegated.sign(staged, "rosa")
    [file] = signatures(staged)
    before = file.read_bytes()
    said = delegated.sign(staged, "rosa", "--reason", "again", "--json")
    assert (said.code, said.answer["reason"]) == (20, "already_signed")
    assert "raul, rita" in said.err
    assert file.read_bytes() == before


def test_the_same_key_under_another_name_signs_once(
    staged: Path, delegated: World, tmp_path: Path
) -> None:
    delegated.sign(staged, "rosa")
    signer = keys.load_signer(delegated.private("rosa"), lambda _: PASSPHRASE)
    delegated.public("other").write_bytes(keys.public_key_file("other", signer))
    shutil.copy(delegated.private("rosa"), delegated.private("other"))
    said = delegated.sign(staged, "other", "--json")
    assert (said.code, said.answer["reason"]) == (20, "already_signed")


def test_a_key_that_may_not_sign_is_told_who_may(staged: Path, delegated: World) -> None:
    said = delegated.sign(staged, "tom", "--json")
    assert (said.code, said.answer["reason"]) == (20, "wrong_key")
    assert all(name in said.err for name in RELEASE_MANAGERS)
    assert signatures(staged) == []


def test_a_wrong_passphrase_writes_nothing(staged: Path, delegated: World, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong passphrase\n")
    wrong.chmod(0o600)
    said = tool(
        "sign", staged, "--key", delegated.private("rosa"), "--passphrase-file", wrong,
        "--yes", "--json", *MEANT,
    )  # fmt: skip
    assert (said.code, said.answer["reason"]) == (2, "wrong_passphrase")
    assert "passphrase" in said.err
    assert "wrong passphrase" not in said.err
    assert signatures(staged) == []


def test_without_a_terminal_one_must_say_yes(staged: Path, delegated: World) -> None:
    said = tool(
        "sign", staged, "--key", delegated.private("rosa"), "--passphrase-file", delegated.secret
    )
    assert said.code == 2
    assert "--yes" in said.err
    assert signatures(staged) == []


@pytest.mark.parametrize("option", ["--meaning", "--reason"])
def test_nothing_is_assumed_where_nobody_is_asked(
    staged: Path, delegated: World, option: str
) -> None:
    said = tool(
        "sign", staged, "--key", delegated.private("rosa"), "--passphrase-file", delegated.secret,
        "--yes", *[word for pair in (MEANT[:2], MEANT[2:]) if pair[0] != option for word in pair],
    )  # fmt: skip
    assert (said.code, option in said.err) == (2, True)
    assert signatures(staged) == []


@pytest.mark.parametrize("reason", ["", "two\nlines", "\x1b[2J", "x" * 1001, "\udcff"])
def test_a_reason_is_one_printable_line(staged: Path, delegated: World, reason: str) -> None:
    said = delegated.sign(staged, "rosa", "--reason", reason)
    assert said.code == 20
    assert signatures(staged) == []


def test_two_people_sign_copies_which_are_put_together(
    staged: Path, delegated: World, tmp_path: Path
) -> None:
    copies = [staged, tmp_path / "one", tmp_path / "two"]
    for copy in copies[1:]:
        shutil.copytree(staged, copy)
    delegated.sign(copies[1], "rosa")
    delegated.sign(copies[2], "raul")
    assert [tool("status", copy).code for copy in copies] == [10, 10, 10]
    assert tool("status", *copies).code == 0
    assert signatures(staged) == []
    merged = tool("status", *copies, "--merge", "--json")
    assert merged.code == 0
    assert set(merged.answer["brought_in"]) == {"rosa", "raul"}
    assert len(signatures(staged)) == 2
    assert tool("status", staged).code == 0
    assert tool("status", *copies, "--merge", "--json").answer["brought_in"] == []


def test_one_key_in_two_copies_counts_once(staged: Path, delegated: World, tmp_path: Path) -> None:
    shutil.copytree(staged, tmp_path / "copy")
    delegated.sign(staged, "rosa", "--reason", "here")
    delegated.sign(tmp_path / "copy", "rosa", "--reason", "there")
    said = tool("status", staged, tmp_path / "copy", "--json")
    assert (said.code, said.answer["needed"]) == (10, 1)
    assert [one["reason"] for one in said.answer["signed"]] == ["here"]


def test_signers_work_at_once_as_processes(staged: Path, delegated: World) -> None:
    command = Path(sys.executable).with_name("interlock-repo")
    running = [
        subprocess.Popen(
            [command, "sign", staged, "--key", delegated.private(name), "--passphrase-file",
             delegated.secret, "--yes", "--json", *MEANT],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for name in RELEASE_MANAGERS
    ]  # fmt: skip
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert json.loads(out)["outcome"] == "done"
    assert len(signatures(staged)) == 3
    assert tool("status", staged).code == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("person", "raul"), ("meaning", "authored"), ("at", "2020-01-01T00:00:00Z"),
     ("reason", "forged"), ("role", "interlock"), ("sig", "00"), ("record_sig", "00")],
)  # fmt: skip
def test_the_record_is_bound_to_the_signature(
    staged: Path, delegated: World, field: str, value: str
) -> None:
    delegated.sign(staged, "rosa", "--reason", "run 118")
    [file] = signatures(staged)
    record = json.loads(file.read_bytes())
    record[field] = value
    file.write_bytes(wire.encode(record))
    said = tool("status", staged, "--json")
    assert (said.code, said.answer["reason"]) == (20, "bad_signature")
    assert file.name in said.err


def test_a_signature_of_a_stranger_is_named(staged: Path, delegated: World, tmp_path: Path) -> None:
    delegated.sign(staged, "rosa")
    [file] = signatures(staged)
    record = json.loads(file.read_bytes())
    record["keyid"] = load_public_key(delegated.public("tom")).key.keyid
    file.unlink()
    (staged / "signatures" / f"{record['keyid']}.json").write_bytes(wire.encode(record))
    said = tool("status", staged, "--json")
    assert (said.code, said.answer["reason"]) == (20, "wrong_key")


def test_a_token_that_signs_wrongly_is_caught(staged: Path, delegated: World) -> None:
    event = open_event(staged)
    named = load_public_key(delegated.public("rosa"))
    now = system_clock()

    class Broken(Signer):
        """Signs with another key than it says."""

        @property
        def public_key(self) -> Key:
            return named.key

        @classmethod
        def from_priv_key_uri(cls, *_: object) -> Broken:
            raise AssertionError

        def sign(self, payload: bytes) -> Signature:
            return CryptoSigner.generate_ed25519().sign(payload)

    holder = holder_for(event, named, now)
    with pytest.raises(RefusedError) as caught:
        sign(event, Broken(), holder, person="rosa", meaning="approved", reason="because", now=now)
    assert caught.value.reason == "bad_signature"


def test_what_has_expired_is_not_signed(staged: Path, delegated: World) -> None:
    event = open_event(staged)
    later = event.metadata.signed.expires + timedelta(seconds=1)
    with pytest.raises(RefusedError) as caught:
        holder_for(event, load_public_key(delegated.public("rosa")), later)
    assert caught.value.reason == "expired_metadata"


@pytest.mark.parametrize(
    "scheme", ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "rsassa-pss-sha256", "ml-dsa-65/1"]
)
def test_every_kind_of_key_signs(delegated: World, tmp_path: Path, scheme: str) -> None:
    # A role of one family: ML-DSA beside Ed25519 would ask for more than both of them.
    for name in ("kim", "kay"):
        keys.new_key(delegated.keys, name, scheme, PASSPHRASE, scrypt_n=keys.MIN_SCRYPT_N)
    text = role("products.bridge", 2, "kim", "kay")
    delegated.in_force("delegate", delegated.delegations(text), ("ada", "ben"))
    event = tmp_path / "e"
    delegated.make("stage", event, delegated.release(product='"bridge"'))
    for name in ("kim", "kay"):
        said = delegated.sign(event, name)
        assert said.code == 0, said.err
    opened, tally = open_copies([event])
    assert assemble(opened, tally, system_clock())


def test_a_key_uri_needs_its_public_half(staged: Path, delegated: World) -> None:
    words = ("sign", staged, "--key", "hsm:2?label=rosa", "--yes", *MEANT)
    said = tool(*words)
    assert said.code == 2
    assert "--public" in said.err
    said = tool(*words, "--public", delegated.public("rosa"))
    assert said.code == 2
    assert "Traceback" not in said.err
    uri = f"encrypted-file:{delegated.private('rosa')}"
    said = tool(
        "sign", staged, "--key", uri, "--passphrase-file", delegated.secret, "--yes", *MEANT
    )
    assert said.code == 0, said.err


def test_a_holder_is_who_the_delegator_says(staged: Path, delegated: World) -> None:
    signer = keys.load_signer(delegated.private("rosa"), lambda _: PASSPHRASE)
    delegated.public("mallory").write_bytes(keys.public_key_file("mallory", signer))
    shutil.copy(delegated.private("rosa"), delegated.private("mallory"))
    assert delegated.sign(staged, "mallory").code == 0
    [file] = signatures(staged)
    assert json.loads(file.read_bytes())["person"] == "rosa"


def test_signing_opens_no_socket(staged: Path, delegated: World) -> None:
    watch = (
        "import os, sys\n"
        "def watch(event, arguments):\n"
        "    if event.startswith('socket.'):\n"
        "        os.write(2, event.encode())\n"
        "        os._exit(97)\n"
        "from interlock_repo.cli import main\n"
        "sys.addaudithook(watch)\n"
        "main()\n"
    )
    for words in (
        (
            "sign",
            "--key",
            delegated.private("rosa"),
            "--passphrase-file",
            delegated.secret,
            "--yes",
            *MEANT,
        ),
        ("review",),
        ("status",),
    ):
        done = subprocess.run(
            [sys.executable, "-c", watch, words[0], staged, *words[1:]],
            capture_output=True,
            check=False,
            env=os.environ,
        )
        assert done.returncode in {0, 10}, done.stderr


def test_a_role_of_one_product_signs_only_its_own(staged: Path, delegated: World) -> None:
    event = open_event(staged)
    assert event.file.role == PRODUCT
    assert event.delegator.version == 2
