"""The peer of ``check``: two plain ``tuf.ngclient`` refreshes, as any TUF client would do.

Reads both repositories' top-level metadata and the directive's target information, with the
library's own fetcher. Nothing is decided: it does less than ``check``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tuf.ngclient import Updater


def main(home: Path, url: str, cohort: str) -> None:
    """Refresh both repositories once; the directories under ``home`` keep what is trusted."""
    for name, base in (("image", "image"), ("director", f"director/{cohort}")):
        cache = home / name
        cache.mkdir(parents=True, exist_ok=True)
        updater = Updater(
            str(cache),
            f"{url}/{base}/metadata/",
            bootstrap=(home / f"{name}-root.json").read_bytes(),
        )
        updater.refresh()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
