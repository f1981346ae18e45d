"""RAUC unpacks the image, which is one of its bundles (I/O).

Rules beside those of the package (what RAUC is told is in ``rauc_files``):

1. RAUC's service is started by the agent, for one installation, on a message bus of its own, and
   ``apart`` from the machine: nobody else can call it, nothing of it is left when it ends, and
   there is no network for it or for the hooks of a bundle.
2. It gets the bundle as an open descriptor of the private copy that was verified.
3. Its configuration is written anew for each installation. No other is read, so that nobody can
   have it arm, or write elsewhere, by editing a file that it finds.
4. Its own check of the bundle's signature is beside ours and takes the place of nothing. A bundle
   that it does not accept is ``installer_refused``; whatever else goes wrong may go right next
   time, and is ``installer_failed``.
5. Slot files are emptied before: it writes into a file and leaves the rest of it as it is.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock_client import boot
from interlock_client.boot import Slot
from interlock_client.install import Artefact, Wanted, apart, rauc_files
from interlock_client.install.destination import Destination
from interlock_client.install.unpacking import Unpacking, require_packed
from interlock_client.installers import Rauc
from interlock_core import durable
from interlock_core.errors import ConfigurationError, RefusedError, TransientError

RAUC: Final = "rauc"
BUS: Final = "dbus-run-session"

_CONF: Final = "system.conf"
_BUS: Final = "bus.conf"
_GUARD: Final = "guard"
_SCRATCH: Final = "run"
_ASK: Final = """\
import pathlib, sys
from interlock_client import installing, state
from interlock_core.errors import InterlockError
try:
    installing.require(state.StateDir(pathlib.Path(sys.argv[1])), sys.argv[2])
except InterlockError as e:
    sys.exit(str(e))
"""

# The state directory may be mounted noexec; the private file system is not.
WITH_GUARD: Final = ("sh", "-c", 'cp -p "$1" . && shift && exec "$@"', "sh")

# How RAUC begins to say that the bundle is not for this gateway, whenever it is asked (rule 4).
_REFUSALS: Final = (
    "signature verification failed",
    "Invalid bundle format",
    "Invalid bundle identifier",
    "Installation error: Compatible mismatch",
    "Installation error: No target slot for class",
    "Installation error: No install image found",
    "Installation error: Bundle rejected",
)
_LAST_ERROR: Final = re.compile(r"^LastError: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class RaucInstaller(Unpacking):
    """Two sides of raw slots, written by RAUC."""

    settings: Rauc

    def check(self, wanted: Wanted) -> None:
        """As ``Installer.check``: also that RAUC can run here at all.

        Raises:
            ConfigurationError: it cannot, or its keyring is missing.
        """
        apart.require(RAUC, BUS)
        apart.require_right(self._scratch())
        if not os.access(self.settings.keyring, os.R_OK):
            raise ConfigurationError(
                f"There is no keyring {self.settings.keyring} that can be read: RAUC needs it to "
                "check its bundles; mend `keyring` in [installer]."
            )
        self._files(self.inactive(), "")
        require_packed(wanted)
        super().check(wanted)

    def unpack(self, artefact: Artefact, slot: Slot) -> None:
        """As ``Unpacking.unpack``.

        Raises:
            ConfigurationError: something in the settings cannot be said to RAUC.
        """
        for content in artefact.wanted.contents:
            with Destination(self.side(slot).by_name[content.name]).open() as writer:
                writer.finish()
        scratch = self._scratch()
        for name, (text, mode) in self._files(slot, artefact.wanted.sha256).items():
            durable.replace(self._home / name, text.encode(), mode)
        client = ["env", "DBUS_STARTER_BUS_TYPE=session", RAUC, f"--conf={self._home / _CONF}"]
        bus = [*apart.ALONE, BUS, f"--config-file={self._home / _BUS}", "--"]
        ended = apart.run(
            [*WITH_GUARD, str(self._home / _GUARD), *bus, *client, "install", apart.BUNDLE],
            stdin=artefact.descriptor,
            scratch=scratch,
            seconds=self.settings.install_timeout_seconds,
        )
        _judge(ended, artefact.wanted.path, self.settings.install_timeout_seconds)

    @property
    def _home(self) -> Path:
        return self.state / "rauc"

    def _scratch(self) -> Path:
        """The directory that the private file system hides, in one that nobody else may enter."""
        path = self._home / _SCRATCH
        durable.mkdir(path, mode=0o700)
        return path

    def _files(self, slot: Slot, sha256: str) -> dict[str, tuple[str, int]]:
        """What RAUC and its bus are told, by file name, with permission bits (rule 3)."""
        settings, home = self.settings, self._home
        scratch = home / _SCRATCH
        conf = rauc_files.system_conf(
            compatible=settings.compatible,
            keyring=rauc_files.Keyring(
                path=settings.keyring,
                check_crl=settings.check_crl,
                check_purpose=settings.check_purpose,
                use_bundle_signing_time=settings.use_bundle_signing_time,
            ),
            slots={"a": settings.a.by_name, "b": settings.b.by_name},
            scratch=scratch,
            guard=scratch / _GUARD,
        )
        service = rauc_files.service_file(
            program=apart.find(RAUC), configuration=home / _CONF, booted=boot.other(slot)
        )
        guard = [sys.executable, "-I", "-c", _ASK, str(self.state), sha256]
        return {
            _CONF: (conf, 0o600),
            _BUS: (rauc_files.bus_conf(socket=f"{apart.SCRATCH}/bus", services=home), 0o600),
            f"{rauc_files.SERVICE}.service": (service, 0o600),
            _GUARD: (rauc_files.guard_script(guard), 0o700),
        }


def _judge(ended: apart.Ended, path: str, seconds: int) -> None:
    """Say what went wrong, if anything did (rule 4)."""
    if ended.code == 0:
        return
    if ended.code is None:
        raise TransientError(
            f"RAUC did not install {path} within {seconds} s and was ended: see that the disk "
            "answers, or raise `install_timeout_seconds`.",
            reason="installer_failed",
        )
    said = _LAST_ERROR.findall(ended.output) or ended.output.split("\n")
    why = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
    why = "".join(char if char.isprintable() else "?" for char in why)[: apart.MAX_SHOWN]
    if why.startswith(_REFUSALS):
        raise RefusedError(f"RAUC refuses {path}: {why}.", reason="installer_refused")
    raise TransientError(
        f"RAUC did not install {path} (it ended with {ended.code}): {why}.",
        reason="installer_failed",
    )
