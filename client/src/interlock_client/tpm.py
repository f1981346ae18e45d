"""A counter in the TPM: one NV index of its own (I/O, through tpm2-pytss).

Rules:

1. The index is a counter (``TPM_NT_COUNTER``): no command lowers it, and one that is deleted and
   made again begins above every value that any counter of this TPM ever had (TPM 2.0, part 1).
2. It is read and raised with an authorisation of its own, a random one that lies in the state
   directory (``AUTHREAD``, ``AUTHWRITE``), never with the owner's. Only to make it, once, the
   owner's is needed. It counts for no lockout (``NO_DA``), so that nothing here can lock the TPM.
3. The authorisation is proved by HMAC, in both directions: whoever listens on the bus learns
   nothing to raise the counter with, and who answers in the TPM's place without it is not believed.
4. A library or a TPM that is not there is ``tpm``, and so is any fault of it; an index that is
   missing or of another kind, or that another authorisation guards, is ``damaged_state``.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from interlock_client.config import Tpm
from interlock_core import disk, durable
from interlock_core.errors import NotFoundError, RefusedError, TransientError, WireError

if TYPE_CHECKING:
    from tpm2_pytss import ESAPI

AUTH_BYTES: Final = 32
_SIZE: Final = 8
_ABSENT: Final = 0x8B
"""``TPM_RC_HANDLE``: there is no such index."""
_UNWRITTEN: Final = 0x14A
"""``TPM_RC_NV_UNINITIALIZED``: it was never raised."""
_AUTH: Final = frozenset({0x8E, 0xA2})
"""``TPM_RC_AUTH_FAIL`` and ``TPM_RC_BAD_AUTH``."""
_FORMAT_ONE: Final = 0x80
_PARAMETERS: Final = 0xBF
"""Of a response code of format one: what is left without the number of parameter or session."""


class NvCounter:
    """``Counter`` in an NV index.

    Args:
        settings: where the TPM is, and which index.
        auth: the file that holds the authorisation.
    """

    def __init__(self, settings: Tpm, auth: Path) -> None:
        self._settings = settings
        self._auth = auth

    @property
    def index(self) -> str:
        """Its handle, as tpm2-tools write it."""
        return f"{self._settings.index:#010x}"

    def read(self) -> int:
        """As ``Counter.read``."""
        value = self.value()
        if value is None:
            raise self._lost("is not there, or was never raised")
        return value

    def increment(self) -> int:
        """As ``Counter.increment``."""
        disk.step("increment", self._auth)
        with self._opened() as (tpm, session):
            index = self._index(tpm)
            if index is None:
                raise self._lost("is not there")
            tpm.tr_set_auth(index, self._secret())
            tpm.nv_increment(index, session1=session)
            return int.from_bytes(bytes(tpm.nv_read(index, _SIZE, session1=session)), "big")

    def value(self) -> int | None:
        """Its value; None if there is no such index, or one that was never raised.

        Raises:
            RefusedError: ``damaged_state``.
            TransientError: ``tpm``.
        """
        with self._opened() as (tpm, session):
            index = self._index(tpm)
            if index is None:
                return None
            tpm.tr_set_auth(index, self._secret())
            try:
                return int.from_bytes(bytes(tpm.nv_read(index, _SIZE, session1=session)), "big")
            except Exception as e:
                if _code(e) == _UNWRITTEN:
                    return None
                raise

    def exists(self) -> bool:
        """Whether there is such an index, whoever made it; needs no authorisation.

        Raises:
            TransientError: ``tpm``.
        """
        with self._opened() as (tpm, _):
            return self._handle(tpm) is not None

    def make(self, owner: bytes) -> None:
        """Make the index, with an authorisation that is made beside it before.

        Args:
            owner: the owner's authorisation; empty where nobody set one.

        Raises:
            RefusedError: ``tpm_owner``: the owner's authorisation is another.
            TransientError: ``tpm``, or the disk.
        """
        from tpm2_pytss import (  # noqa: PLC0415  # only where one is configured
            ESYS_TR,
            TPM2_ALG,
            TPM2B_NV_PUBLIC,
            TPMA_NV,
            TPMS_NV_PUBLIC,
        )

        if not self._auth.exists():
            text = secrets.token_hex(AUTH_BYTES) + "\n"
            durable.create(self._auth, text.encode(), mode=0o600)
        public = TPM2B_NV_PUBLIC(
            nvPublic=TPMS_NV_PUBLIC(
                nvIndex=self._settings.index,
                nameAlg=TPM2_ALG.SHA256,
                attributes=_attributes(TPMA_NV),
                dataSize=_SIZE,
            )
        )
        disk.step("define", self._auth)
        with self._opened() as (tpm, session):
            tpm.tr_set_auth(ESYS_TR.OWNER, owner)
            try:
                tpm.nv_define_space(auth=self._secret(), public_info=public, session1=session)
            except Exception as e:
                if _code(e) in _AUTH:
                    raise RefusedError(
                        "The TPM's owner authorisation is another: pass it by --owner-auth-file.",
                        reason="tpm_owner",
                    ) from e
                raise

    def _index(self, tpm: ESAPI) -> Any:
        from tpm2_pytss import TPMA_NV  # noqa: PLC0415  # as above

        index = self._handle(tpm)
        if index is None:
            return None
        public, _ = tpm.nv_read_public(index)
        found = int(public.nvPublic.attributes) & ~int(TPMA_NV.WRITTEN)
        if found != int(_attributes(TPMA_NV)) or public.nvPublic.dataSize != _SIZE:
            raise self._lost("is not the counter that was made here")
        return index

    def _handle(self, tpm: ESAPI) -> Any:
        try:
            return tpm.tr_from_tpmpublic(self._settings.index)
        except Exception as e:
            if _code(e) == _ABSENT:
                return None
            raise

    def _secret(self) -> bytes:
        try:
            text = durable.read(self._auth, limit=4 * AUTH_BYTES, what="authorisation of the TPM")
            secret = bytes.fromhex(text.decode())
        except (NotFoundError, WireError, ValueError) as e:
            raise self._lost(f"needs {self._auth}, which is lost or damaged") from e
        return secret

    def _lost(self, how: str) -> RefusedError:
        return RefusedError(
            f"The counter {self.index} of the TPM {how}. Put the newest state "
            "directory back; or make a counter with 'interlock-client tpm provision' (--adopt, if "
            "there was one).",
            reason="damaged_state",
        )

    @contextmanager
    def _opened(self) -> Iterator[tuple[ESAPI, Any]]:
        """The TPM and a session (rules 3 and 4)."""
        # The library tells standard error what is told here by name.
        os.environ.setdefault("TSS2_LOG", "all+NONE")
        try:
            from tpm2_pytss import (  # noqa: PLC0415  # as above
                ESAPI,
                ESYS_TR,
                TPM2_ALG,
                TPM2_SE,
                TPMT_SYM_DEF,
                TSS2_Exception,
            )
        except ImportError as e:
            raise _fault(
                f"tpm2-pytss cannot be used here ({e}): install interlock-client[tpm]"
            ) from e
        try:
            with ESAPI(self._settings.tcti) as tpm:
                session = tpm.start_auth_session(
                    tpm_key=ESYS_TR.NONE,
                    bind=ESYS_TR.NONE,
                    session_type=TPM2_SE.HMAC,
                    symmetric=TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL),
                    auth_hash=TPM2_ALG.SHA256,
                )
                try:
                    yield tpm, session
                finally:
                    tpm.flush_context(session)
        except TSS2_Exception as e:
            if _code(e) in _AUTH:
                raise self._lost(f"is guarded by another authorisation than {self._auth}") from e
            raise _fault(f"the TPM at {self._settings.tcti} does not answer ({e})") from e


def _attributes(attributes: Any) -> Any:
    from tpm2_pytss.constants import TPM2_NT  # noqa: PLC0415  # as above

    return (
        attributes.AUTHREAD
        | attributes.AUTHWRITE
        | attributes.NO_DA
        | (TPM2_NT.COUNTER << attributes.TPM2_NT_SHIFT)
    )


def _code(error: Exception) -> int | None:
    """The response code of a TPM without what it is about; None of what is no such error."""
    code = getattr(error, "rc", None)
    if not isinstance(code, int):
        return None
    return code & _PARAMETERS if code & _FORMAT_ONE else code


def _fault(how: str) -> TransientError:
    return TransientError(
        f"{how[0].upper()}{how[1:]}: what runs goes on, and nothing is installed until it does.",
        reason="tpm",
    )
