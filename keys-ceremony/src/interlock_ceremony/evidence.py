"""One ceremony as its transcript, its roots and the ceremonies before it show it (pure).

Rules:

1. The script is in the transcript; with what was in force it gives the plan.
2. A file is the one whose SHA-256 the transcript tells of, or it does not belong here. Which files
   those are is kept: whatever else stands there, nobody vouches for.
3. A key is what the new root spells under the id that the transcript tells of. A key that signs
   the transcript alone stands in no root, and is what the transcript spells.
4. No key is there twice, under any id: within a root, across both, and across all ceremonies. But
   whoever brought a key to sign a transcript with may bring it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property, partial

from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Metadata, Root

from interlock_ceremony import acts, metadata, quorum, script, sense, transcript
from interlock_ceremony.acts import Began, KeyAttends, KeyImported, KeyMade, MetadataSigned
from interlock_ceremony.fingerprint import fingerprint
from interlock_ceremony.forms import Later, Repository, Script
from interlock_ceremony.plan import Plan, metadata_file
from interlock_ceremony.script import ScriptError
from interlock_ceremony.standing import Retired, Standing, known
from interlock_ceremony.taken import Taken, take
from interlock_ceremony.transcript import Transcript
from interlock_core import tuf_metadata
from interlock_core.ceremony_output import FLEET
from interlock_core.errors import NotFoundError, RefusedError
from interlock_core.genesis import DIRECTOR, IMAGE, ONLINE_ROLES, FleetFile, read_fleet
from interlock_core.keybytes import check_key
from interlock_core.wire import format_time, sha256_hex


class Evidence:
    """One ceremony.

    Attributes:
        told: its transcript, whose chain holds.
        files: everything that stands beside it.
        began: its first entry.
        held: when.
        taken: the top-level targets that it took over, or None at the genesis.
        plan: what its script asks for.
        roots: the newest roots after it.
        keys: every key that signed or was imported, by name.
        used: the files that something was proved of.
    """

    def __init__(
        self,
        told: Transcript,
        files: Mapping[str, bytes],
        before: Standing | None,
        number: int,
        *,
        rehearsal: bool,
    ) -> None:
        """Read the evidence.

        Raises:
            RefusedError, WireError, NotFoundError: as ``audit.audit``.
        """
        self.told = told
        self.files = files
        self.used: set[str] = set()
        self.began = _began(told, before, number, rehearsal=rehearsal)
        self.held = told.entries[0].at
        self._before = before
        self._check_digests()
        self.taken = self._taken()
        self.plan = self._plan()
        self.roots: dict[Repository, Metadata[Root]] = {
            IMAGE: self._root(IMAGE),
            DIRECTOR: self._root(DIRECTOR),
        }
        self.keys = self._keys()

    def file(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            NotFoundError: it is missing.
        """
        older = f"{metadata.OLDER_TARGETS}/{name.rpartition('/')[2]}"
        if name not in self.files and (name.endswith(".root.json") or older not in self.files):
            raise NotFoundError(f"There is no {name} beside the transcript: copy it there.")
        found = name if name in self.files else older
        self.used.add(found)
        return self.files[found]

    def possession(self, name: str) -> acts.PossessionProven:
        """The proof of a key, as the transcript has it."""
        return acts.possession_proven(name, self.keys[name], self._proofs.get(name, ""))

    def fleet(self) -> acts.FleetNamed | None:
        """What a genesis says of ``fleet.json``; None for a later ceremony.

        Raises:
            RefusedError: ``wrong_metadata``: it names another fleet or other roots.
        """
        if self._before is not None:
            return None
        data = self.file(FLEET)
        fleet = read_fleet(data)
        named = FleetFile(
            fleet=self.plan.script.fleet,
            image_root=sha256_hex(self.file(metadata.IMAGE_ROOT)),
            director_root=sha256_hex(self.file(metadata.DIRECTOR_ROOT)),
        )
        if fleet != named:
            raise wrong_metadata(FLEET, "it names another fleet or other roots")
        return acts.fleet_named(fleet, data)

    def standing(self) -> Standing:
        """What the ceremony left in force."""
        plan, before = self.plan, self._before
        held = {duty.key for state in plan.roles.values() for duty in state.holders}
        keys = {
            name: key for name, key in self.all_keys.items() if name in held | set(ONLINE_ROLES)
        }
        retired = tuple(
            Retired(name, before.keys[name], why, plan.number)
            for name, why in plan.retires.items()
            if before is not None
        )
        new = {duty.key for duty in plan.makes} | {one.key for one in plan.attends}
        attended = {fingerprint(self.keys[one.key]): one.person for one in plan.attends}
        roots: Mapping[Repository, int] = before.roots if before else {}
        targets = next((s for s in plan.signings if s.role == "targets"), None)
        if targets is not None:
            newest = targets.version, sha256_hex(self.file(targets.file))
        else:
            assert self.taken is not None
            newest = self.taken.version, sha256_hex(self.taken.data)
        return Standing(
            number=plan.number,
            fleet=plan.script.fleet,
            head=self.told.head,
            people={**(before.people if before else {}), **plan.script.persons},
            roles=plan.roles,
            keys=keys,
            retired=(*(before.retired if before else ()), *retired),
            attended={**(before.attended if before else {}), **attended},
            names=(before.names if before else frozenset()) | new,
            roots={**roots, **plan.new_roots()},
            targets=newest,
            ended=self.told.entries[-1].at,
        )

    @cached_property
    def _proofs(self) -> dict[str, str]:
        found = (e.act for e in self.told.entries if isinstance(e.act, acts.PossessionProven))
        return {act.key: act.proof for act in found}

    @cached_property
    def all_keys(self) -> dict[str, SSlibKey]:
        """Every key in force before, or new, by name; a new one takes a name over."""
        return {**(self._before.keys if self._before else {}), **self.keys}

    def _check_digests(self) -> None:
        for entry in self.told.entries:
            act = entry.act
            if isinstance(act, MetadataSigned) and sha256_hex(self.file(act.file)) != act.sha256:
                raise wrong_metadata(act.file, "it is not the file that the transcript names")

    def _taken(self) -> Taken | None:
        if self._before is None:
            return None
        told = (e.act for e in self.told.entries if isinstance(e.act, acts.TargetsTaken))
        act = next(told, None)
        if act is None:
            raise wrong_acts("no entry tells of the targets that were taken over")
        file = metadata_file(IMAGE, "targets", act.version)
        data = self.file(file)
        if sha256_hex(data) != act.sha256:
            raise wrong_metadata(file, "it is not the file that the transcript names")
        newest = self.file(metadata_file(IMAGE, "root", self._before.roots[IMAGE]))
        root = tuf_metadata.parse_metadata(newest, Root, what="image root").signed
        return take(data, root, self._before.targets, rehearsal=self.began.rehearsal)

    def _plan(self) -> Plan:
        """The plan of the script that the transcript holds, checked as the ceremony checked it."""
        what = "the transcript's script"
        try:
            read, text = script.parse(self.began.script.encode(), what=what)
            match read:
                case Script() if self._before is None:
                    plan, problems = sense.genesis(read, self.held)
                case Later() if self._before is not None and self.taken is not None:
                    plan, problems = sense.later(read, self.held, self._before, self.taken)
                case _:
                    raise RefusedError(
                        f"Ceremony {self.began.number} cannot follow such a script: the first one "
                        "is a genesis, and every later one a change.",
                        reason="bad_script",
                    )
            if problems:
                raise script.error(text, problems, what=what)
        except ScriptError as e:
            raise RefusedError(
                f"No ceremony follows such a script: {e.problems[0]}", reason="bad_script"
            ) from e
        return plan.rehearsed() if self.began.rehearsal else plan

    def _root(self, repository: Repository) -> Metadata[Root]:
        """The newest root, verified under the one before if it is new."""
        current = self._before.roots[repository] if self._before else 0
        new = self.plan.new_roots().get(repository)
        trusted = self.file(metadata_file(repository, "root", current)) if current else None
        if new is None:
            assert trusted is not None
            return tuf_metadata.parse_metadata(trusted, Root, what=f"{repository} root")
        data = self.file(metadata_file(repository, "root", new))
        return tuf_metadata.verify_root(data, trusted, self.held, rehearsal=self.began.rehearsal)

    def _keys(self) -> dict[str, SSlibKey]:
        plan = self.plan
        keys = {duty.key: plan.before.keys[duty.key] for duty in plan.opens if plan.before}
        seen: dict[str, str] = {}
        people = {one.key: one.person for one in plan.attends}
        before = cache(partial(known, plan.before))
        for name, key in self._new_keys():
            public = fingerprint(key)
            taken = before(people.get(name)) | seen
            if public in taken:
                raise RefusedError(
                    f"{name} and {taken[public]} are one key: whoever has it is two.",
                    reason="shared_key",
                )
            seen[public] = name
            keys[name] = key
        for name in plan.imports:
            if not quorum.may_sign_online(name, keys[name].scheme):
                raise RefusedError(
                    f"{name} is a key of a kind that cannot sign a timestamp.", reason="bad_key"
                )
        return keys

    def _new_keys(self) -> Iterator[tuple[str, SSlibKey]]:
        """Every key that came, by name (rule 3)."""
        keyids = {
            entry.act.key: entry.act.keyid
            for entry in self.told.entries
            if isinstance(entry.act, KeyMade | KeyImported)
        }
        places: list[tuple[str, str]] = [(duty.key, duty.repository) for duty in self.plan.makes]
        places += [(name, ONLINE_ROLES[name][0][0]) for name in self.plan.imports]
        for name, where in places:
            repository: Repository = IMAGE if where == IMAGE else DIRECTOR
            root = self.roots[repository].signed
            if name not in keyids:
                raise wrong_acts(f"no entry tells of the key {name}")
            if keyids[name] not in root.keys:
                file = metadata_file(repository, "root", root.version)
                raise wrong_metadata(file, f"it does not name the key {name}")
            yield name, check_key(root.keys[keyids[name]])
        attending = {
            entry.act.key: entry.act.public
            for entry in self.told.entries
            if isinstance(entry.act, KeyAttends)
        }
        for one in self.plan.attends:
            if one.key not in attending:
                raise wrong_acts(f"no entry tells of the key {one.key}")
            yield one.key, attending[one.key].sslib()


