"""Somebody who holds every key of a ceremony and tells another story about it.

    forger = Forger(stage)
    forger.entries[3]["act"]["name"] = "Mallory"
    forger.write()                      # chained and signed anew

``chain`` and ``sign`` can be left out, for those who hold no key.
"""

from __future__ import annotations

import json
from typing import Any

from tuf.api.metadata import Metadata

from interlock_core import tuf_metadata, wire
from tests.keys_ceremony.stage import ATTENDING, KEYS, Stage, signers

CONTEXT = b"interlock ceremony transcript v1\n"


class Forger:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.path = stage.output / "transcript.json"
        self.told: dict[str, Any] = json.loads(self.path.read_bytes())
        self.keys = signers(stage)

    @property
    def entries(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.told["entries"]
        return entries

    def act(self, kind: str, **fields: str) -> dict[str, Any]:
        """The first act of that kind that has these fields."""
        for entry in self.entries:
            act: dict[str, Any] = entry["act"]
            if act["act"] == kind and all(act[name] == fields[name] for name in fields):
                return act
        raise LookupError(kind)

    def number(self, kind: str) -> int:
        """Where the first act of that kind stands, from 0."""
        return next(n for n, entry in enumerate(self.entries) if entry["act"]["act"] == kind)

    def chain(self) -> None:
        """Number and chain the entries anew."""
        previous = None
        for number, entry in enumerate(self.entries, 1):
            entry["number"], entry["previous"] = number, previous
            previous = wire.sha256_hex(wire.encode(entry))
        self.told["head"] = previous

    def sign(self) -> None:
        """Sign the head anew with every key."""
        payload = CONTEXT + self.told["head"].encode()
        self.told["signatures"] = [
            {"key": key, "keyid": made.keyid, "sig": made.signature}
            for key in (*KEYS, ATTENDING)
            for made in [self.keys[key].sign(payload)]
        ]

    def write(self, *, chain: bool = True, sign: bool = True) -> None:
        if chain:
            self.chain()
        if sign:
            self.sign()
        self.path.write_bytes(wire.encode(self.told))

    def resign(self, file: str, document: Metadata[Any], *names: str) -> None:
        """Put metadata in place of a file, signed by ``names``, and tell of it."""
        document.signatures.clear()
        for name in names:
            document.sign(self.keys[name], append=True)
        data = tuf_metadata.serialise(document)
        (self.stage.output / file).write_bytes(data)
        self.act("metadata_signed", file=file)["sha256"] = wire.sha256_hex(data)
        fleet = json.loads((self.stage.output / "fleet.json").read_bytes())
        for repository in ("image", "director"):
            if file == f"{repository}/1.root.json":
                fleet[f"{repository}_root"] = wire.sha256_hex(data)
                self.act("fleet_named")[f"{repository}_root"] = wire.sha256_hex(data)
        self.fleet(wire.encode(fleet))

    def fleet(self, data: bytes) -> None:
        """Put a fleet.json in place, and tell of it."""
        (self.stage.output / "fleet.json").write_bytes(data)
        self.act("fleet_named")["sha256"] = wire.sha256_hex(data)
