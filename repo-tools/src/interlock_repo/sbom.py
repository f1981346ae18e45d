"""Is this file a bill of materials? (pure; the two libraries that know the forms are heavy)

Rules:

1. Accepted are CycloneDX 1.4 to 1.6 and SPDX 2.2 and 2.3, as JSON: what regulators ask for by name.
2. CycloneDX is validated against its own schema, SPDX by its own tools, both offline; and it lists
   at least one component: a release whose bill of materials is empty has none.
3. Suppliers write it, so it is bounded before a library sees it: bytes, depth, values, and whatever
   a library compares each with each. Nothing that a library raises escapes.
4. The libraries are loaded when the first file is checked, and by no command that checks none.
5. Of references (URLs) the schema's library asks a grammar that takes about a millisecond for each
   character. So each is asked about once; what ``interlock_repo.references`` sees to be one is not
   asked about; and of the rest so many characters are checked, and no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn

from interlock_core.errors import RefusedError

MAX_SBOM: Final = 16 * 1024 * 1024
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 2_000_000
CHUNK: Final = 100
"""The schema wants the items of a list unique, and its library compares each with each."""
MAX_INNER: Final = 2_000
"""The longest list of objects that is not checked in parts."""
MAX_LOOKUPS: Final = 20_000_000
"""SPDX's tools look every reference up among all elements."""

CYCLONEDX: Final = ("1.4", "1.5", "1.6")
SPDX: Final = ("SPDX-2.2", "SPDX-2.3")


def sbom_format(data: bytes, *, what: str) -> str:
    """The format of a bill of materials, for instance ``"CycloneDX 1.6 JSON"``.

    Args:
        data: the file.
        what: names it in errors.

    Raises:
        RefusedError: ``bad_sbom``: it is none; the message says where.
    """
    tree = _parse(data, what)
    if tree.get("bomFormat") == "CycloneDX":
        version = tree.get("specVersion")
        if version not in CYCLONEDX:
            raise _bad(what, f"specVersion is {_short(version)}, and must be 1.4, 1.5 or 1.6")
        if not _listed(tree, "components"):
            raise _bad(what, "components: it lists no component")
        _check_cyclonedx(tree, str(version), what)
        return f"CycloneDX {version} JSON"
    if "spdxVersion" in tree:
        version = tree["spdxVersion"]
        if version not in SPDX:
            raise _bad(what, f"spdxVersion is {_short(version)}, and must be SPDX-2.2 or SPDX-2.3")
        if not _listed(tree, "packages"):
            raise _bad(what, "packages: it lists no package")
        _check_spdx(tree, what)
        return f"{str(version).replace('-', ' ')} JSON"
    raise _bad(what, "it must be CycloneDX 1.4 to 1.6, or SPDX 2.2 or 2.3, as JSON")


def _parse(data: bytes, what: str) -> dict[str, Any]:
    """JSON within bounds (rule 3)."""
    if len(data) > MAX_SBOM:
        raise _bad(what, f"it has {len(data)} bytes, and at most {MAX_SBOM} are read")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise _bad(what, f"the key {_short(twice)} stands twice in one object")
        return made

    def no_number(text: str) -> NoReturn:
        raise _bad(what, f"{text} is no number of JSON")

    try:
        tree = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_number)
    except UnicodeDecodeError as e:
        raise _bad(what, f"byte {e.start} is not UTF-8") from e
    except json.JSONDecodeError as e:
        raise _bad(what, f"line {e.lineno}: {e.msg}") from e
    except RecursionError as e:
        raise _bad(what, f"it is nested deeper than {MAX_DEPTH} levels") from e
    except ValueError as e:  # an integer of more digits than Python reads
        raise _bad(what, str(e)) from e
    _check_bounds(tree, what)
    if not isinstance(tree, dict):
        raise _bad(what, "it is not an object of JSON")
    return tree


def _check_bounds(tree: object, what: str) -> None:
    values, level = 0, [tree]
    for _ in range(MAX_DEPTH):
        values += len(level)
        if values > MAX_VALUES:
            raise _bad(what, f"it holds more than {MAX_VALUES} values")
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise _bad(what, f"it is nested deeper than {MAX_DEPTH} levels")


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _listed(tree: dict[str, Any], name: str) -> list[Any]:
    value = tree.get(name)
    return value if isinstance(value, list) else []


