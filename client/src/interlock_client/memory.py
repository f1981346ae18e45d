"""What a gateway must never forget (I/O).

Rules (``docs/wire-format.md``, "Signed statements"; ``statements.md``, clock and version floors):

1. Floors only rise, but for rule 5: the clock's, those of metadata versions, the roster's, the
   order floor of each (product, cohort), the release floor, the highest counter ever confirmed.
   They are kept apart from TUF's own files, which forget them when online keys change.
2. Only issue times under offline threshold signatures raise the clock's floor (``clock``, rule 3).
3. Counters and the release floor rise when an installation is confirmed, and never before.
4. What rolled back here is not tried again under the same order, unless a person says so here.
5. The version floor of an offline role (and the roster's number, for the role ``interlock``) falls
   when, and only when, its delegator replaced its keys: of all keys under which something was
   accepted here, none is still named. Then no signature of before counts, also not beside that of
   a new key which was stolen, so the floor protects nothing; and it may be one to which stolen
   keys drove it, which would block this gateway for ever (a fast-forward attack, TUF 5.3.11). It
   falls to what is accepted under the new keys, in the same moment. Keys that were seen are
   remembered: if they return, the floor stands. Roots have no delegator, and their floors never
   fall.
6. A memory that is damaged or was lost is not replaced by an empty one: without it, older releases
   could be accepted again. A person decides.
7. It stays bounded, and no floor is lost by that. Of a role for which ``MAX_KEYS`` keys were seen
   no further one is kept, and its floor falls no more. Of permits the newest ``MAX_SPENT`` are
   kept: an older one names an order below the order floor. Every stop is kept once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from interlock_client.contents import Held
from interlock_client.sealed import MAX_RECORD, Checked, Kept, seal, unseal
from interlock_core import durable
from interlock_core.clock import EPOCH, ClockReading, LastDecision, raised_floor
from interlock_core.errors import NotFoundError, RefusedError, WireError

MAX_ROLLED_BACK: Final = 256
MAX_KEYS: Final = 1024
MAX_SPENT: Final = 1024
NOBODY: Final[Mapping[str, Entitled]] = MappingProxyType({})


class RecordedStop(Kept, frozen=True, kw_only=True):
    """A validly signed stop, as it was seen."""

    id: str
    order: str
    cohort: str | None
    site: str | None
    author: str = ""


class OrderFloor(Kept, frozen=True, kw_only=True):
    """What was accepted for one (product, cohort)."""

    seq: int = 0
    id: str | None = None
    stops: tuple[RecordedStop, ...] = ()


class Content(Held, frozen=True, kw_only=True):
    """What a side holds and was confirmed, or came with.

    Attributes:
        path: its target path; None for what came from the factory.
        counter: its release counter; 0 when unknown.
        order: the order under which it was installed.
    """

    path: str | None = None
    version: str | None = None
    counter: int = 0
    order: str | None = None


class RolledBack(Kept, frozen=True, kw_only=True):
    """A digest that did not stay here, and the order that wanted it."""

    order: str
    sha256: str


class Assigned(Kept, frozen=True, kw_only=True):
    """The assignment that was obeyed last.

    Attributes:
        enrolment: under which it was obeyed; it counts under no other.
        cohort: where it moved this gateway to.
        configured: the cohort that the configuration named then; one that names another wins.
        id, by, at, reason: of the statement.
        carried_to: the enrolment of a rotation, under which it counts too: only the key is new.
    """

    enrolment: str
    seq: int
    cohort: str
    configured: str
    id: str
    by: str
    at: datetime
    reason: str
    carried_to: str | None = None


class Answered(Kept, frozen=True, kw_only=True):
    """What the clinical interlock answered last, by named check."""

    at: datetime
    clear: bool
    checks: tuple[Checked, ...] = ()


class Jumped(Kept, frozen=True, kw_only=True):
    """The last jump of the system clock.

    Attributes:
        at: when it was found.
        boot_id: the boot in which it jumped.
        seconds: by how many, less than zero if it went back.
    """

    at: datetime
    boot_id: str
    seconds: int


@dataclass(frozen=True)
class Entitled:
    """Who may sign an offline role now (5).

    Attributes:
        keys: digests of the public keys' bytes.
    """

    keys: frozenset[str]


class Memory(Kept, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        clock_floor: no decision is made at an earlier time.
        last: the last decision.
        reading: what the system clock said then.
        jumped: the last jump of the system clock; it counts within its boot.
        ahead: the newest issue time under offline signatures that was too far ahead to be kept.
        versions: metadata version floors: ``image/root``, ``image/<role>``, ``director/root``.
        keys: by the same names, digests of all public keys that were named for a role when
            something of it was accepted here; none of roots.
        roster_seq: the highest roster accepted.
        orders: by ``<product>/<cohort>``.
        slots: what was confirmed in each slot.
        release_floor: nothing below this counter without a permit.
        highest_confirmed_counter: of all that was ever confirmed here.
        rolled_back: newest last.
        spent_permits: digests of permit targets that were used.
        assigned: the last assignment obeyed, and its number.
        interlock: the clinical interlock's last answer.
        counter: the value of the TPM's counter that this belongs to, if there is one (``counter``).
        owes_count: whether something was changed while the counter could not be reached.
    """

    clock_floor: datetime = EPOCH
    last: LastDecision | None = None
    reading: ClockReading | None = None
    jumped: Jumped | None = None
    ahead: datetime | None = None
    versions: dict[str, int] = msgspec.field(default_factory=dict)
    keys: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    roster_seq: int = 0
    orders: dict[str, OrderFloor] = msgspec.field(default_factory=dict)
    slots: dict[str, Content] = msgspec.field(default_factory=dict)
    release_floor: int = 0
    highest_confirmed_counter: int = 0
    rolled_back: tuple[RolledBack, ...] = ()
    spent_permits: tuple[str, ...] = ()
    assigned: Assigned | None = None
    interlock: Answered | None = None
    counter: int | None = None
    owes_count: bool = False

    def order_floor(self, product: str, cohort: str) -> OrderFloor:
        """The floor of one product and cohort."""
        return self.orders.get(f"{product}/{cohort}", OrderFloor())

    def stops(self, product: str) -> tuple[RecordedStop, ...]:
        """Every stop recorded for a product: a gateway that is moved forgets none."""
        floors = (floor for name, floor in self.orders.items() if _is_of(name, product))
        return tuple({stop.id: stop for floor in floors for stop in floor.stops}.values())

    def protects(self, role: str, entitled: Mapping[str, Entitled]) -> bool:
        """Whether the floor of a role stands under the keys in force (5)."""
        now, known = entitled.get(role), self.keys.get(role)
        # Whose keys are not known, or not all of them, is never taken for replaced.
        if now is None or known is None or len(known) >= MAX_KEYS:
            return True
        return not now.keys.isdisjoint(known)

    def below(
        self, versions: Mapping[str, int], entitled: Mapping[str, Entitled] = NOBODY
    ) -> str | None:
        """The first of these metadata versions that lies below its floor, described.

        Args:
            versions: of roots and offline roles.
            entitled: who may sign the offline roles now.
        """
        for role, version in versions.items():
            if version < self.versions.get(role, 0) and self.protects(role, entitled):
                return f"{role} {version} is older than {self.versions[role]}, accepted here"
        return None

    def accepting(
        self,
        versions: Mapping[str, int],
        issued: Iterable[datetime | None],
        entitled: Mapping[str, Entitled] = NOBODY,
    ) -> Memory:
        """With metadata accepted: its versions, and its issue times signed offline (1, 2, 5)."""
        floors = {
            role: max(version, self.versions.get(role, 0) if self.protects(role, entitled) else 0)
            for role, version in versions.items()
        }
        keys = {
            role: _bounded(self.keys.get(role, ()), now.keys)
            for role, now in entitled.items()
            if role in versions
        }
        return msgspec.structs.replace(
            self,
            versions=self.versions | floors,
            keys=self.keys | keys,
            clock_floor=raised_floor(self.clock_floor, issued),
        )

    def having_rolled_back(self, order: str, sha256: str) -> Memory:
        """With one more pair that is not tried again (4)."""
        pair = RolledBack(order=order, sha256=sha256)
        others = tuple(known for known in self.rolled_back if known != pair)
        return msgspec.structs.replace(self, rolled_back=(*others, pair)[-MAX_ROLLED_BACK:])

    def forgiving(self, pairs: Iterable[RolledBack]) -> Memory:
        """Without these pairs: a person wants them tried again (4)."""
        given = frozenset((pair.order, pair.sha256) for pair in pairs)
        kept = tuple(p for p in self.rolled_back if (p.order, p.sha256) not in given)
        return msgspec.structs.replace(self, rolled_back=kept)

    def holding(self, slot: str, content: Content | None) -> Memory:
        """With what a slot now holds; None once it is being overwritten."""
        others = {name: known for name, known in self.slots.items() if name != slot}
        return msgspec.structs.replace(
            self, slots=others | ({slot: content} if content is not None else {})
        )

    def confirming(
        self, slot: str, content: Content, *, raises_floor_to: int, permit: str | None
    ) -> Memory:
        """With an installation confirmed (3)."""
        spent = () if permit is None or permit in self.spent_permits else (permit,)
        return msgspec.structs.replace(
            self.holding(slot, content),
            release_floor=max(self.release_floor, raises_floor_to),
            highest_confirmed_counter=max(self.highest_confirmed_counter, content.counter),
            spent_permits=(*self.spent_permits, *spent)[-MAX_SPENT:],
        )

    def having_accepted(self, product: str, cohort: str, floor: OrderFloor) -> Memory:
        """With the order floor of a cohort, which holds every stop of the product (7)."""
        others = {
            name: msgspec.structs.replace(known, stops=()) if _is_of(name, product) else known
            for name, known in self.orders.items()
        }
        return msgspec.structs.replace(self, orders=others | {f"{product}/{cohort}": floor})


