"""A place to hold ceremonies in: a script, online keys, passphrase files, and the command.

stage = Stage.setup(tmp_path)
assert stage.run().exit_code == 0
assert stage.refused("threshold = 2", "threshold = 9").startswith("Error: genesis.toml, line")
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from click.testing import CliRunner, Result
from securesystemslib.signer import Signer

from interlock_ceremony.ceremony import Room
from interlock_ceremony.cli import main
from interlock_core import encrypted_keys, keys
from interlock_core.clock import fixed_clock
from interlock_core.genesis import DIRECTOR_ONLINE, DIRECTOR_TARGETS, IMAGE_ONLINE

NOW: Final = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
CHEAP: Final = keys.MIN_SCRYPT_N
HOLDERS: Final = ("alice", "bob", "carol")
PEOPLE: Final = (*HOLDERS, "dana")
ONLINE: Final = (IMAGE_ONLINE, DIRECTOR_TARGETS, DIRECTOR_ONLINE)

SCRIPT: Final = """\
act = "genesis"
fleet = "north"
output = "out"
administrator = "dana"

[persons]
dana = "Dana Dorn"
alice = "Alice Amsel"
bob = "Bob Bach"
carol = "Carol Cui"

[image.root]
holders = ["alice", "bob", "carol"]
threshold = 2

[image.targets]
holders = ["alice", "bob"]
threshold = 2
lifetime_days = 200

[director.root]
holders = ["bob", "carol"]
threshold = 2

[online]
image-online = "online/image-online.pub.json"
director-targets = "online/director-targets.pub.json"
director-online = "online/director-online.pub.json"

[accepted_risks]
"image.targets" = "The image root's holders can replace it."
"director.root" = "Gateways are few and near."
"""
KEYS: Final = (
    "alice-image-root",
    "alice-image-targets",
    "bob-image-root",
    "bob-image-targets",
    "bob-director-root",
    "carol-image-root",
    "carol-director-root",
)
"""Every key of a role that SCRIPT asks for, in the order of their making."""
ATTENDING: Final = "dana-attending"
"""The key with which the administrator, who holds no role, signs the transcript."""


def passphrase(holder: str) -> str:
    return f"the passphrase of {holder}"


@cache
def _online(_password: object) -> dict[str, bytes]:
    """The files of the three online keys, made once for each way to derive passwords."""
    with TemporaryDirectory() as directory:
        for name in ONLINE:
            keys.new_key(Path(directory), name, "ed25519", passphrase(name), scrypt_n=CHEAP)
        return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


def _room() -> Room:
    return Room(clock=fixed_clock(NOW), scrypt_n=CHEAP)


@dataclass(frozen=True)
class Stage:
    """Everything that a ceremony needs, in ``home``."""

    home: Path
    room: Room = field(default_factory=_room)

    @classmethod
    def setup(cls, home: Path, script: str = SCRIPT) -> Stage:
        (home / "online").mkdir()
        for name, data in _online(encrypted_keys._password).items():
            (home / "online" / name).write_bytes(data)
        (home / "genesis.toml").write_text(script)
        for holder in PEOPLE:
            file = home / f"{holder}.txt"
            file.write_text(passphrase(holder) + "\n")
            file.chmod(0o600)
        return cls(home)

    @property
    def script(self) -> Path:
        return self.home / "genesis.toml"

    @property
    def output(self) -> Path:
        return self.home / "out"

    @property
    def files(self) -> list[str]:
        """The options that name every holder's passphrase file."""
        return [
            word
            for holder in PEOPLE
            for word in ("--passphrase-file", f"{holder}={self.home / holder}.txt")
        ]

    def at(self, **room: Any) -> Stage:
        """The same place with another clock, prompt or cost."""
        return replace(self, room=replace(self.room, **room))

    def call(self, *words: str | Path) -> Result:
        result = CliRunner().invoke(main, [str(word) for word in words], obj=self.room)
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        assert "Traceback" not in result.output
        return result

    def run(self, *more: str) -> Result:
        return self.call("run", self.script, *self.files, *more)

    def done(self) -> Stage:
        result = self.run()
        assert result.exit_code == 0, result.output
        return self

    def verify(self, *more: str) -> Result:
        return self.call("verify", self.output / "transcript.json", *more)

    def edit(self, old: str, new: str) -> None:
        text = self.script.read_text()
        assert old in text
        self.script.write_text(text.replace(old, new, 1))

    def refused(self, old: str = "", new: str = "", *, code: int = 2) -> str:
        """Run the script with one change; return the error of what must have done nothing."""
        if old or new:
            self.edit(old, new)
        before = self.listing()
        result = self.run()
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        assert self.listing() == before
        return result.stderr

    def listing(self) -> list[str]:
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*"))


def answers(*typed: str) -> Callable[[str], str]:
    """A prompt at which these are typed, one after the other."""
    left = iter(typed)
    return lambda _: next(left)


def secret(passphrase: str) -> Callable[[str], str]:
    """A secrets handler that knows one."""
    return lambda _: passphrase


_opened: dict[bytes, Mapping[str, Signer]] = {}


def signers(stage: Stage) -> Mapping[str, Signer]:
    """The keys that a ceremony made, opened with their holders' passphrases, once."""
    directory = stage.output / "keys"
    which = (directory / f"{KEYS[0]}.key.json").read_bytes()
    if which not in _opened:
        _opened[which] = {
            key: keys.load_signer(
                directory / f"{key}.key.json", secret(passphrase(key.split("-")[0]))
            )
            for key in (*KEYS, ATTENDING)
        }
    return _opened[which]


def told(result: Result) -> dict[str, Any]:
    """The one JSON object on standard output."""
    value = json.loads(result.stdout)
    assert isinstance(value, dict)
    return value
