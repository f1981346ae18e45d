"""Reading sites as several commands do (I/O)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from interlock_core.api import Place
from interlock_core.decide_here import site_held
from interlock_core.errors import InterlockError, NotFoundError, RefusedError
from interlock_core.hold import standing_holds
from interlock_ops.fleet_reads import places, served_cohorts
from interlock_ops.session import Session
from interlock_ops.site_view import SiteView, read_site


def site_place(session: Session, name: str) -> Place:
    """The server's account of a site.

    Raises:
        NotFoundError: it knows none of that name.
        RefusedError: ``wrong_site``: it answered with another.
    """
    told = session.api.get(f"/v1/sites/{quote(name)}", Place, token=session.token)
    if told.name != name:
        raise RefusedError(
            f"The server answered with the site {told.name} when asked for {name}: ask who runs "
            "it.",
            reason="wrong_site",
        )
    return told


def site_view(session: Session, name: str) -> SiteView:
    """A site, judged; its holds for every cohort that is served.

    Raises:
        NotFoundError, RefusedError: as ``site_place``.
    """
    return read_site(session.judge, site_place(session, name), served_cohorts(session))


def site_or_none(session: Session, name: str) -> SiteView | None:
    """A site, judged; None where the server knows none or cannot be asked about one."""
    try:
        return site_view(session, name)
    except NotFoundError:
        return None


def site_if_told(session: Session, name: str | None) -> SiteView | None:
    """A site for a forecast: nothing fails because it cannot be read."""
    if name is None:
        return None
    try:
        return site_view(session, name)
    except InterlockError:
        return None


def site_holds(session: Session, cohorts: Sequence[str]) -> dict[tuple[str, str], str]:
    """Which sites are held now, for the gateways of which of these cohorts, and by what.

    Raises:
        InterlockError: the sites could not be read.
    """
    judge = session.judge
    found: dict[tuple[str, str], str] = {}
    for told in places(session, "sites"):
        signed = read_site(judge, told, cohorts).signed
        for cohort in cohorts:
            standing = standing_holds(judge, signed, cohort)
            refusal = site_held(standing, told.name, judge.now)
            if refusal is not None:
                found[told.name, cohort] = refusal.detail
    return found
