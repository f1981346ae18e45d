"""Settings: what is accepted, and the one line that a mistake costs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from interlock_core.errors import ConfigurationError, NotFoundError
from interlock_server.config import load_settings, read_address, sample
from tests.server.world import SERVER_TOML, call


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "server.toml"
    path.write_text(text)
    return path


def test_the_sample_is_accepted_and_its_paths_start_at_the_file(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, sample()))
    assert settings.store_directory == tmp_path / "store"
    assert settings.database_file == tmp_path / "server.sqlite3"
    assert settings.key_uris["image-online"] == (str(tmp_path / "online/image-online.key.json"),)
    assert settings.tls is None
    assert call("sample").out == sample()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("workers = 2", "wrokers = 2", "unknown field `wrokers`"),
        ("workers = 2", 'workers = "2"', "Expected `int`"),
        ("workers = 2", "workers = 0", "`int` >= 1"),
        ("workers = 2", "workers =", "Invalid value"),
        ('listen = "127.0.0.1:0"', 'listen = "0.0.0.0:8080"', "plain HTTP is for loopback alone"),
        ('listen = "127.0.0.1:0"', 'listen = "example.org:80"', "write an address and a port"),
        ('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:70000"', "write an address and a port"),
        ('listen = "127.0.0.1:0"', 'listen = "::1:80"', "write an address and a port"),
        ('health_listen = "127.0.0.1:0"', 'health_listen = "10.0.0.1:81"', "must be on loopback"),
        ("workers = 2", 'tls_key_file = "key.pem"', "belong together: set both"),
        ('store_directory = "store"\n', "", "missing required field `store_directory`"),
        ('"pending"', '"store/pending"', "pending_directory lies inside"),
        ('"server.sqlite3"', '"sqlite:///x.sqlite3"', "name its file instead"),
        ('"server.sqlite3"', '"store/x/server.sqlite3"', "database lies inside"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in SERVER_TOML
    path = written(tmp_path, SERVER_TOML.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match=says.replace("(", r"\(")):
        load_settings(path)


def with_image_keys(tmp_path: Path, keys: str) -> Path:
    text = SERVER_TOML.replace('"online/image-online.key.json"', keys)
    assert keys in text
    return written(tmp_path, text)


def test_two_keys_of_one_role_are_held_while_it_is_rotated(tmp_path: Path) -> None:
    keys = '["online-2/image-online.key.json", "awskms:alias/old"]'
    settings = load_settings(with_image_keys(tmp_path, keys))
    new = str(tmp_path / "online-2/image-online.key.json")
    assert settings.key_uris["image-online"] == (new, "awskms:alias/old")
    assert len(settings.key_uris["director-online"]) == 1


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("[]", "a list of 1 to 4 of them"),
        ('""', "keys.image_online must be a key file"),
        ('["a", "b\\u0007"]', "keys.image_online must be a key file"),
        ('["a", "b", "c", "d", "e"]', "a list of 1 to 4 of them"),
        ('["a", 1]', "Expected `str`"),
        ('["a", "a"]', "keys.image_online names one key twice"),
        ("1", "Expected `str | array`"),
    ],
)
def test_other_lists_of_keys_are_refused(tmp_path: Path, keys: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        load_settings(with_image_keys(tmp_path, keys))


@pytest.mark.parametrize("command", ["serve", "migrate", "refresh", "check"])
def test_a_wrong_file_costs_one_line_and_exit_code_2(tmp_path: Path, command: str) -> None:
    path = written(tmp_path, SERVER_TOML + "\n[sever]\n")
    done = call(command, "--config", path)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "unknown field `sever`" in done.err
    missing = call(command, "--config", tmp_path / "absent.toml", "--json")
    assert (missing.code, missing.answer["reason"]) == (2, "not_found")
    assert "interlock-server sample" in missing.err


def test_other_faults_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load_settings(tmp_path)
    path = tmp_path / "server.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError):
        load_settings(path)
    path.write_bytes(b"#" * 70_000)
    with pytest.raises(ConfigurationError, match="larger"):
        load_settings(path)


def test_two_listeners_may_not_share_a_port(tmp_path: Path) -> None:
    text = SERVER_TOML.replace("127.0.0.1:0", "127.0.0.1:8080")
    with pytest.raises(ConfigurationError, match="are both"):
        load_settings(written(tmp_path, text))


def test_tls_lets_the_server_listen_anywhere(tmp_path: Path) -> None:
    tls = '\ntls_certificate_file = "c.pem"\ntls_key_file = "k.pem"\n'
    text = SERVER_TOML.replace('listen = "127.0.0.1:0"', f'listen = "0.0.0.0:443"{tls}', 1)
    settings = load_settings(written(tmp_path, text))
    assert settings.tls == (tmp_path / "c.pem", tmp_path / "k.pem")


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    address = read_address("[::1]:8080", "server.listen")
    assert (address.host, address.port, address.is_loopback) == ("::1", 8080, True)
    assert str(address) == "[::1]:8080"


def test_another_database_is_a_url(tmp_path: Path) -> None:
    text = SERVER_TOML.replace('"server.sqlite3"', '"postgresql+psycopg://localhost/interlock"')
    settings = load_settings(written(tmp_path, text))
    assert settings.database_url == "postgresql+psycopg://localhost/interlock"
    assert settings.database_file is None
