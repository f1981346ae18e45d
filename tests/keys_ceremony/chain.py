"""A place where one ceremony after the other is held, the genesis of ``stage`` first.

chain = Chain(held)
assert chain.change(do="lost", role="image.root", holder="carol", by="erik").exit_code == 0
assert "line 9, changes.1.holder" in chain.refused(do="remove", role="image.root", holder="zoe")
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from click.testing import Result
from tuf.api.metadata import Metadata, Root, Targets

from interlock_core import keys, tuf_metadata
from tests.keys_ceremony.stage import CHEAP, Stage, passphrase, secret

NAMES: Final = {
    "dana": "Dana Dorn",
    "alice": "Alice Amsel",
    "bob": "Bob Bach",
    "carol": "Carol Cui",
    "erik": "Erik Eis",
    "fred": "Fred Feld",
    "gina": "Gina Gans",
}
RISKS: Final = {"image.targets": "It can be replaced.", "director.root": "Few gateways."}


def words(value: Any) -> str:
    """A plain value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f'"{key}" = {words(one)}' for key, one in value.items()) + " }"
    return json.dumps(value if not isinstance(value, tuple) else list(value))


class Chain:
    """Ceremonies in ``stage.home``, whose outputs are ``out``, ``out-2``, ``out-3`` …

    Attributes:
        stage: where the genesis was held.
        number: of the newest ceremony.
        options: more words for every ceremony.
        seamless: whether the newest ceremony said nothing of a gap in the targets.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.number = 1
        self.options: tuple[str | Path, ...] = ()
        self.seamless = True
        self.written = stage.home / "change.toml"

    def output(self, number: int | None = None) -> Path:
        number = number or self.number
        return self.stage.home / ("out" if number == 1 else f"out-{number}")

    def root(self, repository: str, version: int) -> Root:
        path = self.output() / repository / f"{version}.root.json"
        return Metadata[Root].from_bytes(path.read_bytes()).signed

    def targets(self) -> Metadata[Targets]:
        (path,) = (self.output() / "image").glob("*.targets.json")
        return Metadata[Targets].from_bytes(path.read_bytes())

    def online(self, name: str, home: str | None = None) -> str:
        """A new online key; its public key file, from the script's directory."""
        directory = self.stage.home / (home or f"new-{self.number}")
        keys.new_key(directory, name, "ed25519", passphrase(name), scrypt_n=CHEAP)
        return f"{directory.name}/{name}.pub.json"

    def script(self, *changes: Mapping[str, Any], **fields: Any) -> str:
        """A script of these changes, with everybody there who holds a key or gets one."""
        come = {change[name] for change in changes for name in ("by", "holder") if name in change}
        gone = {
            change["holder"]
            for change in changes
            if change["do"] in {"lost", "compromised"}
            and "holder" in change
            and change.get("by") != change["holder"]
        }
        people = sorted(({"alice", "bob", "carol"} | come) - gone)
        top: dict[str, Any] = {
            "act": "change",
            "fleet": "north",
            "previous": self.output().name,
            "output": self.output(self.number + 1).name,
            "administrator": people[0],
            "targets": self._newest_targets(),
            "witnesses": people,
            "persons": {person: NAMES.get(person, person) for person in people},
            "accepted_risks": RISKS,
            **fields,
        }
        lines = [f"{key} = {words(value)}" for key, value in top.items() if value is not None]
        for change in changes:
            lines += ["[[changes]]", *(f"{key} = {words(value)}" for key, value in change.items())]
        return "\n".join(lines) + "\n"

    def run(self, script: str, *more: str | Path) -> Result:
        self.written.write_text(script)
        options: list[str | Path] = [*self.options]
        for number in range(1, self.number + 1):
            options += ["--key", self.output(number) / "keys"]
        for person in NAMES:
            file = self.stage.home / f"{person}.txt"
            file.write_text(passphrase(person) + "\n")
            file.chmod(0o600)
            if f'"{person}" =' in script:
                options += ["--passphrase-file", f"{person}={file}"]
        return self.stage.call("run", self.written, *options, *more)

    def change(
        self, *changes: Mapping[str, Any], fields: Mapping[str, Any] | None = None, **change: Any
    ) -> Result:
        """Hold the next ceremony; if it is accepted, it is the newest."""
        result = self.run(self.script(*(changes or (change,)), **(fields or {})))
        if result.exit_code == 0:
            self.number += 1
            self.seamless = "Too few of the old targets holders signed" not in result.stdout
        return result

    def done(self, *changes: Mapping[str, Any], **change: Any) -> Chain:
        result = self.change(*changes, **change)
        assert result.exit_code == 0, result.output
        return self

    def refused(
        self, *changes: Mapping[str, Any], fields: Mapping[str, Any] | None = None, **change: Any
    ) -> str:
        """The error of a script that is not carried out; nothing may have been made."""
        result = self.change(*changes, fields=fields, **change)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert not self.output(self.number + 1).exists()
        assert not list(self.stage.home.glob(".*partial"))
        return result.stderr

    def verify(self, *more: str) -> Result:
        return self.stage.call("verify", self.output() / "transcript.json", *more)

    def publish(self, targets: Metadata[Targets]) -> Path:
        """Top-level targets that came after those of the ceremony, signed by their holders."""
        targets.signed.version += 1
        targets.signatures.clear()
        root = self.root("image", self.newest("image"))
        wanted = set(root.roles["targets"].keyids)
        for number in range(1, self.number + 1):
            for path in (self.output(number) / "keys").glob("*-targets*.key.json"):
                public = keys.load_public_key(keys.public_path_of(path)).key
                if public.keyid in wanted:
                    person = path.name.split("-")[0]
                    signer = keys.load_signer(path, secret(passphrase(person)), public)
                    targets.sign(signer, append=True)
        path = self.stage.home / f"{targets.signed.version}.targets.json"
        path.write_bytes(tuf_metadata.serialise(targets))
        return path

    def newest(self, repository: str) -> int:
        roots = (self.output() / repository).glob("*.root.json")
        return max(int(path.name.split(".")[0]) for path in roots)

    def _newest_targets(self) -> str:
        (path,) = (self.output() / "image").glob("*.targets.json")
        return str(path.relative_to(self.stage.home))
