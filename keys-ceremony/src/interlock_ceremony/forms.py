"""The fields of a script: what a genesis and every later ceremony may say (pure).

Rules:

1. A genesis says who holds which key from nothing. A later ceremony says what changes, in order,
   from what the ceremony before left behind.
2. Nothing has a default but lifetimes, the kind of a key, and what may be empty.
3. Everybody in ``persons`` is there. Who holds a key and is not there does not sign.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from interlock_core import genesis
from interlock_core.token_keys import DEFAULT_SCHEME as TOKEN_SCHEME
from interlock_core.wire import Record

MAX_HOLDERS: Final = 16
"""How many may hold keys of one role: a statement's limit on signatures, kept here too."""
MAX_CHANGES: Final = 64
DEFAULT_SCHEME: Final = "ed25519"
DEFAULT_LIFETIME_DAYS: Final = 365

Repository = Literal["image", "director"]
Role = Literal["root", "targets"]
RoleName = Literal["image.root", "image.targets", "director.root"]
OnlineName = Literal["image-online", "director-targets", "director-online"]

Text = Annotated[str, Meta(min_length=1, max_length=1024)]


class RoleScript(Record, frozen=True, kw_only=True):
    """Who holds an offline role.

    Attributes:
        holders: persons, each with a key of their own for this role.
        threshold: how many of them must sign.
        lifetime_days: from the ceremony to the expiry of what they sign here.
        schemes: the kind of a person's key, where it is not the default.
        tokens: where a person's key is made inside a PKCS#11 token: ``hsm:<number>?label=<token>``.
    """

    holders: Annotated[tuple[str, ...], Meta(max_length=MAX_HOLDERS)]
    threshold: int
    lifetime_days: int = DEFAULT_LIFETIME_DAYS
    schemes: dict[str, str] = msgspec.field(default_factory=dict)
    tokens: dict[str, Text] = msgspec.field(default_factory=dict)


class ImageScript(Record, frozen=True, kw_only=True):
    """The image repository's offline roles."""

    root: RoleScript
    targets: RoleScript


class DirectorScript(Record, frozen=True, kw_only=True):
    """The directors' one offline role."""

    root: RoleScript


class OnlineScript(
    Record,
    frozen=True,
    kw_only=True,
    rename={
        "image_online": genesis.IMAGE_ONLINE,
        "director_targets": genesis.DIRECTOR_TARGETS,
        "director_online": genesis.DIRECTOR_ONLINE,
    },
):
    """Paths of the public key files of the online keys, from the script's own directory."""

    image_online: Text
    director_targets: Text
    director_online: Text

    def paths(self) -> dict[str, str]:
        """The paths by the name of the key."""
        return {
            genesis.IMAGE_ONLINE: self.image_online,
            genesis.DIRECTOR_TARGETS: self.director_targets,
            genesis.DIRECTOR_ONLINE: self.director_online,
        }


class AnyScript(Record, frozen=True, kw_only=True):
    """What every script says.

    Attributes:
        fleet: the fleet id, for ever.
        output: the directory to make, from the script's own directory.
        administrator: the person who leads through the ceremony.
        persons: full names of everybody with a part in it, by the short name used below.
        witnesses: persons who watch.
        attendance: public key files, by person, with which somebody who signs no metadata signs
            the transcript; whoever is not named there makes such a key in the ceremony.
        accepted_risks: a sentence for each role that has no holder to spare.
        date: the day of the ceremony (UTC), to be held against the machine's clock.
    """

    fleet: str
    output: Text
    administrator: str
    persons: Annotated[dict[str, str], Meta(max_length=64)]
    witnesses: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    attendance: dict[str, Text] = msgspec.field(default_factory=dict)
    accepted_risks: dict[str, Text] = msgspec.field(default_factory=dict)
    date: date | None = None


class Script(AnyScript, frozen=True, kw_only=True):
    """The script of a genesis.

    Attributes:
        act: ``genesis`` makes the first roots.
        image: the image repository's offline roles.
        director: the directors' offline role.
        online: the public keys that the server signs with.
    """

    act: Literal["genesis"]
    image: ImageScript
    director: DirectorScript
    online: OnlineScript


class Change(Record, frozen=True, kw_only=True, tag_field="do"):
    """One thing that a later ceremony changes."""


class Add(Change, frozen=True, kw_only=True, tag="add"):
    """A person becomes a holder, with a new key."""

    role: RoleName
    holder: str
    scheme: str | None = None
    token: Text | None = None


class Remove(Change, frozen=True, kw_only=True, tag="remove"):
    """A holder leaves; their key may still sign for the version before."""

    role: RoleName
    holder: str


class Replace(Change, frozen=True, kw_only=True, tag="replace"):
    """A new key takes the place of a holder's: ``by`` another person, or by the same one."""

    role: RoleName
    holder: str
    by: str
    scheme: str | None = None
    token: Text | None = None


class SetThreshold(Change, frozen=True, kw_only=True, tag="threshold"):
    """Another number of holders must sign."""

    role: RoleName
    threshold: int


class Renew(Change, frozen=True, kw_only=True, tag="renew"):
    """A new version with a later expiry; ``lifetime_days`` holds from now on, if given."""

    role: RoleName
    lifetime_days: int | None = None


class Rotate(Change, frozen=True, kw_only=True, tag="rotate"):
    """An online key is replaced by the one in ``file``."""

    key: OnlineName
    file: Text


class Lost(Change, frozen=True, kw_only=True, tag="lost"):
    """A holder's key cannot sign any more. ``by`` makes a key in its place, or nobody does."""

    role: RoleName
    holder: str
    by: str | None = None
    scheme: str | None = None
    token: Text | None = None


class Compromised(Change, frozen=True, kw_only=True, tag="compromised"):
    """A key may be in other hands: it signs nothing here, and never comes back.

    A holder's key is named by ``role`` and ``holder``, and ``by`` makes one in its place or nobody
    does; an online key by ``key``, with its successor in ``file``.
    """

    role: RoleName | None = None
    holder: str | None = None
    by: str | None = None
    scheme: str | None = None
    token: Text | None = None
    key: OnlineName | None = None
    file: Text | None = None


AnyChange = Add | Remove | Replace | SetThreshold | Renew | Rotate | Lost | Compromised


class Later(AnyScript, frozen=True, kw_only=True):
    """The script of a later ceremony.

    Attributes:
        act: ``change``.
        previous: the output directory of the ceremony before, without private keys.
        changes: what is done, in this order.
        targets: the newest published ``<m>.targets.json``, where the image targets change.
    """

    act: Literal["change"]
    previous: Text
    changes: Annotated[tuple[AnyChange, ...], Meta(min_length=1, max_length=MAX_CHANGES)]
    targets: Text | None = None


def scheme_of(scheme: str | None, token: str | None) -> str:
    """The kind of a key for which a script names this kind, or none, and this token, or none."""
    return scheme or (TOKEN_SCHEME if token else DEFAULT_SCHEME)


def place_of(role: RoleName) -> tuple[Repository, Role]:
    """The (repository, role) that a script's name of a role means."""
    match role:
        case "image.root":
            return "image", "root"
        case "image.targets":
            return "image", "targets"
        case "director.root":
            return "director", "root"
