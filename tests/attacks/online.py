"""What somebody signs who holds every online key, and other keys that were stolen."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from securesystemslib.dsse import Envelope as DsseEnvelope
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from interlock_core.names import DIRECTIVE_PATH
from interlock_core.order import Order
from interlock_core.statement import PAYLOAD_TYPE, Envelope, Opened, Said, Signature, open_as, sign
from interlock_core.tuf_metadata import set_issued
from interlock_core.tuf_repository import OnlineRepository
from interlock_core.wire import sha256_hex
from tests.client.web import Web
from tests.client.world import WARDS, Rollout, World

HIGHEST = 2**53 - 1
"""The highest version that the wire format has."""
S = TypeVar("S", bound=Said)


def edited(opened: Opened[Any], **changes: Any) -> Envelope:
    """Other words under the signatures of these."""
    said: Said = msgspec.structs.replace(opened.said, **changes)
    words = sign(said, CryptoSigner.generate_ed25519())
    return msgspec.structs.replace(words, signatures=opened.envelope.signatures)


def written(opened: Opened[S], old: str, new: str, signer: Signer) -> Opened[S]:
    """The same statement with some of its bytes replaced, well signed; its words are not read."""
    assert opened.payload.count(old.encode()) >= 1
    payload = opened.payload.replace(old.encode(), new.encode())
    signature = signer.sign(DsseEnvelope(payload, PAYLOAD_TYPE, {}).pae())
    raw = base64.b64encode(bytes.fromhex(signature.signature)).decode()
    envelope = Envelope(
        payload=base64.b64encode(payload).decode(),
        payload_type=PAYLOAD_TYPE,
        signatures=(Signature(keyid=signature.keyid, sig=raw),),
    )
    return dataclasses.replace(opened, id=sha256_hex(payload), payload=payload, envelope=envelope)


class Online:
    """The server's keys.

    Attributes:
        world: the fleet, with every key.
        web: the server.
    """

    world: World
    web: Web

    def without_bundle(self) -> None:
        """The ordinary URLs are read."""
        self.web.answer("/poll/", b"", 404)

    def lie(self, path: str, data: bytes) -> None:
        """Answer one of the ordinary URLs with ``data``."""
        self.without_bundle()
        self.web.answer(path, data)

    # Directors

    def show(self, rollout: Rollout | None = None, **changes: Any) -> None:
        """Sign a directive with the online keys and serve it."""
        self.world.show(WARDS, rollout, **changes)

    def forge(self, rollout: Rollout, **changes: Any) -> None:
        """Show an order whose words were changed after it was signed."""
        rollout.order = open_as(edited(rollout.order, **changes), Order)
        self.show(rollout)

    def rewrite_order(self, rollout: Rollout, old: str, new: str) -> None:
        """Show an order whose author signed bytes that no tool of ours would write."""
        author = self.world.people[rollout.order.said.author]
        rollout.order = written(rollout.order, old, new, author)
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

    # Heads

    def repository(self, prefix: str) -> OnlineRepository:
        """``image``, or this cohort's director."""
        return self.world.image if prefix == "image" else self.world.director(WARDS)

    def _serve(
        self, prefix: str, snapshot: Snapshot, timestamp: Timestamp, keys: Sequence[Signer]
    ) -> None:
        timestamp.snapshot_meta = MetaFile(snapshot.version)
        metadata = f"/{prefix}/metadata"
        self.lie(f"{metadata}/timestamp.json", self.world.signed(timestamp, keys))
        path = f"{metadata}/{snapshot.version}.snapshot.json"
        self.web.answer(path, self.world.signed(snapshot, keys))

    def sign_snapshot(
        self, versions: Mapping[str, int], keys: Sequence[Signer] | None = None
    ) -> None:
        """Serve an image snapshot and timestamp that name these versions of roles."""
        current = self.world.image.stored.snapshot()
        assert current is not None
        expires = self.world.clock() + timedelta(days=5)
        snapshot = Snapshot(current.signed.version + 50, expires=expires)
        snapshot.meta = {**current.signed.meta}
        snapshot.meta |= {f"{role}.json": MetaFile(version) for role, version in versions.items()}
        timestamp = Timestamp(current.signed.version + 500, expires=expires)
        self._serve("image", snapshot, timestamp, keys or self.world.image_online)

    def announce_snapshot(self, version: int, length: int) -> None:
        """Serve an image timestamp that names a snapshot of this length."""
        timestamp = Timestamp(500, expires=self.world.clock() + timedelta(days=5))
        timestamp.snapshot_meta = MetaFile(version, length)
        data = self.world.signed(timestamp, self.world.image_online)
        self.lie("/image/metadata/timestamp.json", data)

    def heads(self, prefix: str, change: Callable[[Signed], None]) -> None:
        """Serve the honest metadata of the online roles, changed and signed again."""
        stored = self.repository(prefix).stored
        snapshot, timestamp = stored.snapshot(), stored.timestamp()
        assert snapshot is not None
        assert timestamp is not None
        keys = self.world.image_online
        if prefix != "image":
            targets = stored.published_targets()
            assert targets is not None
            change(targets.signed)
            version = targets.signed.version
            snapshot.signed.meta["targets.json"] = MetaFile(version)
            data = self.world.signed(targets.signed, self.world.director_targets)
            self.web.answer(f"/{prefix}/metadata/{version}.targets.json", data)
            keys = self.world.director_online
        for signed in (snapshot.signed, timestamp.signed):
            change(signed)
        self._serve(prefix, snapshot.signed, timestamp.signed, keys)

    def fast_forward(self, prefix: str) -> None:
        """Serve honest metadata under the highest versions that there are."""

        def highest(signed: Signed) -> None:
            signed.version = HIGHEST

        self.heads(prefix, highest)

    def say_issued(self, prefix: str, time: datetime) -> None:
        """Serve online metadata that says when it was issued, as offline metadata does."""

        def late(signed: Signed) -> None:
            signed.version += 100
            signed.expires = time + timedelta(days=1)
            set_issued(signed, time)

        self.heads(prefix, late)

    def undelegate(self) -> None:
        """An honest director again."""
        director = self.world.director(WARDS)
        with director.edit_targets() as targets:
            targets.delegations = None
        director.publish()

    def rotate_online(self, prefix: str) -> None:
        """The ceremony gives a repository new online keys."""
        if prefix == "image":
            self.world.rotate_root("image", image_online=_new())
        else:
            self.world.rotate_root("director", director_targets=_new(), director_online=_new())

    def renew_everything(self) -> None:
        """What people do once a year, after they forgot it for so long."""
        for repository in ("image", "director"):
            self.world.rotate_root(repository)
        self.world.put_targets()
        self.world.put_roster()
        self.world.image.publish()

    # Offline roles, with whatever keys of them were stolen

    def role(self, version: int = 9, **targets: TargetFile) -> Targets:
        """Metadata of an offline role, of the attacker's making."""
        role = Targets(version=version, expires=self.world.clock() + timedelta(days=90))
        role.targets = {info.path: info for info in targets.values()}
        return role

    def published(self, role: str) -> Targets:
        """What an offline role says now."""
        current: Metadata[Targets] | None = self.world.image.stored.published_targets(role)
        assert current is not None
        return current.signed

    def hybrid(self, product: str) -> tuple[list[CryptoSigner], list[CryptoSigner]]:
        """A product gets three keys of each family, of which five must sign; returns both."""
        quantum = [CryptoSigner.generate_mldsa(scheme="ml-dsa-65/1") for _ in range(3)]
        classical = [*_new(), *_new(), *_new()]
        self.world.product_keys[product] = [*classical, *quantum]
        self.world.thresholds[product] = 5
        self.world.put_targets()
        return classical, quantum

    def hybrid_root(self) -> tuple[list[CryptoSigner], list[CryptoSigner]]:
        """The image root gets three keys of each family, all of which sign; returns both."""
        quantum = [CryptoSigner.generate_mldsa(scheme="ml-dsa-65/1") for _ in range(3)]
        classical, old = [*_new(), *_new(), *_new()], self.world.root_keys
        self.world.root_keys = [*classical, *quantum]
        root = self.world.image_root_role(2)
        root.roles["root"].threshold = 5
        self.world.image.put_root(self.world.signed(root, [*old, *classical, *quantum]))
        for cohort in self.world.cohorts:
            self.world.bundle(cohort)
        return classical, quantum

    def top_level(self) -> Targets:
        """The next top-level targets, to be changed."""
        targets = self.published("targets")
        targets.version += 1
        return targets

    def serve_role(self, role: str, signed: Targets, keys: Sequence[Signer]) -> None:
        """Show metadata of an offline role under a snapshot of the online keys."""
        self.sign_snapshot({role: signed.version})
        path = f"/image/metadata/{signed.version}.{role}.json"
        self.web.answer(path, self.world.signed(signed, keys))

    def fast_forward_role(self, role: str) -> None:
        """Serve an honest offline role under the highest version, with every key that it takes."""
        signed = self.published(role)
        signed.version = HIGHEST
        keys = {"targets": self.world.targets_keys, "interlock": self.world.roster_keys}
        self.serve_role(role, signed, keys.get(role) or self.world.product_keys[role])

    def another_product(self, product: str) -> None:
        """The fleet has a second product, with other holders."""
        self.world.product_keys[product] = [*_new(), *_new()]
        self.world.put_targets()

    def put_roles(self, roles: Mapping[str, dict[str, TargetFile]]) -> None:
        """Publish what products' roles list from now on."""
        for role, targets in roles.items():
            self.world.put_role(role, targets)
        self.world.image.publish()

    def replace_holders(self, role: str) -> None:
        """What people do about it: the role gets other keys, and the snapshot as well."""
        world = self.world
        if role == "targets":
            world.targets_keys = [*_new(), *_new()]
        elif role == "interlock":
            world.roster_keys = [*_new(), *_new()]
            world.put_roster()
        else:
            world.product_keys[role] = [*_new(), *_new()]
            world.put_role(role, {one.path: one.info for one in world.releases})
        world.put_targets()
        self.rotate_online("image")
        world.image.publish()
        for cohort in world.cohorts:
            world.bundle(cohort)

    def newer(self, role: str) -> int:
        """People publish a new version of a role; returns the one before it."""
        before = self.world.image.stored.published_version(role)
        assert before is not None
        if role == "targets":
            self.world.put_targets()
        elif role == "interlock":
            self.world.put_roster()
        self.world.release(f"0.{len(self.world.releases)}.0", b"it publishes what is new")
        for cohort in self.world.cohorts:
            self.world.bundle(cohort)
        return before

    # Roots

    def root(
        self, prefix: str, version: int = 2, root_keys: list[CryptoSigner] | None = None
    ) -> Root:
        """A root of either repository, with other holders if they are given."""
        image = prefix == "image"
        root = (self.world.image_root_role if image else self.world.director_root_role)(version)
        if root_keys is not None:
            for keyid in list(root.roles["root"].keyids):
                root.revoke_key(keyid, "root")
            for signer in root_keys:
                root.add_key(signer.public_key, "root")
        return root

    def root_keys(self, prefix: str) -> list[CryptoSigner]:
        """Whoever may sign a root of either repository."""
        return self.world.root_keys if prefix == "image" else self.world.director_root_keys

    def sign_root(
        self, prefix: str, root: Root, keys: Sequence[Signer], version: int | None = None
    ) -> None:
        """Serve a root."""
        path = f"/{prefix}/metadata/{version or root.version}.root.json"
        self.lie(path, self.world.signed(root, keys))


def _new() -> list[CryptoSigner]:
    return [CryptoSigner.generate_ed25519()]
