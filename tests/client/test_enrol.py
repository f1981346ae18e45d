"""A gateway asks to belong: once, with a claim, and after any accident with the same words."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest

from interlock_client import identity
from interlock_client.identity import Home
from interlock_client.state import StateDir
from interlock_core.api import EnrolmentRequest
from interlock_core.errors import Exit
from interlock_core.fleet import signed_by_device
from interlock_core.report import Enrolment
from interlock_core.statement import open_as
from interlock_core.wire import decode
from tests.client.bed import Bed
from tests.client.fleet import SECRET, Fleet
from tests.client.test_cli import CLIENT, client
from tests.client.test_power import cut, every_step
from tests.client.web import Web
from tests.client.world import World


def home(bed: Bed) -> Home:
    found = identity.in_force(StateDir(bed.home / "state"))
    assert found is not None
    return found


def asked(fleet: Fleet) -> list[bytes]:
    return [body for path, body in fleet.asked if path == "/v1/enrolments"]


class TestAsking:
    def test_it_says_who_it_is_and_signs_with_its_own_key(self, bed: Bed, fleet: Fleet) -> None:
        outcome = bed.enrol()
        assert (outcome.outcome, outcome.reason) == ("enrolled", "countersigned")
        request = decode(asked(fleet)[0], EnrolmentRequest, limit=2**20, what="request")
        opened = open_as(request.enrolment, Enrolment)
        said = opened.said
        assert (said.device, said.site, said.cohort) == ("GW-000001", "st-elsewhere", "wards")
        assert signed_by_device(opened)
        assert outcome.more["enrolment"] == opened.id

    def test_the_key_is_its_owners_alone_and_the_secret_is_nowhere(
        self, bed: Bed, fleet: Fleet
    ) -> None:
        bed.enrol()
        key = home(bed).key
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert key.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
        kept = [path for path in (bed.home / "state").rglob("*") if path.is_file()]
        assert not [path for path in kept if SECRET.encode() in path.read_bytes()]

    @pytest.mark.parametrize("state", ["waiting", "countersigned", "superseded", "quarantined"])
    def test_again_it_says_where_it_stands(self, bed: Bed, fleet: Fleet, state: str) -> None:
        fleet.countersigned = state != "waiting"
        bed.enrol()
        before = next(iter(fleet.enrolments))
        if state == "superseded":
            fleet.enrolments["f" * 64] = fleet.enrolments[before]
        if state == "quarantined":
            fleet.quarantined.add(before)
        outcome = bed.enrol(None)
        assert (outcome.outcome, outcome.reason, outcome.exit_code) == ("enrolled", state, 0)
        assert bed.status()["enrolment"]["state"] == state
        assert len(asked(fleet)) == 1

    def test_a_server_that_forgot_it_says_so(self, bed: Bed, fleet: Fleet) -> None:
        bed.enrol()
        fleet.enrolments.clear()
        outcome = bed.enrol(None)
        assert (outcome.reason, outcome.exit_code) == ("unknown_enrolment", Exit.REFUSED)
        assert "--renew" in outcome.detail


class TestRefusals:
    def test_without_a_site(self, bed: Bed, fleet: Fleet) -> None:
        bed.change(site=None)
        outcome = bed.enrol()
        assert (outcome.reason, outcome.exit_code) == ("no_site", Exit.USAGE)
        assert not fleet.asked

    def test_without_a_claim(self, bed: Bed, fleet: Fleet) -> None:
        outcome = bed.enrol(None)
        assert (outcome.reason, outcome.exit_code) == ("no_claim", Exit.USAGE)
        assert not fleet.asked

    @pytest.mark.parametrize("secret", ["", "short", "x" * 129, "with a space " * 4, "ä" * 40])
    def test_what_is_no_claim(self, bed: Bed, fleet: Fleet, secret: str) -> None:
        outcome = bed.enrol(secret)
        assert (outcome.reason, outcome.exit_code) == ("bad_claim", Exit.USAGE)
        assert not secret or secret not in outcome.detail
        assert not list((bed.home / "state").glob("identity*"))

    def test_a_claim_that_the_server_refuses(self, bed: Bed, fleet: Fleet) -> None:
        outcome = bed.enrol("A" * 40)
        assert (outcome.outcome, outcome.reason, outcome.exit_code) == (
            "refused",
            "bad_claim",
            Exit.REFUSED,
        )
        assert not home_is_there(bed)
        assert bed.enrol().reason == "countersigned", "the next claim does"

    def test_nobody_can_be_reached(self, bed: Bed, fleet: Fleet) -> None:
        bed.change(servers=("http://127.0.0.1:9",))
        outcome = bed.enrol()
        assert (outcome.reason, outcome.exit_code) == ("network", Exit.TRANSIENT)

    def test_a_mirror_has_no_api(self, bed: Bed, web: Web, world: World) -> None:
        outcome = bed.enrol()
        assert (outcome.reason, outcome.exit_code) == ("network", Exit.TRANSIENT)
        with Web(world.store) as second:
            fleet = Fleet()
            fleet.answers(second)
            bed.change(servers=(web.url, second.url))
            assert bed.enrol().reason == "countersigned"

    @pytest.mark.parametrize("answer", [b"", b"{}", b"[" * 5000, b'{"id": "x"}', b"\xff" * 300_000])
    def test_an_answer_that_is_none(self, bed: Bed, web: Web, answer: bytes) -> None:
        web.answer("/v1/", answer)
        outcome = bed.enrol()
        assert (outcome.reason, outcome.exit_code) == ("network", Exit.TRANSIENT)
        web.answer("/v1/", b'{"id":"' + b"0" * 64 + b'","state":"countersigned"}', 201)
        assert bed.enrol().reason == "wrong_answer"
        assert not home_is_there(bed)

    def test_an_answer_of_somewhere_else_is_not_followed(
        self, bed: Bed, web: Web, fleet: Fleet
    ) -> None:
        web.answer("/v1/", b"", 307)
        assert bed.enrol().reason == "network"
        assert not fleet.asked


def home_is_there(bed: Bed) -> bool:
    return identity.in_force(StateDir(bed.home / "state")) is not None


class TestAgain:
    def test_a_lost_answer_costs_no_second_claim(
        self, world: World, bed: Bed, fleet: Fleet
    ) -> None:
        fleet.lose = 1
        assert bed.enrol().reason == "network"
        assert not home_is_there(bed)
        world.clock.pass_(hours=1)
        assert bed.enrol().reason == "countersigned"
        assert len(fleet.enrolments) == 1
        assert len(set(asked(fleet))) == 1, "the same bytes"

    def test_even_without_the_claim(self, bed: Bed, fleet: Fleet) -> None:
        fleet.lose = 1
        bed.enrol()
        assert bed.enrol(None).reason == "countersigned"

    def test_a_configuration_that_was_mended_in_between(self, bed: Bed, fleet: Fleet) -> None:
        bed.enrol("A" * 40)
        bed.change(site="st-anna")
        assert bed.enrol().reason == "countersigned"
        (opened,) = fleet.enrolments.values()
        assert opened.said.site == "st-anna"

    def test_what_a_server_took_stands_although_the_configuration_changed(
        self, bed: Bed, fleet: Fleet
    ) -> None:
        fleet.lose = 1
        bed.enrol()
        bed.change(site="st-anna")
        outcome = bed.enrol("B" * 40)
        assert (outcome.reason, outcome.more["site"]) == ("countersigned", "st-elsewhere")
        assert len(fleet.enrolments) == 1

    def test_the_power_goes_at_any_moment(self, bed: Bed, fleet: Fleet) -> None:
        def explore(bed: Bed, step: int) -> bool:
            fleet.claims, fleet.enrolments = {SECRET}, {}
            was_cut = cut(bed.enrol, step)
            bed.power_on()
            assert bed.enrol().reason == "countersigned"
            assert len(fleet.enrolments) == 1
            assert bed.report().reason == "acknowledged"
            return was_cut

        assert every_step(bed, explore) > 20


class TestRenewal:
    def test_a_new_key_and_numbers_from_one(self, bed: Bed, fleet: Fleet) -> None:
        bed.enrol()
        bed.report()
        before, key = home(bed).directory.resolve(), home(bed).key.read_bytes()
        fleet.claims.add(SECRET)
        assert bed.enrol(renew=True).reason == "countersigned"
        assert home(bed).key.read_bytes() != key
        assert bed.report().reason == "acknowledged"
        assert [len(chain) for chain in fleet.chains.values()] == [1, 1]
        assert Home(before).key.read_bytes() == key, "evidence stays"

    def test_the_old_one_is_in_force_until_a_server_took_the_new(
        self, bed: Bed, fleet: Fleet
    ) -> None:
        bed.enrol()
        first = next(iter(fleet.enrolments))
        assert bed.enrol("A" * 40, renew=True).reason == "bad_claim"
        assert bed.enrol(None).more["enrolment"] == first
        assert bed.report().reason == "acknowledged"
        fleet.claims.add(SECRET)
        assert bed.enrol(renew=True).more["enrolment"] != first

    def test_the_power_goes_at_any_moment(self, bed: Bed, fleet: Fleet) -> None:
        bed.enrol()
        bed.report()
        first, chain = dict(fleet.enrolments), dict(fleet.chains)

        def explore(bed: Bed, step: int) -> bool:
            fleet.claims, fleet.enrolments = {SECRET}, dict(first)
            fleet.chains = {name: list(reports) for name, reports in chain.items()}
            was_cut = cut(lambda: bed.enrol(renew=True), step)
            bed.power_on()
            assert bed.report().exit_code is Exit.DONE, "one of them is in force, whole"
            if was_cut and bed.enrol(None).more["enrolment"] in first:
                assert bed.enrol(renew=True).reason == "countersigned"
            assert len(fleet.enrolments) == 2
            assert bed.report().exit_code is Exit.DONE
            assert fleet.quarantined == set()
            return was_cut

        assert every_step(bed, explore) > 20

    def test_it_mends_a_damaged_identity(self, bed: Bed, fleet: Fleet) -> None:
        bed.enrol()
        home(bed).record.write_bytes(b"rotten")
        assert bed.enrol(None).reason == "damaged_state"
        assert bed.status()["enrolment"]["state"] == "damaged"
        fleet.claims.add(SECRET)
        assert bed.enrol(renew=True).reason == "countersigned"

    @pytest.mark.parametrize("damage", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
    def test_a_damaged_key_is_said(self, bed: Bed, fleet: Fleet, damage: bytes) -> None:
        bed.enrol()
        home(bed).key.write_bytes(damage)
        outcome = bed.report()
        assert (outcome.reason, outcome.exit_code) == ("damaged_state", Exit.REFUSED)
        assert bed.check().reason == "nothing_wanted", "and stops nothing else"


class TestCommandLine:
    @pytest.fixture
    def config(self, bed: Bed, fleet: Fleet) -> Path:
        return bed.write_config()

    def test_the_claim_comes_from_a_file_that_nobody_else_reads(self, config: Path) -> None:
        claim = config.with_name("claim")
        claim.write_text(f"{SECRET}\n")
        claim.chmod(0o644)
        said = client("enrol", "--config", config, "--claim-file", claim, "--json")
        assert (said.code, said.json()["reason"]) == (2, "open_secret")
        claim.chmod(0o600)
        said = client("enrol", "--config", config, "--claim-file", claim, "--json")
        assert (said.code, said.json()["outcome"]) == (0, "enrolled")
        assert SECRET not in said.out + said.err
        reported = client("report", "--config", config, "--json")
        assert (reported.code, reported.json()["outcome"]) == (0, "reported")
        shown = client("status", "--config", config)
        assert "enrolment  countersigned: " in shown.out
        assert "0 wait, the last acknowledged is 1" in shown.out

    def test_or_from_standard_input(self, config: Path) -> None:
        done = subprocess.run(
            [CLIENT, "enrol", "--config", config, "--claim-stdin", "--json"],
            input=f"{SECRET}\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, json.loads(done.stdout)["reason"]) == (0, "countersigned")

    def test_what_is_no_text_is_no_claim(self, config: Path) -> None:
        words = [str(CLIENT), "enrol", "--config", str(config), "--claim-stdin", "--json"]
        done = subprocess.run(words, input=b"\xff" * 40, capture_output=True, check=False)
        assert (done.returncode, json.loads(done.stdout)["reason"]) == (2, "bad_claim")

    @pytest.mark.parametrize("words", [["--renew"], ["--claim-stdin", "--claim-file", "x"]])
    def test_words_that_do_not_go_together(self, config: Path, words: list[str]) -> None:
        said = client("enrol", "--config", config, *words, "--json")
        assert (said.code, said.json()["reason"]) == (2, "usage")

    def test_a_claim_file_that_is_not_there(self, config: Path) -> None:
        missing = config.with_name("none")
        said = client("enrol", "--config", config, "--claim-file", missing, "--json")
        assert (said.code, said.json()["reason"]) == (2, "not_found")
