"""A release is taken back: out of what may be installed, and never forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Targets

from interlock_core.released import images
from interlock_core.withdrawn import withdrawals
from tests.repo_tools.world import PRODUCT, Said, World, tool

SIGNERS = ("rosa", "raul")
WHY = ("--reason", "loses the network after 49 days")


def metadata(event: Path) -> Targets:
    [file] = (event / "metadata").iterdir()
    return Metadata[Targets].from_bytes(file.read_bytes()).signed


def withdraw(world: World, event: Path, version: str, *words: str) -> Said:
    return tool_on(world, "withdraw", event, *WHY, *words, PRODUCT, version)


def tool_on(world: World, act: str, event: Path, *words: str) -> Said:
    last = words[-1]
    return world.make(act, event, Path(last), *words[:-1])


@pytest.fixture
def released(delegated: World) -> World:
    """Three releases: the second is a step that the third asks for."""
    delegated.in_force("stage", delegated.release("1.0.0", 1), SIGNERS)
    delegated.in_force("stage", delegated.release("2.0.0", 2), SIGNERS)
    delegated.in_force("stage", delegated.release("3.0.0", 3, min_counter_installed="2"), SIGNERS)
    return delegated


def test_the_images_leave_and_the_evidence_stays(released: World, tmp_path: Path) -> None:
    made = withdraw(released, tmp_path / "e", "3.0.0")
    assert made.code == 0, made.err
    targets = metadata(tmp_path / "e")
    assert sorted(image.version for image in images(targets).values()) == ["1.0.0", "2.0.0"]
    assert f"{PRODUCT}/3.0.0/sbom.cdx.json" in targets.targets
    said = withdrawals(targets)["3.0.0"]
    assert (said.release_counter, said.reason) == (3, WHY[1])
    assert [gone.path for gone in said.images] == [f"{PRODUCT}/3.0.0/fw.img"]
    assert "a withdrawal: a release that nobody may install any more" in made.out
    assert f"What a gateway could not install any more\n  - {PRODUCT}/3.0.0/fw.img" in made.out
    assert "withdrawal of 3.0.0" in made.out
    assert "left behind" not in made.out
    for person in SIGNERS:
        assert released.sign(tmp_path / "e", person).code == 0
    released.put_in_force(tmp_path / "e")


def test_a_step_that_others_need_is_kept_unless_they_know(released: World, tmp_path: Path) -> None:
    refused = withdraw(released, tmp_path / "e", "2.0.0", "--json")
    assert (refused.code, refused.answer["reason"]) == (20, "stranding")
    assert "1.0.0 on cg-200 in DE gets to counter 1, and the newest has 3" in refused.err
    assert not (tmp_path / "e").exists()
    made = withdraw(released, tmp_path / "e", "2.0.0", "--despite-stranding")
    assert made.code == 0, made.err
    assert "Who would be left behind\n  - 1.0.0: 1.0.0 on cg-200 in DE" in made.out


def test_counter_and_version_stay_used(released: World, tmp_path: Path) -> None:
    event = tmp_path / "w"
    withdraw(released, event, "3.0.0")
    for person in SIGNERS:
        released.sign(event, person)
    released.put_in_force(event)
    for version, counter, reason in (
        ("3.0.0", 4, "version_reused"),
        ("3.0.1", 3, "counter_not_raised"),
        ("3.0.1", 2, "counter_not_raised"),
    ):
        spec = released.release(version, counter)
        made = released.make("stage", tmp_path / "e", spec, "--json")
        assert (made.code, made.answer["reason"]) == (20, reason)
    assert released.make("stage", tmp_path / "e", released.release("3.0.1", 4)).code == 0
    again = withdraw(released, tmp_path / "again", "3.0.0", "--json")
    assert (again.code, again.answer["reason"]) == (20, "unknown_version")


@pytest.mark.parametrize(
    ("product", "version", "reason"),
    [
        (PRODUCT, "9.9.9", "unknown_version"),
        ("other", "1.0.0", "unknown_product"),
        ("interlock", "1.0.0", "unknown_product"),
    ],
)
def test_what_is_not_there_cannot_be_withdrawn(
    released: World, tmp_path: Path, product: str, version: str, reason: str
) -> None:
    made = tool_on(released, "withdraw", tmp_path / "e", *WHY, "--json", product, version)
    assert (made.code, made.answer["reason"]) == (20, reason)
    assert not (tmp_path / "e").exists()


def test_before_the_first_release(delegated: World, tmp_path: Path) -> None:
    made = withdraw(delegated, tmp_path / "e", "1.0.0", "--json")
    assert (made.code, made.answer["reason"]) == (20, "not_released")


@pytest.mark.parametrize("reason", ["", "two\nlines", "x" * 5000])
def test_a_reason_is_one_line(released: World, tmp_path: Path, reason: str) -> None:
    made = tool_on(
        released, "withdraw", tmp_path / "e", "--reason", reason, "--json", PRODUCT, "1.0.0"
    )
    assert made.code == 20, made.out
    assert not (tmp_path / "e").exists()


def test_an_event_that_says_it_is_something_else_is_refused(
    released: World, tmp_path: Path
) -> None:
    """A withdrawal under the title of a release."""
    event = tmp_path / "e"
    withdraw(released, event, "3.0.0")
    file = json.loads((event / "event.json").read_text())
    file["kind"] = "renewal"
    (event / "event.json").write_text(json.dumps(file, separators=(",", ":"), sort_keys=True))
    refused = tool("review", event, "--json")
    assert (refused.code, refused.answer["reason"]) == (20, "wrong_kind")
