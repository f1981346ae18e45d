"""A newcomer types the README's quickstart and ends with one updated gateway."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from infra.ports import free_port
from tests.flow.readme import ROOT, quickstart


def test_quickstart_of_the_readme_updates_a_gateway(tmp_path: Path) -> None:
    ports = {"8080": free_port(), "8081": free_port()}
    shutil.copytree(ROOT / "infra" / "quickstart", tmp_path / "infra" / "quickstart")
    for file in (tmp_path / "infra" / "quickstart").glob("*.toml"):
        text = file.read_text()
        for written, used in ports.items():
            text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{used}")
        file.write_text(text)
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}

    shell = subprocess.Popen(
        ["bash", "-e", "-u", "-o", "pipefail", "-c", quickstart(ports)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = shell.communicate(timeout=240)
    finally:
        try:
            os.killpg(shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            shell.wait()

    assert shell.returncode == 0, output
    assert "GW-000001: countersigned" in output, output
    assert "(1 inside the open stages): 1 confirmed" in output, output
    assert output.rstrip().endswith("updated"), output
