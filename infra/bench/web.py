"""A real nginx on loopback that serves a Store, as a hospital's mirror would."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from infra.ports import free_port

CONFIG: Final = """daemon off;
master_process off;
pid nginx.pid;
error_log stderr notice;
events {{ worker_connections 64; }}
http {{
    log_format bytes '$uri $status $body_bytes_sent';
    access_log {place}/access.log bytes;
    client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    sendfile on; etag on; gzip off; max_ranges 1;
    default_type application/octet-stream;
    server {{ listen 127.0.0.1:{port}; root {store}; }}
}}
"""


@contextmanager
def nginx(place: Path, store: Path) -> Iterator[str]:
    """Serve ``store``; yields the URL. ``access.log`` in ``place`` tells what was sent."""
    place.mkdir()
    program = shutil.which("nginx")
    if program is None:
        raise LookupError("nginx is not installed: infra/system-packages.txt names it")
    port = free_port()
    (place / "nginx.conf").write_text(CONFIG.format(place=place, port=port, store=store))
    process = subprocess.Popen(
        [program, "-p", str(place), "-c", "nginx.conf", "-e", "stderr"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        # It says which events it uses after it has bound its port.
        if not any("using the" in line for line in process.stderr):
            raise RuntimeError("nginx did not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=30)
