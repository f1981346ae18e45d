"""ops.toml: unknown settings are errors, flags win, paths are relative to the file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from interlock_core.errors import ConfigurationError, NotFoundError
from interlock_ops.settings import CONFIG_VARIABLE, Settings, load


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)


def write(directory: Path, text: str) -> Path:
    path = directory / "ops.toml"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path, 'server = "https://a"\nkey = "k/alice.key.json"\nimage_root = "/r/1.root.json"'
    )
    settings = load(path, {})
    assert settings.server == "https://a"
    assert settings.key == str(tmp_path / "k/alice.key.json")
    assert settings.image_root == Path("/r/1.root.json")


def test_a_key_uri_is_no_path(tmp_path: Path) -> None:
    assert load(write(tmp_path, 'key = "hsm:2?label=alice"'), {}).key == "hsm:2?label=alice"


def test_flags_win(tmp_path: Path) -> None:
    path = write(tmp_path, 'server = "https://a"\nfleet = "north"')
    settings = load(path, {"server": "https://b", "fleet": None, "key": "here.key.json"})
    assert (settings.server, settings.fleet) == ("https://b", "north")
    assert settings.key == "here.key.json"


def test_the_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, str(write(tmp_path, 'fleet = "north"')))
    assert load(None, {}).fleet == "north"
    other = tmp_path / "other.toml"
    other.write_text('fleet = "south"')
    assert load(other, {}).fleet == "south"


def test_the_sample_is_read(tmp_path: Path) -> None:
    text = resources.files("interlock_ops.samples").joinpath("ops.toml").read_text()
    assert load(write(tmp_path, text), {}).person == "alice"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('sever = "https://a"', "unknown field `sever`"),
        ("server = 3", "server"),
        ('server = ""', "server"),
        ('fleet = "North"', "fleet"),
        ("server", "Expected '='"),
        ('proxy = "socks5://a"', "no proxy"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        load(write(tmp_path, text), {})
    assert caught.value.reason == "bad_settings"


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"absent\.toml"):
        load(tmp_path / "absent.toml", {})
    with pytest.raises(NotFoundError, match=r"absent\.pem"):
        load(None, {"ca_file": "absent.pem"})


def test_a_person_by_flag_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="Bob"):
        load(None, {"person": "Bob"})


def test_a_missing_setting_is_named_with_its_flag() -> None:
    with pytest.raises(ConfigurationError, match="--image-root") as caught:
        Settings().need(None, "image_root")
    assert caught.value.reason == "missing_setting"


def test_two_roots_never_share_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    one, other = Settings().state(b"one"), Settings().state(b"other")
    assert one != other
    assert {one.parent, other.parent} == {Path("/state/interlock-ops")}
    assert Settings(state_directory=Path("mine")).state(b"one") == Path("mine")
