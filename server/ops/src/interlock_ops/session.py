"""One run of a command: settings, keys, the verified repository and the server, as needed (I/O).

Rules:

1. Each thing is fetched or opened once, when it is first needed; a passphrase is asked for once.
2. The person who signs is found in the verified roster by the bytes of his key. A key that the
   roster does not know, or knows as somebody else's, signs nothing.
3. The token to read with is kept in memory only, and authorises nothing.
4. What a server lists is not believed: orders are read from their signed statements.
5. Where the settings name the log's key, its checkpoint is taken along at each contact (``taking``)
   and stands in whatever is signed. A log that contradicts itself is refused, except that a stop is
   signed all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, TypeVar
from urllib.parse import urlencode

from securesystemslib.signer import Key, Signer, SSlibKey

from interlock_core import durable, http, keys
from interlock_core.api import (
    Accepted,
    ActionPage,
    Challenge,
    ClaimPage,
    DevicePage,
    MonitorList,
    PlacePage,
    RecallPage,
    Rollout,
    RolloutPage,
    RolloutSummary,
    Token,
)
from interlock_core.checkpoint import origin_of
from interlock_core.clock import Clock
from interlock_core.credentials import Prompt, passphrase_handler
from interlock_core.errors import ConfigurationError, InterlockError, NotFoundError, RefusedError
from interlock_core.keybytes import public_key_bytes
from interlock_core.roster import OPERATOR, Judge, Roster
from interlock_core.statement import Envelope, sign
from interlock_core.statement import Session as SessionStatement
from interlock_core.tuf_metadata import MAX_LENGTH
from interlock_ops.dossier import Dossier, open_rollout
from interlock_ops.image import ImageRepository
from interlock_ops.settings import Settings
from interlock_ops.taking import LogView

MAX_PAGES: Final = 1000

P = TypeVar("P", ActionPage, ClaimPage, DevicePage, PlacePage, RecallPage, RolloutPage)


class Session:
    """What a command works with.

    Args:
        settings: of this run.
        clock: now.
        prompt: asks a person for a passphrase; by default the terminal.

    Attributes:
        in_spite_of_log: told what is wrong with the log, where that must keep nobody from signing.
    """

    def __init__(self, settings: Settings, clock: Clock, prompt: Prompt | None = None) -> None:
        self.settings = settings
        self.clock = clock
        self._prompt = prompt
        self.in_spite_of_log: Callable[[str], None] | None = None

    # Who signs

    @cached_property
    def public_key(self) -> SSlibKey:
        """The public half of the operator's key.

        Raises:
            ConfigurationError, NotFoundError, WireError: it is not set, missing or malformed.
        """
        key = self.settings.need(self.settings.key, "key")
        path = self.settings.public_key
        if path is None:
            private = key.removeprefix(f"{keys.EncryptedFileSigner.SCHEME}:")
            path = keys.public_path_of(Path(private))
        return keys.load_public_key(path).key

    @cached_property
    def signer(self) -> Signer:
        """The operator's key, opened.

        Raises:
            SecretError: no passphrase, or a wrong one.
            InterlockError: as ``keys.load_signer``.
        """
        key = self.settings.need(self.settings.key, "key")
        secrets = passphrase_handler(self.settings.passphrase_file, self._prompt)
        return keys.load_signer(key, secrets, self.public_key)

    @cached_property
    def me(self) -> str:
        """Who signs, by the roster (rule 2).

        Raises:
            RefusedError: ``unknown_key``: the roster does not know the key, or not as his.
        """
        mine = public_key_bytes(self.public_key)
        roster = self.roster
        for person in roster.persons:
            if any(public_key_bytes(key.sslib()) == mine for key in person.keys):
                if self.settings.person not in (None, person.name):
                    raise RefusedError(
                        f"The key {self.public_key.keyid[:12]} is {person.name}'s by roster "
                        f"{roster.seq}, not {self.settings.person}'s: mend 'person' or 'key'.",
                        reason="unknown_key",
                    )
                return person.name
        raise RefusedError(
            f"Roster {roster.seq} does not know the key {self.public_key.keyid[:12]}: what it "
            "signs counts for nothing. Name another key, or have the roster renewed with it.",
            reason="unknown_key",
        )

    # What is verified

    @cached_property
    def image(self) -> ImageRepository:
        """The image repository, verified from the operator's own root."""
        path = self.settings.need(self.settings.image_root, "image_root")
        root = durable.read(path, limit=MAX_LENGTH["root"], what="image root file")
        url = http.check_url(self.settings.need(self.settings.server, "server"))
        pool = http.make_pool(ca_file=self.settings.ca_file, proxy=self.settings.proxy)
        return ImageRepository(url, root, self.settings.state(root), pool)

    @cached_property
    def roster(self) -> Roster:
        """The verified roster of the fleet that the settings name.

        Raises:
            RefusedError: ``wrong_fleet``, or as ``ImageRepository.roster``.
        """
        roster = self.image.roster()
        fleet = self.settings.need(self.settings.fleet, "fleet")
        if roster.fleet != fleet:
            raise RefusedError(
                f"The roster is of the fleet {roster.fleet}, and 'fleet' is set to {fleet}: mend "
                "the setting, or the server.",
                reason="wrong_fleet",
            )
        return roster

    @property
    def judge(self) -> Judge:
        """The verified roster, now."""
        return Judge(self.roster, self.clock())

    # The server

    @cached_property
    def api(self) -> http.Api:
        """The server's API."""
        return http.Api(
            self.settings.need(self.settings.server, "server"),
            ca_file=self.settings.ca_file,
            proxy=self.settings.proxy,
        )

    @cached_property
    def log_keys(self) -> tuple[Key, ...]:
        """The log's key, and those that were before.

        Raises:
            ConfigurationError, NotFoundError, WireError: none is set; one is missing or malformed.
        """
        paths = self.settings.need(self.settings.log_key, "log_key")
        return tuple(keys.load_public_key(path).key for path in paths)

    @cached_property
    def log(self) -> LogView | None:
        """The log, as it was seen before; None where the settings name no key for it.

        Raises:
            ConfigurationError, NotFoundError, WireError: the key is missing or malformed.
        """
        if self.settings.log_key is None:
            return None
        fleet = self.settings.need(self.settings.fleet, "fleet")
        path = self.settings.need(self.settings.image_root, "image_root")
        root = durable.read(path, limit=MAX_LENGTH["root"], what="image root file")
        return LogView(self.api, origin_of(fleet), self.log_keys, self.settings.state(root))

    @cached_property
    def checkpoint(self) -> str | None:
        """The newest checkpoint, to be put into what is signed (rule 5).

        Raises:
            RefusedError: ``log_fork`` or ``log_behind``, or as ``LogView.look``.
            TransientError: the server could not be asked.
        """
        log = self.log
        if log is None:
            return None
        try:
            return log.look()
        except InterlockError as e:
            if self.in_spite_of_log is None:
                raise
            self.in_spite_of_log(f"{e} Your stop is signed all the same.")
            return log.remembered

    @cached_property
    def token(self) -> str:
        """A token to read with, for a signed challenge (rule 3)."""
        me = self.me
        checkpoint = self.checkpoint
        # Before the challenge, which does not wait for somebody who looks for his passphrase.
        signer = self.signer
        challenge = self.api.post("/v1/challenges", {}, Challenge)
        said = SessionStatement(
            fleet=self.settings.need(self.settings.fleet, "fleet"),
            author=me,
            at=self.clock(),
            reason="to read the fleet",
            checkpoint=checkpoint,
            challenge=challenge.challenge,
        )
        return self.api.post("/v1/tokens", sign(said, signer), Token).token

    def renew_token(self) -> None:
        """Ask for another token when one is needed next: they do not last."""
        self.__dict__.pop("token", None)

    def post(self, envelope: Envelope, id_: str) -> None:
        """Send a signed statement.

        Raises:
            RefusedError: the server refused it, or ``wrong_receipt``: it says that it stored
                something else.
            TransientError: it could not be asked; sending again does no harm.
        """
        accepted = self.api.post("/v1/statements", envelope, Accepted)
        if accepted.id != id_:
            raise RefusedError(
                f"The server says that it stored {accepted.id}, and was sent {id_}: ask who runs "
                "it.",
                reason="wrong_receipt",
            )

    def pages(self, path: str, type_: type[P], **query: str | None) -> Iterator[P]:
        """The pages of a list of the server's, as they come. None of it is signed.

        Raises:
            RefusedError: ``endless``: they do not end.
        """
        page: int | None = None
        for _ in range(MAX_PAGES):
            given: dict[str, str | int | None] = {**query, "page": page}
            asked = urlencode({name: value for name, value in given.items() if value is not None})
            answer = self.api.get(f"{path}?{asked}" if asked else path, type_, token=self.token)
            yield answer
            if answer.next is None:
                return
            page = answer.next
        what = path.rpartition("/")[2]
        raise RefusedError(f"The server's list of {what} does not end.", reason="endless")

    @cached_property
    def monitors(self) -> MonitorList | None:
        """When the server heard each monitor; None where it does not say. None of it is signed."""
        try:
            return self.api.get("/v1/monitors", MonitorList, token=self.token)
        except NotFoundError:
            return None

    def rollouts(self, product: str | None = None) -> Iterator[RolloutSummary]:
        """What the server lists, newest first. None of it is signed.

        Raises:
            RefusedError: ``endless``: its pages do not end.
        """
        for page in self.pages("/v1/rollouts", RolloutPage, product=product):
            yield from page.items

    def dossier(self, order_id: str) -> Dossier:
        """Everything that was signed about an order, under its own id.

        Raises:
            RefusedError: ``wrong_order``.
            NotFoundError: the server knows none of that id.
        """
        return open_rollout(
            self.api.get(f"/v1/rollouts/{order_id}", Rollout, token=self.token), order_id
        )

    def find_about(self, id_: str, what: Literal["go", "exclusion"]) -> Dossier:
        """The order that a ``go`` or an exclusion is about.

        Raises:
            ConfigurationError: ``no_such_go``, ``no_such_exclusion``: the server shows it with no
                order.
        """
        for summary in self.rollouts():
            dossier = self.dossier(summary.id)
            shown = dossier.goes if what == "go" else dossier.exclusions
            if any(one.id == id_ for one in shown):
                return dossier
        raise ConfigurationError(
            f"The server shows no {what} {id_} with any order: check the id.",
            reason=f"no_such_{what}",
        )

    def next_seq(self, product: str) -> int:
        """The number of the next order of a product: after the newest that was signed (rule 4).

        Raises:
            RefusedError: ``seq_unproven``: nobody in the roster signed the number that the server
                shows as the highest.
        """
        highest = max(self.rollouts(product), key=lambda one: one.seq, default=None)
        least = self.roster.min_order_seq.get(product, 1)
        if highest is None:
            return least
        order = self.dossier(highest.id).order
        said = order.said
        signed = any(self.judge.author_is(order, (OPERATOR,), cohort) for cohort in said.cohorts())
        if (said.product, said.seq) != (product, highest.seq) or not signed:
            raise RefusedError(
                f"The server shows {highest.seq} as the highest number of {product}'s orders, and "
                "no operator in the roster signed it: check it with 'interlock-ops rollout "
                "status', and pass --seq.",
                reason="seq_unproven",
            )
        return max(said.seq + 1, least)
