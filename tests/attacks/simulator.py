"""A fleet, its gateway, and a server that an attacker controls.

A gateway has made one honest check. Then something happens, and it tries a whole update::

    sim.web.answer("/image/metadata/timestamp.json", b"anything")
    sim.refuses("untrusted_metadata")

``refuses`` looks for all that a refusal means: its name and exit code, nothing changed, and the
next honest check succeeds. What stays allowed is said: with online keys an attacker signs directors
that are valid and become the trusted ones; a genuine newer root may be kept; garbage may stand in
the slot that does not run, unarmed. Whatever a test asks, it ends with an honest check.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec

from interlock_client.memory import Memory
from interlock_client.outcome import Outcome
from interlock_client.servers import Limits
from interlock_core.errors import Exit
from tests.attacks.online import Online
from tests.attacks.people import DAY, IMAGE, People, stage
from tests.client.bed import Bed
from tests.client.web import Answer, Web
from tests.client.world import CANARY, NOW, OPERATOR, WARDS, Release, Rollout, World


class Simulator(People, Online):
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
        self._ended = False

    def __enter__(self) -> Self:
        self.web.__enter__()
        assert self.bed.check().reason == "nothing_wanted"
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None and not self._ended:
                self.recovers()
        finally:
            self.web.__exit__(None, None, None)

    # What is asked of the gateway

    def refuses(
        self,
        reason: str,
        *,
        online: bool = False,
        slot: bool = False,
        exit_code: Exit = Exit.REFUSED,
        mend: Callable[[], object] | None = None,
    ) -> Outcome:
        """A whole update is refused by this name, changes nothing, and an honest check follows.

        Args:
            reason: the refusal's name.
            online: the attacker signed valid directors, which may be trusted now.
            slot: the update was honest so far, and garbage may stand in the slot, unarmed.
            exit_code: of the family that the refusal belongs to.
            mend: what people do about it before the honest check.
        """
        with self.unchanged(online=online, slot=slot):
            outcome = self.bed.update()
            assert (outcome.reason, outcome.exit_code) == (reason, exit_code), outcome.detail
        if mend is not None:
            mend()
        self.recovers()
        return outcome

    def defers(self, reason: str, *, slot: bool = False) -> Outcome:
        """As ``refuses``, of what an attacker with online keys may not have yet."""
        return self.refuses(reason, online=True, slot=slot, exit_code=Exit.DEFERRED)

    def grants(self) -> None:
        """Nothing that the attacker did keeps what is wanted from the gateway."""
        outcome = self.bed.check()
        assert outcome.outcome == "update_available", outcome

    def installs(self, release: Release, **changes: Any) -> Rollout:
        """An honest rollout that goes all the way here."""
        rollout = self.world.roll_out(release, **changes)
        outcome = self.bed.install()
        assert outcome.outcome == "confirmed", outcome
        return rollout

    def says(self, reason: str, exit_code: Exit = Exit.REFUSED) -> Outcome:
        """A check, of which only the name is looked at: a step on the way."""
        outcome = self.bed.check()
        assert (outcome.reason, outcome.exit_code) == (reason, exit_code), outcome.detail
        return outcome

    @contextmanager
    def unchanged(self, *, online: bool = False, slot: bool = False) -> Iterator[None]:
        """Inside, nothing that counts changes."""
        believes = online or slot
        before, floors, runs = self.kept(trusted=not believes), self.floors(), self.bed.running
        yield
        after = self.kept(trusted=not believes)
        if slot:
            before, after = {}, {}
        # A genuine newer root may stay (TUF 5.3).
        newer = [path for path in after if "/root_history/" in path and path not in before]
        assert {path: data for path, data in after.items() if path not in newer} == before
        assert self.bed.running == runs
        assert self.bed.environment.load().armed is None
        assert not self.bed.wants_reboot
        if believes:
            _not_below(self.floors(), floors, ("slots",) if slot else ())
        else:
            assert self.floors() == floors

    def recovers(self) -> None:
        """With an honest server again, the next check finds what is wanted."""
        self.web.lies.clear()
        self.bed.limits = Limits()
        self.world.cohorts = [self.bed.settings.cohort]
        if self.world.clock() != NOW:
            self.world.refresh()
        number = len(self.world.releases)
        self.world.roll_out(self.release(f"9.{number}.0", b"the next one"), seq=1000 + number)
        self.grants()
        self._ended = True

    def kept(self, *, trusted: bool = True) -> dict[str, bytes]:
        """What decides what runs, and what is trusted."""
        kept = self.bed.kept()
        return {path: data for path, data in kept.items() if trusted or "trusted" not in path}

    def floors(self) -> Memory:
        """What must never be forgotten: not when it decided last, nor what its clock said then."""
        return msgspec.structs.replace(self.bed.memory, last=None, reading=None, jumped=None)

    def waits_for_the_ward(self) -> None:
        """An image is in the slot, unarmed, and what kept it back is over."""
        self.world.roll_out(self.release())
        self.bed.script("interlock.d/10-idle", "exit 1")
        assert self.bed.update().reason == "interlock_not_clear"
        self.bed.script("interlock.d/10-idle", "exit 0")

    def meanwhile(self, what: str) -> None:
        """What happens to a gateway by itself, and what an attacker may bring about."""
        match what:
            case "restart":
                self.bed.power_on()
            case "rotation":
                self.rotate_online("image")
                self.rotate_online("director/wards")
            case "lost-metadata":
                shutil.rmtree((self.bed.home / "state/trusted").resolve())
                (self.bed.home / "state/trusted").unlink()
            case "later":
                self.world.clock.pass_(days=5)
                self.world.refresh()

    # What the network can do

    def tell(self, path: str, answer: Answer) -> None:
        """Answer one of the ordinary URLs in a way of the attacker's own."""
        self.without_bundle()
        self.web.lies[path] = answer

    def hurry(self) -> None:
        """Deadlines that a test can wait for."""
        self.bed.limits = Limits(
            connect_seconds=0.5,
            silence_seconds=0.5,
            answer_seconds=0.3,
            image_seconds=0.3,
            image_bytes_per_second=10**9,
        )


def _not_below(now: Memory, before: Memory, free: tuple[str, ...]) -> None:
    """No floor fell, and nothing that only a confirmed installation changes did, but ``free``."""
    for name in {"slots", "release_floor", "highest_confirmed_counter", "rolled_back"} - {*free}:
        assert getattr(now, name) == getattr(before, name), name
    assert now.clock_floor >= before.clock_floor
    assert now.roster_seq >= before.roster_seq
    for role, version in before.versions.items():
        assert now.versions[role] >= version, role
    for name, floor in before.orders.items():
        assert now.orders[name].seq >= floor.seq, name


__all__ = ["CANARY", "DAY", "IMAGE", "OPERATOR", "WARDS", "Simulator", "stage"]
