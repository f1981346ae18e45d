"""Checks of what people signed offline, before it is published, and of permits where they count."""

from __future__ import annotations

from typing import Final

from infra.removals.removal import CLIENT, CORE, Removal

WITHDRAWN = ("tests/core/test_withdrawn.py",)
TOGETHER = ("tests/server/test_together.py", "tests/server/test_publications.py")
HYBRID = ("tests/core/test_hybrid.py",)
PERMITS = ("tests/attacks/test_permits.py",)
REBASE = "tests/repo_tools/test_rebase.py"
VETTING = "tests/repo_tools/test_vetting.py"
SERVER = "server/src/interlock_server/"
REPO = "repo-tools/src/interlock_repo/"


def _core(
    what: str, module: str, within: str, old: str, new: str, tests: tuple[str, ...]
) -> Removal:
    return Removal(f"publish: {what}", f"{CORE}{module}.py", within, old, new, tests)


def _server(what: str, module: str, within: str, old: str, new: str) -> Removal:
    return Removal(f"publish: {what}", f"{SERVER}{module}.py", within, old, new, TOGETHER)


PUBLISHING: Final[tuple[Removal, ...]] = (
    _core(
        "new delegations keep the hybrid rule",
        "tuf_metadata",
        "verify_new_offline",
        "            check_hybrid_roles(metadata.signed)\n",
        "            pass\n",
        HYBRID,
    ),
    _core(
        "a new root keeps the hybrid rule",
        "tuf_metadata",
        "verify_root",
        "        check_hybrid_roles(root)\n",
        "        pass\n",
        HYBRID,
    ),
    _core(
        "a hybrid role asks for two more than its larger family has",
        "hybrid",
        "least_threshold",
        "max(classical, post_quantum) + SPARE",
        "max(classical, post_quantum)",
        HYBRID,
    ),
    _core(
        "a counter that was withdrawn stays used",
        "withdrawn",
        "highest_counter",
        "    counters += [one.release_counter for one in gone.values()]\n",
        "",
        WITHDRAWN,
    ),
    _core(
        "a version that was withdrawn stays used",
        "released",
        "check_release",
        " | gone.keys()",
        "",
        WITHDRAWN,
    ),
    _core(
        "what was withdrawn stays said",
        "released",
        "_check_withdrawn",
        "if new.get(version) != one:",
        "if False:",
        WITHDRAWN,
    ),
    _core(
        "a withdrawal says what was released",
        "released",
        "_check_withdrawn",
        "if before is None or stated != withdraw(\n"
        "            before, version, at=stated.at, reason=stated.reason\n        ):",
        "if False:",
        WITHDRAWN,
    ),
    _core(
        "no image of a withdrawn release stays",
        "released",
        "_check_kept",
        "            if path in new:\n",
        "            if False:\n",
        WITHDRAWN,
    ),
    _core(
        "a permit lies where permits lie",
        "released",
        "read_facts",
        "if version == PERMITS and not isinstance(facts, PermitFacts):",
        "if False:",
        WITHDRAWN,
    ),
    _core(
        "of one move no more permits than a gateway reads",
        "released",
        "_check_permits",
        "len(paths) > MAX_PERMITS or",
        "False or",
        WITHDRAWN,
    ),
    _core(
        "of one move no more bytes of permits than a gateway reads",
        "released",
        "_check_permits",
        "or size > MAX_PERMITS_BYTES",
        "or False",
        WITHDRAWN,
    ),
    _core(
        "a permit is what its facts say",
        "release",
        "read_permit",
        "if facts_of(permit) != facts:",
        "if False:",
        WITHDRAWN,
    ),
    _server(
        "no role is orphaned by new delegations",
        "offline",
        "_verify",
        "        _check_none_orphaned(metadata.signed, stored, with_it)\n",
        "        pass\n",
    ),
    _server(
        "what comes with new delegations is judged by them",
        "offline",
        "verify",
        "            top = part.targets\n",
        "            pass\n",
    ),
    _server(
        "a permit is of this fleet",
        "releases",
        "check_permit",
        "if permit.fleet != fleet:",
        "if False:",
    ),
    _server(
        "a permit is for somebody, and leads somewhere",
        "releases",
        "check_permit",
        "if not (permit.devices or permit.cohorts) or permit.from_sha256 == permit.to_sha256:",
        "if False:",
    ),
    Removal(
        "delegations: a key that left a role does not come back",
        f"{REPO}delegations.py",
        "check_none_returns",
        "if public in _held(targets, name):",
        "if False:",
        ("tests/repo_tools/test_delegate.py",),
    ),
    Removal(
        "rebase: what is revoked is what people were shown",
        f"{REPO}rebasing.py",
        "_check_permits",
        "if not left - over <= said <= left:",
        "if False:",
        ("tests/repo_tools/test_rebase.py",),
    ),
    Removal(
        "permits: one is spent with the confirmation",
        f"{CLIENT}memory.py",
        "Memory.confirming",
        "spent_permits=(*self.spent_permits, *spent)[-MAX_SPENT:],",
        "",
        PERMITS,
    ),
    Removal(
        "permits: no more are read than of one move",
        f"{CLIENT}permits.py",
        "have",
        "number >= MAX_PERMITS or one.target.length > room",
        "False",
        PERMITS,
    ),
    Removal(
        "permits: what cannot be had ends no decision",
        f"{CLIENT}permits.py",
        "have",
        "except (RefusedError, TransientError, WireError) as e:",
        "except WireError as e:",
        PERMITS,
    ),
    Removal(
        "permits: the content is what was signed",
        f"{CLIENT}permits.py",
        "_fetched",
        "data = target_bytes(server, BundleFetcher(server, None), IMAGE, one.target, MAX_PERMIT)",
        'data = server.get(f"/image/targets/{one.target.path.rpartition(chr(47))[0]}/{one.digest}.'
        '{one.target.path.rpartition(chr(47))[2]}", limit=MAX_PERMIT).body',
        PERMITS,
    ),
    Removal(
        "events: a signature is for the event that it was made under",
        f"{REPO}reading.py",
        "_Reader._check_unchanged",
        "if edited or f.event_sha256 != self._digest",
        "if edited",
        (f"{REBASE}::TestChanged::test_the_base_counts_too",),
    ),
    Removal(
        "events: a specification gives what people were shown",
        f"{REPO}rebasing.py",
        "_check_intent",
        "raise _other_intent(event)",
        "return",
        (f"{REBASE}::TestRebase::test_a_specification_that_was_exchanged_is_refused",),
    ),
    Removal(
        "events: whoever is supported gets over a barrier, when it is signed",
        f"{REPO}vetting.py",
        "vet",
        "check_reach(targets, before, now.date())",
        "",
        (f"{VETTING}::TestBarrier::test_nobody_signs_one_that_was_made_by_other_means",),
    ),
    Removal(
        "publish: every client arrives at what is staged",
        f"{SERVER}trial.py",
        "_Trial._check_version",
        "if arrived != self._arrival[role]:",
        "if False:",
        ("tests/server/test_trial.py::TestClients::test_a_timestamp_whose_number_does_not_rise",),
    ),
    Removal(
        "publish: a director is tried before its heads flip",
        f"{SERVER}heads.py",
        "Publisher._direct",
        "if tried and changed:",
        "if False:",
        (
            (
                "tests/server/test_trial.py::TestDirectors"
                "::test_a_publication_that_changes_a_director_tries_it_first"
            ),
        ),
    ),
    Removal(
        "publish: a ceremony is tried at every cohort's director",
        f"{SERVER}rotation.py",
        "rotate",
        "if roots.texts:",
        "if roots.texts and cohort == cohorts[0]:",
        (
            (
                "tests/server/test_trial.py::TestDirectors"
                "::test_a_rotation_tries_the_director_of_every_cohort"
            ),
        ),
    ),
    Removal(
        "publish: a key that was ever in one repository stays out of the other",
        f"{SERVER}ceremonies.py",
        "Ceremonies._verify",
        "_roots((*held, *director.texts))",
        "_roots((*held[-1:], *director.texts))",
        (
            (
                "tests/server/test_ceremonies.py::TestHolders"
                "::test_a_key_that_left_one_repository_long_ago_never_comes_to_the_other"
            ),
        ),
    ),
)
