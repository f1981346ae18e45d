"""What the server shows of a fleet, page by page, and read as it comes (I/O).

Rules:

1. Lists are streamed: nothing but the page at hand and what a command keeps stands in memory.
2. A device that is shown twice (its page moved while the list was read) is taken once, by the
   bytes of its enrolment.
3. Which order is in force is asked of the server only to know which to look at: whether it counts
   is computed. A server that names a wrong one, or none, only withholds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal
from urllib.parse import quote

from interlock_core.abort import FAILURES
from interlock_core.api import (
    ActionPage,
    ClaimPage,
    Device,
    DeviceAction,
    DevicePage,
    Info,
    OpenClaim,
    PlacePage,
    RolloutStages,
)
from interlock_core.api import Place as ApiPlace
from interlock_core.current import in_force
from interlock_core.errors import InterlockError, NotFoundError, RefusedError
from interlock_core.wire import sha256_hex
from interlock_ops.device_view import DeviceView, read_device
from interlock_ops.dossier import Dossier
from interlock_ops.session import Session


def devices(
    session: Session,
    *,
    cohort: str | None = None,
    site: str | None = None,
    state: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[DeviceView]:
    """The devices that the server lists, each judged here (rules 1 and 2)."""
    judge = session.judge
    for told in _devices(session, cohort=cohort, site=site, state=state, progress=progress):
        yield read_device(judge, told)


def _devices(
    session: Session,
    *,
    cohort: str | None,
    site: str | None,
    state: str | None,
    progress: Callable[[int], None],
) -> Iterator[Device]:
    seen: set[str] = set()
    for page in session.pages("/v1/devices", DevicePage, cohort=cohort, site=site, state=state):
        for told in page.items:
            bytes_ = sha256_hex(told.enrolment.payload.encode())
            if bytes_ not in seen:
                seen.add(bytes_)
                yield told
        progress(len(seen))


def device(session: Session, device_id: str) -> DeviceView:
    """One device.

    Raises:
        RefusedError: ``wrong_device``: the server answered with another.
        NotFoundError: it knows none of that id.
    """
    told = session.api.get(f"/v1/devices/{quote(device_id)}", Device, token=session.token)
    view = read_device(session.judge, told)
    if view.enrolment is not None and view.device != device_id:
        raise RefusedError(
            f"The server answered with the device {view.device} when asked for {device_id}: ask "
            "who runs it.",
            reason="wrong_device",
        )
    return view


def claims(session: Session) -> Iterator[OpenClaim]:
    """The claims that the server lists, newest first."""
    for page in session.pages("/v1/claims", ClaimPage):
        yield from page.items


def places(session: Session, kind: Literal["cohorts", "sites"]) -> Iterator[ApiPlace]:
    """The cohorts or sites that the server lists, as it counts their devices."""
    for page in session.pages(f"/v1/{kind}", PlacePage):
        yield from page.items


def served_cohorts(session: Session) -> frozenset[str]:
    """The cohorts for which the server says that it publishes a director."""
    return frozenset(session.api.get("/v1/info", Info).cohorts)


def read_stages(
    session: Session, order_id: str, warn: Callable[[str], None]
) -> RolloutStages | None:
    """The server's counters of a rollout; None, and a warning, where they cannot be read."""
    path = f"/v1/rollouts/{order_id}/stages"
    try:
        return session.api.get(path, RolloutStages, token=session.token)
    except NotFoundError:
        return None
    except InterlockError as e:
        warn(f"The server's counters could not be read: {e}")
        return None


def failures(session: Session, order_id: str) -> Iterator[DeviceAction]:
    """Every device whose action the server counts as failed, by how it ended."""
    for vote in FAILURES:
        path = f"/v1/rollouts/{order_id}/actions"
        for page in session.pages(path, ActionPage, vote=vote):
            yield from page.items


class Orders:
    """The orders in force, by product and cohort, each fetched once (rule 3).

    Args:
        session: of this run.
        warn: is told of an order that cannot be judged.
    """

    def __init__(self, session: Session, warn: Callable[[str], None]) -> None:
        self._session = session
        self._warn = warn
        self._shown: dict[str, list[Dossier]] = {}
        self._chosen: dict[tuple[str, str], Dossier | None] = {}

    def in_force(self, product: str, cohort: str) -> Dossier | None:
        """The order in force, or None if none is shown that counts here."""
        key = (product, cohort)
        if key not in self._chosen:
            if product not in self._shown:
                self._shown[product] = list(self._candidates(product))
            by_id = {one.order.id: one for one in self._shown[product]}
            order = in_force(
                self._session.judge,
                [one.order for one in by_id.values()],
                lambda order: by_id[order.id].papers,
                cohort,
            )
            self._chosen[key] = by_id[order.id] if order is not None else None
        return self._chosen[key]

    def of(self, view: DeviceView) -> Dossier | None:
        """The order in force for a device."""
        if view.product is None or view.cohort is None:
            return None
        return self.in_force(view.product, view.cohort)

    def of_cohort(self, cohort: str) -> list[Dossier]:
        """The orders in force at a cohort, of every product."""
        products = {one.product for one in self._session.rollouts() if one.in_force}
        found = [self.in_force(product, cohort) for product in sorted(products)]
        return [one for one in found if one is not None]

    def _candidates(self, product: str) -> Iterator[Dossier]:
        for summary in self._session.rollouts(product):
            if not summary.in_force:
                continue
            try:
                dossier = self._session.dossier(summary.id)
            except InterlockError as e:
                self._warn(f"The order {summary.seq} of {product} cannot be judged: {e}")
                continue
            if dossier.order.said.product == product:
                yield dossier
