"""Permits as signing events: who may go down from what to what, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Targets

from interlock_core.clock import system_clock
from interlock_core.errors import RefusedError
from interlock_core.release import MAX_PERMITS, Permit
from interlock_core.released import permits, sha256_of
from interlock_core.wire import decode_canonical, format_time
from interlock_repo.permits import MAX_MADE, add_permits
from interlock_repo.specs import PermitSpec, parse_spec
from tests.repo_tools.test_withdraw import metadata, tool_on
from tests.repo_tools.world import PRODUCT, Said, World, tool

SIGNERS = ("rosa", "raul")
ORDER = "ab" * 32


def spec(world: World, **fields: str | None) -> Path:
    lines: dict[str, str | None] = {
        "from": '"2.0.0"',
        "to": '"1.0.0"',
        "order": f'"{ORDER}"',
        "devices": '["GW-000001"]',
        "expires": format_time(system_clock().replace(microsecond=0) + timedelta(days=14)),
    }
    stated = {key: value for key, value in (lines | fields).items() if value is not None}
    path = world.place / "permit.toml"
    path.write_text(
        f'product = "{PRODUCT}"\n\n[[permits]]\n'
        + "".join(f"{key} = {value}\n" for key, value in stated.items())
    )
    return path


def sign_and_publish(world: World, event: Path) -> None:
    for person in SIGNERS:
        said = world.sign(event, person)
        assert said.code == 0, said.err
    world.put_in_force(event)


def made(world: World, event: Path, file: Path) -> Said:
    said = world.make("permit", event, file, "--json")
    assert said.code == 0, said.err
    return said


@pytest.fixture
def released(delegated: World) -> World:
    delegated.in_force("stage", delegated.release("1.0.0", 1), SIGNERS)
    delegated.in_force("stage", delegated.release("2.0.0", 2, raises_floor_to="2"), SIGNERS)
    delegated.in_force("roster", delegated.roster(), ("tom", "tess"))
    return delegated


def in_force(world: World) -> Targets:
    current: Metadata[Targets] | None = world.image().stored.published_targets(PRODUCT)
    assert current is not None
    return current.signed


def test_a_permit_is_a_target_of_the_products_role(released: World, tmp_path: Path) -> None:
    event = tmp_path / "e"
    said = made(released, event, spec(released))
    targets = metadata(event)
    [(path, facts)] = permits(targets).items()
    data = (event / "targets" / path).read_bytes()
    permit = decode_canonical(data, Permit, limit=10_000, what="permit")
    assert permit.fleet == "test-fleet"
    assert (permit.devices, permit.cohorts, permit.order) == (("GW-000001",), (), ORDER)
    assert permit.from_sha256 == sha256_of("", targets.targets[f"{PRODUCT}/2.0.0/fw.img"])
    assert permit.to_sha256 == sha256_of("", targets.targets[f"{PRODUCT}/1.0.0/fw.img"])
    assert (facts.order, facts.expires) == (permit.order, permit.expires)
    assert path.split("/")[1:2] == ["permits"]
    assert sha256_of(path, targets.targets[path]).startswith(path.split("/")[2].split(".")[0])
    assert "What a gateway could newly install" in said.err
    assert (
        f"a downgrade of {PRODUCT} from 2.0.0 to 1.0.0, below the floor, once on each of device "
        f"GW-000001, under order {ORDER} of fleet test-fleet, until" in said.err
    )
    sign_and_publish(released, event)
    assert path in in_force(released).targets


def test_from_a_release_that_was_withdrawn_and_for_a_cohort(
    released: World, tmp_path: Path
) -> None:
    event = tmp_path / "w"
    assert tool_on(released, "withdraw", event, "--reason", "bad", PRODUCT, "2.0.0").code == 0
    sign_and_publish(released, event)
    said = made(released, tmp_path / "e", spec(released, devices=None, cohorts='["wards"]'))
    assert "from 2.0.0 (withdrawn) to 1.0.0" in said.err
    assert "cohort wards" in said.err


def test_one_for_each_kind_of_hardware(delegated: World, tmp_path: Path) -> None:
    images = '[{ file = "fw.img" }, { file = "notes.md", name = "b.img", hardware_ids = ["x"]}]'
    for counter in (1, 2):
        delegated.in_force(
            "stage", delegated.release(f"{counter}.0.0", counter, images=images), SIGNERS
        )
    delegated.in_force("roster", delegated.roster(), ("tom", "tess"))
    made(delegated, tmp_path / "e", spec(delegated))
    assert len(permits(metadata(tmp_path / "e"))) == 2


def test_expired_ones_leave_with_the_next_event_and_that_is_said(
    released: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(released, tmp_path / "e", spec(released))
    sign_and_publish(released, tmp_path / "e")
    [path] = permits(in_force(released))
    later = system_clock() + timedelta(days=15)
    monkeypatch.setattr("interlock_repo.cli.making.system_clock", lambda: later)
    # Long enough that the repository is still fresh to the reader, who asks the machine.
    said = released.make("stage", tmp_path / "s", released.release("3.0.0", 3))
    assert said.code == 0, said.err
    assert f"Removed: {path}" in said.out
    assert permits(metadata(tmp_path / "s")) == {}


def test_one_is_revoked_by_leaving_it_out(released: World, tmp_path: Path) -> None:
    made(released, tmp_path / "e", spec(released))
    sign_and_publish(released, tmp_path / "e")
    [path] = permits(in_force(released))
    file = released.place / "revoke.toml"
    file.write_text(f'product = "{PRODUCT}"\nrevoke = ["{path}"]\n')
    said = made(released, tmp_path / "r", file)
    assert f"Removed: {path}" in said.err
    sign_and_publish(released, tmp_path / "r")
    assert permits(in_force(released)) == {}
    again = released.make("permit", tmp_path / "r2", file, "--json")
    assert (again.code, again.answer["reason"]) == (20, "unknown_permit")


REFUSED: dict[str, tuple[dict[str, str | None], int, str]] = {
    "no such release": ({"from": '"7.0.0"'}, 20, "unknown_version"),
    "upwards": ({"from": '"1.0.0"', "to": '"2.0.0"'}, 20, "permit_not_needed"),
    "to itself": ({"from": '"1.0.0"'}, 20, "no_such_move"),
    "expired": ({"expires": "2020-01-01T00:00:00Z"}, 20, "expired"),
    "for nobody": ({"devices": None}, 2, "configuration"),
    "not an order": ({"order": '"7"'}, 2, "configuration"),
    "a local time": ({"expires": "2036-01-01T00:00:00"}, 2, "configuration"),
    "unknown field": ({"also": "1"}, 2, "configuration"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name_and_nothing_is_made(released: World, tmp_path: Path, case: str) -> None:
    fields, code, reason = REFUSED[case]
    said = released.make("permit", tmp_path / "e", spec(released, **fields), "--json")
    assert (said.code, said.answer["reason"]) == (code, reason), said.err
    assert not (tmp_path / "e").exists()


def test_the_same_one_twice_and_none_at_all(released: World, tmp_path: Path) -> None:
    file = spec(released)
    made(released, tmp_path / "e", file)
    sign_and_publish(released, tmp_path / "e")
    twice = released.make("permit", tmp_path / "f", file, "--json")
    assert (twice.code, twice.answer["reason"]) == (20, "name_twice")
    file.write_text(f'product = "{PRODUCT}"\n')
    none = released.make("permit", tmp_path / "f", file, "--json")
    assert (none.code, none.answer["reason"]) == (20, "nothing_to_do")


def test_no_more_for_one_move_than_gateways_read(released: World, tmp_path: Path) -> None:
    file = spec(released)
    head, one = file.read_text().split("\n[[permits]]\n")
    moves = [one.replace("GW-000001", f"GW-{number:06}") for number in range(MAX_PERMITS + 1)]
    file.write_text("\n[[permits]]\n".join([head, *moves]))
    refused = released.make("permit", tmp_path / "e", file, "--json")
    assert (refused.code, refused.answer["reason"]) == (20, "too_many_permits")
    assert not (tmp_path / "e").exists()
    file.write_text("\n[[permits]]\n".join([head, *moves[1:]]))
    made(released, tmp_path / "e", file)


def test_an_event_of_many_moves_is_signed_like_any_other(released: World, tmp_path: Path) -> None:
    file = spec(released)
    head, one = file.read_text().split("\n[[permits]]\n")
    moves = [one.replace(ORDER, f"{number:064x}") for number in range(MAX_PERMITS + 6)]
    file.write_text("\n[[permits]]\n".join([head, *moves]))
    made(released, tmp_path / "e", file)
    sign_and_publish(released, tmp_path / "e")
    assert len(permits(in_force(released))) == len(moves)


@pytest.mark.parametrize(("count", "devices"), [(MAX_MADE + 1, 1), (16, 4096)])
def test_one_event_makes_so_many_as_signatures_carry(count: int, devices: int) -> None:
    each = [
        Permit(
            fleet="test-fleet",
            product=PRODUCT,
            from_sha256="1" * 64,
            to_sha256="2" * 64,
            devices=tuple(f"GX-{device:061}" for device in range(devices)),
            cohorts=(),
            order=f"{number:064x}",
            expires=datetime(2030, 1, 1, tzinfo=UTC),
        )
        for number in range(count)
    ]
    with pytest.raises(RefusedError) as refused:
        add_permits(Targets(), each)
    assert refused.value.reason == "too_many_permits"


def test_without_a_roster_there_is_no_order(delegated: World, tmp_path: Path) -> None:
    delegated.in_force("stage", delegated.release("1.0.0", 1), SIGNERS)
    delegated.in_force("stage", delegated.release("2.0.0", 2), SIGNERS)
    said = delegated.make("permit", tmp_path / "e", spec(delegated), "--json")
    assert (said.code, said.answer["reason"]) == (20, "no_roster")


def test_a_permit_that_is_not_what_its_facts_say_is_refused(
    released: World, tmp_path: Path
) -> None:
    """Somebody swaps the bytes for another permit's and mends length and digest."""
    made(released, tmp_path / "e", spec(released))
    [path] = permits(metadata(tmp_path / "e"))
    file = tmp_path / "e" / "targets" / path
    file.write_bytes(file.read_bytes().replace(b"GW-000001", b"GW-000002"))
    refused = tool("review", tmp_path / "e", "--json")
    assert (refused.code, refused.answer["reason"]) == (20, "event_damaged")


def test_a_withdrawn_release_is_nowhere_to_go(released: World, tmp_path: Path) -> None:
    event = tmp_path / "w"
    tool_on(released, "withdraw", event, "--reason", "bad", PRODUCT, "1.0.0")
    sign_and_publish(released, event)
    said = released.make("permit", tmp_path / "e", spec(released), "--json")
    assert (said.code, said.answer["reason"]) == (20, "unknown_version")


def test_the_sample_is_a_permit_file(tmp_path: Path) -> None:
    text = tool("sample", "permit").out
    parsed = parse_spec(text.encode(), PermitSpec, what="sample")
    assert parsed.permits[0].from_version == "1.4.0"
