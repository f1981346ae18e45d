"""``interlock-client power-cuts``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interlock_client.cli.edge import common, finish, plain, print_json
from interlock_client.config import load_installer
from interlock_client.outcome import REFUSED, Outcome
from interlock_core.durable import translated
from interlock_core.errors import ConfigurationError, Exit

if TYPE_CHECKING:
    from interlock_client.powercut.explore import Bad, Explorer, Findings, Rerun
    from interlock_client.powercut.model import Model
    from interlock_client.powercut.trial import Trial
    from interlock_client.powercut.wording import Words


@click.command(
    "power-cuts",
    epilog="""\b
Examples:
  interlock-client power-cuts --sample > power-cuts.toml
  interlock-client power-cuts power-cuts.toml
  interlock-client power-cuts --config gateway.toml power-cuts.toml --json
  interlock-client power-cuts power-cuts.toml --rerun all --samples 100
  interlock-client power-cuts power-cuts.toml --operations
  interlock-client power-cuts power-cuts.toml --state 37 --keep look-here
""",
)
@common
@click.argument("scenario", type=click.Path(path_type=Path), required=False)
@click.option("--sample", is_flag=True, help="Print a scenario with every setting explained.")
@click.option("--operations", is_flag=True, help="List what the command does, and try nothing.")
@click.option("--state", type=click.IntRange(min=0), help="Try the state of this number alone.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    help="A new directory for a copy of the first bad state, or of the one of --state.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the random states.")
@click.option(
    "--samples",
    type=click.IntRange(min=0, max=100_000),
    default=16,
    show_default=True,
    help="Random states for each time between two flushes, beside the systematic ones.",
)
@click.option(
    "--rerun",
    type=click.Choice(("all", "class", "none")),
    default="class",
    show_default=True,
    help="Run the same again in each state, in one of those that differ only in leftovers, or "
    "never.",
)
@click.option(
    "--most",
    type=click.IntRange(min=1, max=10_000_000),
    default=20_000,
    show_default=True,
    help="States to try in all; the likeliest come first.",
)
def command(
    *,
    config: Path | None,
    as_json: bool,
    scenario: Path | None,
    sample: bool,
    operations: bool,
    state: int | None,
    keep: Path | None,
    seed: int,
    samples: int,
    most: int,
    rerun: Rerun,
) -> None:
    """For integrators: try what a power cut can leave of an installer's work.

    The installer runs once, as it is, and every write, flush and rename of it is recorded. Then
    each state that a power cut could leave of the disk is put in place: something good must boot,
    and the same command, run again, must end as it does without a power cut. The exit code is 0
    only if all states are good, and 20 if one is not.

    It works in the directory of the scenario, and puts that back at the end: give it a copy, and
    small images. It needs strace; a gateway needs neither.
    """
    # Nothing that a gateway does needs these.
    from interlock_client.powercut import scenario as scenarios  # noqa: PLC0415
    from interlock_client.powercut.explore import Explorer  # noqa: PLC0415
    from interlock_client.powercut.materialise import Stage  # noqa: PLC0415
    from interlock_client.powercut.states import Plan  # noqa: PLC0415
    from interlock_client.powercut.trial import Trial  # noqa: PLC0415
    from interlock_client.powercut.wording import Words  # noqa: PLC0415

    if sample:
        _print_sample(as_json=as_json)
        return
    if scenario is None:
        raise click.UsageError("Name a scenario: --sample prints one.")
    if keep is not None and keep.exists():
        raise ConfigurationError(f"{keep} is there already: name a new directory with --keep.")
    loaded = scenarios.load(scenario)
    installer = load_installer(config) if config is not None else None
    trial = Trial(loaded, scenario.absolute().parent, installer)
    plan = Plan(seed=seed, samples=samples, most=most)
    with trial.recorded() as model:
        words = Words(model, scenario.absolute().parent.resolve())
        if operations:
            _list(words, len(model.recording.operations), as_json=as_json)
            return
        explorer = Explorer(model, Stage(trial.watched, model), trial, plan, rerun)
        outcome = _explored(trial, explorer, words, state, keep)
    if not as_json:
        if "not_watched" in outcome.more:
            listed = ", ".join(outcome.more["not_watched"][:8])
            click.echo(plain(f"written too, and not watched: {listed}"), err=True)
        for bad in outcome.more.get("bad", ()):
            _show(bad)
    finish(outcome, as_json=as_json)


def _explored(
    trial: Trial, explorer: Explorer, words: Words, number: int | None, keep: Path | None
) -> Outcome:
    model, plan = explorer.model, explorer.plan
    more: dict[str, Any] = {"seed": plan.seed}
    elsewhere = [words.short(path) for path in model.recording.elsewhere]
    if elsewhere:
        more["not_watched"] = elsewhere
    shown: Bad | None
    if number is None:
        found = explorer.all()
        more |= _counts(found)
        bad = found.bad
        shown = bad[0] if bad else None
        said = f"{found.said()}; seed {plan.seed}"
        if found.limited:
            said += f"; there are more than --most {plan.most}"
    else:
        shown = explorer.one(number)
        if shown is None:
            raise ConfigurationError(f"There is no state {number}: there are fewer.")
        bad = [shown] if shown.problem else []
        more["state"] = number
        said = f"State {number} alone"
    if keep is not None and shown is not None:
        _keep(trial, model, words, shown, keep)
        more["kept"] = str(keep)
    if not bad:
        return Outcome("good", "crash_safe", f"{said}.", Exit.DONE, more)
    more["bad"] = [_fields(words, one) for one in bad]
    if number is None:
        said += f". See the first with --state {bad[0].number} --keep DIRECTORY"
    return Outcome(REFUSED, "not_crash_safe", f"{said}.", Exit.REFUSED, more)


def _counts(found: Findings) -> dict[str, Any]:
    return {
        "operations": found.operations,
        "tried": found.tried,
        "distinct": found.distinct,
        "run_again": found.rerun,
        "bad_states": found.bad_states,
        "limited": found.limited,
    }


def _fields(words: Words, bad: Bad) -> dict[str, Any]:
    return {
        "state": bad.number,
        "problem": bad.problem,
        "states": bad.states,
        "before_operation": bad.end,
        "lost": words.lost(bad.lost, bad.state),
    }


def _show(bad: dict[str, Any]) -> None:
    """One problem, for people."""
    states = f"{bad['states']} states" if bad["states"] > 1 else "1 state"
    click.echo(plain(f"state {bad['state']} ({states} like it): {bad['problem']}"), err=True)
    click.echo(f"  the power goes before operation {bad['before_operation']}", err=True)
    for lost in bad["lost"]:
        click.echo(plain(f"  not on the disk: {lost}"), err=True)


def _keep(trial: Trial, model: Model, words: Words, bad: Bad, keep: Path) -> None:
    """Copy a state, as the power cut left it, and say in a file what was lost."""
    from interlock_client.powercut.materialise import Stage  # noqa: PLC0415  # as above

    with translated("write", keep):
        keep.mkdir()
        roots = model.recording.roots
        elsewhere = {root: keep / f"{place}-{Path(root).name}" for place, root in enumerate(roots)}
        Stage(trial.watched, model, elsewhere).show(bad.state)
        lines = [f"state {bad.number}: {bad.problem or 'good'}", f"before operation {bad.end}"]
        lines += [f"{real.name} is {root}" for root, real in elsewhere.items()]
        lines += ["not on the disk:", *words.lost(bad.lost, bad.state), ""]
        text = "\n".join(lines).encode(errors="backslashreplace")
        (keep / "state.txt").write_bytes(text)


def _list(words: Words, operations: int, *, as_json: bool) -> None:
    lines = [words.said(number) for number in range(operations)]
    if as_json:
        print_json({"outcome": "listed", "reason": "operations", "operations": lines})
        return
    for line in lines:
        click.echo(plain(line))


def _print_sample(*, as_json: bool) -> None:
    sample = files("interlock_client").joinpath("samples/power-cuts.toml")
    text = sample.read_text(encoding="utf-8")
    if as_json:
        print_json({"outcome": "sample", "reason": "printed", "text": text})
        return
    click.echo(text, nl=False)
