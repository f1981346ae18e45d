"""Two events on one version: the second is told what it collides with, when it is made."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock_core.errors import NotFoundError
from tests.repo_tools.standin import FaultError, StandIn, standing_in
from tests.repo_tools.world import PRODUCT, World, tool


@pytest.fixture
def first(delegated: World, tmp_path: Path) -> Path:
    """An event of version 1 of the product, signed once, in a directory of events."""
    event = tmp_path / "events" / "first"
    assert delegated.make("stage", event, delegated.release()).code == 0
    assert delegated.sign(event, "rosa").code == 0
    return event


class TestBeside:
    def test_one_beside_it(self, first: Path, delegated: World) -> None:
        second = first.with_name("second")
        said = delegated.make("stage", second, delegated.release("1.0.1", 2), "--json")
        assert said.code == 0, said.err
        assert said.answer["collides_with"] == [f"{first} (release; signed by rosa)"]
        third = first.with_name("third")
        said = delegated.make("stage", third, delegated.release("1.0.2", 3))
        assert f"Another event makes {PRODUCT} 1 too: {first} (release; signed by rosa)" in said.out
        assert f"Another event makes {PRODUCT} 1 too: {second} " in said.out
        assert "interlock-repo rebase" in said.out

    def test_one_in_a_directory_that_is_named(
        self, first: Path, delegated: World, tmp_path: Path
    ) -> None:
        spec = delegated.release("1.0.1", 2)
        for number, named in enumerate((first, first.parent)):
            event = tmp_path / "elsewhere" / str(number) / "e"
            said = delegated.make("stage", event, spec, "--events", str(named), "--json")
            assert said.answer["collides_with"] == [f"{first} (release; signed by rosa)"]
        said = delegated.make("stage", tmp_path / "elsewhere" / "2" / "e", spec, "--json")
        assert said.answer["collides_with"] == []

    def test_nothing_else_is_one(self, first: Path, delegated: World, tmp_path: Path) -> None:
        """Copies of the event, events of other roles, and what is no event."""
        (first.parent / "no event").mkdir()
        (first.parent / "damaged").mkdir()
        (first.parent / "damaged" / "event.json").write_text("{")
        said = delegated.make("roster", first.with_name("roster"), delegated.roster(), "--json")
        assert said.answer["collides_with"] == []

    def test_delegations_and_rosters_too(self, delegated: World, tmp_path: Path) -> None:
        for act, spec in (("delegate", delegated.delegations("")), ("roster", delegated.roster())):
            delegated.make(act, tmp_path / "both" / f"{act}-1", spec)
            words = ("--json", "--lifetime-days", "30")
            said = delegated.make(act, tmp_path / "both" / f"{act}-2", spec, *words)
            [other] = said.answer["collides_with"]
            assert f"{act}-1" in other
            assert "signed by nobody yet" in other


class TestServer:
    @pytest.fixture
    def server(self, delegated: World) -> Iterator[StandIn]:
        with standing_in(StandIn(delegated.image(), delegated.store)) as serving:
            yield serving

    def test_what_waits_there(
        self, first: Path, delegated: World, server: StandIn, tmp_path: Path
    ) -> None:
        assert delegated.sign(first, "raul").code == 0
        # It is sent, and breaks off before it is published.
        calls = iter(range(100))

        def fault(_when: str) -> None:
            if next(calls) >= 3:
                raise FaultError

        server.fault = fault
        assert tool("publish", first, "--server", server.url).code != 0
        server.fault = lambda _when: None
        assert server.waiting
        said = delegated.make(
            "stage", tmp_path / "alone" / "e", delegated.release("1.0.1", 2),
            "--repository", server.url, "--json",
        )  # fmt: skip
        assert said.code == 0, said.err
        [other] = said.answer["collides_with"]
        assert "waiting since" in other
        assert f"installs {PRODUCT}/1.0.0/fw.img" in other
        assert "signed by rosa, raul" in other

    def test_a_mirror_that_has_no_such_call(
        self, delegated: World, server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def absent(_self: StandIn, _query: str) -> None:
            raise NotFoundError("There is no such call.")

        monkeypatch.setattr(StandIn, "listed", absent)
        said = delegated.make(
            "stage", tmp_path / "e", delegated.release(), "--repository", server.url
        )
        assert said.code == 0, said.err
        assert "Whether something else waits to be published is not known" in said.out


def test_a_copy_is_no_collision(first: Path, delegated: World, tmp_path: Path) -> None:
    shutil.copytree(first, first.with_name("copy"))
    said = delegated.make(
        "stage", tmp_path / "other" / "e", delegated.release("1.0.1", 2), "--json", "--events",
        str(first), "--events", str(first.parent),
    )  # fmt: skip
    assert len(said.answer["collides_with"]) == 2
