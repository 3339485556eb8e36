"""Prints the software bill of materials of a release (CycloneDX 1.6, JSON): wgpy, what
requirements.lock pins with its hashes and licence, and the C libraries behind it (F9)."""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

ROOT = Path(__file__).parents[1]
# what is linked or loaded and is no Python package: name, licence, by whom it is brought
LIBRARIES = (("openssl", "Apache-2.0", "libcrypto of the host, linked by wgpy._fast.plane"),
             ("libsodium", "ISC", "inside PyNaCl's wheel"),
             ("libseccomp", "LGPL-2.1-only", "of the host, loaded by pyseccomp"))


def pinned() -> list[tuple[str, str, list[str]]]:
    """(name, version, SHA-256 of each file) of requirements.lock."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    found = re.findall(r"^([\w.-]+)==(\S+)((?:\s+--hash=sha256:[0-9a-f]{64})+)", text, re.MULTILINE)
    return [(name, version, re.findall(r"[0-9a-f]{64}", hashes)) for name, version, hashes in found]


def licence(name: str) -> str:
    """As the installed package states it; "unknown" where it is not installed."""
    try:
        facts = metadata(name)
    except PackageNotFoundError:
        return "unknown"
    classifiers = [c.rpartition(" :: ")[2] for c in facts.get_all("Classifier", []) if c.startswith("License")]
    stated = facts.get("License-Expression") or facts.get("License") or ""
    return stated if stated and "\n" not in stated else ", ".join(classifiers) or "unknown"


def bill() -> Bom:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    root = Component(name=project["name"], version=project["version"], type=ComponentType.APPLICATION,
                     bom_ref=project["name"], licenses=[DisjunctiveLicense(id="MIT")])
    parts = [Component(name=name, version=version, type=ComponentType.LIBRARY, bom_ref=f"{name}=={version}",
                       purl=PackageURL("pypi", None, name.lower(), version),
                       licenses=[DisjunctiveLicense(name=licence(name))],
                       hashes=[HashType(alg=HashAlgorithm.SHA_256, content=h) for h in hashes])
             for name, version, hashes in pinned()]
    parts += [Component(name=name, type=ComponentType.LIBRARY, bom_ref=name, description=where,
                        licenses=[DisjunctiveLicense(id=of)]) for name, of, where in LIBRARIES]
    made = Bom(components=parts)
    made.metadata.component = root
    made.register_dependency(root, parts)
    return made


if __name__ == "__main__":
    sys.stdout.write(JsonV1Dot6(bill()).output_as_string(indent=2) + "\n")
