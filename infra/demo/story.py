"""The acts of the story, each a call of real commands: what people do, in their own zones.

``demo`` plays them all; the bench plays as far as one updated gateway.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from infra.demo.stage import Said, Stage, StoryError, free_port

PRODUCT: Final = "ward-gateway"
HARDWARE: Final = "cg-200"
CANARY: Final = "canary"
WARDS: Final = "wards"
FLEET: Final = "demo-fleet"

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
        self._secret = self._passphrase_file()
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

    def make_online_keys(self) -> None:
        """The server's own keys, before the ceremony."""
        self.stage.run(
            "interlock-server", "keys", "new", self.place / "server" / "online",
            "--passphrase-file", self._secret,
        )  # fmt: skip

    def hold_ceremony(self) -> Said:
        """Root ceremony, 2 of 3, of both repositories."""
        online = self.place / "server" / "online"
        script = self.place / "genesis.toml"
        script.write_text(
            f'fleet = "{FLEET}"\noutput = "{self.ceremony}"\n'
        )
        words: list[str | Path] = []
        for holder in KEY_HOLDERS:
            words += ["--passphrase-file", f"{holder}={self._secret}"]
        return self.stage.run("interlock-ceremony", "run", script, *words)
