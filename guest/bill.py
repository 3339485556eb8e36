"""What is in an image, for whoever wants to know: the manifest, and the bill of materials
(CycloneDX 1.6)."""

import hashlib
import json
import stat
import tomllib

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from system import ROOT, System

from wgpy.vms.newc import Entry

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def manifest(entries: dict[str, Entry], origins: dict[str, str], about: dict) -> str:
    """A line a file: path, mode, size, SHA-256, package. Python's modules are there in compiled
    form, as the package's own interpreter makes it of the package's source."""
    files = [{"path": place, "mode": f"{entry.mode:o}", "size": len(entry.data),
              "sha256": hashlib.sha256(entry.data).hexdigest(), "of": origins.get(place, "wgpy")}
             for place, entry in entries.items() if not stat.S_ISDIR(entry.mode)]
    lines = ",\n  ".join(json.dumps(f) for f in files)
    return f'{json.dumps(about, indent=1)[:-2]},\n "files": [\n  {lines}\n ]\n}}\n'


def bill(room: str, origins: dict[str, str], system: System) -> str:
    """Packages of which the image has at least a file, and the kernel that is beside it."""
    used = {*origins.values(), system.origin(system.kernel())}
    parts = [_package(system, origin) for origin in sorted(used - {"wgpy"})]
    root = Component(name=f"wgpy-guest-{room}", version=VERSION, type=ComponentType.OPERATING_SYSTEM, bom_ref=f"wgpy-guest-{room}")
    made = Bom(components=parts)
    made.metadata.component = root
    made.register_dependency(root, parts)
    said = json.loads(JsonV1Dot6(made).output_as_string())
    # Neither may differ between two builds of the same.
    del said["serialNumber"], said["metadata"]["timestamp"]
    return json.dumps(said, indent=1, sort_keys=True) + "\n"


def _package(system: System, origin: str) -> Component:
    name, version = origin.split()
    package = system.packages.get(origin)
    if package is None:
        kind, hashes, facts = PackageURL("pypi", None, name, version), system.pinned[origin], []
    else:
        kind = PackageURL("deb", "debian", name, version, {"arch": package.architecture, "distro": system.release})
        hashes, facts = [package.sha256], [Property(name="debian:filename", value=package.filename)]
    return Component(name=name, version=version, type=ComponentType.LIBRARY, bom_ref=origin, purl=kind, properties=facts,
                     hashes=[HashType(alg=HashAlgorithm.SHA_256, content=h) for h in hashes])
