"""Keys in a PKCS#11 token: SoftHSM2 is the token, python-pkcs11 what its owner could do with it."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import Signer

from interlock_core import disk, keys, token_keys, token_turn, tokens, wire
from interlock_core.errors import (
    ConfigurationError,
    ConflictError,
    Exit,
    InterlockError,
    NotFoundError,
    RefusedError,
    SecretError,
)
from interlock_core.keys import home_of, load_public_key, load_signer, new_key, new_token_key
from interlock_core.tokens import TokenUri, check_token, read_uri
from tests.support.tokens import PIN, Shelf, library, shelf_at, typing, use

URI = "hsm:2?label=alice"
P256 = "ecdsa-sha2-nistp256"


class PowerCut(BaseException):
    """What a test raises in place of the power going away."""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(tokens, "_known_wrong", set())
    made = use(shelf_at(tmp_path / "shelf"), monkeypatch)
    made.add("alice")
    return made


@pytest.fixture
def alice(shelf: Shelf, tmp_path: Path) -> Path:
    """The handle of a key in the token."""
    return make(tmp_path)


def make(directory: Path, name: str = "alice", scheme: str = P256, uri: str = URI) -> Path:
    return new_token_key(directory / "keys", name, scheme, uri, typing(PIN)).private


def failure(act: Callable[[], object]) -> InterlockError:
    with pytest.raises(InterlockError) as refused:
        act()
    return refused.value


# Made inside, and never taken out


@pytest.mark.parametrize("scheme", sorted(token_keys.CURVES))
def test_a_key_of_each_kind_is_made_inside_signs_and_verifies(
    shelf: Shelf, tmp_path: Path, scheme: str
) -> None:
    asked = typing(PIN)
    pair = new_token_key(tmp_path, "alice", scheme, URI, asked)
    assert asked.asked == ["PIN of the token 'alice'"]
    assert pair.new
    named = load_public_key(pair.public)  # its proof of possession verifies
    assert (named.name, named.key.scheme) == ("alice", scheme)
    asked = typing(PIN)
    signer = load_signer(pair.private, asked)
    for payload in (b"one", b"two"):
        named.key.verify_signature(signer.sign(payload), payload)
    assert len(asked.asked) == 1


def test_the_token_does_not_give_the_key_away(alice: Path, shelf: Shelf) -> None:
    with shelf.inside("alice") as (p11, session):
        [private] = session.get_objects({p11.Attribute.CLASS: p11.ObjectClass.PRIVATE_KEY})
        with pytest.raises(p11.AttributeSensitive):
            private[p11.Attribute.VALUE]
        with pytest.raises(p11.AttributeReadOnly):
            private[p11.Attribute.EXTRACTABLE] = True
        with pytest.raises(p11.AttributeReadOnly):
            private[p11.Attribute.SENSITIVE] = False
        with pytest.raises(p11.PKCS11Error):  # CKR_ACTION_PROHIBITED: not copyable
            private.copy({p11.Attribute.TOKEN: False})
        wrapping = session.generate_key(p11.KeyType.AES, 256)
        with pytest.raises(p11.KeyUnextractable):
            wrapping.wrap_key(private)
        words = ("PRIVATE", "SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL", "SIGN")
        assert all(private[p11.Attribute[word]] is True for word in words)
        others = ("EXTRACTABLE", "COPYABLE", "DERIVE", "DECRYPT", "UNWRAP")
        assert not any(private[p11.Attribute[word]] for word in others)


def test_what_lies_on_the_disk_is_no_secret(alice: Path) -> None:
    assert wire.parse(alice.read_bytes(), limit=1000, what="handle") == {
        "format": "interlock token key v1",
        "uri": "hsm:2?label=alice",
    }
    assert alice.stat().st_mode & 0o777 == 0o600
    for path in alice.parent.iterdir():
        assert PIN not in path.read_text()


def test_where_a_key_lives_is_said(alice: Path, tmp_path: Path) -> None:
    assert home_of(alice) == "token 'alice', number 2 (hsm:2?label=alice); it does not leave it"
    private, _ = new_key(tmp_path, "bob", "ed25519", "long enough", scrypt_n=keys.MIN_SCRYPT_N)
    assert home_of(private) == f"{private}, encrypted under a passphrase"


def test_the_only_token_needs_no_label_and_the_handle_gets_it(shelf: Shelf, tmp_path: Path) -> None:
    assert wire.parse(make(tmp_path, uri="hsm:").read_bytes(), limit=999, what="")["uri"] == URI


def test_a_token_that_does_not_know_copyable_makes_the_key_all_the_same(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[bool] = []

    @contextmanager
    def old(*words: Any, **more: Any) -> Iterator[tokens.OpenToken]:
        with tokens.opened(*words, **more) as token:
            session: Any = _OldSession(token.session, tried)
            yield replace(token, session=session)

    monkeypatch.setattr(token_keys, "opened", old)
    load_signer(make(tmp_path), typing(PIN))
    assert tried == [True, False]


class _OldSession:
    """Makes keys as a token of before PKCS#11 2.40 does; all else is the real session's."""

    def __init__(self, session: Any, tried: list[bool]) -> None:
        self._session, self._tried = session, tried

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def create_domain_parameters(self, *words: Any, **more: Any) -> Any:
        self._parameters = self._session.create_domain_parameters(*words, **more)
        return self

    def generate_keypair(self, *, private_template: dict[Any, bool], **more: Any) -> Any:
        import pkcs11  # noqa: PLC0415  # its names

        self._tried.append(pkcs11.Attribute.COPYABLE in private_template)
        if self._tried[-1]:
            raise pkcs11.AttributeTypeInvalid
        return self._parameters.generate_keypair(private_template=private_template, **more)


