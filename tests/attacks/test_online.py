"""Whoever holds the server and every online key.

He signs any director, snapshot and timestamp that he likes. He can withhold and delay. He cannot
install what was not signed, start, enlarge or hasten what was not authorised, retarget or go back.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tuf.api.metadata import DelegatedRole, Delegations, Signed, TargetFile

from interlock_client.cli.edge import finish
from interlock_core.errors import Exit
from interlock_core.wire import sha256_hex
from tests.attacks.simulator import CANARY, IMAGE, WARDS, Simulator, stage
from tests.client.world import PRODUCT

CENTURY = timedelta(days=36_500)
TRAVERSING = (
    "../../../etc/passwd",
    "/etc/passwd",
    "ward-gateway/../x",
    "ward-gateway/1.0.0/%2e%2e",
)


class TestImages:
    def test_an_image_that_nobody_signed(self, sim: Simulator) -> None:
        rollout = sim.started()
        sim.show(rollout)
        evil = TargetFile.from_data(rollout.releases[0].path, b"evil", ["sha256"])
        sim.world.put_target("image", evil, b"evil")
        sim.direct(evil=evil)
        sim.refuses("repositories_disagree", online=True)

    def test_an_image_that_no_order_names(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        sim.direct(evil=TargetFile.from_data("ward-gateway/6.6.6/image.bin", b"evil", ["sha256"]))
        sim.refuses("order_mismatch", online=True)

    @pytest.mark.parametrize(
        "change",
        [
            {"length": len(IMAGE) + 1},
            {"hashes": {"sha256": "0" * 64}},
            {"hashes": {"sha512": "0" * 128}},
            {"hashes": {"sha256": sha256_hex(IMAGE), "sha512": "0" * 128}},
            {"hashes": {"sha256": sha256_hex(IMAGE), "rot13": "0"}},
        ],
        ids=["length", "sha256", "another", "one-more", "unknown"],
    )
    def test_the_repositories_disagree(self, sim: Simulator, change: dict[str, object]) -> None:
        """Hashes are equal as a whole, not where they overlap."""
        release = sim.release()
        sim.world.roll_out(release)
        info = TargetFile(release.info.length, dict(release.info.hashes), release.path)
        for name, value in change.items():
            setattr(info, name, value)
        sim.direct(image=info)
        sim.refuses("repositories_disagree", online=True)

    def test_an_image_that_the_director_hides(self, sim: Simulator) -> None:
        """The order names it and the image repository has it: that is not enough."""
        rollout = sim.started()
        rollout.releases = ()
        sim.show(rollout)
        sim.refuses("repositories_disagree", online=True)

    @pytest.mark.parametrize(
        ("hashes", "reason"),
        [
            ({"sha512": "0" * 128}, "untrusted_metadata"),
            ({"sha256": "../../../x"}, "network"),
            ({"md5": "0" * 32}, "untrusted_metadata"),
            ({"sha256": "A" * 64}, "network"),
        ],
    )
    def test_a_directive_named_by_another_hash(
        self, sim: Simulator, hashes: dict[str, str], reason: str
    ) -> None:
        info = sim.directive_info()
        sim.direct(directive=TargetFile(info.length, hashes, info.path), bundled=False)
        code = Exit.TRANSIENT if reason == "network" else Exit.REFUSED
        sim.refuses(reason, exit_code=code, mend=sim.show)

    def test_a_director_that_delegates(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        director = sim.world.director(WARDS)
        evil = DelegatedRole("evil", [], 1, True, ["*"])
        with director.edit_targets() as targets:
            targets.delegations = Delegations({}, {"evil": evil})
        director.publish()
        sim.world.bundle(WARDS)
        sim.refuses("order_mismatch", online=True, mend=sim.undelegate)


class TestElsewhere:
    def test_a_cohort_in_which_everybody_is_canary(self, sim: Simulator) -> None:
        sim.show(sim.started(stage(CANARY)))
        sim.refuses("order_mismatch", online=True)

    def test_a_directive_for_another_cohort(self, sim: Simulator) -> None:
        sim.show(sim.order(stage(CANARY)), cohort=CANARY)
        sim.refuses("wrong_cohort")

    @pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
    @pytest.mark.parametrize("cohort", [CANARY, None, "", ["wards"]])
    def test_a_director_one_of_whose_heads_names_another_cohort(
        self, sim: Simulator, role: str, cohort: object
    ) -> None:
        def other(signed: Signed) -> None:
            signed.version += 1
            if signed.type == role:
                signed.unrecognized_fields["cohort"] = cohort

        sim.heads("director/wards", other)
        sim.refuses("wrong_cohort")

    def test_a_cohort_that_no_rule_covers(self, sim: Simulator) -> None:
        sim.roster_asking(pattern=CANARY)
        sim.world.roll_out(sim.release())
        sim.refuses("cohort_denied", online=True, mend=sim.roster)

    def test_a_directive_for_another_fleet(self, sim: Simulator) -> None:
        sim.show(fleet="staging")
        sim.refuses("wrong_fleet")

    def test_a_roster_of_another_fleet(self, sim: Simulator) -> None:
        """Signed by the same holders, in staging."""
        sim.roster(fleet="staging")
        sim.refuses("wrong_fleet", mend=sim.roster)

    def test_an_order_of_another_fleet(self, sim: Simulator) -> None:
        """Signed by the same people, in staging."""
        sim.show(sim.started(fleet="staging"))
        sim.refuses("wrong_fleet", online=True)

    def test_an_order_for_another_product(self, sim: Simulator) -> None:
        """Shown under this product's name."""
        release = sim.release()
        wanted = msgspec.structs.replace(release.target, path="pump/1.0.0/image.bin")
        rollout = sim.started(release=release, product="pump", targets=(wanted,))
        rollout.releases = ()
        sim.show(rollout)
        sim.refuses("wrong_product", online=True)

    @pytest.mark.parametrize(
        ("facts", "reason"),
        [
            ({"hardware_ids": ("cg-999",)}, "wrong_hardware"),
            ({"markets": ("US",)}, "wrong_market"),
            ({"release_counter": 9, "min_counter_installed": 8}, "barrier_not_met"),
        ],
    )
    def test_an_image_for_others(self, sim: Simulator, facts: dict[str, Any], reason: str) -> None:
        sim.world.roll_out(sim.release(**facts))
        sim.refuses(reason, online=True)


