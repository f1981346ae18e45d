"""RAUC, in earnest: Debian's, with bundles that it made, on slots that are files and devices."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock_client.boot import BootEnvironment
from interlock_client.config import load_installer
from interlock_client.contents import signed
from interlock_client.install import Wanted, apart, rauc, rauc_files
from interlock_client.install.rauc import RaucInstaller
from interlock_client.installers import Rauc
from interlock_client.journal import Journal, State, save
from interlock_client.tables import SlotPaths
from interlock_core.errors import ConfigurationError, RefusedError, TransientError
from interlock_core.wire import sha256_hex
from tests.client.bed import Bed
from tests.client.bundles import COMPATIBLE, Signer, bundle, needs_rauc, signer, slots
from tests.client.web import Web
from tests.client.world import Release, World
from tests.packaging.tree import TOP
from tests.support.waiting import wait_for

pytestmark = needs_rauc

ROOT = hashlib.shake_256(b"root").digest(300_000)
APP = hashlib.shake_256(b"app").digest(50_000)


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Signer]:
    directory = tmp_path_factory.mktemp("signers")
    return {name: signer(directory, name) for name in ("vendor", "stranger")}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, people: dict[str, Signer]) -> dict[str, bytes]:
    """Bundles by what is to be said of them."""
    directory = tmp_path_factory.mktemp("bundles")
    vendor = people["vendor"]
    return {
        "good": bundle(directory, vendor, {"rootfs": ROOT}),
        "both": bundle(directory, vendor, {"rootfs": ROOT, "appfs": APP}),
        "stranger's": bundle(directory, people["stranger"], {"rootfs": ROOT}),
        "other machine's": bundle(directory, vendor, {"rootfs": ROOT}, compatible="tea-kettle"),
    }


def installer(home: Path, people: dict[str, Signer], *names: str, **changes: Any) -> RaucInstaller:
    """RAUC on sides of slot files, with slot ``a`` running."""
    names = names or ("rootfs",)
    a, b = (SlotPaths({name: home / f"{name}-{side}" for name in names}) for side in "ab")
    settings = Rauc(
        a=a,
        b=b,
        boot_environment=home / "boot",
        booted=home / "booted",
        compatible=COMPATIBLE,
        keyring=people["vendor"].certificate,
        **changes,
    )
    for path in a:
        path.write_bytes(b"runs")
    BootEnvironment(home / "boot", home / "booted").boot()
    return RaucInstaller(settings, home / "state")


def wanted(data: bytes, images: dict[str, bytes]) -> Wanted:
    return Wanted("ward-gateway/1/x.raucb", len(data), sha256_hex(data), signed(slots(images)))


def put(to: RaucInstaller, data: bytes) -> None:
    """As the transfer does."""
    with to.destination().open() as writer:
        writer.write(data)
        writer.finish()


def install(to: RaucInstaller, data: bytes, images: dict[str, bytes]) -> dict[str, str]:
    """Fetch, install, and read back."""
    what = wanted(data, images)
    to.check(what)
    put(to, data)
    journal_says(to, what.sha256)
    to.install(what)
    return dict(to.read_back("b", what.contents))


@contextmanager
def device(backing: Path, size: int) -> Iterator[str]:
    """A block device of so many bytes."""
    with backing.open("wb") as file:
        file.truncate(size)
    made = subprocess.run(
        ["losetup", "--find", "--show", backing], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        yield made
    finally:
        subprocess.run(["losetup", "--detach", made], check=True)


def guard_says(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """RAUC asks somebody else than the agent before it writes."""
    monkeypatch.setattr(rauc_files, "guard_script", lambda _: f"#!/bin/sh\n{script}\n")


def shell_waits(path: Path) -> str:
    """Shell that waits for a file."""
    return f"while [ ! -e {path} ]; do sleep 0.02; done"


def pids(program: str, mark: str) -> list[int]:
    """Processes of a program that name ``mark``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0] == program and any(mark in word for word in words):
            found.append(int(entry.parent.name))
    return found


