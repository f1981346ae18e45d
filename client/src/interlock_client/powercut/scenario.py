"""What is tried and what is good: a scenario from a TOML file (I/O: reads it).

Rules:

1. Everything is checked when the file is read; an unknown key is an error. Paths are relative to
   the directory of the file, and commands run there.
2. What boots is told by the command ``boots``, or, without one, by the boot environment of a
   gateway's configuration. It is good if it begins with all bytes of one of the images ``good``.
3. A re-run ends well if it exits as it should, and then the same image boots as after the command
   without a power cut, and every file in ``final`` holds the same.
4. What is called a leftover is still in the states, and what boots is asked of each of them. States
   that differ in nothing else are run again once, unless all are to be.
"""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from interlock_client.tables import Table
from interlock_core import durable
from interlock_core.errors import ConfigurationError, WireError

MAX_SCENARIO: Final = 64 * 1024

Text = Annotated[str, Meta(min_length=1, pattern=r"^[^\x00]*\Z")]
Words = Annotated[tuple[Text, ...], Meta(min_length=1, max_length=256)]
Code = Annotated[int, Meta(ge=0, le=255)]


class Scenario(Table, frozen=True, kw_only=True):
    """What is tried.

    Attributes:
        watch: directories and block devices that the command may change.
        command: program and arguments: what is recorded.
        good: images that may boot, at any time.
        ignore: patterns of names, below what is watched, that nothing reads.
        leftovers: patterns of names that a re-run sweeps or writes anew, and never reads (rule 4).
        boots: prints the path of the slot that a boot would choose now. It may change what is
            watched, as a boot script does.
        check: exits with 0 if what it finds can be worked with.
        again: what the machine does after the power came back; the command, if left out.
        exit_codes: with which ``command`` and ``again`` may end.
        final: files that a re-run must leave as the command leaves them without a power cut.
        timeout_seconds: the most that one command may take.
    """

    watch: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=32)]
    command: Words
    good: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=32)]
    ignore: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()
    leftovers: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()
    boots: Words | None = None
    check: Words | None = None
    again: Words | None = None
    exit_codes: Annotated[tuple[Code, ...], Meta(min_length=1, max_length=32)] = (0,)
    final: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()
    timeout_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 600

    def left_over(self, path: str) -> bool:
        """Whether the last name of a path is a leftover's."""
        name = path.rpartition("/")[2]
        return any(fnmatchcase(name, pattern) for pattern in self.leftovers)


def load(path: Path) -> Scenario:
    """Read a scenario.

    Raises:
        ConfigurationError: what is wrong with it.
        NotFoundError: there is none.
        TransientError: it cannot be read.
    """
    try:
        data = durable.read(path, limit=MAX_SCENARIO, what="scenario")
        return msgspec.convert(tomllib.loads(data.decode()), Scenario)
    except WireError as e:
        raise ConfigurationError(str(e)) from e
    except UnicodeDecodeError as e:
        raise ConfigurationError(f"{path} is not UTF-8 (byte {e.start}).") from e
    except RecursionError as e:
        raise ConfigurationError(f"{path} is nested too deeply.") from e
    except msgspec.ValidationError as e:
        raise ConfigurationError(
            f"{path}: {str(e).rstrip('.')}. 'interlock-client power-cuts --sample' prints one."
        ) from e
    except ValueError as e:
        # tomllib's own error, or an integer of more digits than Python reads.
        raise ConfigurationError(f"{path} is not TOML: {e}.") from e
