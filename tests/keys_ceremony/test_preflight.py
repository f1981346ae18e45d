"""Nobody is stranded by accident: who could not read the next roots is looked up before."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result

from interlock_ceremony.acts import AnyAside, Preflighted
from interlock_ceremony.journal import Journal
from interlock_core import wire
from interlock_core.durable import watching
from interlock_core.inventory import Gateway, Gateways
from interlock_core.report import Versions
from tests.keys_ceremony.chain import RISKS, Chain
from tests.keys_ceremony.stage import NOW, Stage, told
from tests.keys_ceremony.test_media import PowerCut

POST_QUANTUM: list[dict[str, Any]] = [
    {
        "do": "replace",
        "role": "director.root",
        "holder": holder,
        "by": holder,
        "scheme": "ml-dsa-65/1",
    }
    for holder in ("bob", "carol")
]


def gateway(device: str, **libraries: str) -> Gateway:
    versions = None
    if libraries:
        versions = Versions(client="0.1.0", python="3.11.7", tuf="7.0.1", **libraries)
    return Gateway(
        device=device,
        product="acme",
        hardware=None,
        site="ward",
        cohort="canary",
        state="countersigned",
        reported_at=NOW if versions else None,
        versions=versions,
    )


NEW = {"securesystemslib": "1.6.0", "cryptography": "48.0.0"}
OLD = {"securesystemslib": "1.4.0", "cryptography": "48.0.0"}


def listed(chain: Chain, *gateways: Gateway, fleet: str = "north") -> Path:
    path = chain.stage.home / "gateways.json"
    file = Gateways(
        type="urn:interlock:gateways:v1",
        fleet=fleet,
        at=NOW - timedelta(hours=1),
        gateways=gateways,
    )
    path.write_bytes(wire.encode(file))
    return path


@pytest.fixture
def chain(held: Stage) -> Chain:
    return Chain(held)


def run(chain: Chain, *more: str | Path) -> Result:
    return chain.run(chain.script(*POST_QUANTUM, accepted_risks=RISKS), "--json", *more)


def test_a_new_kind_of_key_needs_the_list(chain: Chain) -> None:
    result = run(chain)
    assert (result.exit_code, told(result)["reason"]) == (2, "no_gateways")
    assert not list(chain.stage.home.glob(".*partial"))


def test_who_could_not_read_it_is_listed_and_nobody_goes_on(chain: Chain) -> None:
    path = listed(chain, gateway("gw-1", **NEW), gateway("gw-2", **OLD), gateway("gw-3"))
    result = run(chain, "--gateways", path)
    assert (result.exit_code, told(result)["reason"]) == (20, "stranding")
    assert "2 of 3 gateways could not read the next roots" in result.stderr
    shown = chain.stage.call("preflight", chain.written, "--gateways", path)
    assert shown.exit_code == 20
    assert "gw-2 could not read them: " in shown.stdout
    assert "gw-3 could not read them: " in shown.stdout
    assert "gw-1" not in shown.stdout
    assert not list(chain.stage.home.glob(".*partial"))


@pytest.mark.parametrize("number", ["1", "3"])
def test_another_number_is_refused(chain: Chain, number: str) -> None:
    path = listed(chain, gateway("gw-2", **OLD), gateway("gw-3"))
    result = run(chain, "--gateways", path, "--despite-stranding", number)
    assert (result.exit_code, told(result)["reason"]) == (20, "stranding")
    assert f"--despite-stranding says {number}" in result.stderr


def test_the_exact_number_goes_on_and_the_transcript_tells(chain: Chain) -> None:
    path = listed(chain, gateway("gw-2", **OLD), gateway("gw-3"))
    result = run(chain, "--gateways", path, "--despite-stranding", "2")
    assert result.exit_code == 0, result.output
    chain.number += 1
    (aside,) = told(chain.verify("--json"))["asides"]
    assert aside["says"].startswith("2 of 2 gateways could not read the next roots")


def cut_off_after(chain: Chain, act: str, path: Path) -> None:
    """Begin the ceremony, and let the power go when its journal has that act."""

    def cut(_: str, at: Path) -> None:
        journal = chain.stage.home / ".out-2.partial" / "journal"
        if journal.exists() and f'"act":"{act}"' in journal.read_text():
            raise PowerCut

    with watching(cut), pytest.raises(PowerCut):
        run(chain, "--gateways", path, "--despite-stranding", "2")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("act", ["began", "present"])
def test_who_is_stranded_is_told_once_wherever_it_was_cut_off(
    hasty_original: Stage, act: str
) -> None:
    chain = Chain(hasty_original)
    path = listed(chain, gateway("gw-2", **OLD), gateway("gw-3"))
    cut_off_after(chain, act, path)
    result = run(chain, "--gateways", path, "--despite-stranding", "2")
    assert result.exit_code == 0, result.output
    chain.number += 1
    entries = json.loads((chain.output() / "transcript.json").read_bytes())["entries"]
    acts = [entry["act"]["act"] for entry in entries]
    assert acts.count("preflighted") == 1
    assert acts.count("resumed") == 1


@pytest.mark.parametrize("change", ["dropped", "of another kind", "of more than there are"])
def test_nobody_hides_whom_the_next_roots_stranded(chain: Chain, change: str) -> None:
    """Made by a ceremony that did not look."""
    path = listed(chain, gateway("gw-2", **OLD), gateway("gw-3"))

    def lie(journal: Journal, act: AnyAside) -> None:
        if isinstance(act, Preflighted) and change == "of another kind":
            act = msgspec.structs.replace(act, schemes=("ed25519",))
        elif isinstance(act, Preflighted) and change == "of more than there are":
            act = msgspec.structs.replace(act, stranded=3)
        elif isinstance(act, Preflighted):
            return
        honest(journal, act)

    honest = Journal.aside
    with pytest.MonkeyPatch.context() as liar:
        liar.setattr(Journal, "aside", lie)
        result = run(chain, "--gateways", path, "--despite-stranding", "2")
    assert (result.exit_code, told(result)["reason"]) == (20, "wrong_acts"), result.output
    assert not chain.output(2).exists()


def test_nobody_stranded_needs_no_number(chain: Chain) -> None:
    path = listed(chain, gateway("gw-1", **NEW))
    assert run(chain, "--gateways", path, "--despite-stranding", "1").exit_code == 20
    assert run(chain, "--gateways", path).exit_code == 0


def test_the_list_of_another_fleet(chain: Chain) -> None:
    result = run(chain, "--gateways", listed(chain, fleet="south"))
    assert result.exit_code == 2
    assert "of the gateways of south" in result.stderr


def test_no_new_kind_of_key_needs_no_list(chain: Chain) -> None:
    chain.written.write_text(chain.script({"do": "renew", "role": "image.root"}))
    result = chain.stage.call("preflight", chain.written, "--json")
    assert told(result)["reason"] == "nothing_new"
    genesis = chain.stage.home / "again.toml"
    genesis.write_text(chain.stage.script.read_text().replace('"out"', '"out-x"'))
    assert told(chain.stage.call("preflight", genesis, "--json"))["reason"] == "nothing_new"
