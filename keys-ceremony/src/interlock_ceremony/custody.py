"""Keys come in and keys are made (I/O).

Rules:

1. An online key enters as a public key file with a proof of possession, made where the private
   key lives, under the name that says what it signs. The private half never comes near.
2. No two keys are one key, under whatever ids, and no key that left comes back: one stolen key
   must not be two roles.
3. Whoever makes a key in a file chooses a passphrase, typed twice or from a file of their own; all
   such keys of theirs are encrypted under it. Whoever makes one in a token types its PIN. All
   passphrases are known to be usable, all tokens to be there and all older keys to be open before
   the first key is made.
4. A token must not hold the key that it is to make: one that an attempt left which was given up has
   been who knows where since. Only what this ceremony's own journal says that it began is taken.
5. A key that was made is opened again from the disk before it counts: nobody finds out later that
   the passphrase does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from securesystemslib.signer import Signer, SSlibKey

from interlock_ceremony.fingerprint import fingerprint
from interlock_ceremony.plan import Plan
from interlock_ceremony.quorum import may_sign_online
from interlock_ceremony.script import Path as Field
from interlock_ceremony.script import Problem
from interlock_ceremony.standing import Duty, Standing, known
from interlock_core import durable, keys, wire
from interlock_core.credentials import Prompt, new_passphrase, passphrase_handler
from interlock_core.errors import (
    ConfigurationError,
    ConflictError,
    InterlockError,
    SecretError,
)
from interlock_core.tokens import check_token, read_uri


@dataclass(frozen=True)
class PublicFile:
    """A public key file that was checked whole, proof included.

    Attributes:
        key: the public key.
        proof: its proof of possession, hexadecimal.
        data: the file's bytes.
    """

    key: SSlibKey
    proof: str
    data: bytes


@dataclass(frozen=True)
class MadeKey:
    """A key that was made and opened again."""

    public: PublicFile
    signer: Signer


@dataclass(frozen=True)
class Wanted:
    """A public key file that a script names.

    Attributes:
        name: that the key must have been made for.
        path: of the file.
        field: of the script.
        person: whose it is, to sign the transcript with; None for an online key.
    """

    name: str
    path: Path
    field: Field
    person: str | None


def read_public(path: Path) -> tuple[str, PublicFile]:
    """Read a public key file; return the name that it was made for, and the file.

    Raises:
        NotFoundError: no file is there.
        WireError: malformed, or ``bad_key``, or ``bad_proof``.
        TransientError: it cannot be read.
    """
    what = f"public key file {path}"
    data = durable.read(path, limit=keys.MAX_KEY_FILE, what="public key file")
    named = keys.parse_public_key(data, what=what)
    proof = wire.decode(data, keys.PublicKeyFile, limit=keys.MAX_KEY_FILE, what=what).proof
    return named.name, PublicFile(named.key, proof, data)


def wanted(plan: Plan, fields: Mapping[str, Field], base: Path) -> list[Wanted]:
    """Every public key file that a plan needs.

    Args:
        plan: its paths are taken from ``base``.
        fields: where the script names an online key's file, by the name of the key.
        base: the script's directory.
    """
    online = [Wanted(name, base / path, fields[name], None) for name, path in plan.imports.items()]
    attending = [
        Wanted(one.key, base / one.path, ("attendance", one.person), one.person)
        for one in plan.attends
        if one.path is not None
    ]
    return online + attending


def public_files(
    files: Sequence[Wanted], before: Standing | None
) -> tuple[dict[str, PublicFile], list[Problem]]:
    """Read public key files (rules 1 and 2).

    Args:
        files: which.
        before: what is in force, and which keys left.

    Returns:
        the files by the name of the key, and what is wrong with the others.
    """
    found: dict[str, PublicFile] = {}
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    earlier = cache(partial(known, before))
    for one in files:
        try:
            made_for, file = read_public(one.path)
        except InterlockError as e:
            problems.append(Problem(one.field, str(e)))
            continue
        if says := _unfit(one, made_for, file, earlier(one.person) | seen):
            problems.append(Problem(one.field, says))
        else:
            seen[fingerprint(file.key)] = one.name
            found[one.name] = file
    return found, problems


def passphrases(
    plan: Plan, files: Mapping[str, Path], prompt: Prompt | None, made: Path
) -> dict[str, str]:
    """The passphrase of everybody who makes a key in a file, from their file or from them (rule 3).

    Args:
        plan: of the ceremony.
        files: passphrase files by person; the others are asked.
        prompt: asks a person; by default at the terminal.
        made: where the keys come to be; for those that an interrupted ceremony made there, a
            passphrase is asked once.

    Raises:
        SecretError: there is no terminal, nothing was typed, or the two answers differ.
        ConfigurationError: too short, or a file is for nobody or open to others.
        NotFoundError, TransientError: a file is missing or cannot be read.
    """
    makers: dict[str, list[str]] = {}
    for duty in plan.makes:
        if duty.token is None:
            makers.setdefault(duty.holder, []).append(duty.key)
    for one in plan.attends:
        if one.path is None:
            makers.setdefault(one.person, []).append(one.key)
    openers = [duty.holder for duty in plan.opens]
    openers += [one.person for one in plan.attends if one.path is not None]
    people = list(dict.fromkeys((*makers, *openers)))
    for person in files:
        if person not in people:
            raise ConfigurationError(
                f"--passphrase-file names {person[:80]!r}, who holds no key in this script: the "
                f"holders are {', '.join(people)}."
            )
    found = {}
    for person, names in makers.items():
        exists = any((made / (name + keys.PRIVATE_SUFFIX)).exists() for name in names)
        found[person] = _passphrase(person, files.get(person), prompt, again=not exists)
    return found


def pins(plan: Plan, prompt: Prompt | None) -> Callable[[str], str]:
    """What answers for the tokens in which keys are made, each of which was opened (rule 3).

    Args:
        plan: of the ceremony.
        prompt: asks a person; by default at the terminal.

    Raises:
        SecretError, ConfigurationError, NotFoundError, TransientError: as ``tokens.check_token``.
    """
    handler = cache(passphrase_handler(None, prompt))
    for duty in plan.makes:
        if duty.token is not None:
            check_token(read_uri(duty.token), handler)
    return handler


def open_keys(
    plan: Plan,
    public: Mapping[str, SSlibKey],
    brought: Sequence[Path],
    files: Mapping[str, Path],
    prompt: Prompt | None,
) -> dict[str, Signer]:
    """Open the older keys that sign, and those brought to sign the transcript (rule 3).

    Args:
        plan: of the ceremony.
        public: the keys that they must be, by name.
        brought: key files, or directories that hold them.
        files: passphrase files by person; the others are asked.
        prompt: asks a person; by default at the terminal.

    Raises:
        ConfigurationError: a key was not brought, or is another one than in force.
        SecretError: a passphrase is missing or wrong.
        NotFoundError, WireError, TransientError: a file is missing, malformed, unreadable.
    """
    holders = {duty.key: duty.holder for duty in plan.opens}
    holders |= {one.key: one.person for one in plan.attends if one.path is not None}
    return open_all(holders, public, brought, files, prompt)


def open_all(
    holders: Mapping[str, str],
    public: Mapping[str, SSlibKey],
    brought: Sequence[Path],
    files: Mapping[str, Path],
    prompt: Prompt | None,
) -> dict[str, Signer]:
    """Open private keys.

    Args:
        holders: whose they are, by the name of the key.
        public: the keys that they must be, by name.
        brought, files, prompt: as ``open_keys``.

    Raises:
        InterlockError: as ``open_keys``.
    """
    paths = {name: _find(name, brought) for name in holders}
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        raise ConfigurationError(
            f"These keys were not brought: {', '.join(name + '.key.json' for name in missing)}. "
            "Pass --key with each file, or with a directory that holds it.",
            reason="key_missing",
        )
    opened = {}
    for name, path in paths.items():
        assert path is not None
        handler = passphrase_handler(files.get(holders[name]), prompt)
        try:
            opened[name] = keys.load_signer(path, handler, public[name])
        except SecretError as e:
            if e.reason != "no_passphrase" or holders[name] in files:
                raise
            raise _nobody_to_ask(holders[name], e) from e
    return opened


def make(
    directory: Path, name: str, scheme: str, passphrase: str, scrypt_n: int
) -> Callable[[], MadeKey]:
    """Make a key pair in ``directory``; what is returned opens it again (rule 5).

    A pair that is there already is not made again. Opening reads the disk and changes nothing, so
    the next key may be made meanwhile.

    Raises:
        SecretError: the pair is there, and the passphrase does not open it; so may what is
            returned.
        TransientError: the disk did not do it; so may what is returned.
    """
    public = directory / (name + keys.PUBLIC_SUFFIX)
    private = directory / (name + keys.PRIVATE_SUFFIX)
    if not public.exists():
        keys.new_key(directory, name, scheme, passphrase, scrypt_n=scrypt_n)

    def opened_again() -> MadeKey:
        _, file = read_public(public)
        return MadeKey(file, keys.load_signer(private, lambda _: passphrase, file.key))

    return opened_again


def make_in_token(
    directory: Path,
    duty: Duty,
    secrets: Callable[[str], str],
    begin: Callable[[], None] | None,
) -> Callable[[], MadeKey]:
    """As ``make``, inside the token that ``duty`` names, whose PIN ``secrets`` knows (rule 4).

    Args:
        directory: where its files come to be.
        duty: which key.
        secrets: knows the PIN.
        begin: writes down that the key is about to be made; None if that is written already.

    Raises:
        ConflictError: ``token_key_exists``: the token holds it, and nothing is written down.
        InterlockError: as ``keys.new_token_key``.
    """
    assert duty.token is not None
    public = directory / (duty.key + keys.PUBLIC_SUFFIX)
    private = directory / (duty.key + keys.PRIVATE_SUFFIX)
    if not public.exists():
        try:
            keys.new_token_key(directory, duty.key, duty.scheme, duty.token, secrets, begin=begin)
        except ConflictError as e:
            if e.reason != "token_key_exists":
                raise
            raise ConflictError(
                f"{e} This ceremony did not make it: an attempt that was given up may have. "
                f"Destroy it with the token's own tool (for instance pkcs11-tool --delete-object), "
                "and run this again; or give this ceremony up, and name another number in the "
                "script.",
                reason=e.reason,
            ) from e

    def opened_again() -> MadeKey:
        _, file = read_public(public)
        return MadeKey(file, keys.load_signer(private, secrets, file.key))

    return opened_again


def _unfit(one: Wanted, made_for: str, file: PublicFile, seen: Mapping[str, str]) -> str | None:
    if made_for != one.name:
        return f"the key was made for the name {made_for!r}; make one for {one.name!r}."
    if one.person is None and not may_sign_online(one.name, file.key.scheme):
        return (
            f"a signature of kind {file.key.scheme} does not fit into a timestamp; make a key of "
            "another kind."
        )
    if (public := fingerprint(file.key)) in seen:
        return f"this is the same key as {seen[public]}; make one for each name, and each time."
    return None


def _find(name: str, brought: Sequence[Path]) -> Path | None:
    file = name + keys.PRIVATE_SUFFIX
    return next(_candidates(file, brought), None)


def _candidates(file: str, brought: Sequence[Path]) -> Iterator[Path]:
    for path in brought:
        if path.name == file and path.is_file():
            yield path
        elif (path / file).is_file():
            yield path / file


def _passphrase(person: str, file: Path | None, prompt: Prompt | None, *, again: bool) -> str:
    what = f"passphrase of {person}"
    try:
        passphrase = (
            new_passphrase(file, what, prompt) if again else passphrase_handler(file, prompt)(what)
        )
    except SecretError as e:
        if e.reason != "no_passphrase" or file is not None or prompt is not None:
            raise
        raise _nobody_to_ask(person, e) from e
    if len(passphrase) < keys.MIN_PASSPHRASE_LENGTH:
        raise ConfigurationError(
            f"The passphrase of {person} is too short: use at least {keys.MIN_PASSPHRASE_LENGTH} "
            "characters. No key was made.",
            reason="weak_passphrase",
        )
    return passphrase


def _nobody_to_ask(person: str, error: SecretError) -> SecretError:
    return SecretError(
        f"{person} gave no passphrase: run this at a terminal, or pass --passphrase-file "
        f"{person}=FILE.",
        reason=error.reason,
    )
