"""The acts that found a fleet, build gateways in and publish releases: calls of real commands.

``demo`` plays them all; the bench plays as far as one updated gateway.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from infra.demo.attacker import Attacker
from infra.demo.cast import (
    APPROVERS,
    ENGINEER,
    FLEET,
    FLEET_PEOPLE,
    KEY_HOLDERS,
    MONITOR,
    PROPOSER,
    RELEASE_MANAGERS,
    ROSTER_HOLDERS,
    ST_MARY,
)
from infra.demo.firmware import Firmware
from infra.demo.gateways import HARDWARE, PRODUCT, Gateway, Place, build
from infra.demo.monitor import Monitor, write_settings
from infra.demo.operators import Operators
from infra.demo.stage import Said, Stage, together
from infra.ports import free_port
from interlock_core import wire
from interlock_core.genesis import ONLINE_ROLES


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
        self.root = self.ceremony / "image" / "1.root.json"
        self.server_config = self.place / "server" / "server.toml"
        self.log_key = self.place / "server" / "online" / "log.pub.json"
        self.operators = Operators(
            stage, url=self.url, root=self.root, log_key=self.log_key, secret=self.secret
        )

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
            *(partial(self._key, "interlock-ops", p) for p in FLEET_PEOPLE),
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
engine_interval_seconds = 2
[storage]
store_directory = "store"
pending_directory = "pending"
database = "server.sqlite3"
largest_target_bytes = 4_294_967_296
[keys]
image_online = "online/image-online.key.json"
director_targets = "online/director-targets.key.json"
director_online = "online/director-online.key.json"
log = "online/log.key.json"
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
        self.server = self.stage.serve(self.server_config, self.health_port, log)

    def start_monitor(self) -> Monitor:
        """Elsewhere, under its own key, the monitor begins to read the log."""
        place = self.place / "monitor"
        settings = place / "monitor.toml"
        write_settings(
            settings,
            url=self.url,
            fleet=FLEET,
            root=self.root,
            log_key=self.log_key,
            key=self.key_of(MONITOR),
            secret=self.secret,
        )
        return Monitor.start(self.stage, settings)

    # Gateways are built in, and let in

    def build_in(self, name: str, place: Place) -> Gateway:
        """A new gateway in its hospital; it is not switched on yet."""
        return build(
            self.place / "gateways" / name,
            place,
            fleet=FLEET,
            url=self.url,
            roots=self.ceremony,
        )

    def enrol(self, gateway: Gateway) -> None:
        """An installer hands a gateway its claim; the device signs with a key of its own."""
        self.stage.run(
            "interlock-client", "enrol", "--claim-file", self.operators.secret_of(gateway),
            "--config", gateway.home / "gateway.toml",
        )  # fmt: skip

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
            for person, role in (
                (PROPOSER, "operator"),
                *((p, "approver") for p in APPROVERS),
                (MONITOR, "monitor"),
            )
        ) + (
            f'[[persons]]\nname = "{ENGINEER}"\nkeys = ["{self.public_of(ENGINEER)}"]\n'
            f'grants = [{{ role = "engineer", cohorts = ["*"], sites = ["{ST_MARY}"], '
            f'expires = "{until}" }}]\n'
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
            "--repository", repository, "--root", self.root,
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

    # Somebody breaks in

    def attacker(self) -> Attacker:
        """An attacker who took the server with all its online keys."""
        server = self.place / "server"
        secret = self.secret.read_text().strip()
        return Attacker(server / "store", server / "online", secret, PRODUCT)

    def refresh(self) -> None:
        """The server signs again what expires soon and repairs what is not its own."""
        self.stage.run("interlock-server", "refresh", "--config", self.server_config)
