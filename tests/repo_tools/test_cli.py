"""The command line as people and scripts meet it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import click
import pytest

from interlock_core import keys
from interlock_core.keys import load_public_key
from interlock_repo import __version__
from interlock_repo.cli import main
from interlock_repo.cli.sample import SAMPLES
from tests.repo_tools.world import CYCLONEDX, PASSPHRASE, World, tool

COMMAND = Path(sys.executable).with_name("interlock-repo")


def commands(group: click.Group = main, *words: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += commands(command, *words, name)
        else:
            found.append((*words, name))
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_each_command_explains_itself_with_an_example(words: tuple[str, ...]) -> None:
    said = tool(*words, "--help")
    assert said.code == 0
    assert f"interlock-repo {' '.join(words)} " in said.out.split("Example")[1]
    assert "--json" in said.out


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_usage_error_is_one_json_object_too(words: tuple[str, ...]) -> None:
    said = tool(*words, "--json", "--no-such-option")
    assert said.code == 2
    assert said.answer["outcome"] == "usage"
    assert "--no-such-option" in said.err


def test_version_and_help() -> None:
    assert __version__ in tool("--version").out
    said = tool("--help")
    assert said.code == 0
    assert "Exit codes" in said.out
    assert tool().code == 2


def test_what_nobody_foresaw_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(keys, "load_public_key", broken)
    said = tool("key", "show", world.public("rosa"), "--json")
    assert (said.code, said.answer["reason"]) == (1, "unexpected")
    assert said.err.count("\n") == 1
    assert "nobody foresaw this" in said.err


def secret(directory: Path, text: str = PASSPHRASE) -> Path:
    path = directory / "secret"
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("scheme", ["ed25519", "ecdsa-sha2-nistp256", "ml-dsa-65/1"])
def test_a_new_key_opens_with_its_passphrase_and_shows_its_fingerprint(
    tmp_path: Path, scheme: str
) -> None:
    made = tool(
        "key", "new", "kim", "--directory", tmp_path / "k", "--scheme", scheme,
        "--passphrase-file", secret(tmp_path), "--json",
    )  # fmt: skip
    assert made.code == 0, made.err
    private = tmp_path / "k" / "kim.key.json"
    assert private.stat().st_mode & 0o777 == 0o600
    keys.load_signer(private, lambda _: PASSPHRASE)
    named = load_public_key(tmp_path / "k" / "kim.pub.json")
    assert (named.key.scheme, named.key.keyid) == (scheme, made.answer["fingerprint"])
    for file in ("kim.pub.json", "kim.key.json"):
        shown = tool("key", "show", tmp_path / "k" / file)
        assert shown.code == 0
        assert named.key.keyid in shown.out
        assert made.answer["read_aloud"] in shown.out


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    words = ("key", "new", "kim", "--directory", tmp_path, "--passphrase-file", secret(tmp_path))
    assert tool(*words).code == 0
    before = (tmp_path / "kim.key.json").read_bytes()
    assert tool(*words).code == 20
    assert (tmp_path / "kim.key.json").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "passphrase", "code"), [("Kim", PASSPHRASE, 20), ("kim", "short", 2), ("kim", "", 2)]
)
def test_names_and_passphrases_that_will_not_do(
    tmp_path: Path, name: str, passphrase: str, code: int
) -> None:
    words = ("key", "new", name, "--directory", tmp_path / "k", "--passphrase-file")
    assert tool(*words, secret(tmp_path, passphrase)).code == code
    assert not list(tmp_path.rglob("*.key.json"))


def test_a_passphrase_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = secret(tmp_path)
    path.chmod(0o644)
    said = tool("key", "new", "kim", "--directory", tmp_path, "--passphrase-file", path)
    assert said.code == 2
    assert "chmod 600" in said.err


def test_without_terminal_and_file_nobody_is_asked(tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "key", "new", "kim", "--directory", tmp_path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == 2
    assert "--passphrase-file" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_public_key_that_was_damaged_is_refused(world: World) -> None:
    file = world.public("rosa")
    tree = json.loads(file.read_text())
    tree["proof"] = "00" * 64
    file.write_text(json.dumps(tree, sort_keys=True, separators=(",", ":")))
    said = tool("key", "show", file, "--json")
    assert (said.code, said.answer["reason"]) == (20, "bad_proof")


SAMPLED = {
    "delegations": ("delegate", ("ada", "ben")),
    "release": ("stage", ("rosa", "rita")),
    "roster": ("roster", ("tom", "tess")),
    "permit": ("permit", ("rosa", "rita")),
}


def test_the_samples_work_as_they_are(world: World) -> None:
    for name in SAMPLES:
        said = tool("sample", name)
        assert said.code == 0
        (world.place / f"{name}.toml").write_text(said.out)
    (world.place / "ward-gateway-1.4.0.img").write_bytes(b"firmware")
    (world.place / "ward-gateway-1.4.0.cdx.json").write_text(json.dumps(CYCLONEDX))
    (world.place / "ward-gateway-1.4.0.vex.json").write_text("{}")
    (world.place / "release-notes.md").write_text("# 1.4.0\n")
    assert set(SAMPLED) == set(SAMPLES)
    for name, (act, people) in SAMPLED.items():
        if name == "release":
            # What the permit goes down to.
            older = world.release(
                "1.3.0", 1, hardware_ids='["cg-200", "cg-210"]', markets='["AT", "CH", "DE"]'
            )
            world.in_force("stage", older, people)
        event = world.in_force(act, world.place / f"{name}.toml", people)
        assert tool("status", event).code == 0


def test_the_whole_as_processes_with_plain_words(world: World) -> None:
    """As a shell script would: exit codes, nothing but JSON on standard output, no questions."""

    def run(*words: str | Path, code: int = 0) -> dict[str, object]:
        done = subprocess.run(
            [COMMAND, *map(str, words), "--json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=world.place,
            env=os.environ | {"LANG": "C", "LC_ALL": "C"},
        )
        assert done.returncode == code, done.stderr
        answer: dict[str, object] = json.loads(done.stdout)
        assert {"outcome", "reason"} <= answer.keys()
        return answer

    run(
        "delegate", "--event", "e", "--repository", "ceremony", "--root",
        "ceremony/image/1.root.json", world.delegations(),
    )  # fmt: skip
    run("status", "e", code=10)
    for name in ("ada", "cleo"):
        run(
            "sign", "e", "--key", f"keys/{name}.key.json", "--passphrase-file", "keys/passphrase",
            "--meaning", "approved", "--reason", "grüße", "--yes",
        )  # fmt: skip
    assert run("review", "e")["needed"] == 0
    assert run("status", "e")["reason"] == "threshold_met"
    assert run("review", "none", code=2)["outcome"] == "usage"


def test_a_review_on_a_terminal_is_a_table(staged: Path) -> None:
    main_end, child = pty.openpty()
    with subprocess.Popen(
        [COMMAND, "review", staged],
        stdin=child,
        stdout=child,
        stderr=child,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    ) as process:
        os.close(child)
        shown = b""
        while True:
            try:
                shown += os.read(main_end, 65536)
            except OSError:
                break
        os.close(main_end)
        assert process.wait() == 0
    text = shown.decode()
    assert "│" in text
    assert "What a gateway could newly install" in text


def test_on_a_terminal_one_is_asked_before_signing(staged: Path, world: World) -> None:
    def answer(meaning: bytes, reason: bytes, sure: bytes) -> int:
        child, terminal = pty.fork()
        if child == 0:
            os.execv(  # noqa: S606  # our own command, on a terminal of its own
                COMMAND,
                [str(COMMAND), "sign", str(staged), "--key", str(world.private("rosa")),
                 "--passphrase-file", str(world.secret)],
            )  # fmt: skip
        shown = b""
        for asked, said in ((b"Meaning (", meaning), (b"Reason, ", reason), (b"[y/N]", sure)):
            while asked not in shown:
                shown += os.read(terminal, 65536)
            os.write(terminal, said)
        while True:
            try:
                if not os.read(terminal, 65536):
                    break
            except OSError:
                break
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert answer(b"approved\n", b"run 118\n", b"n\n") == 1
    assert not list((staged / "signatures").iterdir())
    # What is no meaning, and an empty line for a reason, are asked again: nothing is assumed.
    assert answer(b"\nagreed\nreviewed\n", b"\n\nrun 118\n", b"y\n") == 0
    [file] = (staged / "signatures").iterdir()
    record = json.loads(file.read_bytes())
    assert (record["meaning"], record["reason"]) == ("reviewed", "run 118")
