"""The checks of one long life: CPU time of each, without what the process cost to start.

Run in the gateway's own environment: ``python noop.py CONFIG RUNS``; prints JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

from interlock_client import check, context


def main(config: Path, runs: int) -> None:
    """Check ``runs`` times, each with connections and settings of its own, as ``run`` does."""
    costs, requests = [], []
    for _ in range(runs):
        begun = time.process_time()
        made = context.build(config)
        try:
            outcome = check.check(made)
        finally:
            made.close()
        costs.append((time.process_time() - begun) * 1000)
        requests.append(outcome.more["requests"])
        assert outcome.outcome == "nothing_to_do", outcome
    print(json.dumps({"cpu_ms": statistics.median(costs), "requests": max(requests)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
