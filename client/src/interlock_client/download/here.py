"""What downloads keep to on this gateway, from its settings."""

from __future__ import annotations

from interlock_client.context import Context
from interlock_client.download.fetch import Terms
from interlock_client.download.part import Flow
from interlock_client.download.rate import Pace


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
