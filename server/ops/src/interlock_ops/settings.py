"""What an operator sets once: ops.toml, and the flags that override it (I/O: reads files).

Rules:

1. Settings come from ``--config``, or from the file that ``INTERLOCK_OPS_CONFIG`` names; a flag
   wins over the file. Unknown settings are errors. Nothing is guessed: a setting that a command
   needs and does not have is an error that names the setting and the flag.
2. Paths in the file are relative to the file; paths in flags, to the current directory.
3. No secret stands in settings: ``passphrase_file`` names a file that only its owner can read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from interlock_core import durable
from interlock_core.errors import ConfigurationError, NotFoundError, WireError
from interlock_core.names import NAME_PATTERN
from interlock_core.urls import check_proxy
from interlock_core.wire import sha256_hex
from interlock_ops.order_file import read_toml

CONFIG_VARIABLE: Final = "INTERLOCK_OPS_CONFIG"
MAX_CONFIG: Final = 64 * 1024
MAX_LOG_KEYS: Final = 8
"""The log's key, and those that were before."""

_Text = Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
_Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
_KEY_URI: Final = re.compile(r"[a-z][a-z0-9+.-]+:")

Given = str | tuple[str, ...] | None
"""The text of a setting, the texts of one that is a list, or nothing."""

T = TypeVar("T")


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    server: _Text | None = None
    ca_file: _Text | None = None
    proxy: _Text | None = None
    fleet: _Name | None = None
    image_root: _Text | None = None
    # Checked by ``_each``: a union of constrained types makes msgspec 0.22.0 crash at Python's end.
    log_key: str | list[str] | None = None
    person: _Name | None = None
    key: _Text | None = None
    public_key: _Text | None = None
    passphrase_file: _Text | None = None
    state_directory: _Text | None = None


@dataclass(frozen=True)
class Settings:
    """Frozen settings of one run.

    Attributes:
        server: base URL of the server.
        ca_file: PEM file of the certificate authorities to trust instead of the system's.
        proxy: URL of an HTTP proxy.
        fleet: the fleet id that the ceremony fixed.
        image_root: a trusted ``root.json`` of the image repository, from the ceremony.
        log_key: the public key of the fleet's log, as its operators were given it; with it the
            newest checkpoint is verified at each contact, remembered, and put into what is signed.
            Keys that were the log's before may follow: by them older checkpoints still verify.
        person: who signs, as the roster names him; found by the key if not set.
        key: private key file, or the URI of a key in a token or KMS.
        public_key: its public half, where it does not stand beside the private key.
        passphrase_file: its first line opens the key; without it a person is asked.
        state_directory: where the newest metadata seen is remembered.
    """

    server: str | None = None
    ca_file: Path | None = None
    proxy: str | None = None
    fleet: str | None = None
    image_root: Path | None = None
    log_key: tuple[Path, ...] | None = None
    person: str | None = None
    key: str | None = None
    public_key: Path | None = None
    passphrase_file: Path | None = None
    state_directory: Path | None = None

    def need(self, value: T | None, name: str) -> T:
        """``value``, the setting called ``name``.

        Raises:
            ConfigurationError: ``missing_setting``.
        """
        if value is None:
            raise ConfigurationError(
                f"The setting {name!r} is needed: pass --{name.replace('_', '-')}, or set it in "
                f"the file that --config or {CONFIG_VARIABLE} names ('interlock-ops sample ops' "
                "prints one).",
                reason="missing_setting",
            )
        return value

    def state(self, image_root: bytes) -> Path:
        """Where metadata of the repository under this root is remembered.

        By default in the user's state directory, apart for each root, so that two fleets of one
        name never mix.
        """
        if self.state_directory is not None:
            return self.state_directory
        home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return expanded(home, "state_directory") / "interlock-ops" / sha256_hex(image_root)[:16]


