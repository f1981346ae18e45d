"""Takes over what a root ceremony left behind, and makes the first heads (I/O).

Rules:

1. Everything is verified before anything is written: the ceremony (``ceremony_output``), and that
   our online private keys are those that its newest roots name.
2. One server belongs to one fleet for ever: another one is a conflict. What a later ceremony of
   this fleet signed comes by ``/v1/ceremonies``, which leaves gateways no gap.
3. Idempotent: after a failure at any point, and to add a cohort, it is run again.
4. A cohort is added with the roots that the other directors have, the first of which is the one
   that ``init`` recorded, and is published before it is there for anybody.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session
from tuf.api.metadata import Root, Targets

from interlock_core.ceremony_output import Ceremony
from interlock_core.clock import Clock
from interlock_core.errors import ConfigurationError, ConflictError
from interlock_core.genesis import DIRECTOR, IMAGE
from interlock_core.log import Fact, metadata_fact
from interlock_core.names import check_name
from interlock_core.store import Store
from interlock_core.tuf_stored import StoredRepository, metadata_key
from interlock_core.wire import sha256_hex
from interlock_server import log_facts, logbook
from interlock_server.db.session import Database
from interlock_server.db.tables import CohortRow, FleetRow
from interlock_server.heads import Publisher, director_prefix, fleet_of
from interlock_server.online_keys import check_online_keys


@dataclass(frozen=True)
class Founded:
    """What ``found`` did: the cohorts that it added, and whether the fleet was new."""

    fleet: str
    new: bool
    added: tuple[str, ...]
    cohorts: tuple[str, ...]


@dataclass(frozen=True)
class Added:
    """What ``add_cohorts`` did: the cohorts that are new, and all that there are now."""

    fleet: str
    added: tuple[str, ...]
    cohorts: tuple[str, ...]


def found(
    ceremony: Ceremony,
    cohorts: Collection[str],
    *,
    database: Database,
    store: Store,
    publisher: Publisher,
    clock: Clock,
) -> Founded:
    """Take over a ceremony and publish the first heads (rules 2 and 3).

    Args:
        ceremony: verified.
        cohorts: to be added; those that are there stay.

    Raises:
        ConflictError: ``other_ceremony``: this server belongs to another fleet's; ``store_lost``:
            the Store no longer holds what was published; ``later_ceremony``, which comes
            another way (rule 2).
        ConfigurationError: no cohort at all; or ``wrong_online_key``.
        WireError: ``bad_name``: a cohort's name.
        TransientError: the store or the database failed; run it again.
    """
    for cohort in cohorts:
        check_name(cohort, "cohort")
    with database.writing() as session:
        new = _claim(session, ceremony, clock())
        session.flush()
        log_facts.begin(session, fleet_of(session), clock())
        if new:
            for fact in _facts(ceremony):
                logbook.record(session, clock(), fact)
        known = publisher.cohorts(session)
        if new:
            check_online_keys(ceremony.roots, publisher.signers)
        else:
            _check_not_lost(store, known)
            _check_not_ahead(store, ceremony, publisher.director_roots(known))
        added = sorted(set(cohorts) - set(known))
        if not known and not added:
            raise no_cohort()
        session.add_all(CohortRow(name=cohort, added_at=clock()) for cohort in added)
        session.flush()
        if new:
            _put_roots(store, IMAGE, ceremony.image_roots)
            store.put_new(
                metadata_key(IMAGE, ceremony.targets_version, Targets.type), ceremony.targets
            )
        publisher.finish(session)
        publisher.image().publish()
        everybody = publisher.cohorts(session)
        roots = publisher.director_roots(known) or ceremony.director_roots
        for cohort in added:
            _put_roots(store, director_prefix(cohort), roots)
        publisher.direct_cohorts(session, everybody)
    return Founded(ceremony.fleet.fleet, new, tuple(added), tuple(everybody))


def add_cohorts(
    cohorts: Collection[str],
    *,
    database: Database,
    store: Store,
    publisher: Publisher,
    clock: Clock,
) -> Added:
    """Make directors for further cohorts of a fleet that was founded (rules 3 and 4).

    Raises:
        WireError: ``bad_name``: a cohort's name.
        ConfigurationError: ``not_initialised``.
        ConflictError: ``store_lost``: the Store no longer holds what was published.
        TransientError: the store or the database failed; run it again.
    """
    for cohort in cohorts:
        check_name(cohort, "cohort")
    with database.writing() as session:
        fleet = fleet_of(session)
        known = publisher.cohorts(session)
        _check_not_lost(store, known)
        roots = publisher.director_roots(known)
        if not roots or sha256_hex(roots[0]) != fleet.director_root:
            raise ConflictError(
                "The store has lost the first root of the directors: restore it.",
                reason="store_lost",
            )
        added = sorted(set(cohorts) - set(known))
        session.add_all(CohortRow(name=cohort, added_at=clock()) for cohort in added)
        session.flush()
        for cohort in added:
            _put_roots(store, director_prefix(cohort), roots)
        publisher.direct_cohorts(session, sorted(set(cohorts)))
    return Added(fleet.name, tuple(added), tuple(sorted({*known, *added})))


def no_cohort() -> ConfigurationError:
    """What to say to whoever names no cohort where there is none yet."""
    return ConfigurationError("Name at least one cohort: --cohort NAME.")


def _facts(ceremony: Ceremony) -> Iterator[Fact]:
    """What the log records of a ceremony that founds a fleet."""
    for name, texts in ((IMAGE, ceremony.image_roots), (DIRECTOR, ceremony.director_roots)):
        for version, text in enumerate(texts, 1):
            yield metadata_fact(name, Root.type, version, text)
    yield metadata_fact(IMAGE, Targets.type, ceremony.targets_version, ceremony.targets)


def _claim(session: Session, ceremony: Ceremony, now: datetime) -> bool:
    fleet = ceremony.fleet
    row = session.get(FleetRow, 1)
    if row is None:
        session.add(
            FleetRow(
                id=1,
                name=fleet.fleet,
                image_root=fleet.image_root,
                director_root=fleet.director_root,
                token_secret=secrets.token_bytes(32),
                founded_at=now,
            )
        )
        return True
    if (row.name, row.image_root, row.director_root) != (
        fleet.fleet,
        fleet.image_root,
        fleet.director_root,
    ):
        raise ConflictError(
            f"This server belongs to the ceremony of fleet {row.name} (image root "
            f"{row.image_root[:12]}): use other settings for another ceremony.",
            reason="other_ceremony",
        )
    return False


def _check_not_lost(store: Store, cohorts: Collection[str]) -> None:
    """See that the Store holds the heads that the database knows were made.

    They are made in the transaction that notes them, so if they are missing, the Store was lost,
    and beginning again at version 1 would look like an attack to every gateway.
    """
    for prefix in (IMAGE, *map(director_prefix, cohorts)):
        if StoredRepository(store, prefix).timestamp() is None:
            raise ConflictError(
                f"The store has lost the repository {prefix}, which was published from here: "
                "restore it; gateways would refuse one that begins again.",
                reason="store_lost",
            )


def _check_not_ahead(store: Store, ceremony: Ceremony, director: Sequence[bytes]) -> None:
    """See that a ceremony holds no root that is not in force (rule 2)."""
    image = StoredRepository(store, IMAGE).roots()
    for held, brought in ((image, ceremony.image_roots), (director, ceremony.director_roots)):
        if any(one != other for one, other in zip(held, brought, strict=False)):
            raise ConflictError(
                "This ceremony holds another root than the one of its version that is in force "
                "here.",
                reason="other_root",
            )
        if len(brought) > len(held):
            raise ConflictError(
                f"This ceremony holds root {len(brought)}, and root {len(held)} is in force here: "
                "send it with 'interlock-repo publish', which leaves gateways no gap.",
                reason="later_ceremony",
            )


def _put_roots(store: Store, prefix: str, roots: Sequence[bytes]) -> None:
    """Give a repository that nobody reads yet its roots."""
    for version, root in enumerate(roots, 1):
        store.put_new(metadata_key(prefix, version, Root.type), root)
