"""What expires when: every role, the roster, each grant, each permit; and what cron is told."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from interlock_core.clock import system_clock
from interlock_core.errors import ConfigurationError
from interlock_core.tuf_metadata import set_issued
from interlock_core.tuf_repository import OnlineRepository
from interlock_repo.directors import read_directors
from interlock_repo.forecast import End, Standing, forecast
from tests.repo_tools.world import PRODUCT, ROSTER_HOLDERS, Said, World, role, tool

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MANAGERS = ("rosa", "raul")
ONLINE = ("targets", "snapshot", "timestamp")


def days(number: float) -> timedelta:
    return timedelta(days=number)


def standing(**ends: float) -> Standing:
    """Roles that were issued now and live so many days."""
    made = {"root": Root(), "targets": Targets(), "snapshot": Snapshot(), "timestamp": Timestamp()}
    for name, one in made.items():
        one.expires = NOW + days(ends.get(name, 365))
        if name in {"root", "targets"}:
            set_issued(one, NOW)
    roles = {}
    for name in ends.keys() - made.keys():
        roles[name] = Targets(expires=NOW + days(ends[name]))
        set_issued(roles[name], NOW)
    return Standing(tuple(made.values()), roles, None)


class TestRules:
    def test_what_ends_first_comes_first(self) -> None:
        found = forecast(standing(timestamp=10, snapshot=9, pump=3), 30)
        assert [end.what for end in found] == [
            "pump 1", "snapshot 1", "timestamp 1", "root 1", "targets 1",
        ]  # fmt: skip

    def test_a_warning_begins_days_before_the_end(self) -> None:
        [root] = [end for end in forecast(standing(), 30) if end.what == "root 1"]
        assert root.state(NOW + days(334.9)) == "later"
        assert root.state(NOW + days(335)) == "soon"
        assert root.state(NOW + days(365)) == "expired"

    def test_of_what_lives_shortly_only_the_last_third(self) -> None:
        """A timestamp that lives ten days is no news each day; the server's refresh sees to it."""
        found = {end.what: end for end in forecast(standing(timestamp=10, pump=30), 30)}
        assert found["timestamp 1"].state(NOW + days(6.6)) == "later"
        assert found["timestamp 1"].state(NOW + days(6.7)) == "soon"
        assert found["pump 1"].state(NOW + days(19.9)) == "later"
        assert found["pump 1"].state(NOW + days(20)) == "soon"

    @given(
        st.dictionaries(st.sampled_from(["root", "timestamp", "pump", "bridge"]),
                        st.integers(1, 400)),
        st.integers(0, 3650),
        st.integers(0, 400),
    )  # fmt: skip
    def test_nothing_is_warned_of_after_its_end_or_lost(
        self, ends: Mapping[str, int], warn: int, later: int
    ) -> None:
        found = forecast(standing(**ends), warn)
        assert len(found) == 4 + len(ends.keys() & {"pump", "bridge"})
        assert all(end.warned <= end.at and end.stops for end in found)
        assert [end.at for end in found] == sorted(end.at for end in found)
        order = ["expired", "soon", "later"]
        for end in found:
            before, after = end.state(NOW), end.state(NOW + days(later))
            assert order.index(after) <= order.index(before)


