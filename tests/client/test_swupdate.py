"""SWUpdate, in earnest: Debian's, with .swu files signed by OpenSSL, on files and devices."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import tomllib
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock_client.boot import BootEnvironment
from interlock_client.config import load_installer
from interlock_client.contents import SlotContent
from interlock_client.install import Wanted, apart, confined, swupdate
from interlock_client.install.swupdate import SWUpdateInstaller
from interlock_client.installers import SWUpdate
from interlock_client.tables import SlotPaths
from interlock_core.errors import ConfigurationError, RefusedError, TransientError
from interlock_core.release import Slot
from interlock_core.wire import sha256_hex
from tests.client.bed import FACTORY, Bed
from tests.client.swu import HARDWARE, Part, Vendor, needs_swupdate, swu, vendor
from tests.client.web import Web
from tests.client.world import World
from tests.packaging.tree import TOP
from tests.support.waiting import wait_for

pytestmark = needs_swupdate

ROOT = hashlib.shake_256(b"root").digest(300_000)
APP = hashlib.shake_256(b"app").digest(50_000)
DONE = "[INFO ] : SWUPDATE successful ! SWUPDATE successful !\n"
FAILED = "[ERROR] : SWUPDATE failed [0] ERROR : Error streaming rootfs.img\n"
LAST = "[INFO ] : SWUPDATE running :  [endupdate] : SWUpdate was successful !\n"
HOOK = b"#!/bin/sh\nexit 0\n"


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Vendor]:
    directory = tmp_path_factory.mktemp("vendors")
    return {name: vendor(directory, name) for name in ("vendor", "stranger")}


def wanted(data: bytes, images: dict[str, bytes]) -> Wanted:
    contents = tuple(
        SlotContent(name=name, length=len(image), sha256=sha256_hex(image))
        for name, image in images.items()
    )
    return Wanted("ward-gateway/1/x.swu", len(data), sha256_hex(data), contents)


def put(to: SWUpdateInstaller, data: bytes) -> None:
    """As the transfer does."""
    with to.destination().open() as writer:
        writer.write(data)
        writer.finish()


def install(to: SWUpdateInstaller, data: bytes, images: dict[str, bytes]) -> dict[str, str]:
    """Fetch, install, and read back."""
    what = wanted(data, images)
    to.check(what)
    put(to, data)
    to.install(what)
    return dict(to.read_back("b", what.contents))


@contextmanager
def device(backing: Path, size: int) -> Iterator[str]:
    """A block device of so many bytes."""
    backing.write_bytes(bytes(size))
    words = ["losetup", "--find", "--show", str(backing)]
    made = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    try:
        yield made
    finally:
        subprocess.run(["losetup", "--detach", made], check=True)


class Gateway:
    """SWUpdate on sides of slot files, with side ``a`` running."""

    def __init__(self, home: Path, people: dict[str, Vendor], *names: str, **changes: Any) -> None:
        self.home = home
        self.people = people
        self.names = names or ("rootfs",)
        settings = SWUpdate(
            a=self.side("a"),
            b=self.side("b"),
            boot_environment=home / "boot",
            booted=home / "booted",
            certificate=people["vendor"].certificate,
            hardware=HARDWARE,
        )
        settings = msgspec.structs.replace(settings, **changes)
        for path in self.side("a"):
            path.write_bytes(b"runs")
        BootEnvironment(home / "boot", home / "booted").boot()
        self.installer = SWUpdateInstaller(settings, home / "state")
        (home / "state").mkdir()

    def side(self, side: str) -> SlotPaths:
        return SlotPaths({name: self.home / f"{name}-{side}" for name in self.names})

    def made(self, images: dict[str, bytes], by: str = "vendor", **more: Any) -> bytes:
        """A .swu that fills the slots of either side."""
        parts = {
            name: Part(
                data, {side: self.home / f"{name}-{side}" for side in "ab"}, **more.pop(name, {})
            )
            for name, data in images.items()
        }
        return swu(self.home, self.people[by], parts, **more)

    def install(self, data: bytes, images: dict[str, bytes]) -> dict[str, str]:
        return install(self.installer, data, images)

    def refused(self, data: bytes, images: dict[str, bytes] | None = None) -> str:
        with pytest.raises(RefusedError) as caught:
            self.install(data, images or {"rootfs": ROOT})
        assert caught.value.reason == "installer_refused"
        self.stands()
        return str(caught.value)

    def stands(self) -> None:
        """Nothing is armed, and the side that runs is as it was."""
        standing = self.installer.standing()
        assert (standing.armed, standing.active, standing.good) == (None, "a", ("a",))
        for path in self.side("a"):
            assert path.read_bytes() == b"runs"


@pytest.fixture
def gateway(tmp_path: Path, people: dict[str, Vendor]) -> Gateway:
    return Gateway(tmp_path, people)


class TestInstalling:
    def test_it_writes_the_side_that_does_not_run_and_arms_nothing(self, gateway: Gateway) -> None:
        (gateway.home / "rootfs-b").write_bytes(b"old" * 200_000)
        images = {"rootfs": ROOT}
        for _ in range(2):
            assert gateway.install(gateway.made(images), images) == {"rootfs": sha256_hex(ROOT)}
        assert (gateway.home / "rootfs-b").read_bytes() == ROOT, "and nothing behind it"
        gateway.stands()
        assert [path.name for path in (gateway.home / "state").glob("*/*")] == ["target"]

    def test_several_slots_of_one_side(self, tmp_path: Path, people: dict[str, Vendor]) -> None:
        gateway = Gateway(tmp_path, people, "rootfs", "appfs")
        images = {"rootfs": ROOT, "appfs": APP}
        found = gateway.install(gateway.made(images), images)
        assert found == {name: sha256_hex(image) for name, image in images.items()}
        gateway.stands()

    def test_a_block_device_under_the_name_that_udev_gives_it(self, gateway: Gateway) -> None:
        with device(gateway.home / "disk", 1 << 20) as found:
            (gateway.home / "rootfs-b").symlink_to(found)
            images = {"rootfs": ROOT}
            assert gateway.install(gateway.made(images), images) == {"rootfs": sha256_hex(ROOT)}
        assert (gateway.home / "disk").read_bytes()[: len(ROOT)] == ROOT

    def test_a_packed_image(self, gateway: Gateway) -> None:
        image = bytes(300_000)
        squeeze = zlib.compressobj(wbits=31)
        packed = squeeze.compress(image) + squeeze.flush()
        data = gateway.made(
            {"rootfs": packed}, rootfs={"more": 'compressed = "zlib"; installed-directly = true;'}
        )
        assert gateway.install(data, {"rootfs": image}) == {"rootfs": sha256_hex(image)}

    def test_the_boot_loader_is_none_of_its_business(self, gateway: Gateway) -> None:
        extra = 'bootenv: ( { name = "side"; value = "b"; } );'
        data = gateway.made({"rootfs": ROOT}, extra=extra)
        assert gateway.install(data, {"rootfs": ROOT}) == {"rootfs": sha256_hex(ROOT)}
        gateway.stands()


class TestRefusals:
    def test_a_strangers(self, gateway: Gateway) -> None:
        data = gateway.made({"rootfs": ROOT}, by="stranger")
        assert "nobody that `certificate` vouches for" in gateway.refused(data)

    def test_other_hardware(self, gateway: Gateway) -> None:
        data = gateway.made({"rootfs": ROOT}, revision="2.0")
        assert "not for this hardware" in gateway.refused(data)

    def test_another_software_set(self, gateway: Gateway) -> None:
        data = gateway.made({"rootfs": ROOT}, software_set="beta")
        assert "nothing for this software set" in gateway.refused(data)

    def test_an_image_that_is_not_what_was_signed(self, gateway: Gateway) -> None:
        data = bytearray(gateway.made({"rootfs": ROOT}))
        data[data.index(ROOT[:64]) + 1000] ^= 1
        assert "not what its sw-description says" in gateway.refused(bytes(data))

    @pytest.mark.parametrize("data", [b"", b"no archive" * 1000, ROOT])
    def test_what_is_no_swu(self, gateway: Gateway, data: bytes) -> None:
        gateway.refused(data)

    def test_a_slot_that_the_settings_do_not_name(self, gateway: Gateway) -> None:
        images = {"rootfs": ROOT, "appfs": APP}
        assert "names no such" in gateway.refused(gateway.made(images), images)

    def test_an_image_that_would_be_copied_first(self, gateway: Gateway) -> None:
        big = bytes((confined.SCRATCH_MIB + 1) << 20)
        data = gateway.made({"rootfs": big}, rootfs={"more": ""})
        assert "installed-directly = true" in gateway.refused(data, {"rootfs": big})


class TestTheSideThatRuns:
    """Whatever the vendor's own signature covers: it is not reached."""

    def test_is_no_device_to_be_written(self, gateway: Gateway) -> None:
        active = dict.fromkeys("ab", gateway.home / "rootfs-a")
        data = swu(gateway.home, gateway.people["vendor"], {"rootfs": Part(ROOT, active)})
        why = gateway.refused(data)
        assert f"would write to {gateway.home}/rootfs-a, which is no slot" in why

    @pytest.mark.parametrize(
        "section",
        [
            'files: ( {{ filename = "hook"; path = "{active}"; sha256 = "{digest}"; }} );',
            'files: ( {{ filename = "hook"; path = "{home}/new"; sha256 = "{digest}"; }} );',
            (
                'images: ( {{ filename = "hook"; type = "rawfile"; path = "{active}"; '
                'sha256 = "{digest}"; }} );'
            ),
        ],
    )
    def test_nor_is_it_by_other_handlers(self, gateway: Gateway, section: str) -> None:
        extra = section.format(
            active=gateway.home / "rootfs-a", home=gateway.home, digest=sha256_hex(HOOK)
        )
        if extra.startswith("images"):
            parts: dict[str, Part] = {}
            data = swu(
                gateway.home, gateway.people["vendor"], parts, extra=extra, files={"hook": HOOK}
            )
        else:
            data = gateway.made({"rootfs": ROOT}, extra=extra, files={"hook": HOOK})
        with pytest.raises((RefusedError, TransientError)):
            gateway.install(data, {"rootfs": ROOT})
        gateway.stands()
        assert not (gateway.home / "new").exists()

    @pytest.mark.parametrize("scripts", [False, True])
    def test_nor_is_it_by_scripts(
        self, tmp_path: Path, people: dict[str, Vendor], scripts: bool
    ) -> None:
        gateway = Gateway(tmp_path, people, scripts=scripts)
        body = f"#!/bin/sh\necho x >{tmp_path}/rootfs-a; echo x >{tmp_path}/new\nexit 0\n".encode()
        digest = sha256_hex(body)
        extra = f'scripts: ( {{ filename = "hook"; type = "shellscript"; sha256 = "{digest}"; }} );'
        data = gateway.made({"rootfs": ROOT}, extra=extra, files={"hook": body})
        if scripts:
            assert gateway.install(data, {"rootfs": ROOT}) == {"rootfs": sha256_hex(ROOT)}
        else:
            assert "it brings the script hook" in gateway.refused(data)
        gateway.stands()
        assert not (tmp_path / "new").exists()


