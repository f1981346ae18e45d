"""Installers: who may call what they call, and with what."""

from __future__ import annotations

from infra.removals.removal import CLIENT, Removal

RAUC = "tests/client/test_rauc.py"
FILES = "tests/client/test_rauc_files.py"
APART = "tests/client/test_apart.py"


def _install(module: str, what: str, within: str, old: str, new: str, *tests: str) -> Removal:
    return Removal(what, f"{CLIENT}install/{module}.py", within, old, new, tests)


INSTALLING: tuple[Removal, ...] = (
    _install(
        "rauc_files",
        "RAUC: it asks the agent before it writes",
        "system_conf",
        'lines += ["", "[handlers]", _line("pre-install", guard)]',
        "pass",
        f"{RAUC}::TestNobodyElse::test_what_lies_about_installs_nothing",
    ),
    _install(
        "rauc_files",
        "RAUC: it activates nothing",
        "system_conf",
        '        "activate-installed=false",\n',
        "",
        f"{FILES}::test_rauc_arms_nothing_and_asks_before_it_writes",
    ),
    _install(
        "rauc_files",
        "RAUC: what would be read as another line is an error",
        "_text",
        "if not text.isprintable():",
        "if False:",
        f"{FILES}::test_a_text_that_would_be_read_as_another_is_an_error",
    ),
    _install(
        "rauc",
        "RAUC: it gets what was verified, whatever became of the name",
        "RaucInstaller.unpack",
        '"install", apart.BUNDLE]',
        '"install", str(self.destination().path)]',
        f"{RAUC}::TestRefusals::test_a_copy_that_is_swapped_while_rauc_is_started",
    ),
    _install(
        "apart",
        "apart: it ends with whoever started it",
        "",
        '    *("setpriv", "--pdeathsig", "KILL"),\n',
        "",
        f"{APART}::test_it_ends_with_whoever_started_it",
    ),
)
