"""What a gateway reaches, and what an installer that it starts can reach."""

from __future__ import annotations

from typing import Final

from infra.removals.removal import CLIENT, Removal

SHOWN: Final = "tests/client/test_client_certificate.py"
CONFINED: Final = "tests/client/test_confined.py"
SWUPDATE: Final = "tests/client/test_swupdate.py"


def _tunnel(what: str, within: str, old: str, new: str, test: str) -> Removal:
    return Removal(f"reach: {what}", f"{CLIENT}tunnel.py", within, old, new, (f"{SHOWN}::{test}",))


def _confined(what: str, old: str, new: str, *tests: str) -> Removal:
    return Removal(f"reach: {what}", f"{CLIENT}install/confined.py", "", old, new, tests)


REACHING: Final[tuple[Removal, ...]] = (
    _tunnel(
        "with a key in a token, the server's certificate is verified",
        "Tunnel.__init__",
        '("verifyChain", "yes"),\n',
        "\n",
        "TestWhoIsLetIn::test_a_server_that_is_not_trusted_is_told_nothing",
    ),
    _tunnel(
        "with a key in a token, the server's name is verified",
        "Tunnel._to",
        '[("checkIP", host)]',
        "[]",
        "TestWhoIsLetIn::test_a_certificate_for_another_name_is_not_the_servers",
    ),
    _tunnel(
        "a PIN that the token refused is not shown to it again",
        "Tunnel.open",
        "if self._known_wrong(pin):",
        "if False:",
        "TestAWrongPin",
    ),
    Removal(
        "reach: a key that others can read is not used",
        f"{CLIENT}client_certificate.py",
        "_readable",
        "if mode & 0o077:",
        "if False:",
        (f"{SHOWN}::TestWhatIsWrongIsNamed",),
    ),
    Removal(
        "reach: an installer that is confined has no network",
        f"{CLIENT}install/apart.py",
        "",
        '"--net", ',
        "",
        (f"{CONFINED}::test_no_network_and_no_abstract_socket",),
    ),
    _confined(
        "an installer that is confined has a root that cannot be written",
        'mount -o remount,ro "$PWD"\n',
        "",
        f"{CONFINED}::test_and_nothing_else",
    ),
    _confined(
        "an installer that is confined does not see the machine's root",
        "umount -l /.old\n",
        "",
        f"{CONFINED}::test_and_nothing_else",
    ),
    _confined(
        "an installer that is confined has no capabilities",
        "exec setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs",
        "exec",
        f"{CONFINED}::test_and_nothing_else",
    ),
    _confined(
        "an installer that is confined cannot change the kernel's settings",
        "mount -t proc -o ro,",
        "mount -t proc -o ",
        f"{CONFINED}::test_and_nothing_else",
    ),
    _confined(
        "scripts in an image are not executed unless that is allowed",
        '",noexec"',
        '""',
        f"{CONFINED}::test_what_it_unpacks_is_executed_only_if_that_is_allowed",
    ),
    Removal(
        "reach: SWUpdate installs the mode of the side that does not run",
        f"{CLIENT}install/swupdate.py",
        "SWUpdateInstaller._argv",
        'f"{settings.software_set},{slot}"',
        'f"{settings.software_set},a"',
        (f"{SWUPDATE}::TestInstalling",),
    ),
)