def swupdates(mark: str) -> list[int]:
    """Processes of SWUpdate whose standard input is a file under ``mark``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            program = (entry / "comm").read_text().strip()
            given = str((entry / "fd" / "0").readlink())
        except OSError:
            continue
        if program == "swupdate" and given.startswith(mark):
            found.append(int(entry.name))
    return found


@pytest.fixture
def slow(gateway: Gateway) -> bytes:
    """A .swu whose script waits for long, if scripts are allowed."""
    body = b"#!/bin/sh\nsleep 600\n"
    digest = sha256_hex(body)
    extra = f'scripts: ( {{ filename = "hook"; type = "shellscript"; sha256 = "{digest}"; }} );'
    return gateway.made({"rootfs": ROOT}, extra=extra, files={"hook": body})


class TestNobodyElse:
    def test_its_sockets_are_out_of_reach(
        self, gateway: Gateway, slow: bytes, tmp_path: Path
    ) -> None:
        to = gateway.installer
        patient = msgspec.structs.replace(to.settings, scripts=True, install_timeout_seconds=3)
        gateway.installer = SWUpdateInstaller(patient, to.state)
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(gateway.install, slow, {"rootfs": ROOT})
            wait_for(lambda: swupdates(str(tmp_path)))
            pid = min(swupdates(str(tmp_path)))
            place = Path(f"/proc/{pid}/root/{confined.SCRATCH}/sockinstctrl")
            wait_for(place.is_socket)
            asked = subprocess.run(
                [
                    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
                    *("ls", str(place)),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            outside = subprocess.run(
                ["swupdate-client", "/dev/null"], capture_output=True, check=False
            )
            listed = Path("/proc/net/unix").read_text()
            with pytest.raises(TransientError, match="within 3 s and was ended"):
                done.result()
        assert "Permission denied" in asked.stderr
        assert outside.returncode != 0
        assert "NotifyServer" not in listed
        assert "sockinstctrl" not in listed
        wait_for(lambda: not swupdates(str(tmp_path)))
        gateway.stands()

    def test_a_direct_call_is_refused_by_the_configuration_of_the_guide(
        self, gateway: Gateway
    ) -> None:
        """As the guide has it in /etc/swupdate.cfg; the agent reads no such file."""
        config, given = gateway.home / "swupdate.cfg", gateway.home / "x.swu"
        config.write_text('globals : { preupdatecmd = "/bin/false"; };\n')
        given.write_bytes(gateway.made({"rootfs": ROOT}))
        slot, scratch = gateway.home / "rootfs-b", gateway.home / "direct"
        slot.write_bytes(b"old")
        scratch.mkdir()
        words = ["swupdate", "-i", str(given), "-k", str(gateway.people["vendor"].certificate)]
        words += ["-e", "stable,b", "-H", HARDWARE]
        called = [
            subprocess.run(
                [*words, *more],
                env=os.environ | {"TMPDIR": str(scratch)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            ).returncode
            for more in (["-f", str(config)], [])
        ]
        assert called == [1, 0], "it is the configuration that refuses"
        slot.write_bytes(b"old")
        subprocess.run([*words, "-f", str(config)], capture_output=True, check=False)
        assert slot.read_bytes() == b"old"


class TestFaults:
    def test_a_slot_that_fills_up(self, gateway: Gateway) -> None:
        with device(gateway.home / "disk", 128 << 10) as found:
            (gateway.home / "rootfs-b").symlink_to(found)
            data = gateway.made({"rootfs": ROOT})
            what = wanted(data, {"rootfs": ROOT})
            with pytest.raises(TransientError, match="takes 131072 bytes"):
                gateway.installer.check(what)
            put(gateway.installer, data)
            with pytest.raises(TransientError, match="SWUpdate did not install") as failed:
                gateway.installer.install(what)
        assert failed.value.reason == "installer_failed"
        gateway.stands()

    def test_a_copy_that_was_changed_is_not_unpacked(self, gateway: Gateway) -> None:
        data = gateway.made({"rootfs": ROOT})
        what = wanted(data, {"rootfs": ROOT})
        put(gateway.installer, data[:-1] + b"?")
        with pytest.raises(RefusedError) as refused:
            gateway.installer.install(what)
        assert refused.value.reason == "hash_mismatch"
        assert not (gateway.home / "rootfs-b").exists()

    def test_what_is_missing_is_said_before_anything_is_fetched(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        what = wanted(b"x", {"rootfs": ROOT})
        to = gateway.installer
        moved = msgspec.structs.replace(to.settings, certificate=gateway.home / "none.pem")
        with pytest.raises(ConfigurationError, match=r"There is no certificate .*none\.pem"):
            SWUpdateInstaller(moved, to.state).check(what)
        monkeypatch.setattr(swupdate, "SWUPDATE", "swupdate-is-not-here")
        with pytest.raises(ConfigurationError, match="no program swupdate-is-not-here"):
            to.check(what)

    @pytest.mark.parametrize(
        ("code", "said", "failed"),
        [
            (0, DONE, False),
            (1, DONE, False),
            (0, "", False),
            (1, "", True),
            (None, DONE, True),
            (0, FAILED + DONE, False),
            (0, FAILED, True),
            (1, FAILED + LAST, True),
            (1, LAST, True),
        ],
    )
    def test_what_its_installer_says_counts_before_its_exit_code(
        self, code: int | None, said: str, failed: bool
    ) -> None:
        """A helper of its own that starts late changes the code: the slots are read back anyhow."""
        ended = apart.Ended(code, said)
        if failed:
            with pytest.raises(TransientError):
                swupdate._judge(ended, "x.swu", 10)
        else:
            swupdate._judge(ended, "x.swu", 10)

    def test_what_it_says_is_shown_printable_and_bounded(self) -> None:
        said = "[ERROR] : SWUPDATE failed [0] ERROR : " + "\x1b[31m" + "x" * 5000 + "\n"
        with pytest.raises(TransientError) as failed:
            swupdate._judge(apart.Ended(1, said), "x.swu", 10)
        assert "\x1b" not in str(failed.value)
        assert len(str(failed.value)) < 600


class TestAgent:
    """Whole updates, from the poll on."""

    @pytest.fixture
    def bed(self, tmp_path: Path, world: World, web: Web, people: dict[str, Vendor]) -> Bed:
        home = tmp_path / "gateway"
        settings = SWUpdate(
            a=SlotPaths.one(home / "slots" / "a"),
            b=SlotPaths.one(home / "slots" / "b"),
            boot_environment=home / "boot",
            booted=home / "booted",
            certificate=people["vendor"].certificate,
            hardware=HARDWARE,
        )
        bed = Bed(home, world, web, installer=settings)
        bed.power_on()
        return bed

    def roll_out(
        self,
        world: World,
        bed: Bed,
        by: Vendor,
        version: str,
        image: bytes,
        *,
        signed: bytes | None = None,
        **more: Any,
    ) -> None:
        """A release of a .swu that holds ``image``."""
        devices = {side: bed.home / "slots" / side for side in "ab"}
        data = swu(bed.home, by, {"rootfs": Part(image, devices)}, **more)
        slot = signed or image
        slots = (Slot(name="rootfs", length=len(slot), sha256=sha256_hex(slot)),)
        world.roll_out(world.release(version, data, slots=slots))

    def test_two_updates_each_into_the_side_that_does_not_run(
        self, world: World, bed: Bed, people: dict[str, Vendor]
    ) -> None:
        self.roll_out(world, bed, people["vendor"], "1.0.0", ROOT)
        assert bed.update().outcome == "rebooting"
        assert bed.power_on() == "b"
        assert bed.confirm().outcome == "confirmed"
        assert bed.running == ROOT
        assert bed.check().reason == "already_installed"
        self.roll_out(world, bed, people["vendor"], "2.0.0", APP)
        assert bed.install().outcome == "confirmed"
        assert (bed.slot("a"), bed.slot("b")) == (APP, ROOT)
        assert not (bed.home / "state" / "spool" / "target").exists()

    def test_other_content_than_was_signed_for_the_slot(
        self, world: World, bed: Bed, people: dict[str, Vendor]
    ) -> None:
        self.roll_out(world, bed, people["vendor"], "1.0.0", ROOT, signed=APP)
        outcome = bed.update()
        assert (outcome.outcome, outcome.reason) == ("refused", "slot_mismatch")
        assert bed.environment.load().armed is None
        assert not bed.wants_reboot

    def test_a_strangers_and_then_the_vendors(
        self, world: World, bed: Bed, people: dict[str, Vendor]
    ) -> None:
        self.roll_out(world, bed, people["stranger"], "1.0.0", ROOT)
        outcome = bed.update()
        assert (outcome.outcome, outcome.reason, int(outcome.exit_code)) == (
            "refused",
            "installer_refused",
            20,
        )
        assert bed.slot("a") == FACTORY
        self.roll_out(world, bed, people["vendor"], "1.0.1", ROOT)
        assert bed.install().outcome == "confirmed"

    def test_the_agent_is_killed_while_it_writes(
        self, world: World, bed: Bed, people: dict[str, Vendor]
    ) -> None:
        body = b"#!/bin/sh\nsleep 600\n"
        extra = 'scripts: ( { filename = "hook"; type = "shellscript"; sha256 = "%s"; } );'
        bed.change(installer=msgspec.structs.replace(bed.settings.installer, scripts=True))
        self.roll_out(
            world,
            bed,
            people["vendor"],
            "1.0.0",
            ROOT,
            extra=extra % sha256_hex(body),
            files={"hook": body},
        )
        mark = str(bed.home)
        agent = os.fork()
        if agent == 0:
            try:
                bed.update()
            finally:
                os._exit(1)
        wait_for(lambda: swupdates(mark))
        os.kill(agent, signal.SIGKILL)
        os.waitpid(agent, 0)
        wait_for(lambda: not swupdates(mark))
        assert bed.environment.load().armed is None
        assert bed.power_on() == "a", "a power cut now boots the old firmware"
        assert bed.running == FACTORY
        self.roll_out(world, bed, people["vendor"], "1.0.1", ROOT)
        assert bed.install().outcome == "confirmed"


class TestTheGuide:
    """What the integrator's guide has people do."""

    def fences(self, kind: str) -> list[str]:
        text = (TOP / "docs" / "guides" / "integrator.md").read_text()
        chapter = text.split("\n## SWUpdate\n")[1].split("\n## ")[0]
        return re.findall(rf"^```{kind}\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)

    def test_its_swu_is_installed_with_its_settings(self, tmp_path: Path) -> None:
        def here(text: str) -> str:
            for place in ("/etc/interlock", "/dev/disk/by-partlabel", "/boot", "/run/interlock"):
                text = text.replace(f"{place}/", f"{tmp_path}/")
            return text

        (tmp_path / "rootfs.ext4").write_bytes(ROOT)
        (tmp_path / "appfs.squashfs").write_bytes(APP)
        (script,) = self.fences("sh")
        subprocess.run(
            ["sh", "-e"],
            input=here(script),
            cwd=tmp_path,
            text=True,
            check=True,
            capture_output=True,
        )
        release, gateway = self.fences("toml")
        assert tomllib.loads(release)["images"][0]["contents"] == {
            "rootfs": "rootfs.ext4",
            "appfs": "appfs.squashfs",
        }
        (tmp_path / "gateway.toml").write_text(here(gateway))
        settings = load_installer(tmp_path / "gateway.toml")
        assert isinstance(settings, SWUpdate)
        (tmp_path / "booted").write_text("a\n")
        data = (tmp_path / "ward-gateway-1.4.0.swu").read_bytes()
        images = {"rootfs": ROOT, "appfs": APP}
        (tmp_path / "state").mkdir()
        found = install(SWUpdateInstaller(settings, tmp_path / "state"), data, images)
        assert found == {name: sha256_hex(image) for name, image in images.items()}
