"""``device claim``: lets gateways ask to be enrolled, once each."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click
from rich.console import RenderableType

from interlock_core import durable
from interlock_core.errors import ConfigurationError, ConflictError, InterlockError
from interlock_core.report import MAX_CLAIM, Claim
from interlock_ops.claiming import Wish, make_claims, object_to_claim
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import device_id, duration, hardware_id, name, product
from interlock_ops.show import fact, heading, line
from interlock_ops.units import show_time

EXAMPLES: Final = (
    "interlock-ops device claim --product gateway --site st-anna --cohort wards \\",
    '    --device GW-0001 --device GW-0002 --secret-dir secrets --reason "new ward"',
    "interlock-ops device claim --product gateway --site st-anna --cohort wards \\",
    '    --count 20 --valid 14d --secret-dir secrets --reason "delivery of May"',
)
ANSWERS: Final = {
    "id, ids": "the claims' ids",
    "claims": "in the order of ids: device, hardware, product, site, cohort, expires, "
    "secret_file, and with --show-secret also secret",
}
SECRET_BYTES: Final = 32
MAX_COUNT: Final = 1000
WEEK: Final = 7 * 86_400


@click.command("claim", cls=Act, examples=EXAMPLES, answers=ANSWERS)
@click.option("--product", required=True, type=product, help="What they run.")
@click.option("--site", required=True, type=name, help="Where they stand.")
@click.option("--cohort", required=True, type=name, help="The cohort that they will poll.")
@click.option("--hardware", type=hardware_id, help="Only for this hardware; by default any.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    type=device_id,
    help="Only for this device; repeatable. Without it whichever comes first.",
)
@click.option(
    "--count", type=click.IntRange(1, MAX_COUNT), help="So many claims, for whichever comes first."
)
@click.option(
    "--valid",
    type=duration,
    default=WEEK,
    show_default="7d",
    help="How long the claims wait for their devices; at most 30d.",
)
@click.option(
    "--secret-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write each secret to a file here: DEVICE.secret, or claim-001.secret and so on.",
)
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the secret of a single claim to this file.",
)
@click.option(
    "--show-secret",
    is_flag=True,
    help="Show the secrets too, also with --json; by default they stand in their files alone.",
)
def device_claim(
    run: Run,
    how: How,
    *,
    devices: tuple[str, ...],
    count: int | None,
    valid: int,
    secret_dir: Path | None,
    secret_file: Path | None,
    show_secret: bool,
    **about: Any,
) -> Answer:
    """Let gateways ask to be enrolled: one claim and one secret for each.

    Each secret is written to a file that only you can read, before its claim is sent; hand it to
    the gateway ('interlock-client enrol'). It lets its holder ask once, and nothing more: an
    operator or an engineer of the site still has to countersign. If sending fails, the signed
    claim stays beside the secret, in a file ending in '.claim.json', for 'post'.
    """
    session = run.session
    if not 0 < valid <= MAX_CLAIM.total_seconds():
        raise ConfigurationError(
            "--valid must be longer than nothing and at most 30d.", reason="usage"
        )
    files = _files(devices, count, secret_dir, secret_file)
    if how.output is not None:
        _must_be_free(how.output)
    me = session.me
    judge = session.judge
    objection = object_to_claim(judge, me, about["cohort"], about["site"])
    if objection is not None:
        return settle(objection)
    wishes = [Wish(secrets.token_urlsafe(SECRET_BYTES), device) for device, _ in files]
    claims = make_claims(
        wishes,
        fleet=session.roster.fleet,
        author=me,
        at=judge.now,
        reason=how.reason,
        expires=judge.now + timedelta(seconds=valid),
        **about,
    )
    paths = [path for _, path in files]

    def write_secrets() -> None:
        if secret_dir is not None:
            durable.mkdir(secret_dir, 0o700)
        _write(paths, wishes)

    return carry_out(
        run,
        claims,
        how,
        account=_account(claims, paths),
        done="claimed",
        after=lambda _: _next(paths, wishes if show_secret else ()),
        before=write_secrets,
        keep=[_beside(path) for path in paths],
        claims=[
            {
                "device": claim.device,
                "hardware": claim.hardware,
                "product": claim.product,
                "site": claim.site,
                "cohort": claim.cohort,
                "expires": show_time(claim.expires),
                "secret_file": str(path),
                **({"secret": wish.secret} if show_secret and not how.dry_run else {}),
            }
            for claim, path, wish in zip(claims, paths, wishes, strict=True)
        ],
    )


def _files(
    devices: Sequence[str], count: int | None, directory: Path | None, file: Path | None
) -> list[tuple[str | None, Path]]:
    """For whom each claim is, and where its secret goes.

    Raises:
        ConfigurationError: ``usage``.
        ConflictError: a secret would overwrite something.
    """
    if devices and count is not None:
        raise ConfigurationError("Pass --device or --count, not both.", reason="usage")
    if len({device.lower() for device in devices}) != len(devices):
        raise ConfigurationError("--device names one device twice.", reason="usage")
    if (directory is None) == (file is None):
        raise ConfigurationError(
            "Say where the secrets go: either --secret-dir DIR or --secret-file FILE.",
            reason="usage",
        )
    wanted: list[str | None] = [*devices] or [None] * (count or 1)
    if file is not None:
        if len(wanted) > 1:
            raise ConfigurationError(
                f"--secret-file holds one secret, and these are {len(wanted)}: pass --secret-dir.",
                reason="usage",
            )
        files: list[tuple[str | None, Path]] = [(wanted[0], file)]
    else:
        assert directory is not None  # one of the two is given
        first = _first_number(directory)
        files = [
            (device, directory / f"{device or f'claim-{number:03}'}.secret")
            for number, device in enumerate(wanted, first)
        ]
    for _, path in files:
        _must_be_free(path)
        _must_be_free(_beside(path))
    return files


def _must_be_free(path: Path) -> None:
    with durable.translated("read", path):
        taken = path.exists() or path.is_symlink()
    if taken:
        raise ConflictError(
            f"{path} stands there already, and nothing is overwritten: remove it if its claim was "
            "used or has expired, or name another place. (A '.claim.json' was perhaps never sent: "
            "'interlock-ops post' sends it.)"
        )


_NUMBERED: Final = re.compile(r"claim-([0-9]{3,9})\.(?:secret|claim\.json)\Z")


def _first_number(directory: Path) -> int:
    """After the highest number in use, so that one directory can serve many deliveries."""
    if not directory.is_dir():
        return 1
    with durable.translated("read", directory):
        names = [path.name for path in directory.iterdir()]
    return 1 + max((int(m[1]) for one in names if (m := _NUMBERED.match(one))), default=0)


def _beside(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".secret") + ".claim.json")


def _write(paths: Sequence[Path], wishes: Sequence[Wish]) -> None:
    written: list[Path] = []
    try:
        for path, wish in zip(paths, wishes, strict=True):
            durable.create(path, f"{wish.secret}\n".encode(), 0o600)
            written.append(path)
    except InterlockError:
        # No claim was sent: those secrets open nothing, and would be in the way of the next try.
        for path in written:
            durable.remove(path)
        raise


def _account(claims: Sequence[Claim], paths: Sequence[Path]) -> list[RenderableType]:
    first, many = claims[0], len(claims)
    who = "one gateway" if many == 1 else f"{many} gateways"
    return [
        heading(f"Claims by {first.author}: {who} may ask to be enrolled, once each"),
        fact("product", first.product),
        fact("hardware", first.hardware or "any"),
        fact("site", first.site),
        fact("cohort", first.cohort),
        fact("until", show_time(first.expires)),
        *(
            fact("for" if number == 0 else "", f"{claim.device or 'any device'}: {path}")
            for number, (claim, path) in enumerate(zip(claims, paths, strict=True))
        ),
        fact("reason", first.reason),
        fact("signed at", f"{show_time(first.at)} for the fleet {first.fleet}"),
    ]


def _next(paths: Sequence[Path], shown: Sequence[Wish]) -> list[RenderableType]:
    rows: list[RenderableType] = [heading("Hand each secret to its gateway alone:")]
    rows += [fact("", str(path)) for path in paths]
    rows += [fact("secret", f"{wish.device or 'any device'}: {wish.secret}") for wish in shown]
    rows.append(line("  interlock-ops device countersign --waiting --role ROLE --reason ..."))
    return rows
