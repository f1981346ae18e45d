"""Whatever ceremonies are held one after the other, every gateway ends where a new one does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from interlock_core.durable import watching
from tests.keys_ceremony.chain import NAMES, RISKS, Chain
from tests.keys_ceremony.gateways import Gateways
from tests.keys_ceremony.stage import Stage
from tests.keys_ceremony.test_preflight import listed

ROLES = ("image.root", "image.targets", "director.root")
SCHEMES = ("ecdsa-sha2-nistp256", "ml-dsa-65/1")
"""Besides Ed25519, which a key is of by default."""
people = st.sampled_from(["alice", "bob", "carol", "erik", "fred"])
roles = st.sampled_from(ROLES)


def change(do: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"do": st.just(do), **fields})


anything = st.one_of(
    change("add", role=roles, holder=people),
    change("remove", role=roles, holder=people),
    change("replace", role=roles, holder=people, by=people),
    change("threshold", role=roles, threshold=st.integers(2, 3)),
    change("renew", role=roles),
    change("lost", role=roles, holder=people, by=people),
    change("compromised", role=roles, holder=people),
    change("rotate", key=st.sampled_from(["image-online", "director-targets"])),
    change("compromised", key=st.just("director-online")),
)


class Ceremonies(RuleBasedStateMachine):
    """Random acts; what is refused changes nothing, what is accepted reaches everybody."""

    original: ClassVar[Stage]
    held: ClassVar[int] = 0
    refused: ClassVar[int] = 0
    kinds: ClassVar[set[str]] = set()

    @initialize()
    def begin(self) -> None:
        self.directory = TemporaryDirectory()
        home = Path(self.directory.name)
        shutil.copytree(self.original.home, home / "stage")
        self.chain = Chain(Stage(home / "stage"))
        self.chain.options = ("--gateways", listed(self.chain))
        self.gateways = Gateways(self.chain, home)
        self.holders = {
            "image.root": ["alice", "bob", "carol"],
            "image.targets": ["alice", "bob"],
            "director.root": ["bob", "carol"],
        }

    @rule(data=st.data(), place=roles, do=st.sampled_from(["add", "replace", "lost", "renew"]))
    def one_that_makes_sense(self, data: st.DataObject, place: str, do: str) -> None:
        """Somebody comes, or takes the place of a holder."""
        change = {"do": do, "role": place}
        if do in {"replace", "lost"}:
            change["holder"] = data.draw(st.sampled_from(self.holders[place]))
            others = set(NAMES) - set(self.holders[place]) - {"dana", "gina"}
            change["by"] = data.draw(st.sampled_from(sorted(others | {change["holder"]})))
        elif do == "add":
            others = set(NAMES) - set(self.holders[place]) - {"dana", "gina"}
            change["holder"] = data.draw(st.sampled_from(sorted(others or {"alice"})))
        self.hold([change], None)

    @rule(place=roles, scheme=st.sampled_from(SCHEMES), whole=st.booleans())
    def keys_of_another_kind(self, place: str, scheme: str, whole: bool) -> None:
        """Of all holders of a role, or of one, which no hybrid of so few outlives."""
        here = self.holders[place] if whole else self.holders[place][:1]
        changes = [
            {"do": "replace", "role": place, "holder": one, "by": one, "scheme": scheme}
            for one in here
        ]
        self.hold(changes, None)

    @rule(changes=st.lists(anything, min_size=1, max_size=2), away=st.none() | people)
    def anything_at_all(self, changes: list[dict[str, Any]], away: str | None) -> None:
        self.hold(changes, away)

    def hold(self, changes: list[dict[str, Any]], away: str | None) -> None:
        """Hold a ceremony of these changes, while somebody may be away."""
        for index, one in enumerate(changes):
            if "key" in one:
                home = f"new-{self.chain.number}-{len(list(self.chain.stage.home.iterdir()))}"
                changes[index] = one | {"file": self.chain.online(one["key"], home)}
        persons = {one: NAMES[one] for one in ("alice", "bob", "carol", "erik", "fred")}
        persons.pop(away or "", None)
        fields: dict[str, Any] = {
            "persons": persons,
            "witnesses": list(persons),
            "administrator": next(iter(persons)),
            "accepted_risks": {},
        }
        before = self.chain.stage.listing()
        result = self.chain.change(*changes, fields=fields)
        if result.exit_code == 2:  # every risk that must be accepted is named
            risky = re.findall(r"accepted_risks\.([a-z.]+): ", result.stderr)
            fields["accepted_risks"] = dict.fromkeys(risky, "A test.")
            result = self.chain.change(*changes, fields=fields)
        if result.exit_code:
            assert result.exit_code == 2, result.output
            assert result.stderr.startswith("Error: change.toml, ")
            assert set(self.chain.stage.listing()) - set(before) <= {"change.toml", *TXT}
            type(self).refused += 1
            return
        type(self).held += 1
        type(self).kinds |= {one["scheme"] for one in changes if "scheme" in one}
        for one in changes:
            if "holder" in one:
                here = self.holders[one["role"]]
                if one["do"] != "add":
                    here.remove(one["holder"])
                if one["do"] == "add" or "by" in one:
                    here.append(one.get("by", one["holder"]))
        for one in changes:
            if "key" in one:
                path = self.chain.stage.home / one["file"]
                self.gateways.trust(one["key"], path.parent)
        self.gateways.publish()

    @precondition(lambda self: hasattr(self, "gateways"))
    @rule()
    def look(self) -> None:
        """All gateways look, those too that slept since the last time or for ever."""
        self.gateways.agree()

    def teardown(self) -> None:
        if hasattr(self, "gateways"):
            self.gateways.agree()
            self.directory.cleanup()


TXT = {f"{person}.txt" for person in NAMES}


@pytest.mark.usefixtures("hasty")
def test_random_ceremonies(hasty_original: Stage) -> None:
    Ceremonies.original = hasty_original
    machine = Ceremonies.TestCase
    machine.settings = settings(
        max_examples=5,
        stateful_step_count=10,
        phases=[Phase.generate],
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    machine("runTest").runTest()
    assert Ceremonies.held > 5
    assert Ceremonies.refused > 2
    assert Ceremonies.kinds == set(SCHEMES)


@pytest.mark.usefixtures("hasty")
def test_a_gateway_that_slept_for_twenty_rotations_walks_the_chain(
    hasty_original: Stage, tmp_path: Path
) -> None:
    chain = Chain(hasty_original)
    gateways = Gateways(chain, tmp_path / "gateways")
    gateways.agree()
    for turn in range(20):
        if turn % 2:
            chain.done(do="replace", role="image.root", holder="bob", by="bob")
        else:
            file = chain.online("image-online")
            chain.done(do="rotate", key="image-online", file=file)
            gateways.trust("image-online", (chain.stage.home / file).parent)
        gateways.publish()
    assert chain.newest("image") == 21
    gateways.agree()


@pytest.mark.usefixtures("hasty")
def test_a_rotation_cut_off_at_any_write_is_finished_with_the_same_keys(
    hasty_original: Stage, tmp_path: Path
) -> None:
    worlds: list[Path] = []
    states = set()

    def keep(_act: str, _path: Path) -> None:
        home = hasty_original.home
        state = hash(tuple((p, p.is_file() and p.read_bytes()) for p in home.rglob("*")))
        if state not in states:
            states.add(state)
            worlds.append(Path(shutil.copytree(home, tmp_path / "worlds" / str(len(worlds)))))

    chain = Chain(hasty_original)
    people = {one: NAMES[one] for one in ("bob", "carol")}
    change = {"do": "replace", "role": "director.root", "holder": "bob", "by": "bob"}
    script = chain.script(change, persons=people, witnesses=[], administrator="bob")
    with watching(keep):
        assert chain.run(script).exit_code == 0
    assert len(worlds) > 40
    begun = finished = 0
    for world in worlds:
        after = Chain(Stage(world))
        partial = world / ".out-2.partial"
        made = {p.name: p.read_bytes() for p in partial.glob("keys/*.key.json")}
        if (world / "out-2").exists():
            finished += 1
            continue
        begun += bool(made)
        result = after.run(script)
        assert result.exit_code == 0, result.output
        kept = {p.name: p.read_bytes() for p in (world / "out-2" / "keys").glob("*.key.json")}
        assert made.items() <= kept.items()
        assert not partial.exists()
    assert begun
    assert finished


def test_a_rotation_is_rehearsed_on_a_rehearsed_genesis(held: Stage) -> None:
    chain = Chain(held)
    chain.done({"do": "replace", "role": "image.root", "holder": "bob", "by": "erik"})
    published = chain.publish(chain.targets())
    script = chain.script(
        {"do": "lost", "role": "image.targets", "holder": "bob", "by": "carol"},
        targets=published.name,
        persons={one: NAMES[one] for one in ("alice", "carol", "erik")},
        witnesses=["erik"],
        accepted_risks=RISKS,
    )
    chain.written.write_text(script)
    before = held.listing()
    result = held.call("rehearse", chain.written)
    assert result.exit_code == 0, result.output
    assert "Signed image/3.targets.json" in result.stdout
    assert all(line.startswith("REHEARSAL  ") for line in result.stdout.splitlines())
    assert held.listing() == before
