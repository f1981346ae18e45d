"""Keys come in and keys are made (I/O).

Rules:

1. An online key enters as a public key file with a proof of possession, made where the private
   key lives, under the name that says what it signs. The private half never comes near.
2. No two online keys are one key, under whatever ids: one stolen key must not be two roles.
3. Every holder chooses a passphrase, typed twice or from a file of their own; all their keys are
   encrypted under it. All passphrases are known to be usable before the first key is made.
4. A key that was made is opened again from the disk before it counts: nobody finds out later that
   the passphrase does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from securesystemslib.signer import Signer, SSlibKey

from interlock_ceremony.quorum import Duty, duties, may_sign_online
from interlock_ceremony.script import Problem, Script
from interlock_core import durable, keys, wire
from interlock_core.credentials import Prompt, new_passphrase
from interlock_core.errors import ConfigurationError, InterlockError, SecretError
from interlock_core.keybytes import public_key_bytes


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


def online_keys(script: Script, base: Path) -> tuple[dict[str, PublicFile], list[Problem]]:
    """Read the online keys that the script names (rules 1 and 2).

    Args:
        script: its paths are taken from ``base``.
        base: the script's directory.

    Returns:
        the files by the name of the key, and what is wrong with the others.
    """
    found: dict[str, PublicFile] = {}
    problems: list[Problem] = []
    seen: dict[bytes, str] = {}
    for name, path in script.online.paths().items():
        where = ("online", name)
        try:
            made_for, file = read_public(base / path)
        except InterlockError as e:
            problems.append(Problem(where, str(e)))
            continue
        if made_for != name:
            problems.append(
                Problem(
                    where, f"the key was made for the name {made_for!r}; make one for {name!r}."
                )
            )
        elif not may_sign_online(name, file.key.scheme):
            problems.append(
                Problem(
                    where,
                    f"a signature of kind {file.key.scheme} does not fit into a timestamp; make a "
                    "key of another kind.",
                )
            )
        elif (public := public_key_bytes(file.key)) in seen:
            problems.append(
                Problem(where, f"this is the same key as {seen[public]}; make one for each name.")
            )
        else:
            seen[public] = name
            found[name] = file
    return found, problems


def passphrases(script: Script, files: Mapping[str, Path], prompt: Prompt | None) -> dict[str, str]:
    """Every holder's passphrase, from their file or from them (rule 3).

    Args:
        script: one without problems.
        files: passphrase files by holder; the others are asked.
        prompt: asks a person; by default at the terminal.

    Raises:
        SecretError: there is no terminal, nothing was typed, or the two answers differ.
        ConfigurationError: too short, or a file is for nobody or open to others.
        NotFoundError, TransientError: a file is missing or cannot be read.
    """
    holders = list(dict.fromkeys(duty.holder for duty in duties(script)))
    for person in files:
        if person not in holders:
            raise ConfigurationError(
                f"--passphrase-file names {person[:80]!r}, who holds no key in this script: the "
                f"holders are {', '.join(holders)}."
            )
    return {person: _passphrase(person, files.get(person), prompt) for person in holders}


def make(directory: Path, duty: Duty, passphrase: str, scrypt_n: int) -> Callable[[], MadeKey]:
    """Make a key pair in ``directory``; what is returned opens it again (rule 4).

    Opening reads the disk and changes nothing, so the next key may be made meanwhile.

    Raises:
        TransientError: the disk did not do it; so may what is returned.
    """
    private, public = keys.new_key(directory, duty.key, duty.scheme, passphrase, scrypt_n=scrypt_n)

    def opened_again() -> MadeKey:
        _, file = read_public(public)
        return MadeKey(file, keys.load_signer(private, lambda _: passphrase, file.key))

    return opened_again


def _passphrase(person: str, file: Path | None, prompt: Prompt | None) -> str:
    try:
        passphrase = new_passphrase(file, f"passphrase of {person}", prompt)
    except SecretError as e:
        if e.reason != "no_passphrase" or file is not None or prompt is not None:
            raise
        raise SecretError(
            f"{person} gave no passphrase: run this at a terminal, or pass --passphrase-file "
            f"{person}=FILE.",
            reason=e.reason,
        ) from e
    if len(passphrase) < keys.MIN_PASSPHRASE_LENGTH:
        raise ConfigurationError(
            f"The passphrase of {person} is too short: use at least {keys.MIN_PASSPHRASE_LENGTH} "
            "characters. No key was made.",
            reason="weak_passphrase",
        )
    return passphrase
