"""Is this file a bill of materials? (pure)

Rules:

1. Accepted are CycloneDX 1.5 and 1.6 and SPDX 2.3, as JSON: what regulators ask for by name.
2. The basic form is checked: what it says it is, and that it lists at least one component. A
   release whose bill of materials is empty has none.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from interlock_core.errors import RefusedError

MAX_SBOM: Final = 64 * 1024 * 1024

T = TypeVar("T")

_Text = Annotated[str, Meta(min_length=1)]


class _Kind(msgspec.Struct, rename="camel"):
    bom_format: Any = None
    spdx_version: Any = None


class _Component(msgspec.Struct):
    type: _Text
    name: _Text


class _CycloneDx(msgspec.Struct, rename="camel"):
    bom_format: Literal["CycloneDX"]
    spec_version: Literal["1.5", "1.6"]
    components: Annotated[list[_Component], Meta(min_length=1)]


class _CreationInfo(msgspec.Struct):
    created: _Text
    creators: Annotated[list[str], Meta(min_length=1)]


class _Package(msgspec.Struct):
    name: _Text
    spdx_id: _Text = msgspec.field(name="SPDXID")


class _Spdx(msgspec.Struct, rename="camel"):
    spdx_version: Literal["SPDX-2.3"]
    spdx_id: Literal["SPDXRef-DOCUMENT"] = msgspec.field(name="SPDXID")
    data_license: _Text
    name: _Text
    document_namespace: _Text
    creation_info: _CreationInfo
    packages: Annotated[list[_Package], Meta(min_length=1)]


def sbom_format(data: bytes, *, what: str) -> str:
    """The format of a bill of materials, for instance ``"CycloneDX 1.6 JSON"``.

    Raises:
        RefusedError: ``bad_sbom``: it has none of the accepted forms (rules 1 and 2).
    """
    kind = _decode(data, _Kind, what)
    if kind.bom_format is not None:
        return f"CycloneDX {_decode(data, _CycloneDx, what).spec_version} JSON"
    if kind.spdx_version is not None:
        return f"{_decode(data, _Spdx, what).spdx_version.replace('-', ' ')} JSON"
    raise RefusedError(
        f"{what} is no SBOM: it must be CycloneDX 1.5 or 1.6, or SPDX 2.3, as JSON.",
        reason="bad_sbom",
    )


def _decode(data: bytes, type_: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise RefusedError(
            f"{what} is not an acceptable SBOM: {str(e)[:200]}.", reason="bad_sbom"
        ) from e
