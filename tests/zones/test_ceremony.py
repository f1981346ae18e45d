"""The ceremony opens no socket, whatever it is asked to do.

Import contract 4 shows that none of its modules imports a network library. tuf, which it needs,
depends on urllib3 all the same, so these tests watch a running ceremony: an audit hook ends the
process at the first socket event, and where the machine permits it, the process has no network
interface at all.
"""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from interlock_core.keys import public_key_file
from tests.zones.zone import Zone

SOCKET_OPENED = 97

WATCHED = f"""
import os, sys

def watch(event, arguments):
    if event.startswith("socket."):
        os.write(2, f"socket event: {{event}} {{arguments}}\\n".encode())
        os._exit({SOCKET_OPENED})

sys.addaudithook(watch)
"""
COMMAND = f"""{WATCHED}
from interlock_ceremony.cli import main
sys.argv[0] = "interlock-ceremony"
sys.exit(main())
"""
CULPRIT = f"""{WATCHED}
import socket
socket.socket()
"""


@cache
def isolation() -> tuple[str, ...]:
    """Return the words that take the network away, or none where the kernel forbids it."""
    words = ("unshare", "--map-root-user", "--net")
    try:
        tried = subprocess.run([*words, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return ()
    return words if tried.returncode == 0 else ()


def watched(zone: Zone, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return zone.run(*isolation(), zone.python, "-c", COMMAND, *words, cwd=cwd)


def test_the_watch_sees_a_socket(ceremony: Zone, tmp_path: Path) -> None:
    seen = ceremony.run(ceremony.python, "-c", CULPRIT, cwd=tmp_path)
    assert seen.returncode == SOCKET_OPENED
    assert "socket.__new__" in seen.stderr


def test_help_opens_no_socket(ceremony: Zone, tmp_path: Path) -> None:
    shown = watched(ceremony, "--help", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr


def test_a_refused_transcript_opens_no_socket(ceremony: Zone, tmp_path: Path) -> None:
    (tmp_path / "transcript.json").write_text("{}")
    refused = watched(ceremony, "verify", "transcript.json", cwd=tmp_path)
    assert refused.returncode in {2, 20}, refused.stderr


def test_a_whole_ceremony_and_its_proof_open_no_socket(ceremony: Zone, tmp_path: Path) -> None:
    script = tmp_path / "genesis.toml"
    script.write_text(watched(ceremony, "sample", cwd=tmp_path).stdout)
    (tmp_path / "online-keys").mkdir()
    for name in ("image-online", "director-targets", "director-online"):
        key = public_key_file(name, CryptoSigner.generate_ed25519())
        (tmp_path / "online-keys" / f"{name}.pub.json").write_bytes(key)
    passphrases: list[str] = []
    for holder in ("dana", "alice", "bob", "carol"):
        file = tmp_path / f"{holder}.txt"
        file.touch(mode=0o600)
        file.write_text(f"the long passphrase of {holder}\n")
        passphrases += ["--passphrase-file", f"{holder}={file.name}"]

    held = watched(ceremony, "run", script.name, *passphrases, cwd=tmp_path)
    assert held.returncode == 0, held.stderr
    proven = watched(ceremony, "verify", "ceremony/transcript.json", cwd=tmp_path)
    assert proven.returncode == 0, proven.stderr
