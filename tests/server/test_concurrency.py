"""Two publishers at once, in threads and in processes: versions rise and nothing is lost."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from interlock_core import wire
from interlock_core.names import ROSTER_ROLE
from interlock_core.statement import Opened
from interlock_core.tuf_stored import StoredRepository
from interlock_server.online_keys import Signers
from tests.server.world import (
    MANAGERS,
    NOW,
    PRODUCT,
    ROSTER_HOLDERS,
    V1,
    V2,
    Bench,
    Fleet,
    Reader,
    both,
    sign,
)
from tests.support import people
from tests.support.papers import authorise, order, stop


@both
def test_statements_of_many_threads_all_reach_the_directive(bench: Bench) -> None:
    said = order(targets=(V1.target(),))
    bench.say_all(said, authorise(said))
    stops = [stop(said, by=by, site=f"s{n}") for n in range(6) for by in ("olga", "omar")]

    def say(one: Opened[Any]) -> int:
        answer = bench.client.application.test_client().post(
            "/v1/statements", data=wire.encode(one.envelope), content_type="application/json"
        )
        return int(answer.status_code)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(say, stops)) == [201] * len(stops)
    shown = bench.directive().products[PRODUCT].stops
    assert set(shown) == {one.envelope for one in stops}


def _publish_in_a_process(fleet: Fleet, what: str, gate: object) -> None:
    bench = Bench(fleet)
    bench.restart()
    gate.wait()  # type: ignore[attr-defined]
    if what == "release":
        text = sign(fleet.product(2, V1, V2), MANAGERS)
        bench.publish(PRODUCT, text, V2.files.values())
    elif what == "roster":
        data = wire.encode(people.roster(seq=2, issued=NOW))
        bench.publish(ROSTER_ROLE, sign(fleet.roster_role(2, data), ROSTER_HOLDERS), [data])
    else:
        for _ in range(3):
            bench.back.publisher.refresh(force=True)


@both
def test_publishers_of_several_processes_lose_nothing(
    fleet: Fleet, signers: Signers, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(3)
    acts = ("release", "roster", "refresh")
    processes = [
        context.Process(target=_publish_in_a_process, args=(fleet, act, gate)) for act in acts
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    bench = Bench(fleet, signers)
    bench.restart()
    snapshot = StoredRepository(bench.store, "image").snapshot()
    assert snapshot is not None
    listed = {name: info.version for name, info in snapshot.signed.meta.items()}
    assert listed == {"targets.json": 2, "gateway.json": 2, "interlock.json": 2}
    reader = Reader(fleet, tmp_path)
    assert reader.read(bench.store, "image", V2.path, NOW) == V2.content
    # Each publication and each forced refresh made a version of its own.
    versions = [
        int(path.name.split(".")[0])
        for path in (bench.settings.store_directory / "image/metadata").glob("*.snapshot.json")
    ]
    assert sorted(versions) == list(range(1, max(versions) + 1))
    bench.back.database.close()
