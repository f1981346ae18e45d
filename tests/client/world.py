"""A small fleet that tests own whole: people, both repositories, their server, and gateways.

A scenario reads like a story::

    world = World(tmp_path)
    rollout = world.roll_out(world.release("1.0.0", b"..."))
    with Web(world.store) as web:
        bed = Bed(tmp_path / "gateway", world, web)
        bed.power_on()
        assert bed.update().outcome == "rebooting"

Time is ``world.clock``: everything that is signed, served and decided takes it from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, TargetFile, Targets

from interlock_core.bundle import Bundle
from interlock_core.bundle import Roots as BundleRoots
from interlock_core.directive import Directive, ProductDirective
from interlock_core.keybytes import PublicKey
from interlock_core.names import DIRECTIVE_PATH, ROSTER_PATH
from interlock_core.order import Assignment, Authorisation, Go, Order, Stage, Stop, Target
from interlock_core.release import Image, Permit, Reference, Slot, UpdateClass, facts_of
from interlock_core.roster import CohortRules, Grant, Person, Roster
from interlock_core.statement import Envelope, Opened, Said, open_as, sign
from interlock_core.store import FileStore
from interlock_core.tuf_metadata import delegated_paths, serialise, set_issued
from interlock_core.tuf_repository import OnlineRepository
from interlock_core.wire import encode, sha256_hex
from tests.support.deltas import delta_of

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
FLEET = "test-fleet"
PRODUCT = "ward-gateway"
HARDWARE = "cg-200"
MARKET = "DE"
WARDS = "wards"
CANARY = "canary"
OPERATOR = "olivia"
APPROVERS = ("amir", "anna")
MONITOR = "mona"


class Clock:
    """A clock that tests set."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **duration: float) -> None:
        """Let time pass."""
        self.now += timedelta(**duration)


def new_keys(number: int) -> list[CryptoSigner]:
    return [CryptoSigner.generate_ed25519() for _ in range(number)]


@dataclass(frozen=True)
class Release:
    """An image that was published."""

    path: str
    data: bytes
    info: TargetFile
    image: Image

    @property
    def target(self) -> Target:
        return Target(path=self.path, length=len(self.data), sha256=self.info.hashes["sha256"])


@dataclass
class Rollout:
    """An order and what was signed about it."""

    order: Opened[Order]
    releases: Sequence[Release]
    authorisations: list[Envelope] = field(default_factory=list)
    chain: list[Envelope] = field(default_factory=list)
    stops: list[Envelope] = field(default_factory=list)

    def entry(self) -> ProductDirective:
        return ProductDirective(
            order=self.order.envelope,
            authorisations=tuple(self.authorisations),
            chain=tuple(self.chain),
            stops=tuple(self.stops),
            assignments=(),
        )


