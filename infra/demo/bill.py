"""The software bill of materials of a demo image, as CycloneDX 1.6.

Rules:

1. It says what the package's control data says and no more, and calls itself ``incomplete``; of
   a file that somebody brought along nothing is known, and it says ``unknown``.
2. The same image gives the same bytes: no time, no chance.
"""

from __future__ import annotations

import platform
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote


def of_file(name: str, version: str, sha256: str) -> dict[str, Any]:
    """Return the bill of an image that is known by its bytes alone."""
    subject = {
        "type": "firmware",
        "bom-ref": "image",
        "name": name,
        "version": version,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
    }
    content = {**subject, "type": "file", "bom-ref": "content"}
    return _bill(subject, content, sha256, parts="unknown")


def of_package(
    control: Mapping[str, str], image_sha256: str, deb_sha256: str, licences: Sequence[str]
) -> dict[str, Any]:
    """Return the bill of an image that is the content of one Debian package.

    Args:
        control: the package's control fields, as ``dpkg-deb --field`` prints them.
        image_sha256: of the image, lower-case hexadecimal.
        deb_sha256: of the package file.
        licences: as its copyright file names them.
    """
    vendor = platform.freedesktop_os_release()["ID"]
    package, version = control["Package"], control["Version"]

    def purl(name: str, its_version: str, architecture: str) -> str:
        of = quote(its_version, safe="~.-")
        return f"pkg:deb/{vendor}/{quote(name, safe='.-')}@{of}?arch={architecture}"

    component: dict[str, Any] = {
        "type": "operating-system",
        "bom-ref": purl(package, version, control["Architecture"]),
        "supplier": {"name": control["Maintainer"]},
        "name": package,
        "version": version,
        "description": control["Description"].splitlines()[0],
        "hashes": [{"alg": "SHA-256", "content": deb_sha256}],
        "licenses": [{"license": {"name": licence}} for licence in licences],
        "purl": purl(package, version, control["Architecture"]),
    }
    if "Homepage" in control:
        component["externalReferences"] = [{"type": "website", "url": control["Homepage"]}]
    if sources := re.findall(r"(\S+) \(= ([^)]+)\)", control.get("Built-Using", "")):
        component["pedigree"] = {
            "ancestors": [
                {
                    "type": "operating-system",
                    "name": name,
                    "version": of,
                    "purl": purl(name, of, "source"),
                }
                for name, of in sources
            ]
        }
    subject = {
        "type": "firmware",
        "bom-ref": "image",
        "supplier": {"name": control["Maintainer"]},
        "name": package,
        "version": version,
        "hashes": [{"alg": "SHA-256", "content": image_sha256}],
    }
    return _bill(subject, component, image_sha256, parts="incomplete")


def _bill(
    subject: dict[str, Any], component: dict[str, Any], sha256: str, *, parts: str
) -> dict[str, Any]:
    ref = component["bom-ref"]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, sha256)}",
        "version": 1,
        "metadata": {"component": subject},
        "components": [component],
        "dependencies": [{"ref": "image", "dependsOn": [ref]}, {"ref": ref}],
        "compositions": [{"aggregate": parts, "assemblies": ["image", ref]}],
    }
