"""The settings of installers, one kind each (pure).

Rules:

1. ``kind`` says how an image gets into the slots that do not run; which sides there are, and how
   the machine is told which of them boots, is said the same way for every kind.
2. The boot state is either kept by Interlock (``boot_environment``, ``booted``, ``tries``) or by a
   boot loader that an executable of the integrator's speaks with (``boot``). Half of either is an
   error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from interlock_client.tables import SlotPaths, Table
from interlock_core.names import Name

Seconds = Annotated[int, Meta(ge=1, le=86_400)]


class BootCommand(Table, frozen=True, kw_only=True):
    """An executable that speaks with the boot loader; see the integrator's guide.

    Attributes:
        program: the executable.
        timeout_seconds: for each call.
    """

    kind: Literal["command"]
    program: Path
    timeout_seconds: Seconds = 30


class Sides(Table, frozen=True, kw_only=True, tag_field="kind"):
    """What is said for every kind (rules 1 and 2).

    Attributes:
        a: the slots of the first side: a path, or a table of paths by the names of the slots.
        b: the slots of the second side, of the same names.
        boot_environment: directory of the two copies of the boot state, outside the slots.
        booted: file that says which side booted: ``a`` or ``b``. ``boot-select`` writes it.
        tries: how often an armed side is booted before the machine falls back.
        boot: the executable that keeps the boot state instead.
    """

    a: SlotPaths
    b: SlotPaths
    boot_environment: Path | None = None
    booted: Path | None = None
    tries: Annotated[int, Meta(ge=1, le=10)] = 3
    boot: BootCommand | None = None

    def __post_init__(self) -> None:
        if set(self.a) & set(self.b):
            raise ValueError("`a` and `b` are the same slot")
        if set(self.a.by_name) != set(self.b.by_name):
            raise ValueError("`a` and `b` must name the same slots")
        if self.boot is None and (self.boot_environment is None or self.booted is None):
            raise ValueError("`boot_environment` and `booted` are needed, or a table `boot`")
        if self.boot is not None and (self.boot_environment or self.booted):
            raise ValueError("`boot` takes the place of `boot_environment` and `booted`")


class Slots(Sides, frozen=True, kw_only=True, tag="slots"):
    """Two slots, each a file or a block device, which take the image as it is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.a.by_name) != 1:
            raise ValueError("this kind of installer writes one slot")


class Unpacks(Sides, frozen=True, kw_only=True):
    """What is said for every kind that unpacks a verified private copy of the image.

    Attributes:
        spool: directory of that copy; left out, ``spool`` in the state directory.
        install_timeout_seconds: for all of the unpacking.
    """

    spool: Path | None = None
    install_timeout_seconds: Seconds = 3600


class Rauc(Unpacks, frozen=True, kw_only=True, tag="rauc"):
    """RAUC unpacks the image, a bundle of its own; see ``install/rauc.py``.

    Attributes:
        compatible: what bundles that are for this gateway say in their manifest.
        keyring: PEM certificates of those who may sign bundles.
        check_crl: ask for revocation lists in the keyring too.
        check_purpose: what the signer's certificate must be for; left out, RAUC's own default.
        use_bundle_signing_time: judge certificates at the time that the signature states, where
            the clock may be wrong.
    """

    compatible: Annotated[str, Meta(min_length=1, max_length=256)]
    keyring: Path
    check_crl: bool = False
    check_purpose: Literal["any", "smimesign", "codesign"] | None = None
    use_bundle_signing_time: bool = False


class SWUpdate(Unpacks, frozen=True, kw_only=True, tag="swupdate"):
    """SWUpdate unpacks the image, a ``.swu`` file; see ``install/swupdate.py``.

    Attributes:
        certificate: PEM certificate of those who may sign a ``.swu``, or of who certifies them.
        software_set: which set of a ``.swu`` is for this gateway; its modes are ``a`` and ``b``.
        hardware: board and revision, as ``board:revision``; left out, ``/etc/hwrevision`` says it.
        scripts: whether scripts in a ``.swu`` are executed; they too reach the slots alone.
    """

    certificate: Path
    software_set: Name = "stable"
    hardware: (
        Annotated[str, Meta(pattern=r"^[0-9A-Za-z._-]{1,64}:[0-9A-Za-z._-]{1,64}\Z")] | None
    ) = None
    scripts: bool = False


class Command(Unpacks, frozen=True, kw_only=True, tag="command"):
    """An executable of the integrator's unpacks the image; see the integrator's guide.

    Attributes:
        program: the executable.
        timeout_seconds: for each call but that which unpacks.
        read_back: whether the executable reads the slots back, because ``a`` and ``b`` are no
            files or devices whose bytes are the slots' content.
    """

    program: Path
    timeout_seconds: Seconds = 60
    read_back: bool = False


AnyInstaller = Slots | Rauc | SWUpdate | Command
