"""The peer of ``download``: ``tuf.ngclient`` fetches the image, and it is copied into the slot.

``python ngclient_download.py HOME URL TARGET SLOT``: the library's own client and fetcher, as its
documentation shows them, then ``shutil.copyfile`` and a flush.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tuf.ngclient import Updater


def main(home: Path, url: str, target: str, slot: Path) -> None:
    """Fetch ``target`` and put it into ``slot``."""
    updater = Updater(
        str(home / "metadata"),
        f"{url}/image/metadata/",
        str(home),
        f"{url}/image/targets/",
        bootstrap=(home / "root.json").read_bytes(),
    )
    info = updater.get_targetinfo(target)
    assert info is not None
    fetched = updater.download_target(info, str(home / "image"))
    shutil.copyfile(fetched, slot)
    with slot.open("rb+") as file:
        os.fsync(file.fileno())
    os.unlink(fetched)  # noqa: PTH108  # what a gateway does with a copy that it needs no more


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
