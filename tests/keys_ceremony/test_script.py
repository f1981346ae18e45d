"""Every script that cannot be carried out is refused whole, by line and field, before any key."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_ceremony import sense
from interlock_ceremony.forms import Script
from interlock_ceremony.script import MAX_SCRIPT, ScriptError, parse
from interlock_core import keys
from interlock_core.clock import fixed_clock
from interlock_core.toml_lines import line_of
from tests.keys_ceremony.stage import CHEAP, NOW, SCRIPT, Stage

SAMPLE = files("interlock_ceremony").joinpath("samples", "genesis.toml").read_text("utf-8")

TWO_OF_THREE = 'holders = ["alice", "bob", "carol"]\nthreshold = 2'
BOTH = 'holders = ["bob", "carol"]\nthreshold = 2'

WRONG: dict[str, tuple[str, str, str]] = {
    "not TOML": ("threshold = 2", "threshold = ", "line 14: this is not TOML: "),
    "a key twice": (
        'fleet = "north"',
        'fleet = "north"\nfleet = "south"',
        "line 3: this is not TOML: ",
    ),
    "unknown field": (
        "threshold = 2",
        "treshold = 2\nthreshold = 2",
        "line 14, image.root.treshold: there is no such field; remove it, or mend its spelling.",
    ),
    "unknown table": (
        "[online]",
        "[offline]\n[online]",
        "line 25, offline: there is no such field",
    ),
    "missing field": (
        "\nthreshold = 2",
        "",
        "line 12, image.root.threshold: this field is missing; add it.",
    ),
    "missing table": (
        "[director.root]\n" + BOTH,
        "",
        "genesis.toml, director: this field is missing; add it.",
    ),
    "missing online key": (
        'director-targets = "online/director-targets.pub.json"\n',
        "",
        "line 25, online.director-targets: this field is missing",
    ),
    "wrong type": (
        "threshold = 2",
        'threshold = "2"',
        "line 14, image.root.threshold: Expected `int`, got `str`; change it.",
    ),
    "wrong type in a list": (
        '"alice", "bob", "carol"',
        '"alice", 7',
        "line 13, image.root.holders: Expected `str`, got `int`",
    ),
    "another act": (
        'act = "genesis"',
        'act = "rotate"',
        "line 1, act: 'rotate' is no act of a script; use one of genesis, change.",
    ),
    "fleet is no name": ('"north"', '"The North"', "line 2, fleet: 'The North' cannot name"),
    "nobody leads": (
        'administrator = "dana"',
        'administrator = "erik"',
        "line 4, administrator: 'erik' is not among the persons; add them to [persons].",
    ),
    "a stranger holds": (
        '["alice", "bob", "carol"]',
        '["alice", "bob", "erik"]',
        "line 13, image.root.holders: 'erik' is not among the persons",
    ),
    "a holder twice": (
        '["alice", "bob", "carol"]',
        '["alice", "bob", "alice"]',
        "line 13, image.root.holders: 'alice' stands twice; name each holder once.",
    ),
    "a person under two short names": (
        'bob = "Bob Bach"',
        'bob = " alice  AMSEL"',
        "line 9, persons.bob: ' alice  AMSEL' is 'alice' already; nobody takes part twice",
    ),
    "a person whom nobody tells from another": (
        'bob = "Bob Bach"',
        'bob = "A\u034flice Ámsel"',
        "is 'alice' already; nobody takes part twice",
    ),
    "a person without a part": (
        'carol = "Carol Cui"',
        'carol = "Carol Cui"\nerik = "Erik Eis"',
        "line 11, persons.erik: this person has no part",
    ),
    "a person called like a holder's key": (
        'dana = "Dana Dorn"',
        'dana = "Dana Dorn"\nbob-image-root = "Erik Eis"',
        "line 8, persons.bob-image-root: 'bob-image-root' reads like the name of a key; use",
    ),
    "a person called like a key that may come": (
        'dana = "Dana Dorn"',
        'dana = "Dana Dorn"\nzoe-director-root-12 = "Erik Eis"',
        "line 8, persons.zoe-director-root-12: 'zoe-director-root-12' reads like the name of a key",
    ),
    "a person called like an attending key": (
        'dana = "Dana Dorn"',
        'dana = "Dana Dorn"\ndana-attending = "Erik Eis"',
        "line 8, persons.dana-attending: 'dana-attending' reads like the name of a key",
    ),
    "a person called like an online key": (
        'dana = "Dana Dorn"',
        'dana = "Dana Dorn"\nimage-online = "Erik Eis"',
        "line 8, persons.image-online: 'image-online' reads like the name of a key",
    ),
    "a short name is no name": (
        'dana = "Dana Dorn"',
        'dana = "Dana Dorn"\n"Erik Eis" = "Erik Eis"',
        "line 8, persons.Erik Eis: this cannot be a short name",
    ),
    "a name that moves the cursor": (
        '"Bob Bach"',
        '"Bob \\u001b[2J"',
        "line 9, persons.bob: write the person's name, in 1 to 100 printable characters.",
    ),
    "a person without a name": ('"Bob Bach"', '" "', "line 9, persons.bob: write the person's"),
    "nobody": (
        'holders = ["bob", "carol"]\nthreshold = 2',
        "holders = []\nthreshold = 2",
        "line 23, director.root.threshold: 2 signatures cannot come from 0 holders",
    ),
    "a threshold out of reach": (
        TWO_OF_THREE,
        TWO_OF_THREE.replace("2", "4"),
        "line 14, image.root.threshold: 4 signatures cannot come from 3 holders; name more",
    ),
    "alone for the image root": (
        TWO_OF_THREE,
        TWO_OF_THREE.replace("2", "1"),
        "line 14, image.root.threshold: 1 would let one person act alone; ask for 2 or more.",
    ),
    "alone for the director root": (
        BOTH,
        BOTH.replace("2", "1"),
        "line 23, director.root.threshold: 1 would let one person act alone",
    ),
    "alone for targets": (
        "threshold = 2\nlifetime_days",
        "threshold = 1\nlifetime_days",
        "line 18, image.targets.threshold: 1 would let one person act alone",
    ),
    "a negative threshold": (
        TWO_OF_THREE,
        TWO_OF_THREE.replace("2", "-2"),
        "image.root.threshold: -2 would let one person act alone",
    ),
    "too short a life": (
        "lifetime_days = 200",
        "lifetime_days = 1",
        "line 19, image.targets.lifetime_days: 1 is outside 30 to 1830 days",
    ),
    "too long a life": (
        "lifetime_days = 200",
        "lifetime_days = 36500",
        "line 19, image.targets.lifetime_days: 36500 is outside 30 to 1830 days",
    ),
    "no kind of key": (
        TWO_OF_THREE,
        TWO_OF_THREE + '\nschemes = { alice = "p256" }',
        "line 15, image.root.schemes.alice: 'p256' is not a kind of key; use one of ed25519, ecdsa",
    ),
    "a kind of key for nobody": (
        TWO_OF_THREE,
        TWO_OF_THREE + '\n[image.root.schemes]\ndana = "ed25519"',
        "line 16, image.root.schemes.dana: this is no holder of the role",
    ),
    "a hybrid role that a broken family breaks": (
        TWO_OF_THREE,
        TWO_OF_THREE + '\nschemes = { alice = "ml-dsa-65/1" }',
        "line 14, image.root.threshold: with 2 classical and 1 post-quantum keys it must be 4",
    ),
    "the ceremony is another day": (
        'fleet = "north"',
        'fleet = "north"\ndate = 2026-12-24',
        "line 3, date: the ceremony is for 2026-12-24, and this machine's clock says 2026-12-01",
    ),
    "a day that is no day": ('fleet = "north"', 'fleet = "north"\ndate = "soon"', "line 3, date:"),
    "no name of a directory": ('"out"', '".."', "line 3, output: "),
    "a directory of nowhere": ('"out"', '"not/here/out"', "line 3, output: there is no directory"),
    "output with a NUL": ('"out"', '"o\\u0000ut"', "line 3, output: 'o\\x00ut' has unprintable"),
    "output with a very long name": ('"out"', f'"{"o" * 300}"', "line 3, output: "),
    "an online path with a newline": (
        '"online/image-online.pub.json"',
        '"online\\nimage"',
        "online.image-online: 'online\\nimage' has unprintable characters",
    ),
    "an online key that is not there": (
        "online/image-online",
        "online/nothing",
        "line 26, online.image-online: There is no public key file at ",
    ),
    "another online key": (
        '"online/image-online.pub.json"',
        '"online/director-online.pub.json"',
        "line 26, online.image-online: the key was made for the name 'director-online'",
    ),
    "a private key in place of a public one": (
        "image-online.pub.json",
        "image-online.key.json",
        "line 26, online.image-online: The public key file ",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_names_the_place_and_what_to_change(stage: Stage, case: str) -> None:
    old, new, says = WRONG[case]
    error = stage.refused(old, new)
    assert says in error
    assert all(line.startswith("Error: genesis.toml, ") for line in error.splitlines())


def test_a_holder_whose_keys_could_not_be_named(stage: Stage) -> None:
    name = "a" * 55
    stage.script.write_text(SCRIPT.replace("alice", name))
    assert "is too long; use a shorter short name" in stage.refused()


def test_everything_wrong_is_said_at_once(stage: Stage) -> None:
    stage.edit("threshold = 2", "threshold = 7")
    stage.edit('fleet = "north"', 'fleet = "N"')
    error = stage.refused("online/image-online", "online/nothing")
    assert [line.split(", ")[1] for line in error.splitlines()] == ["line 2", "line 14", "line 26"]


def test_no_script(stage: Stage) -> None:
    stage.script.unlink()
    assert "There is no ceremony script at" in stage.refused()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "act: this field is missing"),
        (b"\xff", "line 1: this is not UTF-8"),
        (b"a = 1\nb = '\xc3(", "line 2: this is not UTF-8"),
        (b"\xef\xbb\xbf" + SCRIPT.encode(), "this is not TOML"),
        (b"x = " + b"[" * 5000, ""),
        (b"x = " + b"9" * 5000, "this is not TOML"),
        (b"# " + b"x" * MAX_SCRIPT, "larger than"),
        (b"[" * 100, "this is not TOML"),
        (b'act = ["genesis"]', "act: "),
    ],
    ids=range(9),
)
def test_bytes_that_are_no_script(stage: Stage, data: bytes, says: str) -> None:
    stage.script.write_bytes(data)
    error = stage.refused()
    assert says in error
    assert error.count("\n") == 1


def test_a_script_that_is_a_directory(stage: Stage) -> None:
    stage.script.unlink()
    stage.script.mkdir()
    stage.refused()


@pytest.mark.parametrize("year", [1970, 2000])
def test_a_clock_that_cannot_be_right(stage: Stage, year: int) -> None:
    early = stage.at(clock=fixed_clock(datetime(year, 1, 1, tzinfo=UTC)))
    assert "set the clock first" in early.refused()


def test_the_right_day_is_accepted(stage: Stage) -> None:
    stage.edit('fleet = "north"', f'fleet = "north"\ndate = {NOW.date()}')
    assert stage.run().exit_code == 0


def test_lines_end_as_windows_ends_them(stage: Stage) -> None:
    stage.script.write_bytes(SCRIPT.replace("\n", "\r\n").encode())
    stage.done()
    assert stage.verify().exit_code == 0


def with_online(stage: Stage, name: str, make: Callable[[Path], object]) -> str:
    path = stage.home / "online" / f"{name}.pub.json"
    path.unlink()
    (stage.home / "online" / f"{name}.key.json").unlink()
    make(path)
    return stage.refused()


def test_one_key_under_two_names(stage: Stage) -> None:
    private = stage.home / "online" / "director-targets.key.json"

    def again(path: Path) -> None:
        opened = keys.load_signer(private, lambda _: "the passphrase of director-targets")
        path.write_bytes(keys.public_key_file("director-online", opened))

    error = with_online(stage, "director-online", again)
    assert "line 28, online.director-online: this is the same key as director-targets" in error


def test_an_online_key_with_anothers_proof(stage: Stage) -> None:
    other = (stage.home / "online" / "image-online.pub.json").read_text()

    def steal(path: Path) -> None:
        path.write_text(other.replace('"image-online"', '"director-online"'))

    error = with_online(stage, "director-online", steal)
    assert "holds no proof that its holder has the private key" in error


@pytest.mark.parametrize("name", ["image-online", "director-online"])
def test_ml_dsa_signs_no_timestamp(stage: Stage, name: str) -> None:
    def large(path: Path) -> None:
        keys.new_key(path.parent, name, "ml-dsa-65/1", "post-quantum", scrypt_n=CHEAP)

    error = with_online(stage, name, large)
    assert "a signature of kind ml-dsa-65/1 does not fit into a timestamp" in error


def test_a_truncated_online_key(stage: Stage) -> None:
    data = (stage.home / "online" / "image-online.pub.json").read_bytes()
    error = with_online(stage, "image-online", lambda path: path.write_bytes(data[:100]))
    assert "is not JSON" in error


# The parser and the rules, over whatever hypothesis thinks of


def outcome(data: bytes) -> list[str]:
    """What is wrong with a script; anything but a ScriptError would be a traceback."""
    try:
        script, _ = parse(data, what="x.toml")
    except ScriptError as e:
        return list(e.problems)
    assert isinstance(script, Script)
    return [problem.says for problem in sense.genesis(script, NOW)[1]]


@given(st.binary(max_size=300))
def test_no_bytes_end_in_a_traceback(data: bytes) -> None:
    assert all("\n" not in problem for problem in outcome(data))


def words(tree: Any) -> str:
    """TOML of a tree of plain values, in inline form."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f'"{key}" = {words(value)}' for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(words, tree)) + "]"
    if isinstance(tree, bool):
        return str(tree).lower()
    if isinstance(tree, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in tree) + '"'
    return str(tree)