@pytest.fixture(scope="module")
def full(delegation: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A roster, three releases, and a permit."""
    world = delegation.copied(tmp_path_factory.mktemp("full"))
    world.in_force("roster", world.roster(), ROSTER_HOLDERS)
    for version, counter in (("1.0.0", 1), ("1.1.0", 2)):
        world.in_force("stage", world.release(version, counter), MANAGERS)
    spec = world.place / "permit.toml"
    spec.write_text(
        f'product = "{PRODUCT}"\n[[permits]]\nfrom = "1.1.0"\nto = "1.0.0"\n'
        f'order = "{"a" * 64}"\ndevices = ["GW-1"]\nexpires = 2035-01-01T00:00:00Z\n'
    )
    world.in_force("permit", spec, MANAGERS)
    return world


def status(world: World, *words: str) -> Said:
    return tool("status", "--repository", world.store.root, "--root", world.root_file, *words)


class TestStatus:
    def test_everything_that_ends_is_listed(self, full: World) -> None:
        said = status(full, "--warn-days", "1", "--json")
        assert (said.code, said.answer["reason"]) == (0, "nothing_expires"), said.err
        kinds = {(end["kind"], end["what"].split(" ")[0]) for end in said.answer["ends"]}
        assert kinds == {
            *(("role", r) for r in ("root", "targets", "snapshot", "timestamp")),
            *(("role", r) for r in (PRODUCT, "interlock")),
            ("roster", "roster"),
            *(("grant", person) for person in ("olivia", "amir", "anna")),
            ("permit", "permit"),
        }
        [permit] = [end for end in said.answer["ends"] if end["kind"] == "permit"]
        assert permit["at"] == "2035-01-01T00:00:00Z"
        assert "below_floor" in permit["stops"]

    def test_people_read_what_stops(self, full: World) -> None:
        said = status(full)
        assert said.code == 0
        assert "what olivia signs as operator there does not count" in said.out
        assert f"nothing of {PRODUCT} can be installed" in said.out
        assert "Nothing ends soon." in said.out

    def test_inside_a_warning_period_cron_is_told(self, full: World) -> None:
        """A year ahead everything of a year is within its last third only after that; a grant has
        no life of its own, so the days count.
        """
        said = status(full, "--warn-days", "3650", "--json")
        assert (said.code, said.answer["reason"], said.answer["outcome"]) == (
            10, "expires_soon", "deferred",
        )  # fmt: skip
        soon = {end["what"] for end in said.answer["ends"] if end["state"] == "soon"}
        assert any(what.startswith("olivia as operator") for what in soon)
        assert "  ! " in status(full, "--warn-days", "3650").out

    def test_what_has_expired_is_refused(
        self, full: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = full.copied(tmp_path)
        later = datetime.now(UTC) + days(9)
        old = later + days(30)
        # The roster is 35 days old, and every head was just signed.
        monkeypatch.setattr("interlock_repo.cli.expiry.system_clock", lambda: old)
        said = status(world, "--json")
        assert (said.code, said.answer["reason"]) == (20, "expired")
        expired = {end["what"].split(" ")[0] for end in said.answer["ends"]
                   if end["state"] == "expired"}  # fmt: skip
        assert {"roster", "interlock", "timestamp", "snapshot"} <= expired
        assert PRODUCT not in expired

    def test_before_there_is_a_server(self, world: World) -> None:
        said = tool("status", "--repository", world.ceremony, "--root", world.root_file, "--json")
        assert said.code == 0, said.err
        assert {end["what"] for end in said.answer["ends"]} == {"root 1", "targets 1"}

    @pytest.mark.parametrize(
        "words",
        [
            (),
            ("--repository", "x"),
            ("event", "--repository", "x"),
            ("event", "--director-root", "ROOT"),
            ("event", "--cohort", "wards"),
            ("--cohort", "wards", "--repository", "x", "--root", "ROOT"),
            ("--merge", "--repository", "x", "--root", "ROOT"),
            ("--repository", "http://127.0.0.1:9", "--root", "ROOT", "--cohort", "../x"),
        ],
    )
    def test_what_does_not_go_together(self, world: World, words: tuple[str, ...]) -> None:
        said = tool("status", *[str(world.root_file) if w == "ROOT" else w for w in words])
        assert (said.code, "Usage: " in said.err) == (2, True)

    def test_heads_that_expired_are_listed(self, full: World, tmp_path: Path) -> None:
        """Whoever asks what has expired is told, of heads as of everything."""
        world = full.copied(tmp_path)
        signers = {"snapshot": world.online, "timestamp": world.online}
        OnlineRepository(world.store, "image", signers, a_month_ago).refresh(days(400))
        said = status(world, "--json")
        assert (said.code, said.answer["reason"]) == (20, "expired"), said.err
        expired = {end["what"].split(" ")[0] for end in said.answer["ends"]
                   if end["state"] == "expired"}  # fmt: skip
        assert expired == {"snapshot", "timestamp"}
        assert len(said.answer["ends"]) == len(status(full, "--json").answer["ends"])

    def test_what_does_not_verify_is_not_listed(self, full: World, tmp_path: Path) -> None:
        world = full.copied(tmp_path)
        file = world.store.root / "image" / "metadata" / "timestamp.json"
        file.write_bytes(file.read_bytes().replace(b'"expires":"2', b'"expires":"3'))
        assert status(world, "--json").answer["reason"] == "untrusted_metadata"


def a_month_ago() -> datetime:
    return system_clock() - days(30)


@pytest.fixture
def directed(full: World, tmp_path: Path) -> World:
    """Two directors, one of which nobody refreshed for a month."""
    world = full.copied(tmp_path / "directed")
    world.direct({"wards": system_clock, "canary": a_month_ago})
    return world


class TestDirectors:
    def ends(self, world: World, *words: str, code: int = 20) -> dict[str, str]:
        said = status(
            world, "--director-root", str(world.place / "director.json"), *words, "--json"
        )
        assert said.code == code, said.err
        return {
            end["what"]: end["state"] for end in said.answer["ends"] if "director" in end["what"]
        }

    def test_their_roles_are_listed_and_the_root_once(self, directed: World) -> None:
        found = self.ends(directed)
        assert found.pop("director root 1") == "later"
        assert found == {f"director/wards {name} 1": "later" for name in ONLINE} | {
            f"director/canary {name} 1": "expired" for name in ONLINE
        }

    def test_of_some(self, directed: World) -> None:
        assert len(self.ends(directed, "--cohort", "wards", code=0)) == 4

    def test_people_read_whom_it_stops(self, directed: World) -> None:
        said = status(directed, "--director-root", str(directed.place / "director.json"))
        assert "gateways of canary refuse every order: see that the server's 'refresh'" in said.out

    def test_another_cohorts_director_is_refused(self, directed: World) -> None:
        metadata = directed.store.root / "director"
        shutil.copytree(metadata / "wards", metadata / "night")
        root = str(directed.place / "director.json")
        said = status(directed, "--director-root", root, "--cohort", "night", "--json")
        assert (said.code, said.answer["reason"]) == (20, "wrong_cohort")

    def test_another_root(self, directed: World) -> None:
        said = status(directed, "--director-root", str(directed.root_file), "--json")
        assert (said.code, said.answer["reason"]) == (20, "untrusted_metadata")

    def test_a_server_is_asked_for_those_that_are_named(self, directed: World) -> None:
        with pytest.raises(ConfigurationError, match="--cohort"):
            read_directors(
                "http://127.0.0.1:9", directed.place / "director.json", (), ca_file=None, proxy=None
            )


class TestEvent:
    """An event is held against what is in force."""

    def asked(self, world: World, event: Path) -> Said:
        return tool(
            "status", event, "--repository", world.store.root, "--root", world.root_file, "--json"
        )

    def test_one_that_follows_it(self, staged: Path, delegated: World) -> None:
        said = self.asked(delegated, staged)
        assert (said.code, said.answer["reason"], said.answer["follows"]) == (
            10, "signatures_missing", "in_force",
        )  # fmt: skip
        for person in MANAGERS:
            delegated.sign(staged, person)
        assert self.asked(delegated, staged).answer["reason"] == "threshold_met"
        delegated.put_in_force(staged)
        said = self.asked(delegated, staged)
        assert (said.code, said.answer["reason"]) == (0, "published")

    def test_one_whose_base_moved(self, delegated: World, tmp_path: Path) -> None:
        event = tmp_path / "old"
        assert delegated.make("stage", event, delegated.release("1.1.0", 2)).code == 0
        delegated.in_force("stage", delegated.release(), MANAGERS)
        said = self.asked(delegated, event)
        assert (said.code, said.answer["reason"], said.answer["follows"]) == (20, "stale", "stale")
        people = tool(
            "status", event, "--repository", delegated.store.root, "--root", delegated.root_file
        )
        assert "another of that version is in force already" in people.out
        # Without what is in force nobody knows.
        alone = tool("status", event, "--json")
        assert (alone.code, alone.answer["follows"]) == (10, None)

    def test_one_whose_holders_changed(self, staged: Path, delegated: World) -> None:
        delegated.delegate(role(f"products.{PRODUCT}", 1, "rosa", "raul"))
        assert self.asked(delegated, staged).answer["reason"] == "stale"

    def test_other_roles_and_renewed_delegations_do_not_matter(
        self, staged: Path, delegated: World
    ) -> None:
        delegated.delegate(role("products.other", 1, "sven"))
        delegated.in_force("roster", delegated.roster(), ROSTER_HOLDERS)
        assert self.asked(delegated, staged).answer["follows"] == "in_force"

    def test_delegations_follow_each_other(self, delegated: World, tmp_path: Path) -> None:
        text = role("products.other", 1, "sven")
        assert delegated.make("delegate", tmp_path / "e", delegated.delegations(text)).code == 0
        assert self.asked(delegated, tmp_path / "e").answer["follows"] == "in_force"
        delegated.delegate(role("products.pump", 1, "erik"))
        assert self.asked(delegated, tmp_path / "e").answer["follows"] == "stale"

    def test_an_older_copy_says_nothing(self, delegated: World, tmp_path: Path) -> None:
        old = delegated.copied(tmp_path / "old-world")
        delegated.in_force("stage", delegated.release(), MANAGERS)
        delegated.make("stage", tmp_path / "e", delegated.release("1.1.0", 2))
        said = self.asked(old, tmp_path / "e")
        assert (said.code, said.answer["reason"]) == (20, "rollback")


class TestCopies:
    def test_they_are_found_below_a_directory(
        self, staged: Path, delegated: World, tmp_path: Path
    ) -> None:
        sticks = tmp_path / "sticks"
        for name in ("rosa", "raul"):
            shutil.copytree(staged, sticks / name)
            assert delegated.sign(sticks / name, name).code == 0
        assert delegated.make("roster", sticks / "other", delegated.roster()).code == 0
        assert tool("status", staged, "--json").code == 10
        said = tool("status", staged, sticks, "--merge", "--json")
        assert (said.code, sorted(said.answer["brought_in"])) == (0, ["raul", "rosa"])
        assert tool("status", staged).code == 0

    def test_a_directory_of_copies_alone(
        self, staged: Path, delegated: World, tmp_path: Path
    ) -> None:
        shutil.copytree(staged, tmp_path / "sticks" / "one")
        said = tool("status", tmp_path / "sticks", "--json")
        assert (said.code, said.answer["version"]) == (10, 1)

    def test_an_empty_directory_holds_none(self, tmp_path: Path) -> None:
        assert tool("status", tmp_path, "--json").answer["reason"] == "not_found"


def test_the_state_of_an_end_is_one_of_three() -> None:
    end = End("grant", "x", NOW, NOW - days(1), "y")
    assert [end.state(NOW + days(n)) for n in (-2, -1, 0)] == ["later", "soon", "expired"]
