"""An executable of somebody else's: bounded in time, output and reach, and never believed."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from interlock_client.executable import MAX_OUTPUT, Ended, run
from interlock_core.errors import ConfigurationError


@pytest.fixture
def program(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path / "program"


def says(program: Path, body: str) -> Path:
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return program


def ran(program: Path, body: str, *arguments: str, seconds: float = 60) -> Ended:
    return run(says(program, body), arguments, seconds=seconds)


def test_what_it_gets_is_what_is_documented(program: Path) -> None:
    ended = run(
        says(program, 'echo "$#: $1 $2"; cat; pwd; env | sort; ls /proc/self/fd | wc -l'),
        ["install", "b"],
        seconds=60,
        stdin=b"given\n",
    )
    lines = ended.output.decode().splitlines()
    assert lines[:3] == ["2: install b", "given", "/"]
    variables = {line.partition("=")[0] for line in lines[3:-1]}
    assert variables <= {"PATH", "LANG", "PWD", "OLDPWD", "SHLVL", "_"}
    assert int(lines[-1]) == 4, "its three streams, and what ls itself opened"
    assert (ended.code, ended.why) == (0, "")


def test_a_descriptor_is_given_by_its_number(program: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"the copy")
    descriptor = os.open(tmp_path / "copy", os.O_RDONLY)
    try:
        ended = run(
            says(program, 'cat "/proc/self/fd/$1"; echo x >> "/proc/self/fd/$1"'),
            [str(descriptor)],
            seconds=60,
            descriptors=[descriptor],
        )
    finally:
        os.close(descriptor)
    assert ended.output == b"the copy"


@pytest.mark.parametrize(
    ("body", "code", "why"),
    [
        ("exit 0", 0, ""),
        ("echo broken >&2; exit 3", 3, "exited with 3: broken"),
        ("kill -9 $$", -9, "was ended by signal 9"),
        ("exec sleep 60", None, "did not end within 0.3 s"),
        ("sleep 60 & exec 1>&-; wait", None, "did not end within 0.3 s"),
        (f"head -c {MAX_OUTPUT + 1} /dev/zero", None, f"wrote more than {MAX_OUTPUT} bytes"),
    ],
)
def test_how_it_ends(program: Path, body: str, code: int | None, why: str) -> None:
    ended = ran(program, body, seconds=0.3 if "sleep" in body else 60)
    assert (ended.code, ended.why) == (code, why)


def test_what_it_leaves_running_ends_with_it(program: Path, tmp_path: Path) -> None:
    """Also when that holds its output open."""
    ended = ran(program, f'sleep 60 & echo $! > "{tmp_path}/pid"; echo done')
    assert ended.output == b"done\n"
    try:
        left = os.pidfd_open(int((tmp_path / "pid").read_text()))
    except ProcessLookupError:
        return
    try:
        assert select.select([left], [], [], 60)[0], "it runs on"
    finally:
        os.close(left)


def test_a_sink_may_end_it(program: Path) -> None:
    class EnoughError(Exception):
        pass

    def enough(_chunk: bytes) -> None:
        raise EnoughError

    with pytest.raises(EnoughError):
        run(says(program, "yes"), [], seconds=60, sink=enough)


def test_all_of_a_long_output_reaches_the_sink(program: Path) -> None:
    seen = 0

    def count(chunk: bytes) -> None:
        nonlocal seen
        seen += len(chunk)

    ended = run(says(program, "head -c 3000000 /dev/zero"), [], seconds=60, sink=count)
    assert (ended.code, seen) == (0, 3_000_000)


@pytest.mark.parametrize("mode", [0o644, 0o757])
def test_what_is_no_executable_or_anybodys_is_not_run(program: Path, mode: int) -> None:
    says(program, "exit 0").chmod(mode)
    with pytest.raises(ConfigurationError):
        run(program, [], seconds=60)


def test_what_anybody_may_replace_is_not_run(program: Path, tmp_path: Path) -> None:
    says(program, "exit 0")
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigurationError, match="by anybody"):
        run(program, [], seconds=60)


def test_what_is_not_there_or_cannot_be_run(program: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        run(program, [], seconds=60)
    program.write_text("#!/nowhere\n")
    program.chmod(0o755)
    with pytest.raises(ConfigurationError, match="cannot be run"):
        run(program, [], seconds=60)
