"""A boot loader that an executable speaks with: what it says is checked, and unclear is failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from interlock_client.install import BootControl
from interlock_client.install.command_boot import CommandBoot
from interlock_client.installers import BootCommand
from interlock_core.errors import ConfigurationError, TransientError

STANDS = '{"active":"a","armed":null,"good":["a"],"fell_back":null}'


@pytest.fixture
def loader(tmp_path: Path) -> Callable[[str], BootControl]:
    """A boot control whose executable has this body."""
    tmp_path.chmod(0o755)

    def make(body: str, seconds: int = 20) -> BootControl:
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        settings = BootCommand(kind="command", program=program, timeout_seconds=seconds)
        return CommandBoot(settings, 3)

    return make


def answers(standing: str, booted: str = '{"booted":"a"}') -> str:
    """A body that answers questions, and does nothing."""
    return f"case $1 in booted) echo '{booted}';; standing) echo '{standing}';; esac"


@pytest.mark.parametrize(
    "said",
    [
        "",
        "a",
        "null",
        "[]",
        "{}",
        '{"booted":"c"}',
        '{"booted":"A"}',
        '{"booted":null}',
        '{"booted":"a","more":1}',
        '{"booted":"a","booted":"b"}',
        '{"booted":"a"} {"booted":"b"}',
        '{"booted":"a"',
    ],
)
def test_what_is_unclear_is_not_known(loader: Callable[[str], BootControl], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loader(answers(STANDS, said)).booted()
    assert caught.value.reason == "booted_unknown"


@pytest.mark.parametrize(
    "said",
    [
        "",
        '{"active":"a","armed":null,"good":["a"]}',
        '{"active":"c","armed":null,"good":["a"],"fell_back":null}',
        '{"active":"a","armed":"a","good":["a"],"fell_back":null}',
        '{"active":"a","armed":null,"good":["b"],"fell_back":null}',
        '{"active":"a","armed":null,"good":[],"fell_back":null}',
        '{"active":"a","armed":null,"good":["a"],"fell_back":"a"}',
        '{"active":"a","armed":null,"good":["a","b","a"],"fell_back":null}',
        '{"active":"a","armed":0,"good":["a"],"fell_back":null}',
    ],
)
def test_what_contradicts_itself_is_a_failure(
    loader: Callable[[str], BootControl], said: str
) -> None:
    with pytest.raises(TransientError) as caught:
        loader(answers(said)).standing()
    assert caught.value.reason == "boot_control_failed"


@pytest.mark.parametrize(
    "change",
    [
        lambda control: control.arm("b"),
        lambda control: control.commit("b"),
    ],
)
def test_a_change_that_does_not_show_did_not_happen(
    loader: Callable[[str], BootControl], change: Callable[[BootControl], None]
) -> None:
    with pytest.raises(TransientError) as caught:
        change(loader(answers(STANDS)))
    assert caught.value.reason == "boot_control_failed"
    assert "exited with 0, and did not do it" in str(caught.value)


def test_nothing_is_disarmed_where_nothing_is_armed(
    loader: Callable[[str], BootControl], tmp_path: Path
) -> None:
    loader(f'echo "$1" >> "{tmp_path}/calls"; {answers(STANDS)}').disarm()
    assert "disarm" not in (tmp_path / "calls").read_text().split()


def test_one_that_hangs_is_ended(loader: Callable[..., BootControl]) -> None:
    slow = f"[ $1 = booted ] || exec sleep 60; {answers(STANDS)}"
    with pytest.raises(TransientError, match="did not end within 1 s"):
        loader(slow, 1).standing()


def test_one_that_pours_is_ended(loader: Callable[[str], BootControl]) -> None:
    pours = f"[ $1 = booted ] || exec yes; {answers(STANDS)}"
    with pytest.raises(TransientError, match="wrote more than"):
        loader(pours).standing()
