"""The boot state of a boot loader, by an executable of the integrator's (I/O).

Rule beside those of ``answers``: after every change the executable is asked how the sides stand,
and what it says must be what was asked for. A change that does not show did not happen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from interlock_client import boot
from interlock_client.boot import Slot
from interlock_client.install import Standing
from interlock_client.install.answers import Booted, Program, Stands
from interlock_client.installers import BootCommand
from interlock_core.errors import ConfigurationError, TransientError


@dataclass(frozen=True)
class CommandBoot:
    """``BootControl`` by an executable.

    Attributes:
        settings: the executable.
        tries: how often an armed side is booted.
    """

    settings: BootCommand
    tries: int

    def booted(self) -> Slot:
        """As ``BootControl.booted``."""
        try:
            return self._program.ask("booted", type_=Booted).booted
        except TransientError as e:
            raise ConfigurationError(
                f"It is not known which side booted: {e}", reason="booted_unknown"
            ) from e

    def standing(self) -> Standing:
        """As ``BootControl.standing``."""
        booted = self.booted()
        says = self._program.ask("standing", type_=Stands)
        if says.active in {says.armed, says.fell_back} or says.active not in says.good:
            raise self._program.failure("standing", "contradicts itself")
        return Standing(booted, says.active, says.armed, says.good, says.fell_back)

    def invalidate(self, slot: Slot) -> None:
        """As ``BootControl.invalidate``."""
        assert slot != self.standing().active, "the committed side is never written"
        self._change(
            lambda now: slot not in (*now.good, now.armed, now.fell_back), "invalidate", slot
        )

    def arm(self, slot: Slot) -> None:
        """As ``BootControl.arm``."""
        assert slot != self.standing().active, "the committed side needs no arming"
        self._change(
            lambda now: now.armed == slot and now.active == boot.other(slot),
            "arm",
            slot,
            str(self.tries),
        )

    def disarm(self) -> None:
        """As ``BootControl.disarm``; nothing is asked for where nothing is armed."""
        if self.standing().armed is not None:
            self._change(lambda now: now.armed is None, "disarm")

    def commit(self, slot: Slot) -> None:
        """As ``BootControl.commit``."""
        self._change(
            lambda now: now.active == slot and now.armed is None and slot in now.good,
            "commit",
            slot,
        )

    def abandon(self, slot: Slot) -> None:
        """As ``BootControl.abandon``."""
        assert boot.other(slot) in self.standing().good, "there is nothing good to go back to"
        self._change(
            lambda now: now.active == boot.other(slot) and now.armed is None, "abandon", slot
        )

    @property
    def _program(self) -> Program:
        return Program(
            self.settings.program, self.settings.timeout_seconds, failed="boot_control_failed"
        )

    def _change(self, done: Callable[[Standing], bool], command: str, *arguments: str) -> None:
        self._program.tell(command, *arguments)
        if not done(self.standing()):
            raise self._program.failure(command, "exited with 0, and did not do it")
