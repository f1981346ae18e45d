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

from interlock_core.clock import system_clock
from tests.keys_ceremony.stage import PEOPLE, Stage, passphrase

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
    names = [word for h in PEOPLE for word in ("--passphrase-file", f"{h}={h}.txt")]
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


def test_people_are_led_at_a_terminal_and_no_passphrase_is_shown(stage: Stage) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(stage.home)
        os.execv(COMMAND[0], [*COMMAND, "run", "genesis.toml"])  # noqa: S606  # no shell is meant
    shown = b""

    def shown_until(end: bytes) -> None:
        nonlocal shown
        while not shown.endswith(end):
            shown += os.read(terminal, 1024)

    for holder in PEOPLE:
        for which in ("", " again"):
            shown_until(f"Passphrase of {holder}{which}: ".encode())
            os.write(terminal, passphrase(holder).encode() + b"\n")
    question = b"initials (! if it deviates): "
    steps = 0
    try:
        while True:
            shown_until(question)
            steps += 1
            if steps == 3:  # somebody wrote another digest down, and says so
                for typed, asked in ((b"!", b"who says so: "), (b"bob", b"as planned: ")):
                    os.write(terminal, typed + b"\n")
                    shown_until(asked)
                os.write(terminal, b"Bob misread a digit\n")
                shown_until(question)
                os.write(terminal, b"nobody\n")
                shown += b" "  # or the question that was just answered would be taken for the next
                shown_until(question)
            os.write(terminal, b"DD\n" if steps % 2 else b"alice\n")
            shown += b" "
    except OSError:
        pass  # how a terminal says that the last process has closed it
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert b"Complete: " in shown
    assert b"Type the short name of somebody here: dana, alice, bob, carol." in shown
    assert not any(passphrase(holder).encode() in shown for holder in PEOPLE)
    verified = stage.verify()
    assert verified.exit_code == 0
    assert "Bob Bach: Bob misread a digit" in verified.stdout
    assert "confirmed by nobody" not in verified.stdout
    entries = json.loads((stage.output / "transcript.json").read_bytes())["entries"]
    by = [entry["act"]["by"] for entry in entries if entry["act"]["act"] == "confirmed"]
    assert len(by) == steps
    assert set(by) == {"dana", "alice"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_ceremony_that_is_stopped_goes_on_where_it_stopped(
    stage: Stage, number: signal.Signals
) -> None:
    with running("run", "genesis.toml", *stage.files, cwd=stage.home) as process:
        until(process, "Made bob-image-root")
        process.send_signal(number)
        _, err = process.communicate()
    assert "Traceback" not in err
    assert not stage.output.exists()
    if number == signal.SIGINT:
        assert process.returncode == 1
        assert err == "Error: Interrupted.\n"
    keys = stage.home / ".out.partial" / "keys"
    made = {path.name: path.read_bytes() for path in keys.glob("*.key.json")}
    assert "bob-image-root.key.json" in made
    code, out, _ = call("run", "genesis.toml", *stage.files, cwd=stage.home)
    assert code == 0
    assert "was interrupted. It goes on where it stopped." in out
    assert not (stage.home / ".out.partial").exists()
    assert all((stage.output / "keys" / name).read_bytes() == made[name] for name in made)
    assert "interrupted" in stage.verify().stdout


def test_a_reader_who_goes_away(stage: Stage) -> None:
    with running("run", "genesis.toml", *stage.files, cwd=stage.home) as process:
        until(process, "Made alice-image-root")
        assert process.stdout is not None
        process.stdout.close()
        process.wait()
        assert process.returncode == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stdout = None
    assert not stage.output.exists()
    # That process went by the machine's clock, which may be past that of the stage.
    later = stage.at(clock=system_clock)
    later.done()
    assert later.verify().exit_code == 0