def leftovers(mark: Path) -> list[str]:
    """Loop devices on files below ``mark``, and what is mounted below it."""
    loops = subprocess.run(["losetup", "--all"], capture_output=True, text=True, check=True)
    lines = [*loops.stdout.splitlines(), *Path("/proc/mounts").read_text().splitlines()]
    return [line for line in lines if str(mark) in line]


def journal_says(to: RaucInstaller, sha256: str) -> None:
    """As the agent's journal while it installs."""
    to.state.mkdir(exist_ok=True)
    save(to.state / "journal.json", Journal().at(State.DOWNLOADING, unpacking=sha256))


class TestInstalling:
    def test_rauc_writes_the_side_that_does_not_run_and_arms_nothing(
        self, tmp_path: Path, people: dict[str, Signer], made: dict[str, bytes]
    ) -> None:
        to = installer(tmp_path, people)
        (tmp_path / "rootfs-b").write_bytes(b"old" * 200_000)
        assert install(to, made["good"], {"rootfs": ROOT}) == {"rootfs": sha256_hex(ROOT)}
        assert (tmp_path / "rootfs-b").read_bytes() == ROOT, "and nothing behind it"
        assert (tmp_path / "rootfs-a").read_bytes() == b"runs"
        standing = to.standing()
        assert (standing.armed, standing.active, standing.good) == (None, "a", ("a",))
        assert leftovers(tmp_path) == []

    def test_several_slots_of_one_side(
        self, tmp_path: Path, people: dict[str, Signer], made: dict[str, bytes]
    ) -> None:
        images = {"rootfs": ROOT, "appfs": APP}
        to = installer(tmp_path, people, "rootfs", "appfs")
        found = install(to, made["both"], images)
        assert found == {name: sha256_hex(image) for name, image in images.items()}
        assert (tmp_path / "appfs-a").read_bytes() == b"runs"

    def test_block_devices_under_the_names_that_udev_gives_them(
        self, tmp_path: Path, people: dict[str, Signer], made: dict[str, bytes]
    ) -> None:
        to = installer(tmp_path, people)
        with device(tmp_path / "disk", 1 << 20) as found:
            (tmp_path / "rootfs-b").symlink_to(found)
            assert install(to, made["good"], {"rootfs": ROOT}) == {"rootfs": sha256_hex(ROOT)}
        assert (tmp_path / "disk").read_bytes()[: len(ROOT)] == ROOT

    def test_a_state_directory_where_nothing_may_be_executed(
        self, tmp_path: Path, people: dict[str, Signer], made: dict[str, bytes]
    ) -> None:
        to = installer(tmp_path, people)
        to.state.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", to.state], check=True)
        try:
            assert install(to, made["good"], {"rootfs": ROOT}) == {"rootfs": sha256_hex(ROOT)}
        finally:
            subprocess.run(["umount", to.state], check=True)

    def test_it_may_be_done_again(
        self, tmp_path: Path, people: dict[str, Signer], made: dict[str, bytes]
    ) -> None:
        to = installer(tmp_path, people)
        for _ in range(2):
            found = install(to, made["good"], {"rootfs": ROOT})
            assert found == {"rootfs": sha256_hex(ROOT)}


