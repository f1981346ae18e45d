"""What may stand in a transcript's directory at first; each is made once, by the real commands.

``nothing``
    an empty directory.
``quickstart``
    the files of ``infra/quickstart``, ``passphrase`` (of every key), ``firmware.img`` and another,
    ``firmware-1.1.0.img``, and the keys of everybody in ``people/``: rosa and raul release, tom and
    tess hold the roster, olivia operates, amir and anna approve.
``ceremony``
    besides, the server's online keys in ``online/``, and in ``ceremony/`` what the genesis left
    behind, held by ada, ben and cleo.
``server``
    besides, the server, initialised for the cohort ``wards``. Its application answers at ``{URL}``.
``delegated``
    besides, the product ``ward-gateway`` and the roster, published; their events are in
    ``events/``.
``released``
    besides, release 1.0.0, published.
``ordered``
    besides, a rollout of it to all of ``wards``, proposed by olivia, authorised by amir and anna,
    and not started.
``staffed``
    like ``released``, with release 1.1.0 as well, the cohort ``canary`` beside ``wards`` (which
    asks for the consent of an engineer, too), erik, who is the engineer of st-mary, and mona, a
    monitor. Three gateways of st-mary stand there: GW-000001 in ``wards``, whose settings are
    ``gateway.toml``, is enrolled; GW-000002 in ``canary`` (``canary.toml``) and GW-000003 in
    ``wards`` (``bedside.toml``) are not.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Final

from werkzeug.serving import make_server

from interlock_server.app import create_app
from interlock_server.config import load_settings
from interlock_server.wiring import backstage, open_signers, services
from tests.cli.programs import START, Clock, machine
from tests.cli.shell import Shell
from tests.flow.readme import ROOT

QUICKSTART: Final = ROOT / "infra" / "quickstart"
WRITTEN_URL: Final = "http://127.0.0.1:8080"
PASSPHRASE: Final = "correct horse battery staple"
SECRET: Final = "--passphrase-file passphrase"
RELEASERS: Final = ("rosa", "raul", "tom", "tess")
OPERATORS: Final = ("olivia", "amir", "anna")
STAFF: Final = """
# The wards want the consent of their hospital's engineer, too.
[[rules]]
pattern = "wards"
start = { approver = 2, engineer = 1 }
advance = { approver = 2 }
resume = { approver = 2 }
stop = []
assign = { approver = 2 }

[[persons]]
name = "erik"
keys = ["people/erik.pub.json"]
[[persons.grants]]
role = "engineer"
cohorts = ["canary"]
sites = ["st-mary"]
expires = "2036-01-01T00:00:00Z"
[[persons.grants]]
role = "engineer"
cohorts = ["wards"]
expires = "2036-01-01T00:00:00Z"

[[persons]]
name = "mona"
keys = ["people/mona.pub.json"]
grants = [{ role = "monitor", cohorts = ["*"], expires = "2036-01-01T00:00:00Z" }]
"""
NEXT_RELEASE: Final = (
    ('"1.0.0"', '"1.1.0"'),
    ("release_counter = 1", "release_counter = 2"),
    ('file = "firmware.img"', 'file = "firmware-1.1.0.img"\nname = "firmware.img"'),
)
GATEWAYS: Final = (
    ("gateway", "GW-000001", "wards"),
    ("canary", "GW-000002", "canary"),
    ("bedside", "GW-000003", "wards"),
)
CHECKS: Final = (
    ("interlock.d/patient", 'test ! -e "$(dirname "$0")/../in-use"'),
    ("health.d/boots", 'cd "$(dirname "$0")/.." && test -s "$(cat booted)"'),
)


def _nothing(shell: Shell) -> None:
    shell.home.mkdir()


def _quickstart(shell: Shell) -> None:
    shutil.copytree(QUICKSTART, shell.home, dirs_exist_ok=True)
    secret = shell.home / "passphrase"
    secret.write_text(f"{PASSPHRASE}\n")
    secret.chmod(0o600)
    (shell.home / "firmware.img").write_bytes(bytes(range(256)) * 400)
    (shell.home / "firmware-1.1.0.img").write_bytes(bytes(reversed(range(256))) * 400)
    (shell.home / "events").mkdir()
    for program, people in (("interlock-repo", RELEASERS), ("interlock-ops", OPERATORS)):
        for person in people:
            shell.run(f"{program} key new {person} --directory people {SECRET}")


def _ceremony(shell: Shell) -> None:
    shell.run(f"interlock-server keys new online {SECRET}")
    files = " ".join(f"--passphrase-file {who}=passphrase" for who in ("ada", "ben", "cleo"))
    shell.run(f"interlock-ceremony run genesis.toml {files}")


def _server(shell: Shell) -> None:
    shell.run("interlock-server init ceremony --config server.toml --cohort wards")


def _publish(shell: Shell, verb: str, spec: str, *signers: str) -> None:
    event = f"events/{spec}"
    shell.run(
        f"interlock-repo {verb} {spec}.toml --event {event} --repository {shell.known['URL']} "
        "--root ceremony/image/1.root.json"
    )
    for key in signers:
        shell.run(
            f"interlock-repo sign {event} --key {key}.key.json {SECRET} --meaning approved "
            "--reason given --yes"
        )
    shell.run(f"interlock-repo publish {event} --server {shell.known['URL']}")


def _delegated(shell: Shell) -> None:
    holders = (f"ceremony/keys/{who}-image-targets" for who in ("ada", "ben"))
    _publish(shell, "delegate", "delegations", *holders)
    _publish(shell, "roster", "roster", "people/tom", "people/tess")


def _released(shell: Shell) -> None:
    _publish(shell, "stage", "release", "people/rosa", "people/raul")


def _ordered(shell: Shell) -> None:
    said = shell.run(
        "interlock-ops rollout propose order.toml --config olivia.toml --reason first --yes --json"
    )
    order = json.loads(said.out)["id"]
    for person in ("amir", "anna"):
        shell.run(
            f"interlock-ops rollout authorise {order} --role approver --config {person}.toml "
            "--reason tested --yes"
        )


def _staffed(shell: Shell) -> None:
    for person in ("erik", "mona"):
        shell.run(f"interlock-ops key new {person} --directory people {SECRET}")
    settings = (shell.home / "olivia.toml").read_text()
    (shell.home / "erik.toml").write_text(settings.replace("olivia", "erik"))
    roster = (shell.home / "roster.toml").read_text()
    (shell.home / "staff.toml").write_text(f"{roster}{STAFF}")
    release = (shell.home / "release.toml").read_text()
    for before, now in NEXT_RELEASE:
        assert before in release
        release = release.replace(before, now)
    (shell.home / "release-1.1.0.toml").write_text(release)
    shell.run("interlock-server cohort add canary")
    _publish(shell, "roster", "staff", "people/tom", "people/tess")
    _publish(shell, "stage", "release-1.1.0", "people/rosa", "people/raul")
    for name, device, cohort in GATEWAYS:
        _build_in(shell.home, name, device, cohort)
    shell.run(
        "interlock-ops device claim --product ward-gateway --site st-mary --cohort wards "
        "--device GW-000001 --secret-dir claims --config olivia.toml --reason built-in --yes"
    )
    shell.run("interlock-client enrol --claim-file claims/GW-000001.secret --config gateway.toml")
    shell.run(
        "interlock-ops device countersign GW-000001 --role engineer --config erik.toml "
        "--reason seen --yes"
    )


def _build_in(home: Path, name: str, device: str, cohort: str) -> None:
    """A gateway with a check of its hospital's, which looks for a file, and a health check."""
    settings = (QUICKSTART / "gateway.toml").read_text()
    for before, now in (
        ("GW-000001", device),
        ('"wards"', f'"{cohort}"'),
        ("gateway/", f"{name}/"),
        (WRITTEN_URL, _written(home)),
    ):
        settings = settings.replace(before, now)
    (home / f"{name}.toml").write_text(settings)
    for check, line in CHECKS:
        script = home / name / check
        script.parent.mkdir(parents=True)
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)


