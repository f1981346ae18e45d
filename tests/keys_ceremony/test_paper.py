"""What people hold in their hands: checklists, samples, digests for ears and cameras."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from interlock_ceremony.fingerprint import qr, spoken
from interlock_ceremony.script import parse
from tests.keys_ceremony.chain import Chain
from tests.keys_ceremony.stage import Stage, told


@pytest.mark.parametrize("later", [False, True])
def test_a_checklist_has_the_steps_that_the_transcript_tells_of(held: Stage, later: bool) -> None:
    chain = Chain(held)
    script = held.script
    if later:
        script = held.home / "change.toml"
        script.write_text(
            chain.script({"do": "lost", "role": "image.root", "holder": "carol", "by": "erik"})
        )
    else:
        shutil.move(held.output, held.home / "away")
    result = held.call("checklist", script)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 96
    printed = re.findall(r"^ *(\d+)   _+  _+  (DO|CHECK|SIGN) ", result.stdout, re.MULTILINE)
    done = chain.run(script.read_text()) if later else held.run()
    assert done.exit_code == 0, done.output
    shown = re.findall(r"^\S+Z +(\d+)  (DO|CHECK|SIGN) ", done.stdout, re.MULTILINE)
    assert printed == shown
    assert [int(number) for number, _ in printed] == list(range(1, len(printed) + 1))
    assert "Dana Dorn" in result.stdout or later
    assert "What was not as planned" in result.stdout


def test_a_checklist_of_a_bad_script(stage: Stage) -> None:
    stage.edit("threshold = 2", "threshold = 9")
    assert stage.call("checklist", stage.script).exit_code == 2


def test_the_later_sample_runs_as_it_is_printed(tmp_path: Path) -> None:
    stage = Stage.setup(tmp_path)
    stage.script.write_text(stage.call("sample").stdout)
    (stage.home / "online").rename(stage.home / "online-keys")
    assert stage.run().exit_code == 0
    stage.script.write_text(stage.call("sample", "--later").stdout)
    chain = Chain(stage)
    new = chain.online("image-online")
    (stage.home / Path(new).parent).rename(stage.home / "new-online-keys")
    erik = stage.home / "erik.txt"
    erik.write_text("the passphrase of erik\n")
    erik.chmod(0o600)
    words = [
        word
        for holder in ("dana", "alice", "bob", "erik")
        for word in ("--passphrase-file", f"{holder}={stage.home / holder}.txt")
    ]
    done = stage.call("run", stage.script, *words)
    assert done.exit_code == 0, done.output
    verified = stage.call("verify", stage.home / "ceremony-2" / "transcript.json")
    assert verified.exit_code == 0, verified.output


def test_the_later_sample_names_every_act() -> None:
    from importlib.resources import files  # noqa: PLC0415

    text = files("interlock_ceremony").joinpath("samples", "later.toml").read_text("utf-8")
    parse(text.encode(), what="sample")
    acts = set(re.findall(r'^(?:# )?do = "([a-z]+)"', text, re.MULTILINE))
    assert acts == {
        "add",
        "remove",
        "replace",
        "threshold",
        "renew",
        "rotate",
        "lost",
        "compromised",
    }


def test_a_directory_that_arrived_whole(original: Stage) -> None:
    said = told(original.call("check", original.output, "--json"))
    assert said["reason"] == "checked"
    assert len(said["private_keys"]) == 8
    shown = original.call("check", original.output).stdout
    assert spoken(said["manifest_sha256"]) in shown


def test_every_file_that_differs_is_named_at_once(held: Stage) -> None:
    output = held.output
    one, two = output / "image" / "1.root.json", output / "director" / "1.root.json"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    (output / "keys" / "mallory.key.json").write_text("{}")
    (output / "fleet.json").write_bytes((output / "fleet.json").read_bytes()[:-1])
    (output / "extra").symlink_to("/etc/passwd")
    result = held.call("check", output, "--json")
    assert (result.exit_code, told(result)["reason"]) == (20, "wrong_media")
    for name in (
        "image/1.root.json is",
        "director/1.root.json is",
        "keys/mallory.key.json is extra",
        "fleet.json is truncated",
        "extra is extra",
    ):
        assert f"Error: {name}" in result.stderr


def test_cameras_read_what_ears_hear(original: Stage) -> None:
    digest = told(original.verify("--json"))["files"][0]["sha256"]
    shown = original.verify("--qr").stdout
    assert qr(digest) in shown
    assert spoken(digest).splitlines()[1].strip() in shown
    assert qr(digest) not in original.verify().stdout
    lines = qr(digest).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert 2 * len(lines) - len(lines[0]) in {0, 1}  # a square of modules, two to a character
