"""What every command works with, built in one place.

Nothing here reads the network or changes anything: that begins with the commands.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock_client import config, install, interlock, journal, memory, probes
from interlock_client.config import Settings
from interlock_client.install import Installer
from interlock_client.journal import Decisions, Journal
from interlock_client.memory import Assigned, Content, Memory
from interlock_client.probes import Probe, Verdict
from interlock_client.state import StateDir
from interlock_client.times import Times
from interlock_core import durable
from interlock_core.errors import ConfigurationError, RefusedError, TransientError, WireError
from interlock_core.wire import sha256_hex

if TYPE_CHECKING:
    from interlock_client.counter import Counter
    from interlock_client.guard import Guard
    from interlock_client.poll import Polled
    from interlock_client.servers import Limits, Servers

MARKER: Final = "state-began"
"""The file beside the boot environment that says that there is a memory (``state``, rule 4)."""
REBOOT_SECONDS: Final = 60

Progress = Callable[[int, int], None]
"""Told how many bytes of how many have arrived."""


def _quiet(_done: int, _whole: int) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Place:
    """Where this gateway belongs.

    Attributes:
        enrolment: id of the enrolment in force, None if there is none that can be read.
        cohort: whose director it obeys.
        seq: of the last assignment that it obeyed under this enrolment, 0 before the first.
        assigned: the assignment by which it is in its cohort; None if it is as configured.
    """

    enrolment: str | None
    cohort: str
    seq: int
    assigned: Assigned | None


@dataclass(frozen=True)
class Context:
    """One gateway.

    Attributes:
        times: its clocks.
        progress: told about downloads.
        limits: how long the network may take; None for the usual, and what is configured.
        counter: stands in for the TPM's counter in tests.
        uninterrupted: surrounds what no signal may break off, from arming to the reboot command.
    """

    settings: Settings
    state: StateDir
    installer: Installer
    times: Times = field(default_factory=Times)
    progress: Progress = _quiet
    limits: Limits | None = None
    counter: Counter | None = None
    uninterrupted: Callable[[], AbstractContextManager[object]] = nullcontext

    @cached_property
    def servers(self) -> Servers:
        """Where updates come from.

        Raises:
            ConfigurationError, SecretError, NotFoundError: the CA file or the client certificate
                cannot be used.
            TransientError: a file cannot be read.
        """
        # Half of what a command costs that does not need it.
        from interlock_client.servers import Limits, connect  # noqa: PLC0415

        settings = self.settings
        download = settings.download
        limits = Limits(
            image_seconds=download.run_seconds,
            image_window_seconds=download.min_rate_window_seconds,
            image_bytes_per_second=download.min_bytes_per_second,
        )
        return connect(
            settings.servers,
            proxy=settings.proxy,
            ca_file=settings.ca_file,
            client_certificate=settings.client_certificate,
            wrong_pin=self.state.wrong_pin,
            limits=self.limits or limits,
            rate_limit=settings.rate_limit_bytes_per_second,
        )

    def client_certificate(self, now: datetime) -> dict[str, Any] | None:
        """How the client certificate stands, as plain values; None if there is none."""
        settings = self.settings.client_certificate
        if settings is None:
            return None
        from interlock_client.client_certificate import standing  # noqa: PLC0415  # most have none

        return standing(settings, now, self.state.wrong_pin)

    def trusted_digest(self) -> str:
        """SHA-256 of the settings and of both embedded roots: what an outcome rests on here."""
        parts = [self.settings.digest()]
        for path in (self.settings.image_root, self.settings.director_root):
            try:
                parts.append(sha256_hex(path.read_bytes()))
            except OSError:
                # Whoever verifies says what is wrong with it.
                parts.append("")
        return sha256_hex(" ".join(parts).encode())

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""
        if "servers" in self.__dict__:
            self.servers.close()

    @cached_property
    def guard(self) -> Guard | None:
        """What keeps the memory and the TPM's counter together; None if none is configured."""
        counter = self.counter
        if counter is None and self.settings.tpm is not None:
            from interlock_client.tpm import NvCounter  # noqa: PLC0415  # few gateways have one

            counter = NvCounter(self.settings.tpm, self.state.tpm_auth)
        if counter is None:
            return None
        from interlock_client.guard import Guard  # noqa: PLC0415  # as above

        return Guard(counter, partial(memory.save, self.state.memory))

    def memory(self, *, tolerant: bool = False) -> Memory:
        """What must not be forgotten; see ``memory.load``.

        Args:
            tolerant: whether to go on where the TPM's counter cannot be reached (``guard``).

        Raises:
            RefusedError: ``damaged_state``, also if the counter says that it is an older copy.
            TransientError: ``tpm``, or the disk.
        """
        # Asked first: whoever begins meanwhile makes the memory before anything else.
        began = self.state.began
        loaded = memory.load(self.state.memory, began=began, marker=self.state.marker)
        return loaded if self.guard is None else self.guard.checked(loaded, tolerant=tolerant)

    def remember(self, changed: Memory) -> Memory:
        """Make the memory durable, and return it."""
        if self.guard is None:
            memory.save(self.state.memory, changed)
            return changed
        if not self.guard.began:
            self.memory()
        return self.guard.keep(changed)

    def place(self, memory_: Memory) -> Place:
        """Where this gateway belongs, by its configuration or by the assignment obeyed last.

        An assignment counts under the enrolment that it names, and under one that only rotated its
        key. A configuration that names another cohort than it did then wins. An identity that is
        damaged moves nothing: it is said where it is needed, and what this gateway installs does
        not wait for it.

        Raises:
            TransientError: the identity cannot be read.
        """
        known = memory_.assigned
        present = self._enrolment()
        seq = known.seq if known is not None and known.enrolment == present else 0
        moved = (
            known is not None
            and known.configured == self.settings.cohort
            and present in (None, known.enrolment, known.carried_to)
        )
        if known is None or not moved:
            return Place(present, self.settings.cohort, seq, None)
        return Place(present, known.cohort, seq, known)

    @property
    def enrolled(self) -> bool:
        """Whether an enrolment is in force here; it may be damaged all the same."""
        return self.state.identity.is_symlink()

    def _enrolment(self) -> str | None:
        if not self.enrolled:
            return None
        from interlock_client import identity  # noqa: PLC0415  # most of a check does without

        try:
            known = identity.load_in_force(self.state)
        except RefusedError:
            return None
        return known.enrolment if known is not None else None

    def journal(self) -> Journal:
        """Where the agent stands; see ``journal.load``."""
        return journal.load(self.state.journal)

    def note(self, changed: Journal) -> Journal:
        """Make the journal durable, and return it."""
        journal.save(self.state.journal, changed)
        return changed

    def poll(self) -> Polled:
        """Ask the servers what this gateway's cohort is to run.

        Raises:
            TransientError: ``network``: none can be reached.
        """
        from interlock_client import poll  # noqa: PLC0415  # as ``servers``

        polled = poll.ask(self.servers, self.place(self.memory()).cohort, self.state)
        poll.note_answer(self.state, self.times.clock())
        return polled

    def decisions(self) -> Decisions:
        """The decisions made here."""
        return Decisions(self.state.decisions)

    def ask_interlock(self) -> Verdict:
        """Whether now is safe for patients."""
        return interlock.ask(self.settings)

    def ask_health(self) -> Verdict:
        """Whether the firmware that booted does its work."""
        if self.settings.health == "none":
            return Verdict(True, "no health checks: the configuration says none are needed")
        return probes.ask(self.settings.health, "health", cannot_tell=True)

    def ask_advice(self) -> tuple[Probe, ...]:
        """What the advisory checks say; nothing is decided by it."""
        health = self.settings.health
        if health == "none" or health.advisory is None:
            return ()
        return probes.advise(msgspec.structs.replace(health, checks=health.advisory))

    def reboot(self) -> None:
        """Run the reboot command.

        Raises:
            TransientError: ``reboot_failed``.
        """
        command = self.settings.reboot_command
        try:
            done = subprocess.run(  # noqa: S603  # from the gateway's own configuration
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=REBOOT_SECONDS,
                check=False,
            )
        except (OSError, ValueError) as e:
            raise _no_reboot(command[0], str(e)) from e
        except subprocess.TimeoutExpired as e:
            raise _no_reboot(command[0], f"it did not return within {REBOOT_SECONDS} s") from e
        if done.returncode != 0:
            raise _no_reboot(command[0], f"it exited with {done.returncode}")


