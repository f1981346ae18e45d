"""Secrets come from a private file, systemd, or a person at a terminal; from nowhere else."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import pytest

from interlock_core.credentials import credential_file, new_passphrase, passphrase_handler
from interlock_core.errors import ConfigurationError, NotFoundError, SecretError


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def secret_file(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def fails(path: object, *args: int) -> int:
        if path == "/dev/tty":
            raise OSError(6, "No such device or address")
        return real(str(path), *args)

    monkeypatch.setattr(os, "open", fails)


@pytest.mark.parametrize(
    "content", [b"secret word", b"secret word\n", b"secret word\r\n", b"secret word\nmore\n"]
)
def test_the_first_line_of_a_file_is_the_secret(tmp_path: Path, content: bytes) -> None:
    path = secret_file(tmp_path / "p", content)
    assert passphrase_handler(path)("passphrase") == "secret word"


def test_spaces_belong_to_the_secret(tmp_path: Path) -> None:
    assert passphrase_handler(secret_file(tmp_path / "p", b" a b \n"))("passphrase") == " a b "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_reach_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path / "p", b"secret word", mode)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {path}") as refused:
        passphrase_handler(path)("passphrase")
    assert "secret word" not in str(refused.value)


def test_systemd_credentials_are_exempt_and_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = secret_file(tmp_path / "online", b"secret word", 0o440)
    assert credential_file("online") is None
    with pytest.raises(ConfigurationError):
        passphrase_handler(path)("passphrase")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert credential_file("online") == path
    assert passphrase_handler(path)("passphrase") == "secret word"
    assert passphrase_handler(None, credential="online")("passphrase") == "secret word"
    assert credential_file("other") is None
    assert credential_file("../online") is None


def test_a_file_goes_before_a_credential_and_a_credential_before_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    named = secret_file(tmp_path / "named", b"named")
    secret_file(tmp_path / "online", b"online")

    def prompt(_what: str) -> str:
        return "typed"

    assert passphrase_handler(named, prompt, credential="online")("x") == "named"
    assert passphrase_handler(None, prompt, credential="online")("x") == "online"
    assert passphrase_handler(None, prompt, credential="other")("x") == "typed"
    assert passphrase_handler(None, prompt)("x") == "typed"


@pytest.mark.parametrize("content", [b"", b"\n", b"\nsecond line"])
def test_an_empty_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SecretError, match="empty"):
        passphrase_handler(secret_file(tmp_path / "p", content))("passphrase")
    with pytest.raises(SecretError, match="empty"):
        passphrase_handler(None, lambda _what: "")("passphrase")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 5000])
def test_what_is_no_passphrase_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SecretError, match="does not look like"):
        passphrase_handler(secret_file(tmp_path / "p", content))("passphrase")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="missing"):
        passphrase_handler(tmp_path / "missing")("passphrase")


def test_without_a_terminal_the_error_says_what_to_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    no_terminal(monkeypatch)
    with pytest.raises(SecretError, match="--passphrase-file") as refused:
        passphrase_handler(None)("passphrase of alice")
    assert refused.value.reason == "no_passphrase"


def test_at_a_terminal_a_person_is_asked_without_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def terminal(prompt: str) -> str:
        asked.append(prompt)
        return "typed"

    monkeypatch.setattr(os, "open", lambda *_args: os.dup(0))
    monkeypatch.setattr(getpass, "getpass", terminal)
    assert passphrase_handler(None)("passphrase of alice") == "typed"
    assert asked == ["Passphrase of alice: "]


def test_a_person_who_answers_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def terminal(_prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr(os, "open", lambda *_args: os.dup(0))
    monkeypatch.setattr(getpass, "getpass", terminal)
    with pytest.raises(SecretError, match="No passphrase of alice was given"):
        passphrase_handler(None)("passphrase of alice")


def test_a_new_passphrase_is_asked_for_twice(tmp_path: Path) -> None:
    answers = iter(["one word", "one word", "one word", "another"])

    def prompt(_what: str) -> str:
        return next(answers)

    assert new_passphrase(None, "passphrase", prompt) == "one word"
    with pytest.raises(SecretError, match="differ"):
        new_passphrase(None, "passphrase", prompt)
    path = secret_file(tmp_path / "p", b"from file")
    assert new_passphrase(path, "passphrase", prompt) == "from file"
