"""``key new`` of any zone: what it reads, and how it must end when that is bad."""

from __future__ import annotations

from typing import Final

from tests.sweep.commands import BAD, REFUSED, SECRET, TRANSIENT, USAGE, Entry, Input, Slip
from tests.sweep.damage import Kind
from tests.sweep.prepare import mode

UNLOCK: Final = ("--passphrase-file", "{home}/other.pass")


def _new(name: str, directory: str) -> tuple[str, ...]:
    return (name, "--directory", directory, *UNLOCK)


TOKENS: Final = tuple(
    Slip(f"the token {uri!r}", USAGE, ("hsm:",), (*_new("kim", "{home}/made"), "--token", uri))
    for uri in ("", "alice", "hsm:0", "hsm:2?pin=1234", "file:x", "hsm:2?label=\udcff", "9" * 5000)
)
"""URIs that name no key in a token."""


def key_new(
    person: str, beside: str, *, keys: str = "{home}", more: tuple[Slip, ...] = ()
) -> Entry:
    """The entry.

    Args:
        person: who has a key already.
        beside: a file of the home directory, where a directory was meant.
        keys: where that person's key is.
        more: what this zone adds.
    """
    return Entry(
        _new("kim", "{home}/made"),
        makes=("made*",),
        inputs=(
            Input(
                "other.pass",
                Kind.TEXT,
                SECRET,
                4096,
                says=("pass",),
                without={"truncated": "a passphrase too", "NUL": "a passphrase too"},
            ),
        ),
        slips=(
            *(
                Slip(f"the name {name!r}", REFUSED, ("key",), _new(name, "{home}/made"))
                for name in ("../kim", "a/b", "", "Kim", "k" * 64, "\udcff")
            ),
            Slip("it is there", REFUSED, (f"{person}.pub.json",), _new(person, keys)),
            Slip("a file stands there", USAGE, (beside,), _new("kim", f"{{home}}/{beside}")),
            Slip("a file stands above", BAD, (beside,), _new("kim", f"{{home}}/{beside}/x")),
            Slip(
                "it may not be written",
                TRANSIENT,
                ("made",),
                prepare=mode("", 0o555),
                bound=True,
            ),
            Slip(
                "nobody to ask",
                USAGE,
                ("--passphrase-file",),
                ("kim", "--directory", "{home}/made"),
            ),
            *TOKENS,
            Slip(
                "a kind that tokens do not make",
                USAGE,
                ("ed25519",),
                (*_new("kim", "{home}/made"), "--token", "hsm:2", "--scheme", "ed25519"),
            ),
            Slip(
                "no library that speaks to a token",
                USAGE,
                ("PYKCS11LIB",),
                (*_new("kim", "{home}/made"), "--token", "hsm:2?label=alice"),
                leaves=("made*",),
            ),
            *more,
        ),
    )
