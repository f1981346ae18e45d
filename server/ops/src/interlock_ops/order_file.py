"""ORDER.toml → the pieces of an order (pure: bytes and a time in).

Rules:

1. An order file names targets by path. Their lengths and digests are filled in from the verified
   image repository, never from the file; a digest in the file is a check on it.
2. Unknown and missing fields are errors that name the field. Of a duration exactly one spelling
   stands: ``soak`` or ``soak_seconds``, ``spread`` or ``spread_seconds`` and so on.
3. The file is validated whole, by the same types that gateways read, before anything is asked of a
   key or a server.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from interlock_core import wire
from interlock_core.errors import ConfigurationError, WireError
from interlock_core.names import Digest, TargetPath
from interlock_core.order import Order
from interlock_core.statement import MAX_ENVELOPE
from interlock_ops import units

MAX_ORDER_FILE: Final = 64 * 1024

T = TypeVar("T")

_Count = Annotated[int, Meta(ge=0, le=wire.MAX_INTEGER)]


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Part of an order file. ``Any`` stands for shares, durations and times, read by ``units``."""


class _Target(_Line, frozen=True, kw_only=True):
    path: TargetPath
    sha256: Digest | None = None


class _Stage(_Line, frozen=True, kw_only=True):
    cohorts: tuple[str, ...]
    percent: Any
    soak: Any = None
    soak_seconds: _Count | None = None
    gate: Literal["auto", "manual"]


class _Abort(_Line, frozen=True, kw_only=True):
    """In AWS IoT's terms; ``threshold_percent`` is an older spelling of the same."""

    failure_type: Literal["failed", "rolled_back", "timed_out", "all"]
    threshold_percentage: Any = None
    threshold_percent: Any = None
    min_executed: _Count


class _Window(_Line, frozen=True, kw_only=True):
    opens: str
    closes: str


class _File(_Line, frozen=True, kw_only=True):
    product: str
    kind: Literal["update", "recall", "baseline"]
    targets: tuple[_Target, ...]
    stages: tuple[_Stage, ...]
    abort: tuple[_Abort, ...] = ()
    not_before: Any = None
    expires: Any
    window: _Window | None = None
    spread: Any = None
    spread_seconds: _Count | None = None
    deadline: Any = None
    deadline_seconds: _Count | None = None


@dataclass(frozen=True)
class Wanted:
    """A target as the file names it: its path, and the digest if the file states one."""

    path: str
    sha256: str | None


@dataclass(frozen=True)
class Facts:
    """What the verified image repository says of a target: length in bytes, SHA-256."""

    path: str
    length: int
    sha256: str


@dataclass(frozen=True)
class OrderPlan:
    """An order but for its target facts, its number and its author.

    Attributes:
        product: whose targets.
        wanted: the targets, the wanted one first.
        fields: the other fields of ``Order``, as plain values.
    """

    product: str
    wanted: tuple[Wanted, ...]
    fields: dict[str, Any]

    @property
    def cohorts(self) -> tuple[str, ...]:
        """Every cohort that the stages name, sorted."""
        return tuple(
            sorted({cohort for stage in self.fields["stages"] for cohort in stage["cohorts"]})
        )


def read_order_file(data: bytes, now: datetime, *, name: str = "the order file") -> OrderPlan:
    """Read and validate an order file (rules 2 and 3).

    Args:
        data: the file's bytes.
        now: durations of ``not_before`` count from here.
        name: names the file in errors.

    Raises:
        ConfigurationError: ``bad_order``: no TOML, or no order; the message names the field.
    """
    try:
        plan = _plan(_convert(read_toml(data), _File), now)
        # With facts that fit, the rest must be an order.
        facts = [Facts(target.path, 1, "0" * 64) for target in plan.wanted]
        make_order(
            plan, facts, fleet="fleet", author="author", at=plan_time(now), reason="-", seq=1
        )
    except (ValueError, WireError) as e:
        raise ConfigurationError(
            f"{name} is not an order: {_one_line(e)}. 'interlock-ops sample order' prints one.",
            reason="bad_order",
        ) from e
    return plan


