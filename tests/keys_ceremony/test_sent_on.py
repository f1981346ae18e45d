"""What ceremonies leave behind is what the server and the release tools read."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from interlock_core.ceremony_output import is_output, read_ceremony
from interlock_core.errors import RefusedError
from interlock_core.root_chain import follow
from tests.keys_ceremony.chain import Chain
from tests.keys_ceremony.stage import NOW, Stage


@pytest.fixture
def chain(held: Stage) -> Chain:
    return Chain(held)


def test_every_ceremonys_output_is_read_and_follows_the_one_before(chain: Chain) -> None:
    assert is_output(chain.output(1))
    outputs = [read_ceremony(chain.output(1), NOW)]
    for change in (
        {"do": "replace", "role": "image.targets", "holder": "bob", "by": "erik"},
        {"do": "renew", "role": "director.root"},
        {"do": "renew", "role": "image.root"},
    ):
        chain.done(change)
        outputs.append(read_ceremony(chain.output(), NOW))
    assert len(outputs[-1].image_roots) == 3
    assert len(outputs[-1].director_roots) == 2
    assert outputs[-1].targets_version == 2
    for before, after in pairwise(outputs):
        assert follow(after.image_roots, before.image_roots, NOW).newest == after.roots["image"]
        assert after.fleet == before.fleet


@pytest.mark.parametrize("name", ["image/2.root.json", "fleet.json", "image/1.targets.json"])
def test_a_file_that_the_manifest_does_not_know(chain: Chain, name: str) -> None:
    chain.done({"do": "renew", "role": "image.root"})
    path: Path = chain.output() / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(RefusedError) as refused:
        read_ceremony(chain.output(), NOW)
    assert refused.value.reason == "wrong_media"
