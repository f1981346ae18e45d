"""The metadata files of both repositories, as URL paths."""

from __future__ import annotations

from tests.attacks.simulator import WARDS, Simulator
from tests.client.world import PRODUCT

HEADS = ("image", "director/wards")
SIGNED = (
    "/image/metadata/timestamp.json",
    "/image/metadata/2.root.json",
    "/director/wards/metadata/timestamp.json",
    "/director/wards/metadata/2.root.json",
)
"""What is believed for its signatures alone."""
PINNED = (
    "/image/metadata/{image/snapshot}.snapshot.json",
    "/image/metadata/{image/targets}.targets.json",
    "/image/metadata/{image/interlock}.interlock.json",
    f"/image/metadata/{{image/{PRODUCT}}}.{PRODUCT}.json",
    "/director/wards/metadata/{director/wards/snapshot}.snapshot.json",
    "/director/wards/metadata/{director/wards/targets}.targets.json",
)
"""What other metadata names by length and digest too."""


def everything_new(sim: Simulator) -> None:
    """Every role has a version that this gateway has not seen."""
    sim.world.put_targets()
    sim.world.put_roster()
    sim.world.roll_out(sim.release())


def numbered(sim: Simulator, path: str) -> str:
    """The URL path with the versions that are published now."""
    for prefix, stored in (
        ("image", sim.world.image.stored),
        ("director/wards", sim.world.director(WARDS).stored),
    ):
        for role in ("snapshot", "targets", "interlock", PRODUCT):
            path = path.replace(f"{{{prefix}/{role}}}", f"{stored.published_version(role)}")
    return path


def newest(sim: Simulator, prefix: str, role: str) -> bytes:
    """The newest metadata of a role of one repository."""
    stored = sim.repository(prefix).stored
    if role == "timestamp":
        return sim.world.store.get(f"{prefix}/metadata/timestamp.json")
    data = stored.newest_bytes(role)
    assert data is not None
    return data