scalars = (
    st.integers(-(2**70), 2**70)
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda value: f"{value:f}").map(float)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(["alice", "bob", "dana", "ed25519", "ml-dsa-65/1", ""])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["alice", "root", "x", "threshold"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(tree: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [above] if above else []
    if isinstance(tree, dict):
        for key, value in tree.items():
            found += paths(value, (*above, key))
    return found


TREE = tomllib.loads(SCRIPT)
PATHS = paths(TREE)


@given(st.lists(st.tuples(st.sampled_from(PATHS), st.none() | values), min_size=1, max_size=4))
def test_a_script_with_other_values_is_accepted_or_explained(
    changes: list[tuple[tuple[str, ...], Any]],
) -> None:
    tree = tomllib.loads(SCRIPT)
    for path, value in changes:
        inner: Any = tree
        for step in path[:-1]:
            inner = inner.get(step, {}) if isinstance(inner, dict) else {}
        if not isinstance(inner, dict):
            continue
        if value is None:
            inner.pop(path[-1], None)
        else:
            inner[path[-1]] = value
    text = "\n".join(f'"{key}" = {words(value)}' for key, value in tree.items())
    problems = outcome(text.encode())
    assert all(problem.endswith(".") and "\n" not in problem for problem in problems)
    if not problems:
        script, _ = parse(text.encode(), what="x.toml")
        assert isinstance(script, Script)
        for role in (script.image.root, script.image.targets, script.director.root):
            assert 2 <= role.threshold <= len(set(role.holders))
            assert set(role.holders) <= set(script.persons)
            assert role.threshold < len(role.holders) or script.accepted_risks


@pytest.mark.parametrize("text", [SCRIPT, SAMPLE], ids=["script", "sample"])
def test_every_field_is_found_on_its_line(text: str) -> None:
    for path in paths(tomllib.loads(text)):
        line = line_of(text, path)
        assert line is not None
        shown = text.splitlines()[line - 1]
        assert path[-1] in shown or f"[{path[0]}." in shown


def test_a_value_of_several_lines_is_found_where_it_begins() -> None:
    text = 'a = 1\n\n# b\nb = [\n  1,\n  2,\n]\nc = """\nx\n"""\n[d]\n'
    assert [line_of(text, [key]) for key in "abcd"] == [1, 4, 8, 11]
    assert line_of(text, ["e"]) is None


@pytest.mark.parametrize("number", range(1, len(SAMPLE.splitlines()) + 1))
def test_the_sample_without_a_line_is_accepted_or_explained(number: int) -> None:
    lines = SAMPLE.splitlines()
    removed = lines.pop(number - 1)
    problems = outcome("\n".join(lines).encode())
    optional = removed.startswith(("#", "lifetime_days")) or not removed
    assert (problems == []) == optional


def test_the_sample_says_what_the_defaults_are() -> None:
    script, _ = parse(SAMPLE.encode(), what="sample")
    assert isinstance(script, Script)
    plan, problems = sense.genesis(script, NOW)
    assert problems == []
    assert {role.lifetime_days for role in plan.roles.values()} == {365}
