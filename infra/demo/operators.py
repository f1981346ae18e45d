"""The people of the fleet at their desks: each act is a call of ``interlock-ops``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from infra.demo.cast import (
    APPROVERS,
    CANARY,
    CITY,
    ENGINEER,
    FLEET,
    PROPOSER,
    ST_MARY,
    WARDS,
)
from infra.demo.firmware import Firmware
from infra.demo.gateways import HARDWARE, PRODUCT, Gateway, Place
from infra.demo.stage import Said, Stage, together


class Operators:
    """Everybody who runs the fleet.

    Args:
        stage: where it is played.
        url: of the server.
        root: the image repository's root, as the ceremony handed it out.
        log_key: the log's public key, likewise.
        secret: the file of the passphrase of all their keys.
    """

    def __init__(self, stage: Stage, *, url: str, root: Path, log_key: Path, secret: Path) -> None:
        self.stage = stage
        self._place = stage.place
        self._people = stage.place / "people"
        self._claims = stage.place / "claims"
        self._url, self._root, self._log_key, self._secret = url, root, log_key, secret

    # Gateways are let in

    def claim(self, places: Mapping[str, Place]) -> None:
        """An operator lets these devices ask, each once; their secrets go with the installers."""
        together(*(partial(self._claim, place, places) for place in set(places.values())))

    def _claim(self, place: Place, places: Mapping[str, Place]) -> Said:
        names = [name for name, stands in places.items() if stands == place]
        return self._operator(
            PROPOSER, "device", "claim", "--product", PRODUCT, "--hardware", HARDWARE,
            "--site", place.site, "--cohort", place.cohort,
            *(word for name in names for word in ("--device", name)),
            "--secret-dir", self._claims / place.site,
        )  # fmt: skip

    def secret_of(self, gateway: Gateway) -> Path:
        """The claim that goes with a gateway's installer."""
        return self._claims / gateway.place.site / f"{gateway.name}.secret"

    def countersign(self) -> None:
        """The engineer of one hospital lets its gateways in, the operator those of the other."""
        together(
            partial(self._countersign, ENGINEER, ST_MARY, "engineer"),
            partial(self._countersign, PROPOSER, CITY, "operator"),
        )

    def _countersign(self, person: str, site: str, role: str) -> Said:
        return self._operator(
            person, "device", "countersign", "--waiting", "--site", site, "--role", role
        )

    def devices(self) -> list[dict[str, Any]]:
        """What the operator's own tool verified of every device's newest report."""
        listed: list[dict[str, Any]] = self._operator(
            PROPOSER, "device", "list", acts=False
        ).answer["devices"]
        return listed

    # Operators command a rollout

    def propose(self, firmware: Firmware, *, gate: str = "manual") -> str:
        """One person proposes; returns the order's id.

        Args:
            firmware: what is ordered.
            gate: of the wards' stage: ``manual``, or ``auto`` for the monitor to open it.
        """
        order = self._place / f"order-{firmware.version}.toml"
        order.write_text(
            f"""product = "{PRODUCT}"
kind = "update"
not_before = "0s"
expires = "30d"
deadline = "6h"
spread = "0s"
[[targets]]
path = "{PRODUCT}/{firmware.version}/firmware.img"
[[stages]]
cohorts = ["{CANARY}"]
percent = 100
soak = "0s"
gate = "manual"
[[stages]]
cohorts = ["{WARDS}"]
percent = 100
soak = "0s"
gate = "{gate}"
[[abort]]
failure_type = "all"
threshold_percentage = 5
min_executed = 1
"""
        )
        return self._id(self._operator(PROPOSER, "rollout", "propose", order))

    def start(self, order: str) -> str:
        """The proposer opens stage 0; returns the id of the go."""
        return self._id(self._operator(PROPOSER, "rollout", "start", order))

    def advance(self, order: str) -> str:
        """The proposer opens the next stage; returns the id of the go."""
        return self._id(self._operator(PROPOSER, "rollout", "advance", order))

    def resume(self, order: str) -> str:
        """The proposer clears the stops; returns the id of the go."""
        return self._id(self._operator(PROPOSER, "rollout", "resume", order))

    def authorise(self, *subject: str) -> None:
        """Both approvers, each at their own desk, authorise an order, or with ``--go`` a go."""
        words = ("rollout", "authorise", *subject, "--role", "approver")
        together(*(partial(self._operator, person, *words) for person in APPROVERS))

    def stopped_by(self, order: str) -> set[str]:
        """Who signed the stops that stand, as the operator's own tool verified them."""
        status = self._operator(
            PROPOSER, "rollout", "status", order, "--no-devices", acts=False
        ).answer
        return {stop["author"] for cohort in status["cohorts"].values() for stop in cohort["stops"]}

    def watch(self, order: str) -> dict[str, Any]:
        """Watch a rollout until it is finished; returns what the server counted.

        Raises:
            StoryError: it is not finished within a minute.
        """
        return self._operator(
            PROPOSER, "rollout", "watch", order, "--every", "1s", "--for", "1m", acts=False
        ).answer

    # A release is taken back

    def recall(self, bad: Firmware, to: Firmware) -> tuple[str, dict[str, Any]]:
        """One person stops what installs a release and orders the way back.

        Returns:
            The order's id, and who is affected by what gateways signed.
        """
        release = f"{PRODUCT}/{bad.version}"
        said = self._operator(PROPOSER, "rollout", "recall", "begin", release, "--to", to.version)
        return self._id(said), said.answer["affected"]

    def recall_stands(self, order: str, *, closed: bool) -> dict[str, Any]:
        """Who is affected by a recall, computed by the operator's own tool from signed reports.

        Raises:
            StoryError: it is open where it should be closed, or the other way round.
        """
        return self._operator(
            PROPOSER, "rollout", "recall", "status", order, acts=False, expect=0 if closed else 10
        ).answer

    def returned(self, order: str, gateway: Gateway) -> None:
        """A person's signed word: this gateway was taken out of its ward, and stands here."""
        self._operator(
            PROPOSER, "rollout", "recall", "record", order, gateway.name, "--as", "returned"
        )

    # The record

    def export_log(self) -> Path:
        """Everything that was accepted, for an auditor; returns its directory."""
        audit = self._place / "audit"
        self._operator(PROPOSER, "log", "export", audit, acts=False)
        return audit

    def verify_log(self, audit: Path, *, expect: int = 0) -> dict[str, Any]:
        """An auditor judges it, with the log's key and nothing else: no server, no settings.

        Raises:
            StoryError: the verdict is another one.
        """
        return self.stage.run(
            "interlock-ops", "log", "verify", audit, "--log-key", self._log_key, "--fleet", FLEET,
            expect=(expect,),
        ).answer  # fmt: skip

    def _operator(
        self, person: str, group: str, *words: str | Path, acts: bool = True, expect: int = 0
    ) -> Said:
        settings = self._people / f"{person}.toml"
        if not settings.exists():
            settings.write_text(
                f'server = "{self._url}"\nfleet = "{FLEET}"\n'
                f'image_root = "{self._root}"\nperson = "{person}"\n'
                f'key = "{person}.key.json"\npassphrase_file = "{self._secret}"\n'
                f'log_key = "{self._log_key}"\n'
                f'state_directory = "{person}-state"\n'
            )
        if acts:
            words = (*words, "--reason", "the demo", "--yes")
        return self.stage.run(
            "interlock-ops", group, *words, "--config", settings, expect=(expect,)
        )

    @staticmethod
    def _id(said: Said) -> str:
        statement: str = said.answer["id"]
        return statement
