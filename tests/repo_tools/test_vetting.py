"""What is asked before a release is staged and signed: its SBOM, its barrier, its hardware."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema.validators import Draft7Validator
from tuf.api.metadata import Targets

from interlock_core import wire
from interlock_core.errors import RefusedError
from interlock_core.toml_lines import line_of, place_of
from interlock_repo import sbom
from interlock_repo.references import COMMON, FORMAT, MAX_ASKED, MAX_LENGTH
from interlock_repo.sbom import sbom_format
from tests.repo_tools.test_event import edited
from tests.repo_tools.test_stage import SPDX
from tests.repo_tools.world import CYCLONEDX, PRODUCT, Said, World, tool

MANAGERS = ("rosa", "raul")


def components(count: int) -> list[dict[str, Any]]:
    return [
        {"type": "library", "name": f"part-{number}", "version": "1", "bom-ref": f"part-{number}"}
        for number in range(count)
    ]


def checked(tree: dict[str, Any]) -> str:
    return sbom_format(json.dumps(tree).encode(), what="x")


def refusal(tree: dict[str, Any]) -> str:
    with pytest.raises(RefusedError) as refused:
        checked(tree)
    assert refused.value.reason == "bad_sbom"
    return str(refused.value)


class TestSbom:
    def test_a_long_one_is_valid_as_a_whole(self) -> None:
        assert checked(CYCLONEDX | {"components": components(1000)}) == "CycloneDX 1.6 JSON"

    @settings(max_examples=10, deadline=None)
    @given(st.integers(0, 249))
    def test_one_bad_component_among_many_is_found_where_it_is(self, place: int) -> None:
        """Long lists are checked in parts: as if they were checked whole."""
        listed = components(250)
        del listed[place]["name"]
        assert f"components[{place}]: 'name' is a required property" in refusal(
            CYCLONEDX | {"components": listed}
        )

    @pytest.mark.parametrize("count", [2, 250])
    def test_the_same_component_twice(self, count: int) -> None:
        listed = [*components(count), components(1)[0]]
        assert "components" in refusal(CYCLONEDX | {"components": listed})

    def test_the_rest_of_a_long_one_counts_too(self) -> None:
        tree = CYCLONEDX | {"components": components(250), "serialNumber": "none"}
        assert "serialNumber" in refusal(tree)

    def test_the_line_of_a_slip_is_named(self) -> None:
        text = json.dumps(CYCLONEDX, indent=1).replace('"version": 1,', '"version": 1')
        with pytest.raises(RefusedError, match="line 5: "):
            sbom_format(text.encode(), what="x")

    @pytest.mark.parametrize(
        ("changes", "where"),
        [
            ({"documentNamespace": "no address"}, "SPDXRef-DOCUMENT"),
            ({"packages": [SPDX["packages"][0] | {"SPDXID": "a b"}]}, "a b"),
            ({"packages": [SPDX["packages"][0] | {"licenseConcluded": 5}]}, "LicenseExpression"),
            ({"relationships": [{"spdxElementId": "SPDXRef-DOCUMENT"}]}, "Relationship"),
            ({"packages": [SPDX["packages"][0], SPDX["packages"][0]]}, "SPDXRef-DOCUMENT"),
        ],
    )
    def test_spdx_is_checked_by_its_own_tools(self, changes: dict[str, Any], where: str) -> None:
        assert checked(SPDX) == "SPDX 2.3 JSON"
        assert where in refusal(SPDX | changes)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: b"[" * 100_000,
            lambda: b'{"a":' * 100_000,
            lambda: json.dumps(CYCLONEDX | {"x": [[]] * (sbom.MAX_VALUES + 1)}).encode(),
            lambda: b" " * (sbom.MAX_SBOM + 1),
            lambda: b'{"a": ' + b"9" * 5000 + b"}",
            lambda: b'{"a": 1, "a": 2}',
            lambda: b'{"a": NaN}',
            lambda: json.dumps(
                CYCLONEDX | {"components": [components(1)[0] | {"components": components(2001)}]}
            ).encode(),
            lambda: json.dumps(SPDX | {"packages": [{}] * 5000}).encode(),
        ],
        ids=["lists", "objects", "values", "bytes", "digits", "twice", "nan", "inner", "elements"],
    )
    def test_it_is_bounded_before_a_library_sees_it(
        self, make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("cyclonedx", "spdx_tools"):
            for name in [one for one in sys.modules if one.split(".")[0] == module]:
                monkeypatch.delitem(sys.modules, name)
            monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(RefusedError) as refused:
            sbom_format(make(), what="x")
        assert refused.value.reason == "bad_sbom"

    def test_commands_that_check_none_do_not_load_the_libraries(self) -> None:
        code = (
            "import sys; from importlib import import_module; "
            "from interlock_repo.cli import MODULES; [import_module(m) for m in MODULES.values()]; "
            "assert 'interlock_repo.cli.sign' in sys.modules; "
            "assert not {'cyclonedx', 'spdx_tools', 'jsonschema', 'lark'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_nobody_signs_one_that_is_none(self, staged: Path, delegated: World) -> None:
        """The event was made by other means, and agrees with itself."""
        path = f"{PRODUCT}/1.0.0/sbom.cdx.json"
        data = json.dumps(CYCLONEDX | {"components": [{"type": "library"}]}).encode()
        (staged / "targets" / path).write_bytes(data)

        def forge(targets: Targets) -> None:
            targets.targets[path].length = len(data)
            targets.targets[path].hashes["sha256"] = wire.sha256_hex(data)
            custom = targets.targets[f"{PRODUCT}/1.0.0/fw.img"].custom
            assert custom is not None
            for reference in custom["references"]:
                if reference["path"] == path:
                    reference["sha256"] = wire.sha256_hex(data)

        edited(staged, forge)
        for said in (tool("review", staged), delegated.sign(staged, "rosa")):
            assert (said.code, "[bad_sbom]" in said.err) == (20, True), said.err
        assert not list((staged / "signatures").iterdir())


def linking(*urls: str) -> dict[str, Any]:
    references = [{"type": "website", "url": url} for url in urls]
    return CYCLONEDX | {"components": [components(1)[0] | {"externalReferences": references}]}


class TestReferences:
    """The schema's library takes a millisecond for each character of a URL."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What the library's grammar is asked about."""
        checkers, said = Draft7Validator.FORMAT_CHECKER.checkers, list[str]()
        grammar, raises = checkers[FORMAT]

        def ask(value: object) -> bool:
            said.append(str(value))
            return bool(grammar(value))

        monkeypatch.setitem(checkers, FORMAT, (ask, raises))
        return said

    def test_of_common_ones_it_is_not_asked(self, asked: list[str]) -> None:
        many = (f"https://user@example.org:8443/a/{n}?b=%C3%BC&c#d" for n in range(1000))
        assert checked(linking(*many, "doc/a.txt", "urn:uuid:0", "mailto:a@b.de"))
        assert asked == []

    def test_of_others_once(self, asked: list[str]) -> None:
        tree = linking("https://example.org/ü", "#ü")
        tree["components"] = [
            one | {"name": f"part-{n}", "bom-ref": f"part-{n}"}
            for n in range(150)
            for one in tree["components"]
        ]
        assert checked(tree)
        assert sorted(asked) == ["#ü", "https://example.org/ü"]

    @pytest.mark.parametrize("bad", ["https://example.org/a b", "a:b:%zz", "http://[::1"])
    def test_one_that_is_none_is_named(self, bad: str) -> None:
        assert "components[0].externalReferences[1].url" in refusal(linking("https://a.org", bad))

    @pytest.mark.parametrize(
        "urls",
        [
            ["https://example.org/" + "a" * MAX_LENGTH],
            [f"ü{n}" + "ü" * 1000 for n in range(MAX_ASKED // 1000 + 1)],
        ],
        ids=["length", "total"],
    )
    def test_those_that_would_take_too_long(
        self, urls: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checkers = Draft7Validator.FORMAT_CHECKER.checkers
        monkeypatch.setitem(checkers, FORMAT, (lambda _: True, ValueError))
        assert "characters" in refusal(linking(*urls))

    @settings(max_examples=40, deadline=None)
    @given(st.from_regex(COMMON, fullmatch=True).filter(lambda url: len(url) < 40))
    def test_the_pattern_accepts_what_the_grammar_accepts(self, url: str) -> None:
        grammar, _ = Draft7Validator.FORMAT_CHECKER.checkers[FORMAT]
        assert grammar(url)


@pytest.fixture
def released(delegated: World) -> World:
    """Releases with the counters 1 and 2 are in force."""
    for version, counter in (("1.0.0", 1), ("1.1.0", 2)):
        delegated.in_force("stage", delegated.release(version, counter), MANAGERS)
    return delegated


def staging(world: World, tmp_path: Path, *words: str, **changes: str) -> Said:
    spec = world.release("2.0.0", 5, changes)
    return world.make("stage", tmp_path / "e", spec, "--json", *words)


class TestBarrier:
    def test_one_that_every_supported_release_gets_over(
        self, released: World, tmp_path: Path
    ) -> None:
        said = staging(released, tmp_path, min_counter_installed="2")
        assert said.code == 0, said.err

    def test_one_that_leaves_supported_releases_behind(
        self, released: World, tmp_path: Path
    ) -> None:
        said = staging(released, tmp_path, min_counter_installed="4")
        assert (said.code, said.answer["reason"]) == (20, "stranding")
        assert "release.toml, line 5, min_counter_installed: " in said.err
        assert "1.0.0" in said.err
        assert "1.1.0" in said.err
        assert not (tmp_path / "e").exists()

    def test_who_is_not_supported_any_more_is_not_asked_for(
        self, delegated: World, tmp_path: Path
    ) -> None:
        old = {"support_end": "2020-12-31"}
        delegated.in_force("stage", delegated.release("1.0.0", 1, old), MANAGERS)
        assert staging(delegated, tmp_path, min_counter_installed="4").code == 0

    def test_nobody_signs_one_that_was_made_by_other_means(
        self, released: World, tmp_path: Path
    ) -> None:
        assert staging(released, tmp_path).code == 0

        def raise_it(targets: Targets) -> None:
            custom = targets.targets[f"{PRODUCT}/2.0.0/fw.img"].custom
            assert custom is not None
            custom["min_counter_installed"] = 4

        edited(tmp_path / "e", raise_it)
        said = released.sign(tmp_path / "e", "rosa", "--json")
        assert (said.code, said.answer["reason"]) == (20, "stranding")


class TestHardware:
    def test_a_slip_of_the_pen(self, released: World, tmp_path: Path) -> None:
        said = staging(released, tmp_path, hardware_ids='["cg-200", "cg-2O0"]')
        assert (said.code, said.answer["reason"]) == (20, "unknown_hardware")
        assert "release.toml, line 7, hardware_ids: " in said.err
        assert "--new-hardware cg-2O0" in said.err

    def test_new_hardware_is_said_and_shown(self, released: World, tmp_path: Path) -> None:
        changes = {"hardware_ids": '["cg-200", "cg-300"]'}
        said = staging(released, tmp_path, "--new-hardware", "cg-300", **changes)
        assert said.code == 0, said.err
        shown = tool("review", tmp_path / "e").out
        assert "Hardware that no release before names\n  + cg-300: " in shown
        assert released.sign(tmp_path / "e", "rosa").code == 0

    def test_new_hardware_that_no_image_names(self, released: World, tmp_path: Path) -> None:
        said = staging(released, tmp_path, "--new-hardware", "cg-300")
        assert (said.code, said.answer["reason"]) == (20, "unknown_hardware")

    def test_of_a_first_release_all_of_it_is_shown(self, staged: Path) -> None:
        shown = tool("review", staged).out
        assert "Hardware that no release before names\n  + cg-200: " in shown

    def test_nobody_signs_what_was_not_declared(self, released: World, tmp_path: Path) -> None:
        assert staging(released, tmp_path).code == 0

        def add(targets: Targets) -> None:
            custom = targets.targets[f"{PRODUCT}/2.0.0/fw.img"].custom
            assert custom is not None
            custom["hardware_ids"].append("cg-900")

        edited(tmp_path / "e", add)
        said = released.sign(tmp_path / "e", "rosa", "--json")
        assert (said.code, said.answer["reason"]) == (20, "unknown_hardware")


PLACES = """a = 1
[b]
c = [
  1,
  2,
]
"d e" = { f = 2 }
[[g]]
h = 1
[[g]]
h = 2
"""


class TestPlaces:
    @pytest.mark.parametrize(
        ("path", "line"),
        [
            (("a",), 1), (("b",), 2), (("b", "c"), 3), (("b", "c", 1), 3), (("b", "d e", "f"), 7),
            (("g", 0, "h"), 9), (("g", 1), 10), (("g", 1, "h"), 11), (("x",), None),
            (("g", 2), None), (("a", "b"), None),
        ],
    )  # fmt: skip
    def test_a_value_stands_where_its_statement_begins(
        self, path: tuple[str | int, ...], line: int | None
    ) -> None:
        assert line_of(PLACES, path) == line
        assert line_of(PLACES.replace("\n", "\r\n"), path) == line

    def test_what_is_not_there_has_the_place_above_it(self) -> None:
        assert place_of(PLACES, ("g", 1, "x")) == "line 10, g.2.x"
        assert place_of(PLACES, ("x",)) == "x"

    def test_every_slip_in_a_release_names_its_line_and_field(
        self, delegated: World, tmp_path: Path
    ) -> None:
        for changes, place in (
            ({"release_counter": '"one"'}, "line 3, release_counter"),
            ({"markets": '["DE", "de"]'}, "line 8, markets.2"),
            ({"images": '[{ fil = "fw.img" }]'}, "images.1.fil"),
            ({"support_end": "2036"}, "support_end"),
        ):
            said = delegated.make("stage", tmp_path / "e", delegated.release(changes=changes))
            assert said.code == 2
            assert f"release.toml, {place}" in said.err or f", {place}: " in said.err, said.err
