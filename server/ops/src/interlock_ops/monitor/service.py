"""The monitor as a service: its key is opened once, then it goes round until told to end (I/O).

Rule: what a round cannot do is told and tried again. Only settings, key and the state directory can
end the service, with the exit code that their errors have.
"""

from __future__ import annotations

import logging
from threading import Event
from typing import Final, TextIO

from interlock_core.clock import Clock
from interlock_core.credentials import Source, service_handler
from interlock_core.errors import TransientError
from interlock_core.keys import load_signer
from interlock_ops.monitor.alerts import Alerts
from interlock_ops.monitor.config import CREDENTIAL, PIN_CREDENTIAL, MonitorSettings
from interlock_ops.monitor.memory import Memory
from interlock_ops.monitor.news import News
from interlock_ops.monitor.notify import notify
from interlock_ops.monitor.rounds import Result, Round
from interlock_ops.session import Session

_STATUS: Final = 400

_log = logging.getLogger(__name__)


class Monitor:
    """One monitor at work.

    Args:
        settings: of monitor.toml.
        clock: now.
        stream: where the lines of alerts go; None for nowhere.

    Raises:
        InterlockError: the state directory or the key cannot be used.
    """

    def __init__(
        self, settings: MonitorSettings, clock: Clock, stream: TextIO | None = None
    ) -> None:
        self.settings = settings
        self._clock = clock
        secrets = service_handler(
            Source(settings.ops.passphrase_file, "passphrase_file", CREDENTIAL),
            Source(settings.pin_file, "monitor.pin_file", PIN_CREDENTIAL),
        )
        self._public_key = Session(settings.ops, clock).public_key
        key = settings.ops.need(settings.ops.key, "key")
        self._signer = load_signer(key, secrets, self._public_key)
        self.memory = Memory(settings.state)
        self.alerts = Alerts(self.memory, settings.alert_command, stream)

    def close(self) -> None:
        """Let go of the state directory."""
        self.memory.close()

    def run(self, ending: Event) -> None:
        """Go round until told to end.

        Raises:
            ConfigurationError: the memory is damaged.
        """
        notify(READY="1", STATUS="reading the log")
        while not ending.is_set():
            try:
                status = said(self.round())
            except TransientError as e:
                status = f"stands still: {e}"
            notify(WATCHDOG="1", STATUS=status[:_STATUS])
            _log.info("%s", status)
            ending.wait(self.settings.interval.total_seconds())
        notify(STOPPING="1")

    def round(self) -> Result:
        """One round, and everything that people must know of it.

        Raises:
            InterlockError: the memory cannot be used.
        """
        now = self._clock()
        session = Session(self.settings.ops, self._clock)
        session.signer = self._signer
        session.public_key = self._public_key
        work = Round(self.settings, self.memory, session, now, lambda: notify(WATCHDOG="1"))
        result = work.run()
        news = News(self.memory)
        found = [*work.alerts, *news.of(result)]
        self.alerts.tell(found, now, whole=result.error is None)
        news.told()
        return result


def said(result: Result) -> str:
    """A round in one line."""
    sent = [one for one in result.sent if one.state == "sent"]
    wrong = "" if result.error is None else f"; stands still: {result.error}"
    text = f"{result.read} entries read, {len(sent)} statements sent{wrong}"
    return " ".join(text.split())