def _no_reboot(program: str, why: str) -> TransientError:
    return TransientError(
        f"The reboot command {program} failed ({why}): mend `reboot_command`.",
        reason="reboot_failed",
    )


def running(memory_: Memory, journal_: Journal, booted: str) -> Content | None:
    """What runs in the slot that booted, as far as it is known."""
    attempt = journal_.attempt
    pending = journal_.state in {journal.State.REBOOTING, journal.State.CONFIRMING}
    if pending and attempt is not None and attempt.slot == booted:
        return Content(
            length=attempt.length,
            sha256=attempt.sha256,
            slots=attempt.slots,
            path=attempt.path,
            version=attempt.version,
            counter=attempt.counter,
            order=attempt.order,
        )
    return memory_.slots.get(booted)


def build(path: Path, *, progress: Progress = _quiet, limits: Limits | None = None) -> Context:
    """The gateway that a configuration file describes.

    Raises:
        ConfigurationError, NotFoundError: the file is missing or wrong.
        TransientError: it cannot be read.
    """
    return assemble(config.load(path), progress=progress, limits=limits)


def assemble(
    settings: Settings,
    *,
    times: Times | None = None,
    progress: Progress = _quiet,
    limits: Limits | None = None,
    installer: Installer | None = None,
    counter: Counter | None = None,
) -> Context:
    """The gateway of given settings; tests pass their own clocks and limits."""
    return Context(
        settings=settings,
        state=StateDir(settings.state, _marker(settings)),
        installer=installer or install.make(settings.installer, settings.state),
        times=times or Times(),
        progress=progress,
        limits=limits,
        counter=counter,
    )


def _marker(settings: Settings) -> Path | None:
    beside = settings.installer.boot_environment
    return settings.state_marker or (beside / MARKER if beside is not None else None)


def embedded_root(path: Path, what: str) -> bytes:
    """The bytes of an embedded root.

    Raises:
        ConfigurationError: it has not the form of one.
        NotFoundError: it is not there.
        TransientError: it cannot be read.
    """
    # Most commands need no TUF.
    from tuf.api.metadata import Root  # noqa: PLC0415

    from interlock_core.tuf_metadata import parse_metadata  # noqa: PLC0415

    try:
        data = durable.read(path, limit=512_000, what=what)
        parse_metadata(data, Root, what=f"{what} {path}")
    except WireError as e:
        raise ConfigurationError(
            f"{str(e).rstrip('.')}. Put the file of the ceremony in its place."
        ) from e
    return data
