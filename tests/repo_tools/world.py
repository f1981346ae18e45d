"""People with keys, a ceremony's output and an image repository, for the tests of repo-tools."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata, Root, Targets

from interlock_core import keys
from interlock_core.clock import Clock, system_clock
from interlock_core.genesis import FleetFile
from interlock_core.keys import load_public_key
from interlock_core.store import FileStore
from interlock_core.tuf_metadata import serialise, set_issued
from interlock_core.tuf_repository import OnlineRepository
from interlock_core.wire import encode, sha256_hex
from interlock_repo.cli import main
from interlock_repo.copies import open_copies
from interlock_repo.publishing import assemble

PASSPHRASE = "correct horse battery"
RELEASE_MANAGERS = ("rosa", "raul", "rita")
KEY_HOLDERS = ("ada", "ben", "cleo")
ROSTER_HOLDERS = ("tom", "tess")
OPERATORS = ("olivia", "amir", "anna")
PEOPLE = (*KEY_HOLDERS, *RELEASE_MANAGERS, "sven", *ROSTER_HOLDERS, *OPERATORS, "erik")
PRODUCT = "ward-gateway"
MEANT = ("--meaning", "approved", "--reason", "as agreed")

CYCLONEDX = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "version": 1,
    "components": [{"type": "operating-system", "name": "linux", "version": "6.12"}],
}


def make_people(directory: Path) -> None:
    """Key pairs for everybody, cheap to open."""
    for person in PEOPLE:
        keys.new_key(directory, person, "ed25519", PASSPHRASE, scrypt_n=keys.MIN_SCRYPT_N)
    secret = directory / "passphrase"
    secret.write_text(PASSPHRASE + "\n")
    secret.chmod(0o600)


def signed(payload: Any, signers: Iterable[Signer]) -> bytes:
    metadata = Metadata(payload)
    for signer in signers:
        metadata.sign(signer, append=True)
    return serialise(metadata)


@dataclass
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.out)
        return parsed


def tool(*words: str | Path, input_: str | None = None) -> Said:
    """Run ``interlock-repo`` in this process."""
    result: Result = CliRunner().invoke(main, [str(word) for word in words], input=input_)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return Said(result.exit_code, result.stdout, result.stderr)


class World:
    """One fleet's image repository, as it is after ``interlock-server init``.

    Args:
        place: a directory of its own.
        people: where ``make_people`` put the keys.
    """

    def __init__(self, place: Path, people: Path) -> None:
        self._lie_in(place)
        shutil.copytree(people, self.keys)
        self.root_signers = [CryptoSigner.generate_ed25519() for _ in range(3)]
        self.online = [CryptoSigner.generate_ed25519()]
        (self.ceremony / "image").mkdir(parents=True)
        now = system_clock()
        root, targets = self.root(now), Targets(expires=now + timedelta(days=365))
        set_issued(targets, now)
        self.root_file.write_bytes(signed(root, self.root_signers[:2]))
        (self.ceremony / "image" / "1.targets.json").write_bytes(
            signed(targets, [self.signer(name) for name in KEY_HOLDERS[:2]])
        )
        repository = self.image()
        repository.put_root(self.root_file.read_bytes())
        repository.put_offline("targets", (self.ceremony / "image" / "1.targets.json").read_bytes())
        repository.publish()

    def _lie_in(self, place: Path) -> None:
        self.place = place
        self.keys = place / "keys"
        self.secret = self.keys / "passphrase"
        self.store = FileStore(place / "store")
        self.ceremony = place / "ceremony"
        self.root_file = self.ceremony / "image" / "1.root.json"

    def copied(self, place: Path) -> World:
        """The same fleet with all its files in another directory."""
        shutil.copytree(self.place, place, dirs_exist_ok=True)
        other = copy.copy(self)
        other._lie_in(place)
        return other

    def root(self, now: datetime, version: int = 1) -> Root:
        root = Root(version=version, expires=now + timedelta(days=365))
        for signer in self.root_signers:
            root.add_key(signer.public_key, "root")
        for name in KEY_HOLDERS:
            root.add_key(load_public_key(self.public(name)).key, "targets")
        for role in ("snapshot", "timestamp"):
            root.add_key(self.online[0].public_key, role)
        root.roles["root"].threshold = root.roles["targets"].threshold = 2
        set_issued(root, now)
        return root

    def later_ceremony(self, output: Path, *versions: int) -> Path:
        """The output of a later ceremony: image roots 1 and ``versions``, one director root."""
        now = system_clock()
        (output / "image").mkdir(parents=True)
        (output / "director").mkdir()
        first = self.root_file.read_bytes()
        (output / "image" / "1.root.json").write_bytes(first)
        for version in versions:
            text = signed(self.root(now, version), self.root_signers)
            (output / "image" / f"{version}.root.json").write_bytes(text)
        carried = (self.ceremony / "image" / "1.targets.json").read_bytes()
        (output / "image" / "1.targets.json").write_bytes(carried)
        director = Root(expires=now + timedelta(days=365))
        keys_ = [CryptoSigner.generate_ed25519() for _ in range(4)]
        for role, those in (
            ("root", keys_[:2]),
            ("targets", keys_[2:3]),
            ("snapshot", keys_[3:]),
            ("timestamp", keys_[3:]),
        ):
            for signer in those:
                director.add_key(signer.public_key, role)
        director.roles["root"].threshold = 2
        text = signed(director, keys_[:2])
        (output / "director" / "1.root.json").write_bytes(text)
        fleet = FleetFile(
            fleet="north", image_root=sha256_hex(first), director_root=sha256_hex(text)
        )
        (output / "fleet.json").write_bytes(encode(fleet))
        (output / "transcript.json").write_bytes(b"{}")
        return output

    def image(self) -> OnlineRepository:
        signers: dict[str, Sequence[Signer]] = {"snapshot": self.online, "timestamp": self.online}
        return OnlineRepository(self.store, "image", signers, system_clock)

    def direct(self, cohorts: Mapping[str, Clock]) -> Path:
        """Directors whose heads were signed at some time; returns the file of their root."""
        root = Root(expires=system_clock() + timedelta(days=365))
        offline, online = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
        root.add_key(offline.public_key, "root")
        signers = {role: [online] for role in ("targets", "snapshot", "timestamp")}
        for role in signers:
            root.add_key(online.public_key, role)
        set_issued(root, system_clock() - timedelta(days=60))
        data = signed(root, [offline])
        file = self.place / "director.json"
        file.write_bytes(data)
        for cohort, clock in cohorts.items():
            one = OnlineRepository(self.store, f"director/{cohort}", signers, clock, cohort=cohort)
            one.put_root(data)
            one.publish_targets({})
        return file

    def public(self, person: str) -> Path:
        return self.keys / f"{person}.pub.json"

    def private(self, person: str) -> Path:
        return self.keys / f"{person}.key.json"

    def signer(self, person: str) -> Signer:
        return keys.load_signer(self.private(person), lambda _: PASSPHRASE)

    # What people write

    def delegations(self, text: str | None = None) -> Path:
        path = self.place / "delegations.toml"
        path.write_text(
            text
            if text is not None
            else role(f"products.{PRODUCT}", 2, *RELEASE_MANAGERS)
            + role("interlock", 2, *ROSTER_HOLDERS)
        )
        return path

    def release(
        self,
        version: str = "1.0.0",
        counter: int = 1,
        changes: Mapping[str, str | None] | None = None,
        **more: str,
    ) -> Path:
        """A release's TOML file and its files; ``changes`` and ``more`` replace or drop lines."""
        folder = self.place / f"release-{version}"
        folder.mkdir(exist_ok=True)
        (folder / "fw.img").write_bytes(f"firmware {version} ".encode() * 5000)
        (folder / "sbom.cdx.json").write_text(json.dumps(CYCLONEDX))
        (folder / "notes.md").write_text(f"# {version}\n")
        lines: dict[str, str | None] = {
            "product": f'"{PRODUCT}"',
            "version": f'"{version}"',
            "release_counter": str(counter),
            "raises_floor_to": "0",
            "min_counter_installed": "0",
            "update_class": '{ type = "security", urgency = "routine" }',
            "hardware_ids": '["cg-200"]',
            "markets": '["DE", "FR"]',
            "support_end": "2036-12-31",
            "sbom": '"sbom.cdx.json"',
            "notes": '"notes.md"',
            "images": '[{ file = "fw.img" }]',
        }
        stated = {k: v for k, v in (lines | dict(changes or {}) | more).items() if v is not None}
        path = folder / "release.toml"
        path.write_text("".join(f"{key} = {value}\n" for key, value in stated.items()))
        return path

    def roster(self, *, operators: Sequence[str] = OPERATORS, extra: str = "") -> Path:
        path = self.place / "roster.toml"
        persons = "".join(
            f'[[persons]]\nname = "{name}"\nkeys = ["keys/{name}.pub.json"]\n'
            f'grants = [{{ role = "operator", cohorts = ["*"], expires = 2036-01-01T00:00:00Z }}]\n'
            for name in operators
        )
        path.write_text(
            'fleet = "test-fleet"\n' + persons + '[[rules]]\npattern = "*"\n'
            "start = { approver = 1 }\nadvance = {}\nresume = { approver = 1 }\n"
            "stop = []\nassign = {}\n" + extra
        )
        return path

    # What people do

    def make(self, act: str, event: Path, spec: Path, *words: str | Path) -> Said:
        """Stage an event from the store, unless ``words`` say from elsewhere."""
        named: list[str | Path] = ["--repository", self.store.root]
        if "--repository" in words:
            named = []
        return tool(act, "--event", event, "--root", self.root_file, *named, *words, spec)

    def sign(self, event: Path, person: str, *words: str | Path) -> Said:
        named = [
            word
            for option, value in (MEANT[:2], MEANT[2:])
            if option not in words
            for word in (option, value)
        ]
        return tool(
            "sign", event, "--key", self.private(person), "--passphrase-file", self.secret,
            "--yes", *named, *words,
        )  # fmt: skip

    def put_in_force(self, *events: Path) -> None:
        """Publish signed events, all at once, as one would with the same core code."""
        repository = self.image()
        for event in events:
            opened, tally = open_copies([event])
            for path in (event / "targets").rglob("*"):
                if path.is_file():
                    data = path.read_bytes()
                    name = path.relative_to(event / "targets")
                    digest = opened.metadata.signed.targets[name.as_posix()].hashes["sha256"]
                    key = f"image/targets/{name.parent.as_posix()}/{digest}.{name.name}"
                    self.store.put_new_stream(key, [data], length=len(data), sha256=digest)
            repository.put_offline(opened.file.role, assemble(opened, tally, system_clock()))
        repository.publish()

    def in_force(self, act: str, spec: Path, signers: Sequence[str], *words: str) -> Path:
        """Stage, sign and publish; return the event."""
        event = self.place / f"{act}-{len(list(self.place.iterdir()))}"
        made = self.make(act, event, spec, *words)
        assert made.code == 0, made.err
        for person in signers:
            assert self.sign(event, person).code == 0
        self.put_in_force(event)
        return event

    def delegate(self, text: str | None = None) -> Path:
        return self.in_force("delegate", self.delegations(text), KEY_HOLDERS[:2])


def role(table: str, threshold: int, *holders: str) -> str:
    """A role of a delegations file."""
    files = ", ".join(f'"keys/{name}.pub.json"' for name in holders)
    return f"[{table}]\nthreshold = {threshold}\nholders = [{files}]\n"


def write_manifest(output: Path) -> None:
    """List every file of a ceremony's output, as it is now."""
    (output / "manifest.json").unlink(missing_ok=True)
    files = {
        str(path.relative_to(output)): {
            "length": path.stat().st_size,
            "sha256": sha256_hex(path.read_bytes()),
        }
        for path in output.rglob("*.json")
    }
    manifest = {"type": "urn:interlock:manifest:v1", "files": files}
    (output / "manifest.json").write_text(json.dumps(manifest))
