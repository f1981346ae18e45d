"""A scenario at work: records its command, and judges every state of it (I/O).

Rules:

1. All of it happens in the scenario's own directory, because programs know their paths: a state is
   put in place there, and at the end, however it ends, what stood there at the beginning.
2. The beginning, and the end without a power cut, must themselves be good, or nothing can be said.
3. What boots is asked first, as a boot does; what that changed is there when the same is run again.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock_client import boot
from interlock_client.install.control import own_state
from interlock_client.installers import Sides
from interlock_client.powercut.materialise import Stage, Watched, snapshot, watched
from interlock_client.powercut.model import Model, Tree, digest
from interlock_client.powercut.operations import Recording
from interlock_client.powercut.record import record
from interlock_client.powercut.scenario import Scenario
from interlock_core.durable import translated
from interlock_core.errors import ConfigurationError, InterlockError
from interlock_core.names import DEFAULT_SLOT

_SHOWN: Final = 300


class NotGoodError(Exception):
    """What is wrong with what is in place."""


@dataclass(frozen=True)
class Image:
    """A good image."""

    name: str
    length: int
    sha256: str


class Trial:
    """One scenario; a judge of its states.

    Args:
        scenario: what is tried.
        directory: of the scenario; its commands run there.
        installer: whose boot environment tells what boots, where the scenario has no ``boots``.

    Raises:
        ConfigurationError: nothing says what boots; or what it names is of no use.
        TransientError: something cannot be read.
    """

    def __init__(self, scenario: Scenario, directory: Path, installer: Sides | None) -> None:
        self._scenario = scenario
        self._directory = directory.resolve()
        self._installer = installer
        if scenario.boots is None and (installer is None or installer.boot is not None):
            raise ConfigurationError(
                "Nothing says what boots: add `boots` to the scenario, or name with --config the "
                "configuration of a gateway whose boot state is Interlock's own."
            )
        self._images = tuple(self._image(name) for name in scenario.good)
        places = [self._directory / name for name in scenario.watch]
        self.watched: Watched = watched(places, scenario.ignore)
        self._end: tuple[str, tuple[str, ...]] = ("", ())

    @contextmanager
    def recorded(self) -> Iterator[Model]:
        """Record the command; at the end what stood there before is put back (rules 1 and 2).

        Raises:
            ConfigurationError: ``command_failed``, ``not_recordable``, ``no_strace``; or the
                beginning, or the end, is not good.
            TransientError: the disk did not do it.
        """
        found = snapshot(self.watched)
        before = Model(Recording(found.roots, found.nodes, found.entries, ()))
        try:
            self._ended("Before the command")
            Stage(self.watched, before).show(before.whole)
            recording = record(
                self._scenario.command,
                self.watched,
                directory=self._directory,
                timeout_seconds=self._scenario.timeout_seconds,
                codes=self._scenario.exit_codes,
            )
            self._end = self._ended("After the command, without any power cut")
            yield Model(recording)
        finally:
            Stage(self.watched, before).show(before.whole)

    # As a judge (``explore.Judge``)

    changes = True

    def look(self, tree: Tree) -> str | None:  # noqa: ARG002  # it looks at what is in place
        """As ``Judge.look``."""
        try:
            self._good()
            if self._scenario.check is not None:
                self._run(self._scenario.check, (0,))
        except NotGoodError as e:
            return str(e)
        return None

    def kind(self, tree: Tree) -> Hashable:
        """As ``Judge.kind``: all but what the scenario calls leftovers."""
        return digest(tree, (path for path in tree if not self._scenario.left_over(path)))

    def again(self, tree: Tree) -> str | None:  # noqa: ARG002  # as ``look``
        """As ``Judge.again``."""
        try:
            words = self._scenario.again or self._scenario.command
            self._run(words, self._scenario.exit_codes)
            booted, final = self._good(), self._final()
        except NotGoodError as e:
            return f"run again: {e}"
        wanted, unchanged = self._end
        if booted != wanted:
            return f"run again: {booted} boots, and without a power cut it is {wanted}"
        for name, was, now in zip(self._scenario.final, unchanged, final, strict=True):
            if was != now:
                return f"run again: {name} is not what it is without a power cut"
        return None

    def _ended(self, when: str) -> tuple[str, tuple[str, ...]]:
        try:
            return self._good(), self._final()
        except NotGoodError as e:
            raise ConfigurationError(f"{when}, this is not good: {e}. Mend that first.") from e

    def _good(self) -> str:
        """The name of the good image that boots."""
        slot = self._boots()
        try:
            data = slot.read_bytes()
        except OSError as e:
            raise NotGoodError(f"{self._short(slot)} boots, and cannot be read") from e
        for image in self._images:
            if hashlib.sha256(data[: image.length]).hexdigest() == image.sha256:
                return image.name
        names = ", ".join(image.name for image in self._images)
        raise NotGoodError(f"{self._short(slot)} boots, and holds none of {names}")

    def _boots(self) -> Path:
        if self._scenario.boots is not None:
            said = self._run(self._scenario.boots, (0,))
            if not said or "\n" in said or "\0" in said:
                raise NotGoodError(f"`boots` named no slot: {said[:_SHOWN]!r}")
            return self._directory / said
        assert self._installer is not None
        try:
            slot, _ = boot.select(own_state(self._installer).load())
        except InterlockError as e:
            raise NotGoodError(str(e)) from e
        side = self._installer.a if slot == "a" else self._installer.b
        return side.by_name.get(DEFAULT_SLOT) or next(iter(side))

    def _final(self) -> tuple[str, ...]:
        return tuple(self._digest(self._directory / name) for name in self._scenario.final)

    def _digest(self, path: Path) -> str:
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as e:
            return f"unreadable: {e.strerror}"

    def _image(self, name: str) -> Image:
        path = self._directory / name
        with translated("read", path):
            if not path.is_file():
                raise ConfigurationError(f"There is no image {path}: mend `good`.")
            data = path.read_bytes()
        if not data:
            raise ConfigurationError(f"The image {path} is empty: every slot begins with it.")
        return Image(name, len(data), hashlib.sha256(data).hexdigest())

    def _run(self, words: Sequence[str], codes: Sequence[int]) -> str:
        shown = " ".join(words)[:_SHOWN]
        try:
            process = subprocess.Popen(  # noqa: S603  # the scenario's own command
                words,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as e:
            raise NotGoodError(f"{shown} cannot be run ({e})") from e
        with process:
            try:
                said, complained = process.communicate(timeout=self._scenario.timeout_seconds)
            except subprocess.TimeoutExpired as e:
                _end_all(process.pid)
                raise NotGoodError(f"{shown} did not end") from e
            except BaseException:
                _end_all(process.pid)
                raise
        if process.returncode not in codes:
            last = complained.decode(errors="replace").strip().rpartition("\n")[2]
            raise NotGoodError(f"{shown} ended with {process.returncode} ({last[:_SHOWN]})")
        return os.fsdecode(said).strip()

    def _short(self, path: Path) -> str:
        return os.path.relpath(path, self._directory)


def _end_all(group: int) -> None:
    os.killpg(group, signal.SIGKILL)
