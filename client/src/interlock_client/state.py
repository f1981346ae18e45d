"""The state directory: what lies where, and one agent at a time (I/O).

Rules:

1. Whatever may change anything here holds the lock; a second agent is told to come back later.
2. ``memory.json``, ``journal.json``, ``decisions/``, ``identity-<n>/`` and ``tpm.auth`` are
   evidence. Everything else may be lost: it is fetched again.
3. The memory is made before anything else is kept, by the first who takes the lock. So wherever
   something else stands without it, it was lost, and nobody starts afresh by mistake.
4. A directory that is empty where there was one (its partition is not mounted, perhaps) is no new
   gateway either: a marker outside it says that there was a memory. It is made after the memory,
   and again by whoever finds it missing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock_client import memory
from interlock_core import disk, durable
from interlock_core.errors import ConflictError, TransientError

_MARK: Final = b"""This gateway keeps its memory in the state directory of its configuration. If it
is empty, it was lost or is not mounted. Remove this file only together with all of it, so that the
gateway starts afresh: then older releases may be accepted again.
"""


@dataclass(frozen=True)
class StateDir:
    """Names of what the agent keeps.

    Attributes:
        root: the directory, made when it is first locked.
        marker: the file elsewhere that says that a memory was made (rule 4); None for no such file.
    """

    root: Path
    marker: Path | None = None

    @property
    def memory(self) -> Path:
        """What must never be forgotten: floors, counters, what rolled back."""
        return self.root / "memory.json"

    @property
    def tpm_auth(self) -> Path:
        """What the TPM's counter is read and raised with, if there is one."""
        return self.root / "tpm.auth"

    @property
    def journal(self) -> Path:
        """Where the agent stands."""
        return self.root / "journal.json"

    @property
    def decisions(self) -> Path:
        """One file for each decision, create-only."""
        return self.root / "decisions"

    @property
    def bundle(self) -> Path:
        """The newest poll bundle whose content was verified."""
        return self.root / "bundle.json"

    @property
    def seen(self) -> Path:
        """What the last poll led to, so that a 304 costs one request."""
        return self.root / "seen.json"

    @property
    def trouble(self) -> Path:
        """What is refused at every poll, and since when."""
        return self.root / "trouble.json"

    @property
    def roster(self) -> Path:
        """The newest roster."""
        return self.root / "roster.json"

    @property
    def permits(self) -> Path:
        """Permits of the move that is wanted, by digest, so that no poll fetches them again."""
        return self.root / "permits"

    @property
    def transfer(self) -> Path:
        """How far the present download is, and what it has cost."""
        return self.root / "transfer.json"

    @property
    def trusted(self) -> Path:
        """A link to the directory of trusted TUF metadata in force."""
        return self.root / "trusted"

    @property
    def identity(self) -> Path:
        """A link to the directory of the enrolment in force: key, identity, outbox."""
        return self.root / "identity"

    @property
    def polled(self) -> Path:
        """Empty; its time of change is that of the last answer to a poll."""
        return self.root / "polled"

    @property
    def rest(self) -> Path:
        """What a plain check of a gateway at rest goes by (``rest``)."""
        return self.root / "rest" / "check"

    @property
    def log_seen(self) -> Path:
        """The checkpoint of the server's log that was shown last; nothing is decided by it."""
        return self.root / "log-checkpoint.json"

    @property
    def wrong_pin(self) -> Path:
        """The PIN of the client key that the token refused last, as a salted digest."""
        return self.root / "wrong-pin"

    @property
    def began(self) -> bool:
        """Whether something stands that is made only after a memory (rules 3 and 4)."""
        later = (
            *((self.marker,) if self.marker is not None else ()),
            self.journal,
            self.decisions,
            self.trusted,
            self.seen,
            self.trouble,
            self.identity,
        )
        return any(os.path.lexists(path) for path in later)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only agent (rule 1).

        Raises:
            TransientError: ``busy``, or the directory cannot be used.
        """
        # Others may look for the lease in it; what is kept is for the agent's eyes.
        durable.mkdir(self.root)
        with exclusive(self.root / "lock", "Another interlock-client is at work here"):
            if not self.began and not os.path.lexists(self.memory):
                memory.save(self.memory, memory.Memory())
            self._mark()
            yield

    def _mark(self) -> None:
        marker = self.marker
        if marker is None or os.path.lexists(marker) or not os.path.lexists(self.memory):
            return
        # A disk that does not take it keeps nobody from going on: it is the second guard.
        with suppress(TransientError, ConflictError):
            durable.mkdir(marker.parent)
            durable.replace(marker, _MARK)


@contextmanager
def exclusive(path: Path, busy: str, *, mode: int = 0o600) -> Iterator[int]:
    """Hold an exclusive ``flock`` on ``path``, which is made if it is missing and stays.

    Args:
        path: the file.
        busy: what to say when somebody else holds it.
        mode: permission bits, whatever the umask says; who may read it may hold it too.

    Returns:
        The descriptor that holds it; closed at the end.

    Raises:
        TransientError: ``busy``: somebody else holds it; or it cannot be opened.
    """
    durable.mkdir(path.parent)
    with durable.translated("lock", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        # It may belong to somebody else, who then decides who may read it.
        with suppress(PermissionError):
            os.fchmod(descriptor, mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise TransientError(
                f"{busy} ({path} is locked): try again later.", reason="busy"
            ) from e
        yield descriptor
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove a directory that nothing refers to any more.

    Raises:
        TransientError: the disk did not do it.
    """
    import shutil  # noqa: PLC0415  # it loads three compressors that most commands do not need

    with durable.translated("remove", path):
        disk.step("unlink", path)
        shutil.rmtree(path)
