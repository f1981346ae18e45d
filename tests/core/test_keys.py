"""Key pairs on disk: encrypted, create-only, proven, and found again by URI."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Signer, SSlibKey

from interlock_core import durable, encrypted_keys, keys, wire
from interlock_core.errors import (
    ConfigurationError,
    ConflictError,
    InterlockError,
    NotFoundError,
    SecretError,
    TransientError,
    WireError,
)
from interlock_core.keybytes import KEY_SCHEMES, check_key, public_key_bytes
from interlock_core.keys import load_public_key, load_signer, new_key, parse_public_key

PASSPHRASE = "correct horse"
LIGHT = keys.MIN_SCRYPT_N


class PowerCut(BaseException):
    """What a test raises in place of the power going away."""


def secret(passphrase: str = PASSPHRASE) -> Callable[[str], str]:
    return lambda _what: passphrase


def pair(directory: Path, name: str = "alice", scheme: str = "ed25519") -> tuple[Path, Path]:
    return new_key(directory, name, scheme, PASSPHRASE, scrypt_n=LIGHT)


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return pair(tmp_path_factory.mktemp("alice"))


def edited(path: Path, **changes: Any) -> bytes:
    """A key file with some fields changed; a dict changes fields of a field."""
    content = json.loads(path.read_bytes())
    for field, value in changes.items():
        content[field] = content[field] | value if isinstance(value, dict) else value
    return wire.encode(content)


# A pair


@pytest.mark.parametrize("scheme", sorted(KEY_SCHEMES))
def test_a_pair_of_every_kind_signs_and_verifies(tmp_path: Path, scheme: str) -> None:
    private, public = pair(tmp_path, scheme=scheme)
    assert (private.name, public.name) == ("alice.key.json", "alice.pub.json")
    named = load_public_key(public)
    assert named.name == "alice"
    assert (named.key.keytype, named.key.scheme) == (KEY_SCHEMES[scheme].keytype, scheme)
    signer = load_signer(private, secret())
    assert signer.public_key == named.key
    named.key.verify_signature(signer.sign(b"payload"), b"payload")


def test_the_private_file_is_secret_and_encrypted(alice: tuple[Path, Path]) -> None:
    private, public = alice
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    content = json.loads(private.read_bytes())
    assert content["format"] == "interlock encrypted key v1"
    assert content["kdf"].keys() == {"name", "n", "r", "p", "salt"}
    assert content["pkcs8"].startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")


def test_the_file_opens_as_its_decision_record_says(alice: tuple[Path, Path]) -> None:
    file = json.loads(alice[0].read_bytes())
    kdf = file["kdf"]
    derived = hashlib.scrypt(
        PASSPHRASE.encode(), salt=bytes.fromhex(kdf["salt"]), n=kdf["n"], r=kdf["r"], p=kdf["p"],
        dklen=32, maxmem=2**26,
    )  # fmt: skip
    key = load_pem_private_key(file["pkcs8"].encode(), base64.b64encode(derived))
    assert SSlibKey.from_crypto(key.public_key()) == load_public_key(alice[1]).key


def test_too_little_memory_is_reported(
    alice: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hungry:
        def __init__(self, **_parameters: object) -> None: ...

        def derive(self, _passphrase: bytes) -> bytes:
            raise MemoryError

    monkeypatch.setattr(encrypted_keys, "Scrypt", Hungry)
    with pytest.raises(TransientError, match="takes 16 MiB"):
        load_signer(alice[0], secret())


def test_each_file_has_a_salt_of_its_own(tmp_path: Path, alice: tuple[Path, Path]) -> None:
    other, _ = pair(tmp_path, "bob")
    salts = {json.loads(path.read_bytes())["kdf"]["salt"] for path in (alice[0], other)}
    assert len(salts) == 2


def test_the_default_cost_is_what_the_decision_record_says() -> None:
    assert keys.SCRYPT_N == 2**16


def test_a_pair_is_never_overwritten(tmp_path: Path) -> None:
    private, public = pair(tmp_path)
    before = private.read_bytes(), public.read_bytes()
    with pytest.raises(ConflictError, match="exists"):
        pair(tmp_path)
    assert (private.read_bytes(), public.read_bytes()) == before


@pytest.mark.parametrize("number", range(12))
def test_a_pair_cut_off_anywhere_is_finished_by_the_same_call(tmp_path: Path, number: int) -> None:
    left = number

    def cut(_act: str, _path: Path) -> None:
        nonlocal left
        if left == 0:
            raise PowerCut
        left -= 1

    directory = tmp_path / "keys"
    with pytest.raises(PowerCut), durable.watching(cut):
        pair(directory)
    # A public key without its private half would be handed on, and nobody could sign for it.
    if (directory / "alice.pub.json").exists():
        assert (directory / "alice.key.json").exists()
    else:
        pair(directory)
    signer = load_signer(directory / "alice.key.json", secret())
    assert load_public_key(directory / "alice.pub.json").key == signer.public_key


def test_half_a_pair_is_finished_only_with_its_passphrase_and_kind(tmp_path: Path) -> None:
    private, public = pair(tmp_path)
    key = load_public_key(public).key
    public.unlink()
    with pytest.raises(SecretError):
        new_key(tmp_path, "alice", "ed25519", "another passphrase", scrypt_n=LIGHT)
    with pytest.raises(ConflictError, match="another kind"):
        pair(tmp_path, scheme="ecdsa-sha2-nistp256")
    assert not public.exists()
    assert pair(tmp_path) == (private, public)
    assert load_public_key(public).key == key


@pytest.mark.parametrize("passphrase", ["", "sh0rt", "seven77"])
def test_a_short_passphrase_makes_no_key(tmp_path: Path, passphrase: str) -> None:
    with pytest.raises(ConfigurationError, match="at least 8") as refused:
        new_key(tmp_path / "keys", "alice", "ed25519", passphrase, scrypt_n=LIGHT)
    assert passphrase not in str(refused.value) or not passphrase
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    ("name", "scheme"), [("Alice", "ed25519"), ("../a", "ed25519"), ("a", "dsa")]
)
def test_a_bad_name_or_kind_makes_no_key(tmp_path: Path, name: str, scheme: str) -> None:
    with pytest.raises((WireError, ConfigurationError)):
        new_key(tmp_path / "keys", name, scheme, PASSPHRASE, scrypt_n=LIGHT)
    assert not (tmp_path / "keys").exists()


# Opening the private half


def test_a_wrong_passphrase_opens_nothing_and_leaks_nothing(alice: tuple[Path, Path]) -> None:
    with pytest.raises(SecretError, match=r"does not open .*alice\.key\.json") as refused:
        load_signer(alice[0], secret("wrong passphrase"))
    assert "wrong passphrase" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_the_passphrase_is_asked_for_by_the_files_name(alice: tuple[Path, Path]) -> None:
    asked = []

    def handler(what: str) -> str:
        asked.append(what)
        return PASSPHRASE

    load_signer(alice[0], handler)
    assert asked == [f"passphrase of {alice[0]}"]


def test_without_a_handler_a_key_file_is_not_opened(alice: tuple[Path, Path]) -> None:
    key = load_public_key(alice[1]).key
    with pytest.raises(SecretError, match="needs its passphrase"):
        Signer.from_priv_key_uri(f"encrypted-file:{alice[0]}", key)


def test_the_scheme_is_registered_and_a_path_means_it(alice: tuple[Path, Path]) -> None:
    assert SIGNER_FOR_URI_SCHEME["encrypted-file"] is keys.EncryptedFileSigner
    key = load_public_key(alice[1]).key
    direct = Signer.from_priv_key_uri(f"encrypted-file:{alice[0]}", key, secret())
    by_uri = load_signer(f"encrypted-file:{alice[0]}", secret())
    by_path = load_signer(str(alice[0]), secret())
    assert direct.public_key == by_uri.public_key == by_path.public_key == key


def test_a_relative_path_with_odd_characters_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    private, _ = pair(Path("a b#c?%41"))
    assert load_signer(str(private), secret()).public_key.keytype == "ed25519"


def test_a_private_key_of_somebody_else_is_refused(
    tmp_path: Path, alice: tuple[Path, Path]
) -> None:
    _, public = pair(tmp_path, "bob")
    with pytest.raises(ConfigurationError, match="does not belong") as refused:
        load_signer(alice[0], secret(), load_public_key(public).key)
    assert refused.value.reason == "key_mismatch"


def test_a_private_key_of_another_kind_is_refused(tmp_path: Path, alice: tuple[Path, Path]) -> None:
    _, public = pair(tmp_path, "bob", "ecdsa-sha2-nistp256")
    with pytest.raises((ConfigurationError, WireError)):
        load_signer(alice[0], secret(), load_public_key(public).key)


@pytest.mark.parametrize(
    "uri",
    [
        "file2:/etc/key", "file:/etc/key", "nonsense:x", "fantasy:", "gnupg:", "awskms:alias/x",
        "gcpkms:x", "azurekms:x", "hv:x", "tkey:",
    ],
)  # fmt: skip
def test_plaintext_and_unknown_schemes_are_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="not a usable kind"):
        load_signer(uri, secret())


def test_a_token_needs_its_public_key_file() -> None:
    with pytest.raises(ConfigurationError, match="public key file"):
        load_signer("hsm:2?label=x", secret())


def test_faults_of_other_signers_are_one_clear_line(
    alice: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(keys.EncryptedFileSigner):
        @classmethod
        def from_priv_key_uri(cls, *_: object) -> Any:
            raise RuntimeError("no such luck")

    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "hsm", Broken)
    with pytest.raises(ConfigurationError, match="cannot be used: RuntimeError: no such luck"):
        load_signer("hsm:2?label=x", secret(), load_public_key(alice[1]).key)


@pytest.mark.parametrize("scheme", sorted(KEY_SCHEMES))
def test_a_key_that_is_not_encrypted_never_opens(tmp_path: Path, scheme: str) -> None:
    private, public = pair(tmp_path, scheme=scheme)
    plain = encrypted_keys.generate(scheme)
    public.write_bytes(keys.public_key_file("alice", plain))
    private.write_bytes(edited(private, pkcs8=plain.private_bytes.decode()))
    with pytest.raises(SecretError, match="does not open"):
        load_signer(private, secret())


def test_a_file_of_another_name_is_not_a_private_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"must end with \.key\.json"):
        load_signer(tmp_path / "alice.pem", secret())


def test_missing_halves_are_named(tmp_path: Path) -> None:
    private, public = pair(tmp_path)
    private.rename(tmp_path / "kept")
    with pytest.raises(NotFoundError, match=r"alice\.key\.json"):
        load_signer(private, secret())
    (tmp_path / "kept").rename(private)
    public.unlink()
    with pytest.raises(NotFoundError, match=r"alice\.pub\.json"):
        load_signer(private, secret())


@pytest.mark.parametrize(
    "kdf",
    [
        {"n": 2**13}, {"n": 2**21}, {"n": 2**14 + 1}, {"n": -1}, {"n": 2**60}, {"r": 9}, {"p": 2},
        {"salt": "00"}, {"salt": "G" * 32}, {"name": "pbkdf2"}, {"extra": 1},
    ],
)  # fmt: skip
def test_parameters_out_of_bounds_are_refused_before_any_work(
    tmp_path: Path, alice: tuple[Path, Path], kdf: dict[str, Any]
) -> None:
    private = tmp_path / "alice.key.json"
    private.write_bytes(edited(alice[0], kdf=kdf))
    with pytest.raises(WireError):
        load_signer(private, secret(), load_public_key(alice[1]).key)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"x" * 100, b"{" * 1000, b"\xff", b"0" * 40000]
)
def test_what_is_no_key_file_is_refused(tmp_path: Path, data: bytes) -> None:
    key = CryptoSigner.generate_ed25519().public_key
    for name in ("alice.key.json", "alice.pub.json"):
        (tmp_path / name).write_bytes(data)
    with pytest.raises(WireError):
        load_signer(tmp_path / "alice.key.json", secret(), key)
    with pytest.raises(WireError):
        load_public_key(tmp_path / "alice.pub.json")


def test_a_damaged_or_unencrypted_private_key_is_not_opened(
    tmp_path: Path, alice: tuple[Path, Path]
) -> None:
    key = load_public_key(alice[1]).key
    private = tmp_path / "alice.key.json"
    pem = json.loads(alice[0].read_bytes())["pkcs8"]
    plain = CryptoSigner.generate_ed25519().private_bytes.decode()
    for damaged in (pem[:-40], pem.replace("A", "B"), plain, "no key"):
        private.write_bytes(edited(alice[0], pkcs8=damaged))
        with pytest.raises(SecretError):
            load_signer(private, secret(), key)


# The public half


def test_a_public_file_cut_short_or_edited_anywhere_is_refused(alice: tuple[Path, Path]) -> None:
    data = alice[1].read_bytes()
    for length in range(0, len(data), 7):
        with pytest.raises(WireError):
            parse_public_key(data[:length])
    for position in range(len(data)):
        flipped = bytes([*data[:position], data[position] ^ 1, *data[position + 1 :]])
        with pytest.raises(WireError):
            parse_public_key(flipped)


def test_another_persons_key_cannot_be_taken(alice: tuple[Path, Path]) -> None:
    with pytest.raises(WireError, match="no proof") as refused:
        parse_public_key(edited(alice[1], name="mallory"))
    assert refused.value.reason == "bad_proof"


def test_a_key_whose_id_does_not_follow_is_refused(alice: tuple[Path, Path]) -> None:
    with pytest.raises(WireError) as refused:
        parse_public_key(edited(alice[1], key={"keyid": "0" * 64}))
    assert refused.value.reason == "bad_key"


def test_the_public_file_is_canonical(alice: tuple[Path, Path]) -> None:
    data = alice[1].read_bytes()
    assert wire.encode(json.loads(data)) == data
    with pytest.raises(WireError, match="canonical"):
        parse_public_key(data + b"\n")


# What a key is


@pytest.mark.parametrize(
    ("keytype", "scheme", "public"),
    [
        ("ed25519", "ed25519", "AB" * 32),
        ("ed25519", "ed25519", "ab" * 31),
        ("ed25519", "ed25519", " " + "ab" * 32),
        ("ed25519", "rsassa-pss-sha256", "ab" * 32),
        ("ecdsa", "ecdsa-sha2-nistp256", "not a PEM"),
        ("ecdsa", "ecdsa-sha2-nistp256", "x" * 10_000),
        ("ecdsa", "ecdsa-sha2-nistp521", ""),
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", ""),
        ("rsa", "rsa-pkcs1v15-sha256", ""),
        ("ml-dsa", "ml-dsa-44/1", ""),
        ("sigstore-oidc", "Fulcio", ""),
    ],
)
def test_what_is_no_accepted_key_is_refused(keytype: str, scheme: str, public: str) -> None:
    with pytest.raises(WireError) as refused:
        public_key_bytes(SSlibKey("0" * 64, keytype, scheme, {"public": public}))
    assert refused.value.reason == "bad_key"


def test_a_value_of_another_kind_is_refused() -> None:
    def pem(key: Any) -> str:
        spki = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return str(spki.decode())

    p384 = pem(ec.generate_private_key(ec.SECP384R1()))
    small_rsa = pem(rsa.generate_private_key(65537, 2048))
    other = pem(ed448.Ed448PrivateKey.generate())
    for keytype, scheme, public in [
        ("ecdsa", "ecdsa-sha2-nistp256", p384),
        ("rsa", "rsassa-pss-sha256", small_rsa),
        ("rsa", "rsassa-pss-sha256", p384),
        ("ml-dsa", "ml-dsa-65/1", other),
    ]:
        with pytest.raises(WireError, match="is not a"):
            public_key_bytes(SSlibKey("0" * 64, keytype, scheme, {"public": public}))


def test_one_key_spelled_twice_is_one_key_and_one_spelling_is_ours() -> None:
    key = CryptoSigner.generate_ecdsa().public_key
    spelled = SSlibKey(
        "another id", key.keytype, key.scheme, {"public": "comment\n" + key.keyval["public"]}
    )
    assert public_key_bytes(spelled) == public_key_bytes(key)
    assert check_key(key) == key
    with pytest.raises(WireError, match="spelling"):
        check_key(spelled)


@settings(
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_crash_the_readers(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(WireError):
        parse_public_key(data)
    (tmp_path / "a.key.json").write_bytes(data)
    with pytest.raises(InterlockError):
        load_signer(tmp_path / "a.key.json", secret(), CryptoSigner.generate_ed25519().public_key)


def test_a_full_disk_is_reported_and_the_pair_finished_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    calls = 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(TransientError, match="full"):
        pair(tmp_path)
    monkeypatch.setattr(os, "fsync", real)
    private, public = pair(tmp_path)
    assert load_signer(private, secret()).public_key == load_public_key(public).key
