"""The account of an event says everything that would be signed, and nothing that it should not."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Targets

from interlock_core import wire
from interlock_core.tuf_metadata import serialise
from interlock_core.words import words_of
from interlock_repo.reading import open_event
from interlock_repo.review import account, printable
from tests.repo_tools.world import PRODUCT, World, role, tool

IMAGE = f"{PRODUCT}/1.0.0/fw.img"


def edited(event: Path, change: Callable[[Targets], None]) -> None:
    [file] = (event / "metadata").iterdir()
    metadata = Metadata[Targets].from_bytes(file.read_bytes())
    change(metadata.signed)
    file.write_bytes(serialise(metadata))
    stated = json.loads((event / "event.json").read_bytes())
    stated["metadata_sha256"] = wire.sha256_hex(metadata.signed_bytes)
    (event / "event.json").write_bytes(wire.encode(stated))


def test_every_fact_of_a_new_image_is_shown(staged: Path) -> None:
    out = tool("review", staged).out
    custom = open_event(staged).metadata.signed.targets[IMAGE].custom
    assert custom is not None
    for field in custom:
        assert f"+ {field}: " in out
    assert "on cg-200 in DE, FR" in out
    assert "support_end: 2036-12-31" in out
    assert "slots: name rootfs, length 75000, sha256" in out


def test_a_barrier_and_a_floor_stand_in_the_headline(delegated: World, tmp_path: Path) -> None:
    spec = delegated.release(counter=9, raises_floor_to="7", min_counter_installed="5")
    out = delegated.make("stage", tmp_path / "e", spec).out
    assert "once confirmed, nothing below counter 7" in out
    assert "only where counter 5 was confirmed before" in out


def test_signed_fields_that_nobody_knows_are_shown(staged: Path) -> None:
    def change(targets: Targets) -> None:
        targets.unrecognized_fields["backdoor"] = {"open": True}

    edited(staged, change)
    out = tool("review", staged).out
    assert "signed field backdoor: open true" in out


def test_a_delegation_shows_paths_holders_and_unknown_fields(
    delegated: World, tmp_path: Path
) -> None:
    event = tmp_path / "e"
    delegated.make("delegate", event, delegated.delegations(role("products.other", 1, "sven")))

    def change(targets: Targets) -> None:
        assert targets.delegations is not None
        assert targets.delegations.roles is not None
        targets.delegations.roles["other"].unrecognized_fields["x"] = 1

    edited(event, change)
    out = tool("review", event).out
    assert "Added: role other" in out
    assert "+ threshold: 1 of 1 must sign" in out
    assert "+ paths: other/*/* (terminating)" in out
    assert "+ x: 1" in out
    assert PRODUCT not in out


def test_no_escape_code_reaches_the_terminal(staged: Path) -> None:
    def change(targets: Targets) -> None:
        custom = targets.targets[IMAGE].custom
        assert custom is not None
        custom["udi_di"] = "\x1b[2Jclean\u202e"

    edited(staged, change)
    out = tool("review", staged).out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert r"\x1b[2Jclean\u202e" in out


@pytest.mark.parametrize("text", ["plain", "grüße — ✓", "[bold]"])
def test_what_can_be_printed_stays(text: str) -> None:
    assert printable(text) == text


def test_what_has_expired_says_so(staged: Path) -> None:
    event = open_event(staged)
    later = event.metadata.signed.expires + timedelta(days=1)
    lines = [line for section in account(event, later).sections for line in section.lines]
    assert any(line.what == "expires" and "has expired" in (line.new or "") for line in lines)


def test_the_digest_that_is_read_aloud_pins_what_the_event_follows(
    delegated: World, tmp_path: Path
) -> None:
    spec = delegated.release()
    made = delegated.make("stage", tmp_path / "one", spec, "--json").answer
    assert made["read_aloud"] == tool("review", tmp_path / "one", "--json").answer["read_aloud"]
    event = json.loads((tmp_path / "one" / "event.json").read_bytes())
    assert made["read_aloud"].replace(" ", "") == wire.sha256_hex(wire.encode(event))[:20]
    assert made["words"] == words_of(wire.sha256_hex(wire.encode(event)))
    for shown in (tool("review", tmp_path / "one"), tool("status", tmp_path / "one")):
        assert made["read_aloud"] in shown.out
        assert f"in words: {made['words']}" in shown.out
    assert set(event["base"]) == {"1.root.json", "2.targets.json"}
