"""Online keys in a PKCS#11 token (SoftHSM2), whose PIN comes from a credential file."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock_core import keys, tokens
from interlock_core.checkpoint import LOG_KEY
from interlock_core.clock import system_clock
from interlock_core.errors import SecretError
from interlock_core.genesis import DIRECTOR_TARGETS, ONLINE_ROLES
from interlock_server.wiring import open_signers
from tests.server.test_founding import ALL
from tests.server.world import PASSPHRASE, SERVER_TOML, Fleet, call
from tests.support.tokens import PIN, Shelf, shelf_at, use

NUMBERS = dict(zip(ONLINE_ROLES, (4, 5, 6), strict=True))


class HsmFleet(Fleet):
    """A fleet all of whose online keys live in one token; the log's is a file."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.now = system_clock()
        self._lies_at(home)
        self.pin = home / "pin"
        self.set_pin(PIN)
        for name, number in NUMBERS.items():
            done = call(
                "keys", "prove", name, f"hsm:{number}?label=server", "--directory", self.online,
                "--pin-file", self.pin, "--json",
            )  # fmt: skip
            assert done.code == 0, done.err
        keys.new_key(self.online, LOG_KEY, "ed25519", PASSPHRASE, scrypt_n=keys.MIN_SCRYPT_N)
        (home / "passphrase").write_text(PASSPHRASE + "\n")
        (home / "passphrase").chmod(0o600)
        self.config.write_text(SERVER_TOML + 'pin_file = "pin"\n')
        self.write_ceremony(self.ceremony)

    def set_pin(self, pin: str) -> None:
        self.pin.write_text(pin + "\n")
        self.pin.chmod(0o600)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(tokens, "_known_wrong", set())
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    made = use(shelf_at(tmp_path / "shelf"), monkeypatch)
    made.add("server")
    return made


@pytest.fixture
def fleet(shelf: Shelf, tmp_path: Path) -> HsmFleet:
    return HsmFleet(tmp_path / "fleet")


def init(fleet: HsmFleet) -> tuple[int, str]:
    done = call("init", fleet.ceremony, "--config", fleet.config, *ALL, "--json")
    return done.code, done.answer["reason"]


def test_a_server_begins_with_keys_in_a_token(fleet: HsmFleet) -> None:
    assert init(fleet) == (0, "")
    for role in ("timestamp", "2.root"):
        path = f"store/image/metadata/{role}.json"
        assert (fleet.home / path).exists() is (role == "timestamp")
    assert call("refresh", "--force", "--config", fleet.config).code == 0


def test_a_wrong_pin_costs_one_try_for_three_keys(fleet: HsmFleet, shelf: Shelf) -> None:
    """A service that asks thrice, and is started again, would lock the token."""
    fleet.set_pin("000000")
    assert init(fleet) == (2, "wrong_pin")
    assert len(tokens._known_wrong) == 1
    unit = Path(__file__).resolve().parents[2] / "infra" / "systemd" / "interlock-server.service"
    assert "RestartPreventExitStatus=2" in unit.read_text()


def test_the_pin_is_a_credential_of_its_own(
    fleet: HsmFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = fleet.config.read_text()
    fleet.config.write_text(text.replace('pin_file = "pin"\n', ""))
    with pytest.raises(SecretError, match=r"keys\.pin_file.*interlock-pin") as refused:
        open_signers(fleet.settings())
    assert refused.value.reason == "no_passphrase"
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    # The passphrase of key files is not shown to a token.
    (credentials / "interlock-online").write_text("a passphrase\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert init(fleet) == (2, "no_passphrase")
    (credentials / "interlock-pin").write_text(PIN + "\n")
    assert init(fleet) == (0, "")


def test_a_token_that_is_out_is_named(fleet: HsmFleet, shelf: Shelf) -> None:
    assert init(fleet) == (0, "")
    shelf.take_out()
    done = call("refresh", "--force", "--config", fleet.config, "--json")
    assert (done.code, done.answer["reason"]) == (2, "no_token")
    shelf.put_back()
    assert call("refresh", "--force", "--config", fleet.config).code == 0


def test_proving_twice_changes_nothing(fleet: HsmFleet) -> None:
    before = {path: path.read_bytes() for path in fleet.online.iterdir()}
    words = ("--directory", fleet.online, "--pin-file", fleet.pin, "--json")
    done = call("keys", "prove", DIRECTOR_TARGETS, "hsm:5?label=server", *words)
    assert (done.code, done.answer["reason"]) == (20, "conflict")
    assert {path: path.read_bytes() for path in fleet.online.iterdir()} == before
