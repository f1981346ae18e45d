"""Where the attacks are."""

from __future__ import annotations

from typing import Final

BYTES: Final = "tests/attacks/test_bytes.py"
NETWORK: Final = "tests/attacks/test_network.py"
OFFLINE: Final = "tests/attacks/test_offline.py"
ONLINE: Final = "tests/attacks/test_online.py"
PEOPLE: Final = "tests/attacks/test_people.py"
PLACE: Final = "tests/attacks/test_place.py"
REVIEW: Final = "tests/attacks/test_review.py"
ROLLOUTS: Final = "tests/attacks/test_rollouts.py"
ROSTERS: Final = "tests/attacks/test_rosters.py"
STOPS: Final = "tests/attacks/test_stops.py"
