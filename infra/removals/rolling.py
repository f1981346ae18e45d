"""Checks of what is counted and when a rollout stops itself: one removal each."""

from __future__ import annotations

from typing import Final

from infra.removals.removal import CORE, Removal

SERVER: Final = "server/src/interlock_server/"
ENGINE: Final = "tests/server/test_engine.py"


def _core(what: str, module: str, within: str, old: str, new: str) -> Removal:
    tests = (f"tests/core/test_{module}.py",)
    return Removal(f"engine: {what}", f"{CORE}{module}.py", within, old, new, tests)


def _server(what: str, module: str, within: str, old: str, new: str) -> Removal:
    return Removal(f"engine: {what}", f"{SERVER}{module}.py", within, old, new, (ENGINE,))


ROLLING: Final[tuple[Removal, ...]] = (
    _core(
        "a device stands where the target for its hardware and barrier places it",
        "placed",
        "Placing._find",
        "return fit[0]",
        "return self.order.targets[0]",
    ),
    _core(
        "of whom nobody knows what runs, no barrier is held against him",
        "placed",
        "Placing.counter",
        "UNBARRED if barred else 0",
        "0",
    ),
    _core(
        "few failures of few pause nothing",
        "abort",
        "_judged",
        "executed >= setting.min_executed",
        "True",
    ),
    _core(
        "a bound of confidence, not the bare share",
        "abort",
        "wilson_lower",
        "(middle - spread) / (1 + square / trials)",
        "share",
    ),
    _core(
        "the sample of those who tried pauses early",
        "abort",
        "_judged",
        "wilson_lower(failures, executed, Z_999) > threshold",
        "False",
    ),
    _core(
        "what people knew when they resumed is forgiven",
        "abort",
        "pause_reason",
        "forgiven if forgiven is not None else Counts()",
        "Counts()",
    ),
    _core(
        "each cohort is judged by itself too",
        "abort",
        "first_pause",
        "for place in places:\n            reason",
        "for place in ():\n            reason",
    ),
    _core(
        "an action votes once",
        "action",
        "_told",
        "if action.vote is not None:\n        return moved",
        "",
    ),
    _core(
        "success is of what runs",
        "action",
        "_shows_success",
        "attempt.target == running.sha256",
        "True",
    ),
    _core(
        "success is after the health checks",
        "action",
        "_shows_success",
        "all(check.passed for check in report.health)",
        "True",
    ),
    _core(
        "silence is a failure",
        "action",
        "_ticked",
        "action.over or event.at < action.deadline",
        "True",
    ),
    _core(
        "a device that says why it waits is not silent",
        "action",
        "_told",
        "event.outcome in _WAITING or event.reason in _DEFERRALS",
        "False",
    ),
    _core(
        "a canceled action never moves again",
        "action",
        "step",
        'if action.state == "canceled":\n        return action',
        "",
    ),
    _core(
        "no stage opens before its time",
        "rollout",
        "_part",
        "if at.opened[number] > now:\n            break",
        "",
    ),
    _core("a stop wins", "rollout", "_still", 'if at.stopped:\n        return "stopped"', ""),
    _core(
        "a hold ends by a resume that is dated after it",
        "rollout",
        "_part",
        "_after(at.resumed_at, rollout.held_since)",
        "True",
    ),
    _core(
        "what is over at a cohort is over for good",
        "rollout",
        "_part",
        "if part.over:\n        return part",
        "",
    ),
    _core(
        "an exclusion takes a second person",
        "exclusion",
        "asked",
        "rules.resume if any(rules.resume.values()) else {OPERATOR: 1}",
        "rules.resume",
    ),
    _core(
        "an exclusion is signed by an operator over the cohort",
        "exclusion",
        "excluded_since",
        " or judge.author_is(exclusion, (OPERATOR,), cohort) is None",
        "",
    ),
    _core(
        "an exclusion that counts no more leaves nothing out",
        "action",
        "step",
        "if isinstance(event, Included):",
        "if False:",
    ),
    _core(
        "another reason to be left out takes the place of a known issue",
        "action",
        "step",
        "action.excluded not in {None, KNOWN_ISSUE}",
        "action.excluded is not None",
    ),
    _server(
        "exclusions are judged by the roster of the moment",
        "sweeps",
        "exclude",
        "total = _sweep(database, order, lapsed, lambda _: Included())",
        "total = 0",
    ),
    _core(
        "an update takes the place of none that runs by accident",
        "supersede",
        "in_the_way",
        'order.kind != "update" or critical',
        "True",
    ),
    _server(
        "a clone is left out of the counts",
        "reports",
        "Reports._keep_fork",
        "counting.leave_out(session, row, counting.QUARANTINED)",
        "pass",
    ),
    _server(
        "who was not inside when the stage opened has no vote",
        "counting",
        "_meet",
        "counted=False",
        "counted=True",
    ),
    _server(
        "only devices of the order's product are started",
        "stages",
        "_inside",
        "EnrolmentRow.product == placed.order.product,",
        "",
    ),
    _server(
        "nobody times out where the rollout stands still",
        "sweeps",
        "time_out",
        "PartRow.still.is_(None),",
        "",
    ),
    _server(
        "what is held is published without its goes",
        "director",
        "_entry",
        "list(chain.resumes) if held else _ranked(chain)",
        "_ranked(chain)",
    ),
    _server(
        "nobody ends a running order by authorising another",
        "acceptance",
        "_check_authorisation",
        "if subject is order:\n        _check_place(order, ground)",
        "",
    ),
    _server(
        "time in which nobody looked is no silence",
        "engine",
        "Engine._away",
        "by >= GAP",
        "False",
    ),
    _server(
        "one engine at a time",
        "engine",
        "Engine._elected",
        "row.holder != self.holder and row.until and now < row.until <= now + 2 * LEASE",
        "False",
    ),
    _server(
        "no lease from the far future",
        "engine",
        "Engine._elected",
        "now < row.until <= now + 2 * LEASE",
        "now < row.until",
    ),
    _server(
        "one that cannot be looked at gives the others no more time",
        "engine",
        "Engine.round",
        "not wanted or len(errors) < len(wanted)",
        "not errors",
    ),
)
