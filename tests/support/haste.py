"""Ceremonies and keys by the hundred: what costs time, and decides nothing, is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from interlock_core import encrypted_keys


def _not_flushed(_: int) -> None:
    """No power goes here; ``disk.step`` still tells of each flush."""


def _without_scrypt(passphrase: str, _: object) -> bytes:
    return passphrase.encode()


@contextmanager
def hasty() -> Iterator[None]:
    """Passwords without scrypt, and nothing flushed."""
    with (
        mock.patch.object(encrypted_keys, "_password", _without_scrypt),
        mock.patch.object(os, "fsync", _not_flushed),
    ):
        yield