# CycloneDX


def _check_cyclonedx(tree: dict[str, Any], version: str, what: str) -> None:
    _check_lists(tree, what)
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415  # rule 4
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415  # rule 4

    from interlock_repo.references import TooLongError, bounded  # noqa: PLC0415  # rule 4

    validator = JsonStrictValidator(SchemaVersion.from_version(version))
    with bounded():
        for start, part in _parts(tree):
            try:
                error = validator.validate_str(json.dumps(part))
            except TooLongError as e:
                raise _bad(what, str(e)) from e
            except Exception as e:  # whatever the library cannot bear is no SBOM
                raise _bad(what, f"{type(e).__name__}: {e}") from e
            if error is not None:
                found = error.data
                raise _bad(what, f"{_path(found.absolute_path, start)}: {found.message}")


def _check_lists(tree: dict[str, Any], what: str) -> None:
    """See that no list costs too much, and that the long ones at the top hold nothing twice."""
    for name, value in tree.items():
        if isinstance(value, list) and len(value) > CHUNK:
            if len({json.dumps(item, sort_keys=True) for item in value}) != len(value):
                raise _bad(what, f"{name}: it lists something twice")
            level: list[object] = list(value)
        else:
            level = [value]
        while level:
            for inner in level:
                if (
                    isinstance(inner, list)
                    and len(inner) > MAX_INNER
                    and any(isinstance(item, dict | list) for item in inner)
                ):
                    raise _bad(what, f"{name}: a list in it has more than {MAX_INNER} objects")
            level = [inner for outer in level for inner in _inside(outer)]


def _parts(tree: dict[str, Any]) -> Iterator[tuple[dict[str, int], dict[str, Any]]]:
    """The document in parts that are each valid if and only if the whole is.

    Long lists at the top are cut; what each part begins with is given by name.
    """
    long = {name: v for name, v in tree.items() if isinstance(v, list) and len(v) > CHUNK}
    yield {}, tree | {name: value[:CHUNK] for name, value in long.items()}
    frame = {name: tree[name] for name in ("bomFormat", "specVersion", "version") if name in tree}
    for name, value in long.items():
        for start in range(CHUNK, len(value), CHUNK):
            yield {name: start}, frame | {name: value[start : start + CHUNK]}


def _path(steps: Iterable[str | int], start: dict[str, int]) -> str:
    said, before = "", 0
    for step in steps:
        if isinstance(step, int):
            said += f"[{step + before}]"
            before = 0
        else:
            said += f".{step}" if said else step
            before = start.get(step, 0) if said == step else 0
    return said or "the document"


# SPDX


def _check_spdx(tree: dict[str, Any], what: str) -> None:
    elements = sum(len(_listed(tree, name)) for name in ("packages", "files", "snippets"))
    references = 2 * len(_listed(tree, "relationships")) + elements
    if elements * references > MAX_LOOKUPS:
        raise _bad(
            what,
            f"{elements} elements with {references} references are more than its tools check in "
            "reasonable time: leave single files out, or use CycloneDX",
        )
    from spdx_tools.spdx.parser.error import SPDXParsingError  # noqa: PLC0415  # rule 4
    from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import (  # noqa: PLC0415  # as above
        JsonLikeDictParser,
    )
    from spdx_tools.spdx.validation.document_validator import (  # noqa: PLC0415  # as above
        validate_full_spdx_document,
    )

    try:
        messages = validate_full_spdx_document(JsonLikeDictParser().parse(tree))
    except SPDXParsingError as e:
        raise _bad(what, "; ".join(map(str, e.get_messages()))) from e
    except Exception as e:  # whatever the library cannot bear is no SBOM
        raise _bad(what, f"{type(e).__name__}: {e}") from e
    if messages:
        first = messages[0]
        where = first.context.spdx_id or first.context.parent_id or "the document"
        raise _bad(what, f"{where}: {first.validation_message}")


def _bad(what: str, why: str) -> RefusedError:
    return RefusedError(f"{what} is not an acceptable SBOM: {_short(why, 400)}.", reason="bad_sbom")


def _short(value: object, length: int = 60) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= length else f"{text[: length - 1]}…"
