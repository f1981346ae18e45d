"""Whoever holds the server and every online key, alone or together with one person's key.

He signs any director, snapshot and timestamp that he likes. He can withhold and delay. He cannot
install what was not signed, start, enlarge or hasten what was not authorised, retarget or go back.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, TargetFile

from interlock_client.cli.edge import finish
from interlock_core.errors import Exit
from interlock_core.keybytes import PublicKey
from interlock_core.names import ROSTER_PATH
from interlock_core.order import Authorisation, Order, Stop
from interlock_core.placement import point
from interlock_core.roster import Grant
from interlock_core.statement import Envelope, open_as
from interlock_core.tuf_metadata import serialise
from interlock_core.wire import encode
from tests.attacks.simulator import CANARY, IMAGE, OPERATOR, WARDS, Simulator, edited, stage
from tests.client.world import APPROVERS, MONITOR, PRODUCT, World, new_keys

DAY = 86_400


def outside(sim: Simulator, share: int) -> bytes:
    """An image for which this gateway is outside a share (basis points)."""
    images = (b"image %d" % number for number in range(1000))
    release = (data for data in images if point(_sha256(data), sim.bed.settings.device) >= share)
    return next(release)


def _sha256(data: bytes) -> str:
    return TargetFile.from_data("x", data, ["sha256"]).hashes["sha256"]


class TestImages:
    def test_an_image_that_nobody_signed(self, sim: Simulator) -> None:
        rollout = sim.order()
        sim.world.open_stage(rollout)
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
            {"hashes": {"sha256": _sha256(IMAGE), "sha512": "0" * 128}},
            {"hashes": {"sha256": _sha256(IMAGE), "rot13": "0"}},
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

    @pytest.mark.parametrize(
        "hashes",
        [{"sha512": "0" * 128}, {"sha256": "../../../x"}, {"md5": "0" * 32}, {"sha256": "A" * 64}],
    )
    def test_a_directive_named_by_another_hash(
        self, sim: Simulator, hashes: dict[str, str]
    ) -> None:
        info = sim.directive_info()
        sim.direct(directive=TargetFile(info.length, hashes, info.path), bundled=False)
        outcome = sim.bed.check()
        assert outcome.exit_code in {Exit.REFUSED, Exit.TRANSIENT}
        sim.web.lies.clear()
        sim.show()
        sim.recovers()

    def test_a_director_that_delegates(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        director = sim.world.director(WARDS)
        with director.edit_targets() as targets:
            targets.delegations = Delegations(
                {}, {"evil": DelegatedRole("evil", [], 1, True, ["*"])}
            )
        director.publish()
        sim.world.bundle(WARDS)
        outcome = sim.bed.update()
        assert (outcome.reason, outcome.exit_code) == ("order_mismatch", Exit.REFUSED)


class TestRollouts:
    def test_one_that_nobody_authorised(self, sim: Simulator) -> None:
        rollout = sim.world.order(sim.release(), author=OPERATOR)
        sim.world.people["eve"] = CryptoSigner.generate_ed25519()
        rollout.order = open_as(
            sim.world.by("eve", msgspec.structs.replace(rollout.order.said, author="eve")), Order
        )
        sim.world.authorise(rollout, "order", rollout.order.id)
        sim.show(rollout)
        sim.refuses("unauthorised_rollout", online=True)

    def test_one_that_nobody_started(self, sim: Simulator) -> None:
        sim.show(sim.order())
        sim.refuses("not_started", online=True, exit_code=Exit.DEFERRED)

    @pytest.mark.parametrize("what", ["share", "cohorts", "soak", "expires", "targets", "kind"])
    def test_one_that_was_edited(self, sim: Simulator, what: str) -> None:
        """More gateways, earlier, for longer, another image, or downwards."""
        rollout = sim.order(stage(CANARY, soak=DAY), stage(WARDS, share=100))
        sim.world.open_stage(rollout)
        other = sim.release("2.0.0", b"another image")
        changes: dict[str, dict[str, Any]] = {
            "share": {"stages": (stage(CANARY, soak=DAY), stage(WARDS, share=10_000))},
            "cohorts": {"stages": (stage(CANARY, WARDS),)},
            "soak": {"stages": (stage(CANARY), stage(WARDS, share=100))},
            "expires": {"expires": sim.world.clock() + timedelta(days=9000)},
            "targets": {"targets": (other.target,)},
            "kind": {"kind": "recall"},
        }
        sim.forge(rollout, **changes[what])
        if what == "targets":
            rollout.releases = [other]
            sim.show(rollout)
        sim.refuses("unauthorised_rollout", online=True)

    def test_a_larger_share_than_was_signed(self, sim: Simulator) -> None:
        """There is nothing to enlarge: a directive holds no percentage of its own."""
        data = outside(sim, 100)
        rollout = sim.order(stage(WARDS, share=100), release=sim.release(data=data))
        sim.world.open_stage(rollout)
        sim.show(rollout)
        sim.refuses("not_in_stage", online=True, exit_code=Exit.DEFERRED)

    def test_all_stages_at_once_when_the_calendar_says_so(self, sim: Simulator) -> None:
        rollout = sim.order(stage(CANARY, soak=DAY), stage(WARDS))
        sim.world.open_stage(rollout, days=30)
        sim.world.clock.pass_(days=6)
        sim.world.refresh()
        sim.show(rollout)
        sim.refuses("not_in_stage", online=True, exit_code=Exit.DEFERRED)

    @pytest.mark.parametrize("hours", [0, 23])
    def test_a_stage_before_its_soak(self, sim: Simulator, hours: int) -> None:
        """People were tricked into opening it early: the soak holds all the same."""
        rollout = sim.order(stage(CANARY, soak=DAY), stage(WARDS))
        sim.world.open_stage(rollout)
        sim.world.clock.pass_(hours=hours)
        sim.world.open_stage(rollout, 1)
        sim.world.clock.pass_(days=3)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_a_stage_without_the_one_before(self, sim: Simulator) -> None:
        rollout = sim.order(stage(CANARY), stage(WARDS))
        sim.world.open_stage(rollout, 1)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_an_opening_dated_back(self, sim: Simulator) -> None:
        rollout = sim.order(stage(CANARY, soak=DAY), stage(WARDS))
        sim.world.open_stage(rollout)
        opening = sim.world.open_stage(rollout, 1)
        rollout.chain[-1] = edited(opening, opened_at=sim.world.clock() + timedelta(days=1))
        sim.world.clock.pass_(days=2)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_before_its_earliest_time(self, sim: Simulator) -> None:
        rollout = sim.order(not_before=sim.world.clock() + timedelta(days=1))
        sim.world.open_stage(rollout)
        sim.show(rollout)
        sim.refuses("not_before", online=True, exit_code=Exit.DEFERRED)

    def test_one_that_expired(self, sim: Simulator) -> None:
        rollout = sim.order(expires=sim.world.clock() + timedelta(days=2))
        sim.world.open_stage(rollout)
        sim.world.clock.pass_(days=2)
        sim.show(rollout)
        sim.refuses("expired_order", online=True)

    def test_an_older_one_after_a_newer(self, sim: Simulator) -> None:
        older = sim.world.roll_out(sim.release())
        sim.world.roll_out(sim.release("2.0.0", b"newer"))
        assert sim.bed.check().outcome == "update_available"
        sim.show(older)
        sim.refuses("superseded_order", online=True)

    def test_another_of_the_same_number(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release(), seq=7)
        assert sim.bed.check().outcome == "update_available"
        twin = sim.order(release=sim.release("2.0.0", b"the twin"), seq=7)
        sim.world.open_stage(twin)
        sim.show(twin)
        sim.world._order_seq = 7
        sim.refuses("superseded_order", online=True)

    def test_one_that_the_roster_ended(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release(), seq=7)
        sim.world.put_roster(min_order_seq={PRODUCT: 8})
        sim.world.image.publish()
        sim.show(rollout)
        sim.world._order_seq = 7
        sim.refuses("superseded_order", online=True)

    def test_an_older_release(self, sim: Simulator) -> None:
        """Signed, ordered and authorised once; below the floor now, and no permit covers it."""
        first = sim.release("1.0.0", b"first")
        for release in (first, sim.release("2.0.0", b"second", raises_floor_to=2)):
            sim.world.roll_out(release)
            assert sim.bed.install().outcome == "confirmed"
        sim.world.roll_out(first, kind="recall")
        sim.refuses("below_floor", online=True)

    def test_one_that_people_let_lapse(self, sim: Simulator) -> None:
        rollout = sim.order()
        sim.world.open_stage(rollout, days=7)
        sim.world.clock.pass_(days=8)
        sim.world.refresh()
        sim.show(rollout)
        sim.refuses("go_lapsed", online=True)

    def test_one_whose_stop_is_not_shown_any_more(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release())
        sim.world.stop(rollout)
        sim.show(rollout)
        assert sim.bed.check().reason == "stopped"
        rollout.stops.clear()
        sim.show(rollout)
        sim.refuses("stopped", online=True)


class TestElsewhere:
    def test_a_cohort_in_which_everybody_is_canary(self, sim: Simulator) -> None:
        rollout = sim.order(stage(CANARY))
        sim.world.open_stage(rollout)
        sim.show(rollout)
        sim.refuses("order_mismatch", online=True)

    def test_a_directive_for_another_cohort(self, sim: Simulator) -> None:
        sim.show(sim.order(stage(CANARY)), cohort=CANARY)
        sim.refuses("wrong_cohort")

    def test_a_directive_for_another_fleet(self, sim: Simulator) -> None:
        sim.show(fleet="staging")
        sim.refuses("wrong_fleet")

    def test_an_order_of_another_fleet(self, sim: Simulator) -> None:
        """Signed by the same people, in staging."""
        rollout = sim.world.order(sim.release(), fleet="staging")
        sim.world.authorise(rollout, "order", rollout.order.id)
        sim.world.open_stage(rollout)
        sim.show(rollout)
        sim.refuses("wrong_fleet", online=True)

    def test_an_order_for_another_product(self, sim: Simulator) -> None:
        """Shown under this product's name."""
        other = TargetFile.from_data("pump/1.0.0/image.bin", IMAGE, ["sha256"])
        target = sim.release().target
        wanted = msgspec.structs.replace(target, path=other.path)
        rollout = sim.order(release=sim.world.releases[0], product="pump", targets=(wanted,))
        sim.world.open_stage(rollout)
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


