"""Reading devices as several commands do: judged, with why each is where it is (I/O)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from interlock_core.errors import RefusedError
from interlock_core.order import Order
from interlock_core.statement import Opened
from interlock_ops.cli.edge import Run
from interlock_ops.device_view import DeviceView
from interlock_ops.fleet_reads import Orders, device, devices
from interlock_ops.session import Session
from interlock_ops.why import Why, why

NAMED: Final = 5


@dataclass
class Doubts:
    """What did not verify while devices were read; told once, at the end."""

    faulty: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)

    def note(self, view: DeviceView) -> None:
        """Take down what is wrong with one device."""
        if view.faults:
            self.faulty.append(f"{view.device} ({view.faults[0].detail})")
        if view.differences:
            self.differing.append(f"{view.device} ({view.differences[0]})")

    def tell(self, run: Run) -> None:
        """Warn, if there is anything to warn of."""
        for what, named in (
            (
                "What the server shows of these devices does not verify, and is not believed",
                self.faulty,
            ),
            ("The server's account of these devices differs from the signatures", self.differing),
        ):
            if named:
                more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
                run.voice.warn(f"{what}: {'; '.join(named[:NAMED])}{more}.")

    def reason(self, otherwise: str) -> str:
        """The answer's reason."""
        return "server_differs" if self.faulty or self.differing else otherwise


def genuine(session: Session, device_id: str) -> DeviceView:
    """One device whose enrolment is its own.

    Raises:
        RefusedError: it is forged: nothing about it can be believed.
        NotFoundError: the server knows none of that id.
    """
    view = device(session, device_id)
    if view.state == "forged":
        fault = view.faults[0]
        raise RefusedError(
            f"{device_id}: {fault.detail}. Nothing that the server says about it is believed: "
            "ask who runs it.",
            reason=fault.reason,
        )
    return view


@dataclass(frozen=True)
class Seen:
    """A device, the order in force for it, and why it is where it is."""

    view: DeviceView
    order: Opened[Order] | None
    why: Why


def survey(
    run: Run,
    doubts: Doubts,
    orders: Orders | None = None,
    *,
    cohort: str | None = None,
    site: str | None = None,
    state: str | None = None,
) -> Iterator[Seen]:
    """The devices that the server lists, in its order."""
    orders = orders or Orders(run.session, run.voice.warn)
    with run.voice.progress("devices read") as progress:
        for view in devices(run.session, cohort=cohort, site=site, state=state, progress=progress):
            doubts.note(view)
            yield look(orders, view)


def look(orders: Orders, view: DeviceView) -> Seen:
    """One device with the order in force for it."""
    dossier = orders.of(view) if view.counted else None
    order = dossier.order if dossier is not None else None
    return Seen(view, order, why(view, order))
