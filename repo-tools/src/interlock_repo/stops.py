"""Which stops of somebody stand, as far as the server shows them (I/O: reads directives).

Rules:

1. A stop counts while its author may stop. Gateways that have seen it keep it; the others would not
   see it any more once he is gone. So before a person leaves the roster, another signs his stops.
2. What is shown here is shown by the server, which could hide a stop: nothing found is no promise.
   What is found was signed by the person, by the roster in force.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from interlock_core.api import Info
from interlock_core.bundle import MAX_BUNDLE, read_bundle
from interlock_core.directive import Directive, read_directive
from interlock_core.errors import InterlockError, NotFoundError, WireError
from interlock_core.http import Api
from interlock_core.names import DIRECTIVE_PATH
from interlock_core.order import Stop
from interlock_core.roster import Judge, Roster
from interlock_core.statement import Opened, open_as
from interlock_core.store import FileStore
from interlock_repo.fetch import BASE, ServerFetcher
from interlock_repo.review import Line, Section

TITLE = "Who leaves, and whose stops another must sign again first"


def to_sign_again(
    where: str,
    roster: Roster,
    names: Collection[str],
    now: datetime,
    *,
    ca_file: Path | None,
    proxy: str | None,
) -> tuple[Section, ...]:
    """What is to be said about persons who leave; nothing if nobody does.

    Args:
        where: a server's URL, or a directory with the Store's layout.
        roster: in force.
        names: of those who leave it, or whose keys or grants go.
        now: to judge by.
        ca_file: certificates to trust instead of the system's, for a server.
        proxy: an HTTP proxy to use, for a server.
    """
    if not names:
        return ()
    try:
        directives = list(_directives(where, ca_file, proxy))
    except InterlockError as e:
        said = f"the directives could not be read ({e}): ask the operators which stops stand"
        return (Section(TITLE, tuple(Line("-", name, said, None) for name in sorted(names))),)
    judge = Judge(roster, now)
    found = {
        opened.id: opened
        for directive in directives
        for opened in _stops(directive)
        if opened.said.author in names and judge.signer_key(opened) is not None
    }
    lines = [
        Line("-", one.said.author, f"stop {one.id[:12]} of order {one.said.order}", None)
        for one in sorted(found.values(), key=lambda one: (one.said.author, one.said.at, one.id))
    ]
    quiet = sorted(set(names) - {one.said.author for one in found.values()})
    lines += [Line("-", name, "no stop of this person is shown", None) for name in quiet]
    if found:
        how = "another signs 'interlock-ops rollout pause ORDER' for each, before this is published"
        lines.append(Line(" ", "next", None, how))
    return (Section(TITLE, tuple(lines)),)


def _stops(directive: Directive) -> Iterator[Opened[Stop]]:
    for entry in directive.products.values():
        for envelope in entry.stops:
            with suppress(WireError):
                yield open_as(envelope, Stop)


def _directives(where: str, ca_file: Path | None, proxy: str | None) -> Iterator[Directive]:
    for data in _bundles(where, ca_file, proxy):
        for path, text in read_bundle(data).files.items():
            if path.endswith(f".{DIRECTIVE_PATH}"):
                yield read_directive(text.encode())


def _bundles(where: str, ca_file: Path | None, proxy: str | None) -> Iterator[bytes]:
    if "://" not in where:
        store = FileStore(Path(where))
        for key in store.list("poll/"):
            yield store.get(key)
        return
    api = Api(where, ca_file=ca_file, proxy=proxy)
    fetcher = ServerFetcher(where, ca_file=ca_file, proxy=proxy)
    for cohort in api.get("/v1/info", Info).cohorts:
        with suppress(NotFoundError):
            yield fetcher.download_bytes(f"{BASE}poll/{cohort}", MAX_BUNDLE)
