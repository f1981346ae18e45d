"""A plain check of a gateway at rest is answered without loading what it does not need."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from interlock_client import check, context, memory, rest, resting
from interlock_client.cli import group
from interlock_client.cli.edge import run
from interlock_client.context import Context
from interlock_client.state import exclusive
from tests.client.bed import Bed
from tests.client.fleet import Fleet
from tests.client.test_counter import Fake
from tests.client.web import Handler, Web
from tests.client.world import WARDS, Clock, World

NEW = b"release one " * 100


@pytest.fixture
def world(tmp_path: Path) -> World:
    """What is signed now, by the machine's clock: commands have no other."""
    return World(tmp_path, Clock(datetime.now(UTC).replace(microsecond=0)))


@pytest.fixture
def config(world: World, bed: Bed) -> Path:
    """The configuration of a gateway that runs what is wanted, and was checked twice."""
    world.roll_out(world.release("1.0.0", NEW))
    assert bed.install().outcome == "confirmed"
    path = bed.write_config()
    whole(path)
    whole(path)
    return path


def whole(config: Path, *words: str) -> None:
    """The command line's own check."""
    with pytest.raises(SystemExit) as ended:
        run(group, ["check", "--config", str(config), *words])
    assert ended.value.code == 0


def says(config: Path) -> str | None:
    return rest.answer(config, as_json=False)


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_it_says_what_a_whole_check_says(
    config: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    capsys.readouterr()
    whole(config, *words)
    said = rest.answer(config, as_json=bool(words))
    assert said is not None
    assert f"{said}\n" == capsys.readouterr().out


def test_it_costs_one_request_and_loads_neither_tuf_nor_the_command_line(
    web: Web, config: Path
) -> None:
    code = "import sys; from interlock_client import start; start.main(); print(*sys.modules)"
    words = ("check", "--config", str(config), "--json")

    def check() -> None:
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        )
        said, modules = done.stdout.splitlines()
        assert json.loads(said)["reason"] == "already_installed"
        unwanted = {"click", "msgspec", "tuf", "securesystemslib", "cryptography", "urllib3"}
        assert unwanted.isdisjoint(modules.split())

    assert web.count(check) == 1


def test_it_notes_when_a_server_answered(bed: Bed, config: Path) -> None:
    polled = bed.home / "state" / "polled"
    os.utime(polled, (0, 0))
    assert says(config)
    assert abs(polled.stat().st_mtime - time.time()) < 60


def again(path: Path) -> None:
    """The same in a new file, as every writer of ours would leave it."""
    beside = path.with_name("beside")
    shutil.copy2(path, beside, follow_symlinks=False)
    beside.rename(path)


@pytest.mark.parametrize("where", ["", "state", "boot"])
def test_whatever_changed_is_for_a_whole_check(
    web: Web, bed: Bed, config: Path, where: str
) -> None:
    """Each file that a check rests on, and each that is new."""
    names = {
        "": ("gateway.toml", "image.root.json", "director.root.json", "booted"),
        "state": ("memory.json", "journal.json", "seen.json", "bundle.json", "trusted"),
        "boot": ("boot-0.json", "boot-1.json"),
    }[where]
    for name in names:
        assert says(config), name
        again(bed.home / where / name)
        assert web.count(lambda: says(config)) == 0
        assert says(config) is None, name
        whole(config)
    for name in ("trouble.json", "of-a-later-version", "identity") if where else ():
        (bed.home / where / name).touch()
        assert says(config) is None, name
        (bed.home / where / name).unlink()
        assert says(config), "it is as it was"


