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
"""

from __future__ import annotations

import json
import shutil
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


STAGES: Final[dict[str, Callable[[Shell], None]]] = {
    "nothing": _nothing,
    "quickstart": _quickstart,
    "ceremony": _ceremony,
    "server": _server,
    "delegated": _delegated,
    "released": _released,
    "ordered": _ordered,
}
"""Each follows from the one before."""
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
        shutil.copytree(self.made(name), home)
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
                before = tuple(STAGES)[tuple(STAGES).index(name) - 1]
                shutil.copytree(self.made(before), partial)
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
