"""Downloads that go on through proxies, and after the process was killed: real sockets."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from interlock_client.download import keeper
from interlock_client.download.sink import SEGMENT
from tests.client.bed import Bed
from tests.client.web import Handler, Web
from tests.client.world import Clock, World
from tests.support.certificates import Authority
from tests.support.proxies import Proxy

CLIENT = Path(sys.executable).with_name("interlock-client")
NEW = random.Random(18).randbytes(700_000)  # noqa: S311  # an image of tests
HALF = len(NEW) // 2
IMAGES = "/image/targets/ward-gateway/"


class Flaky:
    """Serves the image; the first answer breaks off in the middle.

    Attributes:
        asked: the range of each request.
    """

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def __call__(self, handler: Handler) -> None:
        self.asked.append(handler.headers.get("Range"))
        path = urlsplit(handler.path).path
        if len(self.asked) > 1:
            handler.serve(path)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(NEW)))
        handler.end_headers()
        handler.wfile.write(NEW[:HALF])
        handler.close_connection = True


def goes_on(bed: Bed, flaky: Flaky) -> None:
    """In the same run, or in the next one, at the very byte."""
    outcome = bed.install()
    if outcome.reason == "network":
        outcome = bed.install()
    assert outcome.outcome == "confirmed", outcome
    assert flaky.asked == [None, f"bytes={HALF}-{len(NEW) - 1}"]
    assert bed.running == NEW


def test_through_a_proxy_that_sees_everything(tmp_path: Path, world: World, web: Web) -> None:
    """Plain HTTP: whole URLs are asked for at the proxy, also for what is still missing."""
    world.roll_out(world.release("1.0.0", NEW))
    with Web(world.store) as proxy:
        flaky = Flaky()
        proxy.lies[f"{web.url}{IMAGES}"] = flaky
        proxy.lies["http://"] = lambda handler: handler.serve(urlsplit(handler.path).path)
        bed = Bed(tmp_path / "gateway", world, web, proxy=proxy.url)
        bed.power_on()
        goes_on(bed, flaky)
        assert web.requests == [], "one outbound host is enough"
        assert all(path.startswith(web.url) for path in proxy.requests)


def test_through_a_proxy_that_sees_nothing(tmp_path: Path, world: World) -> None:
    """TLS to the server, through a tunnel that the proxy digs."""
    world.roll_out(world.release("1.0.0", NEW))
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    flaky = Flaky()
    with Web(world.store, certificate=pair.both) as web, Proxy() as proxy:
        web.lies[IMAGES] = flaky
        bed = Bed(tmp_path / "gateway", world, web, proxy=proxy.url, ca_file=authority.file)
        bed.power_on()
        goes_on(bed, flaky)
        assert proxy.asked
        assert {line.split(" ")[0] for line in proxy.asked} == {"CONNECT"}


def test_after_a_kill(tmp_path: Path) -> None:
    """In the middle of the second segment: the first is not fetched again."""
    world = World(tmp_path, Clock(datetime.now(UTC).replace(microsecond=0)))
    image = random.Random(8).randbytes(SEGMENT + 2_000_000)  # noqa: S311  # an image of tests
    world.roll_out(world.release("1.0.0", image))
    killed: list[subprocess.Popen[bytes]] = []
    asked: list[str | None] = []
    with Web(world.store) as web:
        bed = Bed(tmp_path / "gateway", world, web)
        bed.power_on()
        record = bed.home / "state" / "transfer.json"

        def slow(handler: Handler) -> None:
            asked.append(handler.headers.get("Range"))
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(image)))
            handler.end_headers()
            handler.wfile.write(image[: SEGMENT + 1_000_000])
            handler.wfile.flush()
            while not record.exists() and not web.over.wait(0.01):
                pass
            killed[0].send_signal(signal.SIGKILL)
            web.over.wait()

        web.lies[IMAGES] = slow
        command = [str(CLIENT), "update", "--config", str(bed.write_config()), "--json"]
        killed.append(subprocess.Popen(command))
        assert killed[0].wait(60) == -signal.SIGKILL
        kept = keeper.load(record)
        assert kept is not None
        assert SEGMENT <= kept.kept < SEGMENT + 1_000_000
        web.lies.clear()
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        said = json.loads(done.stdout)
        assert said["outcome"] == "rebooting"
        assert said["download"]["resumed_from"] == kept.kept
        assert bed.slot("b") == image
        assert asked == [None]
