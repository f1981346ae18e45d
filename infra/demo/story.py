"""The acts of the story, each a call of real commands: what people do, in their own zones.

``demo`` plays them all; the bench plays as far as one updated gateway.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from infra.demo.attacker import Attacker
from infra.demo.firmware import Firmware
from infra.demo.stage import Said, Stage, StoryError, free_port
from interlock_core import wire
from interlock_core.genesis import ONLINE_ROLES

PRODUCT: Final = "ward-gateway"
HARDWARE: Final = "cg-200"
CANARY: Final = "canary"
WARDS: Final = "wards"
FLEET: Final = "demo-fleet"

T = TypeVar("T")

KEY_HOLDERS: Final = ("ada", "ben", "cleo")
RELEASE_MANAGERS: Final = ("rosa", "raul")
ROSTER_HOLDERS: Final = ("tom", "tess")
PROPOSER: Final = "olivia"
APPROVERS: Final = ("amir", "anna")


@dataclass
class Gateway:
    """One gateway: its machine's process and its directory."""

    name: str
    home: Path
    process: subprocess.Popen[str]
    booted: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, word: str) -> list[dict[str, Any]]:
        """Send one word to the machine; returns how each process that it started ended."""
        self.send(word)
        return self.hear()

    def send(self, word: str) -> None:
        """Send one word without waiting for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def hear(self) -> list[dict[str, Any]]:
        """The answer to the word that was sent.

        Raises:
            StoryError: the machine is gone.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise StoryError(f"{self.name} went dark: {self.process.stderr.read()[-2000:]}")
        said: list[dict[str, Any]] = json.loads(line)
        return said

    def use(self, *, by_patient: bool) -> None:
        """Say to the interlock check whether a patient depends on this gateway now."""
        flag = self.home / "in-use"
        if by_patient:
            flag.touch()
        else:
            flag.unlink(missing_ok=True)


