"""What options and arguments may hold: each reader returns the value, or a usage error."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, cast

import click
import msgspec

from interlock_core.errors import ConfigurationError, WireError
from interlock_core.names import DIGEST_PATTERN, DeviceId, HardwareId, check_product, is_name
from interlock_core.site import Contact, Notes, TimeZone
from interlock_ops.show import plain
from interlock_ops.units import parse_duration, parse_time


def statement_id(text: str) -> str:
    """The id of a statement, for an option or argument."""
    if re.match(DIGEST_PATTERN, text) is None:
        raise click.BadParameter(
            f"{plain(text[:80])!r} is not an id: it must be 64 digits 0-9 a-f."
        )
    return text


def duration(text: str | int) -> int:
    """A duration in seconds, for an option."""
    try:
        return text if isinstance(text, int) else parse_duration(text)
    except ValueError as e:
        raise click.BadParameter(f"{e}.") from e


def name(text: str) -> str:
    """A role, cohort or site, for an option."""
    if not is_name(text):
        raise click.BadParameter(f"{plain(text[:80])!r} is no name: use a-z, 0-9 and '-'.")
    return text


def product(text: str) -> str:
    """A product, for an option."""
    try:
        return check_product(text)
    except WireError as e:
        raise click.BadParameter(plain(str(e))) from e


def device_id(text: str) -> str:
    """A factory device id, for an option or argument."""
    return _formed(text, DeviceId, "a device id: use A-Z, a-z, 0-9 and '._:-', as on its label")


def hardware_id(text: str) -> str:
    """A hardware id, for an option."""
    return _formed(text, HardwareId, "a hardware id: use A-Z, a-z, 0-9 and '._-'")


def past_time(text: str, now: datetime, option: str) -> datetime:
    """A time that is not after now, for an option.

    Raises:
        ConfigurationError: it is none, or lies ahead.
    """
    try:
        time = parse_time(text)
    except ValueError as e:
        raise ConfigurationError(f"{option}: {e}.", reason="usage") from e
    if time > now:
        raise ConfigurationError(f"{option}: that lies ahead.", reason="usage")
    return time


def _formed(text: str, form: Any, what: str) -> str:
    try:
        return cast("str", msgspec.convert(text, form))
    except msgspec.ValidationError as e:
        raise click.BadParameter(f"{plain(text[:80])!r} is not {what}.") from e


def time_zone(text: str) -> str:
    """The name of a time zone, for an option."""
    return _formed(text, TimeZone, "a time zone: name one such as Europe/Berlin")


def notes(text: str) -> str:
    """Notes about a site, for an option."""
    return cast(
        "str", _formed_as(text, Notes, "notes have at most 2,000 characters, and are UTF-8.")
    )


def contact(text: str) -> Contact:
    """``WHO: HOW``, for an option."""
    who, found, how = text.partition(":")
    if not found:
        raise click.BadParameter("write who, a colon, and how to reach them.")
    return cast(
        "Contact",
        _formed_as(
            {"name": who.strip(), "reach": how.strip()},
            Contact,
            f"{plain(text[:80])!r} is no contact: two texts of 1 to 200 characters, on one line.",
        ),
    )


def _formed_as(value: Any, form: Any, otherwise: str) -> Any:
    try:
        return msgspec.convert(value, form)
    except msgspec.ValidationError as e:
        raise click.BadParameter(otherwise) from e


def check_reason(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """A reason as statements carry it: 1 to 1,000 characters."""
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise click.BadParameter("it is not UTF-8.") from e
    if not value.strip() or len(value) > 1000:
        raise click.BadParameter("say why, in 1 to 1,000 characters.")
    return value


meaning = click.option(
    "--meaning",
    type=click.Choice(["approved", "consented", "reviewed"]),
    default="approved",
    show_default=True,
    help="What your signature means; 'reviewed' counts for no rule.",
)
"""What an authorisation means, as an option of a command."""