class TestRefusals:
    @pytest.mark.parametrize(
        ("which", "why"),
        [
            ("stranger's", "signature verification failed"),
            ("other machine's", "Expected 'ward-gateway' but bundle manifest has 'tea-kettle'"),
            ("both", "No target slot for class appfs"),
        ],
    )
    def test_a_bundle_that_rauc_does_not_accept(
        self,
        tmp_path: Path,
        people: dict[str, Signer],
        made: dict[str, bytes],
        which: str,
        why: str,
    ) -> None:
        to = installer(tmp_path, people)
        with pytest.raises(RefusedError, match=why) as refused:
            install(to, made[which], {"rootfs": ROOT})
        assert refused.value.reason == "installer_refused"
        assert to.standing().good == ("a",)
        assert (tmp_path / "rootfs-a").read_bytes() == b"runs"

    @pytest.mark.parametrize(
        ("setting", "why"),
        [
            ({"check_purpose": "codesign"}, "certificate purpose"),
            ({"check_crl": True}, "unable to get certificate CRL"),
        ],
    )
    def test_what_else_the_settings_ask_of_the_signature(
        self,
        tmp_path: Path,
        people: dict[str, Signer],
        made: dict[str, bytes],
        setting: dict[str, Any],
        why: str,
    ) -> None:
        strict = installer(tmp_path, people, **setting)
        with pytest.raises(RefusedError, match=why) as refused:
            install(strict, made["good"], {"rootfs": ROOT})
        assert refused.value.reason == "installer_refused"
        signed_then = msgspec.structs.replace(
            installer(tmp_path, people).settings, use_bundle_signing_time=True
        )
        lenient = RaucInstaller(signed_then, strict.state)
        assert install(lenient, made["good"], {"rootfs": ROOT}) == {"rootfs": sha256_hex(ROOT)}

    def test_a_hook_of_a_bundle_says_no_and_has_no_network(
        self, tmp_path: Path, people: dict[str, Signer]
    ) -> None:
        script = "readlink /proc/self/ns/net >&2; exit 10"
        asks = bundle(tmp_path, people["vendor"], {"rootfs": ROOT}, hook=script)
        with pytest.raises(RefusedError, match=r"Hook returned: net:\[\d+\]") as refused:
            install(installer(tmp_path, people), asks, {"rootfs": ROOT})
        assert refused.value.reason == "installer_refused"
        assert str(Path("/proc/self/ns/net").readlink()) not in str(refused.value)

    def test_what_is_no_bundle(self, tmp_path: Path, people: dict[str, Signer]) -> None:
        with pytest.raises(RefusedError, match="Invalid bundle format") as refused:
            install(installer(tmp_path, people), b"no " + ROOT, {"rootfs": ROOT})
        assert refused.value.reason == "installer_refused"

    def test_a_slot_that_the_settings_do_not_name(
        self, tmp_path: Path, people: dict[str, Signer], made: dict[str, bytes]
    ) -> None:
        with pytest.raises(RefusedError, match="names no such") as refused:
            install(installer(tmp_path, people), made["both"], {"rootfs": ROOT, "appfs": APP})
        assert refused.value.reason == "installer_refused"

    def test_a_copy_that_is_swapped_while_rauc_is_started(
        self,
        tmp_path: Path,
        people: dict[str, Signer],
        made: dict[str, bytes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        to = installer(tmp_path, people)
        other = bundle(tmp_path, people["vendor"], {"rootfs": APP})
        run, swaps = apart.run, list[Path]()

        def swapped(*args: Any, **more: Any) -> apart.Ended:
            copy = tmp_path / "state" / "spool" / "target"
            if copy.exists():
                copy.unlink()
                copy.write_bytes(other)
                swaps.append(copy)
            return run(*args, **more)

        monkeypatch.setattr(apart, "run", swapped)
        assert install(to, made["good"], {"rootfs": ROOT}) == {"rootfs": sha256_hex(ROOT)}
        assert len(swaps) == 1


class TestNobodyElse:
    def test_what_lies_about_installs_nothing(
        self, tmp_path: Path, people: dict[str, Signer], made: dict[str, bytes]
    ) -> None:
        """Somebody starts RAUC with the files that the agent wrote."""
        to = installer(tmp_path, people)
        install(to, made["good"], {"rootfs": ROOT})
        (tmp_path / "rootfs-b").write_bytes(b"stands")
        home = tmp_path / "state" / "rauc"
        path = tmp_path / "again.raucb"
        path.write_bytes(made["good"])
        with path.open() as copy:
            ended = apart.run(
                [
                    *rauc.WITH_GUARD,
                    *(f"{home}/guard", "dbus-run-session", f"--config-file={home}/bus.conf", "--"),
                    *("env", "DBUS_STARTER_BUS_TYPE=session", "rauc"),
                    *(f"--conf={home}/system.conf", "install", apart.BUNDLE),
                ],
                stdin=copy.fileno(),
                scratch=home / "run",
                seconds=30,
            )
        assert ended.code == 1
        assert "The agent is not installing" in ended.output
        assert "Pre-install handler error" in ended.output
        assert (tmp_path / "rootfs-b").read_bytes() == b"stands"

    def test_while_it_installs_nobody_reaches_its_bus(
        self,
        tmp_path: Path,
        people: dict[str, Signer],
        made: dict[str, bytes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        to = installer(tmp_path, people)
        guard_says(monkeypatch, f"touch {tmp_path}/up; {shell_waits(tmp_path / 'go')}")
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(install, to, made["good"], {"rootfs": ROOT})
            wait_for((tmp_path / "up").exists)
            (pid,) = pids("dbus-run-session", str(tmp_path))
            found = list((tmp_path / "state" / "rauc" / "run").iterdir())
            bus = f"/proc/{pid}/cwd/bus"
            assert Path(bus).is_socket(), "root is there"
            reached = subprocess.run(
                ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ls", "-L", bus],
                capture_output=True,
                text=True,
                check=False,
            )
            (tmp_path / "go").touch()
            assert done.result() == {"rootfs": sha256_hex(ROOT)}
        assert found == []
        assert reached.returncode != 0
        assert "Permission denied" in reached.stderr
        for name in ("rauc", "spool"):
            assert (tmp_path / "state" / name).stat().st_mode & 0o777 == 0o700


class TestFaults:
    def test_rauc_is_killed_and_the_next_run_installs(
        self,
        tmp_path: Path,
        people: dict[str, Signer],
        made: dict[str, bytes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        to = installer(tmp_path, people, install_timeout_seconds=60)
        with monkeypatch.context() as patch:
            guard_says(patch, "kill -9 $PPID")
            with pytest.raises(TransientError, match="RAUC did not install") as failed:
                install(to, made["good"], {"rootfs": ROOT})
        assert failed.value.reason == "installer_failed"
        assert leftovers(tmp_path) == []
        assert to.standing().armed is None
        assert install(to, made["good"], {"rootfs": ROOT}) == {"rootfs": sha256_hex(ROOT)}

    def test_rauc_takes_too_long(
        self,
        tmp_path: Path,
        people: dict[str, Signer],
        made: dict[str, bytes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        to = installer(tmp_path, people, install_timeout_seconds=1)
        guard_says(monkeypatch, "sleep 60")
        with pytest.raises(TransientError, match="within 1 s and was ended") as failed:
            install(to, made["good"], {"rootfs": ROOT})
        assert failed.value.reason == "installer_failed"
        assert leftovers(tmp_path) == []

    def test_a_slot_that_fills_up(
        self, tmp_path: Path, people: dict[str, Signer], made: dict[str, bytes]
    ) -> None:
        to = installer(tmp_path, people)
        with device(tmp_path / "disk", 128 << 10) as found:
            (tmp_path / "rootfs-b").symlink_to(found)
            with pytest.raises(TransientError, match="takes 131072 bytes") as full:
                to.check(wanted(made["good"], {"rootfs": ROOT}))
            assert full.value.reason == "no_space"
            put(to, made["good"])
            journal_says(to, sha256_hex(made["good"]))
            with pytest.raises(TransientError, match="No space left on device") as failed:
                to.install(wanted(made["good"], {"rootfs": ROOT}))
        assert failed.value.reason == "installer_failed"

    def test_what_is_missing_is_said_before_anything_is_fetched(
        self, tmp_path: Path, people: dict[str, Signer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        what = wanted(b"x", {"rootfs": ROOT})
        lost = installer(tmp_path, people)
        moved = msgspec.structs.replace(lost.settings, keyring=tmp_path / "none.pem")
        with pytest.raises(ConfigurationError, match=r"There is no keyring .*none\.pem"):
            RaucInstaller(moved, lost.state).check(what)
        odd = msgspec.structs.replace(lost.settings, compatible="a\nb")
        with pytest.raises(ConfigurationError, match="cannot be told"):
            RaucInstaller(odd, lost.state).check(what)
        monkeypatch.setattr(rauc, "RAUC", "rauc-is-not-here")
        with pytest.raises(ConfigurationError, match="no program rauc-is-not-here"):
            lost.check(what)


class TestAgent:
    """Whole updates, from the poll on."""

    @pytest.fixture
    def gateway(self, tmp_path: Path, world: World, web: Web, people: dict[str, Signer]) -> Bed:
        home = tmp_path / "gateway"
        settings = Rauc(
            a=SlotPaths.one(home / "slots" / "a"),
            b=SlotPaths.one(home / "slots" / "b"),
            boot_environment=home / "boot",
            booted=home / "booted",
            compatible=COMPATIBLE,
            keyring=people["vendor"].certificate,
        )
        bed = Bed(home, world, web, installer=settings)
        bed.power_on()
        return bed

    def release(self, world: World, version: str, data: bytes, image: bytes) -> Release:
        return world.release(version, data, slots=slots({"rootfs": image}))

    def test_two_updates_each_into_the_side_that_does_not_run(
        self,
        tmp_path: Path,
        world: World,
        gateway: Bed,
        people: dict[str, Signer],
        made: dict[str, bytes],
    ) -> None:
        world.roll_out(self.release(world, "1.0.0", made["good"], ROOT))
        assert gateway.update().outcome == "rebooting"
        assert gateway.power_on() == "b"
        assert gateway.confirm().outcome == "confirmed"
        assert gateway.running == ROOT
        assert gateway.check().reason == "already_installed"
        second = bundle(tmp_path, people["vendor"], {"rootfs": APP})
        world.roll_out(self.release(world, "2.0.0", second, APP))
        assert gateway.install().outcome == "confirmed"
        assert (gateway.slot("a"), gateway.slot("b")) == (APP, ROOT)
        assert not (gateway.home / "state" / "spool" / "target").exists()

    def test_a_bundle_with_other_content_than_was_signed_for_the_slot(
        self, world: World, gateway: Bed, made: dict[str, bytes]
    ) -> None:
        world.roll_out(self.release(world, "1.0.0", made["good"], APP))
        outcome = gateway.update()
        assert (outcome.outcome, outcome.reason) == ("refused", "slot_mismatch")
        assert gateway.environment.load().armed is None
        assert not gateway.wants_reboot

    def test_the_agent_is_killed_while_rauc_writes(
        self,
        world: World,
        gateway: Bed,
        made: dict[str, bytes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        world.roll_out(self.release(world, "1.0.0", made["good"], ROOT))
        up = gateway.home / "up"
        with monkeypatch.context() as patch:
            guard_says(patch, f"touch {up}; sleep 600")
            agent = os.fork()
            if agent == 0:
                try:
                    gateway.update()
                finally:
                    os._exit(1)
            wait_for(up.exists)
            assert leftovers(gateway.home), "RAUC has mounted the bundle"
            os.kill(agent, signal.SIGKILL)
            os.waitpid(agent, 0)
        wait_for(lambda: not leftovers(gateway.home))
        assert gateway.environment.load().armed is None
        assert gateway.power_on() == "a", "a power cut now boots the old firmware"
        assert gateway.install().outcome == "confirmed"
        assert gateway.running == ROOT

    def test_a_strangers_bundle_and_then_the_vendors(
        self, world: World, gateway: Bed, made: dict[str, bytes]
    ) -> None:
        world.roll_out(self.release(world, "1.0.0", made["stranger's"], ROOT))
        outcome = gateway.update()
        assert (outcome.outcome, outcome.reason, outcome.exit_code) == (
            "refused",
            "installer_refused",
            20,
        )
        world.roll_out(self.release(world, "1.0.1", made["good"], ROOT))
        assert gateway.install().outcome == "confirmed"


class TestGuide:
    """What the integrator's guide has people do."""

    def fences(self, kind: str) -> list[str]:
        text = (TOP / "docs" / "guides" / "integrator.md").read_text()
        chapter = text.split("\n## RAUC\n")[1].split("\n## ")[0]
        return re.findall(rf"^```{kind}\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)

    def test_its_bundle_is_installed_with_its_settings(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "rootfs.ext4").write_bytes(ROOT)
        (tmp_path / "appfs.squashfs").write_bytes(APP)
        (script,) = self.fences("sh")
        subprocess.run(["sh", "-e"], input=script, cwd=tmp_path, text=True, check=True)
        release, gateway = self.fences("toml")
        assert tomllib.loads(release)["images"][0]["contents"] == {
            "rootfs": "rootfs.ext4",
            "appfs": "appfs.squashfs",
        }
        for place in ("/etc/interlock/", "/dev/disk/by-partlabel/", "/boot/", "/run/interlock/"):
            gateway = gateway.replace(place, f"{tmp_path}/")
        (tmp_path / "gateway.toml").write_text(gateway)
        settings = load_installer(tmp_path / "gateway.toml")
        assert isinstance(settings, Rauc)
        assert settings.booted is not None
        settings.booted.write_text("a\n")
        data = (tmp_path / "ward-gateway-1.4.0.raucb").read_bytes()
        images = {"rootfs": ROOT, "appfs": APP}
        found = install(RaucInstaller(settings, tmp_path / "state"), data, images)
        assert found == {name: sha256_hex(image) for name, image in images.items()}

    def test_rauc_status_shows_the_boot_state_and_changes_nothing(
        self, tmp_path: Path, bed: Bed, world: World
    ) -> None:
        world.roll_out(world.release("1.0.0", ROOT))
        assert bed.update().outcome == "rebooting"
        backend = tmp_path / "backend"
        backend.write_text(
            f"#!/bin/sh\nINTERLOCK_CONFIG={bed.write_config()} PYTHONPATH={TOP} "
            f'exec {sys.executable} {TOP}/infra/rauc/boot_backend.py "$@"\n'
        )
        backend.chmod(0o755)
        (conf,) = self.fences("ini")
        conf = conf.replace("/usr/lib/interlock/rauc-boot-backend", str(backend))
        slots_ = "".join(
            f"[slot.rootfs.{n}]\ndevice={bed.home}/slots/{side}\ntype=raw\nbootname={side}\n"
            for n, side in enumerate("ab")
        )
        path = tmp_path / "system.conf"
        path.write_text(f"{conf}\n{slots_}")
        home = tmp_path / "bus"
        (home / "run").mkdir(parents=True)
        service = rauc_files.service_file(
            program=apart.find("rauc"), configuration=path, booted="a"
        )
        (home / f"{rauc_files.SERVICE}.service").write_text(service)
        bus = rauc_files.bus_conf(socket=f"{apart.SCRATCH}/bus", services=home)
        (home / "bus.conf").write_text(bus)

        def status(*words: str) -> apart.Ended:
            with Path(os.devnull).open() as nothing:
                return apart.run(
                    [
                        *("dbus-run-session", f"--config-file={home}/bus.conf", "--", "env"),
                        *("DBUS_STARTER_BUS_TYPE=session", "rauc", f"--conf={path}", "status"),
                        *words,
                    ],
                    stdin=nothing.fileno(),
                    scratch=home / "run",
                    seconds=60,
                )

        (line,) = [
            line
            for line in status("--output-format=json").output.splitlines()
            if line.startswith("{")
        ]
        told = json.loads(line)
        good = {name: slot["boot_status"] for one in told["slots"] for name, slot in one.items()}
        assert (told["booted"], told["boot_primary"]) == ("a", "rootfs.1")
        assert good == {"rootfs.0": "good", "rootfs.1": "bad"}
        before = bed.kept()
        refused = status("mark-good", "rootfs.1")
        assert refused.code != 0
        assert "interlock-client alone" in refused.output
        assert bed.kept() == before
