"""The inventory of gateways: complete or none, and nothing in it that was not verified."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from interlock_core import disk
from interlock_core.inventory import Gateways, read_gateways, stranded
from interlock_core.report import Versions
from interlock_core.wire import sha256_hex
from tests.ops.test_cli_device import let_in, lie, says
from tests.ops.world import Place
from tests.support.papers import enrolment, report

OLD = Versions(
    client="0.1.0", tuf="6.0.0", securesystemslib="1.3.1", cryptography="44.0.0", python="3.11.2"
)


@pytest.fixture
def peopled(place: Place) -> Place:
    """Three that reported, one of them an old client; one that never did; one that waits."""
    for device in ("GW-0001", "GW-0002"):
        says(place, let_in(place, device))
    says(place, let_in(place, "GW-0003"), versions=OLD)
    let_in(place, "GW-0004")
    place.server.fleet.add(enrolment("GW-0005"))
    return place


def exported(place: Place, name: str = "gateways.json") -> Gateways:
    return read_gateways((place.home / name).read_bytes())


def test_every_gateway_stands_in_it_with_what_it_said(peopled: Place) -> None:
    file = peopled.home / "gateways.json"
    found = peopled.json("device", "export", str(file))
    assert (found["gateways"], found["unknown"]) == (5, 2)
    assert found["sha256"] == sha256_hex(file.read_bytes())
    assert found["securesystemslib"]["1.3.1"] == 1
    listed = exported(peopled)
    assert listed.fleet == peopled.server.roster.fleet
    assert [one.device for one in listed.gateways] == [f"GW-000{n}" for n in range(1, 6)]
    known = {one.device: one for one in listed.gateways}
    assert known["GW-0003"].versions == OLD
    assert known["GW-0003"].reported_at is not None
    assert (known["GW-0004"].versions, known["GW-0004"].state) == (None, "countersigned")
    assert (known["GW-0005"].versions, known["GW-0005"].state) == (None, "waiting")
    left = {one.gateway.device for one in stranded(listed, ["ml-dsa-65/1"])}
    assert left >= {"GW-0003", "GW-0004", "GW-0005"}


def test_it_is_told_to_people_too(peopled: Place) -> None:
    shown = peopled.run("device", "export", str(peopled.home / "g.json")).stdout
    assert "Wrote 5 gateways" in shown
    assert "2, which have not said what they run" in shown


def test_what_does_not_verify_stands_there_as_unknown(peopled: Place) -> None:
    """A server that forges a report hides no old client behind a new one's versions."""
    lie(
        peopled,
        "GW-0003",
        lambda told: msgspec.structs.replace(told, report=report(enrolment("GW-0001")).envelope),
    )
    found = peopled.json("device", "export", str(peopled.home / "gateways.json"))
    assert found["reason"] == "server_differs"
    known = {one.device: one for one in exported(peopled).gateways}
    assert known["GW-0003"].versions is None


def test_a_forged_enrolment_is_not_dropped(peopled: Place) -> None:
    forged = enrolment("GW-0009").envelope
    lie(peopled, "GW-0002", lambda told: msgspec.structs.replace(
        told,
        enrolment=msgspec.structs.replace(told.enrolment, signatures=forged.signatures),
    ))  # fmt: skip
    peopled.json("device", "export", str(peopled.home / "gateways.json"))
    known = {one.device: one for one in exported(peopled).gateways}
    assert (known["GW-0002"].state, known["GW-0002"].versions) == ("forged", None)


def test_a_quarantined_gateway_is_not_believed(peopled: Place) -> None:
    peopled.server.fleet.quarantined["GW-0001"] = "report_fork"
    peopled.json("device", "export", str(peopled.home / "gateways.json"))
    known = {one.device: one for one in exported(peopled).gateways}
    assert (known["GW-0001"].state, known["GW-0001"].versions) == ("quarantined", None)


def test_it_replaces_nothing(peopled: Place) -> None:
    file = peopled.home / "gateways.json"
    file.write_text("kept")
    refused = peopled.json("device", "export", str(file), code=20)
    assert refused["reason"] == "conflict"
    assert file.read_text() == "kept"


def test_pages_that_do_not_end_leave_no_file(
    peopled: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock_ops.session.MAX_PAGES", 2)
    refused = peopled.json("device", "export", str(peopled.home / "gateways.json"), code=20)
    assert refused["reason"] == "endless"
    assert not (peopled.home / "gateways.json").exists()


def test_a_kill_leaves_the_whole_file_or_none(peopled: Place) -> None:
    class PowerCut(BaseException):
        pass

    # The first run also remembers the metadata that it verified.
    peopled.json("device", "export", str(peopled.home / "first.json"))
    steps: list[str] = []
    with disk.watching(lambda step, _: steps.append(step)):
        peopled.json("device", "export", str(peopled.home / "whole.json"))
    whole = (peopled.home / "whole.json").read_bytes()
    assert len(steps) >= 4
    for cut in range(len(steps)):
        file = Path(peopled.home / f"{cut}.json")
        left = iter(range(cut))

        def watch(*_: object) -> None:
            if next(left, None) is None:  # noqa: B023  # called at once
                raise PowerCut

        with pytest.raises(PowerCut), disk.watching(watch):
            peopled.json("device", "export", str(file))
        assert not file.exists() or file.read_bytes() == whole
