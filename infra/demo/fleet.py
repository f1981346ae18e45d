"""All gateways of the story, and what happened to them, counted from what they said themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from infra.demo.firmware import Firmware
from infra.demo.gateways import Gateway
from infra.demo.stage import Stage


@dataclass
class Tally:
    """What happened.

    Attributes:
        confirmed: installations that passed their health checks.
        deferred: installations that waited for a patient.
        rolled_back: installations that did not stay.
        paused_by: in which role somebody paused a rollout.
        refused: what the attacker tried, by the name of the refusal.
        recall: how the recall ended.
        log_entries: how many entries the log had when it was verified.
    """

    confirmed: int = 0
    deferred: int = 0
    rolled_back: int = 0
    paused_by: str | None = None
    refused: Counter[str] = field(default_factory=Counter)
    recall: str | None = None
    log_entries: int = 0


@dataclass
class Fleet:
    """Gateways that look for updates when the story nudges them.

    Attributes:
        stage: where they stand.
        gateways: by name.
        tally: what happened to them.
    """

    stage: Stage
    gateways: dict[str, Gateway] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def of(self, cohort: str) -> list[Gateway]:
        """The gateways of a cohort."""
        return [gateway for gateway in self.gateways.values() if gateway.place.cohort == cohort]

    def install(self, gateways: Iterable[Gateway], firmware: Firmware) -> None:
        """Let all of them look, and hold what each confirms against the image itself.

        Raises:
            StoryError: one of them ends otherwise, or runs something else.
        """
        chosen = list(gateways)
        self.each(chosen, "confirmed")
        for gateway in chosen:
            gateway.must_run(firmware)
        self.tally.confirmed += len(chosen)

    def each(
        self,
        gateways: Iterable[Gateway],
        outcome: str,
        reason: str | None = None,
        *,
        look: bool = True,
    ) -> None:
        """Let all of them look at once, and listen to each.

        Raises:
            StoryError: one of them ends otherwise.
        """
        chosen = list(gateways)
        for gateway in chosen if look else ():
            gateway.look()
        for gateway in self.stage.watched(chosen, f"{outcome}?"):
            gateway.until(outcome, reason)
