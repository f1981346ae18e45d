"""What is adopted is on the disk before it is in force."""

from __future__ import annotations

from pathlib import Path

from interlock_core import durable
from tests.client.bed import Bed
from tests.client.world import World

FLUSHES = {"sync", "sync_directory"}


def test_every_file_is_flushed_before_the_link_is_switched(world: World, bed: Bed) -> None:
    """Or else a power cut would leave a link to files that are empty."""
    world.roll_out(world.release("1.0.0", b"release one"))
    acts: list[tuple[str, Path]] = []
    with durable.watching(lambda act, path: acts.append((act, path))):
        assert bed.check().outcome == "update_available"
    trusted = bed.home / "state" / "trusted"
    tree = trusted.resolve()
    switched = acts.index(("rename", trusted))
    flushed = {path for act, path in acts[:switched] if act in FLUSHES}
    kept = {tree.parent, tree, *(path for path in tree.rglob("*") if not path.is_symlink())}
    assert len(kept) > 10
    assert kept - flushed == set()