def _written(home: Path) -> str:
    """The server's address as it stands in settings now."""
    return str(tomllib.loads((home / "gateway.toml").read_text())["servers"][0])


STAGES: Final[dict[str, Callable[[Shell], None]]] = {
    "nothing": _nothing,
    "quickstart": _quickstart,
    "ceremony": _ceremony,
    "server": _server,
    "delegated": _delegated,
    "released": _released,
    "ordered": _ordered,
    "staffed": _staffed,
}
"""Each follows from the one before, but for those that ``AFTER`` names."""
AFTER: Final = {"staffed": "released"}
SERVED: Final = tuple(STAGES)[tuple(STAGES).index("server") :]


class Worlds:
    """Makes what is given, each stage once.

    Args:
        directory: where what is made is kept.
        start: what time it is when each is made, and at first when it is given.
    """

    def __init__(self, directory: Path, start: datetime = START) -> None:
        self._directory = directory
        self._start = start

    @contextmanager
    def given(self, name: str, home: Path) -> Iterator[Shell]:
        """A shell in a copy at ``home``, while the block runs.

        Raises:
            KeyError: nothing is called so.
        """
        shutil.copytree(self.made(name), home, symlinks=True)
        with self._open(home, "transcript", served=name in SERVED) as shell:
            yield shell

    def made(self, name: str) -> Path:
        """What is given under a name, to be copied.

        Raises:
            KeyError: nothing is called so.
        """
        made = self._directory / name
        if not made.exists():
            partial = self._directory / f"{name}.partial"
            if name == "nothing":
                partial.mkdir()
            else:
                before = AFTER.get(name, tuple(STAGES)[tuple(STAGES).index(name) - 1])
                shutil.copytree(self.made(before), partial, symlinks=True)
            with self._open(partial, name, served=name in SERVED[1:]) as shell:
                if name != "nothing":
                    STAGES[name](shell)
            partial.rename(made)
        return made

    @contextmanager
    def _open(self, home: Path, salt: str, *, served: bool) -> Iterator[Shell]:
        shell = Shell(home, Clock(self._start))
        with machine(home, shell.clock, salt):
            if not served:
                yield shell
                return
            with _serving(home, shell.clock) as url:
                served_at(home, WRITTEN_URL, url)
                shell.known["URL"] = url
                try:
                    yield shell
                finally:
                    served_at(home, url, WRITTEN_URL)


def served_at(home: Path, before: str, now: str) -> None:
    """Write another address into the settings at ``home``."""
    for file in home.glob("*.toml"):
        file.write_text(file.read_text().replace(before, now))


@contextmanager
def _serving(home: Path, clock: Clock) -> Iterator[str]:
    """The server's own web application on a loopback port, with the transcript's clock."""
    settings = load_settings(home / "server.toml")
    signers = open_signers(settings)
    behind = backstage(settings, signers, clock=clock)
    server = make_server("127.0.0.1", 0, create_app(services(behind)), threaded=True)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        behind.database.close()