def _is_of(name: str, product: str) -> bool:
    return name.startswith(f"{product}/")


def _bounded(known: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    """All of them, as long as there is room; those that were known are never given up (7)."""
    new = sorted(set(more).difference(known))
    return tuple(sorted([*known, *new][:MAX_KEYS]))


def load(path: Path, *, began: bool = False, marker: Path | None = None) -> Memory:
    """Read the memory; an empty one if there never was any.

    Args:
        path: where it is.
        began: whether there must be one, because other things were kept after it.
        marker: the file elsewhere that says so, for whoever wants to start afresh.

    Raises:
        RefusedError: ``damaged_state`` (rule 6).
        TransientError: it cannot be read.
    """
    try:
        return unseal(durable.read(path, limit=MAX_RECORD, what="memory"), Memory)
    except NotFoundError as e:
        if began:
            raise _lost(path, "is missing", marker) from e
        return Memory()
    except WireError as e:
        raise _lost(path, f"is damaged ({e})", marker) from e


def _lost(path: Path, how: str, marker: Path | None) -> RefusedError:
    also = f", and {marker}," if marker is not None else ","
    return RefusedError(
        f"The gateway's memory {path} {how}, and without it older releases could be accepted "
        f"again. Mount its partition if it is not, or restore it from a backup; or, if this "
        f"gateway may start afresh, take its whole directory {path.parent}{also} move it away and "
        "run this again.",
        reason="damaged_state",
    )


def save(path: Path, memory: Memory) -> None:
    """Make the memory durable.

    Raises:
        RefusedError: ``memory_full``: what was written could not be read again.
        TransientError: the disk did not do it; the old memory stands.
    """
    data = seal(memory)
    if len(data) > MAX_RECORD:
        raise RefusedError(
            f"The gateway's memory would be larger than the {MAX_RECORD} bytes that are read: it "
            "is left as it was, and nothing is installed. Report this.",
            reason="memory_full",
        )
    durable.replace(path, data, mode=0o600)