class TestTimes:
    def test_far_in_the_future_raise_no_floor(self, sim: Simulator) -> None:
        before = sim.bed.memory.clock_floor
        sim.world.roll_out(sim.release())
        for prefix in ("image", "director/wards"):
            repository = sim.repository(prefix)
            repository._lifetimes = dict.fromkeys(("targets", "snapshot", "timestamp"), CENTURY)
            repository.refresh(CENTURY)
        sim.world.bundle(WARDS)
        sim.grants()
        assert sim.bed.memory.clock_floor == before

    @pytest.mark.parametrize("prefix", ["image", "director/wards"])
    def test_an_issue_time_of_online_metadata_raises_no_floor(
        self, sim: Simulator, prefix: str
    ) -> None:
        """Only threshold signatures that people made offline are believed about the time."""
        before = sim.bed.memory.clock_floor
        sim.world.roll_out(sim.release())
        sim.say_issued(prefix, datetime(2035, 1, 1, tzinfo=UTC))
        sim.grants()
        assert sim.bed.memory.clock_floor == before
        sim.rotate_online(prefix)

    def test_a_statement_from_the_future_counts_for_nothing(self, sim: Simulator) -> None:
        """Whole, well signed, and dated by machines whose clocks ran ahead."""
        now, release = sim.world.clock.now, sim.release()
        sim.world.clock.now = datetime(2035, 1, 1, tzinfo=UTC)
        rollout = sim.started(release=release, not_before=now)
        sim.world.clock.now = now
        sim.show(rollout)
        sim.refuses("unauthorised_rollout", online=True)

    @pytest.mark.parametrize("year", [2035, 9998])
    def test_an_opening_from_the_future_counts_for_nothing(self, sim: Simulator, year: int) -> None:
        now, rollout = sim.world.clock.now, sim.order()
        sim.world.clock.now = datetime(year, 1, 1, tzinfo=UTC)
        sim.world.open_stage(rollout)
        sim.world.clock.now = now
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)


