"""Makes the TPM's counter, and ties the memory to it (I/O).

Rules:

1. It is made once. Where there is one already, a memory that does not belong to it may be an old
   copy that somebody put back, and so may one whose counter is gone: the TPM was cleared. Only a
   person who says why ties either anew (``adopt``); that is kept beside the decisions.
2. Cut off at any step, the same command goes on: the memory says first that a counter is being
   made.
"""

from __future__ import annotations

from typing import Any

import msgspec

from interlock_client import local_acts, memory
from interlock_client.context import Context
from interlock_client.counter import PROVISIONING, is_behind
from interlock_client.outcome import NOTHING_TO_DO, Outcome
from interlock_client.tpm import NvCounter
from interlock_core.errors import ConfigurationError, RefusedError


def provision(context: Context, owner: bytes, *, adopt: str | None = None) -> Outcome:
    """Make the counter, or tie the memory to the one that is there.

    Args:
        context: the gateway.
        owner: the TPM owner's authorisation; empty where nobody set one.
        adopt: why a memory that does not belong to the counter is taken for the newest.

    Raises:
        ConfigurationError: no TPM is configured.
        RefusedError: ``tpm_index_exists`` (rule 1), ``tpm_owner``, ``damaged_state``.
        TransientError: ``tpm``, ``busy``, or the disk.
    """
    counter = _counter(context)
    path = context.state.memory
    with context.state.lock():
        kept = memory.load(path, began=context.state.began, marker=context.state.marker)
        exists = counter.exists()
        if exists and kept.counter not in {None, PROVISIONING} and adopt is None:
            is_behind(kept, counter.read())
            return Outcome(NOTHING_TO_DO, "provisioned", "The memory belongs to the counter.")
        if exists and kept.counter != PROVISIONING and adopt is None:
            raise RefusedError(
                "The TPM has this counter, and the gateway's memory does not belong to it: it was "
                "lost, or an older copy was put back. Put the newest state back; or say by --adopt "
                "and --reason why this one is taken.",
                reason="tpm_index_exists",
            )
        if not exists and kept.counter not in {None, PROVISIONING} and adopt is None:
            raise RefusedError(
                f"The gateway's memory belongs to {kept.counter} of a counter that this TPM has no "
                "more: it was cleared or exchanged, and the memory may be an older copy. Say by "
                "--adopt and --reason why this one is taken.",
                reason="damaged_state",
            )
        before = kept.counter
        kept = msgspec.structs.replace(kept, counter=PROVISIONING, owes_count=False)
        memory.save(path, kept)
        if not exists:
            counter.make(owner)
        value = counter.increment()
        now = context.times.decision_time(kept.clock_floor, kept.last)
        changed: dict[str, Any] = {"counter": {"from": before, "to": value}}
        act = "tpm_provisioned" if adopt is None else "tpm_adopted"
        local_acts.record(context, now, act, adopt or "the counter was made", changed)
        memory.save(path, msgspec.structs.replace(kept, counter=value))
    return Outcome(act, "by_hand", f"The memory belongs to {value} of the TPM's counter.")


def shown(context: Context) -> dict[str, Any]:
    """How the counter and the memory stand, as plain values.

    Raises:
        ConfigurationError: no TPM is configured.
        RefusedError: ``damaged_state``: the memory, the index or its authorisation is.
        TransientError: ``tpm``, or the disk.
    """
    counter = _counter(context)
    path = context.state.memory
    kept = memory.load(path, began=context.state.began, marker=context.state.marker)
    value = counter.value() if counter.exists() else None
    belongs, trouble = False, None
    try:
        belongs = value is not None and is_behind(kept, value) in {True, False}
    except RefusedError as e:
        trouble = str(e)
    return {
        "index": counter.index,
        "value": value,
        "memory": kept.counter,
        "belongs": belongs,
        "trouble": trouble,
    }


def _counter(context: Context) -> NvCounter:
    if context.settings.tpm is None:
        raise ConfigurationError("No TPM is configured: add a table [tpm].")
    return NvCounter(context.settings.tpm, context.state.tpm_auth)