# The PIN


def test_a_wrong_pin_is_said_and_shown_to_the_token_once(alice: Path, shelf: Shelf) -> None:
    asked = typing("000000")
    wrong = failure(lambda: load_signer(alice, asked))
    assert isinstance(wrong, SecretError)
    assert (wrong.reason, wrong.exit_code) == ("wrong_pin", Exit.USAGE)
    assert "locks after a few" in str(wrong)
    assert "000000" not in str(wrong)
    assert len(asked.asked) == 1
    shelf.take_out()
    shelf.put_back()
    assert failure(lambda: load_signer(alice, typing("000000"))).reason == "wrong_pin"


def test_a_known_wrong_pin_is_not_shown_to_the_token_again(
    alice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins = _Logins(monkeypatch)
    for _ in range(3):  # as three online keys of one token would be opened
        assert failure(lambda: load_signer(alice, typing("000000"))).reason == "wrong_pin"
    assert logins.count == 1
    load_signer(alice, typing(PIN))
    assert logins.count == 2


class _Logins:
    """Counts how often a token is logged in to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = tokens._find

        def find(*words: Any) -> Any:
            return _Counted(real(*words), self)

        monkeypatch.setattr(tokens, "_find", find)


class _Counted:
    def __init__(self, token: Any, logins: _Logins) -> None:
        self._token, self._logins = token, logins

    def __getattr__(self, name: str) -> Any:
        return getattr(self._token, name)

    def open(self, **words: Any) -> Any:
        self._logins.count += 1
        return self._token.open(**words)


def test_a_pin_that_was_changed_meanwhile_is_shown_once(alice: Path, shelf: Shelf) -> None:
    signer = load_signer(alice, typing(PIN))
    with shelf.inside("alice") as (_, session):
        session.set_pin(PIN, "246810")
    for _ in range(2):
        assert failure(lambda: signer.sign(b"x")).reason == "wrong_pin"
    load_signer(alice, typing("246810")).sign(b"x")


def test_the_question_warns_after_a_wrong_pin(alice: Path) -> None:
    failure(lambda: load_signer(alice, typing("000000")))
    asked = typing(PIN)
    load_signer(alice, asked)
    [question] = asked.asked
    assert question == (
        "PIN of the token 'alice' (a wrong one was tried before, and it locks after a few)"
    )


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"LOGIN_REQUIRED": False}, "token_without_pin"),
        ({"USER_PIN_INITIALIZED": False}, "token_without_pin"),
        ({"USER_PIN_LOCKED": True}, "token_locked"),
    ],
)
def test_a_token_without_a_pin_or_locked_is_named_before_anybody_is_asked(
    alice: Path, monkeypatch: pytest.MonkeyPatch, flags: dict[str, bool], reason: str
) -> None:
    import pkcs11  # noqa: PLC0415  # the names of its flags

    class Flagged(_Counted):
        @property
        def flags(self) -> int:
            value: int = self._token.flags
            for name, on in flags.items():
                bit = pkcs11.TokenFlag[name]
                value = value | bit if on else value & ~bit
            return value

    real = tokens._find
    logins = _Logins(monkeypatch)
    monkeypatch.setattr(tokens, "_find", lambda *words: Flagged(real(*words), logins))
    assert failure(lambda: load_signer(alice, typing())).reason == reason
    assert logins.count == 0


@pytest.mark.parametrize(
    ("name", "reason", "code"),
    [
        ("PinLocked", "token_locked", Exit.USAGE),
        ("PinExpired", "pin_expired", Exit.USAGE),
        ("PinLenRange", "wrong_pin", Exit.USAGE),
        ("DeviceRemoved", "token_failed", Exit.TRANSIENT),
        ("DeviceError", "token_failed", Exit.TRANSIENT),
        ("TokenWriteProtected", "token", Exit.USAGE),
        ("MechanismInvalid", "token", Exit.USAGE),
    ],
)
def test_what_a_token_answers_becomes_one_clear_line(
    alice: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str, code: Exit
) -> None:
    import pkcs11  # noqa: PLC0415  # its errors

    class Failing(_Counted):
        def open(self, **_: Any) -> Any:
            raise getattr(pkcs11, name)

    real = tokens._find
    logins = _Logins(monkeypatch)
    monkeypatch.setattr(tokens, "_find", lambda *words: Failing(real(*words), logins))
    said = failure(lambda: load_signer(alice, typing(PIN)))
    assert (said.reason, said.exit_code) == (reason, code)
    assert "'alice'" in str(said)


# Which token, which key


def test_a_missing_token_is_named_before_the_pin_is_asked(alice: Path, shelf: Shelf) -> None:
    signer = load_signer(alice, typing(PIN))
    shelf.take_out()
    missing = failure(lambda: load_signer(alice, typing()))
    assert isinstance(missing, NotFoundError)
    assert missing.reason == "no_token"
    assert "token 'alice'" in str(missing)
    assert failure(lambda: signer.sign(b"x")).reason == "no_token"
    shelf.put_back()
    signer.sign(b"x")


def test_two_tokens_of_one_label_are_refused(alice: Path, shelf: Shelf) -> None:
    shelf.add("alice")
    said = failure(lambda: load_signer(alice, typing()))
    assert (type(said), said.reason) == (ConfigurationError, "ambiguous_token")


def test_two_tokens_and_no_label_are_refused(shelf: Shelf, tmp_path: Path) -> None:
    shelf.add("bob")
    said = failure(lambda: make(tmp_path, uri="hsm:2"))
    assert said.reason == "ambiguous_token"
    assert "'alice', 'bob'" in str(said)


def test_two_keys_under_one_number_are_refused(alice: Path, shelf: Shelf, tmp_path: Path) -> None:
    plant(shelf, label="other", id=b"\x02")
    said = failure(lambda: load_signer(alice, typing(PIN)))
    assert (type(said), said.reason) == (ConfigurationError, "ambiguous_token_key")
    assert "holds 2 keys under the number 2" in str(said)


def test_another_token_in_the_place_of_the_right_one_is_noticed(
    alice: Path, shelf: Shelf, tmp_path: Path
) -> None:
    signer = load_signer(alice, typing(PIN))
    (shelf.home / "tokens").rename(tmp_path / "the right one")
    (shelf.home / "tokens").mkdir()
    shelf.add("alice")
    assert failure(lambda: load_signer(alice, typing(PIN))).reason == "no_token_key"
    make(tmp_path / "elsewhere")
    assert failure(lambda: load_signer(alice, typing(PIN))).reason == "key_mismatch"
    assert failure(lambda: signer.sign(b"x")).reason == "key_mismatch"


def plant(shelf: Shelf, *, label: str, id: bytes, **words: bool) -> None:  # noqa: A002  # PKCS#11's
    """A key that somebody made in the token with another tool."""
    with shelf.inside("alice") as (p11, session):
        curve = p11.util.ec.encode_named_curve_parameters("secp256r1")
        parameters = session.create_domain_parameters(
            p11.KeyType.EC, {p11.Attribute.EC_PARAMS: curve}, local=True
        )
        parameters.generate_keypair(
            store=True,
            id=id,
            label=label,
            private_template={p11.Attribute[word]: value for word, value in words.items()},
        )


@pytest.mark.parametrize(
    "words", [{"EXTRACTABLE": True}, {"SENSITIVE": False}, {"PRIVATE": False}], ids=str
)
def test_a_key_that_the_token_does_not_guard_signs_nothing(
    alice: Path, shelf: Shelf, tmp_path: Path, words: dict[str, bool]
) -> None:
    plant(shelf, label="weak", id=b"\x05", **words)
    public = load_public_key(keys.public_path_of(alice)).key
    said = failure(lambda: load_signer("hsm:5?label=alice", typing(PIN), public))
    assert (type(said), said.reason) == (RefusedError, "weak_token_key")
    assert next(iter(words)).lower() in str(said)
    said = failure(lambda: make(tmp_path, "weak", uri="hsm:5?label=alice"))
    assert said.reason == "weak_token_key"
    assert not (tmp_path / "keys" / "weak.key.json").exists()


# Nothing is overwritten, and what was cut off is finished


def test_no_key_is_overwritten(alice: Path, shelf: Shelf, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in alice.parent.iterdir()}
    assert isinstance(failure(lambda: make(tmp_path)), ConflictError)
    # Another name under the number, and the name under another number.
    assert failure(lambda: make(tmp_path, "bob")).reason == "token_key_exists"
    elsewhere = tmp_path / "elsewhere"
    said = failure(lambda: make(elsewhere, uri="hsm:3?label=alice"))
    assert said.reason == "token_key_exists"
    said = failure(lambda: make(elsewhere, scheme="ecdsa-sha2-nistp384"))
    assert said.reason == "token_key_exists"
    assert {path: path.read_bytes() for path in alice.parent.iterdir()} == before
    with shelf.inside("alice") as (p11, session):
        assert len(list(session.get_objects({p11.Attribute.CLASS: 3}))) == 1


def test_a_handle_and_a_key_file_do_not_replace_one_another(alice: Path, tmp_path: Path) -> None:
    keys.public_path_of(alice).unlink()
    with pytest.raises(ConflictError, match="handle of a key in a token"):
        new_key(alice.parent, "alice", "ed25519", "long enough", scrypt_n=keys.MIN_SCRYPT_N)
    private, public = new_key(tmp_path, "bob", "ed25519", "long enough", scrypt_n=keys.MIN_SCRYPT_N)
    public.unlink()
    with pytest.raises(ConflictError, match="holds a key of its own"):
        new_token_key(tmp_path, "bob", P256, "hsm:9?label=alice", typing())
    assert private.exists()


def test_a_kill_at_any_moment_leaves_what_the_same_command_finishes(
    shelf: Shelf, tmp_path: Path
) -> None:
    """Every step on the disk, and the moment after the key was made in the token."""
    (tmp_path / "keys").mkdir()
    count = _steps(lambda: make(tmp_path, "whole", uri="hsm:1000?label=alice"))
    assert count >= 4
    for steps in range(count):
        name, uri = f"k{steps}", f"hsm:{steps + 1}?label=alice"
        _cut(steps, partial(make, tmp_path, name, uri=uri))
        private = tmp_path / "keys" / f"{name}.key.json"
        if not keys.public_path_of(private).exists():  # else nothing was left to do
            assert not new_token_key(tmp_path / "keys", name, P256, uri, typing(PIN)).new
        assert load_public_key(keys.public_path_of(private)).name == name
        load_signer(private, typing(PIN)).sign(b"x")
        with shelf.inside("alice") as (p11, session):
            class_ = p11.ObjectClass.PRIVATE_KEY
            wanted = {p11.Attribute.CLASS: class_, p11.Attribute.LABEL: name}
            assert len(list(session.get_objects(wanted))) == 1


def _steps(act: Callable[[], object]) -> int:
    seen: list[str] = []
    with disk.watching(lambda step, _: seen.append(step)):
        act()
    return len(seen)


def _cut(after: int, act: Callable[[], object]) -> None:
    left = iter(range(after))

    def watch(*_: object) -> None:
        if next(left, None) is None:
            raise PowerCut

    with pytest.raises(PowerCut), disk.watching(watch):
        act()


def test_a_handle_whose_key_is_gone_makes_no_other_key(
    alice: Path, shelf: Shelf, tmp_path: Path
) -> None:
    keys.public_path_of(alice).unlink()
    (shelf.home / "tokens").rename(tmp_path / "lost")
    (shelf.home / "tokens").mkdir()
    shelf.add("alice")
    assert failure(lambda: make(tmp_path)).reason == "no_token_key"
    with shelf.inside("alice") as (_, session):
        assert list(session.get_objects()) == []


# The library


def test_an_unset_or_unusable_library_is_named(
    alice: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PYKCS11LIB")
    said = failure(lambda: load_signer(alice, typing()))
    assert (said.reason, said.exit_code) == ("no_token_library", Exit.USAGE)
    assert "PYKCS11LIB" in str(said)
    (tmp_path / "no.so").write_text("no library")
    for path in (tmp_path / "no.so", tmp_path / "nowhere.so"):
        monkeypatch.setenv("PYKCS11LIB", str(path))
        said = failure(lambda: load_signer(alice, typing()))
        assert said.reason == "no_token_library"
        assert str(path) in str(said)


FORKS = """
import os, sys
from pathlib import Path
from interlock_core.keys import load_signer
signer = load_signer(Path(sys.argv[1]), lambda _: sys.argv[2])
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        signer.public_key.verify_signature(signer.sign(b"x"), b"x")
        sys.exit()
    children.append(child)
ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
signer.sign(b"x")
sys.exit(str(ended) if any(ended) else 0)
"""
"""A program of its own: one that runs tests has threads, and must not fork."""


def test_a_key_opened_before_a_fork_signs_in_every_child(alice: Path) -> None:
    """As gunicorn's workers do: no session, and no initialised library, is inherited."""
    command = [sys.executable, "-c", FORKS, str(alice), PIN]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


CROWD = """
import os, sys
from pathlib import Path
from interlock_core.keys import load_signer
signer = load_signer(Path(sys.argv[1]), lambda _: sys.argv[2])
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        for _ in range(8):
            signer.sign(b"x")
        sys.exit()
    children.append(child)
ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
sys.exit(str(ended) if any(ended) else 0)
"""


def test_processes_take_turns(alice: Path) -> None:
    """Without, most of these signatures fail: a login rewrites the files of a token in software."""
    command = [sys.executable, "-c", CROWD, str(alice), PIN]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_whoever_keeps_the_turn_keeps_nobody_from_signing(
    alice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_turn, "PATIENCE_SECONDS", 0.05)
    signer = load_signer(alice, typing(PIN))
    with library().open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        signer.sign(b"x")


def test_threads_take_turns(alice: Path) -> None:
    signer = load_signer(alice, typing(PIN))
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                signer.sign(b"x")
        except InterlockError as e:
            failed.append(e)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_token_can_be_tried_without_making_anything(shelf: Shelf) -> None:
    assert check_token(read_uri("hsm:7"), typing(PIN)) == TokenUri(7, "alice")
    with pytest.raises(SecretError):
        check_token(read_uri("hsm:7"), typing("000000"))
    with shelf.inside("alice") as (_, session):
        assert list(session.get_objects()) == []


def test_the_scheme_is_ours_and_needs_a_handler(alice: Path) -> None:
    public = load_public_key(keys.public_path_of(alice)).key
    assert isinstance(Signer.from_priv_key_uri(URI, public, typing(PIN)), token_keys.TokenSigner)
    with pytest.raises(SecretError, match="needs its PIN"):
        Signer.from_priv_key_uri(URI, public)


def test_a_pin_stands_in_no_spelling_of_a_signer(alice: Path) -> None:
    signer = load_signer(alice, typing(PIN))
    assert PIN not in repr(signer)
    with tokens.opened(read_uri(URI), typing(PIN)) as token:
        assert PIN not in repr(token)


# URIs


@given(
    number=st.integers(min_value=1, max_value=tokens.MAX_NUMBER),
    label=st.none() | st.text(min_size=1, max_size=32).filter(lambda s: s.isprintable()),
)
def test_a_uri_says_number_and_label_and_reads_back(number: int, label: str | None) -> None:
    assert read_uri(str(TokenUri(number, label))) == TokenUri(number, label)


@pytest.mark.parametrize(
    "text",
    [
        "hsm", "hsm:0", "hsm:65536", "hsm:-1", "hsm:2?", "hsm:2?label=", "hsm:2?label=a&label=b",
        "hsm:2?pin=1234", "hsm:2?label=a&pin=1", "hsm:x", "hsm:2?label=a b", "hsm:2?label=%00",
        "hsm:2?label=%0A", "hsm:2\n", "HSM:2", "pkcs11:object=x", "hsm:2?label=a#b\n", "",
    ],
)  # fmt: skip
def test_what_names_no_key_in_a_token_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_uri(text)
    assert refused.value.reason == "bad_token_uri"