class TestEvicted:
    @pytest.fixture(params=["image", "director/wards"])
    def prefix(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_a_stolen_key_signs_nothing_after_a_rotation(self, sim: Simulator, prefix: str) -> None:
        sim.fast_forward(prefix)
        stolen = dict(sim.web.lies)
        sim.web.lies.clear()
        sim.rotate_online(prefix)
        sim.says("nothing_wanted", Exit.DONE)
        sim.web.lies.update(stolen)
        sim.refuses("untrusted_metadata")

    def test_a_fast_forward_is_recovered_from_by_a_rotation(
        self, sim: Simulator, prefix: str
    ) -> None:
        sim.fast_forward(prefix)
        sim.says("nothing_wanted", Exit.DONE)
        sim.web.lies.clear()
        sim.world.roll_out(sim.release())
        sim.says("rollback")
        sim.rotate_online(prefix)
        sim.grants()

    def test_an_eviction_that_was_seen_once(self, sim: Simulator, prefix: str) -> None:
        """Even by a check that failed for another reason: it is not withheld again."""
        sim.fast_forward(prefix)
        stolen = dict(sim.web.lies)
        sim.web.lies.clear()
        sim.rotate_online(prefix)
        sim.web.lies.update(stolen)
        sim.says("untrusted_metadata")
        sim.web.answer(f"/{prefix}/metadata/2.root.json", b"", 404)
        sim.refuses("untrusted_metadata")

    def test_an_eviction_that_is_withheld(self, sim: Simulator) -> None:
        """A stolen key is believed as long as the root that names it: the exposure, and its end."""
        stolen = sim.world.image_online
        sim.rotate_online("image")
        sim.web.answer("/image/metadata/2.root.json", b"", 404)
        sim.sign_snapshot({}, stolen)
        sim.says("nothing_wanted", Exit.DONE)
        sim.world.clock.pass_(days=366)
        sim.sign_snapshot({}, stolen)
        sim.refuses("expired_metadata", mend=sim.renew_everything)


class TestNames:
    """What is well signed is parsed like everything else."""

    @pytest.mark.parametrize("path", TRAVERSING)
    def test_an_order_for_a_path_that_leads_elsewhere(self, sim: Simulator, path: str) -> None:
        rollout = sim.started()
        sim.rewrite_order(rollout, rollout.releases[0].path, path)
        sim.refuses("malformed", online=True)

    @pytest.mark.parametrize("name", ["../pump", "Ward-Gateway", "root", "a" * 64, "a\\u0000b"])
    def test_an_order_for_a_product_of_such_a_name(self, sim: Simulator, name: str) -> None:
        rollout = sim.started()
        sim.rewrite_order(rollout, '"product":"ward-gateway"', f'"product":"{name}"')
        sim.refuses("malformed", online=True)

    @pytest.mark.parametrize("path", TRAVERSING)
    def test_a_director_that_lists_such_a_path(self, sim: Simulator, path: str) -> None:
        sim.world.roll_out(sim.release())
        sim.direct(evil=TargetFile.from_data(path, b"evil", ["sha256"]))
        sim.refuses("order_mismatch", online=True)

    @pytest.mark.parametrize("name", ["../pump", "WARDS", "a" * 64, ""])
    def test_a_directive_for_a_product_of_such_a_name(self, sim: Simulator, name: str) -> None:
        rollout = sim.started()
        sim.show(rollout, products={PRODUCT: rollout.entry(), name: rollout.entry()})
        sim.refuses("malformed")

    def test_what_is_signed_cannot_write_to_a_persons_terminal(
        self, sim: Simulator, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What a refusal quotes from its cause is shown as one printable line."""
        director = sim.world.director(WARDS)
        director._cohort = "wards\x1b[2J\nupdate_available: fine"
        director.refresh(CENTURY)
        sim.world.bundle(WARDS)
        with pytest.raises(SystemExit):
            finish(sim.says("wrong_cohort"), as_json=False)
        printed = capsys.readouterr().err
        assert printed.startswith("refused (wrong_cohort)")
        assert printed.removesuffix("\n").isprintable()
        sim.world.director(WARDS).refresh(CENTURY)
