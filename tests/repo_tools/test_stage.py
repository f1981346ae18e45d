"""A release becomes a signing event, or is refused by name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata, Targets

from interlock_core import durable
from interlock_core.release import read_image
from interlock_core.tuf_metadata import issued_of
from interlock_repo.event import SourceFile
from interlock_repo.staging import measure
from tests.repo_tools.world import CYCLONEDX, PRODUCT, World, role, tool

MANAGERS = ("rosa", "raul")
SPDX: dict[str, Any] = {
    "spdxVersion": "SPDX-2.3",
    "SPDXID": "SPDXRef-DOCUMENT",
    "dataLicense": "CC0-1.0",
    "name": "fw",
    "documentNamespace": "https://example.org/fw",
    "creationInfo": {"created": "2030-01-01T00:00:00Z", "creators": ["Tool: x"]},
    "packages": [{"name": "linux", "SPDXID": "SPDXRef-linux", "downloadLocation": "NOASSERTION"}],
}


def metadata(event: Path) -> Targets:
    [file] = (event / "metadata").iterdir()
    return Metadata[Targets].from_bytes(file.read_bytes()).signed


def test_a_release_carries_facts_evidence_and_bytes(delegated: World, tmp_path: Path) -> None:
    made = delegated.make("stage", tmp_path / "e", delegated.release(), "--json")
    assert made.code == 0, made.err
    assert made.answer["read_aloud"] in made.err
    targets = metadata(tmp_path / "e")
    path = f"{PRODUCT}/1.0.0/fw.img"
    image = read_image(path, targets.targets[path].custom)
    content = (tmp_path / "e" / "targets" / path).read_bytes()
    digest = sha256(content).hexdigest()
    assert targets.version == 1
    assert issued_of(targets) is not None
    assert targets.targets[path].hashes == {"sha256": digest}
    assert [(s.name, s.length, s.sha256) for s in image.slots] == [("rootfs", len(content), digest)]
    assert (image.release_counter, image.markets, image.udi_di) == (1, ("DE", "FR"), None)
    assert {(r.kind, r.path) for r in image.references} == {
        ("sbom", f"{PRODUCT}/1.0.0/sbom.cdx.json"),
        ("notes", f"{PRODUCT}/1.0.0/notes.md"),
    }
    assert targets.targets[f"{PRODUCT}/1.0.0/sbom.cdx.json"].custom == {
        "kind": "evidence", "product": PRODUCT, "version": "1.0.0",
        "evidence": "sbom", "format": "CycloneDX 1.6 JSON",
    }  # fmt: skip


def test_the_next_release_follows_and_keeps_what_was_released(
    delegated: World, tmp_path: Path
) -> None:
    delegated.in_force("stage", delegated.release(), MANAGERS)
    made = delegated.make("stage", tmp_path / "e", delegated.release("1.1.0", 2))
    assert made.code == 0, made.err
    targets = metadata(tmp_path / "e")
    assert targets.version == 2
    assert {f"{PRODUCT}/1.0.0/fw.img", f"{PRODUCT}/1.1.0/fw.img"} <= targets.targets.keys()
    assert f"+ {PRODUCT}/1.1.0/fw.img: {PRODUCT} 1.1.0, release counter 2" in made.out
    assert "1.0.0" not in made.out
    assert not (tmp_path / "e" / "targets" / PRODUCT / "1.0.0").exists()


def test_several_images_with_names_hardware_and_slots_of_their_own(
    delegated: World, tmp_path: Path
) -> None:
    slots = f'[{{ name = "rootfs", length = 7, sha256 = "{"0" * 64}" }}]'
    images = (
        '[{ file = "fw.img", name = "a.img", slot = "boot" }, '
        f'{{ file = "fw.img", name = "b.img", hardware_ids = ["cg-300"], slots = {slots} }}]'
    )
    made = delegated.make("stage", tmp_path / "e", delegated.release(images=images))
    assert made.code == 0, made.err
    targets = metadata(tmp_path / "e").targets
    a, b = (
        read_image(p, targets[p].custom)
        for p in (f"{PRODUCT}/1.0.0/a.img", f"{PRODUCT}/1.0.0/b.img")
    )
    assert (a.hardware_ids, a.slots[0].name) == (("cg-200",), "boot")
    assert (b.hardware_ids, b.slots[0].length) == (("cg-300",), 7)


def test_what_slots_hold_is_read_from_files_that_are_not_published(
    delegated: World, tmp_path: Path
) -> None:
    spec = delegated.release(
        images='[{ file = "fw.img", contents = { rootfs = "root.ext4", appfs = "app.sqfs" } }]'
    )
    (spec.parent / "root.ext4").write_bytes(b"root" * 9)
    (spec.parent / "app.sqfs").write_bytes(b"app")
    made = delegated.make("stage", tmp_path / "e", spec)
    assert made.code == 0, made.err
    path = f"{PRODUCT}/1.0.0/fw.img"
    image = read_image(path, metadata(tmp_path / "e").targets[path].custom)
    assert {(slot.name, slot.length, slot.sha256) for slot in image.slots} == {
        ("rootfs", 36, sha256(b"root" * 9).hexdigest()),
        ("appfs", 3, sha256(b"app").hexdigest()),
    }
    assert not list((tmp_path / "e").rglob("root.ext4"))
    # Whoever signs makes it again from what lies in the event.
    assert delegated.sign(tmp_path / "e", MANAGERS[0]).code == 0


REFUSED: dict[str, tuple[dict[str, str | None], int, str]] = {
    "no SBOM": ({"sbom": None}, 20, "no_sbom"),
    "missing SBOM": ({"sbom": '"none.json"'}, 2, "not_found"),
    "missing image": ({"images": '[{ file = "none.img" }]'}, 2, "not_found"),
    "image is a directory": ({"images": '[{ file = "." }]'}, 2, "not_found"),
    "unknown product": ({"product": '"other"'}, 20, "unknown_product"),
    "product interlock": ({"product": '"interlock"'}, 20, "unknown_product"),
    "outside the delegation": (
        {"images": '[{ file = "fw.img", name = "../../other/1/fw.img" }]'}, 20,
        "outside_delegation",
    ),
    "one level too deep": (
        {"images": '[{ file = "fw.img", name = "x/fw.img" }]'}, 20, "outside_delegation",
    ),
    "a name that no path may have": (
        {"images": '[{ file = "fw.img", name = ".hidden" }]'}, 20, "bad_path",
    ),
    "two files of one name": (
        {"images": '[{ file = "fw.img", name = "notes.md" }]'}, 20, "name_twice",
    ),
    "floor above the counter": ({"raises_floor_to": "2"}, 20, "malformed"),
    "barrier not below the counter": ({"min_counter_installed": "1"}, 20, "malformed"),
    "slot and slots": (
        {"images": '[{ file = "fw.img", slot = "a", slots = [] }]'}, 2, "configuration",
    ),
    "slots and contents": (
        {"images": '[{ file = "fw.img", slots = [], contents = { a = "fw.img" } }]'}, 2,
        "configuration",
    ),
    "no contents": ({"images": '[{ file = "fw.img", contents = {} }]'}, 2, "configuration"),
    "missing contents": (
        {"images": '[{ file = "fw.img", contents = { a = "none.img" } }]'}, 2, "not_found",
    ),
    "a slot of no name": (
        {"images": '[{ file = "fw.img", contents = { "A B" = "fw.img" } }]'}, 2, "configuration",
    ),
    "no slots": ({"images": '[{ file = "fw.img", slots = [] }]'}, 20, "malformed"),
    "unknown key": ({"colour": '"blue"'}, 2, "configuration"),
    "missing fact": ({"release_counter": None}, 2, "configuration"),
    "no markets": ({"markets": "[]"}, 20, "malformed"),
    "no image": ({"images": "[]"}, 2, "configuration"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name_and_nothing_is_made(delegated: World, tmp_path: Path, case: str) -> None:
    changes, code, reason = REFUSED[case]
    made = delegated.make("stage", tmp_path / "e", delegated.release(changes=changes), "--json")
    assert (made.code, made.answer["reason"]) == (code, reason), made.err
    assert not (tmp_path / "e").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("counter", [1, 2])
def test_the_release_counter_must_rise(delegated: World, tmp_path: Path, counter: int) -> None:
    delegated.in_force("stage", delegated.release(counter=2), MANAGERS)
    spec = delegated.release("1.1.0", counter)
    made = delegated.make("stage", tmp_path / "e", spec, "--json")
    assert (made.code, made.answer["reason"]) == (20, "counter_not_raised")
    assert "take 3 or more" in made.err


def test_a_version_is_used_once(delegated: World, tmp_path: Path) -> None:
    delegated.in_force("stage", delegated.release(), MANAGERS)
    again = delegated.release("1.0.0", 2, images='[{ file = "fw.img", name = "new.img" }]')
    made = delegated.make("stage", tmp_path / "e", again, "--json")
    assert (made.code, made.answer["reason"]) == (20, "version_reused")
    same = delegated.release("1.0.0", 2)
    (same.parent / "fw.img").write_bytes(b"other bytes")
    made = delegated.make("stage", tmp_path / "e", same, "--json")
    assert (made.code, made.answer["reason"]) == (20, "target_changed")


def _spdx(**changes: Any) -> str:
    return json.dumps(SPDX | changes)


SBOMS = {
    "not JSON": ("}", None),
    "nested without end": ("[" * 200_000, None),
    "no format": ("{}", None),
    "not UTF-8": ("\udcff", None),
    "old CycloneDX": (json.dumps(CYCLONEDX | {"specVersion": "1.3"}), None),
    "CycloneDX with a field that there is not": (json.dumps(CYCLONEDX | {"score": 1}), None),
    "CycloneDX without components": (json.dumps(CYCLONEDX | {"components": []}), None),
    "CycloneDX with a nameless component": (json.dumps(CYCLONEDX | {"components": [{}]}), None),
    "SPDX 3": (_spdx(spdxVersion="SPDX-3.0"), None),
    "SPDX with a package from nowhere": (_spdx(packages=[{"name": "linux"}]), None),
    "SPDX without packages": (_spdx(packages=[]), None),
    "SPDX without author": (_spdx(creationInfo={}), None),
    "CycloneDX 1.5": (json.dumps(CYCLONEDX | {"specVersion": "1.5"}), "CycloneDX 1.5 JSON"),
    "CycloneDX 1.4": (json.dumps(CYCLONEDX | {"specVersion": "1.4"}), "CycloneDX 1.4 JSON"),
    "SPDX 2.2": (
        _spdx(
            spdxVersion="SPDX-2.2",
            packages=[
                {
                    "name": "linux",
                    "SPDXID": "SPDXRef-linux",
                    "downloadLocation": "NOASSERTION",
                    "licenseConcluded": "NOASSERTION",
                    "licenseDeclared": "NOASSERTION",
                    "copyrightText": "NOASSERTION",
                }
            ],
        ),
        "SPDX 2.2 JSON",
    ),
    "SPDX 2.3": (_spdx(), "SPDX 2.3 JSON"),
}


@pytest.mark.parametrize("case", SBOMS)
def test_what_is_an_sbom(delegated: World, tmp_path: Path, case: str) -> None:
    text, format_ = SBOMS[case]
    spec = delegated.release()
    (spec.parent / "sbom.cdx.json").write_text(text, errors="surrogateescape")
    made = delegated.make("stage", tmp_path / "e", spec, "--json")
    if format_ is None:
        assert (made.code, made.answer["reason"]) == (20, "bad_sbom"), made.err
        return
    assert made.code == 0, made.err
    custom = metadata(tmp_path / "e").targets[f"{PRODUCT}/1.0.0/sbom.cdx.json"].custom
    assert custom is not None
    assert custom["format"] == format_


@pytest.mark.parametrize("name", ["fw.img", "notes.md"])
def test_empty_files_are_refused(delegated: World, tmp_path: Path, name: str) -> None:
    spec = delegated.release()
    (spec.parent / name).write_bytes(b"")
    made = delegated.make("stage", tmp_path / "e", spec, "--json")
    assert (made.code, made.answer["reason"]) == (20, "empty_file")


def test_an_image_that_cannot_be_read_is_named(delegated: World, tmp_path: Path) -> None:
    # A regular file of Linux whose first page answers EIO, to root too.
    spec = delegated.release(images='[{ file = "/proc/self/mem", name = "fw.img" }]')
    made = delegated.make("stage", tmp_path / "e", spec, "--json")
    assert (made.code, made.answer["reason"]) == (30, "disk")
    assert "/proc/self/mem" in made.err
    assert not (tmp_path / "e").exists()


def _longer(image: Path) -> None:
    with image.open("ab") as file:
        file.write(b"more")


def _same_length(image: Path) -> None:
    image.write_bytes(b"x" * image.stat().st_size)


def _gone(image: Path) -> None:
    image.unlink()


CHANGES: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "longer": (_longer, 20, "image_changed"),
    "same length": (_same_length, 20, "image_changed"),
    "gone": (_gone, 2, "not_found"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_an_image_that_changes_while_it_is_read(
    delegated: World, tmp_path: Path, case: str
) -> None:
    change, code, reason = CHANGES[case]
    spec = delegated.release()
    image = spec.parent / "fw.img"
    done: list[str] = []

    def meanwhile(act: str, path: Path) -> None:
        # The image was measured before the event is assembled, and is copied after this.
        if not done and ".e.partial" in str(path):
            done.append(act)
            change(image)

    with durable.watching(meanwhile):
        made = delegated.make("stage", tmp_path / "e", spec, "--json")
    assert done
    assert (made.code, made.answer["reason"]) == (code, reason), made.err
    assert "fw.img" in made.err
    assert not (tmp_path / "e").exists()
    assert not (tmp_path / ".e.partial").exists()


def test_measuring_is_exact(tmp_path: Path) -> None:
    data = os.urandom(durable.CHUNK * 2 + 17)
    (tmp_path / "x").write_bytes(data)
    assert measure(tmp_path / "x") == SourceFile(
        tmp_path / "x", len(data), sha256(data).hexdigest()
    )


def test_an_event_is_never_overwritten(staged: Path, delegated: World) -> None:
    before = sorted(path.stat().st_mtime_ns for path in staged.rglob("*"))
    made = delegated.make("stage", staged, delegated.release(), "--json")
    assert (made.code, made.answer["reason"]) == (20, "event_exists")
    assert sorted(path.stat().st_mtime_ns for path in staged.rglob("*")) == before


def test_a_supplier_reaches_no_other_product(delegated: World, tmp_path: Path) -> None:
    text = role("products.bridge", 1, "sven")
    delegated.in_force("delegate", delegated.delegations(text), ("ada", "ben"))
    event = tmp_path / "e"
    delegated.make("stage", event, delegated.release())
    refused = delegated.sign(event, "sven", "--json")
    assert (refused.code, refused.answer["reason"]) == (20, "wrong_key")
    assert "rosa" in refused.err
    bridge = delegated.release(product='"bridge"')
    assert delegated.make("stage", tmp_path / "b", bridge).code == 0
    assert delegated.sign(tmp_path / "b", "sven").code == 0
    assert tool("status", tmp_path / "b").code == 0


def test_the_lifetime_can_be_chosen(delegated: World, tmp_path: Path) -> None:
    delegated.make("stage", tmp_path / "e", delegated.release(), "--lifetime-days", "20")
    targets = metadata(tmp_path / "e")
    issued = issued_of(targets)
    assert issued is not None
    assert (targets.expires - issued).days == 20
