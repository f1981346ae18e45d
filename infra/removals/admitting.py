"""Checks of who lets a device in and moves it, and of what its reports are worth."""

from __future__ import annotations

from typing import Final

from infra.removals.removal import CORE, Removal

UNITS = ("tests/core/test_fleet.py", "tests/core/test_fleet_review.py")
SERVER = "server/src/interlock_server/"
SERVERS = (
    "tests/server/test_review.py",
    "tests/server/test_enrolments.py",
    "tests/server/test_assignments.py",
    "tests/server/test_reports.py",
)


def _fleet(what: str, within: str, old: str, new: str) -> Removal:
    return Removal(f"fleet: {what}", f"{CORE}fleet.py", within, old, new, UNITS)


def _server(what: str, module: str, within: str, old: str, new: str) -> Removal:
    return Removal(f"fleet: {what}", f"{SERVER}{module}.py", within, old, new, SERVERS)


def _ending(what: str, within: str, old: str, new: str) -> Removal:
    units = ("tests/core/test_ending.py",)
    return Removal(f"fleet: {what}", f"{CORE}ending.py", within, old, new, units)


def _acts(what: str, module: str, within: str, old: str, new: str) -> Removal:
    tests = ("tests/server/test_acts.py",)
    return Removal(f"fleet: {what}", f"{SERVER}{module}.py", within, old, new, tests)


def _certificate(what: str, within: str, old: str, new: str) -> Removal:
    tests = ("tests/ops/test_cli_ending.py",)
    return Removal(f"fleet: {what}", f"{CORE}decommissioned.py", within, old, new, tests)


