"""How connections to the servers are secured, and what a failure of that means (I/O).

Rules:

1. The server's certificate and name are always verified: by this process; or by stunnel, which
   speaks TLS where the gateway's own key lies in a token (``tunnel``).
2. The gateway's own certificate is shown to servers that ask for it, and never to a proxy.
3. Whether it has expired is the server's to judge: this clock may be wrong. It is tried all the
   same, and the date is said beside the refusal.
4. Whatever the handshake came to is a fault of the network (``network``), unless it was the
   configuration's: what ``client_certificate`` and ``tunnel`` name.
"""

from __future__ import annotations

import ssl
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from interlock_client.alerts import refused
from interlock_core.certificates import check_ca_file
from interlock_core.errors import InterlockError, TransientError

if TYPE_CHECKING:
    from interlock_client.client_certificate import Own
    from interlock_client.tunnel import Tunnel

_ALERT = "ALERT"


class Tls:
    """What all connections to servers have in common.

    Args:
        ca_file: certificates to trust instead of the system's, or None.
        own: the certificate that the gateway shows, or None.

    Raises:
        ConfigurationError, SecretError: the files cannot be used.
        NotFoundError: one is not there.
        TransientError: one cannot be read.
    """

    def __init__(self, ca_file: Path | None = None, own: Own | None = None) -> None:
        self.ca_file = ca_file
        self._own = own
        if ca_file is not None:
            check_ca_file(ca_file)
        if own is not None and own.tunnel is None:
            # Whatever is wrong with the files is named before anything is sent.
            own.load_into(self.context)

    @cached_property
    def context(self) -> ssl.SSLContext:
        """For connections on which this process speaks TLS."""
        return ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)

    @property
    def tunnel(self) -> Tunnel | None:
        """What speaks TLS instead of this process, or None."""
        return self._own.tunnel if self._own is not None else None

    def fault(self, url: str, error: Exception) -> InterlockError | None:
        """What a failed exchange means, if it failed for TLS (rule 4).

        Args:
            url: that was asked for.
            error: of a library.
        """
        said = self.tunnel.fault() if self.tunnel is not None else _said(error)
        if isinstance(said, InterlockError):
            return said
        expired = self._own.expired() if self._own is not None else None
        if said is None:
            if expired is None:
                return None
            # A refusal may be lost on the way: who closes at once resets the connection.
            said = "it broke off, perhaps because of the client certificate"
        return TransientError(f"{url} could not be read: {said}{expired or ''}.", reason="network")

    def hint(self, status: int) -> str:
        """What to say beside an HTTP status that may be about certificates."""
        if status not in {400, 401, 403} or self._own is None:
            return ""
        return f" It may have refused the client certificate{self._own.expired() or ''}."

    def close(self) -> None:
        """End what speaks TLS for this process."""
        if self.tunnel is not None:
            self.tunnel.close()


def _said(error: BaseException) -> str | None:
    """The words for an error of Python's TLS, wherever a library put it; None if it is another."""
    # urllib3 wraps what it raises, and puts the cause among the arguments.
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"the server's certificate is not trusted ({seen.verify_message})"
        if isinstance(seen, ssl.SSLError):
            return refused(seen.reason) if seen.reason and _ALERT in seen.reason else None
        inner = seen.args[0] if seen.args else None
        seen = inner if isinstance(inner, BaseException) else seen.__cause__ or seen.__context__
    return None
