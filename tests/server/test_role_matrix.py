"""Each role against each statement: what the server takes is what core counts for a gateway.

One person for each role, over everything, and everybody tries everything. The server refuses by
``role_not_held`` exactly those whose signature core's own rules, which the gateways run, give no
weight to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from interlock_core import wire
from interlock_core.acts import POSTED
from interlock_core.chain import Papers, accepted_at, read_chain, stop_counts
from interlock_core.ending import ending_counts
from interlock_core.exclusion import excluded_since
from interlock_core.fleet import claim_counts, countersigned, lacking
from interlock_core.hold import hold_role
from interlock_core.recall_papers import disposition_counts, notice_counts
from interlock_core.roster import Grant, Judge
from interlock_core.site import describes
from interlock_core.statement import Opened
from interlock_server.online_keys import Signers
from tests.server.world import V1, Bench, Fleet
from tests.support.papers import (
    Named,
    assignment,
    authorise,
    claim,
    days,
    decommission,
    disposition,
    enrolment,
    exclusion,
    hold,
    hours,
    notice,
    opening,
    order,
    renewal,
    resume,
    revocation,
    site,
    stage,
    stop,
)
from tests.support.people import CANARY, DAY0, FAR, ST_BERT, grant, person, roster, rules

SITE = ("ward-7",)
ROLES = {
    "operator": person("oda", grant("operator")),
    "approver": person("ava", grant("approver")),
    "hospital": person("hugo", grant("hospital")),
    "engineer": person("erna", Grant(role="engineer", cohorts=("*",), expires=FAR, sites=SITE)),
    "monitor": person("mia", grant("monitor")),
    "auditor": person("aron", grant("auditor")),
}
OLGA, ADA = person("olga", grant("operator")), person("ada", grant("approver"))
EVERYBODY = (*ROLES.values(), OLGA, ADA)
RULES = (rules(stop=("hospital", "engineer")),)
NOW = DAY0 + days(2)
STAGES = (stage(CANARY, soak=hours(1)), stage(CANARY, gate="auto", soak=hours(1)))
ORDER = order(targets=(V1.target(),), stages=STAGES)
FIRST = opening(ORDER)
RECALL = order(targets=(V1.target(),), stages=STAGES[:1], seq=2, kind="recall", by="olga")
BEGUN = (ORDER, authorise(ORDER), FIRST, authorise(FIRST))
KNOWN = exclusion(ORDER, device="GW-0001")
DEVICE = enrolment("GW-0001")
JUDGE = Judge(roster(*EVERYBODY, rules=RULES), NOW)


def chain(*more: Opened[Any], words: tuple[Opened[Any], ...] = ()) -> Any:
    papers = Papers(ORDER, [BEGUN[1], BEGUN[3], *words], [FIRST, *more])
    return read_chain(JUDGE, papers, CANARY)


def opens(go: Opened[Any], number: int) -> bool:
    """Whether it opens a stage once an approver has agreed, alone if the stage asks for nobody."""
    if number:
        papers = Papers(ORDER, [BEGUN[1], BEGUN[3]], [FIRST, go])
    else:
        papers = Papers(ORDER, [BEGUN[1], authorise(go)], [go])
    return len(read_chain(JUDGE, papers, CANARY).stages) == number + 1


def accepted(one: Opened[Any]) -> bool:
    return accepted_at(JUDGE, Papers(one, [authorise(one)], ()), CANARY) is not None


@dataclass(frozen=True)
class Row:
    """One kind of statement.

    Attributes:
        made: by a person; a device of its own for each where it ends one.
        may: the roles that may sign it.
        counts: core's own rule.
    """

    made: Callable[[str, Opened[Any]], Opened[Any]]
    may: frozenset[str]
    counts: Callable[[Opened[Any], Opened[Any]], bool]


def row(may: str, made: Callable[..., Opened[Any]], counts: Callable[..., bool]) -> Row:
    return Row(made, frozenset(may.split()), counts)


TABLE = {
    "order": row(
        "operator",
        lambda by, _: order(
            targets=(V1.target(),), stages=STAGES, seq=9, by=by, supersedes=ORDER.id
        ),
        lambda one, _: accepted(one),
    ),
    "authorisation of an order": row(
        "approver",
        lambda by, _: authorise(ORDER, by),
        lambda one, _: JUDGE.authorised_at(ORDER, {"approver": 1}, [one], CANARY) is not None,
    ),
    "go: the first stage": row(
        "operator",
        lambda by, _: opening(ORDER, by=by, at=DAY0 + hours(1)),
        lambda one, _: opens(one, 0),
    ),
    "go: an auto stage": row(
        "monitor",
        lambda by, _: opening(ORDER, 1, by=by, at=DAY0 + hours(2)),
        lambda one, _: opens(one, 1),
    ),
    "go: a renewal": row(
        "operator monitor",
        lambda by, _: renewal(FIRST, at=DAY0 + hours(2), by=by),
        lambda one, _: one.id in {go.id for go in chain(one).renewals},
    ),
    "go: a resume": row(
        "operator",
        lambda by, _: resume(ORDER, at=DAY0 + hours(2), by=by),
        lambda one, _: bool(chain(one, words=(authorise(one),)).resumes),
    ),
    "stop, at a site": row(
        "operator monitor hospital engineer",
        lambda by, _: stop(ORDER, by=by, site="ward-7"),
        lambda one, _: stop_counts(JUDGE, one, CANARY),
    ),
    "stop, everywhere": row(
        "operator monitor hospital",
        lambda by, _: stop(ORDER, by=by),
        lambda one, _: stop_counts(JUDGE, one, CANARY),
    ),
    "claim": row(
        "operator engineer",
        lambda by, _: claim(f"a-secret-of-{by}" + 32 * "x", by=by),
        lambda one, _: claim_counts(JUDGE, one),
    ),
    "assignment": row(
        "operator",
        lambda by, of: assignment(
            of.id, device=of.said.device, by=by, from_cohort=CANARY, to_cohort=ST_BERT
        ),
        lambda one, _: lacking(JUDGE, one, [authorise(one)]) == (),
    ),
    "hold": row(
        "operator engineer",
        lambda by, _: hold(by=by, lasts=days(9)),
        lambda one, _: hold_role(JUDGE, one, CANARY) is not None,
    ),
    "site": row(
        "operator engineer", lambda by, _: site(by=by), lambda one, _: describes(JUDGE, one)
    ),
    "revocation": row(
        "operator engineer",
        lambda by, of: revocation(of, by=by),
        lambda one, of: ending_counts(JUDGE, one, of),
    ),
    "decommission": row(
        "operator engineer",
        lambda by, of: decommission(of, by=by),
        lambda one, of: ending_counts(JUDGE, one, of),
    ),
    "recall": row(
        "operator",
        lambda by, _: notice(RECALL, "2.0.0", by=by),
        lambda one, _: notice_counts(JUDGE, one, RECALL),
    ),
    "disposition": row(
        "operator engineer",
        lambda by, of: disposition(RECALL, Named(of.said.device, of.id), by=by),
        lambda one, of: disposition_counts(JUDGE, one, RECALL.id, of.said.cohort, of.said.site),
    ),
    "exclusion": row(
        "operator",
        lambda by, _: exclusion(ORDER, failure="bad_health", by=by),
        lambda one, _: excluded_since(JUDGE, one, [authorise(one)], CANARY) is not None,
    ),
    "authorisation of an exclusion": row(
        "approver",
        lambda by, _: authorise(KNOWN, by),
        lambda one, _: excluded_since(JUDGE, KNOWN, [one], CANARY) is not None,
    ),
}


@pytest.fixture(scope="module")
def staffed(template: Fleet, signers: Signers, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet with one person of each role, a rollout that runs, and a device for each of them."""
    fleet = template.copy(tmp_path_factory.mktemp("matrix") / "fleet")
    bench = Bench(fleet, signers)
    bench.restart()
    bench.publish_roster(wire.encode(fleet.roster(*EVERYBODY, rules=RULES, seq=2)), 2)
    bench.say_all(*BEGUN, KNOWN, RECALL)
    for role in ROLES:
        bench.let_in(enrolment(f"GW-{role}"))
    bench.clock.now = NOW
    bench.back.publisher.refresh(force=True)
    bench.back.database.close()
    return fleet


