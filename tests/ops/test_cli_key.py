"""``key new``, ``key show``, ``sample`` and the edge of every command."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from interlock_core.keys import load_public_key, load_signer
from interlock_ops import __version__
from interlock_ops.cli import main
from interlock_ops.cli.edge import Edge
from tests.ops.world import Place

PASSPHRASE = "correct horse battery"


def run(*words: str | Path, edge: Edge | None = None) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], obj=edge)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    path.chmod(0o600)
    return path


def test_a_new_key_opens_and_is_shown(tmp_path: Path, secret: Path) -> None:
    made = run(
        "key",
        "new",
        "alice",
        "--directory",
        tmp_path / "keys",
        "--passphrase-file",
        secret,
        "--json",
    )
    assert made.exit_code == 0, made.output
    answer = json.loads(made.stdout)
    assert (answer["outcome"], answer["reason"]) == ("done", "key_made")
    private = Path(answer["private"])
    assert private.stat().st_mode & 0o777 == 0o600
    signer = load_signer(private, lambda _: PASSPHRASE)
    assert signer.public_key.keyid == answer["fingerprint"]
    for file in (answer["public"], answer["private"]):
        shown = json.loads(run("key", "show", file, "--json").stdout)
        assert shown["name"] == "alice"
        assert shown["fingerprint"] == answer["fingerprint"]


def test_another_scheme(tmp_path: Path, secret: Path) -> None:
    words = ("--scheme", "ecdsa-sha2-nistp256", "--passphrase-file", secret)
    made = run("key", "new", "bob", "--directory", tmp_path, *words)
    assert made.exit_code == 0, made.output
    assert load_public_key(tmp_path / "bob.pub.json").key.scheme == "ecdsa-sha2-nistp256"
    assert "ECDSA P-256" in made.stdout


def test_a_person_is_asked_twice(tmp_path: Path) -> None:
    asked: list[str] = []
    answers = iter([PASSPHRASE, PASSPHRASE + "x"])

    def prompt(what: str) -> str:
        asked.append(what)
        return next(answers)

    made = run("key", "new", "carol", "--directory", tmp_path, edge=Edge(prompt=prompt))
    assert made.exit_code == 2
    assert "differ" in made.stderr
    assert len(asked) == 2
    assert not (tmp_path / "carol.key.json").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("key", "new", "Alice"), 20, "cannot name a key"),
        (("key", "new", "alice", "--scheme", "rot13"), 2, "rot13"),
        (("key", "show", "absent.pub.json"), 2, "absent.pub.json"),
        (("key", "show", "damaged.pub.json"), 20, "damaged.pub.json"),
        (("key", "show", "other.key.json"), 2, "other.pub.json"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    secret: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("damaged.pub.json").write_text('{"format": "interlock public key v1"}')
    extra = ("--passphrase-file", secret) if words[1] == "new" else ()
    result = run(*words, *extra)
    assert result.exit_code == code
    [last] = result.stderr.splitlines()[-1:]
    assert said in last
    assert "Traceback" not in result.output


def test_an_existing_key_is_never_overwritten(tmp_path: Path, secret: Path) -> None:
    words = ("key", "new", "alice", "--directory", tmp_path, "--passphrase-file", secret)
    assert run(*words).exit_code == 0
    before = (tmp_path / "alice.key.json").read_bytes()
    assert run(*words).exit_code == 20
    assert (tmp_path / "alice.key.json").read_bytes() == before


def test_a_passphrase_that_others_can_read_is_refused(tmp_path: Path, secret: Path) -> None:
    secret.chmod(0o644)
    made = run("key", "new", "alice", "--directory", tmp_path, "--passphrase-file", secret)
    assert made.exit_code == 2
    assert f"chmod 600 {secret}" in made.stderr


@pytest.mark.parametrize("what", ["order", "ops"])
def test_samples_are_toml(what: str) -> None:
    printed = run("sample", what)
    assert printed.exit_code == 0
    assert tomllib.loads(printed.stdout)
    assert tomllib.loads(json.loads(run("sample", what, "--json").stdout)["text"])


def test_version_and_help() -> None:
    assert __version__ in run("--version").stdout
    assert "rollout" in run("--help").stdout


COMMANDS = [
    ("key", "new"),
    ("key", "show"),
    ("sample",),
    *[
        ("rollout", name)
        for name in (
            "propose",
            "authorise",
            "start",
            "advance",
            "renew",
            "pause",
            "resume",
            "status",
            "post",
        )
    ],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_examples(command: tuple[str, ...]) -> None:
    shown = run(*command, "--help")
    assert shown.exit_code == 0
    examples = shown.stdout.partition("Examples:")[2]
    assert f"interlock-ops {' '.join(command)}" in examples
    assert "--json" in shown.stdout


def test_usage_errors_are_json_too() -> None:
    result = run("rollout", "start", "abc", "--reason", "x", "--json")
    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    assert answer["outcome"] == "usage"
    assert "64 digits" in answer["detail"]


def test_a_fault_of_ours_is_one_line_and_exit_1(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(place.clock, "__class__", type("Broken", (), {"__call__": broken}))
    result = place.run("rollout", "propose", place.order_file(), "--reason", "x", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["reason"] == "internal"
    assert "Traceback" not in result.output


def test_what_others_wrote_cannot_reach_the_terminal() -> None:
    result = run("key", "show", "evil\x1b[2J\u202e.pub.json")
    assert "\x1b" not in result.output
    assert "\u202e" not in result.output
    assert "\\u{1b}" in result.output
