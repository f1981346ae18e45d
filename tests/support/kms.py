"""AWS KMS as it is in the tests: moto's server, a stand-in, over real HTTP on loopback.

moto makes real keys and real ECDSA signatures, and answers as AWS documents. In one thing it is
wrong (moto 5: "MessageType DIGEST is not yet implemented"): it hashes what is a digest already.
That is set right here, as AWS does it; ``as_it_comes`` leaves moto as it is, and shows that a
signature which does not verify is noticed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

import boto3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.kms.responses import KmsResponse
from moto.kms.utils import ECDSAPrivateKey
from moto.server import ThreadedMotoServer

REGION: Final = "eu-central-1"
_asked = threading.local()


@dataclass
class StandIn:
    """A KMS that can go away and come back.

    Attributes:
        port: where it listens on loopback, also after it was away.
    """

    port: int
    server: ThreadedMotoServer | None

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use it."""
        return {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_KMS": f"http://127.0.0.1:{self.port}",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def client(self) -> Any:
        """Whoever runs the KMS."""
        return boto3.client(
            "kms",
            region_name=REGION,
            aws_access_key_id="admin",
            aws_secret_access_key="admin",
            endpoint_url=f"http://127.0.0.1:{self.port}",
        )

    def add(self, alias: str, spec: str = "ECC_NIST_P256") -> str:
        """Make a key for signing; return its URI."""
        key = self.client.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
        self.client.create_alias(AliasName=f"alias/{alias}", TargetKeyId=key)
        return f"awskms:alias/{alias}"

    def go_away(self) -> None:
        """Nobody listens any more."""
        assert self.server is not None
        self.server.stop()
        self.server = None

    def come_back(self) -> None:
        """As before, with the same keys."""
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()


@contextmanager
def running() -> Iterator[StandIn]:
    """The stand-in, for as long as it is needed."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    made = StandIn(server.get_host_and_port()[1], server)
    with (
        mock.patch.object(KmsResponse, "sign", _noting(KmsResponse.sign)),
        mock.patch.object(ECDSAPrivateKey, "sign", _as_aws_signs(ECDSAPrivateKey.sign)),
    ):
        try:
            yield made
        finally:
            if made.server is not None:
                made.server.stop()


@contextmanager
def as_it_comes() -> Iterator[None]:
    """Inside, moto signs as it does by itself: another thing than it was asked to."""
    with mock.patch(f"{__name__}._corrected", return_value=False):
        yield


def _corrected() -> bool:
    return True


def _noting(real: Any) -> Any:
    def sign(self: KmsResponse) -> str:
        _asked.digest = self._get_param("MessageType") == "DIGEST"
        answer: str = real(self)
        return answer

    return sign


def _as_aws_signs(real: Any) -> Any:
    def sign(self: ECDSAPrivateKey, message: bytes, signing_algorithm: str) -> bytes:
        if not (_asked.digest and _corrected()):
            made: bytes = real(self, message, signing_algorithm)
            return made
        hash_ = hashes.SHA256() if "256" in signing_algorithm else hashes.SHA384()
        signature: bytes = self.private_key.sign(message, ec.ECDSA(Prehashed(hash_)))
        return signature

    return sign
