"""Where a gateway stands in an order, as everybody outside it works it out (pure).

Server, monitor and operators ask here, so that they count whom the gateways mean.

Rules (9 is that of ``docs/wire-format.md``, "Who is believed"):

1. A gateway is placed by the target that it would take (9, ``decide_target.first_fit``), which need
   not be the first of the list. From there on it is ``chain.stage_of``, as it decides itself.
2. The highest counter that it confirmed is taken to be that of what it said that it runs, listed
   or taken back, and 0 where nobody can say.
3. Whom no target is for, by hardware or by a barrier that what runs there does not meet, stands in
   no stage. Where nobody can say what runs, no barrier is held against it; where the image
   repository does not list a target that comes before any that fits, the first of the list places
   it. So what is not known leaves nobody out, and his silence is a failure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from interlock_core.catalogue import Catalogue
from interlock_core.chain import stage_of
from interlock_core.decide_target import first_fit
from interlock_core.facts import Reason, Refusal
from interlock_core.order import Order, Target
from interlock_core.release import Image

UNBARRED: Final = 2**53 - 1
"""A counter that meets every barrier."""


@dataclass(frozen=True)
class Placing:
    """Places the gateways of one order.

    Args:
        order: its terms.
        catalogue: of its product, verified.
    """

    order: Order
    catalogue: Catalogue
    _known: dict[tuple[str, str | None], Target | None] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def target(self, hardware: str, running: str | None) -> Target | None:
        """What places such a gateway (rules 1 to 3).

        Args:
            hardware: as its enrolment says.
            running: digest of what it said that it runs; None if it has not said.
        """
        key = (hardware, running)
        if key not in self._known:
            self._known[key] = self._find(hardware, running)
        return self._known[key]

    def stage(self, cohort: str, device: str, hardware: str, running: str | None) -> int | None:
        """The first stage that has a gateway inside, or None if none ever has."""
        target = self.target(hardware, running)
        return None if target is None else stage_of(self.order, cohort, target.sha256, device)

    def counter(self, hardware: str, running: str | None) -> int:
        """The highest counter that such a gateway is taken to have confirmed (rules 2 and 3)."""
        runs = self.catalogue.of_digest(running) if running is not None else None
        if runs is not None:
            return runs.counter
        fit = first_fit(self.order, self._images, hardware, 0)
        barred = isinstance(fit, Refusal) and fit.reason is Reason.BARRIER_NOT_MET
        return UNBARRED if barred else 0

    def _find(self, hardware: str, running: str | None) -> Target | None:
        counter = self.counter(hardware, running)
        fit = first_fit(self.order, self._images, hardware, counter)
        if not isinstance(fit, Refusal):
            return fit[0]
        return self.order.targets[0] if fit.reason is Reason.ORDER_MISMATCH else None

    @cached_property
    def _images(self) -> dict[str, Image]:
        found = (self.catalogue.at_path(target.path) for target in self.order.targets)
        return {one.path: one.image for one in found if one is not None}
