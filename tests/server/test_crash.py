"""A power cut before any write of a publication: gateways read a whole repository, and the same
calls again finish.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from interlock_core import wire
from interlock_core.names import DIRECTIVE_PATH, ROSTER_PATH
from interlock_server.online_keys import Signers
from tests.server.world import (
    MANAGERS,
    NOW,
    PRODUCT,
    V1,
    V2,
    Bench,
    CutStore,
    Fleet,
    PowerCut,
    Reader,
    both,
    counted,
    cut_at,
    sha256,
    sign,
)
from tests.support import people
from tests.support.papers import authorise, order
from tests.support.people import CANARY, ST_BERT

Act = Callable[[Bench], None]
Cut = Callable[[Bench, int], None]


def releases(bench: Bench) -> None:
    text = sign(bench.fleet.product(2, V1, V2), MANAGERS)
    bench.publish(PRODUCT, text, V2.files.values())


def renews_the_roster(bench: Bench) -> None:
    # Without Ada, what she authorised is served no more: directives change with the roster.
    made = people.roster(people.OLGA, people.ALAN, seq=2, issued=NOW)
    bench.publish_roster(wire.encode(made), version=2)


def authorises(bench: Bench) -> None:
    said = order(seq=2, targets=(V1.target(),))
    bench.say_all(said, authorise(said))


def state(bench: Bench, reader: Reader) -> tuple[object, ...]:
    """All that one gateway of each cohort reads, from consistent repositories."""
    store = bench.store
    wanted = [("image", V2.path), ("image", ROSTER_PATH)]
    wanted += [(f"director/{cohort}", DIRECTIVE_PATH) for cohort in (CANARY, ST_BERT)]
    return tuple(reader.read(store, prefix, path, NOW) for prefix, path in wanted)


def at_store_writes(bench: Bench, number: int) -> None:
    bench.restart(CutStore(bench.store, number))


@pytest.mark.parametrize("act", [releases, renews_the_roster, authorises])
def test_a_cut_between_any_two_writes_of_the_store(
    fleet: Fleet, signers: Signers, tmp_path: Path, act: Act
) -> None:
    began = Bench(fleet, signers)
    began.restart()
    said = order(targets=(V1.target(),))
    began.say_all(said, authorise(said))
    old = state(began, Reader(fleet, tmp_path / "old"))
    began.back.database.close()
    seen = set()
    new = old
    for number in range(200):
        bench = Bench(fleet.copy(tmp_path / f"cut-{number}"), signers)
        bench.restart(CutStore(bench.store, number))
        try:
            act(bench)
            whole = True
        except PowerCut:
            whole = False
        reader = Reader(bench.fleet, tmp_path / f"reader-{number}")
        seen.add(state(bench, reader))
        bench.restart()
        act(bench)
        # The gateway that read in between goes on from what it trusts.
        new = state(bench, reader)
        seen.add(new)
        bench.back.database.close()
        if whole:
            break
    assert number >= 8
    assert old in seen
    assert new != old
    images = {one[0] for one in seen}
    assert images <= {None, V2.content}


def test_a_cut_at_any_change_of_the_disk_during_a_commit(
    fleet: Fleet, signers: Signers, tmp_path: Path
) -> None:
    """Not only between objects: also inside the writing of one, and in the pending directory."""
    began = Bench(fleet, signers)
    began.restart()
    text = sign(fleet.product(2, V1, V2), MANAGERS)
    began.offer(PRODUCT, text)
    for data in V2.files.values():
        began.send(sha256(text), data)
    began.back.database.close()
    whole = Bench(fleet.copy(tmp_path / "whole"), signers)
    whole.restart()
    with counted() as changes:
        assert whole.commit(sha256(text)).status_code == 200
    whole.back.database.close()
    assert len(changes) > 30
    for number in range(len(changes)):
        bench = Bench(fleet.copy(tmp_path / f"cut-{number}"), signers)
        bench.restart()
        with cut_at(number), pytest.raises(PowerCut):
            bench.commit(sha256(text))
        reader = Reader(bench.fleet, tmp_path / f"reader-{number}")
        assert reader.read(bench.store, "image", V2.path, NOW) in {None, V2.content}
        bench.restart()
        assert bench.commit(sha256(text)).json["state"] == "published"
        assert reader.read(bench.store, "image", V2.path, NOW) == V2.content
        bench.back.database.close()


@both
@pytest.mark.parametrize("force", [False, True], ids=["as needed", "with all heads signed again"])
def test_a_publication_that_stands_behind_its_heads_is_finished_by_one_refresh(
    bench: Bench, tmp_path: Path, *, force: bool
) -> None:
    text = sign(bench.fleet.product(2, V1, V2), MANAGERS)
    bench.offer(PRODUCT, text)
    for data in V2.files.values():
        bench.send(sha256(text), data)
    # Both targets and the metadata are stored, and the heads are not moved.
    bench.restart(CutStore(bench.store, 3))
    with pytest.raises(PowerCut):
        bench.commit(sha256(text))
    bench.restart()
    reader = Reader(bench.fleet, tmp_path)
    assert reader.read(bench.store, "image", V2.path, NOW) is None
    bench.back.publisher.refresh(force=force)
    assert reader.read(bench.store, "image", V2.path, NOW) == V2.content
    assert bench.commit(sha256(text)).json["state"] == "published"
