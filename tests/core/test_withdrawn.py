"""What stands in a product's metadata, besides releases: what was taken back, and permits."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuf.api.metadata import TargetFile, Targets

from interlock_core.errors import InterlockError, WireError
from interlock_core.release import (
    MAX_PERMITS,
    MAX_PERMITS_BYTES,
    Evidence,
    Image,
    Permit,
    PermitFacts,
    Reference,
    Slot,
    UpdateClass,
    facts_of,
    read_permit,
)
from interlock_core.released import check_release, images, permits, withdraw
from interlock_core.wire import encode, sha256_hex
from interlock_core.withdrawn import WITHDRAWN, set_withdrawn, withdrawals

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PRODUCT = "ward"


def target(path: str, facts: Image | Evidence | PermitFacts, data: bytes) -> TargetFile:
    custom = msgspec.to_builtins(facts)
    return TargetFile(len(data), {"sha256": sha256_hex(data)}, path, {"custom": custom})


def release(targets: Targets, version: str, counter: int) -> Targets:
    """The next metadata, with one more release."""
    new = following(targets)
    sbom_path, path = f"{PRODUCT}/{version}/sbom.json", f"{PRODUCT}/{version}/fw.img"
    sbom = Evidence(product=PRODUCT, version=version, evidence="sbom", format="x")
    new.targets[sbom_path] = target(sbom_path, sbom, version.encode())
    image = Image(
        product=PRODUCT,
        version=version,
        hardware_ids=("cg-200",),
        release_counter=counter,
        raises_floor_to=0,
        min_counter_installed=0,
        update_class=UpdateClass(type="feature", urgency="routine"),
        markets=("DE",),
        support_end="2040-01-01",
        udi_di=None,
        slots=(Slot(name="rootfs", length=1, sha256="0" * 64),),
        references=(Reference(kind="sbom", path=sbom_path, sha256=sha256_hex(version.encode())),),
    )
    new.targets[path] = target(path, image, b"firmware " + version.encode())
    return new


def following(targets: Targets) -> Targets:
    new = Targets.from_dict(deepcopy(targets.to_dict()))
    new.version += 1
    return new


def taken_back(targets: Targets, version: str) -> Targets:
    new = following(targets)
    said = withdraw(targets, version, at=NOW, reason="bad")
    set_withdrawn(new, withdrawals(targets) | {version: said})
    for gone in said.images:
        del new.targets[gone.path]
    return new


def reason_of(new: Targets, before: Targets | None) -> str | None:
    try:
        check_release(new, before)
    except InterlockError as e:
        return e.reason
    return None


@pytest.fixture
def two() -> Targets:
    return release(release(Targets(expires=NOW), "1.0", 1), "2.0", 2)


def test_a_withdrawal_keeps_the_evidence(two: Targets) -> None:
    after = taken_back(two, "2.0")
    assert reason_of(after, two) is None
    assert [image.version for image in images(after).values()] == ["1.0"]
    assert f"{PRODUCT}/2.0/sbom.json" in after.targets


@pytest.mark.parametrize("counter", [1, 2])
def test_a_counter_that_was_taken_back_stays_used(two: Targets, counter: int) -> None:
    after = taken_back(two, "2.0")
    assert reason_of(release(after, "3.0", counter), after) == "counter_not_raised"
    assert reason_of(release(after, "3.0", 3), after) is None
    assert reason_of(release(after, "2.0", 3), after) == "version_reused"


BAD: dict[str, tuple[Callable[[Targets, Targets], object], str]] = {
    "the image stays": (
        lambda new, old: new.targets.update({k: v for k, v in old.targets.items() if "2.0" in k}),
        "bad_withdrawal",
    ),
    "the evidence goes": (
        lambda new, _: new.targets.pop(f"{PRODUCT}/2.0/sbom.json"),
        "target_removed",
    ),
    "nothing is said": (
        lambda new, _: new.unrecognized_fields.pop(WITHDRAWN),
        "target_removed",
    ),
    "another counter": (
        lambda new, _: new.unrecognized_fields[WITHDRAWN]["2.0"].update(release_counter=1),
        "bad_withdrawal",
    ),
    "another digest": (
        lambda new, _: new.unrecognized_fields[WITHDRAWN]["2.0"]["images"][0].update(
            sha256="0" * 64
        ),
        "bad_withdrawal",
    ),
    "what never was": (
        lambda new, _: new.unrecognized_fields[WITHDRAWN].update(
            {"9.0": new.unrecognized_fields[WITHDRAWN]["2.0"]}
        ),
        "unknown_version",
    ),
    "no form": (
        lambda new, _: new.unrecognized_fields.update({WITHDRAWN: ["2.0"]}),
        "bad_withdrawal",
    ),
    "an unknown field": (
        lambda new, _: new.unrecognized_fields[WITHDRAWN]["2.0"].update(also=1),
        "bad_withdrawal",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_withdrawal_that_says_anything_else_is_refused(two: Targets, case: str) -> None:
    spoil, reason = BAD[case]
    after = taken_back(two, "2.0")
    spoil(after, two)
    assert reason_of(after, two) == reason


@pytest.mark.parametrize("case", ["gone", "counter", "reason"])
def test_what_was_taken_back_is_never_said_otherwise_later(two: Targets, case: str) -> None:
    before = taken_back(two, "2.0")
    after = release(before, "3.0", 3)
    stated = after.unrecognized_fields[WITHDRAWN]
    match case:
        case "gone":
            stated.clear()
        case "counter":
            stated["2.0"]["release_counter"] = 1
        case _:
            stated["2.0"]["reason"] = "fine after all"
    assert reason_of(after, before) == "bad_withdrawal"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.integers(0, 8)), max_size=12))
def test_no_counter_is_ever_used_again(acts: list[tuple[bool, int, int]]) -> None:
    """Whatever is released and withdrawn in whatever order."""
    current, highest, versions = Targets(expires=NOW), 0, set[str]()
    for number, (withdraws, counter, which) in enumerate(acts):
        listed = sorted(image.version for image in images(current).values())
        if withdraws and listed:
            current = taken_back(current, listed[which % len(listed)])
            continue
        new = release(current, f"v{number if which else which}", counter)
        version = f"v{number if which else which}"
        if new.targets == current.targets:
            continue  # the same again is no release
        allowed = counter > highest and version not in versions
        assert (reason_of(new, current) is None) == allowed
        if allowed:
            current, highest = new, counter
            versions.add(version)


# Permits


def permit(**changes: Any) -> Permit:
    made = Permit(
        fleet="north",
        product=PRODUCT,
        from_sha256="2" * 64,
        to_sha256="1" * 64,
        devices=("GW-1",),
        cohorts=(),
        order="a" * 64,
        expires=NOW + timedelta(days=3),
    )
    return msgspec.structs.replace(made, **changes)


def permitted(targets: Targets, one: Permit, path: str = f"{PRODUCT}/permits/1.json") -> Targets:
    new = following(targets)
    new.targets[path] = target(path, facts_of(one), encode(one))
    return new


def test_a_permit_is_listed_and_may_leave_but_never_change(two: Targets) -> None:
    before = permitted(two, permit())
    assert reason_of(before, two) is None
    assert list(permits(before).values()) == [facts_of(permit())]
    assert reason_of(two, before) is None
    changed = permitted(before, permit(order="b" * 64))
    assert reason_of(changed, before) == "target_changed"


def of_one_move(targets: Targets, many: int, length: int = 100, **changes: Any) -> Targets:
    new = following(targets)
    for number in range(many):
        path = f"{PRODUCT}/permits/{len(new.targets)}-{number}.json"
        one = target(path, facts_of(permit(**changes)), encode(permit(devices=(f"GW-{number}",))))
        one.length = length
        new.targets[path] = one
    return new


def test_of_one_move_so_many_permits_as_a_gateway_reads(two: Targets) -> None:
    full = of_one_move(two, MAX_PERMITS)
    assert reason_of(full, two) is None
    assert reason_of(of_one_move(full, 1), full) == "too_many_permits"
    others: list[dict[str, Any]] = [
        {"order": "b" * 64},
        {"from_sha256": "3" * 64},
        {"to_sha256": "3" * 64},
    ]
    for other in others:
        assert reason_of(of_one_move(full, 1, **other), full) is None
    # What was published before there was a limit keeps nobody from releasing, or from revoking.
    over = of_one_move(full, 1)
    assert reason_of(release(over, "3.0", 3), over) is None
    assert reason_of(full, over) is None


def test_of_one_move_so_many_bytes_as_a_gateway_reads(two: Targets) -> None:
    most = MAX_PERMITS_BYTES // 4
    assert reason_of(of_one_move(two, 4, most), two) is None
    assert reason_of(of_one_move(two, 4, most + 1), two) == "too_many_permits"


@pytest.mark.parametrize("path", [f"{PRODUCT}/1.1/1.json", "other/permits/1.json"])
def test_a_permit_lies_where_permits_lie(two: Targets, path: str) -> None:
    assert reason_of(permitted(two, permit(), path), two) == "bad_facts"


def test_no_release_has_the_version_of_permits(two: Targets) -> None:
    assert reason_of(release(two, "permits", 3), two) == "bad_facts"


@pytest.mark.parametrize(
    "change",
    [
        {"product": "pump"},
        {"from_sha256": "3" * 64},
        {"to_sha256": "3" * 64},
        {"order": "b" * 64},
        {"expires": NOW},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_permit_is_what_its_facts_say(change: dict[str, Any]) -> None:
    assert read_permit(encode(permit()), facts_of(permit())) == permit()
    with pytest.raises(WireError):
        read_permit(encode(permit(**change)), facts_of(permit()))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_permit(data: bytes) -> None:
    with pytest.raises(WireError):
        read_permit(data, facts_of(permit()))
