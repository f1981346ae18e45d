"""Which side boots: by our own boot state, or by an executable of the integrator's (I/O)."""

from __future__ import annotations

from dataclasses import dataclass

from interlock_client import boot
from interlock_client.boot import BootEnvironment, Slot
from interlock_client.install import BootControl, Standing
from interlock_client.installers import Sides


@dataclass(frozen=True)
class OwnBootState:
    """``BootControl`` by the two copies of ``boot.BootState``.

    Attributes:
        environment: where they are.
        tries: how often an armed side is booted.
    """

    environment: BootEnvironment
    tries: int

    def booted(self) -> Slot:
        """As ``BootControl.booted``."""
        return self.environment.require_booted()

    def standing(self) -> Standing:
        """As ``BootControl.standing``."""
        booted = self.booted()
        state = self.environment.load()
        return Standing(booted, state.active, state.armed, state.good, state.fell_back)

    def invalidate(self, slot: Slot) -> None:
        """As ``BootControl.invalidate``."""
        self.environment.change(lambda state: boot.invalidate(state, slot))

    def arm(self, slot: Slot) -> None:
        """As ``BootControl.arm``."""
        self.environment.change(lambda state: boot.arm(state, slot, self.tries))

    def disarm(self) -> None:
        """As ``BootControl.disarm``."""
        self.environment.change(boot.disarm)

    def commit(self, slot: Slot) -> None:
        """As ``BootControl.commit``."""
        self.environment.change(lambda state: boot.commit(state, slot))

    def abandon(self, slot: Slot) -> None:
        """As ``BootControl.abandon``."""
        self.environment.change(lambda state: boot.abandon(state, slot))


def control(settings: Sides) -> BootControl:
    """The boot control of a configuration."""
    if settings.boot is not None:
        from interlock_client.install.command_boot import CommandBoot  # noqa: PLC0415

        return CommandBoot(settings.boot, settings.tries)
    return OwnBootState(own_state(settings), settings.tries)


def own_state(settings: Sides) -> BootEnvironment:
    """Where Interlock's own boot state is; there is one unless ``boot`` is set."""
    assert settings.boot_environment is not None
    assert settings.booted is not None
    return BootEnvironment(settings.boot_environment, settings.booted)
