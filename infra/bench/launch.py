"""Runs one command from a small process, and prints what it cost, as JSON.

A process that is forked from a large one is charged with the large one's memory, so this small
one stands between: ``python -I -S launch.py COMMAND…``. Counted are the command and all that it
waited for; ``written`` is what was handed to block devices, in bytes.
"""

import json
import os
import sys
import time

begun = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(pid, 0)
print(  # its one line
    json.dumps(
        {
            "wall_ms": (time.perf_counter() - begun) * 1000,
            "cpu_ms": (used.ru_utime + used.ru_stime) * 1000,
            "peak_kb": used.ru_maxrss,
            "written": used.ru_oublock * 512,
            "exit": os.waitstatus_to_exitcode(status),
        }
    ),
    file=sys.stderr,
)
