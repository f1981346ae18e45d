"""Opening an event: whatever was changed is named, and nobody signs it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Targets

from interlock_core import wire
from interlock_core.tuf_metadata import serialise
from tests.repo_tools.world import PRODUCT, ROSTER_HOLDERS, World, tool


def files(event: Path) -> list[str]:
    return sorted(p.relative_to(event).as_posix() for p in event.rglob("*") if p.is_file())


def refused(event: Path, *names: str) -> str:
    """The event is refused by review and by status, and a file is named; the reason."""
    answers = [tool(act, event, "--json") for act in ("review", "status")]
    for said in answers:
        assert said.code in {2, 20}, (said.code, said.err)
        assert any(name in said.err for name in names), said.err
    return str(answers[0].answer["reason"])


@pytest.fixture(scope="module")
def all_kinds(delegation: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("events")
    world = delegation.copied(tmp_path_factory.mktemp("world"))
    world.in_force("roster", world.roster(), ROSTER_HOLDERS)
    world.make("roster", place / "roster", world.roster(operators=("olivia",)))
    world.in_force("stage", world.release(), ("rosa", "raul"))
    world.make("stage", place / "release", world.release("1.1.0", 2))
    world.make("delegate", place / "delegations", world.delegations(""))
    for person, name in (("rosa", "release"), ("tom", "roster"), ("ada", "delegations")):
        assert world.sign(place / name, person).code == 0
    return place


@pytest.fixture
def events(all_kinds: Path, tmp_path: Path) -> dict[str, Path]:
    """One event of each kind, the release and the roster following others, all half signed."""
    shutil.copytree(all_kinds, tmp_path / "events")
    return {name: tmp_path / "events" / name for name in KINDS}


KINDS = ("release", "roster", "delegations")
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[:-1],
    "emptied": lambda _: b"",
    "one bit flipped": lambda data: data[:-2] + bytes([data[-2] ^ 1]) + data[-1:],
    "something appended": lambda data: data + b" ",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", KINDS)
def test_each_file_damaged_in_turn_is_named(
    events: dict[str, Path], kind: str, damage: str
) -> None:
    event = events[kind]
    for name in files(event):
        whole = (event / name).read_bytes()
        (event / name).write_bytes(DAMAGE[damage](whole))
        refused(event, name)
        (event / name).write_bytes(whole)
    assert tool("review", event).code == 0


@pytest.mark.parametrize("kind", KINDS)
def test_each_file_removed_in_turn_is_named(events: dict[str, Path], kind: str) -> None:
    event = events[kind]
    for name in files(event):
        if name.startswith("signatures/"):
            continue  # a signature that was never made looks the same
        whole = (event / name).read_bytes()
        (event / name).unlink()
        refused(event, name)
        (event / name).write_bytes(whole)
    assert tool("review", event).code == 0


@pytest.mark.parametrize("kind", KINDS)
def test_any_two_files_swapped_are_refused(events: dict[str, Path], kind: str) -> None:
    event = events[kind]
    names = files(event)
    for one, other in zip(names, names[1:] + names[:1], strict=True):
        before = (event / one).read_bytes(), (event / other).read_bytes()
        (event / one).write_bytes(before[1])
        (event / other).write_bytes(before[0])
        refused(event, one, other)
        (event / one).write_bytes(before[0])
        (event / other).write_bytes(before[1])


@pytest.mark.parametrize(
    "name",
    ["extra", "metadata/9.x.json", "base/2.root.json", f"targets/{PRODUCT}/1.0.0/more", ".hidden"],
)
def test_an_extra_file_is_named(staged: Path, name: str) -> None:
    (staged / name).write_bytes(b"{}")
    assert refused(staged, name) == "event_damaged"


def test_what_an_interrupted_write_left_is_no_part_of_the_event(staged: Path) -> None:
    (staged / "signatures" / ".interlock-0123456789abcdef.partial").write_bytes(b"{")
    assert tool("review", staged).code == 0


def test_a_link_is_refused(staged: Path, tmp_path: Path) -> None:
    image = staged / "targets" / PRODUCT / "1.0.0" / "fw.img"
    image.rename(tmp_path / "fw.img")
    image.symlink_to(tmp_path / "fw.img")
    assert refused(staged, "fw.img") == "event_damaged"
    image.unlink()
    (tmp_path / "fw.img").rename(image)
    (staged / "more").symlink_to(tmp_path, target_is_directory=True)
    assert refused(staged, "more") == "event_damaged"


def test_an_edited_image_is_not_signed(staged: Path, delegated: World) -> None:
    image = staged / "targets" / PRODUCT / "1.0.0" / "fw.img"
    image.write_bytes(b"evil" + image.read_bytes()[4:])
    said = delegated.sign(staged, "rosa", "--json")
    assert (said.code, said.answer["reason"]) == (20, "event_damaged")
    assert "fw.img" in said.err
    assert not list((staged / "signatures").iterdir())


def test_duplicate_keys_in_the_event_file(staged: Path) -> None:
    event = staged / "event.json"
    text = event.read_text()
    event.write_text(text.replace('"version":1', '"version":1,"version":2'))
    refused(staged, "event.json")
    assert "stands twice" in tool("review", staged).err


@pytest.mark.parametrize(
    ("field", "value"),
    [("kind", "roster"), ("role", "interlock"), ("version", 2), ("version", 0), ("base", {}),
     ("metadata_sha256", "0" * 64), ("type", "urn:interlock:event:v2")],
)  # fmt: skip
def test_each_field_of_the_event_file_counts(staged: Path, field: str, value: object) -> None:
    event = json.loads((staged / "event.json").read_bytes())
    event[field] = value
    (staged / "event.json").write_bytes(wire.encode(event))
    refused(staged, str(staged))


def edited(event: Path, change: Callable[[Targets], None]) -> None:
    """Change the metadata and make event.json agree, as a forger would."""
    [file] = (event / "metadata").iterdir()
    metadata = Metadata[Targets].from_bytes(file.read_bytes())
    change(metadata.signed)
    file.write_bytes(serialise(metadata))
    stated = json.loads((event / "event.json").read_bytes())
    stated["metadata_sha256"] = wire.sha256_hex(metadata.signed_bytes)
    (event / "event.json").write_bytes(wire.encode(stated))


def _another_counter(targets: Targets) -> None:
    custom = targets.targets[f"{PRODUCT}/1.0.0/fw.img"].custom
    assert custom is not None
    custom["release_counter"] = 7


def test_a_change_after_the_first_signature_voids_it_and_is_said(
    staged: Path, delegated: World
) -> None:
    delegated.sign(staged, "rosa")
    before = json.loads((staged / "event.json").read_bytes())["metadata_sha256"]
    edited(staged, _another_counter)
    after = json.loads((staged / "event.json").read_bytes())["metadata_sha256"]
    for said in (delegated.sign(staged, "raul", "--json"), tool("review", staged, "--json")):
        assert (said.code, said.answer["reason"]) == (20, "event_changed")
        assert "The event changed after it was signed: rosa" in said.err
        assert before in said.err
        assert after in said.err


def test_before_any_signature_an_edit_only_makes_another_event(
    staged: Path, delegated: World, tmp_path: Path
) -> None:
    first = tool("review", staged, "--json").answer
    shutil.copytree(staged, tmp_path / "copy")
    edited(staged, _another_counter)
    second = tool("review", staged, "--json").answer
    assert second["read_aloud"] != first["read_aloud"]
    said = tool("status", staged, tmp_path / "copy", "--json")
    assert (said.code, said.answer["reason"]) == (20, "different_events")


def _no_sbom(targets: Targets) -> None:
    custom = targets.targets[f"{PRODUCT}/1.0.0/fw.img"].custom
    assert custom is not None
    custom["references"] = []


def _dangling(targets: Targets) -> None:
    del targets.targets[f"{PRODUCT}/1.0.0/notes.md"]


def _elsewhere(targets: Targets) -> None:
    target = targets.targets.pop(f"{PRODUCT}/1.0.0/fw.img")
    target.path = "../../../outside"
    targets.targets[target.path] = target


def _no_facts(targets: Targets) -> None:
    targets.targets[f"{PRODUCT}/1.0.0/fw.img"].unrecognized_fields = {}


def _other_version(targets: Targets) -> None:
    custom = targets.targets[f"{PRODUCT}/1.0.0/fw.img"].custom
    assert custom is not None
    custom["version"] = "9.9.9"


def _no_sha256(targets: Targets) -> None:
    targets.targets[f"{PRODUCT}/1.0.0/fw.img"].hashes = {"sha512": "0" * 128}


def _side_channel(targets: Targets) -> None:
    targets.targets[f"{PRODUCT}/1.0.0/fw.img"].unrecognized_fields["side"] = "channel"


FORGED = {
    "a field beside the facts": (_side_channel, "bad_facts"),
    "no SBOM": (_no_sbom, "no_sbom"),
    "a reference to nothing": (_dangling, "missing_reference"),
    "a path outside": (_elsewhere, "outside_delegation"),
    "no facts": (_no_facts, "bad_facts"),
    "facts of another version": (_other_version, "bad_facts"),
    "no SHA-256": (_no_sha256, "bad_hashes"),
}


@pytest.mark.parametrize("case", FORGED)
def test_an_event_made_by_other_means_keeps_the_same_rules(staged: Path, case: str) -> None:
    change, reason = FORGED[case]
    edited(staged, change)
    assert refused(staged, "1.ward-gateway.json", "fw.img") == reason


def test_a_forged_base_is_refused(events: dict[str, Path]) -> None:
    """Who hides a change in what the event is said to follow needs the holders' signatures."""
    event = events["release"]
    shutil.rmtree(event / "signatures")
    file = event / "base" / f"1.{PRODUCT}.json"
    metadata = Metadata[Targets].from_bytes(file.read_bytes())
    metadata.signed.targets.clear()
    file.write_bytes(serialise(metadata))
    stated = json.loads((event / "event.json").read_bytes())
    stated["base"][file.name] = wire.sha256_hex(file.read_bytes())
    (event / "event.json").write_bytes(wire.encode(stated))
    assert refused(event, file.name) == "untrusted_metadata"


def test_a_root_of_ones_own_must_be_what_the_event_rests_on(
    staged: Path, delegated: World, people: Path, tmp_path: Path
) -> None:
    assert tool("review", staged, "--root", delegated.root_file).code == 0
    other = World(tmp_path / "other", people)
    said = delegated.sign(staged, "rosa", "--root", other.root_file, "--json")
    assert (said.code, said.answer["reason"]) == (20, "untrusted_metadata")
    assert not list((staged / "signatures").iterdir())


def test_a_base_that_nothing_rests_on_is_refused(staged: Path) -> None:
    extra = staged / "base" / "7.other.json"
    extra.write_bytes(b"{}")
    stated = json.loads((staged / "event.json").read_bytes())
    stated["base"][extra.name] = wire.sha256_hex(b"{}")
    (staged / "event.json").write_bytes(wire.encode(stated))
    assert refused(staged, extra.name) == "event_damaged"


def test_there_is_no_event(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none"):
        said = tool("review", place, "--json")
        assert (said.code, said.answer["reason"]) == (2, "not_found")