def load(config: Path | None, flags: Mapping[str, Given]) -> Settings:
    """Read the file, if there is one, and put the flags above it (rules 1 and 2).

    Args:
        config: the value of ``--config``.
        flags: setting name → text, or None where the flag was not given; of one that may be
            repeated the texts.

    Raises:
        ConfigurationError: ``bad_settings``: no TOML, an unknown setting, a wrong type.
        NotFoundError: the file, or one that it names, is missing.
        TransientError: it cannot be read.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    path = config or (Path(named) if named else None)
    texts: dict[str, Given] = dict.fromkeys(_File.__struct_fields__)
    if path is not None:
        texts |= _texts(path, read_tree(path))
    texts |= {name: text for name, text in flags.items() if text is not None}
    return _checked(texts)


def read_tree(path: Path) -> dict[str, Any]:
    """What a settings file says, not yet checked.

    Raises:
        ConfigurationError: ``bad_settings``: no TOML, or too long.
        NotFoundError: it is missing.
        TransientError: it cannot be read.
    """
    try:
        return read_toml(durable.read(path, limit=MAX_CONFIG, what="settings file"))
    except WireError as e:
        raise ConfigurationError(str(e), reason="bad_settings") from e
    except ValueError as e:
        raise bad_settings(path, e) from e


def of_tree(path: Path, tree: dict[str, Any]) -> Settings:
    """The settings that ``tree`` holds, which stands in the file ``path``.

    Raises:
        ConfigurationError, NotFoundError: as ``load``.
    """
    return _checked(_texts(path, tree))


def bad_settings(path: Path, error: ValueError) -> ConfigurationError:
    """What to say of a file whose content is wrong."""
    return ConfigurationError(
        f"{path} holds no settings for interlock-ops: {' '.join(str(error).split())}. "
        "'interlock-ops sample' prints files that do.",
        reason="bad_settings",
    )


def _checked(texts: Mapping[str, Given]) -> Settings:
    settings = Settings(**{f.name: _typed(f.name, texts[f.name]) for f in fields(Settings)})
    if settings.ca_file is not None and not settings.ca_file.is_file():
        raise NotFoundError(f"There is no CA file at {settings.ca_file}: mend 'ca_file'.")
    if settings.proxy is not None:
        try:
            check_proxy(settings.proxy)
        except ConfigurationError as e:
            raise ConfigurationError(str(e), reason="bad_settings") from e
    if settings.person is not None and re.match(NAME_PATTERN, settings.person) is None:
        raise ConfigurationError(
            f"{settings.person[:80]!r} cannot name a person of the roster.", reason="bad_settings"
        )
    return settings


_PATHS: Final = (
    "ca_file",
    "image_root",
    "public_key",
    "passphrase_file",
    "state_directory",
)
LISTS: Final = ("log_key",)
"""Settings that name one file or several; their flags may be repeated."""


def _typed(name: str, text: Given) -> Any:
    if isinstance(text, tuple):
        return tuple(map(Path, text))
    return Path(text) if text is not None and name in _PATHS else text


def _each(said: str | list[str] | None) -> tuple[str, ...]:
    """The texts of a setting that is one or a list.

    Raises:
        ValueError: there is none in it, or there are too many, or one is no text for a path.
    """
    if said is None:
        return ()
    each = [said] if isinstance(said, str) else said
    if not 0 < len(each) <= MAX_LOG_KEYS:
        raise ValueError(f"name one to {MAX_LOG_KEYS} files")
    return tuple(msgspec.convert(text, _Text) for text in each)


def _texts(path: Path, tree: dict[str, Any]) -> dict[str, Given]:
    try:
        file = msgspec.convert(tree, _File)
        lists = {name: _each(getattr(file, name)) for name in LISTS}
    except ValueError as e:
        raise bad_settings(path, e) from e
    texts = msgspec.structs.asdict(file)
    for name in (*_PATHS, "key"):
        text = texts[name]
        if text is not None and not (name == "key" and _KEY_URI.match(text)):
            texts[name] = str(path.parent / expanded(text, name))
    for name, each in lists.items():
        texts[name] = tuple(str(path.parent / expanded(text, name)) for text in each) or None
    return texts


def expanded(text: str, name: str) -> Path:
    """A path with its home directory written out; ``name`` is the setting that holds it.

    Raises:
        ConfigurationError: ``bad_settings``: nobody knows that home directory.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as e:
        raise ConfigurationError(
            f"{text!r} begins with a home directory that is not known: write all of {name!r}.",
            reason="bad_settings",
        ) from e
