"""``interlock-client status``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from interlock_client import context, status
from interlock_client.cli.edge import common, config_path, plain, print_json
from interlock_client.download.record import MAX_STALLS
from interlock_core.wire import format_time


@click.command(
    "status",
    epilog="""\b
Examples:
  interlock-client status
  interlock-client status --config gateway.toml --json
""",
)
@common
def command(*, config: Path | None, as_json: bool) -> None:
    """Show how this gateway stands. Nothing is asked of the network."""
    found = status.status(context.build(config_path(config)))
    if as_json:
        print_json({"outcome": "status", "reason": found["state"], **found})
        return
    for line in _lines(found):
        click.echo(plain(line))


def _lines(found: Mapping[str, Any]) -> list[str]:
    running, slots, waiting = found["running"], found["slots"], found["deferral"]
    floors, ended, last = found["floors"], found["ended"], found["last_decision"]
    lines = [
        found["why"],
        "",
        f"gateway    {found['device']}, {found['product']} on {found['hardware']}",
        f"cohort     {_cohort(found)}",
        f"state      {found['state']}",
        f"running    {_content(running)}",
        f"slots      {_slots(slots)}",
    ]
    if found["attempt"]:
        lines.append(f"wanted     {found['attempt']['path']} in slot {found['attempt']['slot']}")
    lines += _download(found["download"])
    if waiting:
        lines.append(
            f"waiting    since {format_time(waiting['since'])} "
            f"({_age(waiting['age_seconds'])}): {waiting['reason']}: {waiting['detail']}"
        )
    failing = found["failing"]
    if failing:
        until = failing["tried_again_from"]
        when = f"from {format_time(until)} on" if until else "at the next update"
        lines.append(
            f"failing    {failing['reason']}, {failing['times']} times; tried again {when}"
        )
    if ended:
        lines.append(f"last try   {ended['outcome']} ({ended['reason']}): {ended['detail']}")
    if last:
        verdict = last["verdict"]
        lines.append(f"decided    {last['at']}: {verdict['outcome']} ({verdict['reason']})")
    trouble = found["trouble"]
    if trouble:
        lines.append(
            f"trouble    {trouble['reason']} at the last {trouble['polls']} polls, since "
            f"{trouble['since']}"
        )
    if found["last_poll"]:
        lines.append(f"polled     {format_time(found['last_poll'])}")
    lines += _reports(found["enrolment"], found["outbox"])
    interlock = {
        "none": "none: the configuration says that nothing clinical depends on this gateway",
        "missing": "not configured: it is never safe to install",
        "checks": "checks",
    }
    lines += [
        f"interlock  {interlock[found['interlock']]}",
        (
            f"floors     release {floors['release']}, order {floors['order']}, "
            f"roster {floors['roster']}, {floors['stops']} stops known"
        ),
    ]
    alarms = found["clock"]["alarms"]
    if found["tpm"] is not None and found["tpm"]["trouble"]:
        lines.append(f"tpm        {found['tpm']['trouble']}")
    if alarms:
        lines.append(f"clock      {', '.join(alarms)}: see 'interlock-client clock show'")
    return lines


def _cohort(found: Mapping[str, Any]) -> str:
    cohort, assigned = str(found["cohort"]), found["assigned"]
    if assigned is None:
        return cohort
    return (
        f"{cohort}: assigned by {assigned['by']} at {assigned['at']} ({assigned['reason']}); "
        f"configured is {found['configured_cohort']}"
    )


def _download(found: Mapping[str, Any] | None) -> list[str]:
    if found is None or found["kept"] == found["length"]:
        return []
    allowed = found["budget_bytes"]
    budget = f" of {allowed} allowed" if allowed is not None else ""
    lines = [
        (
            f"download   {found['kept']} of {found['length']} bytes are there, {found['received']} "
            f"were received{budget}"
        )
    ]
    if found["fell_back"]:
        lines.append(f"no delta   {found['fell_back']}")
    elif found["delta_stalls"]:
        lines.append(
            f"no delta   {found['delta_stalls']} runs in a row got nothing of it; after "
            f"{MAX_STALLS} the image is fetched whole"
        )
    if found["wrong_bytes_from"]:
        lines.append(f"wrong from {', '.join(found['wrong_bytes_from'])}")
    return lines


def _reports(enrolment: Mapping[str, Any] | None, outbox: Mapping[str, Any] | None) -> list[str]:
    if enrolment is None or outbox is None:
        return ["enrolment  none: this gateway makes no reports"]
    if enrolment["state"] == "damaged":
        return [f"enrolment  {enrolment['trouble']}"]
    lines = [f"enrolment  {enrolment['state']}: {enrolment['id'][:12]}… at {enrolment['site']}"]
    if outbox["trouble"]:
        return [*lines, f"reports    {outbox['trouble']}"]
    last = outbox["acknowledged"]
    told = f"the last acknowledged is {last['number']}" if last else "none was acknowledged yet"
    full = "; the outbox is full, and only ends of attempts are added" if outbox["full"] else ""
    return [*lines, f"reports    {outbox['waiting']} wait, {told}{full}"]


def _content(running: Mapping[str, Any] | None) -> str:
    if running is None:
        return "not known: nothing was confirmed here yet"
    name = running["path"] or "what came from the factory"
    return f"{name} (counter {running['counter']}, SHA-256 {running['sha256'][:16]}…)"


def _slots(slots: Mapping[str, Any]) -> str:
    if slots["booted"] is None:
        return str(slots["trouble"])
    armed = f", {slots['armed']} armed" if slots["armed"] else ""
    return f"{slots['booted']} booted, {slots['active']} committed{armed}"


def _age(seconds: int) -> str:
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
