"""What a review found: online keys that make a gateway hold, keep or say more than it can."""

from __future__ import annotations

import json

from tuf.api.metadata import Signed, TargetFile, Targets

from interlock_client.journal import Decisions
from interlock_client.sealed import MAX_RECORD
from interlock_core.errors import MAX_MESSAGE
from interlock_core.names import DIRECTIVE_PATH
from interlock_core.tuf_metadata import MAX_LENGTH
from tests.attacks.lies import TAKEN_AT_MOST, Endless
from tests.attacks.simulator import WARDS, Simulator

LONG = "a" * 3_000_000
"""More than a record may hold, and less than targets metadata may."""


class TestWordsWithoutEnd:
    """What is refused is kept, and told to people: however long it is, deciding goes on."""

    def said(self, sim: Simulator) -> None:
        """The newest decision can be read, and what it says is short."""
        newest = Decisions(sim.bed.home / "state" / "decisions").newest()
        assert newest is not None
        assert newest["verdict"]["outcome"] == "refused"
        assert len(newest["verdict"]["detail"]) <= MAX_MESSAGE
        assert all(len(item["detail"]) <= MAX_MESSAGE for item in newest.get("checks", ()))

    def test_a_target_of_the_director(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        sim.direct(evil=TargetFile.from_data(f"ward-gateway/{LONG}", b"evil", ["sha256"]))
        outcome = sim.bed.update()
        assert outcome.reason == "order_mismatch"
        assert len(outcome.detail) < MAX_MESSAGE
        self.said(sim)

    def test_a_cohort(self, sim: Simulator) -> None:
        def elsewhere(signed: Signed) -> None:
            signed.version += 100
            if signed.type == Targets.type:
                signed.unrecognized_fields["cohort"] = LONG

        sim.heads(f"director/{WARDS}", elsewhere)
        assert sim.bed.update().reason == "wrong_cohort"
        self.said(sim)

    def test_a_field_of_the_directive(self, sim: Simulator) -> None:
        sim.show()
        data = json.dumps({LONG: 1}).encode()
        info = TargetFile.from_data(DIRECTIVE_PATH, data, ["sha256"])
        sim.world.put_target(f"director/{WARDS}", info, data)
        sim.direct(directive=info, bundled=False)
        assert sim.bed.update().reason == "malformed"
        self.said(sim)

    def test_a_record_that_was_kept_all_the_same(self, sim: Simulator) -> None:
        """By whatever version of the agent: it is evidence, and nothing that deciding rests on."""
        decisions = sim.bed.home / "state" / "decisions"
        newest = max(decisions.iterdir())
        newest.with_name(f"{int(newest.stem) + 1:010}.json").write_bytes(b" " * (MAX_RECORD + 1))
        sim.world.roll_out(sim.release())
        sim.grants()


def test_a_timestamp_that_announces_a_snapshot_without_end(sim: Simulator) -> None:
    """The length is online keys' word: no more is read than a snapshot may have."""
    sim.announce_snapshot(77, length=10**12)
    endless = Endless(b" ")
    sim.tell("/image/metadata/77.snapshot.json", endless)
    sim.refuses("inconsistent_metadata")
    assert endless.sent <= MAX_LENGTH["snapshot"] + TAKEN_AT_MOST
