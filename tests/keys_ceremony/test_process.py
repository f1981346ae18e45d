"""The command as people meet it: a process, at a terminal or without one, killed at any time."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.keys_ceremony.stage import HOLDERS, Stage, passphrase

COMMAND = (sys.executable, "-c", "import sys; from interlock_ceremony.cli import main; main()")
# Ends the process at the first event of a socket. securesystemslib imports boto3 where it is there,
# which tries a socket when it is loaded: it is in the developers' environment, and not in the
# ceremony's own, where tests/zones watches the same.
WATCHED = (
    sys.executable,
    "-c",
    """
import os, sys
sys.modules["boto3"] = None
sys.addaudithook(lambda event, _: event.startswith("socket.") and os._exit(97))
from interlock_ceremony.cli import main
main()
""",
)


def call(*words: str | Path, cwd: Path, command: tuple[str, ...] = COMMAND) -> tuple[int, str, str]:
    done = subprocess.run(
        [*command, *map(str, words)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@contextmanager
def running(*words: str | Path, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], said: str) -> None:
    assert process.stdout is not None
    assert any(line.startswith(said) for line in process.stdout)


def test_run_and_verify_as_documented_and_without_a_socket(stage: Stage, tmp_path: Path) -> None:
    names = [word for h in HOLDERS for word in ("--passphrase-file", f"{h}={h}.txt")]
    code, out, err = call("run", "genesis.toml", *names, cwd=stage.home, command=WATCHED)
    assert (code, err) == (0, "")
    assert "Complete: " in out
    shutil.copytree(stage.output, tmp_path / "elsewhere")
    transcript = tmp_path / "elsewhere" / "transcript.json"
    code, out, err = call("verify", transcript, "--json", cwd=tmp_path, command=WATCHED)
    assert (code, err) == (0, "")
    assert json.loads(out)["reason"] == "verified"


@pytest.mark.parametrize("text", ["threshold = ", "[[[", "a" * 70000, "\x00"])
def test_a_bad_script_is_one_line_and_exit_2(stage: Stage, text: str) -> None:
    stage.script.write_text(text)
    code, out, err = call("run", "genesis.toml", cwd=stage.home)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("Error: genesis.toml")


def test_without_a_terminal_nobody_is_asked(stage: Stage) -> None:
    code, out, err = call("run", "genesis.toml", cwd=stage.home)
    assert (code, out) == (2, "")
    assert "--passphrase-file alice=FILE" in err


def test_people_type_at_a_terminal_and_nothing_is_shown(stage: Stage) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(stage.home)
        os.execv(COMMAND[0], [*COMMAND, "run", "genesis.toml"])  # noqa: S606  # no shell is meant
    shown = b""
    for holder in HOLDERS:
        for question in (f"Passphrase of {holder}: ", f"Passphrase of {holder} again: "):
            while not shown.endswith(question.encode()):
                shown += os.read(terminal, 1024)
            os.write(terminal, passphrase(holder).encode() + b"\n")
    try:
        while more := os.read(terminal, 65536):
            shown += more
    except OSError:
        pass  # how a terminal says that the last process has closed it
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert b"Complete: " in shown
    assert not any(passphrase(holder).encode() in shown for holder in HOLDERS)
    assert stage.verify().exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_ceremony_that_is_stopped_leaves_no_output_and_runs_again(
    stage: Stage, number: signal.Signals
) -> None:
    before = stage.listing()
    with running("run", "genesis.toml", *stage.files, cwd=stage.home) as process:
        until(process, "Made bob-image-root")
        process.send_signal(number)
        _, err = process.communicate()
    assert "Traceback" not in err
    assert not stage.output.exists()
    if number == signal.SIGINT:
        assert process.returncode == 1
        assert err == "Error: Interrupted.\n"
        assert stage.listing() == before
    stage.done()
    assert not (stage.home / ".out.partial").exists()
    assert stage.verify().exit_code == 0


def test_a_reader_who_goes_away(stage: Stage) -> None:
    before = stage.listing()
    with running("run", "genesis.toml", *stage.files, cwd=stage.home) as process:
        until(process, "Made alice-image-root")
        assert process.stdout is not None
        process.stdout.close()
        process.wait()
        assert process.returncode == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stdout = None
    assert stage.listing() == before
