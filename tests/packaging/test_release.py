"""F9: what a release is made of can be named, checked and built again."""
import os
import platform
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from building import build_wheel, run
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from needs import need
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKED = re.findall(r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)",
                    (ROOT / "requirements.lock").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def modules(wheel, tmp_path_factory) -> list[Path]:
    """The extension modules as the wheel has them."""
    folder = tmp_path_factory.mktemp("modules")
    with zipfile.ZipFile(wheel) as archive:
        made = [Path(archive.extract(n, folder)) for n in archive.namelist() if n.endswith(".so")]
    assert {m.name.partition(".")[0] for m in made} == {"plane", "ports"}
    return made


def readelf(*arguments) -> str:
    need("readelf")
    return run("readelf", "-W", *arguments, cwd=ROOT)


@pytest.mark.slow
def test_modules_are_hardened(modules):
    for module in modules:
        dynamic, headers, symbols = readelf("-d", module), readelf("-l", module), readelf("-s", module)
        assert "BIND_NOW" in dynamic and "GNU_RELRO" in headers
        assert re.search(r"GNU_STACK .* RW ", headers), "the stack is not executable"
        assert "__stack_chk_fail" in symbols and "_chk@" in symbols
        if platform.machine() == "x86_64":
            assert bytes.fromhex("f30f1efa") in module.read_bytes(), "no ENDBR64"


@pytest.mark.slow
def test_modules_load_nothing_from_the_builders_folders(modules):
    for module in modules:
        dynamic = readelf("-d", module)
        assert "RUNPATH" not in dynamic and "RPATH" not in dynamic
        needed = set(re.findall(r"\(NEEDED\).*\[(.*?)\.so", dynamic))
        assert needed <= ({"libc", "libcrypto", "ld-linux-x86-64", "ld-linux-aarch64"} if "plane" in module.name
                          else {"libc", "ld-linux-x86-64", "ld-linux-aarch64"})


@pytest.mark.slow
def test_modules_carry_no_trace_of_the_builder(modules):
    for module in modules:
        assert ".debug_info" not in readelf("-S", module)
        assert os.fsencode(str(Path.home())) + b"/" not in module.read_bytes()


@pytest.mark.slow
def test_two_builds_in_two_folders_are_the_same(sdist, wheel, tmp_path_factory):
    again = build_wheel(sdist, tmp_path_factory.mktemp("another-folder-of-another-length"))
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_every_dependency_is_locked_with_hashes():
    versions = {canonicalize_name(name): version for name, version, _ in LOCKED}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for wanted in map(Requirement, project["dependencies"]):
        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)])
    assert (ROOT / "requirements.lock").read_text().count("==") == len(LOCKED), "an entry without hashes"


def test_bill_of_materials_is_valid_and_complete():
    text = subprocess.run([sys.executable, "-I", ROOT / "tools/sbom.py"], capture_output=True, text=True, check=True).stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    for name, version, hashes in LOCKED:
        assert f'"bom-ref": "{name}=={version}"' in text
        assert all(h in text for h in re.findall(r"[0-9a-f]{64}", hashes))
    assert {"openssl", "libsodium", "libseccomp"} <= set(re.findall(r'"bom-ref": "([^"=]+)"', text))