class World:
    """One fleet: its keys, its people, and both repositories in a Store."""

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.store = FileStore(directory / "store", self.clock)
        self.root_keys = new_keys(2)
        self.director_root_keys = new_keys(2)
        self.targets_keys = new_keys(2)
        self.roster_keys = new_keys(2)
        self.product_keys = {PRODUCT: new_keys(2)}
        self.thresholds: dict[str, int] = {}
        self.image_online = new_keys(1)
        self.director_targets = new_keys(1)
        self.director_online = new_keys(1)
        self.people = {name: new_keys(1)[0] for name in (OPERATOR, *APPROVERS, MONITOR)}
        self.cohorts = [WARDS, CANARY]
        self.releases: list[Release] = []
        self.permits: dict[str, TargetFile] = {}
        self.deltas: dict[str, TargetFile] = {}
        self.withdrawn: list[Release] = []
        self.rollouts: list[Rollout] = []
        self.assignments: list[Envelope] = []
        self.words: list[Envelope] = []
        self._versions: dict[str, int] = {}
        self._order_seq = 0
        self.image_root = self.signed(self.image_root_role(), self.root_keys)
        self.director_root = self.signed(self.director_root_role(), self.director_root_keys)
        self.image.put_root(self.image_root)
        self.put_targets()
        self.put_roster()
        self.image.publish()
        for cohort in self.cohorts:
            self.director(cohort).put_root(self.director_root)
            self.show(cohort)

    # Offline metadata

    def image_root_role(self, version: int = 1) -> Root:
        return self._root(
            version,
            root=self.root_keys,
            targets=self.targets_keys,
            snapshot=self.image_online,
            timestamp=self.image_online,
        )

    def director_root_role(self, version: int = 1) -> Root:
        return self._root(
            version,
            root=self.director_root_keys,
            targets=self.director_targets,
            snapshot=self.director_online,
            timestamp=self.director_online,
        )

    def _root(self, version: int, **roles: list[CryptoSigner]) -> Root:
        root = Root(version=version, expires=self.clock() + timedelta(days=365))
        for role, signers in roles.items():
            for signer in signers:
                root.add_key(signer.public_key, role)
            root.roles[role].threshold = len(signers)
        set_issued(root, self.clock())
        return root

    @staticmethod
    def signed(payload: Any, signers: Iterable[Signer]) -> bytes:
        metadata = Metadata(payload)
        for signer in signers:
            metadata.sign(signer, append=True)
        return serialise(metadata)

    def _next(self, role: str) -> int:
        self._versions[role] = self._versions.get(role, 0) + 1
        return self._versions[role]

    def skip_version(self, role: str) -> None:
        """Somebody else published the next version of a role."""
        self._next(role)

    def put_targets(self) -> None:
        """Top-level targets, which delegates every product and the roster."""
        targets = Targets(version=self._next("targets"), expires=self.clock() + timedelta(days=365))
        holders = {**self.product_keys, "interlock": self.roster_keys}
        targets.delegations = Delegations(
            {},
            {
                role: DelegatedRole(
                    role,
                    [],
                    self.thresholds.get(role, len(signers)),
                    terminating=True,
                    paths=delegated_paths(role),
                )
                for role, signers in holders.items()
            },
        )
        for role, signers in holders.items():
            for signer in signers:
                targets.add_key(signer.public_key, role)
        set_issued(targets, self.clock())
        self.image.put_offline("targets", self.signed(targets, self.targets_keys))

    def put_role(self, role: str, targets: dict[str, TargetFile]) -> None:
        """New metadata of a delegated role; shown with the next ``image.publish``."""
        signed = Targets(version=self._next(role), expires=self.clock() + timedelta(days=90))
        signed.targets = targets
        set_issued(signed, self.clock())
        keys = self.roster_keys if role == "interlock" else self.product_keys[role]
        self.image.put_offline(role, self.signed(signed, keys))

    def put_target(self, prefix: str, info: TargetFile, data: bytes) -> None:
        folder, _, name = info.path.rpartition("/")
        name = f"{info.hashes['sha256']}.{name}"
        key = "/".join(filter(None, (prefix, "targets", folder, name)))
        self.store.put_new(key, data)

    # The roster

    def put_roster(self, *, grant_days: float = 90, **changes: Any) -> Roster:
        """A new roster; ``changes`` replace fields of it. Shown with ``image.publish``."""
        rules = CohortRules(
            pattern="*",
            start={"approver": 2},
            advance={"approver": 1},
            resume={"approver": 1},
            stop=(),
            assign={"approver": 1},
        )
        roles = {OPERATOR: "operator", **dict.fromkeys(APPROVERS, "approver"), MONITOR: "monitor"}
        roster = Roster(
            fleet=FLEET,
            seq=self._next("roster"),
            issued=self.clock(),
            rules=(rules,),
            persons=tuple(
                Person(
                    name=name,
                    keys=(PublicKey.of(self.people[name].public_key),),
                    grants=(
                        Grant(
                            role=role,
                            cohorts=("*",),
                            expires=self.clock() + timedelta(days=grant_days),
                        ),
                    ),
                )
                for name, role in roles.items()
            ),
            min_order_seq={},
        )
        roster = msgspec.structs.replace(roster, **changes)
        data = encode(roster)
        info = TargetFile.from_data(ROSTER_PATH, data, ["sha256"])
        self.put_target("image", info, data)
        self.put_role("interlock", {ROSTER_PATH: info})
        return roster

    # Releases

    def release(
        self, version: str, data: bytes, *, delta_from: bytes | None = None, **facts: Any
    ) -> Release:
        """Publish an image, and a delta from what a slot holds.

        ``facts`` replace those of its ``custom``.
        """
        counter = len(self.releases) + 1
        sha256 = sha256_hex(data)
        fields: dict[str, Any] = {
            "product": PRODUCT,
            "version": version,
            "hardware_ids": (HARDWARE,),
            "release_counter": counter,
            "raises_floor_to": 0,
            "min_counter_installed": 0,
            "update_class": UpdateClass(type="feature", urgency="routine"),
            "markets": (MARKET,),
            "support_end": "2040-01-01",
            "udi_di": None,
            "slots": (Slot(name="rootfs", length=len(data), sha256=sha256),),
            "references": (),
        }
        path = f"{PRODUCT}/{version}/image.bin"
        if delta_from is not None:
            fields["references"] = (self._delta(f"{path}.from-old.delta", delta_from, data),)
        image = Image(**fields | facts)
        info = TargetFile.from_data(path, data, ["sha256"])
        info.unrecognized_fields["custom"] = msgspec.to_builtins(image)
        release = Release(path, data, info, image)
        self.releases.append(release)
        self.put_target("image", info, data)
        self.put_product()
        return release

    def put_product(self) -> None:
        """Publish the product's metadata: every release and permit."""
        releases = {one.path: one.info for one in self.releases if one not in self.withdrawn}
        self.put_role(PRODUCT, releases | self.permits | self.deltas)
        self.image.publish()

    def _delta(self, path: str, old: bytes, new: bytes) -> Reference:
        data, facts = delta_of(old, new)
        facts = msgspec.structs.replace(facts, version=path.split("/")[1])
        info = TargetFile.from_data(path, data, ["sha256"])
        info.unrecognized_fields["custom"] = msgspec.to_builtins(facts)
        self.deltas[path] = info
        self.put_target("image", info, data)
        return Reference(kind="delta", path=path, sha256=info.hashes["sha256"])

    def withdraw(self, release: Release) -> None:
        """Take a release back; shown to every cohort."""
        self.withdrawn.append(release)
        self.put_product()
        for cohort in self.cohorts:
            self.bundle(cohort)

    def permit(self, rollout: Rollout, from_: Release, to: Release, **changes: Any) -> str:
        """Publish a permit for ``GW-000001``; ``changes`` replace its fields. Returns its digest.

        Shown to every cohort.
        """
        return self.permit_each(rollout, from_, to, [changes])[0]

    def permit_each(
        self, rollout: Rollout, from_: Release, to: Release, each: Iterable[dict[str, Any]]
    ) -> list[str]:
        """As ``permit``, of several at once."""
        digests = []
        for changes in each:
            fields: dict[str, Any] = {
                "fleet": FLEET,
                "product": PRODUCT,
                "from_sha256": from_.target.sha256,
                "to_sha256": to.target.sha256,
                "devices": ("GW-000001",),
                "cohorts": (),
                "order": rollout.order.id,
                "expires": self.clock() + timedelta(days=30),
            }
            permit = Permit(**fields | changes)
            data = encode(permit)
            path = f"{PRODUCT}/permits/{len(self.permits):04}.json"
            info = TargetFile.from_data(path, data, ["sha256"])
            info.unrecognized_fields["custom"] = msgspec.to_builtins(facts_of(permit))
            self.permits[path] = info
            self.put_target("image", info, data)
            digests.append(sha256_hex(data))
        self.put_product()
        for cohort in self.cohorts:
            self.bundle(cohort)
        return digests

    # Statements

    def said(self, author: str) -> dict[str, Any]:
        """What every statement carries."""
        return {"fleet": FLEET, "author": author, "at": self.clock(), "reason": "test"}

    def by(self, author: str, said: Said) -> Envelope:
        return sign(said, self.people[author])

    def order(self, *releases: Release, author: str = OPERATOR, **changes: Any) -> Rollout:
        """An order for all of ``WARDS`` and ``CANARY`` in one stage, signed by its author only."""
        self._order_seq += 1
        fields: dict[str, Any] = {
            "product": PRODUCT,
            "seq": self._order_seq,
            "kind": "update",
            "targets": tuple(release.target for release in releases),
            "stages": (
                Stage(cohorts=(CANARY, WARDS), basis_points=10_000, soak_seconds=0, gate="manual"),
            ),
            "abort": (),
            "not_before": self.clock(),
            "expires": self.clock() + timedelta(days=60),
            "window": None,
            "spread_seconds": 0,
            "deadline_seconds": 3600,
        }
        envelope = self.by(author, Order(**self.said(author) | fields | changes))
        return Rollout(open_as(envelope, Order), releases)

    def authorise(self, rollout: Rollout, what: Literal["order", "go"], id_: str, *by: str) -> None:
        """Let ``by`` (every approver, unless named) approve an order or a go."""
        for author in by or APPROVERS:
            word = Authorisation(
                **self.said(author),
                authorises=what,
                id=id_,
                role="approver",
                meaning="approved",
            )
            rollout.authorisations.append(self.by(author, word))

    def open_stage(self, rollout: Rollout, stage: int = 0, *, days: int = 7) -> Opened[Go]:
        """Open a stage, authorised by every approver."""
        go = Go(
            **self.said(OPERATOR),
            order=rollout.order.id,
            stage=stage,
            act="open",
            renews=None,
            clears=(),
            opened_at=self.clock(),
            valid_until=self.clock() + timedelta(days=days),
            seq=1,
        )
        envelope = self.by(OPERATOR, go)
        rollout.chain.append(envelope)
        opened = open_as(envelope, Go)
        self.authorise(rollout, "go", opened.id)
        return opened

    def stop(self, rollout: Rollout, author: str = OPERATOR) -> Opened[Stop]:
        """Stop an order; shown with the next ``show``."""
        envelope = self.by(
            author,
            Stop(**self.said(author), order=rollout.order.id, cohort=None, site=None),
        )
        rollout.stops.append(envelope)
        return open_as(envelope, Stop)

    def assign(
        self, enrolment: str, *by: str, author: str = OPERATOR, **fields: Any
    ) -> Opened[Assignment]:
        """Assign a device from ``WARDS`` to ``CANARY``; shown with the next ``show``.

        ``by`` are those who approve it: one approver, unless named.
        """
        made: dict[str, Any] = {
            "enrolment": enrolment,
            "device": "GW-000001",
            "from_cohort": WARDS,
            "to_cohort": CANARY,
            "seq": 1,
            "expires": self.clock() + timedelta(days=30),
        }
        envelope = self.by(author, Assignment(**self.said(author) | made | fields))
        opened = open_as(envelope, Assignment)
        self.assignments.append(envelope)
        for person in by or APPROVERS[:1]:
            word = Authorisation(
                **self.said(person),
                authorises="assignment",
                id=opened.id,
                role="approver",
                meaning="approved",
            )
            self.words.append(self.by(person, word))
        return opened

    def roll_out(self, *releases: Release, **changes: Any) -> Rollout:
        """An order that is authorised, opened and shown to every cohort."""
        rollout = self.order(*releases, **changes)
        self.authorise(rollout, "order", rollout.order.id)
        self.open_stage(rollout)
        for cohort in self.cohorts:
            self.show(cohort, rollout)
        self.rollouts.append(rollout)
        return rollout

    # Online

    @property
    def image(self) -> OnlineRepository:
        signers: dict[str, list[Signer]] = {
            "snapshot": [*self.image_online],
            "timestamp": [*self.image_online],
        }
        return OnlineRepository(self.store, "image", signers, self.clock)

    def director(self, cohort: str) -> OnlineRepository:
        signers: dict[str, list[Signer]] = {
            "targets": [*self.director_targets],
            "snapshot": [*self.director_online],
            "timestamp": [*self.director_online],
        }
        return OnlineRepository(
            self.store, f"director/{cohort}", signers, self.clock, cohort=cohort
        )

    def show(self, cohort: str, rollout: Rollout | None = None, /, **changes: Any) -> None:
        """Publish a cohort's directive and its poll bundle; ``changes`` replace its fields."""
        products = {PRODUCT: rollout.entry()} if rollout else {}
        if self.assignments:
            entry = products.get(PRODUCT) or ProductDirective(
                order=None, authorisations=(), chain=(), stops=(), assignments=()
            )
            products[PRODUCT] = msgspec.structs.replace(
                entry,
                assignments=tuple(self.assignments),
                authorisations=(*entry.authorisations, *self.words),
            )
        directive = Directive(fleet=FLEET, cohort=cohort, products=products)
        data = encode(msgspec.structs.replace(directive, **changes))
        info = TargetFile.from_data(DIRECTIVE_PATH, data, ["sha256"])
        self.put_target(f"director/{cohort}", info, data)
        images = rollout.releases if rollout else ()
        self.director(cohort).publish_targets(
            {
                DIRECTIVE_PATH: info,
                **{
                    one.path: TargetFile(len(one.data), dict(one.info.hashes), one.path)
                    for one in images
                },
            }
        )
        self.bundle(cohort)

    def refresh(self) -> None:
        """What the server does every day: new heads where the old ones run out."""
        self.image.refresh()
        for cohort in self.cohorts:
            self.director(cohort).refresh()
            self.bundle(cohort)

    def bundle(self, cohort: str) -> None:
        """Write ``poll/<cohort>`` as the server does."""
        image, director = self.image, self.director(cohort)
        keys = []
        for repository in (image, director):
            prefix = repository.prefix
            snapshot = repository.stored.timestamp()
            assert snapshot is not None
            keys.append(f"{prefix}/metadata/timestamp.json")
            keys.append(f"{prefix}/metadata/{snapshot.signed.snapshot_meta.version}.snapshot.json")
        targets = director.stored.published_targets()
        assert targets is not None
        keys.append(f"{director.prefix}/metadata/{targets.signed.version}.targets.json")
        sha256 = targets.signed.targets[DIRECTIVE_PATH].hashes["sha256"]
        keys.append(f"{director.prefix}/targets/{sha256}.{DIRECTIVE_PATH}")
        bundle = Bundle(
            cohort=cohort,
            roots=BundleRoots(
                image=image.stored.root().signed.version,
                director=director.stored.root().signed.version,
            ),
            files={f"/{key}": self.store.get(key).decode() for key in keys},
        )
        self.store.replace(f"poll/{cohort}", encode(bundle))

    def sleep(self, *, image: int, director: int) -> None:
        """So many ceremonies are held, each with other holders of the roots."""
        for version in range(2, image + 2):
            old, self.root_keys = self.root_keys, new_keys(2)
            signers = [*old, *self.root_keys]
            self.image.put_root(self.signed(self.image_root_role(version), signers))
        for version in range(2, director + 2):
            old, self.director_root_keys = self.director_root_keys, new_keys(2)
            text = self.signed(self.director_root_role(version), [*old, *self.director_root_keys])
            for cohort in self.cohorts:
                self.director(cohort).put_root(text)
        self._versions |= {"root of image": image + 1, "root of director": director + 1}
        for cohort in self.cohorts:
            self.bundle(cohort)

    def rotate_root(self, repository: str, **keys: list[CryptoSigner]) -> None:
        """Publish the next root of ``image`` or ``director``, with ``keys`` changed before."""
        for name, new in keys.items():
            setattr(self, name, new)
        version = self._versions.get(f"root of {repository}", 1) + 1
        self._versions[f"root of {repository}"] = version
        if repository == "image":
            self.image.put_root(self.signed(self.image_root_role(version), self.root_keys))
        else:
            data = self.signed(self.director_root_role(version), self.director_root_keys)
            for cohort in self.cohorts:
                self.director(cohort).put_root(data)
        for cohort in self.cohorts:
            self.bundle(cohort)
