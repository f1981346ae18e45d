"""``interlock-client power-cuts``: an integrator's installer, tried in every state."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from interlock_client.boot import BootEnvironment
from interlock_client.cli import edge, group
from tests.client.test_destination import loop_device

OLD = b"old firmware " * 400
NEW = b"new firmware " * 420

WHICH = "#!/bin/sh\necho slots/$(cat boot/active)\n"

# A whole installer: writes the slot that does not run, flushes it and its name, then switches.
GOOD = """#!/bin/sh
set -e
active=$(cat boot/active)
if [ "$active" = a ]; then to=b; else to=a; fi
if [ "$(head -c 5460 slots/$active)" = "$(cat $1)" ]; then exit 0; fi
dd if=$1 of=slots/$to bs=2048 conv=fsync 2> dd.log
sync slots
echo $to > boot/.active
sync boot/.active
mv boot/.active boot/active
sync boot
"""

FAULTS = {
    "a slot that is not flushed": (" conv=fsync", ""),
    "a switch before the slot is flushed": (
        "dd if=$1 of=slots/$to bs=2048 conv=fsync 2> dd.log\nsync slots\n",
        "dd if=$1 of=slots/$to bs=2048 2> dd.log\n",
    ),
    "a new slot whose name is not flushed": ("sync slots\n", ""),
    "a switch that is not atomic": (
        "mv boot/.active boot/active",
        "cat boot/.active > boot/active",
    ),
    "a switch whose content is not flushed": ("sync boot/.active\n", ""),
}


def build(home: Path, installer: str = GOOD, **settings: Any) -> Path:
    for name in ("slots", "boot", "images"):
        (home / name).mkdir(parents=True)
    (home / "slots" / "a").write_bytes(OLD)
    (home / "images" / "old.img").write_bytes(OLD)
    (home / "images" / "new.img").write_bytes(NEW)
    (home / "boot" / "active").write_text("a\n")
    for name, text in (("install.sh", installer), ("which-slot.sh", WHICH)):
        (home / name).write_text(text)
        (home / name).chmod(0o755)
    given = {
        "watch": ["slots", "boot"],
        "command": ["./install.sh", "images/new.img"],
        "boots": ["./which-slot.sh"],
        "good": ["images/old.img", "images/new.img"],
        "final": ["boot/active"],
        **settings,
    }
    path = home / "power-cuts.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in given.items() if value is not None]
    path.write_text("\n".join(lines) + "\n")
    return path


def contents(home: Path) -> dict[str, bytes]:
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and path.name != "dd.log"
    }


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: object) -> tuple[int, dict[str, Any]]:
        with pytest.raises(SystemExit) as caught:
            edge.run(group, ["power-cuts", *map(str, words), "--json"])
        assert isinstance(caught.value.code, int)
        return caught.value.code, json.loads(capsys.readouterr().out)

    return run


def test_a_whole_installer(tmp_path: Path, said: Any) -> None:
    scenario = build(tmp_path / "bench")
    before = contents(tmp_path / "bench")
    code, found = said(scenario)
    assert (code, found["outcome"], found["reason"]) == (0, "good", "crash_safe")
    assert found["tried"] > 60
    assert found["distinct"] > 40
    assert found["run_again"] == found["distinct"]
    assert found["limited"] is False
    assert contents(tmp_path / "bench") == before, "what stood there is put back"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str, tmp_path: Path, said: Any) -> None:
    scenario = build(tmp_path / "bench", GOOD.replace(*FAULTS[fault]))
    before = contents(tmp_path / "bench")
    code, found = said(scenario, "--samples", 2)
    assert (code, found["reason"]) == (20, "not_crash_safe")
    assert found["bad_states"] >= 1
    first = found["bad"][0]
    assert len(first["lost"]) == 1, "one lost operation is enough, and it is named"
    assert contents(tmp_path / "bench") == before
    # By its number, the same again.
    keep = tmp_path / "kept"
    code, again = said(scenario, "--samples", 2, "--state", first["state"], "--keep", keep)
    assert (code, again["bad"][0]["problem"]) == (20, first["problem"])
    assert first["problem"] in (keep / "state.txt").read_text()
    assert (keep / "0-slots" / "a").read_bytes() == OLD
    assert (keep / "1-boot").is_dir()


def test_a_re_run_that_does_not_mend(tmp_path: Path, said: Any) -> None:
    """A half-written slot is taken for a whole one: nothing bad boots, and it never ends well."""
    careless = GOOD.replace("dd if", "[ -s slots/$to ] || dd if")
    code, found = said(build(tmp_path / "bench", careless))
    assert (code, found["reason"]) == (20, "not_crash_safe")
    assert found["bad"][0]["problem"].startswith("run again: ")


def test_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = build(tmp_path / "bench", GOOD.replace(" conv=fsync", ""))
    with pytest.raises(SystemExit) as caught:
        edge.run(group, ["power-cuts", str(scenario), "--samples", "0"])
    assert caught.value.code == 20
    captured = capsys.readouterr()
    assert "slots/b boots, and holds none of images/old.img, images/new.img" in captured.err
    assert "not on the disk: 1 write slots/b, bytes 0 to 2048" in captured.err
    assert "states tried" in captured.err


def test_operations_are_listed(tmp_path: Path, said: Any) -> None:
    code, found = said(build(tmp_path / "bench"), "--operations")
    assert code == 0
    assert found["operations"][:2] == [
        "0 make the name slots/b",
        "1 write slots/b, bytes 0 to 2048",
    ]
    assert found["operations"][-2:] == ["9 rename boot/.active to boot/active", "10 flush boot"]


def test_the_sample_is_a_scenario(tmp_path: Path, said: Any) -> None:
    code, found = said("--sample")
    assert code == 0
    build(tmp_path / "bench")
    scenario = tmp_path / "bench" / "sample.toml"
    scenario.write_text(found["text"])
    code, found = said(scenario)
    assert (code, found["reason"]) == (0, "crash_safe")


def test_with_a_gateways_own_boot_environment(tmp_path: Path, said: Any) -> None:
    """No script tells what boots: the boot environment of ``--config`` does."""
    home = tmp_path / "bench"
    scenario = build(
        home, boots=None, final=[], command=["./arm.sh"], watch=["slots", "environment"]
    )
    (home / "gateway.toml").write_text(
        '[installer]\nkind = "slots"\na = "slots/a"\nb = "slots/b"\n'
        'boot_environment = "environment"\nbooted = "booted"\n'
    )
    (home / "booted").write_text("a\n")
    (home / "environment").mkdir()
    (home / "slots" / "b").write_bytes(NEW)
    script = (
        "#!/bin/sh\nexec python3 -c 'from interlock_client import boot;from pathlib import Path;"
        'e=boot.BootEnvironment(Path("environment"), Path("booted"));'
        'e.change(lambda s: boot.commit(s, "b"))\'\n'
    )
    (home / "arm.sh").write_text(script.replace("python3", sys.executable))
    (home / "arm.sh").chmod(0o755)
    code, found = said(scenario, "--config", home / "gateway.toml", "--samples", 0)
    assert (code, found["reason"]) == (0, "crash_safe"), found
    assert BootEnvironment(home / "environment", home / "booted").load().active == "a"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"boots": None}, "Nothing says what boots"),
        ({"good": ["images/none.img"]}, "There is no image"),
        ({"good": ["images/new.img"]}, "Before the command, this is not good"),
        ({"command": ["false"]}, "failed without any power cut"),
        ({"command": ["true"], "boots": ["echo", "slots/none"]}, "cannot be read"),
        ({"watch": ["install.sh"]}, "neither a directory nor a block device"),
        ({"colour": "blue"}, "colour"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
    ],
)
def test_a_scenario_that_will_not_do(
    settings: dict[str, Any], why: str, tmp_path: Path, said: Any
) -> None:
    code, found = said(build(tmp_path / "bench", **settings))
    assert (code, found["outcome"]) == (2, "error")
    assert why in found["detail"]


def test_what_is_not_there_is_said(tmp_path: Path, said: Any) -> None:
    scenario = build(tmp_path / "bench")
    assert said()[1]["reason"] == "usage"
    assert said(tmp_path / "none.toml")[1]["reason"] == "not_found"
    assert "fewer" in said(scenario, "--state", 10_000)[1]["detail"]
    assert "there already" in said(scenario, "--keep", tmp_path)[1]["detail"]


def test_what_is_not_watched_is_said(tmp_path: Path, said: Any) -> None:
    code, found = said(build(tmp_path / "bench"), "--samples", 0)
    assert (code, found["not_watched"]) == (0, ["dd.log"])


@pytest.mark.parametrize("flushed", [True, False])
def test_a_block_device(flushed: bool, tmp_path: Path, said: Any) -> None:
    backing = tmp_path / "backing"
    backing.write_bytes(b"\xff" * 16384)
    device = loop_device(backing)
    if device is None:
        pytest.skip("only root makes loop devices, with losetup")
    try:
        installer = f"""#!/bin/sh
