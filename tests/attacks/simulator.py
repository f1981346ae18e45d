"""A fleet, its gateway, and a server that an attacker controls.

A gateway has made one honest check. Then something happens, and it tries a whole update::

    sim.web.answer("/image/metadata/timestamp.json", b"anything")
    sim.refuses("untrusted_metadata")

``refuses`` looks for all that a refusal means: its name and exit code, nothing changed, and the
next honest check succeeds. What stays allowed is said: with online keys an attacker signs directors
that are valid and become the trusted ones; a genuine newer root may be kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata, Snapshot, TargetFile, Timestamp

from interlock_client.memory import Memory
from interlock_client.outcome import Outcome
from interlock_core.errors import Exit
from interlock_core.names import DIRECTIVE_PATH
from interlock_core.order import Go, Order, Stage
from interlock_core.statement import Envelope, Opened, Said, open_as, sign
from tests.client.bed import Bed
from tests.client.web import Web
from tests.client.world import CANARY, OPERATOR, WARDS, Release, Rollout, World

IMAGE = b"an image that was signed " * 200
Gate = Literal["auto", "manual"]


def stage(*cohorts: str, share: int = 10_000, soak: int = 0, gate: Gate = "manual") -> Stage:
    """A stage of ``cohorts``, whole and without a soak unless said (basis points, seconds)."""
    return Stage(cohorts=cohorts, basis_points=share, soak_seconds=soak, gate=gate)


def edited(opened: Opened[Any], **changes: Any) -> Envelope:
    """Other words under the signatures of these."""
    said: Said = msgspec.structs.replace(opened.said, **changes)
    words = sign(said, CryptoSigner.generate_ed25519())
    return msgspec.structs.replace(words, signatures=opened.envelope.signatures)


class Simulator:
    """One gateway of one fleet, and the server that it polls.

    Args:
        directory: everything is under it.

    Attributes:
        world: the fleet, with every key.
        web: the server.
        bed: the gateway.
    """

    def __init__(self, directory: Path) -> None:
        self.world = World(directory)
        self.web = Web(self.world.store)
        self.bed = Bed(directory / "gateway", self.world, self.web)
        self.bed.power_on()

    def __enter__(self) -> Self:
        self.web.__enter__()
        assert self.bed.check().reason == "nothing_wanted"
        return self

    def __exit__(self, *_: object) -> None:
        self.web.__exit__(None, None, None)

    # What is asked of the gateway

    def refuses(
        self, reason: str, *, online: bool = False, exit_code: Exit = Exit.REFUSED
    ) -> Outcome:
        """A whole update is refused by this name, changes nothing, and an honest check follows.

        Args:
            reason: the refusal's name.
            online: the attacker signed valid directors, which may be trusted now.
            exit_code: of the family that the refusal belongs to.
        """
        with self.unchanged(online=online):
            outcome = self.bed.update()
            assert (outcome.reason, outcome.exit_code) == (reason, exit_code), outcome.detail
        self.recovers()
        return outcome

    @contextmanager
    def unchanged(self, *, online: bool = False) -> Iterator[None]:
        """Inside, nothing that counts changes."""
        before, floors = self.kept(trusted=not online), self.floors()
        yield
        after = self.kept(trusted=not online)
        # A genuine newer root may stay (TUF 5.3).
        newer = [path for path in after if "/root_history/" in path and path not in before]
        assert {path: data for path, data in after.items() if path not in newer} == before
        if not online:
            assert self.floors() == floors
        assert not self.bed.wants_reboot

    @contextmanager
    def unchanged_but_for_the_slot(self) -> Iterator[None]:
        """Inside, the slot that does not run may be written, and nothing more."""
        running, floors = self.bed.running, self.bed.memory.versions
        yield
        assert self.bed.running == running
        assert self.bed.environment.load().armed is None
        assert not self.bed.wants_reboot
        assert all(self.bed.memory.versions[role] >= floors[role] for role in floors)

    def recovers(self) -> None:
        """With an honest server again, the next check finds what is wanted."""
        self.web.lies.clear()
        self.world.refresh()
        self.world.roll_out(self.world.release(f"9.{len(self.world.releases)}.0", b"the next one"))
        outcome = self.bed.check()
        assert outcome.outcome == "update_available", outcome

    def kept(self, *, trusted: bool = True) -> dict[str, bytes]:
        """What decides what runs, and what is trusted."""
        kept = self.bed.kept()
        return {path: data for path, data in kept.items() if trusted or "trusted" not in path}

    def floors(self) -> Memory:
        """What must never be forgotten; when the last decision was made is no floor."""
        return msgspec.structs.replace(self.bed.memory, last=None)

    # What the network can do

    def without_bundle(self) -> None:
        """The ordinary URLs are read."""
        self.web.answer("/poll/", b"", 404)

    def lie(self, path: str, data: bytes) -> None:
        """Answer one of the ordinary URLs with ``data``."""
        self.without_bundle()
        self.web.answer(path, data)

    # What people do

    def release(self, version: str = "1.0.0", data: bytes = IMAGE, **facts: Any) -> Release:
        """Publish an image; nobody has ordered it yet."""
        return self.world.release(version, data, **facts)

    def order(self, *stages: Stage, release: Release | None = None, **changes: Any) -> Rollout:
        """An order that was authorised and that nobody has opened; it is not shown yet."""
        if stages:
            changes["stages"] = stages
        rollout = self.world.order(release or self.release(), **changes)
        self.world.authorise(rollout, "order", rollout.order.id)
        return rollout

    def go(self, author: str, rollout: Rollout, **fields: Any) -> Opened[Go]:
        """A ``go`` with the author's signature and nobody else's."""
        now = self.world.clock()
        made: dict[str, Any] = {
            "order": rollout.order.id,
            "stage": 0,
            "act": "open",
            "renews": None,
            "clears": (),
            "opened_at": now,
            "valid_until": now + timedelta(days=7),
            "seq": 1,
        }
        opened = open_as(self.world.by(author, Go(**self.world.said(author) | made | fields)), Go)
        rollout.chain.append(opened.envelope)
        return opened

    # What online keys can do

    def show(self, rollout: Rollout | None = None, **changes: Any) -> None:
        """Sign a directive with the online keys and serve it."""
        self.world.show(WARDS, rollout, **changes)

    def forge(self, rollout: Rollout, **changes: Any) -> None:
        """Show an order whose words were changed after it was signed."""
        forged = edited(rollout.order, **changes)
        rollout.order = open_as(forged, Order)
        self.show(rollout)

    def direct(self, *, bundled: bool = True, **targets: TargetFile) -> None:
        """Sign what the director lists beside what it lists now, or instead of it."""
        director = self.world.director(WARDS)
        published = director.stored.published_targets()
        assert published is not None
        listed = {info.path: info for info in targets.values()}
        director.publish_targets(published.signed.targets | listed)
        if bundled:
            self.world.bundle(WARDS)
        else:
            self.without_bundle()

    def directive_info(self) -> TargetFile:
        """What the director lists as its directive."""
        published = self.world.director(WARDS).stored.published_targets()
        assert published is not None
        return published.signed.targets[DIRECTIVE_PATH]

    def sign_snapshot(
        self, versions: Mapping[str, int], keys: Sequence[Signer] | None = None
    ) -> None:
        """Serve an image snapshot and timestamp that name these versions of roles."""
        signers = keys or self.world.image_online
        current = self.world.image.stored.snapshot()
        assert current is not None
        expires = self.world.clock() + timedelta(days=5)
        snapshot = Metadata(Snapshot(current.signed.version + 50, expires=expires))
        snapshot.signed.meta = dict(current.signed.meta)
        for role, version in versions.items():
            info = snapshot.signed.meta[f"{role}.json"]
            info.version, info.length, info.hashes = version, None, None
        timestamp = Metadata(Timestamp(current.signed.version + 500, expires=expires))
        timestamp.signed.snapshot_meta.version = snapshot.signed.version
        for signer in signers:
            snapshot.sign(signer, append=True)
            timestamp.sign(signer, append=True)
        self.lie("/image/metadata/timestamp.json", timestamp.to_bytes())
        self.web.answer(
            f"/image/metadata/{snapshot.signed.version}.snapshot.json", snapshot.to_bytes()
        )


__all__ = ["CANARY", "IMAGE", "OPERATOR", "WARDS", "Simulator", "edited", "stage"]
