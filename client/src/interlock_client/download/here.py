"""What downloads keep to on this gateway, from its settings; and which deltas fit what it holds."""

from __future__ import annotations

from collections.abc import Iterable

from interlock_client.contents import SlotContent, differing
from interlock_client.context import Context, running
from interlock_client.download.fetch import Terms
from interlock_client.download.part import Flow
from interlock_client.download.patched import Patch
from interlock_client.download.rate import Pace
from interlock_client.offers import DeltaOffer


def terms(context: Context) -> Terms:
    """The terms of a run that begins now."""
    settings = context.settings
    limits = context.servers.each[0].limits
    flow = Flow.beginning(limits.image_seconds, Pace(settings.rate_limit_bytes_per_second))
    return Terms(
        record=context.state.transfer,
        budget_bytes=settings.download.budget_bytes,
        now=context.times.clock,
        flow=flow,
        progress=context.progress,
    )


def patches(context: Context, offers: Iterable[DeltaOffer]) -> tuple[Patch, ...]:
    """Those of the offered deltas that lead from what a slot of the running side holds.

    What it holds is known from when it was confirmed; of what came from the factory it is read
    back, once for each offer. Each segment that comes out is verified, so a slot that changed since
    costs a try, and nothing else.

    Raises:
        ConfigurationError: ``booted_unknown``.
        TransientError: the disk did not say.
    """
    installer = context.installer
    booted = installer.booted()
    present = running(context.memory(), context.journal(), booted)
    found = []
    for offer in offers:
        facts = offer.facts
        wanted = SlotContent(
            name=facts.from_slot, length=facts.from_length, sha256=facts.from_sha256
        )
        place = installer.place(booted, facts.from_slot)
        if place is None:
            continue
        if present is None:
            holds = differing([wanted], installer.read_back(booted, [wanted])) is None
        else:
            holds = wanted in present.contents
        if holds:
            found.append(Patch(offer.path, offer.info, facts, place))
    return tuple(found)