def _began(told: Transcript, before: Standing | None, number: int, *, rehearsal: bool) -> Began:
    began = told.entries[0].act
    if not isinstance(began, Began):
        raise wrong_acts("entry 1 must be the opening of the script")
    if began.rehearsal != rehearsal:
        raise RefusedError(
            "This transcript is of a rehearsal, whose keys were thrown away: verify the ceremony's."
            if began.rehearsal
            else "This transcript is not of a rehearsal.",
            reason="rehearsal",
        )
    if before is not None and told.entries[0].at < before.ended:
        raise transcript.clock_back(
            f"ceremony {number} began at {format_time(told.entries[0].at)}, and the one before "
            f"ended at {format_time(before.ended)}"
        )
    if (began.number, began.previous) != (number, before.head if before else None):
        raise RefusedError(
            f"The transcript of ceremony {number} does not follow the one before it: ask for the "
            "originals of both.",
            reason="broken_chain",
        )
    return began


def wrong_acts(why: str) -> RefusedError:
    """The transcript tells of other acts than its script and keys give."""
    return RefusedError(f"The transcript does not follow its script: {why}.", reason="wrong_acts")


def wrong_metadata(file: str, why: str) -> RefusedError:
    """A file is not what script and keys give."""
    return RefusedError(
        f"{file} does not belong to this ceremony: {why}. Get the original.",
        reason="wrong_metadata",
    )


def extra_file(names: Iterable[str]) -> RefusedError:
    """Files stand beside a transcript that none names."""
    return RefusedError(
        f"No transcript names {', '.join(names)}: nothing is proved of it. Remove it, or take the "
        "original medium, and verify again.",
        reason="extra_file",
    )
