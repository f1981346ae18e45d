"""A past for a repository: releases that look as if they had been published one by one.

What is measured is done by real commands. The hundreds of releases before it are not: their targets
are put straight into the server's Store, and one version of the product's metadata lists them all,
signed by its two holders and published through the API. Each is a copy of a release that
``interlock-repo stage`` made, with a version, a counter and digests of its own, so that it has the
size of a real one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, TargetFile, Targets

from infra.demo.cast import KEY_HOLDERS, RELEASE_MANAGERS
from infra.demo.gateways import PRODUCT
from infra.demo.story import Story
from interlock_core.api import Publication, PublicationRequest
from interlock_core.genesis import IMAGE
from interlock_core.http import Api
from interlock_core.keys import load_signer
from interlock_core.store import FileStore
from interlock_core.tuf_metadata import serialise, set_issued
from interlock_core.tuf_stored import StoredRepository
from interlock_core.wire import sha256_hex

LIFETIME: Final = timedelta(days=365)


class History:
    """Lays in what was before.

    Args:
        story: whose fleet.
    """

    def __init__(self, story: Story) -> None:
        self._story = story
        self._store = FileStore(story.server_config.parent / "store")
        self._stored = StoredRepository(self._store, IMAGE)
        self._template = self.targets(PRODUCT)

    def targets(self, product: str) -> dict[str, TargetFile]:
        """What a product's metadata in force lists."""
        found = self._stored.published_targets(product)
        return dict(found.signed.targets) if found else {}

    def length(self, product: str) -> int:
        """How many bytes a product's metadata in force has."""
        version = self._stored.published_version(product)
        return len(self._stored.get(version, product)) if version else 0

    def counter(self, product: str) -> int:
        """The highest release counter of a product."""
        found = self.targets(product).values()
        return max((i.custom["release_counter"] for i in found if _is_image(i)), default=0)

    def grow(self, product: str, releases: int) -> None:
        """Give a product releases until it has so many."""
        targets = self.targets(product)
        have = sum(map(_is_image, targets.values()))
        first = self.counter(product) + 1
        for counter in range(first, first + releases - have):
            targets |= self._release(product, counter)
        if releases > have:
            self._publish(product, targets)

    def delegate(self, products: Sequence[str]) -> None:
        """Delegate further products to the release managers, by the commands for it."""
        story = self._story
        spec, event = story.place / "more.toml", story.place / "events" / "more"
        holders = json.dumps([str(story.public_of(person)) for person in RELEASE_MANAGERS])
        spec.write_text(
            "".join(
                f"[products.{name}]\nthreshold = 2\nholders = {holders}\nshares_keys = true\n"
                for name in products
            )
        )
        story.stage.run(
            "interlock-repo", "delegate", spec, "--event", event,
            "--repository", story.url, "--root", story.ceremony / "image" / "1.root.json",
        )  # fmt: skip
        for holder in KEY_HOLDERS[:2]:
            story.stage.run(
                "interlock-repo", "sign", event,
                "--key", story.ceremony / "keys" / f"{holder}-image-targets.key.json",
                "--passphrase-file", story.secret, "--meaning", "approved",
                "--reason", "bench", "--yes",
            )  # fmt: skip
        story.stage.run("interlock-repo", "publish", event, "--server", story.url)

    @cached_property
    def _signers(self) -> list[Signer]:
        secret = self._story.secret.read_text().strip()
        return [load_signer(self._story.key_of(p), lambda _: secret) for p in RELEASE_MANAGERS]

    def _release(self, product: str, counter: int) -> Mapping[str, TargetFile]:
        version = f"0.0.{counter}"
        moved = {path: f"{product}/{version}/{path.rpartition('/')[2]}" for path in self._template}
        contents = {path: f"{path} {version}".encode() for path in moved.values()}
        targets = {}
        for path, info in self._template.items():
            data = contents[moved[path]]
            custom: dict[str, Any] = deepcopy(info.custom)
            custom |= {"product": product, "version": version}
            if _is_image(info):
                custom["release_counter"] = counter
                custom["slots"][0] |= {"length": len(data), "sha256": sha256_hex(data)}
                for reference in custom["references"]:
                    reference["path"] = moved[reference["path"]]
                    reference["sha256"] = sha256_hex(contents[reference["path"]])
            digest = sha256_hex(data)
            targets[moved[path]] = TargetFile(
                len(data), {"sha256": digest}, moved[path], {"custom": custom}
            )
            folder, _, name = moved[path].rpartition("/")
            self._store.put_new(f"{IMAGE}/targets/{folder}/{digest}.{name}", data)
        return targets

    def _publish(self, product: str, targets: dict[str, TargetFile]) -> None:
        now = datetime.now(UTC).replace(microsecond=0)
        before = self._stored.published_version(product) or 0
        metadata = Targets(version=before + 1, expires=now + LIFETIME, targets=targets)
        set_issued(metadata, now)
        signed = Metadata(metadata)
        for signer in self._signers:
            signed.sign(signer, append=True)
        api = Api(self._story.url)
        request = PublicationRequest(metadata={product: serialise(signed).decode()})
        publication = api.post("/v1/publications", request, Publication)
        api.post(f"/v1/publications/{publication.id}/commit", {}, Publication)


def _is_image(info: TargetFile) -> bool:
    return bool(info.custom["kind"] == "image")


def product_names(count: int) -> Iterator[str]:
    """Names of products beside the one that gateways run."""
    return (f"product-{number:03}" for number in range(2, count + 1))
