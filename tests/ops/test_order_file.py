"""ORDER.toml: read whole, refused by the name of the field, never with a traceback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_core.errors import ConfigurationError
from interlock_core.order import Abort, Order, Stage, Window
from interlock_ops.order_file import Facts, OrderPlan, make_order, read_order_file

NOW = datetime(2027, 3, 1, 8, 0, 30, 123, tzinfo=UTC)
WHOLE = NOW.replace(microsecond=0)
DIGEST = "ab" * 32

FULL = """
product = "gateway"
kind = "recall"
not_before = "1h"
expires = 2027-04-01T00:00:00Z
deadline_seconds = 3600
spread = "30m"

[[targets]]
path = "gateway/1.2.0/firmware.img"
sha256 = "abababababababababababababababababababababababababababababababab"
[[targets]]
path = "gateway/1.1.0/firmware.img"

[[stages]]
cohorts = ["canary"]
percent = 12.5
soak = "1d12h"
gate = "manual"
[[stages]]
cohorts = ["canary", "wards"]
percent = 100
soak_seconds = 0
gate = "auto"

[[abort]]
failure_type = "all"
threshold_percentage = 0.25
min_executed = 8

[window]
opens = "22:00"
closes = "05:00"
"""


def read(text: str) -> OrderPlan:
    return read_order_file(text.encode(), NOW, name="order.toml")


def order(text: str) -> Order:
    plan = read(text)
    facts = [Facts(wanted.path, 7, DIGEST) for wanted in plan.wanted]
    return make_order(plan, facts, fleet="north", author="olga", at=WHOLE, reason="because", seq=4)


def refused(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    assert caught.value.reason == "bad_order"
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_everything_is_read() -> None:
    made = order(FULL)
    assert made.kind == "recall"
    assert [target.path for target in made.targets] == [
        "gateway/1.2.0/firmware.img",
        "gateway/1.1.0/firmware.img",
    ]
    assert {(target.length, target.sha256) for target in made.targets} == {(7, DIGEST)}
    assert made.stages == (
        Stage(cohorts=("canary",), basis_points=1250, soak_seconds=129_600, gate="manual"),
        Stage(cohorts=("canary", "wards"), basis_points=10_000, soak_seconds=0, gate="auto"),
    )
    assert made.abort == (Abort(failure_type="all", threshold_basis_points=25, min_executed=8),)
    assert made.not_before == WHOLE + timedelta(hours=1)
    assert made.expires == datetime(2027, 4, 1, tzinfo=UTC)
    assert made.window == Window(opens="22:00", closes="05:00")
    assert (made.spread_seconds, made.deadline_seconds) == (1800, 3600)
    assert (made.fleet, made.author, made.reason, made.seq) == ("north", "olga", "because", 4)


def test_a_digest_in_the_file_is_kept_as_a_check() -> None:
    assert [wanted.sha256 for wanted in read(FULL).wanted] == [DIGEST, None]


def test_expires_counts_from_not_before() -> None:
    made = order(FULL.replace("2027-04-01T00:00:00Z", '"30d"'))
    assert made.expires == WHOLE + timedelta(hours=1, days=30)


def test_without_not_before_it_begins_now() -> None:
    assert order(FULL.replace('not_before = "1h"', "")).not_before == WHOLE


def test_without_window_abort_and_spread_there_are_none() -> None:
    text = FULL.partition("[[abort]]")[0].replace('spread = "30m"', "")
    made = order(text)
    assert (made.window, made.abort, made.spread_seconds) == (None, (), 0)


def test_the_sample_is_an_order() -> None:
    text = resources.files("interlock_ops.samples").joinpath("order.toml").read_text()
    made = order(text)
    assert [stage.basis_points for stage in made.stages] == [10_000, 1250, 10_000]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("12.5", "12.345", "`stages[0].percent`: 12.345 has more than two decimals"),
        ("12.5", "true", "`stages[0].percent`: True is not a percentage"),
        ("12.5", '"12.5"', "`stages[0].percent`: '12.5' is not a percentage"),
        ("12.5", "nan", "`stages[0].percent`: NaN is not a percentage"),
        ("percent = 100", "percent = 10", "the share of cohort canary falls in stage 1"),
        ('"1d12h"', '"12h1d"', "`stages[0].soak`: '12h1d' names a unit twice or out of order"),
        ('soak = "1d12h"', "", "`stages[0].soak` is missing"),
        ("soak_seconds = 0", 'soak_seconds = 0\nsoak = "0s"', "both stand: keep one"),
        ("soak_seconds = 0", "soak_seconds = 9999999999", "soak_seconds"),
        ("soak_seconds = 0", "soak_seconds = 1.5", "stages[1].soak_seconds"),
        ('gate = "manual"', 'gate = "auto"', "gate of stage 0 must be manual"),
        ('gate = "manual"', 'gate = "people"', "stages[0].gate"),
        ('"canary"]', '"Canary"]', "stages[0].cohorts"),
        ('cohorts = ["canary"]', "cohorts = []", "stages[0].cohorts"),
        ('kind = "recall"', 'kind = "downgrade"', "kind"),
        ('product = "gateway"', 'product = "targets"', "reserved"),
        ('product = "gateway"', 'product = "pump"', "must lie under the order's product"),
        ('product = "gateway"', "", "missing required field `product`"),
        ("gateway/1.1.0", "gateway/1.2.0", "names one path twice"),
        ("gateway/1.2.0/firmware.img", "../firmware.img", "targets[0].path"),
        ("abab", "ABAB", "targets[0].sha256"),
        ("2027-04-01T00:00:00Z", "2027-03-01T00:00:00Z", "`expires` must be after"),
        ("2027-04-01T00:00:00Z", "2027-04-01T00:00:00", "`expires`: 2027-04-01T00:00:00 has no"),
        ("2027-04-01T00:00:00Z", '"soon"', "`expires`: 'soon' is not a time"),
        ("deadline_seconds = 3600", "", "`deadline` is missing"),
        ("deadline_seconds = 3600", "deadline_seconds = 5", "deadline_seconds"),
        ("0.25", "0", "`abort[0].threshold_percentage`"),
        ('"22:00"', '"24:00"', "window.opens"),
        ('"22:00"', '"05:00"', "never open"),
        ("[window]", "[windows]", "unknown field `windows`"),
        ("[[targets]]", "targets = 3\n[[other]]", "targets"),
        ("min_executed = 8", "min_executed = 8\nlength = 3", "unknown field `length`"),
        ('kind = "recall"', "kind = recall", "line 3"),
        ("deadline_seconds = 3600", "deadline_seconds = " + "9" * 5000, "4300 digits"),
        ("12.5", "1e99999999999999999999", "too large"),
        ("12.5", "[" * 3000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, said: str) -> None:
    assert old in FULL
    assert said in refused(FULL.replace(old, new))


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_order_file(b"product = \xff", NOW)


PIECES = [line for line in FULL.splitlines() if line]


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(ConfigurationError):
        read_order_file(data, NOW)


@given(
    st.lists(
        st.tuples(st.sampled_from(PIECES), st.sampled_from(["", " = 3", "\x00", "1e9", "-", '"']))
    )
)
def test_any_mixture_of_lines_is_read_or_refused_by_name(lines: list[tuple[str, str]]) -> None:
    text = "\n".join(line + tail for line, tail in lines)
    with pytest.raises(ConfigurationError):
        read(text)


VALUES = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(repr),
    st.sampled_from(["true", '""', "[]", "{}", '"30d"', "1979-05-27", "07:32:00", '"\\u0000"']),
)


@given(st.sampled_from([line for line in PIECES if " = " in line]), VALUES)
def test_any_value_anywhere_is_read_or_refused_by_name(line: str, value: str) -> None:
    name, _, _ = line.partition(" = ")
    try:
        order(FULL.replace(line, f"{name} = {value}"))
    except ConfigurationError as e:
        assert e.reason == "bad_order"  # noqa: PT017  # some values fit


def test_abort_settings_in_either_spelling_and_once() -> None:
    """``threshold_percentage`` is AWS's term; the older spelling is read as well."""
    older = FULL.replace("threshold_percentage", "threshold_percent")
    assert read(older) == read(FULL)
    both = FULL.replace(
        "threshold_percentage = 0.25", "threshold_percentage = 0.25\nthreshold_percent = 0.25"
    )
    none = FULL.replace("threshold_percentage = 0.25\n", "")
    for wrong in (both, none):
        with pytest.raises(ConfigurationError, match="threshold_percentage"):
            read(wrong)
