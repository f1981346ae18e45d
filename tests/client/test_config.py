"""A configuration is right, or it is named what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock_client import config
from interlock_client.cli.sample import sample_text
from interlock_client.installers import Slots
from interlock_core.errors import ConfigurationError, InterlockError, NotFoundError


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(sample_text())
    return path


def test_the_sample_is_right(sample: Path) -> None:
    settings = config.load(sample)
    assert settings.cohort == "wards"
    assert settings.image_root == sample.parent / "image.root.json"
    assert settings.state == Path("/var/lib/interlock")
    assert settings.lease == Path("/var/lib/interlock/updating")
    assert isinstance(settings.interlock, config.Checks)
    assert settings.interlock.checks == sample.parent / "interlock.d"
    assert settings.installer.tries == 3


def test_the_sample_names_every_setting() -> None:
    text = sample_text()
    for table in (
        config.Settings,
        Slots,
        config.Checks,
        config.LocalWindow,
        config.ClientCertificate,
    ):
        for name in table.__struct_fields__:
            assert f"{name} = " in text or f"[{name}]" in text, name


def edited(sample: Path, old: str, new: str) -> Path:
    text = sample.read_text()
    assert old in text
    sample.write_text(text.replace(old, new))
    return sample


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('market = "DE"', 'market = "Germany"', "market"),
        ('market = "DE"', 'market = "DE"\ncolour = "red"', "unknown field `colour`"),
        ("tries = 3", "tries = 3\nretries = 4", "unknown field `retries`"),
        ("tries = 3", "tries = 0", "installer.tries"),
        ('kind = "slots"', 'kind = "opkg"', "installer.kind"),
        ("tries = 3", 'tries = 3\nboot = { kind = "command", program = "x" }', "takes the place"),
        ('booted = "/run/interlock/booted"', "", "are needed, or a table `boot`"),
        ('"/dev/disk/by-partlabel/firmware-b"', '{ app = "/dev/b" }', "the same slots"),
        ('"/dev/disk/by-partlabel/firmware-b"', '{ APP = "/dev/b" }', "not called that"),
        ('"/dev/disk/by-partlabel/firmware-b"', "{}", "1 to 16 slots"),
        ('"/dev/disk/by-partlabel/firmware-b"', "7", "expected a path"),
        ('fleet = "example-fleet"', "", "fleet"),
        ('fleet = "example-fleet"', "fleet = 7", "fleet"),
        ('product = "ward-gateway"', 'product = "interlock"', "reserved"),
        ("https://updates.example.org", "http://updates.example.org", "use https"),
        ("https://updates.example.org", "ftp://updates.example.org", "no server URL"),
        ('"https://updates.example.org"', "", "servers"),
        ('# proxy = "http://proxy.hospital.example:3128"', 'proxy = "proxy:3128"', "proxy"),
        ('opens = "22:00"', 'opens = "24:00"', "window.opens"),
        ('closes = "05:00"', 'closes = "22:00"', "never open"),
        ('["systemctl", "reboot"]', "[]", "reboot_command"),
        ('["systemctl", "reboot"]', '[""]', "names no program"),
        ("firmware-b", "firmware-a", "same slot"),
        ('image_root = "image.root.json"', 'image_root = ""', "image_root"),
        ("timeout_seconds = 120", "timeout_seconds = 0", "health.timeout_seconds"),
        ("poll_interval_seconds = 900", "poll_interval_seconds = 0.5", "poll_interval"),
        ('market = "DE"', 'market = "DE', "not TOML"),
    ],
)
def test_what_is_wrong_is_named(sample: Path, old: str, new: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.load(edited(sample, old, new))
    assert why in str(caught.value)
    assert str(sample) in str(caught.value)


def test_health_checks_have_no_silent_default(sample: Path) -> None:
    head, _, _ = sample.read_text().partition("[health]")
    sample.write_text(head)
    with pytest.raises(ConfigurationError, match=r'health = "none"'):
        config.load(sample)
    sample.write_text('health = "none"\n' + head)
    assert config.load(sample).health == "none"


def test_an_interlock_may_be_missing_and_is_then_never_clear(sample: Path) -> None:
    text = sample.read_text()
    before, _, after = text.partition("[interlock]")
    sample.write_text(before + after[after.index("[health]") :])
    assert config.load(sample).interlock is None


def test_a_missing_or_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        config.load(tmp_path / "none.toml")
    with pytest.raises(InterlockError):
        config.load(tmp_path)
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        config.load(tmp_path / "x.toml")
    (tmp_path / "x.toml").write_text("#" * 100_000)
    with pytest.raises(ConfigurationError, match="larger"):
        config.load(tmp_path / "x.toml")


def test_the_boot_script_needs_the_installer_alone(sample: Path) -> None:
    edited(sample, 'market = "DE"', 'market = "nowhere"')
    assert config.load_installer(sample).tries == 3
    edited(sample, "tries = 3", "tries = 3\nmore = 4")
    with pytest.raises(ConfigurationError, match="more"):
        config.load_installer(sample)
    sample.write_text("")
    with pytest.raises(ConfigurationError, match="installer"):
        config.load_installer(sample)


def test_plain_http_is_for_loopback(sample: Path) -> None:
    edited(sample, "https://updates.example.org", "http://127.0.0.1:8080/mirror/")
    assert config.load(sample).servers == ("http://127.0.0.1:8080/mirror",)


def test_every_setting_counts_for_the_digest(sample: Path) -> None:
    settings = config.load(sample)
    changes: list[dict[str, Any]] = [
        {"market": "FR"},
        {"window": None},
        {"state": Path("/elsewhere")},
        {"interlock": "none"},
    ]
    digests = {msgspec.structs.replace(settings, **change).digest() for change in changes}
    assert len(digests | {settings.digest()}) == len(changes) + 1
