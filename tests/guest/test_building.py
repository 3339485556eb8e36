"""How the images come about: the same twice, from packages that apt's signatures vouch for,
complete, and not larger than they may be."""

import dataclasses
import json
import os
import re
import subprocess

import extensions
import images
import layout
import pytest
from debian import Archive, BuildError, Package, mirror, place, run, unpack
from images_under_test import RELEASE, run_in
from system import System

ROOMS = ("black", "crypto", "red")
LOADED = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sorted(m for m in sys.modules if m.split(".")[0] in ("wgpy", "nacl", "hashlib", "_hashlib", "ssl")))
"""


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["amd64", pytest.param("arm64", marks=pytest.mark.long)])
def test_built_twice_they_are_the_same(built_for, arch, tmp_path):
    """F9: packages are unpacked, modules compiled and archives packed anew."""
    built = built_for(arch)
    images.build(arch, RELEASE, tmp_path)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == sorted(["vmlinuz", "command-line", *(f"{room}.{what}" for room in ROOMS
                                                         for what in ("cpio.zst", "manifest.json", "cdx.json"))])
    assert [n for n in names if (tmp_path / n).read_bytes() != (built.folder / n).read_bytes()] == []


def test_the_mirror_is_the_one_of_this_machine_or_named(monkeypatch):
    monkeypatch.delenv("MIRROR", raising=False)
    monkeypatch.setattr("debian.run", lambda *_: "http://one.example/ubuntu\nhttp://two.example/x/debian/\n")
    assert mirror() == "http://two.example/x"
    monkeypatch.setattr("debian.run", lambda *_: "")
    with pytest.raises(BuildError, match="no mirror of Debian"):
        mirror()
    monkeypatch.setenv("MIRROR", "http://three.example")
    assert mirror() == "http://three.example"


def test_what_is_unpacked_leads_to_nothing_of_the_machine(tmp_path):
    """Debian 13's loader, which /lib64 of Debian 12 would name there, does not run Debian 12's libc."""
    (tmp_path / "package/DEBIAN").mkdir(parents=True)
    (tmp_path / "package/DEBIAN/control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n")
    (tmp_path / "package/lib/here").mkdir(parents=True)
    (tmp_path / "package/lib/here/loader").write_text("of the package")
    (tmp_path / "package/lib64").mkdir()
    (tmp_path / "package/lib64/loader").symlink_to("/lib/here/loader")
    subprocess.run(["dpkg-deb", "--build", tmp_path / "package", tmp_path / "x.deb"], check=True, capture_output=True)
    unpack(tmp_path / "x.deb", tmp_path / "root")
    assert (tmp_path / "root/usr/lib64/loader").read_text() == "of the package"


@pytest.mark.netns
@pytest.mark.parametrize("room", ROOMS)
def test_a_room_loads_in_its_image_and_nothing_of_another(built, room, tmp_path):
    root = built.unpack(room, tmp_path)
    done = run_in(root, "/usr/bin/python3.11", "-IB", "-c", LOADED, "wgpy.guest.main", "wgpy.rooms.room", f"wgpy.{room}.main",
                  f"wgpy.guest.{'inner' if room == 'crypto' else 'outer'}", "_strptime", "encodings.idna", "linecache")
    assert not done.returncode, done.stderr
    loaded = done.stdout.split()
    assert f"wgpy.{room}.main" in loaded and "_hashlib" not in loaded
    assert not [m for m in loaded for other in ROOMS if other != room and m.startswith(f"wgpy.{other}")]
    assert ("nacl" in loaded) == (room == "crypto")


@pytest.mark.netns
def test_nft_of_the_image_knows_protocols_by_name(built, tmp_path):
    root = built.unpack("black", tmp_path)
    done = run_in(root, "/usr/sbin/nft", "--version")
    assert not done.returncode and done.stdout.startswith("nftables v"), done.stderr
    assert not run_in(root, "/usr/bin/ip", "-V").returncode
    assert b"\nudp\t17\t" in built.files("black")["etc/protocols"]


@pytest.mark.netns
def test_what_was_not_found_is_built_in_left_out_or_of_other_systems(built, tmp_path):
    root = built.unpack("crypto", tmp_path)
    within = set(run_in(root, "/usr/bin/python3.11", "-ISB", "-c", "import sys; print(*sys.builtin_module_names)").stdout.split())
    frozen = {"__main__", "os.path", "_frozen_importlib", "_frozen_importlib_external"}
    foreign = {"_overlapped", "_scproxy", "_winapi", "_winreg", "apport_python_hook", "java", "java.lang", "msvcrt", "nt", "org",
               "org.python", "org.python.core", "vms_lib", "winreg"}
    for room in ROOMS:
        left_out = layout.ROOMS[room].without
        unresolved = json.loads((built.folder / f"{room}.manifest.json").read_text())["unresolved"]
        odd = [n for n in unresolved if n not in within | frozen | foreign
               and not any(n == w or n.startswith(w + ".") for w in left_out)]
        assert odd == []


def test_an_image_that_is_too_large_is_refused(monkeypatch, built, tmp_path):
    small = dataclasses.replace(layout.ROOMS["black"], ceiling=1000)
    monkeypatch.setattr(images, "COMPRESS", ("cat",))
    image = type("", (), {"room": small, "entries": lambda self, c: {}, "origins": lambda self: {}})()
    monkeypatch.setattr(images, "archive", lambda entries: bytes(1001))
    with pytest.raises(BuildError, match="1001 bytes, more than 1000"):
        images.write(image, {}, System("amd64", RELEASE), tmp_path, {})
    assert not list(tmp_path.iterdir())


def test_lists_that_nobody_signed_are_refused(tmp_path):
    suites = tmp_path / "mirror"
    for inner in ("debian/dists/bookworm", "debian/dists/bookworm-updates", "debian-security/dists/bookworm-security"):
        folder = suites / inner
        (folder / "main/binary-amd64").mkdir(parents=True)
        (folder / "main/binary-amd64/Packages").touch()
        (folder / "Release").write_text("Origin: x\nSuite: x\nCodename: x\nArchitectures: amd64\nComponents: main\n"
                                        "Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n "
                                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/binary-amd64/Packages\n")
    os.chmod(tmp_path, 0o755)
    with pytest.raises(BuildError, match="is not signed"):
        Archive(tmp_path / "cache", RELEASE, "amd64", f"file:{suites}").update()


def test_a_package_that_is_not_what_the_list_says_is_refused(tmp_path):
    archive = Archive(tmp_path, RELEASE, "amd64", "file:/none")
    package = Package("x", "1:2-3", "amd64", "0" * 64, "pool/x.deb")
    (tmp_path / "apt/cache/archives" / "x_1%3a2-3_amd64.deb").write_bytes(b"other")
    with pytest.raises(BuildError, match="not what the signed list of bookworm names"):
        archive.fetch([package])


def test_paths_of_packages():
    assert place("./bin/x") == "usr/bin/x" and place("./lib/x86_64-linux-gnu/ld.so") == "usr/lib/x86_64-linux-gnu/ld.so"
    assert place("./etc/x") == "etc/x" and place("./") == "."
    with pytest.raises(BuildError):
        place("./usr/../../x")


def test_what_is_not_offered_is_refused_in_one_line():
    for arch, release in (("riscv64", "bookworm"), ("amd64", "sid")):
        with pytest.raises(BuildError, match=f"no images of {release} for {arch}: there are bookworm, trixie; amd64, arm64"):
            System(arch, release)


def test_a_machine_whose_python_is_in_no_image_is_told_so(monkeypatch):
    monkeypatch.setattr("system.NATIVE", "")
    with pytest.raises(BuildError, match="images are built on x86_64 or aarch64, not on "):
        System("amd64", RELEASE)


def test_without_a_compiler_for_the_guest_the_remedy_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="^not installed: a compiler for arm64: tools/packages.sh guests$"):
        extensions.compiler("arm64")


def test_what_make_could_not_run_is_named(tmp_path):
    (tmp_path / "Makefile").write_text("all:\n\t@no-such-compiler\n")
    with pytest.raises(BuildError, match="no-such-compiler"):
        run("make", "-C", tmp_path)


def test_a_python_older_than_the_guests_is_told_so(monkeypatch):
    monkeypatch.setitem(layout.PYTHON, "trixie", "3.99")
    with pytest.raises(BuildError, match="the Python of trixie is 3.99: one at least as new is needed"):
        System("amd64", "trixie")


def test_the_kernel_is_told_to_end_with_its_room(built):
    words = (built.folder / "command-line").read_text().split()
    assert {"panic=-1", "oops=panic"} <= set(words)
    assert not [w for w in words if re.match("init=|rdinit=|rescue|single", w)]
