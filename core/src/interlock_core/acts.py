"""What people post to the server, and which of it one person says alone (pure).

Rule: nothing that one person says alone lets anything be installed: a stop stops, a hold waits, a
description informs, an end ends.
"""

from __future__ import annotations

from typing import Final

from interlock_core.ending import ENDINGS
from interlock_core.exclusion import Exclusion
from interlock_core.hold import Hold
from interlock_core.order import ROLLOUT_STATEMENTS
from interlock_core.recall_papers import RECALL_STATEMENTS
from interlock_core.report import Claim
from interlock_core.site import Site

ACT_STATEMENTS: Final = (Hold, Site, *ENDINGS)
"""One person's word about a site or a device."""
POSTED: Final = (*ROLLOUT_STATEMENTS, Exclusion, *RECALL_STATEMENTS, Claim, *ACT_STATEMENTS)
"""Whatever people sign and post as a statement."""
