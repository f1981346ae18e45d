"""Who this gateway is in its fleet: the device key, and the enrolment that names it (I/O).

Rules:

1. What belongs to one enrolment lies together in ``identity-<n>/``: ``device.key.pem``,
   ``identity.json``, ``sent.json`` and ``outbox/``. The link ``identity`` names the one in force,
   and only ``take_over`` switches it, atomically. So numbering starts again with the key that
   signs it, and what an older enrolment left stays where it was, as evidence.
2. The key is made create-only before anything names it. A directory beyond the one in force is an
   enrolment that no server took yet: the next attempt goes on with it, whatever cut the last off.
3. The signed envelope is durable before it is sent, so that every attempt sends the same bytes.
4. The key is PKCS#8 PEM, mode 0600, and not encrypted: the gateway reports unattended, and a
   passphrase would lie beside it. Whoever is root on the gateway can sign its reports, and more
   besides; that is out of scope without verified boot. The key authorises nothing. It is read when
   something is signed, and appears in no message.
5. Reading who the gateway is needs no cryptography: an update check asks for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from interlock_client.outbox import Sent
from interlock_client.sealed import MAX_RECORD, Kept, seal, unseal
from interlock_client.state import StateDir
from interlock_core import durable
from interlock_core.errors import NotFoundError, RefusedError, WireError

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

MAX_KEY: Final = 16 * 1024
ASKED: Final = "asked"
"""The state of an enrolment that no server is known to have taken."""

_DIRECTORY: Final = re.compile(r"identity-([0-9]{10})\Z")


class Identity(Kept, frozen=True, kw_only=True):
    """An enrolment, as it was signed and as it was last known to stand.

    Attributes:
        enrolment: its id.
        envelope: exactly what is sent.
        at: when it was signed.
        state: ``asked``, or the server's last word (``api.EnrolmentState``).
        replaces: of a rotation, the enrolment whose key gives way.
    """

    enrolment: str
    envelope: str
    fleet: str
    device: str
    product: str
    hardware: str
    site: str
    cohort: str
    at: datetime
    state: str = ASKED
    replaces: str | None = None


@dataclass(frozen=True)
class Home:
    """The directory of one enrolment (rule 1)."""

    directory: Path

    @property
    def key(self) -> Path:
        """The private key."""
        return self.directory / "device.key.pem"

    @property
    def record(self) -> Path:
        """The enrolment."""
        return self.directory / "identity.json"

    @property
    def sent(self) -> Path:
        """The last report that a server acknowledged."""
        return self.directory / "sent.json"

    @property
    def outbox(self) -> Path:
        """Reports that wait."""
        return self.directory / "outbox"


def in_force(state: StateDir) -> Home | None:
    """The enrolment in force, or None before there is one."""
    return Home(state.identity) if state.identity.is_symlink() else None


def unfinished(state: StateDir) -> Home | None:
    """An enrolment that was begun and is not in force (rule 2).

    Raises:
        TransientError: the disk cannot be read.
    """
    newest, present = _numbers(state)
    return _home(state, newest) if newest > present else None


def begin(state: StateDir, *, afresh: bool = False) -> Home:
    """A directory for a new enrolment, with a key and an empty outbox (rule 2).

    Goes on with one that was begun and not finished, unless ``afresh`` says that it is damaged.

    Raises:
        TransientError: the disk did not do it.
    """
    home = None if afresh else unfinished(state)
    home = home or _home(state, _numbers(state)[0] + 1)
    durable.mkdir(home.directory, mode=0o700)
    if not home.key.exists():
        from securesystemslib.signer import CryptoSigner  # noqa: PLC0415  # rule 5

        durable.create(home.key, CryptoSigner.generate_ed25519().private_bytes, mode=0o600)
    if not home.sent.exists():
        # Before there is an enrolment: wherever one stands without it, it was lost (outbox).
        durable.create(home.sent, seal(Sent()), mode=0o600)
    return home


def take_over(state: StateDir, home: Home) -> None:
    """Put an enrolment in force (rule 1).

    Raises:
        TransientError: the disk did not do it; the one before is in force.
    """
    durable.switch_link(state.identity, home.directory.name)


def load(home: Home) -> Identity:
    """Read an enrolment.

    Raises:
        NotFoundError: nothing was signed yet.
        RefusedError: ``damaged_state``.
        TransientError: it cannot be read.
    """
    try:
        return unseal(durable.read(home.record, limit=MAX_RECORD, what="enrolment"), Identity)
    except WireError as e:
        raise damaged(f"The enrolment {home.record} is damaged ({e})") from e


def load_in_force(state: StateDir) -> Identity | None:
    """The enrolment in force, or None before there is one.

    Raises:
        RefusedError: ``damaged_state``: the link leads nowhere, or to something damaged.
        TransientError: it cannot be read.
    """
    home = in_force(state)
    if home is None:
        return None
    try:
        return load(home)
    except NotFoundError as e:
        raise damaged(f"The enrolment {home.record} is missing") from e


def save(home: Home, identity: Identity) -> None:
    """Make an enrolment durable.

    Raises:
        TransientError: the disk did not do it.
    """
    durable.replace(home.record, seal(identity), mode=0o600)


def signer(home: Home) -> CryptoSigner:
    """The device key, ready to sign with.

    Raises:
        RefusedError: ``damaged_state``: it is missing, or no Ed25519 key.
        TransientError: it cannot be read.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # rule 5
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415  # rule 5
        Ed25519PrivateKey,
    )
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415  # rule 5
        load_pem_private_key,
    )
    from securesystemslib.signer import CryptoSigner  # noqa: PLC0415  # rule 5

    try:
        data = durable.read(home.key, limit=MAX_KEY, what="device key")
        key = load_pem_private_key(data, password=None)
    except (NotFoundError, WireError) as e:
        raise damaged(f"The device key {home.key} is missing or no key") from e
    except (TypeError, ValueError, UnsupportedAlgorithm) as e:
        raise damaged(f"The device key {home.key} cannot be read") from e
    if not isinstance(key, Ed25519PrivateKey):
        raise damaged(f"The device key {home.key} is no Ed25519 key")
    return CryptoSigner(key)


def damaged(what: str) -> RefusedError:
    """Of an identity that cannot be used."""
    return RefusedError(
        f"{what}. Restore it from a backup, or enrol anew with 'interlock-client enrol --renew' "
        "and a new claim. The gateway updates all the same.",
        reason="damaged_state",
    )


def _numbers(state: StateDir) -> tuple[int, int]:
    """Of the newest enrolment that was begun, and of the one in force; 0 if there is none."""
    with durable.translated("list", state.root):
        names = [entry.name for entry in state.root.iterdir() if entry.is_dir()]
        present = state.identity.readlink().name if state.identity.is_symlink() else ""
    numbers = [int(match[1]) for name in names if (match := _DIRECTORY.match(name))]
    mine = _DIRECTORY.match(present)
    # A link that leads nowhere: what it named is gone, and its number is not used again.
    number = int(mine[1]) if mine else 0
    return max([*numbers, number]), number


def _home(state: StateDir, number: int) -> Home:
    return Home(state.root / f"identity-{number:010}")
