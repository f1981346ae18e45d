"""Power cuts before any write of a rotation: every gateway reads whole repositories at each, and
the same ceremony again, or a refresh, finishes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock_core.tuf_stored import StoredRepository
from interlock_server.wiring import open_signers
from tests.server.later import (
    NEW_ROOT,
    PREFIXES,
    WHOLE,
    Ceremony,
    configure,
    new_online,
    new_targets,
    read_all,
    restart,
    rotation,
    send,
    targets_rotation,
)
from tests.server.world import ROOT, TARGETS, Bench, CutStore, Fleet, PowerCut, sign


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Power goes between two writes of the Store, and each of those is whole."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


Make = Callable[[Fleet], Ceremony]


def three_roots(fleet: Fleet) -> Ceremony:
    """Online keys that were never in force stand between those of before and those of now."""
    ceremony = rotation(fleet, "online-3")
    for version in (3, 4):
        directory = new_online(fleet, "online-2" if version == 4 else "online-4")
        ceremony.image.append(sign(fleet.root("image", version, online=directory), ROOT))
    ceremony.director = rotation(fleet).director
    return ceremony


def everything(fleet: Fleet) -> Ceremony:
    """Online keys, root holders and targets keys at once."""
    new = ("targets-3", "targets-4")
    ceremony = targets_rotation(fleet, (*TARGETS, *new))
    root = fleet.root("image", 2, holders=NEW_ROOT, targets=new, online=new_online(fleet))
    ceremony.image[1] = sign(root, (*ROOT, *NEW_ROOT))
    ceremony.director = rotation(fleet).director
    return ceremony


def absent_holder(fleet: Fleet) -> Ceremony:
    """Online keys, and a targets holder for one who is absent: the new targets metadata waits for
    the new root, which accepts the old one too. So the image's timestamp is replaced twice.
    """
    root = fleet.root("image", 2, targets=(*TARGETS, "targets-3"), online=new_online(fleet))
    ceremony = rotation(fleet)
    ceremony.image[1] = sign(root, ROOT)
    ceremony.targets = new_targets(fleet, (TARGETS[0], "targets-3"))
    return ceremony


def newest(bench: Bench) -> dict[str, int | None]:
    return {prefix: StoredRepository(bench.store, prefix).newest("root") for prefix in PREFIXES}


def cut_everywhere(
    fleet: Fleet,
    home: Path,
    make: Make,
    keys: tuple[str, ...],
    check: Callable[[Bench, Path], None],
) -> int:
    """Cut a ceremony off before each write, and look; returns how many writes it takes."""
    new_online(fleet)
    ceremony = make(fleet)
    configure(fleet, *keys)
    signers = open_signers(fleet.settings())
    old = home / "old"
    began = Bench(fleet, signers)
    began.restart()
    assert read_all(began, old) == WHOLE
    began.back.database.close()
    for number in range(100):
        bench = Bench(fleet.copy(home / f"cut-{number}"), signers)
        bench.restart(CutStore(bench.store, number))
        try:
            whole = send(bench, ceremony).status_code == 201
        except PowerCut:
            whole = False
        bench.restart()
        shutil.copytree(old, home / f"old-{number}")
        check(bench, home / f"old-{number}")
        answer = send(bench, ceremony)
        assert answer.status_code in {200, 201}, answer.text
        assert read_all(bench, home / f"old-{number}") == WHOLE
        assert newest(bench)["image"] == len(ceremony.image)
        bench.back.database.close()
        if whole:
            return number
    raise AssertionError("it never ended")


@pytest.mark.parametrize(
    "make", [everything, three_roots, absent_holder], ids=lambda make: make.__name__
)
def test_nobody_reads_a_half_of_it(fleet: Fleet, tmp_path: Path, make: Make) -> None:
    seen = set()

    def check(bench: Bench, old: Path) -> None:
        assert read_all(bench, old) == WHOLE
        assert read_all(bench, old.with_name(f"other-{old.name}")) == WHOLE
        seen.add(tuple(newest(bench).values()))

    writes = cut_everywhere(fleet, tmp_path, make, ("online", "online-2"), check)
    # Heads of four repositories (11), their newest roots (4) and the bundles (3), at least.
    assert writes >= 18
    top = len(make(fleet).image)
    assert (1, 1, 1, 1) in seen
    assert (top, 1, 1, 1) in seen
    assert (top, 2, 2, 2) in seen
    assert all(image in {1, top} for image, *_ in seen)


def test_without_the_old_keys_the_gap_is_one_write_of_each_repository(
    fleet: Fleet, tmp_path: Path
) -> None:
    gaps: list[str] = []

    def check(bench: Bench, old: Path) -> None:
        read = read_all(bench, old)
        gaps.extend(prefix for prefix in PREFIXES if read[prefix] != "whole")
        # What waits for an operator at another hour is mended by the timer.
        bench.back.publisher.refresh()
        now = newest(bench)
        if now["director/canary"] == 2:
            assert set(now.values()) == {2}
        assert read_all(bench, old) == WHOLE

    cut_everywhere(fleet, tmp_path, rotation, ("online-2",), check)
    assert sorted(gaps) == sorted(PREFIXES)


def test_a_refresh_brings_directors_up_to_the_others(bench: Bench, tmp_path: Path) -> None:
    new_online(bench.fleet)
    restart(bench, "online", "online-2")
    ceremony = rotation(bench.fleet)
    bench.back.publisher.director("canary").put_roots(ceremony.director)
    assert newest(bench)["director/st-bert"] == 1
    bench.back.publisher.refresh()
    assert [newest(bench)[prefix] for prefix in PREFIXES] == [1, 2, 2, 2]
    assert read_all(bench, tmp_path) == WHOLE
