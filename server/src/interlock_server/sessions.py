"""Who is asking: challenges that a person signs, and short-lived tokens to read with.

Rules:

1. No passwords. A person signs the server's challenge with a key that the roster gives him, in a
   ``session`` statement; the token reads, and does nothing else.
2. A challenge is good once, for two minutes. What was used is remembered until it would have
   expired; what was never answered is remembered nowhere, so that asking costs nothing.
3. A token is good for 15 minutes and names a person. At each use that person must still be in the
   roster with a grant that has not expired.
4. Both are signed with a secret that ``init`` made and the database keeps.
5. What a person may read follows from the grants that she holds now: one that is not limited to
   sites reads the fleet, one that is reads its sites, a monitor's reads what a monitor needs.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from msgspec import UNSET
from sqlalchemy import delete

from interlock_core.api import Challenge, Token
from interlock_core.clock import Clock
from interlock_core.errors import RefusedError
from interlock_core.roster import MONITOR, Judge, Person, Roster
from interlock_core.statement import Session, open_as, read_envelope
from interlock_core.store import Store
from interlock_core.wire import sha256_hex
from interlock_server.db.session import Database
from interlock_server.db.tables import UsedChallengeRow
from interlock_server.image import read_released
from interlock_server.refusals import Refusals

CHALLENGE_LIFETIME: Final = timedelta(minutes=2)
TOKEN_LIFETIME: Final = timedelta(minutes=15)


class Reader(Enum):
    """As what somebody reads (rule 5)."""

    FLEET = "fleet"
    SITE = "site"
    MONITOR = "monitor"


@dataclass(frozen=True)
class Reading:
    """Somebody who reads.

    Attributes:
        person: who.
        kinds: as what.
        sites: the hospitals that she sees; None for all.
    """

    person: str
    kinds: frozenset[Reader]
    sites: frozenset[str] | None


def reading_of(person: Person, now: datetime) -> Reading:
    """What a person may read (rule 5)."""
    kinds: set[Reader] = set()
    sites: set[str] = set()
    for grant in person.grants:
        if grant.expires <= now:
            continue
        if grant.role == MONITOR:
            kinds.add(Reader.MONITOR)
        elif grant.sites is UNSET:
            kinds.add(Reader.FLEET)
        else:
            kinds.add(Reader.SITE)
            sites.update(grant.sites)
    wide = kinds & {Reader.FLEET, Reader.MONITOR}
    return Reading(person.name, frozenset(kinds), None if wide else frozenset(sites))


class _ClockSigner(TimestampSigner):
    """Takes the time from our clock."""

    def __init__(self, *args: Any, clock: Clock, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock().timestamp())


class Sessions:
    """Gives out challenges and tokens.

    Args:
        database: remembers used challenges.
        store: holds the roster.
        refusals: counts them.
        secret: signs both (rule 4).
        fleet: ours.
        clock: now.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        refusals: Refusals,
        secret: bytes,
        fleet: str,
        clock: Clock,
    ) -> None:
        self._database = database
        self._store = store
        self._refusals = refusals
        self._fleet = fleet
        self._clock = clock
        self._challenges, self._tokens = (
            URLSafeTimedSerializer(
                secret,
                salt=f"interlock {what} v1",
                signer=_ClockSigner,
                signer_kwargs={"clock": clock, "digest_method": hashlib.sha256},
            )
            for what in ("challenge", "token")
        )

    def challenge(self) -> Challenge:
        """A new challenge (rule 2)."""
        text = self._challenges.dumps(secrets.token_urlsafe(16))
        assert isinstance(text, str)
        return Challenge(challenge=text, expires=self._clock() + CHALLENGE_LIFETIME)

    def token(self, data: bytes) -> Token:
        """A token for whoever signed a challenge (rule 1).

        Args:
            data: the envelope of a ``session`` statement.

        Raises:
            WireError: malformed.
            RefusedError: ``wrong_fleet``, ``unknown_author``, ``bad_signature``, ``no_grant`` or
                ``bad_challenge``.
            TransientError: the store or the database failed.
        """
        opened = open_as(read_envelope(data), Session)
        with self._refusals.counted("session"):
            now = self._clock()
            roster = self._roster()
            if opened.said.fleet != self._fleet:
                raise RefusedError(
                    f"The answer is for fleet {opened.said.fleet}: this is {self._fleet}.",
                    reason="wrong_fleet",
                )
            _check_person(roster, opened.said.author, now)
            if Judge(roster, now).signer_key(opened) is None:
                raise RefusedError(
                    f"No key that the roster gives {opened.said.author} made this signature.",
                    reason="bad_signature",
                )
            self._use(opened.said.challenge, now)
        text = self._tokens.dumps(opened.said.author)
        assert isinstance(text, str)
        return Token(token=text, expires=now + TOKEN_LIFETIME)

    def reader(self, token: str) -> Reading:
        """Whose token this is, and what she may read (rules 3 and 5).

        Raises:
            RefusedError: ``bad_token``, or as ``token``: that person may not read any more.
            TransientError: the store failed.
        """
        try:
            name = self._tokens.loads(token, max_age=int(TOKEN_LIFETIME.total_seconds()))
        except BadData as e:
            raise RefusedError(
                "The token is not ours or has expired: sign a new challenge.", reason="bad_token"
            ) from e
        now = self._clock()
        return reading_of(_check_person(self._roster(), str(name), now), now)

    def _roster(self) -> Roster:
        roster = read_released(self._store).roster
        if roster is None:
            raise RefusedError(
                "No roster is published, so nobody is known yet.", reason="no_roster"
            )
        return roster

    def _use(self, challenge: str, now: datetime) -> None:
        try:
            lifetime = int(CHALLENGE_LIFETIME.total_seconds())
            nonce = self._challenges.loads(challenge, max_age=lifetime)
        except BadData as e:
            raise RefusedError(
                "The challenge is not ours or has expired: ask for a new one.",
                reason="bad_challenge",
            ) from e
        id_ = sha256_hex(str(nonce).encode())
        with self._database.writing() as session:
            session.execute(delete(UsedChallengeRow).where(UsedChallengeRow.expires < now))
            if session.get(UsedChallengeRow, id_) is not None:
                raise RefusedError(
                    "The challenge was answered before: ask for a new one.", reason="bad_challenge"
                )
            expires = now + CHALLENGE_LIFETIME + timedelta(seconds=1)
            session.add(UsedChallengeRow(id=id_, expires=expires))


def _check_person(roster: Roster, name: str, now: datetime) -> Person:
    person = next((person for person in roster.persons if person.name == name), None)
    if person is None:
        raise RefusedError(f"The roster knows no person {name[:63]}.", reason="unknown_author")
    if all(grant.expires <= now for grant in person.grants):
        raise RefusedError(f"Every grant of {name} has expired.", reason="no_grant")
    return person
