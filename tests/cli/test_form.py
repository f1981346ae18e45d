"""What holds a transcript to what it says: the runner itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli import transcript
from tests.cli.programs import machine
from tests.cli.shell import Shell, play
from tests.cli.transcript import File, FormError, Given, Item, Prose, Step

SOUND = """\
# A name that will not do.

-- secret --
a good passphrase
--
$ chmod 600 secret
$ interlock-repo key new Kim --directory k --passphrase-file secret
! interlock-repo: 'Kim' [..] [bad_name]
exit 20
$ interlock-repo key new kim --directory k \\
  --passphrase-file secret
  name         kim
  ...
  fingerprint  {KIM}
  read aloud   [..]
  lives in     k/kim.key.json, encrypted under a passphrase
  keep         k/kim.key.json
  hand over    k/kim.pub.json
$ interlock-repo key show k/kim.pub.json
  name         kim
  kind         Ed25519
  fingerprint  {KIM}
  read aloud   [..]
"""


def said(text: str, home: Path) -> str:
    shell = Shell(home)
    with machine(home, shell.clock, "form"):
        return transcript.render(play(transcript.read(text), shell))


def test_what_fits_is_left_as_it_is(tmp_path: Path) -> None:
    assert said(SOUND, tmp_path) == SOUND


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("exit 20", "exit 2"),
        ("exit 20\n", ""),
        ("[bad_name]", "[bad_nam]"),
        ("! interlock-repo: 'Kim' [..] [bad_name]\n", ""),
        ("  kind         Ed25519\n", ""),
        ("  kind         Ed25519\n", "  kind         Ed25519\n  more\n"),
        ("  kind         Ed25519\n", "  kind         RSA\n"),
        ("  name         kim\n  ...\n", "  name         tim\n  ...\n"),
        ("  keep         k/kim.key.json\n", ""),
        ("  hand over    k/kim.pub.json\n", "  hand over    k/kim.pub.json\n! and more\n"),
    ],
)
def test_whatever_differs_is_seen(tmp_path: Path, old: str, new: str) -> None:
    assert SOUND.count(old) >= 1
    wrong = SOUND.replace(old, new, 1)
    assert said(wrong, tmp_path) != wrong


def test_a_name_is_the_same_everywhere(tmp_path: Path) -> None:
    other = SOUND + (
        "$ interlock-repo key new tom --directory k --passphrase-file secret\n"
        "  name         tom\n  ...\n  fingerprint  {KIM}\n  ...\n"
    )
    assert said(other, tmp_path) != other


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Nothing.\n",
        "given released\n",
        "$ mkdir here\n",
        "$ mkdir here\n  ...\n",
        "$ mkdir here\n  [..]\n",
    ],
)
def test_a_transcript_in_which_nothing_could_fail_is_none(text: str) -> None:
    with pytest.raises(FormError, match="could fail"):
        transcript.read(text)


@pytest.mark.parametrize(
    "text",
    [
        "  out of place\n" + SOUND,
        SOUND + "exit 0 or so\nwhat\n",
        SOUND + "-- file --\nno end\n",
        SOUND + "$ ls \\\n",
        SOUND + "given ceremony\n",
        "given ceremony\ngiven released\n" + SOUND,
    ],
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises((FormError, ValueError)):
        transcript.read(text)


@pytest.mark.parametrize("typed", [(), ("a good passphrase",), ("a good passphrase",) * 3])
def test_what_is_typed_is_what_is_asked_for(tmp_path: Path, typed: tuple[str, ...]) -> None:
    lines = "".join(f"< {line}\n" for line in typed)
    text = f"$ interlock-repo key new kim --directory k\n{lines}exit 1\n"
    if not typed:
        assert "there is no terminal" in said(text, tmp_path)
        return
    with pytest.raises(AssertionError, match="asked for"):
        said(text, tmp_path)


WORDS = st.text("ab{}[]. :!<-", min_size=1, max_size=12).map(str.strip).filter(bool)
LINES = st.lists(WORDS, max_size=4).map(tuple)
ITEMS: st.SearchStrategy[Item] = st.one_of(
    st.builds(Prose, st.just(("",))),
    st.builds(Prose, WORDS.map(lambda word: (f"# {word}",))),
    st.builds(Given, st.just("ceremony")),
    st.builds(File, st.just("a/b"), LINES.filter(lambda lines: "--" not in lines)),
    st.builds(
        Step,
        st.just(("ls",)),
        LINES,
        LINES,
        LINES,
        st.integers(0, 30),
    ),
)


@given(st.lists(ITEMS, max_size=6))
def test_reading_undoes_rendering(items: list[Any]) -> None:
    assert transcript.begin(transcript.render(items)) == tuple(items)


@given(LINES, LINES)
def test_what_is_written_anew_fits(patterns: tuple[str, ...], lines: tuple[str, ...]) -> None:
    step = transcript.rewritten(Step(("ls",), out=patterns), "\n".join(lines), "", 0, {})
    assert transcript.fits(step.out, transcript.lines_of("\n".join(lines)), {})