def make_order(
    plan: OrderPlan,
    facts: Sequence[Facts],
    *,
    fleet: str,
    author: str,
    at: datetime,
    reason: str,
    seq: int,
    supersedes: str | None = None,
) -> Order:
    """The order, in the one form that is signed.

    Args:
        plan: from ``read_order_file``.
        facts: of every wanted target, in the same order.
        fleet: the fleet id.
        author: the person who signs.
        at: when.
        reason: why.
        seq: the order's number.
        supersedes: the order whose place it is meant to take, or None.

    Raises:
        WireError: it would not be accepted; the message names the field.
    """
    assert [target.path for target in facts] == [target.path for target in plan.wanted]
    tree = {
        **plan.fields,
        "product": plan.product,
        "targets": [
            {"path": target.path, "length": target.length, "sha256": target.sha256}
            for target in facts
        ],
        "fleet": fleet,
        "author": author,
        "at": at,
        "reason": reason,
        "seq": seq,
        "checkpoint": None,
    }
    if supersedes is not None:
        tree["supersedes"] = supersedes
    return wire.decode(wire.encode(tree), Order, limit=MAX_ENVELOPE, what="order")


def plan_time(now: datetime) -> datetime:
    """``now`` in whole seconds, as statements carry it."""
    return now.replace(microsecond=0)


def read_toml(data: bytes) -> dict[str, Any]:
    """TOML whose fractions stay exact.

    Raises:
        ValueError: no TOML.
    """
    try:
        return tomllib.loads(data.decode("utf-8"), parse_float=Decimal)
    except UnicodeDecodeError as e:
        raise ValueError(f"it is not UTF-8 (byte {e.start})") from e
    except RecursionError as e:
        raise ValueError("it is nested too deeply") from e
    except ArithmeticError as e:
        raise ValueError("it holds a number that is too large") from e


def _convert(tree: dict[str, Any], type_: type[T]) -> T:
    try:
        return msgspec.convert(tree, type_)
    except msgspec.ValidationError as e:
        raise ValueError(str(e).replace("`$.", "`").replace(" - at `$`", "")) from e


def _plan(file: _File, now: datetime) -> OrderPlan:
    start = plan_time(now)
    not_before = (
        start
        if file.not_before is None
        else _named("not_before", units.parse_time, file.not_before, after=start)
    )
    fields: dict[str, Any] = {
        "kind": file.kind,
        "stages": [_stage(number, stage) for number, stage in enumerate(file.stages)],
        "abort": [_abort(number, abort) for number, abort in enumerate(file.abort)],
        "not_before": not_before,
        "expires": _named("expires", units.parse_time, file.expires, after=not_before),
        "window": (
            {"opens": file.window.opens, "closes": file.window.closes} if file.window else None
        ),
        "spread_seconds": _seconds("spread", file.spread, file.spread_seconds, absent=0),
        "deadline_seconds": _seconds("deadline", file.deadline, file.deadline_seconds),
    }
    wanted = tuple(Wanted(target.path, target.sha256) for target in file.targets)
    return OrderPlan(file.product, wanted, fields)


def _stage(number: int, stage: _Stage) -> dict[str, Any]:
    where = f"stages[{number}]"
    return {
        "cohorts": list(stage.cohorts),
        "basis_points": _named(f"{where}.percent", units.parse_percent, stage.percent),
        "soak_seconds": _seconds(f"{where}.soak", stage.soak, stage.soak_seconds),
        "gate": stage.gate,
    }


def _abort(number: int, abort: _Abort) -> dict[str, Any]:
    share = abort.threshold_percentage
    if (share is None) == (abort.threshold_percent is None):
        raise ValueError(f"`abort[{number}]` needs `threshold_percentage`, once")
    if share is None:
        share = abort.threshold_percent
    where = f"abort[{number}].threshold_percentage"
    return {
        "failure_type": abort.failure_type,
        "threshold_basis_points": _named(where, units.parse_percent, share),
        "min_executed": abort.min_executed,
    }


def _seconds(where: str, text: object, seconds: int | None, *, absent: int | None = None) -> int:
    if text is not None and seconds is not None:
        raise ValueError(f"`{where}` and `{where}_seconds` both stand: keep one")
    if text is not None:
        return int(_named(where, units.parse_duration, text))
    if seconds is None and absent is None:
        name = where.rpartition(".")[2]
        raise ValueError(f'`{where}` is missing: write for instance {name} = "2h"')
    return seconds if seconds is not None else int(absent or 0)


def _named(where: str, read: Any, value: object, **more: Any) -> Any:
    try:
        return read(value, **more)
    except ValueError as e:
        raise ValueError(f"`{where}`: {e}") from e


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return text.removeprefix("The order does not have the right form: ")[:400]