set -e
dd if=$1 of={device} bs=2048 {"conv=fsync" if flushed else ""} 2> dd.log
echo {device} > boot/.active
sync boot/.active
mv boot/.active boot/active
sync boot
"""
        scenario = build(
            tmp_path / "bench", installer, watch=["boot", device], boots=["cat", "boot/active"]
        )
        (tmp_path / "bench" / "boot" / "active").write_text("slots/a\n")
        code, found = said(scenario, "--samples", 0)
        assert code == (0 if flushed else 20), found
        assert Path(device).read_bytes() == b"\xff" * 16384
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_the_sample_installer(tmp_path: Path, said: Any) -> None:
    """What ships as a beginning for integrators: written, armed, and kept after its first boot."""
    home = tmp_path / "bench"
    script = files("interlock_client").joinpath("samples/installer.sh").read_text()
    places = {
        "store=/srv/gateway ": f"store={home}/store ",
        "state=/srv/gateway-boot ": f"state={home}/boot ",
        "agent=/usr/bin/interlock-client ": f"agent={home}/agent.sh ",
    }
    for old, new in places.items():
        assert old in script
        script = script.replace(old, new)
    cycle = """#!/bin/sh
set -e
./installer.sh invalidate b
./installer.sh install b 9 9< images/new.tar < wanted
./installer.sh arm b 3
"""
    again = """#!/bin/sh
