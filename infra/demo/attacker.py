"""The attacker: owns the server, with every online key and its passphrase.

Whoever holds these keys can sign any snapshot, timestamp and director, and nothing else: what
people sign, he can only show, hide or imitate. Each method here is one attempt. The metadata around
it is genuine in every way that TUF can check, and the times are such that not even a clock can
object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Snapshot, TargetFile, Timestamp

from interlock_core import wire
from interlock_core.clock import system_clock
from interlock_core.directive import Directive, ProductDirective, read_directive
from interlock_core.genesis import DIRECTOR, DIRECTOR_ONLINE, DIRECTOR_TARGETS, IMAGE, IMAGE_ONLINE
from interlock_core.keys import load_signer
from interlock_core.names import DIRECTIVE_PATH
from interlock_core.order import DEFAULT_GO, Authorisation, Go, Order, Target
from interlock_core.statement import Envelope, Opened, Said, open_as, sign
from interlock_core.store import FileStore
from interlock_core.tuf_metadata import serialise
from interlock_core.tuf_repository import (
    OnlineRepository,
    StoredRepository,
    metadata_key,
    timestamp_key,
)

AGE: Final = timedelta(seconds=1)


class Attacker:
    """Everything that a compromised server holds.

    Args:
        store: the server's Store.
        keys: the directory of the online private keys.
        passphrase: their passphrase.
        product: whose rollouts he is after.
    """

    def __init__(self, store: Path, keys: Path, passphrase: str, product: str) -> None:
        self._store = FileStore(store)
        self._keys = {
            name: load_signer(str(keys / f"{name}.key.json"), lambda _: passphrase)
            for name in (DIRECTOR_TARGETS, DIRECTOR_ONLINE, IMAGE_ONLINE)
        }
        self._product = product

    # What he tries

    def opens_stage(self, stage: int, *, seen_by: str, victim: str) -> None:
        """Shows a forged opening of a stage that people did not open."""
        entry, order = self._in_force(seen_by)
        go = self._opening(order, stage)
        lie = msgspec.structs.replace(entry, chain=(*entry.chain, self._sign(go)))
        self._show(victim, lie, self._images(seen_by))

    def orders(self, target: Target, *, by: str, words: Sequence[str], victim: str) -> None:
        """Shows an order of his own for an older release, with everybody's signatures forged."""
        _, genuine = self._in_force(victim)
        now = system_clock() - AGE
        said = msgspec.structs.replace(
            genuine.said,
            author=by,
            at=now,
            seq=genuine.said.seq + 1,
            kind="recall",
            targets=(target,),
            not_before=now,
        )
        order = open_as(self._sign(said), Order)
        goes = [open_as(self._sign(self._opening(order, stage)), Go) for stage in (0, 1)]
        entry = ProductDirective(
            order=order.envelope,
            authorisations=tuple(
                self._sign(self._word(person, subject))
                for person in words
                for subject in (order, *goes)
            ),
            chain=tuple(go.envelope for go in goes),
            stops=(),
            assignments=(),
        )
        image = self._listed(IMAGE, self._product)[target.path]
        self._show(victim, entry, {target.path: image})

    def swaps_image(self, evil: bytes, *, victim: str) -> None:
        """Lists other bytes under the path that people ordered."""
        entry, order = self._in_force(victim)
        path = order.said.targets[0].path
        self._show(victim, entry, {path: TargetFile.from_data(path, evil, ["sha256"])})

    def shows_director_of(self, cohort: str, *, victim: str) -> None:
        """Shows a cohort the director of another one, in which more is open."""
        entry, _ = self._in_force(cohort)
        self._show(victim, entry, self._images(cohort), says=cohort)

    def takes_back_release(self, *, to_version: int) -> None:
        """Signs a snapshot that names an older version of the product's metadata."""
        current = StoredRepository(self._store, IMAGE).snapshot()
        assert current is not None
        expires = system_clock() + timedelta(days=5)
        snapshot = Metadata(Snapshot(current.signed.version + 1, expires=expires))
        snapshot.signed.meta = dict(current.signed.meta)
        role = snapshot.signed.meta[f"{self._product}.json"]
        role.version, role.length, role.hashes = to_version, None, None
        head = self._store.get(timestamp_key(IMAGE))
        timestamp = Metadata(
            Timestamp(Metadata[Timestamp].from_bytes(head).signed.version + 1, expires=expires)
        )
        timestamp.signed.snapshot_meta.version = snapshot.signed.version
        for metadata in (snapshot, timestamp):
            metadata.sign(self._keys[IMAGE_ONLINE])
        key = metadata_key(IMAGE, snapshot.signed.version, Snapshot.type)
        self._store.put_new(key, serialise(snapshot))
        self._store.replace(timestamp_key(IMAGE), serialise(timestamp))
        for bundle in self._store.list("poll/"):
            self._store.path(bundle).unlink()

    # What he has

    def _sign(self, said: Said) -> Envelope:
        return sign(said, self._keys[DIRECTOR_TARGETS])

    def _opening(self, order: Opened[Order], stage: int) -> Go:
        now = system_clock() - AGE
        return Go(
            **self._said(order, order.said.author),
            order=order.id,
            stage=stage,
            act="open",
            renews=None,
            clears=(),
            opened_at=now,
            valid_until=now + DEFAULT_GO,
            seq=1,
        )

    def _word(self, person: str, subject: Opened[Any]) -> Authorisation:
        return Authorisation(
            **self._said(subject, person),
            authorises="order" if isinstance(subject.said, Order) else "go",
            id=subject.id,
            role="approver",
            meaning="approved",
        )

    @staticmethod
    def _said(about: Opened[Any], author: str) -> dict[str, Any]:
        now = system_clock() - AGE
        return {"fleet": about.said.fleet, "author": author, "at": now, "reason": "routine"}

    def _in_force(self, cohort: str) -> tuple[ProductDirective, Opened[Order]]:
        entry = self._directive(cohort).products[self._product]
        assert entry.order is not None
        return entry, open_as(entry.order, Order)

    def _directive(self, cohort: str) -> Directive:
        info = self._listed(f"{DIRECTOR}/{cohort}")[DIRECTIVE_PATH]
        return read_directive(self._store.get(_directive_key(cohort, info)))

    def _images(self, cohort: str) -> dict[str, TargetFile]:
        listed = self._listed(f"{DIRECTOR}/{cohort}")
        return {path: info for path, info in listed.items() if path != DIRECTIVE_PATH}

    def _listed(self, prefix: str, role: str = "targets") -> dict[str, TargetFile]:
        return dict(StoredRepository(self._store, prefix).newest_targets(role).signed.targets)

    def _show(
        self,
        victim: str,
        entry: ProductDirective,
        images: Mapping[str, TargetFile],
        *,
        says: str | None = None,
    ) -> None:
        genuine = self._directive(victim)
        lie = msgspec.structs.replace(
            genuine, cohort=says or victim, products={self._product: entry}
        )
        text = wire.encode(lie)
        info = TargetFile.from_data(DIRECTIVE_PATH, text, ["sha256"])
        self._store.put_new(_directive_key(victim, info), text)
        director = self._director(victim, says or victim)
        director.publish_targets({DIRECTIVE_PATH: info, **images})
        # The bundle would only save the gateway requests: without it, it asks for each file.
        self._store.path(f"poll/{victim}").unlink(missing_ok=True)

    def _director(self, cohort: str, says: str) -> OnlineRepository:
        heads: list[Signer] = [self._keys[DIRECTOR_ONLINE]]
        signers = {
            "targets": [self._keys[DIRECTOR_TARGETS]],
            "snapshot": heads,
            "timestamp": heads,
        }
        return OnlineRepository(
            self._store, f"{DIRECTOR}/{cohort}", signers, system_clock, cohort=says
        )


def _directive_key(cohort: str, info: TargetFile) -> str:
    return f"{DIRECTOR}/{cohort}/targets/{info.hashes['sha256']}.{DIRECTIVE_PATH}"
