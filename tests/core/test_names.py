"""What may be a name, a path or a pattern."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_core import names
from interlock_core.errors import WireError

GOOD = ["a", "0", "st-anna", "a-", 63 * "a", "0-0"]
BAD = ["", "-a", "A", "st_anna", "a.b", "a b", "a\n", 64 * "a", "ä", "a/b", "..", "a\0", "\u0430"]


@pytest.mark.parametrize("text", GOOD)
def test_names(text: str) -> None:
    assert names.is_name(text)
    assert names.check_name(text, "cohort") == text


@pytest.mark.parametrize("text", BAD)
def test_no_names(text: str) -> None:
    assert not names.is_name(text)
    with pytest.raises(WireError, match="cannot name a cohort") as caught:
        names.check_name(text, "cohort")
    assert caught.value.reason == "bad_name"


@pytest.mark.parametrize("text", sorted(names.RESERVED))
def test_no_product_has_the_name_of_a_role(text: str) -> None:
    assert names.is_name(text)
    with pytest.raises(WireError, match="reserved"):
        names.check_product(text)
    with pytest.raises(WireError, match="reserved"):
        names.split_path(f"{text}/1.0/image.img")


@pytest.mark.parametrize(
    "path",
    [
        "gateway/2.0.0/image.img",
        "gateway/2.0.0-rc.1_b/A.b-C_d",
        f"{63 * 'g'}/{63 * '1'}/{127 * 'F'}",
    ],
)
def test_paths(path: str) -> None:
    assert "/".join(names.split_path(path)) == path


@pytest.mark.parametrize(
    "path",
    [
        "gateway/image.img",
        "gateway/2.0.0/a/image.img",
        "/gateway/2.0.0/image.img",
        "gateway/2.0.0/image.img/",
        "gateway//image.img",
        "gateway/./image.img",
        "gateway/../image.img",
        "gateway/2..0/image.img",
        "gateway/2.0.0/..",
        "gateway/2.0.0/.image",
        "gateway/2.0.0/a..b",
        "gateway/2.0.0/%2e%2e",
        "gateway/2.0.0/image.img\n",
        "gateway/2.0.0/image.img\0",
        "gateway\\2.0.0\\image.img",
        "Gateway/2.0.0/image.img",
        "gateway/V2/image.img",
        "gateway/2.0.0/bild.ïmg",
        f"gateway/2.0.0/{128 * 'F'}",
        f"gateway/{64 * '1'}/image.img",
    ],
)
def test_no_paths(path: str) -> None:
    with pytest.raises(WireError) as caught:
        names.split_path(path)
    assert caught.value.reason in {"bad_path", "bad_name"}


@given(st.text(max_size=40))
def test_any_text_is_a_path_of_plain_parts_or_refused(text: str) -> None:
    try:
        parts = names.split_path(text)
    except WireError:
        return
    assert all(re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._-]*", part) for part in parts)
    assert all(".." not in part for part in parts)


@pytest.mark.parametrize(
    ("pattern", "cohort", "expected"),
    [
        ("*", "canary", True),
        ("st-anna", "st-anna", True),
        ("st-anna", "st-anna-2", False),
        ("st-*", "st-anna", True),
        ("st-*", "st-", True),
        ("st-*", "st", False),
        ("st-anna*", "st-anna", True),
        ("canary*", "st-canary", False),
    ],
)
def test_what_a_pattern_covers(pattern: str, cohort: str, expected: bool) -> None:
    assert names.covers(pattern, cohort) is expected


def test_a_whole_name_beats_any_beginning_and_a_longer_one_a_shorter() -> None:
    patterns = ["*", "s*", "st-anna*", "st-anna", "st-*"]
    assert names.most_specific(patterns, "st-anna") == "st-anna"
    assert names.most_specific(patterns[::-1], "st-annabel") == "st-anna*"
    assert names.most_specific(patterns, "north") == "*"
    assert names.most_specific(patterns[1:], "north") is None
