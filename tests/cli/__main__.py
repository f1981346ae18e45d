"""``python -m tests.cli [FILE…]``: writes the answers of transcripts anew, for a person to read."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cli import transcript
from tests.cli.shell import play
from tests.cli.transcript import Given
from tests.cli.worlds import Worlds


def main(names: list[str]) -> int:
    """Write the files named, or all, and say which differ."""
    files = [Path(name).resolve() for name in names] or sorted(Path(__file__).parent.glob("*.txt"))
    with TemporaryDirectory(prefix="transcripts-") as directory:
        worlds = Worlds(Path(directory))
        for number, file in enumerate(files):
            before = file.read_text()
            items = transcript.begin(before)
            given = next((one.name for one in items if isinstance(one, Given)), "nothing")
            with worlds.given(given, Path(directory, str(number))) as shell:
                after = transcript.render(play(items, shell))
            transcript.read(after)
            if after != before:
                file.write_text(after)
                sys.stdout.write(f"{file.name} differs: read it before you commit it\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