@pytest.fixture
def matrix(staffed: Fleet, signers: Signers, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(staffed.copy(tmp_path / "matrix"), signers)
    bench.clock.now = NOW
    bench.restart()
    yield bench
    bench.back.database.close()


@pytest.mark.parametrize("kind", TABLE)
def test_the_server_takes_what_core_counts_and_nothing_else(matrix: Bench, kind: str) -> None:
    entry = TABLE[kind]
    taken, counted = set(), set()
    # Those who may not first: what is taken may use a number up.
    for role in sorted(ROLES, key=lambda role: role in entry.may):
        of = enrolment(f"GW-{role}")
        said = entry.made(ROLES[role].name, of)
        if entry.counts(said, of):
            counted.add(role)
        answer = matrix.say(said)
        if answer.status_code == 201 or answer.json["reason"] == "seq_taken":
            taken.add(role)
        else:
            assert (answer.status_code, answer.json["reason"]) == (403, "role_not_held"), role
    assert taken == counted == entry.may


@pytest.mark.parametrize("role", ROLES)
def test_who_lets_a_device_in(matrix: Bench, role: str) -> None:
    """A countersignature names the role that its author acts in, and he must hold it."""
    asks = enrolment("GW-NEW")
    matrix.say_all(claim("a-secret" + 32 * "x", by="olga", at=NOW, expires=NOW + days(1)))
    assert matrix.enrol(asks, "a-secret" + 32 * "x").status_code == 201
    word = authorise(asks, ROLES[role].name, role=role)
    counts = countersigned(JUDGE, asks, [word]) is not None
    answer = matrix.say(word)
    assert (answer.status_code == 201) == counts == (role in {"operator", "engineer"})


def test_every_statement_that_people_post_has_a_row() -> None:
    made = {
        type(entry.made("oda", DEVICE).said).PREDICATE.split(":")[2] for entry in TABLE.values()
    }
    assert made == {type_.PREDICATE.split(":")[2] for type_ in POSTED}
