"""A repository that publishes what ceremonies make, and gateways that follow it."""

from __future__ import annotations

from pathlib import Path

from securesystemslib.signer import Signer

from interlock_core import keys
from interlock_core.clock import fixed_clock
from interlock_core.genesis import ONLINE_ROLES
from interlock_core.store import FileStore
from interlock_core.tuf_repository import OnlineRepository
from interlock_core.tuf_stored import metadata_key
from tests.core.tuf_world import Client
from tests.keys_ceremony.chain import Chain
from tests.keys_ceremony.stage import NOW, ONLINE, passphrase, secret

State = tuple[int, int, int, int]
"""Versions of root, timestamp, snapshot and targets that a client trusts."""

PREFIXES = {"image": "image", "director": "director/canary"}


class Gateways:
    """A store, the online keys, and unmodified ``tuf.ngclient`` gateways."""

    def __init__(self, chain: Chain, home: Path) -> None:
        self.chain = chain
        self.home = home
        self.store = FileStore(home / "store")
        self.signers: dict[str, list[Signer]] = {name: [] for name in ONLINE}
        self.made = 0
        self.roots = dict.fromkeys(PREFIXES, 0)
        for name in ONLINE:
            self.trust(name, chain.stage.home / "online")
        self.publish()
        self.first = {
            repository: (chain.output() / repository / "1.root.json").read_bytes()
            for repository in PREFIXES
        }
        self.old = {repository: self.client(repository, 1) for repository in PREFIXES}

    def trust(self, name: str, directory: Path) -> None:
        """The server gets a further online key; it keeps the old one until the switch is over."""
        private = directory / f"{name}.key.json"
        self.signers[name].append(keys.load_signer(private, secret(passphrase(name))))

    def client(self, repository: str, root: int) -> Client:
        """A gateway whose firmware holds the root of this version."""
        self.made += 1
        data = (self.chain.output() / repository / f"{root}.root.json").read_bytes()
        directory = self.home / "clients" / str(self.made)
        return Client(self.store, PREFIXES[repository], data, directory)

    def publish(self) -> None:
        """What the newest ceremony left, as a server publishes it."""
        output = self.chain.output()
        seamless = self.chain.seamless
        for repository, prefix in PREFIXES.items():
            signers = {
                role: self.signers[name]
                for name, places in ONLINE_ROLES.items()
                for where, role in places
                if where == repository
            }
            cohort = "canary" if repository == "director" else None
            online = OnlineRepository(self.store, prefix, signers, fixed_clock(NOW), cohort=cohort)
            (targets,) = (output / "image").glob("*.targets.json")
            first = online.current("root") is None
            if repository == "image" and not first:
                online.put_offline("targets", targets.read_bytes())
                if seamless:
                    online.publish()
            for version in range(self.roots[repository] + 1, self.chain.newest(repository) + 1):
                self.roots[repository] = version
                data = (output / repository / f"{version}.root.json").read_bytes()
                if seamless:
                    online.put_root(data)
                else:
                    self.store.put_new(metadata_key(prefix, version, "root"), data)
            if repository == "image":
                online.put_offline("targets", targets.read_bytes())
                online.publish()
            else:
                online.publish_targets({})

    def state(self, client: Client) -> State:
        """What a gateway trusts after an update check."""
        updater = client.updater(NOW)
        updater.refresh()
        trusted = updater._trusted_set
        return (
            trusted.root.version,
            trusted.timestamp.version,
            trusted.snapshot.version,
            trusted.targets.version,
        )

    def agree(self) -> None:
        """Every gateway, however long it slept, trusts the same as a new one.

        The chain of ceremonies is proved, too; each of them proved its own output when it was made.
        """
        transcript = self.chain.verify()
        assert transcript.exit_code == 0, transcript.output
        for repository in PREFIXES:
            newest = self.chain.newest(repository)
            fresh = self.state(self.client(repository, newest))
            assert fresh[0] == newest
            assert self.state(self.client(repository, 1)) == fresh
            assert self.state(self.client(repository, (newest + 1) // 2)) == fresh
            assert self.state(self.old[repository]) == fresh
