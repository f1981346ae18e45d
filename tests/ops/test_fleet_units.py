"""Small pure parts: which order is in force, ages, the rule of a cohort in words, help texts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from interlock_core import durable
from interlock_core.errors import TransientError
from interlock_core.roster import Judge
from interlock_ops.cli import main
from interlock_ops.cli.edge import Voice
from interlock_ops.entitled import over_cohort, rule_words
from interlock_ops.units import show_age
from tests.ops.world import OPS_ROSTER, Place
from tests.support.people import CANARY, DAY0, ST_ANNA, grant, person, roster, rules

# Ages


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0s"), (-5, "0s"), (59, "59s"), (7200, "2h"), (7505, "2h5m"), (90_061, "1d1h")],
)
def test_ages_have_two_units(seconds: int, said: str) -> None:
    assert show_age(DAY0 + timedelta(seconds=seconds), DAY0) == said


def test_no_age() -> None:
    assert show_age(DAY0, None) == "-"


# Who may do what


def test_a_rule_in_words() -> None:
    words = rule_words(rules(start={"approver": 2}, resume={}, stop=("hospital",)))
    assert words["start"] == "an operator, authorised by approver x 2"
    assert words["resume"] == "an operator alone"
    assert words["stop"] == "one signature of operator or monitor or hospital"


def test_grants_that_expired_are_shown_as_that() -> None:
    made = roster(
        person("olga", grant("operator", expires=DAY0), grant("operator", CANARY)),
        person("hanna", grant("hospital", ST_ANNA)),
    )
    found = over_cohort(Judge(made, DAY0), CANARY)
    assert [(one.person, one.cohorts, one.expired) for one in found] == [
        ("olga", ("*",), True),
        ("olga", (CANARY,), False),
    ]


# Commands


def commands(group: click.Group, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += commands(command, (*above, name))
        else:
            found.append((*above, name))
    return found


@pytest.mark.parametrize("words", commands(main), ids=" ".join)
def test_each_command_explains_itself(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*words, "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert f"interlock-ops {' '.join(words)}" in result.stdout or words == ("post",)
    if words[0] in {"device", "cohort", "site"}:
        assert "With --json, beside outcome and reason:" in result.stdout


def test_a_disk_that_fails_leaves_no_secret(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    create = durable.create

    def failing(path: Path, data: bytes, mode: int = 0o644) -> None:
        if len(written) == 2:
            raise TransientError("The disk is full.")
        written.append(path)
        create(path, data, mode)

    monkeypatch.setattr(durable, "create", failing)
    words = ("--product", "gateway", "--site", "ward-7", "--cohort", CANARY, "--count", "3")
    place.device("claim", *words, "--secret-dir", tmp_path / "s", code=30)
    assert len(written) == 2
    assert list((tmp_path / "s").iterdir()) == []
    assert place.server.papers == []


def test_progress_is_for_terminals(capsys: pytest.CaptureFixture[str]) -> None:
    with Voice(as_json=False).progress("devices read") as progress:
        progress(100)
    assert capsys.readouterr() == ("", "")


def test_the_roster_of_these_tests_has_an_engineer() -> None:
    assert Judge(OPS_ROSTER, DAY0).holds("ellen", "engineer", CANARY, "ward-7")
    assert not Judge(OPS_ROSTER, DAY0).holds("ellen", "engineer", CANARY)