ADMITTING: Final[tuple[Removal, ...]] = (
    _fleet(
        "a claim is signed by somebody entitled",
        "claim_counts",
        "judge.author_is(claim, COUNTERSIGNERS, said.cohort, said.site) is not None\n        and ",
        "",
    ),
    _fleet(
        "a claim expires, and begins",
        "claim_counts",
        "and said.at <= judge.now < said.expires",
        "",
    ),
    _fleet(
        "a claim is for what it names",
        "claim_refuses",
        "claimed is not None and claimed != asked",
        "False",
    ),
    _fleet(
        "an enrolment is signed by the key that it names",
        "_counting",
        "said.fleet != judge.roster.fleet or not signed_by_device(enrolment)",
        "said.fleet != judge.roster.fleet",
    ),
    _fleet(
        "only operators and engineers countersign",
        "_counting",
        "role in COUNTERSIGNERS\n            and ",
        "",
    ),
    _fleet(
        "no countersignature counts before its time",
        "_counting",
        "and word.said.at <= judge.now",
        "",
    ),
    _fleet(
        "a countersignature counts by the roster",
        "_counting",
        "and judge.authorised_at(enrolment, {role: 1}, (word,), said.cohort, said.site)",
        "",
    ),
    _fleet(
        "the enrolment countersigned last is in force",
        "in_force",
        "last = max(at",
        "last = min(at",
    ),
    _fleet(
        "no older enrolment is in force again by itself",
        "in_force",
        "None if any(replaced) else newest",
        "newest",
    ),
    _fleet(
        "an assignment expires, and begins",
        "assigned_at",
        "not said.at <= judge.now < said.expires",
        "False",
    ),
    _fleet(
        "both cohorts' rules judge an assignment",
        "assigned_at",
        "for cohort in (said.from_cohort, said.to_cohort):",
        "for cohort in (said.to_cohort,):",
    ),
    _fleet(
        "an assignment's author is an operator over both",
        "assigned_at",
        "rules is None or judge.author_is(assignment, (OPERATOR,), cohort) is None",
        "rules is None",
    ),
    _fleet(
        "an assignment meets the rules",
        "assigned_at",
        "if at is None or at > judge.now:\n            return None",
        "if at is None:\n            at = said.at",
    ),
    _fleet(
        "nothing moves what is not enrolled, or under another enrolment",
        "move",
        "place.enrolment is not None\n        "
        "and one.said.enrolment == place.enrolment\n        and ",
        "",
    ),
    _fleet(
        "an assignment is for this device",
        "move",
        "and one.said.device == place.device",
        "",
    ),
    _fleet(
        "an assignment leads out of the present cohort",
        "move",
        "and one.said.from_cohort == place.cohort",
        "",
    ),
    _fleet(
        "the number of an assignment rises",
        "move",
        "and one.said.seq > place.seq",
        "",
    ),
    _fleet(
        "a gateway is moved only where its configuration lets it",
        "move",
        "and any(covers(pattern, one.said.to_cohort) for pattern in place.patterns)",
        "",
    ),
    _fleet(
        "a report is of this enrolment",
        "report_counts",
        "said.enrolment == enrolment.id\n        and ",
        "",
    ),
    _fleet(
        "a report is of this device and fleet",
        "report_counts",
        "and (said.fleet, said.author) == (of.fleet, of.device)",
        "",
    ),
    _fleet(
        "a report is signed by the enrolment's key",
        "report_counts",
        "and signed(report, of.key)",
        "",
    ),
    _fleet(
        "nothing is taken beyond a gap",
        "follows",
        'return "gap"',
        'return "next"',
    ),
    _fleet(
        "the same number twice is a fork",
        "follows",
        'return "known" if known == report.id else "fork"',
        'return "known"',
    ),
    _fleet(
        "a report names the one before",
        "follows",
        "report.said.previous == (tip.id if tip is not None else None)",
        "True",
    ),
    _ending(
        "an enrolment is ended by somebody entitled",
        "ending_counts",
        "and judge.author_is(ending, COUNTERSIGNERS, of.cohort, of.site) is not None",
        "",
    ),
    _ending(
        "what ends an enrolment names it and its device",
        "ending_counts",
        "(said.enrolment, said.device) == (enrolment.id, of.device)\n        and ",
        "",
    ),
    Removal(
        "fleet: a rotation is signed by both keys",
        f"{CORE}fleet.py",
        "rotates",
        "not (signed(enrolment, new.key) and signed(enrolment, old.key))",
        "False",
        ("tests/core/test_ending.py",),
    ),
    Removal(
        "fleet: a rotation names the enrolment whose key gives way",
        f"{CORE}fleet.py",
        "rotates",
        "new.replaces != before.id",
        "False",
        ("tests/core/test_ending.py",),
    ),
    _acts("what ended stays ended", "standing", "_state", "row.state in ENDED", "False"),
    _acts(
        "nothing is taken from a key that is over",
        "standing",
        "check_counts",
        "row.state in ENDED",
        "False",
    ),
    _acts(
        "a key that is over is in no enrolment again",
        "enrolments",
        "_check_key",
        "state is not None",
        "False",
    ),
    _acts(
        "a decommissioning names the last report",
        "acts",
        "_check_last",
        "named != expected",
        "False",
    ),
    _certificate(
        "a certificate's author was entitled",
        "verify_certificate",
        "not ending_counts(judge, statement, enrolment)",
        "False",
    ),
    _certificate(
        "a certificate's roster was in force then",
        "verify_certificate",
        "not roster.issued <= said.at < roster.issued + MAX_ROSTER_AGE",
        "False",
    ),
    _certificate(
        "a certificate's roster is what its role signed",
        "_roster",
        'info is None or (info.length, info.hashes.get("sha256")) != (len(data), digest)',
        "info is None",
    ),
    _certificate(
        "a certificate's metadata is signed",
        "_signed",
        "    by.verify_delegate(role, metadata.signed_bytes, metadata.signatures)\n",
        "",
    ),
    _certificate(
        "a certificate names the report that it holds",
        "_check_report",
        "(said.report, said.running) != (named, runs)",
        "False",
    ),
    _server(
        "nobody takes a device away from those who look after it",
        "admission",
        "_check_replaced",
        "not may_countersign(ground.judge, author, before)",
        "False",
    ),
    _acts(
        "a rotation that waits dies with the key that asked",
        "admission",
        "_check_asked",
        'before.state in {*ENDED, "quarantined"}',
        "False",
    ),
    _server(
        "nobody uses up a device's numbers",
        "admission",
        "check_assignment_seq",
        "said.seq > highest + MAX_STEP",
        "False",
    ),
    _server(
        "a word about an enrolment is judged again under the turn",
        "statements",
        "Statements._accept",
        "                check_of_the_fleet(alone, ground)\n",
        "",
    ),
    Removal(
        "reading: a token's person holds a grant that may read this",
        f"{SERVER}web/access.py",
        "guard",
        "not reading.kinds & route.readers",
        "False",
        ("tests/server/test_access.py",),
    ),
    Removal(
        "reading: an endpoint that nobody declared is closed",
        f"{SERVER}web/access.py",
        "guard",
        "        if route is None:\n",
        "        if route is None:\n            return\n        if route is None:\n",
        ("tests/server/test_openapi.py",),
    ),
    Removal(
        "reading: whose grants name sites sees those",
        f"{SERVER}web/access.py",
        "sites_in_sight",
        "return reading_now().sites",
        "return None",
        ("tests/server/test_access.py",),
    ),
)
