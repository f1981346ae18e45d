"""Whatever people post reaches the log, and an auditor verifies it: every kind, none forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from interlock_core import wire
from interlock_core.acts import POSTED
from interlock_core.api import LogRecordPage
from interlock_core.log import CHECKPOINT_KEY, TAIL_KEY, statement_fact, unpack
from interlock_core.report import Claim
from interlock_core.statement import Opened
from interlock_core.tree import leaf_hash
from interlock_ops.log_verify import Export, places_of, verify
from tests.server.world import NOW, V1, Bench, Fleet
from tests.support import papers
from tests.support.papers import Named
from tests.support.people import CANARY, ELLEN, FLEET, PEOPLE, ST_BERT

HERE = papers.enrolment()
GONE = papers.enrolment("GW-0002")
ORDER = papers.order(targets=(V1.target(),))
RECALL = papers.order(targets=(V1.target(),), kind="recall", seq=2)
MOVE = papers.assignment(HERE.id, from_cohort=CANARY, to_cohort=ST_BERT)
STOP = papers.stop(ORDER)

EXAMPLES: tuple[Opened[Any], ...] = (
    ORDER,
    papers.authorise(ORDER),
    papers.opening(ORDER),
    STOP,
    papers.exclusion(ORDER, device=HERE.said.device),
    MOVE,
    RECALL,
    papers.notice(RECALL, "2.0.0"),
    papers.disposition(RECALL, Named(HERE.said.device, HERE.id)),
    papers.claim("another secret"),
    papers.hold(),
    papers.site(),
    papers.decommission(GONE),
    papers.revocation(HERE),
)


@pytest.fixture(scope="module")
def posted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A server that accepted one of each."""
    bench = Bench(Fleet(tmp_path_factory.mktemp("kinds") / "fleet", NOW))
    bench.found()
    bench.delegate()
    bench.publish_roster(wire.encode(bench.fleet.roster(*PEOPLE, ELLEN)))
    bench.release(1, V1)
    bench.let_in(HERE)
    bench.let_in(GONE)
    bench.say_all(*EXAMPLES)
    bench.back.checkpoints.publish()
    yield bench
    bench.back.database.close()


def exported(bench: Bench) -> Export:
    """What ``log export`` writes."""
    entries = unpack(bench.store.get(TAIL_KEY))
    page = bench.read("/v1/log/records?from=0", LogRecordPage)
    assert page.next is None
    return Export(
        checkpoint=bench.store.get(CHECKPOINT_KEY).decode(),
        entries=entries,
        hashes=[leaf_hash(entry) for entry in entries],
        records=[wire.encode(record) for record in page.items],
    )


def test_there_is_an_example_of_every_kind() -> None:
    """Whoever lets people post another kind adds one here, and sees whether it is logged."""
    assert {type(one.said) for one in EXAMPLES} == set(POSTED)


def test_each_is_in_the_log_and_verifies(posted: Bench) -> None:
    export = exported(posted)
    key = posted.signers["log"][0].public_key
    verdict = verify(export, [key], [], f"{FLEET}/log")
    assert verdict.findings == ()
    logged = [entry.fact for entry in verdict.entries]
    for one in EXAMPLES:
        fact = statement_fact(one.said.PREDICATE, one.id, wire.encode(one.envelope))
        assert logged.count(fact) == 1, f"{one.said.PREDICATE} is not in the log, once"
        assert len(places_of(export, verdict, one.id)) >= 1


@pytest.mark.parametrize("kind", POSTED, ids=lambda kind: kind.PREDICATE.split(":")[2])
def test_a_record_of_any_kind_that_is_left_out_is_missed(posted: Bench, kind: type) -> None:
    export = exported(posted)
    one = next(one for one in EXAMPLES if type(one.said) is kind)
    mine = wire.encode(one.envelope)
    rest = [record for record in export.records if mine not in record]
    assert len(rest) == len(export.records) - 1
    key = posted.signers["log"][0].public_key
    verdict = verify(
        Export(export.checkpoint, export.entries, export.hashes, rest), [key], [], None
    )
    assert {finding.reason for finding in verdict.findings} == {"record_mismatch"}


def test_a_claim_is_in_the_records(posted: Bench) -> None:
    """Claims are records of their own table, and no statement of a rollout."""
    said = next(one for one in EXAMPLES if isinstance(one.said, Claim))
    assert any(wire.encode(said.envelope) in record for record in exported(posted).records)
