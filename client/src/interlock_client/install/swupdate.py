"""SWUpdate unpacks the image, which is a ``.swu`` file (I/O).

Rules beside those of the package:

1. SWUpdate is started by the agent, for one installation, and ``confined``: it can write into the
   slots of the side that does not run, and into nothing else of the machine, whatever the ``.swu``
   says and whatever scripts it brings. Its sockets, which it leaves open to everybody, are where
   nobody else can reach them.
2. It gets the ``.swu`` as an open descriptor of the private copy that was verified.
3. No configuration of the machine is read. It arms nothing: it has no boot loader, and its markers
   of a transaction are off.
4. Of the ``.swu`` the mode named for the side is installed, ``a`` or ``b``, of one software set.
5. Its own check of the signature is on, with the integrator's certificate, beside ours; it takes
   the place of nothing. What it will never accept is ``installer_refused``; whatever else goes
   wrong may go right next time, and is ``installer_failed``.
6. Scripts in a ``.swu`` are not executed unless ``scripts`` allows it; they are confined as well.
7. Whether it failed is told by what its installer says before it is by its exit code, which in
   2022.12 depends on how fast a helper process of its own starts: 1 was seen after a success, and a
   last line that says "successful" after a failure. The slots are read back whatever it says.
8. Slot files are emptied before: it writes into a file and leaves the rest of it as it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from interlock_client.boot import Slot
from interlock_client.install import Artefact, Wanted, apart, confined
from interlock_client.install.destination import Destination
from interlock_client.install.unpacking import Unpacking, require_packed
from interlock_client.installers import SWUpdate
from interlock_core import durable
from interlock_core.errors import ConfigurationError, RefusedError, TransientError

SWUPDATE: Final = "swupdate"
MAX_SHOWN: Final = 400

_CERTIFICATE: Final = "swupdate.pem"
_ERROR: Final = re.compile(r"\[ERROR\] : SWUPDATE failed \[\d\] (?:ERROR : )?(.*)")
_REFUSALS: Final[Mapping[str, str]] = {
    r"Device (\S+) cannot be opened: No such file or directory": (
        "it would write to \\1, which is no slot of the side that does not run"
    ),
    r"(?:\S*/)?scripts/(\S+): Permission denied": (
        "it brings the script \\1, and `scripts` does not allow that"
    ),
    r"Not enough free space to extract (\S+)": (
        "\\1 would be copied before it is installed: its sw-description must say "
        "installed-directly = true"
    ),
    r"Authentication of all signatures failed": "nobody that `certificate` vouches for signed it",
    r"SW not compatible with hardware": "it is not for this hardware",
    r"Found nothing to install": "it has nothing for this software set and side",
    r"HASH mismatch": "an image in it is not what its sw-description says",
    r"CPIO (?:Format not recognized|Header corrupted)": "it is no .swu file",
    r"no parser available to parse sw-description": "its sw-description cannot be read",
}
"""What SWUpdate says of a ``.swu`` that it will never accept here, and what that means (rule 5)."""
_DONE: Final = "SWUPDATE successful !"
_FAILED: Final = "SWUPDATE failed ["
_VAGUE: Final = ("SWUpdate *failed* !", "Image invalid or corrupted", "Installation failed !")


@dataclass(frozen=True)
class SWUpdateInstaller(Unpacking):
    """Two sides of raw slots, written by SWUpdate."""

    settings: SWUpdate

    def check(self, wanted: Wanted) -> None:
        """As ``Installer.check``: also that SWUpdate can run here at all.

        Raises:
            ConfigurationError: it cannot, or the certificate is missing.
        """
        confined.require(SWUPDATE)
        if not os.access(self.settings.certificate, os.R_OK):
            raise ConfigurationError(
                f"There is no certificate {self.settings.certificate} that can be read: SWUpdate "
                "needs it to check a .swu; mend `certificate` in [installer]."
            )
        require_packed(wanted)
        super().check(wanted)

    def unpack(self, artefact: Artefact, slot: Slot) -> None:
        """As ``Unpacking.unpack``."""
        settings = self.settings
        paths = [self.side(slot).by_name[content.name] for content in artefact.wanted.contents]
        for path in paths:
            with Destination(path).open() as writer:
                writer.finish()
        scratch = self.state / "swupdate"
        durable.mkdir(scratch, mode=0o700)
        ended = confined.run(
            self._argv(slot),
            slots=paths,
            files={_CERTIFICATE: settings.certificate},
            stdin=artefact.descriptor,
            scratch=scratch,
            seconds=settings.install_timeout_seconds,
            executable=settings.scripts,
        )
        _judge(ended, artefact.wanted.path, settings.install_timeout_seconds)

    def _argv(self, slot: Slot) -> list[str]:
        settings = self.settings
        argv = [SWUPDATE, "-v", "-i", apart.BUNDLE, "-k", f"/etc/{_CERTIFICATE}"]
        argv += ["-e", f"{settings.software_set},{slot}", "-B", "none", "-M", "-m"]
        return argv + (["-H", settings.hardware] if settings.hardware is not None else [])


def _judge(ended: apart.Ended, path: str, seconds: int) -> None:
    """Say what went wrong, if anything did (rules 5 and 7)."""
    if ended.code is None:
        raise TransientError(
            f"SWUpdate did not install {path} within {seconds} s and was ended: see that the disk "
            "answers, or raise `install_timeout_seconds`.",
            reason="installer_failed",
        )
    if _DONE in ended.output or (ended.code == 0 and _FAILED not in ended.output):
        return
    for pattern, meaning in _REFUSALS.items():
        if found := re.search(pattern, ended.output):
            why = _printable(found.expand(meaning))
            raise RefusedError(f"SWUpdate refuses {path}: {why}.", reason="installer_refused")
    raise TransientError(
        f"SWUpdate did not install {path} (it ended with {ended.code}): {_why(ended.output)}.",
        reason="installer_failed",
    )


def _why(output: str) -> str:
    """The first complaint that says something, or the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = [
        found[1]
        for line in lines
        if (found := _ERROR.search(line)) and not found[1].startswith(_VAGUE)
    ]
    return _printable((said or lines[-1:] or ["it said nothing"])[0])


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text).rstrip(".")[:MAX_SHOWN]