class Story:
    """One fleet from nothing.

    Args:
        stage: where it is played.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.place = stage.place
        self.port, self.health_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.secret = self._passphrase_file()
        self.people = self.place / "people"
        (self.place / "server").mkdir()
        self.people.mkdir()
        self.ceremony = self.place / "ceremony-output"
        self.server_config = self.place / "server" / "server.toml"

    def _passphrase_file(self) -> Path:
        # One passphrase for everybody, made for this run: people would each have their own.
        path = self.place / "passphrase"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
        return path

    def key_of(self, person: str) -> Path:
        """A person's private key file."""
        return self.place / "people" / f"{person}.key.json"

    def public_of(self, person: str) -> Path:
        """A person's public key file."""
        return self.place / "people" / f"{person}.pub.json"

    # The fleet is founded

    def found(self, cohorts: Sequence[str]) -> None:
        """All that comes before the first release: keys, ceremony, server, delegations, roster."""
        self.hold_ceremony()
        self.start_server(cohorts)
        self.publish_roster()

    def hold_ceremony(self) -> None:
        """Root ceremony, 2 of 3, of both repositories; elsewhere everybody makes a key."""
        together(
            self._ceremony,
            *(partial(self._key, "interlock-repo", p) for p in RELEASE_MANAGERS + ROSTER_HOLDERS),
            *(partial(self._key, "interlock-ops", p) for p in (PROPOSER, *APPROVERS)),
        )

    def _key(self, command: str, person: str) -> Said:
        return self.stage.run(
            command, "key", "new", person, "--directory", self.people,
            "--passphrase-file", self.secret,
        )  # fmt: skip

    def _ceremony(self) -> None:
        online_keys = self.place / "server" / "online"
        self.stage.run(
            "interlock-server", "keys", "new", online_keys, "--passphrase-file", self.secret
        )
        holders = json.dumps(KEY_HOLDERS)
        script = self.place / "genesis.toml"
        online = "\n".join(f'{name} = "server/online/{name}.pub.json"' for name in ONLINE_ROLES)
        roles = "\n".join(
            f"[{role}]\nholders = {holders}\nthreshold = 2\nlifetime_days = 365\n"
            for role in ("image.root", "image.targets", "director.root")
        )
        persons = "\n".join(f'{name} = "{name.title()}"' for name in KEY_HOLDERS)
        script.write_text(
            f'act = "genesis"\nfleet = "{FLEET}"\noutput = "{self.ceremony.name}"\n'
            f'administrator = "{KEY_HOLDERS[0]}"\n[persons]\n{persons}\n{roles}\n'
            f"[online]\n{online}\n"
        )
        words: list[str | Path] = []
        for holder in KEY_HOLDERS:
            words += ["--passphrase-file", f"{holder}={self.secret}"]
        self.stage.run("interlock-ceremony", "run", script, *words)

    def start_server(self, cohorts: Sequence[str]) -> None:
        """The server takes the ceremony's output and serves; offline, delegations are signed."""
        self.server_config.write_text(
            f"""[server]
listen = "127.0.0.1:{self.port}"
health_listen = "127.0.0.1:{self.health_port}"
workers = 2
threads_per_worker = 4
stop_within_seconds = 5
[storage]
store_directory = "store"
pending_directory = "pending"
database = "server.sqlite3"
largest_target_bytes = 4_294_967_296
[keys]
image_online = "online/image-online.key.json"
director_targets = "online/director-targets.key.json"
director_online = "online/director-online.key.json"
passphrase_file = "{self.secret}"
"""
        )
        together(partial(self._init_and_serve, cohorts), self._sign_delegations)
        self._publish("delegations")

    def _init_and_serve(self, cohorts: Sequence[str]) -> None:
        self.stage.run(
            "interlock-server", "init", self.ceremony, "--config", self.server_config,
            *(word for cohort in cohorts for word in ("--cohort", cohort)),
        )  # fmt: skip
        log = self.place / "server" / "log"
        self.stage.serve(self.server_config, self.health_port, log)

    # A gateway is built in

    def build_in(self, name: str, cohort: str) -> Gateway:
        """A new gateway in its hospital, switched on."""
        home = self.place / "gateways" / name
        for directory in ("interlock.d", "health.d", "slots", "boot"):
            (home / directory).mkdir(parents=True)
        for repository in ("image", "director"):
            shutil.copy(
                self.ceremony / repository / "1.root.json", home / f"{repository}.root.json"
            )
        _script(home / "interlock.d" / "patient", f'test ! -e "{home}/in-use"')
        _script(home / "health.d" / "boots", f'test -s "{home}/slots/$(cat "{home}/booted")"')
        _script(home / "reboot.sh", f'touch "{home}/reboot"')
        (home / "gateway.toml").write_text(
            f"""fleet = "{FLEET}"
device = "{name}"
product = "{PRODUCT}"
hardware = "{HARDWARE}"
market = "DE"
cohort = "{cohort}"
cohort_patterns = []
servers = ["{self.url}"]
poll_interval_seconds = 900
poll_jitter_seconds = 300
image_root = "image.root.json"
director_root = "director.root.json"
state = "state"
reboot_command = ["{home}/reboot.sh"]
hold_file = "hold"
[installer]
kind = "slots"
a = "slots/a"
b = "slots/b"
boot_environment = "boot"
booted = "booted"
tries = 3
[interlock]
checks = "interlock.d"
timeout_seconds = 10
[health]
checks = "health.d"
timeout_seconds = 10
"""
        )
        process = self.stage.start_script(Path(__file__).with_name("machine.py"), home)
        gateway = Gateway(name, home, process)
        gateway.booted = gateway.hear()
        return gateway

    # Release managers and the roster's holders sign

    def _sign_delegations(self) -> None:
        """Two of the ceremony's holders delegate: a product to its managers, the roster to others.

        They need no server: the ceremony's output is all that is in force yet.
        """
        spec = self.place / "delegations.toml"
        managers = json.dumps([str(self.public_of(person)) for person in RELEASE_MANAGERS])
        holders = json.dumps([str(self.public_of(person)) for person in ROSTER_HOLDERS])
        spec.write_text(
            f"[products.{PRODUCT}]\nthreshold = 2\nholders = {managers}\n"
            f"[interlock]\nthreshold = 2\nholders = {holders}\n"
        )
        keys = self.ceremony / "keys"
        signers = [keys / f"{holder}-image-targets.key.json" for holder in KEY_HOLDERS[:2]]
        self._event("delegate", spec, "delegations", signers, self.ceremony)

    def publish_roster(self) -> None:
        """Who may do what, to which cohorts, and what each cohort asks for."""
        spec = self.place / "roster.toml"
        until = wire.format_time(datetime.now(UTC) + timedelta(days=300))
        persons = "".join(
            f'[[persons]]\nname = "{person}"\nkeys = ["{self.public_of(person)}"]\n'
            f'grants = [{{ role = "{role}", cohorts = ["*"], expires = "{until}" }}]\n'
            for person, role in ((PROPOSER, "operator"), *((p, "approver") for p in APPROVERS))
        )
        spec.write_text(
            f'fleet = "{FLEET}"\n[[rules]]\npattern = "*"\nstart = {{ approver = 2 }}\n'
            "advance = { approver = 2 }\nresume = { approver = 2 }\nstop = []\n"
            f"assign = {{ approver = 2 }}\n{persons}"
        )
        signers = [self.key_of(person) for person in ROSTER_HOLDERS]
        self._event("roster", spec, "roster", signers, self.url)
        self._publish("roster")

    def sign_release(self, firmware: Firmware, counter: int) -> None:
        """Stage a release with its SBOM, and sign it by two."""
        spec = self.place / f"release-{firmware.version}.toml"
        spec.write_text(
            f"""product = "{PRODUCT}"
version = "{firmware.version}"
hardware_ids = ["{HARDWARE}"]
release_counter = {counter}
raises_floor_to = 0
min_counter_installed = 0
update_class = {{ type = "security", urgency = "routine" }}
markets = ["DE"]
support_end = 2031-12-31
sbom = "{firmware.sbom}"
[[images]]
file = "{firmware.path}"
name = "firmware.img"
"""
        )
        signers = [self.key_of(person) for person in RELEASE_MANAGERS]
        self._event("stage", spec, f"release-{firmware.version}", signers, self.url)

    def publish_release(self, firmware: Firmware) -> None:
        """Publish what the release managers signed, through the server."""
        self._publish(f"release-{firmware.version}")

    def _event(
        self, verb: str, spec: Path, name: str, signers: Sequence[Path], repository: str | Path
    ) -> None:
        event = self.place / "events" / name
        event.parent.mkdir(exist_ok=True)
        self.stage.run(
            "interlock-repo", verb, spec, "--event", event,
            "--repository", repository, "--root", self.ceremony / "image" / "1.root.json",
        )  # fmt: skip
        together(*(partial(self._sign, event, key) for key in signers))

    def _publish(self, name: str) -> None:
        event = self.place / "events" / name
        self.stage.run("interlock-repo", "publish", event, "--server", self.url)

    def _sign(self, event: Path, key: Path) -> Said:
        return self.stage.run(
            "interlock-repo", "sign", event, "--key", key, "--passphrase-file", self.secret,
            "--meaning", "approved", "--reason", "reviewed for the demo", "--yes",
        )  # fmt: skip

    # Operators command a rollout

    def propose(self, firmware: Firmware) -> str:
        """One person proposes; returns the order's id."""
        order = self.place / "order.toml"
        order.write_text(
            f"""product = "{PRODUCT}"
kind = "update"
not_before = "0s"
expires = "30d"
deadline = "6h"
spread = "0s"
[[targets]]
path = "{PRODUCT}/{firmware.version}/firmware.img"
[[stages]]
cohorts = ["{CANARY}"]
percent = 100
soak = "0s"
gate = "manual"
[[stages]]
cohorts = ["{WARDS}"]
percent = 100
soak = "0s"
gate = "manual"
"""
        )
        return self._id(self._operator(PROPOSER, "propose", order))

    def start(self, order: str) -> str:
        """The proposer opens stage 0; returns the id of the go."""
        return self._id(self._operator(PROPOSER, "start", order))

    def advance(self, order: str) -> str:
        """The proposer opens the next stage; returns the id of the go."""
        return self._id(self._operator(PROPOSER, "advance", order))

    def authorise(self, *subject: str) -> None:
        """Both approvers, each at their own desk, authorise an order, or with ``--go`` a go."""
        words = ("authorise", *subject, "--role", "approver")
        together(*(partial(self._operator, person, *words) for person in APPROVERS))

    def status(self, order: str) -> dict[str, Any]:
        """How the order stands, computed by the operator from what was signed."""
        return self._operator(PROPOSER, "status", order, acts=False).answer

    def _operator(self, person: str, verb: str, *words: str | Path, acts: bool = True) -> Said:
        settings = self.people / f"{person}.toml"
        if not settings.exists():
            settings.write_text(
                f'server = "{self.url}"\nfleet = "{FLEET}"\n'
                f'image_root = "{self.ceremony}/image/1.root.json"\nperson = "{person}"\n'
                f'key = "{person}.key.json"\npassphrase_file = "{self.secret}"\n'
                f'state_directory = "{person}-state"\n'
            )
        if acts:
            words = (*words, "--reason", "the demo", "--yes")
        return self.stage.run("interlock-ops", "rollout", verb, *words, "--config", settings)

    @staticmethod
    def _id(said: Said) -> str:
        statement: str = said.answer["id"]
        return statement

    # Somebody breaks in

    def attacker(self) -> Attacker:
        """An attacker who took the server with all its online keys."""
        server = self.place / "server"
        return Attacker(server / "store", server / "online", self.secret.read_text().strip())

    def refresh(self) -> None:
        """The server signs again what expires soon and repairs what is not its own."""
        self.stage.run("interlock-server", "refresh", "--config", self.server_config)


def together(*acts: Callable[[], T]) -> list[T]:
    """Let people who need not wait for one another act at the same time."""
    with ThreadPoolExecutor(max_workers=len(acts)) as pool:
        return [done.result() for done in [pool.submit(act) for act in acts]]


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