set -e
if [ "$(cat boot/booted)" = b ]; then ./installer.sh commit b; else ./cycle.sh; fi
"""
    scenario = build(
        home,
        watch=["store", "boot"],
        ignore=["booted"],
        command=["./cycle.sh"],
        again=["./again.sh"],
        boots=["sh", "-c", "echo store/$(./installer.sh select)/rootfs"],
        check=["sh", "-c", "s=$(cat boot/booted); cmp store/$s/rootfs store/$s/appfs"],
        final=[],
    )
    scripts = {"installer": script, "cycle": cycle, "again": again, "agent": "#!/bin/sh\n"}
    for name, text in scripts.items():
        (home / f"{name}.sh").write_text(text)
        (home / f"{name}.sh").chmod(0o755)
    for side in "ab":
        (home / "store" / side).mkdir(parents=True)
        (home / "store" / side / "rootfs").write_bytes(OLD)
        (home / "store" / side / "appfs").write_bytes(OLD)
    with tarfile.open(home / "images" / "new.tar", "w") as archive:
        for name in ("rootfs", "appfs"):
            archive.add(home / "images" / "new.img", f"{name}.img")
    (home / "wanted").write_text(f'{{"length":1,"sha256":"{"0" * 64}"}}')
    (home / "boot" / "line").write_text("a - 0 ab -\n")
    code, found = said(scenario, "--samples", 0)
    assert (code, found["reason"]) == (0, "crash_safe"), found
    assert found["distinct"] > 40


@pytest.mark.parametrize("rerun", ["all", "class", "none"])
def test_what_is_run_again(rerun: str, tmp_path: Path, said: Any) -> None:
    """States that differ only in leftovers are judged each, and run again once, or as one asks."""
    command = ["sh", "-c", "echo begun > boot/.begun; sync boot; echo done > boot/done"]
    scenario = build(tmp_path / "bench", command=command, final=[], leftovers=[".begun"])
    code, found = said(scenario, "--samples", 0, "--rerun", rerun)
    assert (code, found["reason"]) == (0, "crash_safe")
    # The file ``done``: not there, empty, zeros, garbage, whole.
    assert found["distinct"] > 5
    assert found["run_again"] == {"all": found["distinct"], "class": 5, "none": 0}[rerun]