def test_a_file_that_was_changed_in_its_place(bed: Bed, config: Path) -> None:
    settings = bed.home / "gateway.toml"
    before = settings.stat()
    with settings.open("r+b") as file:
        file.write(b"#")
    os.utime(settings, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert says(config) is None, "one of its times is the kernel's"


@pytest.mark.parametrize("name", ["gateway.toml", "image.root.json", "booted"])
def test_a_link_whose_target_changed(bed: Bed, config: Path, name: str) -> None:
    link = bed.home / name
    target = bed.home / "elsewhere" / name
    target.parent.mkdir()
    link.rename(target)
    link.symlink_to(target)
    whole(config)
    whole(config)
    assert says(config)
    again(target)
    assert says(config) is None


def test_the_marker_elsewhere_is_gone(world: World, bed: Bed, config: Path) -> None:
    marker = bed.home / "elsewhere" / "state-began"
    config.write_text(f'state_marker = "{marker}"\n{config.read_text()}')
    whole(config)
    whole(config)
    assert says(config)
    marker.unlink()
    assert says(config) is None
    whole(config)
    assert marker.exists()


def test_what_is_kept_is_torn_or_gone(bed: Bed, config: Path) -> None:
    kept = bed.home / "state" / "rest" / "check"
    os.truncate(kept, 100)
    assert says(config) is None
    kept.unlink()
    assert says(config) is None


@pytest.fixture
def later(config: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Move the clock, and the seconds since boot."""
    clock, boot = time.time, rest.since_boot

    def move(seconds: float, since_boot: float) -> None:
        monkeypatch.setattr(time, "time", lambda: clock() + seconds)
        monkeypatch.setattr(rest, "since_boot", lambda: boot() + since_boot)

    return move


def test_time_goes_on(config: Path, later: Callable[[float, float], None]) -> None:
    later(3600, 3600)
    assert says(config)
    later(3600, 3590)
    assert says(config) is None, "the clock was set on"
    later(-60, 0)
    assert says(config) is None, "the clock was set back"
    later(40 * 86_400, 40 * 86_400)
    assert says(config) is None, "something has expired by then"
    later(-3600, -3600)
    assert says(config) is None, "before it was kept"


def test_another_boot(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "boot_id"
    other.write_text("another\n")
    monkeypatch.setattr(rest, "BOOT_ID", other)
    assert says(config) is None


def test_another_release_of_the_client(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "__version__", "9.9.9")
    assert says(config) is None


def test_somebody_else_at_work(bed: Bed, config: Path) -> None:
    with exclusive(bed.home / "state" / "lock", "A test"):
        assert says(config) is None
    assert says(config)


def test_anything_but_a_304(world: World, web: Web, config: Path) -> None:
    def garbage(handler: Handler) -> None:
        handler.wfile.write(b"\0" * 100)

    web.answer("/poll/", b"", 500)
    assert says(config) is None
    web.lies["/poll/"] = garbage
    assert says(config) is None
    web.lies.clear()
    world.show(WARDS, world.rollouts[-1])
    world.stop(world.rollouts[-1])
    world.show(WARDS, world.rollouts[-1])
    assert says(config) is None


def test_nobody_answers(web: Web, config: Path) -> None:
    def hang_up(handler: Handler) -> None:
        handler.close_connection = True

    web.lies["/poll/"] = hang_up
    assert says(config) is None


def test_nothing_is_kept_of_any_other_outcome(world: World, bed: Bed, config: Path) -> None:
    (bed.home / "state" / "rest" / "check").unlink()
    world.roll_out(world.release("2.0.0", NEW + NEW))
    whole(config)
    whole(config)
    assert says(config) is None
    assert not (bed.home / "state" / "rest" / "check").exists()


def test_nothing_is_kept_behind_a_proxy(bed: Bed, web: Web, config: Path) -> None:
    kept = bed.home / "state" / "rest" / "check"
    kept.unlink()
    bed.change(proxy=web.url)
    path = bed.write_config()
    for _ in range(2):
        with suppress(SystemExit):
            run(group, ["check", "--config", str(path)])
    assert not kept.exists()


@pytest.mark.parametrize("counted", [False, True])
def test_nothing_is_kept_where_a_tpm_guards_the_memory(
    bed: Bed, config: Path, counted: bool
) -> None:
    """It may fail without a change of any file, and a whole check says so."""
    kept = bed.home / "state" / "rest" / "check"
    kept.unlink()
    counter, file = Fake(), bed.home / "state" / "memory.json"
    if counted:
        memory.save(file, msgspec.structs.replace(memory.load(file), counter=counter.value))

    def build(path: Path) -> Context:
        made = context.build(path)
        return replace(made, counter=counter) if counted else made

    for _ in range(3):
        outcome = resting.watched(config, build, check.check, text=str, json=str)
        assert outcome.outcome == "nothing_to_do"
    assert kept.exists() != counted


def test_it_ends_when_a_report_falls_due(
    fleet: Fleet, world: World, bed: Bed, later: Callable[[float, float], None]
) -> None:
    bed.change(report_interval_seconds=7200)
    assert bed.enrol().outcome == "enrolled"
    path = bed.write_config()
    whole(path)
    whole(path)
    assert says(path)
    later(7100, 7100)
    assert says(path)
    later(7300, 7300)
    assert says(path) is None


@pytest.mark.parametrize(
    ("line", "config", "as_json"),
    [
        ("check", "/etc/interlock/gateway.toml", False),
        ("check --json", "/etc/interlock/gateway.toml", True),
        ("--config a check", "a", False),
        ("check --json --config a", "a", True),
    ],
)
def test_a_plain_check_is_known(line: str, config: str, as_json: bool) -> None:
    assert rest.asked(line.split()) == (Path(config), as_json)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "update",
        "--json check",
        "check check",
        "check --json --json",
        "check --config",
        "--config a check --config b",
        "check --help",
        "check --config=a",
        "check -- x",
    ],
)
def test_everything_else_is_the_command_lines(line: str) -> None:
    assert rest.asked(line.split()) is None
