"""The attacker: owns the server, with every online key and its passphrase.

Whoever holds these keys can sign any snapshot, timestamp and director. The attack here: open the
next stage of a rollout that people authorised but did not advance. The forged ``go`` names an
operator as its author and is signed with what the attacker has; director, snapshot and timestamp
around it are genuine in every way that TUF can check.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec
from securesystemslib.signer import Signer
from tuf.api.metadata import TargetFile

from interlock_core import wire
from interlock_core.clock import system_clock
from interlock_core.directive import read_directive
from interlock_core.genesis import DIRECTOR_ONLINE, DIRECTOR_TARGETS
from interlock_core.keys import load_signer
from interlock_core.names import DIRECTIVE_PATH
from interlock_core.order import DEFAULT_GO, Go, Order
from interlock_core.statement import open_as, sign
from interlock_core.store import FileStore
from interlock_core.tuf_repository import OnlineRepository

OPENING_AGE: Final = timedelta(seconds=1)


class Attacker:
    """Everything that a compromised server holds.

    Args:
        store: the server's Store.
        keys: the directory of the online private keys.
        passphrase: their passphrase.
    """

    def __init__(self, store: Path, keys: Path, passphrase: str) -> None:
        self._store = FileStore(store)
        self._keys = {
            name: load_signer(str(keys / f"{name}.key.json"), lambda _: passphrase)
            for name in (DIRECTOR_TARGETS, DIRECTOR_ONLINE)
        }

    def opens_stage(self, stage: int, *, product: str, seen_by: str, victim: str) -> None:
        """Show ``victim``'s cohort a forged opening of ``stage`` of the order in force.

        Args:
            stage: the stage that people did not open.
            product: whose order.
            seen_by: a cohort whose director holds the order.
            victim: the cohort that is lied to.
        """
        source = self._director(seen_by)
        info = source.targets().targets[DIRECTIVE_PATH]
        directive = read_directive(self._store.get(_directive_key(seen_by, info)))
        entry = directive.products[product]
        assert entry.order is not None
        order = open_as(entry.order, Order)
        # A second ago, so that not even the clock can object.
        now = system_clock() - OPENING_AGE
        forged = Go(
            fleet=order.said.fleet,
            author=order.said.author,
            at=now,
            reason="routine",
            order=order.id,
            stage=stage,
            act="open",
            renews=None,
            clears=(),
            opened_at=now,
            valid_until=now + DEFAULT_GO,
            seq=1,
        )
        lie = msgspec.structs.replace(
            directive,
            cohort=victim,
            products={
                product: msgspec.structs.replace(
                    entry, chain=(*entry.chain, sign(forged, self._keys[DIRECTOR_TARGETS]))
                )
            },
        )
        text = wire.encode(lie)
        info = TargetFile.from_data(DIRECTIVE_PATH, text, ["sha256"])
        self._store.put_new(_directive_key(victim, info), text)
        images = {
            path: target
            for path, target in source.targets().targets.items()
            if path != DIRECTIVE_PATH
        }
        self._director(victim).publish_targets({DIRECTIVE_PATH: info, **images})
        # The bundle would only save the gateway requests: without it, it asks for each file.
        self._store.path(f"poll/{victim}").unlink()

    def _director(self, cohort: str) -> OnlineRepository:
        heads: list[Signer] = [self._keys[DIRECTOR_ONLINE]]
        signers = {
            "targets": [self._keys[DIRECTOR_TARGETS]],
            "snapshot": heads,
            "timestamp": heads,
        }
        return OnlineRepository(
            self._store, f"director/{cohort}", signers, system_clock, cohort=cohort
        )


def _directive_key(cohort: str, info: TargetFile) -> str:
    return f"director/{cohort}/targets/{info.hashes['sha256']}.{DIRECTIVE_PATH}"
