"""Every command of every program, with everything bad that may come in: a clear line, the right
exit code, nothing left behind.

The commands are found in the programs themselves: one that has no entry in its zone's table
(``zone_*.py``) fails ``test_every_command_has_an_entry``, and says so by name.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from tests.sweep.commands import (
    USAGE,
    Call,
    Entry,
    Input,
    Place,
    faults,
    filled,
    left_behind,
    run,
    sweep_input,
    sweep_slips,
)
from tests.sweep.zones import ZONES

Find = Callable[[str], Place]

REAL = {
    "interlock-ceremony": ("rehearse", ("{home}/\udcff.toml",)),
    "interlock-client": ("status", ("--config", "{home}/\udcff.toml")),
    "interlock-ops": ("rollout status", ("--config", "{home}/\udcff.toml")),
    "interlock-repo": ("key show", ("{home}/\udcff.pub.json",)),
    "interlock-server": ("migrate", ("--config", "{home}/\udcff.toml")),
}
"""Of each program something that must fail, and that is hard to say."""

COMMANDS = [(name, command) for name, zone in ZONES.items() for command in zone.program.commands()]


def entries() -> Iterator[tuple[str, str, int, Entry]]:
    for name, zone in ZONES.items():
        for command, ways in zone.table.items():
            for number, entry in enumerate(ways):
                yield name, command, number, entry


def named(*words: str) -> str:
    return "-".join(word.removeprefix("interlock-").replace(" ", "-") for word in words if word)


ENTRIES = [
    pytest.param(name, command, entry, id=named(name, command, str(number or "")))
    for name, command, number, entry in entries()
]
INPUTS = [
    pytest.param(name, command, entry, one, id=named(name, command, str(number or ""), one.path))
    for name, command, number, entry in entries()
    for one in entry.inputs
]
SLIPS = [
    pytest.param(name, command, entry, id=named(name, command, str(number or "")))
    for name, command, number, entry in entries()
    if entry.slips
]


@pytest.mark.parametrize("name", ZONES)
def test_every_command_has_an_entry(name: str) -> None:
    zone = ZONES[name]
    missing = zone.program.commands().keys() - zone.table.keys()
    assert not missing, f"add what {name} {sorted(missing)} reads to the sweep's table"
    gone = zone.table.keys() - zone.program.commands().keys()
    assert not gone, f"{name} has no {sorted(gone)} any more"


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=named)
def test_every_path_that_a_command_takes_is_swept(name: str, command: str, place_of: Find) -> None:
    """Each parameter that is a path is given in some entry, so that somebody thought of it."""
    zone, place = ZONES[name], place_of(name)
    found = zone.program.commands()[command]
    paths = {param.name for param in found.params if isinstance(param.type, click.Path)}
    for entry in zone.table.get(command, ()):
        for words in (entry.words, *(slip.words for slip in entry.slips if slip.words)):
            given = filled("", words, place)
            try:
                context = found.make_context(name, given, resilient_parsing=True)
            except click.ClickException:
                continue
            paths -= {param for param, value in context.params.items() if value not in (None, ())}
    assert not paths, f"no entry of {name} {command} gives {sorted(map(str, paths))}"


@pytest.mark.parametrize(("name", "command", "entry"), ENTRIES)
def test_what_is_good_is_taken(name: str, command: str, entry: Entry, place_of: Find) -> None:
    """Otherwise all that follows could be refused for another reason."""
    place = place_of(name)
    try:
        said = run(ZONES[name].program, filled(command, entry.words, place), place)
        assert said.code == entry.good, said
        assert left_behind(place, entry.makes) == []
    finally:
        place.kept.put_back()


@pytest.mark.parametrize(("name", "command", "entry", "one"), INPUTS)
def test_bad_input(name: str, command: str, entry: Entry, one: Input, place_of: Find) -> None:
    place = place_of(name)
    wrong = sweep_input(ZONES[name].program, filled(command, entry.words, place), place, one)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("name", "command", "entry"), SLIPS)
def test_bad_words_and_places(name: str, command: str, entry: Entry, place_of: Find) -> None:
    wrong = sweep_slips(ZONES[name].program, command, place_of(name), entry)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=named)
def test_a_word_that_nobody_knows(name: str, command: str, place_of: Find) -> None:
    program, place = ZONES[name].program, place_of(name)
    words = [*command.split(), "--no-such-option"]
    for as_json in (False, True):
        call = Call(words, USAGE, ["--no-such-option"], as_json=as_json)
        assert list(faults(program, place, call)) == []
    assert left_behind(place) == []


@pytest.mark.parametrize("name", ZONES)
def test_a_real_process_ends_in_the_same_way(name: str, place_of: Find) -> None:
    """What was run in this process says what a person would see."""
    program, place = ZONES[name].program, place_of(name)
    command, words = REAL[name]
    line = filled(command, words, place)
    for more in ([], ["--json"]):
        here = run(program, [*line, *more], place)
        there = subprocess.run(
            [Path(sys.executable).with_name(name), *line, *more],
            cwd=place.home,
            capture_output=True,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(place.home)},
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert (there.returncode, there.stdout.decode(), there.stderr.decode()) == (
            here.code,
            here.out,
            here.err,
        )
        assert here.code == 2
