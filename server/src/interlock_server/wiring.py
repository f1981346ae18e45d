"""The composition root: the one place where the server is put together.

Rules:

1. Nothing connects, opens or decrypts but here and when it is asked to; no module holds state of
   its own, so a process may fork after the keys are open and before ``services`` is called.
2. The online keys are opened once, by whoever starts the process. Nobody is asked at a terminal:
   passphrase and PIN come from files that the settings name or from systemd credentials. A key in
   a KMS is not asked for anything before it signs (``kms``).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from securesystemslib.signer import Signer

from interlock_core.checkpoint import LOG_KEY, check_log_key
from interlock_core.clock import Clock, system_clock
from interlock_core.credentials import Source, service_handler
from interlock_core.errors import ConfigurationError
from interlock_core.keys import load_signer
from interlock_core.store import FileStore, Store
from interlock_server import logbook
from interlock_server.ceremonies import Ceremonies
from interlock_server.checkpoints import Checkpoints
from interlock_server.config import CREDENTIAL, PIN_CREDENTIAL, Settings
from interlock_server.db import schema
from interlock_server.db.session import Database
from interlock_server.engine import Engine
from interlock_server.enrolments import Enrolments
from interlock_server.fleet import Fleet
from interlock_server.heads import Publisher, fleet_of
from interlock_server.kms import Kms, is_handle
from interlock_server.monitors import Monitors
from interlock_server.online_keys import Signers
from interlock_server.pending import Pending
from interlock_server.progress import Progress
from interlock_server.publications import Publications
from interlock_server.refusals import Refusals
from interlock_server.reports import Reports
from interlock_server.sessions import Sessions
from interlock_server.statements import Statements
from interlock_server.webhooks import Webhooks


@dataclass(frozen=True)
class Backstage:
    """What the commands work with.

    Attributes:
        store: where gateways read.
        writes: the same, for those who write; a test may put something between.
        refusals: counts what is refused.
        engine: runs the rollouts.
    """

    clock: Clock
    database: Database
    store: FileStore
    writes: Store
    publisher: Publisher
    publications: Publications
    ceremonies: Ceremonies
    refusals: Refusals
    engine: Engine
    checkpoints: Checkpoints
    webhooks: Webhooks


@dataclass(frozen=True)
class Services:
    """What the web application is made of."""

    backstage: Backstage
    fleet: str
    statements: Statements
    sessions: Sessions
    enrolments: Enrolments
    reports: Reports
    fleet_views: Fleet
    progress: Progress
    monitors: Monitors


def open_signers(settings: Settings) -> dict[str, tuple[Signer, ...]]:
    """Open the online keys (rule 2), by name.

    Raises:
        SecretError: there is no passphrase or PIN, or it is wrong.
        InterlockError: as ``keys.load_signer`` and ``kms.Kms.open`` raise them.
    """
    handler = service_handler(
        Source(settings.passphrase_file, "keys.passphrase_file", CREDENTIAL),
        Source(settings.pin_file, "keys.pin_file", PIN_CREDENTIAL),
    )
    kms = Kms()

    def opened(key: str) -> Signer:
        return kms.open(Path(key)) if is_handle(Path(key)) else load_signer(key, handler)

    # Each takes a while by design (scrypt), and none waits for another.
    with ThreadPoolExecutor() as pool:
        opening = {
            name: [pool.submit(opened, uri) for uri in uris]
            for name, uris in settings.key_uris.items()
        }
        return {name: tuple(one.result() for one in those) for name, those in opening.items()}


def open_database(settings: Settings) -> Database:
    """The database of the settings; nothing connects yet.

    Raises:
        ConfigurationError: the settings name no usable database.
    """
    return Database(settings.database_url, settings.database_file)


def backstage(
    settings: Settings,
    signers: Signers,
    *,
    clock: Clock = system_clock,
    writes: Store | None = None,
) -> Backstage:
    """Put the acting parts together.

    Args:
        settings: checked.
        signers: the online keys, by name.
        clock: now.
        writes: instead of the Store itself, for those who write.

    Raises:
        ConfigurationError: the settings name no usable database.
    """
    store = FileStore(settings.store_directory, clock)
    writes = writes or store
    database = open_database(settings)
    publisher = Publisher(
        database, writes, signers, clock, oldest_root=settings.oldest_supported_root
    )
    refusals = Refusals(database, clock)
    publications = Publications(
        database,
        writes,
        publisher,
        refusals,
        clock,
        pending=Pending(settings.pending_directory),
        largest_target_bytes=settings.largest_target_bytes,
    )
    ceremonies = Ceremonies(database, writes, publisher, refusals, clock)
    engine = Engine(database, writes, publisher, clock)
    for signer in signers[LOG_KEY]:
        check_log_key(signer.public_key)
    checkpoints = Checkpoints(database, writes, signers[LOG_KEY], clock)
    return Backstage(
        clock,
        database,
        store,
        writes,
        publisher,
        publications,
        ceremonies,
        refusals,
        engine,
        checkpoints,
        Webhooks(database, settings.webhooks, clock),
    )


def services(backstage: Backstage) -> Services:
    """Put the web application's parts together.

    Raises:
        ConfigurationError: the server was not initialised.
        TransientError: the database failed.
    """
    database, clock, refusals = backstage.database, backstage.clock, backstage.refusals
    store, writes = backstage.store, backstage.writes
    with database.reading() as session:
        fleet = fleet_of(session)
    return Services(
        backstage,
        fleet.name,
        Statements(database, writes, backstage.publisher, backstage.engine, refusals, clock),
        Sessions(database, store, refusals, fleet.token_secret, fleet.name, clock),
        Enrolments(database, store, refusals, fleet.name, clock),
        Reports(database, refusals, fleet.name, clock),
        Fleet(database, clock),
        Progress(database),
        Monitors(database, store, clock),
    )


def check_ready(backstage: Backstage) -> list[str]:
    """See that the server can do its work, before anything is promised.

    Returns:
        What keeps it from signing, in words, one for each online key that the roots name and that
        is not held here. It can be read all the same, and nothing is lost (``online_keys``).

    Raises:
        ConfigurationError: another schema, not initialised, or no log begun.
        TransientError: the store or the database failed.
    """
    schema.check(backstage.database)
    with backstage.database.reading() as session:
        fleet_of(session)
        if not logbook.size(session):
            raise ConfigurationError(
                "The log of this server was not begun: run 'interlock-server migrate'.",
                reason="no_log",
            )
        cohorts = backstage.publisher.cohorts(session)
    return backstage.publisher.missing_keys(cohorts)


def check_signing(backstage: Backstage) -> None:
    """See that the server can publish, before anything is begun: ``check_ready``, and the keys.

    Raises:
        ConfigurationError: as ``check_ready``; ``wrong_online_key``.
        TransientError: the store or the database failed.
    """
    for text in check_ready(backstage):
        raise ConfigurationError(f"{text}.", reason="wrong_online_key")
