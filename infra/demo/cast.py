"""Who is in the story, and where each gateway stands."""

from __future__ import annotations

from typing import Final

from infra.demo.gateways import Place

CANARY: Final = "canary"
WARDS: Final = "wards"
FLEET: Final = "demo-fleet"

KEY_HOLDERS: Final = ("ada", "ben", "cleo")
RELEASE_MANAGERS: Final = ("rosa", "raul")
ROSTER_HOLDERS: Final = ("tom", "tess")
PROPOSER: Final = "olivia"
APPROVERS: Final = ("amir", "anna")
MONITOR: Final = "mona"
ST_MARY: Final = "st-mary"
CITY: Final = "city"
ENGINEER: Final = "erik"
"""Looks after the gateways of St Mary's, and of no other hospital."""
FLEET_PEOPLE: Final = (PROPOSER, *APPROVERS, ENGINEER, MONITOR)
PLACES: Final = {
    **{f"gw-{number}": Place(CANARY, ST_MARY) for number in (1, 2)},
    **{f"gw-{number}": Place(WARDS, CITY) for number in range(3, 9)},
}
