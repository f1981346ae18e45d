"""What the monitor asks before it signs: one removal each."""

from __future__ import annotations

from infra.removals.removal import Removal

MONITOR = "server/ops/src/interlock_ops/monitor/"
RULES = "tests/ops/test_monitor_rules.py"
COUNTED = "tests/ops/test_monitor_counting.py"
DECEIVED = "tests/ops/test_monitor_deceived.py"


def _judging(what: str, within: str, old: str, new: str) -> Removal:
    return Removal(what, f"{MONITOR}judging.py", within, old, new, (RULES,))


def _gate(what: str, within: str, old: str, new: str) -> Removal:
    return Removal(what, f"{MONITOR}gate.py", within, old, new, (RULES,))


def _intake(what: str, within: str, old: str, new: str) -> Removal:
    return Removal(what, f"{MONITOR}intake.py", within, old, new, (COUNTED, DECEIVED))


def _feed(what: str, within: str, old: str, new: str, test: str) -> Removal:
    return Removal(what, f"{MONITOR}feed.py", within, old, new, (f"{DECEIVED}::{test}",))


MONITORING: tuple[Removal, ...] = (
    _judging(
        "monitor: only what is in force somewhere",
        "_Order.ended",
        "if not self.case.here:",
        "if False:",
    ),
    _judging(
        "monitor: no order that expired",
        "_Order.ended",
        "if self.said.expires <= self.now:",
        "if False:",
    ),
    _judging(
        "monitor: nothing that lapsed",
        "_Order.ended",
        "if not self.live():",
        "if False:",
    ),
    _judging(
        "monitor: no opening where a stop stands",
        "_Order.open",
        "if cohort in self.blocked:",
        "if False:",
    ),
    _judging(
        "monitor: no renewal where a stop stands",
        "_Order.renew",
        "if cohort in self.blocked:",
        "if False:",
    ),
    _judging(
        "monitor: a stop stands until a resume by rule",
        "_Order._standing",
        "if stop.id not in over",
        "if stop.id not in over and not self.case.papers.goes[1:]",
    ),
    _judging(
        "monitor: a stop that gateways here do not follow hides no failures",
        "_Order.stop",
        "stop.said.cohort is None and self._follows(stop, cohort)",
        "stop.said.cohort is None",
    ),
    _judging(
        "monitor: it signs no stop where it may sign none",
        "_Order.stop",
        "cohort not in whole and self._may_stop(cohort)",
        "cohort not in whole",
    ),
    _judging(
        "monitor: only gates that are its own",
        "_Order.open",
        'if stage.gate != "auto" or cohort not in stage.cohorts:',
        "if cohort not in stage.cohorts:",
    ),
    _judging(
        "monitor: no opening before the soak",
        "_Order.open",
        "if self.now < earliest:",
        "if False:",
    ),
    _judging(
        "monitor: no opening without evidence",
        "_Order._open",
        "if objection is not None:",
        "if False:",
    ),
    _judging(
        "monitor: no opening while devices are missing",
        "_Order._open",
        "if short:",
        "if False:",
    ),
    _judging(
        "monitor: no longer than thirty days after people",
        "_Order._until",
        "self.now + self.terms.valid_for, bound, self.said.expires",
        "self.now + self.terms.valid_for, self.said.expires",
    ),
    _judging(
        "monitor: nothing goes on while a stop is due",
        "judge_order",
        "if not work.acts:",
        "if True:",
    ),
    _judging(
        "monitor: no renewal of what is done",
        "_Order.renew",
        "if self._finished():",
        "if False:",
    ),
    _gate(
        "monitor: silence opens no gate",
        "gate_objection",
        "_silence_fails(one, evidence.silent.get(place, 0))",
        "one",
    ),
    _gate(
        "monitor: somebody confirmed",
        "gate_objection",
        "if done == 0:",
        "if False:",
    ),
    _gate(
        "monitor: no fewer confirmed than failed",
        "gate_objection",
        "if failed > done:",
        "if False:",
    ),
    _intake(
        "monitor: the device signed its report",
        "Intake._report",
        "if not report_counts(open_as(read_envelope(envelope), Enrolment), opened):",
        "if False:",
    ),
    _intake(
        "monitor: a key in two places is left out",
        "Intake._report",
        "self._quarantine(said.enrolment, said.number)",
        "pass",
    ),
    _intake(
        "monitor: what lies beyond a gap is not taken",
        "Intake._report",
        'if verdict != "next":',
        'if verdict == "known":',
    ),
    _intake(
        "monitor: an enrolment that was ended stands no more",
        "Intake._settle",
        "found.id == id_ and ended is None",
        "found.id == id_",
    ),
    _intake(
        "monitor: somebody entitled ended it",
        "Intake._end",
        "if row is None or not ending_counts(",
        "if row is None or not (lambda *_: True)(",
    ),
    _intake(
        "monitor: a stop names an order, or counts nowhere",
        "Intake.counts",
        "id = ? AND kind = 'order'",
        "id = ?",
    ),
    _intake(
        "monitor: the author signed what is kept",
        "Intake._paper",
        "if said.fleet != self._judge.roster.fleet or self._judge.signer_key(opened) is None:",
        "if False:",
    ),
    _feed(
        "monitor: the entries lead to the checkpoint's root",
        "Feed._verify",
        "if tree.root() != said.root:",
        "if False:",
        "test_a_log_that_became_shorter_or_other",
    ),
    _feed(
        "monitor: no statement is kept back",
        "_behind",
        "if envelope is None:",
        "if envelope is None and False:",
        "test_a_stop_that_the_server_keeps_back",
    ),
    _feed(
        "monitor: the statement is the one that the log names",
        "_behind",
        "if found != fact.id:",
        "if False:",
        "test_another_statement_than_the_log_names",
    ),
)
