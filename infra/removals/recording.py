"""Checks by which a log with another content, or two faces, is found: one removal each."""

from __future__ import annotations

from typing import Final

from infra.removals.removal import CLIENT, CORE, Removal

CHECKPOINTS = "tests/core/test_checkpoint.py"
TREES = "tests/core/test_tree.py"
AUDITS = "tests/core/test_log_audit.py"
PEOPLE = "tests/ops/test_log.py"
SHOWN = "tests/ops/test_log_shown.py"
SERVERS = "tests/server/test_log.py"
SERVER = "server/src/interlock_server/"
OPS = "server/ops/src/interlock_ops/"


def _core(what: str, module: str, within: str, old: str, new: str, test: str) -> Removal:
    return Removal(f"log: {what}", f"{CORE}{module}.py", within, old, new, (test,))


def _taking(what: str, within: str, old: str, new: str, *tests: str) -> Removal:
    return Removal(f"log: {what}", f"{OPS}taking.py", within, old, new, tests)


RECORDING: Final[tuple[Removal, ...]] = (
    _core(
        "the log's key signed the checkpoint",
        "checkpoint",
        "verify_checkpoint",
        "key.verify_signature(SslibSignature(key.keyid, one.signature.hex()), read.text.encode())",
        "pass",
        CHECKPOINTS,
    ),
    _core(
        "a checkpoint without a signature of that key is none",
        "checkpoint",
        "verify_checkpoint",
        "believed = False",
        "believed = True",
        CHECKPOINTS,
    ),
    _core(
        "a checkpoint is of the log that is meant",
        "checkpoint",
        "verify_checkpoint",
        "read.said.origin != origin",
        "False",
        CHECKPOINTS,
    ),
    _core(
        "an entry is in the log by its inclusion proof",
        "tree",
        "verify_inclusion",
        "verify(number, log.size, leaf_hash(entry), list(proof), log.root)",
        "pass",
        TREES,
    ),
    _core(
        "a log continues the one that was shown, by its consistency proof",
        "tree",
        "verify_consistency",
        "verify(old.size, old.root, new.size, new.root, list(proof))",
        "pass",
        TREES,
    ),
    _core(
        "the entries lead to the root",
        "log_audit",
        "audit",
        "Tree.of(leaves).root() == said.root",
        "True",
        AUDITS,
    ),
    _core(
        "the number of an entry stands inside it, without a gap",
        "log_audit",
        "_formed",
        "entry is None or entry.number != number",
        "entry is None",
        AUDITS,
    ),
    _core(
        "a checkpoint that somebody saw is of this log",
        "log_audit",
        "hold_against",
        "agrees = other.size <= tree.size and tree.root(other.size) == other.root",
        "agrees = True",
        AUDITS,
    ),
    _core(
        "a log that was longer when somebody saw it was cut",
        "log_audit",
        "hold_against",
        "if other.size > said.size:",
        "if False:",
        AUDITS,
    ),
    _core(
        "what anybody could have written is no evidence",
        "log_audit",
        "hold_against",
        "if one.testimony:",
        "if False:",
        AUDITS,
    ),
    _core(
        "a rollout goes from each state only where it may",
        "log_audit",
        "transitions",
        "if before not in after.get(state, ()):",
        "if False:",
        AUDITS,
    ),
    _taking(
        "the newest checkpoint continues the one remembered",
        "LogView.look",
        "self._check(before, new, text)",
        "pass",
        f"{PEOPLE}::test_a_log_with_two_faces_is_refused_and_kept",
    ),
    _taking(
        "a key of before vouches for nothing new",
        "LogView.verify",
        "keys = self._keys if older else self._keys[:1]",
        "keys = self._keys",
        f"{SHOWN}::test_a_key_of_before_vouches_for_nothing_new",
    ),
    _taking(
        "what a device was shown is held against the log",
        "LogView.doubt",
        "verify_consistency(old, new, self._proof(old.size, new.size))",
        "pass",
        f"{SHOWN}::TestDeviceShow::test_two_faces_are_named",
    ),
    Removal(
        "log: an export's records are what its entries name",
        f"{OPS}log_verify.py",
        "_match",
        "if not same_words or (newest and digest != fact.sha256):",
        "if False:",
        (f"{PEOPLE}::test_a_record_that_was_changed_or_left_out",),
    ),
    Removal(
        "log: a report's checkpoint is looked at",
        f"{OPS}log_verify.py",
        "verify",
        "others = [*older, *carried]",
        "others = [*older]",
        (f"{SHOWN}::test_log_verify_names_the_report_with_the_other_face",),
    ),
    Removal(
        "log: nothing is signed that contradicts what is published",
        f"{SERVER}checkpoints.py",
        "Checkpoints._check",
        "if before.size > tree.size or tree.root(before.size) != before.root:",
        "if False:",
        (f"{SERVERS}::test_a_database_that_was_restored_signs_nothing",),
    ),
    Removal(
        "log: numbers are given out without a gap",
        f"{SERVER}logbook.py",
        "_append",
        "head.size += 1",
        "head.size += 2",
        (f"{SERVERS}::test_what_is_rolled_back_used_no_number",),
    ),
    Removal(
        "log: a gateway keeps nothing but a checkpoint of its fleet's log",
        f"{CLIENT}log_seen.py",
        "_text",
        "read_checkpoint(text).said.origin != origin_of(fleet)",
        "False",
        ("tests/client/test_log_seen.py::test_what_is_no_checkpoint_harms_nothing",),
    ),
)
