"""What an integrator's executable is asked, and what it answers (I/O: runs it).

Rules:

1. An answer is one JSON object of exactly the fields that were asked for. Anything else is unclear,
   and what is unclear is a failure: never a guess.
2. An exit code of 0 means done, 20 that it will never do this, anything else that it did not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

from msgspec import Meta

from interlock_client.boot import Slot
from interlock_client.executable import MAX_OUTPUT, Sink, run
from interlock_client.tables import Table
from interlock_core.errors import RefusedError, TransientError, WireError
from interlock_core.names import Name
from interlock_core.wire import decode

INSTALL: Final = "install"
REFUSES: Final = 20
"""The exit code of an executable that will not do this, however often it is asked."""

T = TypeVar("T")


class Booted(Table, frozen=True, kw_only=True):
    """The answer to ``booted``."""

    booted: Slot


class Stands(Table, frozen=True, kw_only=True):
    """The answer to ``standing``; as ``Standing``, but for the side that runs."""

    active: Slot
    armed: Slot | None
    good: Annotated[tuple[Slot, ...], Meta(max_length=2)]
    fell_back: Slot | None


class Rooms(Table, frozen=True, kw_only=True):
    """The answer to ``room``: how many bytes each slot of a side takes."""

    slots: dict[Name, Annotated[int, Meta(ge=0, le=2**50)]]


@dataclass(frozen=True)
class Program:
    """An executable with sub-commands.

    Attributes:
        path: the file.
        seconds: how long a call may take.
        failed: the reason of a ``TransientError`` when a call fails or its answer is unclear.
    """

    path: Path
    seconds: float
    failed: str

    def ask(self, command: str, *arguments: str, type_: type[T]) -> T:
        """The answer to a question (rule 1).

        Raises:
            TransientError: ``failed``.
            ConfigurationError: the executable cannot be run.
        """
        said = self.tell(command, *arguments)
        try:
            return decode(said, type_, limit=MAX_OUTPUT, what=f"answer to '{command}'")
        except WireError as e:
            raise self.failure(command, f"answered unclearly: {e}") from e

    def tell(
        self,
        command: str,
        *arguments: str,
        stdin: bytes = b"",
        descriptors: Sequence[int] = (),
        sink: Sink | None = None,
        seconds: float | None = None,
    ) -> bytes:
        """Have something done (rule 2); what it wrote to its standard output.

        Raises:
            RefusedError: ``installer_refused``: it exited with 20.
            TransientError: ``failed``: it did not exit with 0.
            ConfigurationError: the executable cannot be run.
        """
        ended = run(
            self.path,
            [command, *arguments],
            seconds=self.seconds if seconds is None else seconds,
            stdin=stdin,
            descriptors=descriptors,
            sink=sink,
        )
        if ended.code == 0:
            return ended.output
        if ended.code == REFUSES and command == INSTALL:
            raise RefusedError(
                f"{self.path} {command} refused ({ended.why}).", reason="installer_refused"
            )
        raise self.failure(command, ended.why)

    def failure(self, command: str, why: str) -> TransientError:
        """That a call did not do what it should."""
        return TransientError(f"{self.path} {command} {why}.", reason=self.failed)
