"""The header of a delta. (Malformed ones, one by one: ``tests/vectors/refused.json``.)"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tuf.api.metadata import TargetFile, Targets

from interlock_core import wire
from interlock_core.delta import (
    MAGIC,
    MAX_PREFIX,
    MIN_PREFIX,
    Content,
    Frame,
    Header,
    encode_header,
    frame_starts,
    max_frame,
    read_header,
)
from interlock_core.errors import RefusedError, WireError
from interlock_core.release import MAX_HEADER, Reference, read_delta
from interlock_core.released import check_release, deltas
from tests.support.decisions import NEW, image
from tests.support.papers import digest
from tests.vectors import delta
from tests.vectors.delta import BYTES, FACTS, FRAMES, HEADER, facts_of

PATH = f"{FACTS.product}/{FACTS.version}/image.img.from-1.0.0.delta"


@st.composite
def headers(draw: st.DrawFn) -> Header:
    """Headers of every size, each as the rules want it."""
    segment = 2 ** draw(st.integers(12, 20))
    old = draw(st.integers(1, 2**26))
    new = draw(st.integers(1, 12 * segment))
    frames = []
    for n in range(-(-new // segment)):
        cuts = sorted(draw(st.sets(st.integers(0, min(old, MAX_PREFIX)), max_size=12)))
        shift = draw(st.integers(0, max(0, old - MAX_PREFIX)))
        ranges = tuple((a + shift, b - a) for a, b in list(pairwise(cuts))[::2])
        if sum(size for _, size in ranges) < MIN_PREFIX:
            ranges = ()
        length = draw(st.integers(1, max_frame(min(segment, new - n * segment))))
        frames.append(
            Frame(length=length, sha256=digest(f"{n}"), output_sha256=digest("o"), prefix=ranges)
        )
    return Header(
        old=Content(length=old, sha256=digest("old")),
        new=Content(length=new, sha256=digest("new")),
        segment=segment,
        frames=tuple(frames),
    )


@settings(max_examples=60, deadline=None)
@given(headers())
def test_a_header_is_read_as_it_was_written(header: Header) -> None:
    data = encode_header(header)
    facts = facts_of(
        data,
        from_sha256=header.old.sha256,
        from_length=header.old.length,
        to_sha256=header.new.sha256,
    )
    assert read_header(data, facts) == header
    outputs = [header.output_length(n) for n in range(len(header.frames))]
    assert sum(outputs) == header.new.length
    assert set(outputs[:-1]) <= {header.segment}
    assert 0 < outputs[-1] <= header.segment
    starts = frame_starts(header, len(data))
    assert starts[0] == len(data)
    assert [after - at for at, after in pairwise(starts)] == [f.length for f in header.frames]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80), st.integers(0, len(BYTES)))
def test_other_bytes_than_were_signed_are_never_parsed(noise: bytes, at: int) -> None:
    other = BYTES[:at] + noise + BYTES[at + len(noise) :]
    if other == BYTES:
        return
    with pytest.raises(WireError) as caught:
        read_header(other, FACTS)
    assert caught.value.reason == "hash_mismatch"


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80), st.integers(0, len(BYTES)))
def test_what_was_signed_and_is_no_header_is_refused_by_name(noise: bytes, at: int) -> None:
    other = BYTES[:at] + noise + BYTES[at + len(noise) :]
    try:
        found = read_header(other, facts_of(other))
    except WireError as e:
        assert e.reason == "malformed"  # noqa: PT017  # either is right
    else:
        assert encode_header(found) == other


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MAGIC,
        b"interlock delta v2\n" + BYTES[len(MAGIC) :],
        BYTES[:-1],
        BYTES + b"\n",
        BYTES.replace(b",", b", ", 1),
    ],
)
def test_a_header_has_one_spelling(data: bytes) -> None:
    with pytest.raises(WireError):
        read_header(data, facts_of(data))


def test_the_prefix_of_a_frame_is_bounded() -> None:
    half = MAX_PREFIX // 2
    old = Content(length=2 * MAX_PREFIX, sha256=digest("old"))

    def header(*ranges: tuple[int, int]) -> Header:
        frames = (replace(HEADER.frames[0], prefix=ranges), HEADER.frames[1])
        return Header(old=old, new=HEADER.new, segment=HEADER.segment, frames=frames)

    assert header((0, half), (half, half)).frames[0].prefix == ((0, half), (half, half))
    with pytest.raises(ValueError, match="is not 8 to"):
        header((0, half), (half, half), (MAX_PREFIX, 1))
    with pytest.raises(ValueError, match="is not 8 to"):
        header((0, 3), (half, 4))


def test_a_header_that_nobody_would_read_is_not_written() -> None:
    frames = tuple(
        Frame(length=1, sha256=digest(f"{n}"), output_sha256=digest(f"{n}"), prefix=())
        for n in range(6000)
    )
    header = Header(
        old=HEADER.old,
        new=Content(length=6000 * 4096, sha256=digest("new")),
        segment=4096,
        frames=frames,
    )
    with pytest.raises(WireError, match=f"at most {MAX_HEADER}"):
        encode_header(header)


def test_the_facts_of_a_delta_belong_to_its_path() -> None:
    stated = wire.parse(wire.encode(FACTS), limit=4096, what="custom")
    assert read_delta(PATH, stated) == FACTS
    for path, custom in (
        (PATH.replace("gateway/", "pump/"), stated),
        (PATH.replace("/2.0.0/", "/2.0.1/"), stated),
        (PATH, None),
        (PATH, stated | {"more": 1}),
        (PATH, {name: value for name, value in stated.items() if name != "from_slot"}),
    ):
        with pytest.raises(WireError):
            read_delta(path, custom)


def test_the_vector_is_one_delta() -> None:
    assert frame_starts(HEADER, len(BYTES))[-1] == len(BYTES) + sum(map(len, FRAMES))
    assert delta.FACTS.header_sha256 == wire.sha256_hex(BYTES)


class TestInTheMetadata:
    """Which deltas a product's metadata may list (``released``, rule 2)."""

    @staticmethod
    def listing(named: bool = True, **changed: Any) -> Targets:
        facts = msgspec.to_builtins(FACTS) | {"to_sha256": NEW.sha256} | changed
        sbom = image().references[0]
        references = [
            *image().references,
            *([Reference(kind="delta", path=PATH, sha256=digest("d"))] if named else []),
        ]
        stated = msgspec.to_builtins(image(references=tuple(references)))
        evidence = {
            "kind": "evidence", "product": FACTS.product, "version": FACTS.version,
            "evidence": "sbom", "format": "x",
        }  # fmt: skip
        return Targets(
            targets={
                path: TargetFile(1024, {"sha256": sha256}, path, {"custom": custom})
                for path, sha256, custom in (
                    (NEW.path, NEW.sha256, stated),
                    (sbom.path, sbom.sha256, evidence),
                    (PATH, digest("d"), facts),
                )
            }
        )

    def test_one_that_leads_to_the_image_that_names_it(self) -> None:
        listed = self.listing()
        check_release(listed, None)
        assert deltas(listed)[PATH].to_sha256 == NEW.sha256
        # Later versions keep it, and it is looked at no more than any released target.
        check_release(listed, listed)

    def test_one_that_leads_elsewhere(self) -> None:
        with pytest.raises(RefusedError) as caught:
            check_release(self.listing(to_sha256=digest("elsewhere")), None)
        assert caught.value.reason == "missing_reference"

    def test_one_that_nobody_names(self) -> None:
        with pytest.raises(RefusedError) as caught:
            check_release(self.listing(named=False), None)
        assert caught.value.reason == "stray_delta"

    def test_one_for_an_image_that_was_released_before(self) -> None:
        before = self.listing(named=False)
        del before.targets[PATH]
        after = self.listing(named=False)
        with pytest.raises(RefusedError) as caught:
            check_release(after, before)
        assert caught.value.reason == "stray_delta"

    def test_one_that_disappears(self) -> None:
        after = self.listing()
        del after.targets[PATH]
        with pytest.raises(RefusedError) as caught:
            check_release(after, self.listing())
        assert caught.value.reason == "target_removed"

    @pytest.mark.parametrize("changed", [{"version": "1"}, {"product": "pump"}, {"more": 1}])
    def test_one_whose_facts_are_none(self, changed: dict[str, Any]) -> None:
        with pytest.raises(RefusedError) as caught:
            check_release(self.listing(**changed), None)
        assert caught.value.reason == "bad_facts"
