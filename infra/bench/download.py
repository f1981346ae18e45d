"""A 200 MB image from nginx into a slot, beside ``tuf.ngclient`` and beside ``curl``.

Rules:

1. Three whole processes in turn, each into a new file on a real disk, each of the same image from
   the same nginx. Each has hashed all bytes when it ends, and has flushed the slot.
2. Ours is ``interlock-client update`` of a gateway whose clinical interlock says no: it polls,
   verifies all metadata, decides, fetches, and ends with the image in its slot, waiting. The slot
   is read back only at the last moment, which neither peer has; that is measured apart.
3. ``curl`` writes through ``tee`` into ``openssl dgst`` and ``dd``, which flushes. It verifies no
   metadata at all: who calls it knows the digest already.
4. Bytes written are those handed to block devices on behalf of the processes; memory is the peak of
   the largest process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from infra.bench import zone
from infra.bench.measure import Row, median, row
from infra.bench.web import nginx
from interlock_client.boot import other
from interlock_core.errors import Exit
from interlock_core.wire import sha256_hex
from tests.client.bed import Bed
from tests.client.web import Web
from tests.client.world import Clock, World

IMAGE_BYTES: Final = 200_000_000
SMALL_BYTES: Final = 1_000_000
"""Of an image that costs next to nothing: what is left is the cost of starting and deciding."""
RUNS: Final = 5
WARM_UP: Final = 1
PEAK_LIMIT_MB: Final = 40.0
SEGMENT_BYTES: Final = 8 * 1024 * 1024
NGCLIENT: Final = "ngclient and a copy"
CURL: Final = "curl and openssl"

_CURL: Final = (
    'set -o pipefail; curl --silent --fail "$1" | tee >(openssl dgst -sha256 -r >"$3") '
    '| dd of="$2" bs=1M iflag=fullblock conv=fsync status=none; wait $!'
)


@dataclass(frozen=True)
class Spent:
    """What one run cost."""

    wall_ms: float
    cpu_ms: float
    peak_kb: int
    written: int


def spend(command: Sequence[str], *, ends_with: int = 0) -> Spent:
    """Run a command to its end.

    Raises:
        RuntimeError: it ended in another way than it should.
    """
    os.sync()  # what another run left to be written is not this one's
    launch = str(Path(__file__).with_name("launch.py"))
    words = [sys.executable, "-I", "-S", launch, *command]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    *said, last = done.stderr.splitlines()
    found = json.loads(last)
    if found.pop("exit") != ends_with:
        raise RuntimeError(f"{command[0]}: {done.stdout}{said}")
    return Spent(**found)


class Yard:
    """One gateway before an update, its peers, and nginx.

    Args:
        place: a directory of its own.
        world: whose newest release is ordered.
        url: of nginx.
        size: of the image, in bytes.
    """

    def __init__(self, place: Path, world: World, bed: Bed, url: str, size: int) -> None:
        self.place, self.world, self.bed, self.url, self.size = place, world, bed, url, size
        release = world.releases[-1]
        self.target, self.sha256 = release.path, release.target.sha256
        folder, _, name = self.target.rpartition("/")
        self.image_url = f"{url}/image/targets/{folder}/{self.sha256}.{name}"
        bed.change(servers=(url,))
        self.config = bed.write_config()
        bed.save()
        self.slot = bed.home / "slots" / other(bed.environment.require_booted())
        self.command = [zone.command(), "update", "--config", str(self.config), "--json"]

    def ours(self) -> Spent:
        """The gateway, up to the image in its slot (rule 2)."""
        self.bed.restore()
        spent = spend(self.command, ends_with=int(Exit.DEFERRED))
        self.check(self.slot)
        return spent

    def ngclient(self) -> Spent:
        """``tuf.ngclient`` and a copy."""
        home, slot = self.place / "ngclient", self.place / "ngclient.slot"
        shutil.rmtree(home, ignore_errors=True)
        slot.unlink(missing_ok=True)
        (home / "metadata").mkdir(parents=True)
        (home / "root.json").write_bytes(self.world.image_root)
        script = str(Path(__file__).with_name("ngclient_download.py"))
        spent = spend([zone.python(), script, str(home), self.url, self.target, str(slot)])
        self.check(slot)
        return spent

    def curl(self) -> Spent:
        """``curl``, ``openssl`` and ``dd``."""
        slot, digest = self.place / "curl.slot", self.place / "curl.sha256"
        slot.unlink(missing_ok=True)
        spent = spend(["bash", "-c", _CURL, "curl", self.image_url, str(slot), str(digest)])
        assert digest.read_text().startswith(self.sha256)
        self.check(slot)
        return spent

    def last_moment(self) -> Spent:
        """What follows when now is safe: read back, decide anew, arm, reboot."""
        allowed = self.bed.home / "interlock.d" / "10-idle"
        before = allowed.read_bytes()
        allowed.write_bytes(b"#!/bin/sh\nexit 0\n")
        try:
            return spend(self.command)
        finally:
            allowed.write_bytes(before)

    def fetched_again(self) -> int:
        """Bytes fetched a second time after a kill in the middle."""
        self.bed.restore()
        process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        while not self.slot.exists() or self.slot.stat().st_size < self.size // 2:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        had = self.slot.stat().st_size
        log = self.place / "nginx" / "access.log"
        before = log.stat().st_size
        spend(self.command, ends_with=int(Exit.DEFERRED))
        self.check(self.slot)
        lines = log.read_bytes()[before:].decode().splitlines()
        sent = [line.split() for line in lines if self.sha256 in line]
        return had + sum(int(size) for _, status, size in sent if status == "206") - self.size

    def check(self, slot: Path) -> None:
        """See that a slot holds the image."""
        assert slot.stat().st_size == self.size
        assert sha256_hex(slot.read_bytes()) == self.sha256


@contextmanager
def _yard(place: Path, size: int) -> Iterator[Yard]:
    """A gateway that runs something, and is ordered an image of so many bytes."""
    place.mkdir()
    world = World(place, Clock(datetime.now(UTC).replace(microsecond=0)))
    world.roll_out(world.release("1.0.0", b"what runs"))
    with Web(world.store) as web:
        bed = Bed(place / "gateway", world, web)
        bed.power_on()
        assert bed.install().outcome == "confirmed"
    world.roll_out(world.release("2.0.0", os.urandom(size)))
    bed.script("interlock.d/10-idle", "exit 1")
    with nginx(place / "nginx", place / "store") as url:
        yield Yard(place, world, bed, url, size)
    shutil.rmtree(place)


def measure(place: Path) -> list[Row]:
    """Measure downloads."""
    ours: list[Spent] = []
    theirs: list[Spent] = []
    curl: list[Spent] = []
    last: list[Spent] = []
    with _yard(place / "download", IMAGE_BYTES) as yard:
        for turn in range(WARM_UP + RUNS):
            spent = yard.ours(), yard.last_moment(), yard.ngclient(), yard.curl()
            if turn >= WARM_UP:
                for found, kept in zip(spent, (ours, last, theirs, curl), strict=True):
                    kept.append(found)
        again = yard.fetched_again()
    with _yard(place / "small", SMALL_BYTES) as yard:
        pairs = [(yard.ours(), yard.ngclient()) for _ in range(WARM_UP + RUNS)][WARM_UP:]
        little, its_little = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return [
        _compare("download.wall", "wall_ms", "ms", ours, theirs, NGCLIENT),
        _compare("download.cpu", "cpu_ms", "ms", ours, theirs, NGCLIENT),
        _compare("download.cpu.1-MB", "cpu_ms", "ms", little, its_little, NGCLIENT),
        _compare("download.wall.beside-curl", "wall_ms", "ms", ours, curl, CURL),
        _compare("download.cpu.beside-curl", "cpu_ms", "ms", ours, curl, CURL),
        _compare("download.written", "written", "bytes", ours, theirs, NGCLIENT),
        _against("download.written.image", "written", "bytes", ours, IMAGE_BYTES),
        _compare("download.memory", "peak_kb", "kB", ours, theirs, NGCLIENT),
        _against("download.memory.peak", "peak_kb", "kB", ours, PEAK_LIMIT_MB * 1000),
        _compare("download.memory.1-MB", "peak_kb", "kB", little, its_little, NGCLIENT),
        _compare("download.last-moment.cpu", "cpu_ms", "ms", last, curl, CURL),
        row("download.fetched-again", again, "bytes", "limit", SEGMENT_BYTES, 1),
    ]


def _compare(
    name: str, what: str, unit: str, ours: list[Spent], theirs: list[Spent], peer: str
) -> Row:
    return row(name, _median(what, ours), unit, peer, _median(what, theirs), len(ours))


def _against(name: str, what: str, unit: str, ours: list[Spent], limit: float) -> Row:
    return row(name, _median(what, ours), unit, "limit", limit, len(ours))


def _median(what: str, spent: list[Spent]) -> float:
    return median([getattr(one, what) for one in spent])
