"""What people sign, and what somebody who stole a person's key signs in his name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

import msgspec

from interlock_core.order import Authorisation, Go, Stage, Stop
from interlock_core.roster import Grant, Person, Roster
from interlock_core.statement import Envelope, Opened, open_as
from tests.client.world import Release, Rollout, World

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
        self, rollout: Rollout, author: str, about: Opened[Any], **fields: Any
    ) -> Opened[Authorisation]:
        """The author authorises an order or a go of this rollout, as an approver unless said."""
        made: dict[str, Any] = {
            "authorises": type(about.said).__name__.lower(),
            "id": about.id,
            "role": "approver",
            "meaning": "approved",
        }
        envelope = self.world.by(author, Authorisation(**self.world.said(author) | made | fields))
        rollout.authorisations.append(envelope)
        return open_as(envelope, Authorisation)

    def stops(self, author: str, order: str, number: int, **scope: Any) -> list[Envelope]:
        """As many stops of an order, each another statement."""
        said = self.world.said(author)
        made = {"order": order, "cohort": None, "site": None} | scope
        return [
            self.world.by(author, Stop(**said | {"reason": f"because {n}"} | made))
            for n in range(number)
        ]

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
        [rule] = self.world.put_roster().rules
        self.roster(rules=(msgspec.structs.replace(rule, **rules),))

    def also(self, person: Person, role: str) -> Person:
        """The same person with one more role."""
        more = Grant(role=role, cohorts=("*",), expires=person.grants[0].expires)
        return msgspec.structs.replace(person, grants=(*person.grants, more))
