"""The facts of a release. (Malformed ones, one by one: ``tests/vectors/refused.json``.)"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from interlock_core.errors import WireError
from interlock_core.release import Image, read_image
from tests.support.decisions import NEW, image

FACTS: dict[str, Any] = msgspec.to_builtins(image())


def test_facts_are_read_as_they_were_written() -> None:
    assert read_image(NEW.path, FACTS) == image()


def test_a_target_without_facts_is_no_image() -> None:
    with pytest.raises(WireError, match="it is no image"):
        read_image(NEW.path, None)


@pytest.mark.parametrize("field", sorted(FACTS))
def test_every_fact_must_be_stated(field: str) -> None:
    less = {name: value for name, value in FACTS.items() if name != field}
    with pytest.raises(WireError, match=r"missing required field|leave out a field"):
        read_image(NEW.path, less)


@pytest.mark.parametrize("path", ["gateway/2.0.0", "root/2.0.0/image.img", "../2.0.0/image.img"])
def test_facts_belong_to_a_targets_path(path: str) -> None:
    with pytest.raises(WireError):
        read_image(path, FACTS)


def test_a_release_can_raise_the_floor_to_itself_and_no_further() -> None:
    assert image(counter=20, raises_floor_to=20).raises_floor_to == 20
    with pytest.raises(ValueError, match="must not exceed"):
        image(counter=20, raises_floor_to=21)


def test_the_last_day_of_support_is_a_day() -> None:
    assert image(support_end="2032-02-29").support_end == "2032-02-29"
    with pytest.raises(WireError, match="day is out of range"):
        read_image(NEW.path, FACTS | {"support_end": "2031-02-29"})


def test_facts_cannot_be_changed() -> None:
    facts: Image = image()
    with pytest.raises(AttributeError):
        facts.release_counter = 99  # type: ignore[misc]
