"""The demo's firmware: which two builds are chosen, and that what is kept is checked again.

A small archive of real .deb files stands in for Debian's; apt and dpkg are the machine's own.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tarfile
from pathlib import Path

import msgspec
import pytest

from infra.demo.firmware import obtain
from interlock_core.errors import ConfigurationError, NotFoundError, TransientError
from interlock_core.names import Version

ARCHITECTURE = subprocess.run(
    ["dpkg", "--print-architecture"], check=True, capture_output=True, text=True
).stdout.strip()


class Archive:
    """A flat Debian archive in a directory, and apt settings that name it alone."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "archive"
        self.folder.mkdir()
        self.index = self.folder / "Packages"
        self.index.touch()
        sources = folder / "sources.list"
        sources.write_text(f"deb [trusted=yes] copy:{self.folder} ./\n")
        settings = folder / "apt.conf"
        settings.write_text(
            f'Dir::Etc::SourceList "{sources}";\nDir::Etc::SourceParts "/dev/null";\n'
        )
        monkeypatch.setenv("APT_CONFIG", str(settings))

    def add(self, abi: str, version: str, suffix: str = "") -> None:
        name = f"linux-image-{abi}-cloud-{ARCHITECTURE}{suffix}"
        root = self.folder / "roots" / f"{name}_{version}"
        doc = root / "usr" / "share" / "doc" / name
        doc.mkdir(parents=True)
        (doc / "copyright").write_text("Files: *\nLicense: GPL-2\n\nFiles: x\nLicense: X11\n")
        (root / "boot").mkdir()
        (root / "boot" / f"vmlinuz-{abi}").write_bytes(f"kernel {abi} {version}".encode() * 999)
        (root / "DEBIAN").mkdir()
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: {ARCHITECTURE}\n"
            "Maintainer: Kernel People <kernel@example.org>\nBuilt-Using: linux (= 6.1.7-1)\n"
            "Description: a kernel\n"
        )
        (root / "DEBIAN" / "control").write_text(control)
        deb = self.folder / f"{len(list(self.folder.glob('*.deb')))}.deb"
        subprocess.run(
            ["dpkg-deb", "--build", "--root-owner-group", "-Znone", root, deb],
            check=True,
            capture_output=True,
        )
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        with self.index.open("a") as index:
            index.write(
                f"{control}Filename: {deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n\n"
            )

    def vanish(self) -> None:
        self.folder.rename(self.folder.with_name("gone"))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    return Archive(tmp_path, monkeypatch)


@pytest.fixture
def stocked(archive: Archive) -> Archive:
    archive.add("6.1.0-9", "6.1.9-1")
    archive.add("6.1.0-10", "1:6.1.10-1~deb12u1")
    archive.add("6.1.0-8", "6.1.8-1")
    archive.add("6.1.0-11", "6.1.11-1", suffix="-unsigned")
    archive.add("5.10.0-30", "5.10.200-1")
    archive.add("5.10.0-31", "5.10.201-1")
    archive.add("6.12.1+deb12", "6.12.1-1")
    return archive


@pytest.mark.usefixtures("stocked")
def test_the_newest_two_builds_of_the_newest_series_that_has_two(tmp_path: Path) -> None:
    old, new = obtain(tmp_path / "build", None, None)
    assert old.source_package == f"linux-image-6.1.0-9-cloud-{ARCHITECTURE}=6.1.9-1"
    assert new.source_package == f"linux-image-6.1.0-10-cloud-{ARCHITECTURE}=1:6.1.10-1~deb12u1"
    assert (old.version, new.version) == ("6.1.9-1", "6.1.10-1-deb12u1")
    for one in (old, new):
        assert msgspec.convert(one.version, Version)
        content = one.path.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (one.length, one.sha256)
        assert one.licence.startswith("GPL-2 and others")
    with tarfile.open(new.path) as image:
        assert "./boot/vmlinuz-6.1.0-10" in image.getnames()


@pytest.mark.usefixtures("stocked")
def test_the_sbom_is_of_the_image_and_calls_itself_incomplete(tmp_path: Path) -> None:
    old, _ = obtain(tmp_path / "build", None, None)
    bill = json.loads(old.sbom.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": old.sha256}]
    [component] = bill["components"]
    assert component["purl"].endswith(f"-cloud-{ARCHITECTURE}@6.1.9-1?arch={ARCHITECTURE}")
    assert component["pedigree"]["ancestors"][0]["version"] == "6.1.7-1"
    assert bill["compositions"][0]["aggregate"] == "incomplete"


def test_what_is_kept_needs_no_archive_and_a_changed_image_is_obtained_again(
    stocked: Archive, tmp_path: Path
) -> None:
    first = obtain(tmp_path / "build", None, None)
    first[1].path.write_bytes(b"not what was obtained")
    assert obtain(tmp_path / "build", None, None) == first
    assert hashlib.sha256(first[1].path.read_bytes()).hexdigest() == first[1].sha256
    stocked.vanish()
    assert obtain(tmp_path / "build", None, None) == first


def test_an_archive_with_one_build_is_said_plainly(archive: Archive, tmp_path: Path) -> None:
    archive.add("6.1.0-9", "6.1.9-1")
    with pytest.raises(NotFoundError, match=r"6\.1\.9-1.*OLD=path NEW=path"):
        obtain(tmp_path / "build", None, None)


def test_an_archive_that_cannot_be_reached_is_a_transient_fault_with_apt_s_words(
    archive: Archive, tmp_path: Path
) -> None:
    archive.vanish()
    with pytest.raises(TransientError, match=re.escape(str(archive.folder))):
        obtain(tmp_path / "build", None, None)


def test_images_of_one_s_own(tmp_path: Path) -> None:
    old, new = tmp_path / "gateway-1.2.0.img", tmp_path / "gateway-1.3.0.img"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    one, other = obtain(tmp_path / "build", old, new)
    assert (one.path, one.version, one.length) == (old, "1.2.0", 3)
    assert (other.path, other.version) == (new, "1.3.0")
    bill = json.loads(one.sbom.read_text())
    assert bill["compositions"][0]["aggregate"] == "unknown"
    assert bill["components"][0]["hashes"] == [{"alg": "SHA-256", "content": one.sha256}]


def test_versions_that_file_names_do_not_tell_apart_come_from_the_bytes(tmp_path: Path) -> None:
    old, new = tmp_path / "old.img", tmp_path / "new.img"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    one, other = obtain(tmp_path / "build", old, new)
    assert one.version == f"sha256-{hashlib.sha256(b'old').hexdigest()[:12]}"
    assert one.version != other.version
    assert msgspec.convert(one.version, Version)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("a.img", None, "belong together"), ("a.img", "a.img", "same bytes"), ("a.img", "b", "b: No")],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, old: str, new: str | None, said: str) -> None:
    (tmp_path / "a.img").write_bytes(b"a")
    with pytest.raises(ConfigurationError, match=said):
        obtain(tmp_path / "build", tmp_path / old, tmp_path / new if new else None)
