"""What a ceremony's output proves, to somebody who was not there (pure: bytes in).

Rules:

1. The transcript's script, its public keys and the time of its first entry determine every act and
   every metadata file. All of them are made again here and compared: what differs is named.
2. Public keys are read from the roots. Fingerprints, proofs of possession and signatures are
   computed and verified anew; nothing is believed because it is written.
3. Metadata is judged at the time of the ceremony: that a root has expired since does not make its
   ceremony untrue.
4. What cannot be proved from these bytes is said, not hidden: that they are the originals. Whoever
   was there wrote the digests of the roots down; compare those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Metadata, Root, Targets

from interlock_ceremony import acts, media, metadata, quorum, script, transcript
from interlock_ceremony.acts import AnyAct, Began, KeyImported, KeyMade, PossessionProven
from interlock_ceremony.fingerprint import fingerprint
from interlock_ceremony.quorum import duties
from interlock_ceremony.script import Script, ScriptError
from interlock_ceremony.transcript import Transcript
from interlock_core import keys as core_keys
from interlock_core import tuf_metadata
from interlock_core.errors import RefusedError, WireError
from interlock_core.genesis import DIRECTOR, IMAGE, FleetFile, read_fleet
from interlock_core.keybytes import check_key
from interlock_core.wire import encode, format_time, sha256_hex
