"""What the demo stands on: a directory of its own, processes that are always cleaned up, a voice.

Rules:

1. Every actor is a real process of a real command; nothing of Interlock is called in-process but
   by the attacker.
2. Whatever happens (an error, Ctrl-C, a failed step), every process that was started is ended.
3. The story goes to standard output; the last line is one JSON object.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import urllib3
from rich.progress import track

BIN: Final = Path(sys.executable).parent
READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0

T = TypeVar("T")


class StoryError(Exception):
    """A step of the story did not go as it must."""


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    answer: dict[str, Any]
    text: str


@dataclass
class Stage:
    """The place where the story is played.

    Attributes:
        place: the directory that holds everything.
        terminal: whether people watch.
    """

    place: Path
    terminal: bool
    started: float = field(default_factory=time.monotonic)
    _processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def seconds(self) -> float:
        """How long the story has been going."""
        return time.monotonic() - self.started

    def say(self, text: str) -> None:
        """One line of the story."""
        print(f"{self.seconds():6.1f} s  {text}", flush=True)

    def chapter(self, title: str) -> None:
        """A new part of the story."""
        bold, plain = ("\033[1m", "\033[0m") if self.terminal else ("", "")
        print(f"\n{bold}{title}{plain}", flush=True)

    def watched(self, steps: Sequence[T], what: str) -> Iterator[T]:
        """``steps``, with a bar on a terminal that says how many are done."""
        return iter(track(steps, what, transient=True, disable=not self.terminal))

    def run(self, *words: str | Path, expect: Sequence[int] = (0,)) -> Said:
        """Run one of our commands with ``--json`` and wait for it.

        Raises:
            StoryError: it ended with a code that the story does not expect.
        """
        command, *rest = [str(word) for word in words]
        process = self.start(command, *rest, "--json")
        out, err = process.communicate()
        self._processes.remove(process)
        if process.returncode not in expect:
            raise StoryError(
                f"{command} {' '.join(rest)} ended with {process.returncode}, "
                f"not {' or '.join(map(str, expect))}: {err.strip() or out.strip()}"
            )
        answer = json.loads(out.strip().splitlines()[-1]) if out.strip() else {}
        return Said(process.returncode, answer, err.strip())

    def start(self, command: str, *words: str | Path) -> subprocess.Popen[str]:
        """Start one of our commands, to be ended with the story."""
        return self._start([str(BIN / command), *map(str, words)])

    def start_script(self, script: Path, *words: str | Path) -> subprocess.Popen[str]:
        """Start one of the demo's own scripts, to be ended with the story."""
        return self._start([sys.executable, str(script), *map(str, words)])

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def serve(self, config: Path, health_port: int, log: Path) -> subprocess.Popen[str]:
        """Start the server and wait until it says that it is ready.

        Raises:
            StoryError: it does not come up.
        """
        with log.open("a") as output:
            process = subprocess.Popen(
                [str(BIN / "interlock-server"), "serve", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        self._processes.append(process)
        http = urllib3.PoolManager(retries=False)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if http.request("GET", f"http://127.0.0.1:{health_port}/readyz").status == 200:
                    return process
            except urllib3.exceptions.HTTPError:
                pass  # not listening yet
            time.sleep(0.05)
        raise StoryError(f"the server did not become ready: {log.read_text()[-2000:]}")

    def end(self, process: subprocess.Popen[str]) -> None:
        """End one process and those that it started."""
        if process in self._processes:
            self._processes.remove(process)
        _end(process)

    def close(self) -> None:
        """End everything that still runs."""
        for process in reversed(self._processes):
            _end(process)
        self._processes.clear()


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()
    # What the process itself may have left behind in its group.
    _signal(process, signal.SIGKILL)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def together(*acts: Callable[[], T]) -> list[T]:
    """Let people who need not wait for one another act at the same time."""
    with ThreadPoolExecutor(max_workers=len(acts)) as pool:
        return [done.result() for done in [pool.submit(act) for act in acts]]


@contextmanager
def background(act: Callable[[], object]) -> Iterator[None]:
    """Inside, somebody elsewhere does something else; at the end it is done."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        doing = pool.submit(act)
        yield
        doing.result()
