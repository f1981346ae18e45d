"""The counter in a TPM: a real ``swtpm`` on a socket of its own."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tpm2_pytss import ESAPI, ESYS_TR, TPM2_ALG, TPM2B_NV_PUBLIC, TPMA_NV, TPMS_NV_PUBLIC

from interlock_client import provisioning
from interlock_client.cli import group
from interlock_client.cli.edge import run
from interlock_client.config import Tpm
from interlock_client.outcome import Outcome, of_error
from interlock_client.tpm import NvCounter
from interlock_core import durable
from interlock_core.errors import ConfigurationError, Exit, InterlockError, RefusedError
from tests.client.bed import Bed
from tests.client.web import Web
from tests.client.world import World

IMAGE = b"release one " * 100


@pytest.fixture(scope="module")
def tcti(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A TPM in software for all tests here; each uses an index of its own."""
    home = tmp_path_factory.mktemp("tpm")
    socket = home / "s"
    process = subprocess.Popen(
        [
            "swtpm",
            "socket",
            "--tpm2",
            f"--server=type=unixio,path={socket}",
            f"--ctrl=type=unixio,path={socket}.ctrl",
            f"--tpmstate=dir={home}",
            "--flags=startup-clear",
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not socket.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"swtpm:path={socket}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def tpm(tcti: str, request: pytest.FixtureRequest) -> Tpm:
    numbers = request.session.stash.setdefault(_NUMBERS, [0x01800000])
    numbers.append(numbers[-1] + 1)
    return Tpm(tcti=tcti, index=numbers[-1])


_NUMBERS = pytest.StashKey[list[int]]()


@pytest.fixture
def guarded(tmp_path: Path, world: World, web: Web, tpm: Tpm) -> Bed:
    bed = Bed(tmp_path / "gateway", world, web, interlock="none", tpm=tpm)
    bed.power_on()
    return bed


def provision(bed: Bed, owner: bytes = b"", adopt: str | None = None) -> Outcome:
    with bed.context() as made:
        try:
            return provisioning.provision(made, owner, adopt=adopt)
        except InterlockError as e:
            return of_error(e)


def test_a_gateway_with_a_tpm(world: World, guarded: Bed) -> None:
    assert guarded.check().reason == "damaged_state", "it was not provisioned"
    assert provision(guarded).outcome == "tpm_provisioned"
    assert provision(guarded).reason == "provisioned", "once is enough"
    world.roll_out(world.release("1.0.0", IMAGE, raises_floor_to=1))
    before = (guarded.home / "state/memory.json").read_bytes()
    assert guarded.install().outcome == "confirmed"
    with guarded.context() as made:
        found = provisioning.shown(made)
    assert found["belongs"] is True
    assert found["value"] == found["memory"] == guarded.memory.counter
    (guarded.home / "state/memory.json").write_bytes(before)
    assert guarded.check().reason == "damaged_state"
    assert provision(guarded).reason == "damaged_state", "nor does provisioning take it"
    assert provision(guarded, adopt="ticket 4711").outcome == "tpm_adopted"
    assert guarded.check().exit_code is Exit.DONE
    entries = [json.loads(p.read_bytes()) for p in (guarded.home / "state/decisions").iterdir()]
    acts = {entry["act"]: entry for entry in entries if "act" in entry}
    assert acts.keys() == {"tpm_provisioned", "tpm_adopted"}
    assert acts["tpm_adopted"]["reason"] == "ticket 4711"


@pytest.mark.parametrize("step", range(16))
def test_provisioning_that_was_cut_off_goes_on(guarded: Bed, step: int) -> None:
    seen = 0

    def watch(_act: str, _path: Path) -> None:
        nonlocal seen
        seen += 1
        if seen > step:
            raise KeyboardInterrupt

    try:
        with durable.watching(watch):
            provision(guarded)
    except KeyboardInterrupt:
        pass
    assert provision(guarded).exit_code is Exit.DONE
    assert guarded.check().exit_code is Exit.DONE


def test_a_state_that_was_lost_is_not_provisioned_anew(guarded: Bed) -> None:
    provision(guarded)
    (guarded.home / "state").rename(guarded.home / "away")
    (guarded.home / "boot/state-began").unlink()
    assert guarded.check().reason == "damaged_state"
    outcome = provision(guarded)
    assert (outcome.reason, outcome.exit_code) == ("tpm_index_exists", Exit.REFUSED)


def test_a_counter_that_was_made_again_begins_above_the_old(guarded: Bed, tpm: Tpm) -> None:
    provision(guarded)
    was = guarded.memory.counter
    assert was is not None
    with ESAPI(tpm.tcti) as raw:
        raw.nv_undefine_space(raw.tr_from_tpmpublic(tpm.index), auth_handle=ESYS_TR.OWNER)
    assert guarded.check().reason == "damaged_state"
    assert provision(guarded).reason == "damaged_state", "it may have been cleared to hide that"
    assert provision(guarded, adopt="the TPM was cleared").exit_code is Exit.DONE
    assert (guarded.memory.counter or 0) > was
    assert guarded.check().exit_code is Exit.DONE


def test_an_index_of_another_kind_is_not_taken(guarded: Bed, tpm: Tpm) -> None:
    from tpm2_pytss import ESAPI  # noqa: PLC0415

    with ESAPI(tpm.tcti) as raw:
        public = TPMS_NV_PUBLIC(
            nvIndex=tpm.index,
            nameAlg=TPM2_ALG.SHA256,
            attributes=TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.NO_DA,
            dataSize=8,
        )
        raw.nv_define_space(auth=b"", public_info=TPM2B_NV_PUBLIC(nvPublic=public))
    assert provision(guarded).reason == "tpm_index_exists"
    assert provision(guarded, adopt="it is mine").reason == "damaged_state"


def test_a_wrong_authorisation_changes_nothing_and_locks_nothing(guarded: Bed) -> None:
    provision(guarded)
    path = guarded.home / "state/tpm.auth"
    honest = path.read_text()
    for wrong in ("00" * 32, "no hexadecimal", ""):
        path.write_text(wrong)
        for _ in range(12):
            assert guarded.check().reason == "damaged_state"
    path.write_text(honest)
    assert path.stat().st_mode & 0o077 == 0
    assert guarded.check().exit_code is Exit.DONE


def test_an_owner_who_set_an_authorisation(guarded: Bed, tpm: Tpm) -> None:
    with ESAPI(tpm.tcti) as raw:
        raw.hierarchy_change_auth(ESYS_TR.OWNER, b"the owner")
    try:
        outcome = provision(guarded)
        assert (outcome.reason, outcome.exit_code) == ("tpm_owner", Exit.REFUSED)
        assert provision(guarded, owner=b"the owner").exit_code is Exit.DONE
        assert guarded.check().exit_code is Exit.DONE, "nobody needs the owner any more"
    finally:
        with ESAPI(tpm.tcti) as raw:
            raw.tr_set_auth(ESYS_TR.OWNER, b"the owner")
            raw.hierarchy_change_auth(ESYS_TR.OWNER, b"")


@pytest.mark.parametrize(
    "tcti", ["swtpm:path=/nowhere/s", "nothing-of-the-kind", "device:/dev/null"]
)
def test_a_tpm_that_does_not_answer(tmp_path: Path, tcti: str) -> None:
    counter = NvCounter(Tpm(tcti=tcti), tmp_path / "auth")
    with pytest.raises(InterlockError) as caught:
        counter.read()
    assert (caught.value.reason, caught.value.exit_code) == ("tpm", Exit.TRANSIENT)
    assert tcti in str(caught.value)


def test_by_the_command_line(guarded: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(guarded.write_config())
    assert _says(["tpm", "provision", "--config", config, "--json"], capsys)[0] == 0
    code, said = _says(["tpm", "show", "--config", config, "--json"], capsys)
    shown = json.loads(said)
    assert (code, shown["reason"], shown["belongs"]) == (0, "belongs", True)
    code, said = _says(["tpm", "show", "--config", config], capsys)
    assert f"counter  {shown['value']}\nmemory   {shown['value']}" in said
    assert _says(["check", "--config", config], capsys)[0] in {0, 20}, "past the counter"


def _says(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        run(group, words)
    return int(ended.value.code or 0), capsys.readouterr().out


def test_nothing_is_provisioned_where_no_tpm_is_configured(bed: Bed) -> None:
    with bed.context() as made, pytest.raises(ConfigurationError):
        provisioning.provision(made, b"")
    with bed.context() as made, pytest.raises(ConfigurationError):
        provisioning.shown(made)


def test_an_index_outside_the_owners_range_is_a_mistake() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"index": 0x01C00002}, Tpm)


def test_refusals_say_what_to_do(guarded: Bed) -> None:
    with guarded.context() as made, pytest.raises(RefusedError, match="tpm provision"):
        made.memory()
