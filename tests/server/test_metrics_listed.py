"""docs/metrics.md lists exactly what ``/metrics`` shows."""

from __future__ import annotations

import re

from interlock_server.web.health import Facts
from tests.packaging.tree import TOP
from tests.server.world import Bench


def test_the_list_is_what_is_shown(bench: Bench) -> None:
    shown = {}
    for family in Facts(bench.back).collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = getattr(family, "_labelnames", ())
        shown[name] = (family.type, ", ".join(labels), family.documentation)
    text = (TOP / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*) \|$", text, re.MULTILINE)
    assert {name: tuple(rest) for name, *rest in rows} == shown
    assert len(rows) == len(shown) > 8
