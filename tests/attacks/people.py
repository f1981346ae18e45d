"""What people sign, and what somebody who stole a person's key signs in his name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import TargetFile

from interlock_core.names import ROSTER_PATH
from interlock_core.order import Authorisation, Go, Stage, Stop
from interlock_core.roster import Grant, Person, Roster
from interlock_core.statement import Envelope, Opened, open_as, sign
from tests.client.world import (
    APPROVERS,
    CANARY,
    MONITOR,
    OPERATOR,
    WARDS,
    Release,
    Rollout,
    World,
)

IMAGE = b"an image that was signed " * 200
DAY = 86_400
Gate = Literal["auto", "manual"]


def stage(*cohorts: str, share: int = 10_000, soak: int = 0, gate: Gate = "manual") -> Stage:
    """A stage of ``cohorts``, whole and without a soak unless said (basis points, seconds)."""
    return Stage(cohorts=cohorts, basis_points=share, soak_seconds=soak, gate=gate)


class People:
    """The fleet's people, with their own keys.

    Attributes:
        world: the fleet.
    """

    world: World

    # Releases and rollouts

    def release(self, version: str = "1.0.0", data: bytes = IMAGE, **facts: Any) -> Release:
        """Publish an image; nobody has ordered it yet."""
        return self.world.release(version, data, **facts)

    def order(self, *stages: Stage, release: Release | None = None, **changes: Any) -> Rollout:
        """An order that was authorised and that nobody has opened; it is not shown yet."""
        if stages:
            changes["stages"] = stages
        rollout = self.world.order(release or self.release(), **changes)
        self.world.authorise(rollout, "order", rollout.order.id)
        return rollout

    def started(self, *stages: Stage, **changes: Any) -> Rollout:
        """An order whose stage 0 is open; it is not shown yet."""
        rollout = self.order(*stages, **changes)
        self.world.open_stage(rollout)
        return rollout

    def go(self, author: str, rollout: Rollout, **fields: Any) -> Opened[Go]:
        """A ``go`` with the author's signature and nobody else's."""
        now = self.world.clock()
        made: dict[str, Any] = {
            "order": rollout.order.id,
            "stage": 0,
            "act": "open",
            "renews": None,
            "clears": (),
            "opened_at": now,
            "valid_until": now + timedelta(days=7),
            "seq": 1,
        }
        opened = open_as(self.world.by(author, Go(**self.world.said(author) | made | fields)), Go)
        rollout.chain.append(opened.envelope)
        return opened

    def renew(self, author: str, rollout: Rollout, opening: Opened[Go], **fields: Any) -> None:
        """The author alone prolongs ``opening`` by a week from now."""
        again = {"act": "renew", "renews": opening.id, "opened_at": opening.said.opened_at}
        self.go(author, rollout, stage=opening.said.stage, **again | fields)

    def word(
        self,
        rollout: Rollout,
        author: str,
        about: Opened[Any],
        *,
        key: CryptoSigner | None = None,
        **fields: Any,
    ) -> None:
        """The author authorises an order or a go of this rollout, as an approver unless said."""
        made: dict[str, Any] = {
            "authorises": type(about.said).__name__.lower(),
            "id": about.id,
            "role": "approver",
            "meaning": "approved",
        }
        said = Authorisation(**self.world.said(author) | made | fields)
        rollout.authorisations.append(sign(said, key or self.world.people[author]))

    def stops(self, author: str, order: str, number: int, **scope: Any) -> list[Envelope]:
        """As many stops of an order, each another statement."""
        said = self.world.said(author)
        made = {"order": order, "cohort": None, "site": None} | scope
        return [
            self.world.by(author, Stop(**said | {"reason": f"because {n}"} | made))
            for n in range(number)
        ]

    def impostor(self, name: str) -> CryptoSigner:
        """A stranger's key under the id of this person's."""
        key = Ed25519PrivateKey.generate()
        keyid = self.world.people[name].public_key.keyid
        return CryptoSigner(key, SSlibKey.from_crypto(key.public_key(), keyid))

    @contextmanager
    def stranger_as(self, name: str) -> Iterator[None]:
        """Inside, a stranger signs in this person's name and under her key id."""
        honest, self.world.people[name] = self.world.people[name], self.impostor(name)
        yield
        self.world.people[name] = honest

    def short_of(
        self, what: str | None, author: str | None = None, *, seconds: str = "approver", **word: Any
    ) -> Rollout:
        """A rollout in its second stage, stopped and resumed, with two words about each step.

        Args:
            what: the step about which the second approver kept silent: ``order``, ``start``,
                ``advance`` or ``resume``.
            author: who said something instead.
            seconds: the role in which the second approver speaks.
            word: what is unusual about what was said instead.
        """
        rollout = self.world.order(self.release(), stages=(stage(CANARY), stage(WARDS)))
        halt = self.world.stop(rollout)
        steps: dict[str, Opened[Any]] = {
            "order": rollout.order,
            "start": self.go(OPERATOR, rollout),
            "advance": self.go(OPERATOR, rollout, stage=1),
            "resume": self.go(OPERATOR, rollout, stage=1, act="resume", clears=(halt.id,)),
        }
        for step, about in steps.items():
            self.word(rollout, APPROVERS[0], about)
            if step != what:
                self.word(rollout, APPROVERS[1], about, role=seconds)
            elif author is not None:
                self.word(rollout, author, about, **word)
        return rollout

    @staticmethod
    def goes(rollout: Rollout) -> list[Opened[Go]]:
        """The links of its chain."""
        return [open_as(link, Go) for link in rollout.chain]

    def kept_alive_by_a_monitor(self, act: str, days: int) -> Rollout:
        """An auto stage that nobody but the monitor has looked at for so long."""
        rollout = self.started(stage(CANARY), stage(WARDS, gate="auto"))
        opening = self.go(MONITOR, rollout, stage=1)
        began, again = opening.said.at, {"renews": opening.id} if act == "renew" else {}
        for day in range(6, days, 6):
            self.world.clock.now = began + timedelta(days=day)
            self.go(MONITOR, rollout, stage=1, act=act, opened_at=began, seq=day, **again)
        self.world.clock.now = began + timedelta(days=days)
        self.world.refresh()
        return rollout

    # The roster

    def roster(self, **changes: Any) -> Roster:
        """A new roster, published; ``changes`` replace fields of the honest one."""
        roster = self.world.put_roster(**changes)
        self.world.image.publish()
        for cohort in self.world.cohorts:
            self.world.bundle(cohort)
        return roster

    def person(self, name: str) -> Person:
        """As the honest roster has her."""
        [person] = [one for one in self.world.put_roster().persons if one.name == name]
        return person

    def roster_with(self, *persons: Person, **changes: Any) -> None:
        """A roster in which these persons are as given."""
        new = {person.name: person for person in persons}
        known = self.world.put_roster().persons
        self.roster(persons=tuple(new.get(one.name, one) for one in known), **changes)

    def roster_without(self, name: str) -> None:
        """A roster that one person left."""
        known = self.world.put_roster().persons
        self.roster(persons=tuple(one for one in known if one.name != name))

    def roster_asking(self, **rules: Any) -> None:
        """A roster whose one rule differs."""
        roster = self.world.put_roster()
        rule = msgspec.structs.replace(roster.rules[0], **rules)
        self.roster(rules=(rule,))

    def roster_asking_two(self, *persons: Person, rule: dict[str, int] | None = None) -> None:
        """A roster that asks for two at every step, in which these persons are as given."""
        [asked] = self.world.put_roster().rules
        two = dict.fromkeys(("start", "advance", "resume"), rule or {"approver": 2})
        self.roster_with(*persons, rules=(msgspec.structs.replace(asked, **two),))

    def raw_roster(self, data: bytes) -> None:
        """A roster of any bytes, signed by its holders."""
        info = TargetFile.from_data(ROSTER_PATH, data, ["sha256"])
        self.world.put_target("image", info, data)
        self.world.put_role("interlock", {ROSTER_PATH: info})
        self.world.image.publish()
        self.world.bundle(WARDS)

    def also(self, person: Person, role: str) -> Person:
        """The same person with one more role."""
        more = Grant(role=role, cohorts=("*",), expires=person.grants[0].expires)
        return msgspec.structs.replace(person, grants=(*person.grants, more))