class TestRosters:
    def test_frozen(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        sim.world.clock.pass_(days=36)
        sim.world.refresh()
        with sim.unchanged(online=True):
            assert sim.bed.update().reason == "roster_stale"
        sim.world.put_roster()
        sim.world.image.publish()
        sim.recovers()

    @pytest.mark.parametrize("rotated", [False, True])
    def test_rolled_back(self, sim: Simulator, rotated: bool) -> None:
        """Also after a rotation of online keys, at which TUF clients forget versions."""
        sim.world.put_roster()
        sim.world.image.publish()
        sim.world.refresh()
        assert sim.bed.check().exit_code is Exit.DONE
        if rotated:
            sim.world.rotate_root("image", image_online=new_keys(1))
        sim.sign_snapshot({"interlock": 1})
        sim.refuses("rollback")

    def test_a_revoked_operator(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release())
        left = [person for person in sim.world.put_roster().persons if person.name != OPERATOR]
        sim.world.put_roster(persons=tuple(left))
        sim.world.image.publish()
        sim.show(rollout)
        with sim.unchanged(online=True):
            assert sim.bed.update().reason == "unauthorised_rollout"
        sim.world.put_roster()
        sim.world.image.publish()
        sim.recovers()


class TestOnePersonToo:
    """With one operator's or approver's key beside all online keys, the same."""

    @pytest.mark.parametrize("words", [(OPERATOR,), (APPROVERS[0],), (APPROVERS[0],) * 3])
    def test_one_person_counts_once(self, sim: Simulator, words: tuple[str, ...]) -> None:
        rollout = sim.world.order(sim.release())
        for number, author in enumerate(words):
            sim.world.clock.pass_(seconds=number)
            sim.world.authorise(rollout, "order", rollout.order.id, author)
        sim.world.open_stage(rollout)
        sim.show(rollout)
        sim.refuses("unauthorised_rollout", online=True)

    def test_one_person_with_two_keys(self, sim: Simulator) -> None:
        second = CryptoSigner.generate_ed25519()
        persons = list(sim.world.put_roster().persons)
        amir = next(person for person in persons if person.name == APPROVERS[0])
        keys = (*amir.keys, PublicKey.of(second.public_key))
        persons[persons.index(amir)] = msgspec.structs.replace(amir, keys=keys)
        sim.world.put_roster(persons=tuple(persons))
        sim.world.image.publish()
        rollout = sim.world.order(sim.release())
        sim.world.authorise(rollout, "order", rollout.order.id, APPROVERS[0])
        sim.world.people[APPROVERS[0]] = second
        sim.world.clock.pass_(seconds=1)
        sim.world.authorise(rollout, "order", rollout.order.id, APPROVERS[0])
        sim.show(rollout)
        sim.refuses("unauthorised_rollout", online=True)

    def test_one_key_of_two_people(self, sim: Simulator) -> None:
        """Such a roster is refused whole."""
        roster = sim.world.put_roster()
        mine, hers = (encode(roster.persons[number].keys) for number in (1, 2))
        data = encode(roster).replace(mine, hers)
        info = TargetFile.from_data(ROSTER_PATH, data, ["sha256"])
        sim.world.put_target("image", info, data)
        sim.world.put_role("interlock", {ROSTER_PATH: info})
        sim.world.image.publish()
        sim.world.bundle(WARDS)
        with sim.unchanged():
            assert sim.bed.update().reason == "malformed"
        sim.world.put_roster()
        sim.world.image.publish()
        sim.recovers()

    def test_a_word_that_only_reviews(self, sim: Simulator) -> None:
        rollout = sim.world.order(sim.release())
        for author in APPROVERS:
            word = Authorisation(
                **sim.world.said(author),
                authorises="order",
                id=rollout.order.id,
                role="approver",
                meaning="reviewed",
            )
            rollout.authorisations.append(sim.world.by(author, word))
        sim.show(rollout)
        sim.refuses("unauthorised_rollout", online=True)

    def test_an_operator_opens_nothing_alone(self, sim: Simulator) -> None:
        rollout = sim.order()
        sim.go(OPERATOR, rollout)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_an_operator_resumes_nothing_alone(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release())
        halt = sim.world.stop(rollout)
        sim.go(OPERATOR, rollout, act="resume", clears=(halt.id,))
        sim.show(rollout)
        sim.refuses("stopped", online=True)

    def test_an_operator_renews_nothing_that_lapsed(self, sim: Simulator) -> None:
        rollout = sim.order()
        opening = sim.world.open_stage(rollout)
        sim.world.clock.pass_(days=8)
        sim.world.refresh()
        opened_at = opening.said.opened_at
        sim.go(OPERATOR, rollout, act="renew", renews=opening.id, opened_at=opened_at)
        sim.show(rollout)
        sim.refuses("go_lapsed", online=True)


class TestMonitorToo:
    """With the monitor's key: the auto stages that remain open early, and nothing else does."""

    def test_auto_stages_open(self, sim: Simulator) -> None:
        rollout = sim.order(stage(CANARY), stage(WARDS, gate="auto"))
        sim.world.open_stage(rollout)
        sim.go(MONITOR, rollout, stage=1)
        sim.show(rollout)
        assert sim.bed.check().outcome == "update_available"

    def test_but_no_manual_gate(self, sim: Simulator) -> None:
        rollout = sim.order(stage(CANARY), stage(WARDS))
        sim.world.open_stage(rollout)
        sim.go(MONITOR, rollout, stage=1)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_nor_a_start(self, sim: Simulator) -> None:
        rollout = sim.order()
        sim.go(MONITOR, rollout)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_nor_another_order(self, sim: Simulator) -> None:
        rollout = sim.world.order(sim.release(), author=MONITOR)
        sim.world.authorise(rollout, "order", rollout.order.id)
        sim.show(rollout)
        sim.refuses("unauthorised_rollout", online=True)

    def test_nor_a_resume(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release())
        halt = sim.world.stop(rollout)
        resume = sim.go(MONITOR, rollout, act="resume", clears=(halt.id,))
        sim.world.authorise(rollout, "go", resume.id)
        sim.show(rollout)
        sim.refuses("stopped", online=True)

    def test_nor_a_renewal_beyond_thirty_days_of_people(self, sim: Simulator) -> None:
        rollout = sim.order()
        opening = sim.world.open_stage(rollout)
        again = {"act": "renew", "renews": opening.id, "opened_at": opening.said.opened_at}
        for day in range(6, 36, 6):
            sim.world.clock.now = opening.said.at + timedelta(days=day)
            until = sim.world.clock() + timedelta(days=7)
            sim.go(MONITOR, rollout, **again, valid_until=until, seq=day)
        sim.world.clock.now = opening.said.at + timedelta(days=32)
        sim.world.refresh()
        sim.show(rollout)
        sim.refuses("go_lapsed", online=True)


class TestFloods:
    @staticmethod
    def stops(world: World, author: str, order: str, number: int) -> list[Envelope]:
        said = world.said(author)
        return [
            world.by(author, Stop(**said | {"reason": f"{n}"}, order=order, cohort=None, site=None))
            for n in range(number)
        ]

    @pytest.mark.parametrize("author", [OPERATOR, MONITOR])
    def test_stops_are_bounded_and_a_resume_clears_each(self, sim: Simulator, author: str) -> None:
        rollout = sim.world.roll_out(sim.release())
        rollout.stops += self.stops(sim.world, author, rollout.order.id, 64)
        sim.show(rollout)
        assert sim.bed.check().reason == "stopped"
        recorded = sim.bed.memory.order_floor(PRODUCT, WARDS).stops
        assert len(recorded) == 64
        resume = sim.go(OPERATOR, rollout, act="resume", clears=tuple(stop.id for stop in recorded))
        sim.world.authorise(rollout, "go", resume.id)
        sim.show(rollout)
        assert sim.bed.check().outcome == "update_available"

    def test_more_than_a_directive_may_hold(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release())
        rollout.stops += self.stops(sim.world, OPERATOR, rollout.order.id, 65)
        sim.show(rollout)
        with sim.unchanged():
            assert sim.bed.update().reason == "malformed"
        sim.recovers()

    def test_a_recall_is_not_blocked(self, sim: Simulator) -> None:
        first, second = sim.release("1.0.0", b"first"), sim.release("2.0.0", b"second")
        sim.world.roll_out(first)
        assert sim.bed.install().outcome == "confirmed"
        bad = sim.world.roll_out(second)
        assert sim.bed.install().outcome == "confirmed"
        bad.stops += self.stops(sim.world, MONITOR, bad.order.id, 64)
        sim.show(bad)
        sim.bed.check()
        recall = sim.world.roll_out(first, kind="recall")
        recall.stops = bad.stops
        sim.show(recall)
        assert sim.bed.install().outcome == "confirmed"
        assert sim.bed.running == b"first"

    def test_nobodys_flood_drives_out_what_another_has_stopped(self, sim: Simulator) -> None:
        """A stop once seen holds, also one of an order that is not in force here yet."""
        first = sim.world.roll_out(sim.release())
        second = sim.order(release=sim.release("2.0.0", b"second"))
        sim.world.open_stage(second)
        sim.world.stop(second, OPERATOR)
        first.stops = list(second.stops)
        sim.show(first)
        assert sim.bed.check().outcome == "update_available"
        first.stops = self.stops(sim.world, MONITOR, first.order.id, 64)
        sim.show(first)
        assert sim.bed.check().reason == "stopped"
        second.stops.clear()
        sim.show(second)
        sim.refuses("stopped", online=True)


class TestTimes:
    def test_far_in_the_future_raise_no_floor(self, sim: Simulator) -> None:
        before = sim.bed.memory.clock_floor
        sim.world.roll_out(sim.release())
        director = sim.world.director(WARDS)
        director._lifetimes = dict.fromkeys(
            ("targets", "snapshot", "timestamp"), timedelta(days=36_500)
        )
        director.refresh(timedelta(days=36_400))
        sim.world.bundle(WARDS)
        assert sim.bed.check().outcome == "update_available"
        assert sim.bed.memory.clock_floor == before

    def test_a_statement_from_the_future_counts_for_nothing(self, sim: Simulator) -> None:
        now = sim.world.clock.now
        sim.world.clock.now = datetime(2035, 1, 1, tzinfo=UTC)
        rollout = sim.order(release=None, not_before=now)
        sim.world.open_stage(rollout)
        sim.world.clock.now = now
        rollout.releases = [rollout.releases[0]]
        sim.show(rollout)
        with sim.unchanged(online=True):
            assert sim.bed.update().exit_code is not Exit.DONE


class TestEvicted:
    def test_a_stolen_key_signs_nothing_after_a_rotation(self, sim: Simulator) -> None:
        stolen = sim.world.image_online
        sim.world.rotate_root("image", image_online=new_keys(1))
        assert sim.bed.check().exit_code is Exit.DONE
        sim.sign_snapshot({}, stolen)
        sim.refuses("untrusted_metadata")

    def test_a_fast_forward_is_recovered_from_by_a_rotation(self, sim: Simulator) -> None:
        timestamp = sim.world.image.stored.timestamp()
        assert timestamp is not None
        timestamp.signed.version = 2**53 - 1
        timestamp.signatures.clear()
        timestamp.sign(sim.world.image_online[0])
        sim.lie("/image/metadata/timestamp.json", serialise(timestamp))
        assert sim.bed.check().exit_code is Exit.DONE
        sim.web.lies.clear()
        sim.world.roll_out(sim.release())
        assert sim.bed.check().reason == "rollback"
        sim.world.rotate_root("image", image_online=new_keys(1))
        assert sim.bed.check().outcome == "update_available"


def test_what_is_signed_cannot_write_to_a_persons_terminal(
    sim: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a refusal quotes from its cause is shown as one printable line."""
    director = sim.world.director(WARDS)
    director._cohort = "wards\x1b[2J\nupdate_available: fine"
    director.refresh(timedelta(days=36_500))
    sim.world.bundle(WARDS)
    with pytest.raises(SystemExit):
        finish(sim.bed.check(), as_json=False)
    printed = capsys.readouterr().err
    assert printed.startswith("refused (wrong_cohort)")
    assert printed.removesuffix("\n").isprintable()


def test_grants_end(sim: Simulator) -> None:
    rollout = sim.world.roll_out(sim.release())
    persons = sim.world.put_roster().persons
    ended = tuple(
        msgspec.structs.replace(
            person,
            grants=tuple(
                Grant(role=g.role, cohorts=g.cohorts, expires=sim.world.clock())
                for g in person.grants
            ),
        )
        for person in persons
    )
    sim.world.put_roster(persons=ended)
    sim.world.image.publish()
    sim.show(rollout)
    with sim.unchanged(online=True):
        assert sim.bed.update().reason == "unauthorised_rollout"
