"""What a person, or systemd, tells a running agent (I/O).

Rules:

1. SIGTERM and SIGINT end it: whatever it does is broken off where it stands, by an exception that
   nothing catches but the edge. What it keeps is made for worse: for a power cut at any moment.
2. From arming a slot until the reboot command has returned nothing is broken off: that command
   brings SIGTERM with it, and what was armed then must stay armed.
3. SIGUSR1 and SIGHUP mean "look now": a wait ends, and nothing else does.
4. Nothing sleeps: it waits for a signal, which wakes it at once.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Final, Self

STOP: Final = (signal.SIGTERM, signal.SIGINT)
LOOK: Final = (signal.SIGUSR1, signal.SIGHUP)


class Stopped(BaseException):
    """Somebody ends this process in good order."""


class Signals:
    """Takes over this process's signals while it is entered; for the main thread.

    Attributes:
        stopping: whether somebody asked it to end.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._broken_off = False
        self._shielded = False

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {
            number: signal.signal(number, handler)
            for numbers, handler in ((STOP, self._stop), (LOOK, self._look))
            for number in numbers
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # From here on no signal raises: this is the way out.
        self._broken_off = True
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def wait(self, seconds: float | None) -> None:
        """Wait for so long, or for a signal (rule 4); with None for a signal alone.

        Raises:
            Stopped: rule 1.
        """
        if self.stopping:
            raise Stopped
        if select.select([self._read], [], [], seconds)[0]:
            self._drain()

    def wait_for_the_end(self) -> None:
        """Do nothing until somebody ends this process, or the power goes.

        Raises:
            Stopped: rule 1.
        """
        while True:
            self.wait(None)

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Let nothing be broken off inside (rule 2).

        Raises:
            Stopped: at its end, if somebody ended this process meanwhile.
        """
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
            if self.stopping:
                self._break_off()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True
        if not self._shielded:
            self._break_off()

    def _break_off(self) -> None:
        if not self._broken_off:
            # Once: what follows is tidying up.
            self._broken_off = True
            raise Stopped

    def _look(self, _number: int, _frame: FrameType | None) -> None:
        """Nothing but the byte in the pipe, which the interpreter has written."""

    def _drain(self) -> None:
        try:
            while os.read(self._read, 512):
                pass
        except BlockingIOError:
            return
