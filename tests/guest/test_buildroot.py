"""The external tree for Buildroot (A5), as far as it can be told without Buildroot: what it names
exists, sources have their hashes, rooms get what they import and no more, kernels what /init and the
room ask for."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

import layout
import pid1
import pytest
from closure import Modules
from images_under_test import RELEASE, run_in
from system import ROOT, System, pinned

TREE = ROOT / "guest/buildroot"
ROOMS = ("black", "crypto", "red")
KEYLESS = ("black", "red")
ROOM_OF = {f"BR2_PACKAGE_WGPY_{room.upper()}": room for room in ROOMS}

# Of Buildroot 2026.08: its options that the tree names, with what they select there.
BUILDROOT = {
    "BR2_PACKAGE_PYTHON_PYNACL": {"BR2_PACKAGE_PYTHON_CFFI", "BR2_PACKAGE_LIBSODIUM"},
    "BR2_PACKAGE_NFTABLES": {"BR2_PACKAGE_LIBMNL", "BR2_PACKAGE_LIBNFTNL"},
    "BR2_PACKAGE_NFTABLES_JSON": {"BR2_PACKAGE_JANSSON"},
    "BR2_PACKAGE_PYTHON3": {"BR2_PACKAGE_LIBFFI"},
    "BR2_PACKAGE_PYTHON3_ZLIB": {"BR2_PACKAGE_ZLIB"},
    **{f"BR2_{name}": set() for name in """
 x86_64 DOWNLOAD_FORCE_CHECK_HASHES REPRODUCIBLE SSP_STRONG RELRO_FULL FORTIFY_SOURCE_2 TOOLCHAIN_BUILDROOT_GLIBC TOOLCHAIN_USES_GLIBC
 TOOLCHAIN_HEADERS_AT_LEAST_3_17 INIT_NONE ROOTFS_MERGED_USR TARGET_ENABLE_ROOT_LOGIN SYSTEM_BIN_SH_NONE TARGET_GENERIC_GETTY
 ROOTFS_OVERLAY ROOTFS_POST_FAKEROOT_SCRIPT ROOTFS_POST_SCRIPT_ARGS TARGET_ROOTFS_CPIO TARGET_ROOTFS_CPIO_ZSTD TARGET_ROOTFS_TAR
 LINUX_KERNEL LINUX_KERNEL_USE_CUSTOM_CONFIG LINUX_KERNEL_CUSTOM_CONFIG_FILE LINUX_KERNEL_CONFIG_FRAGMENT_FILES
 LINUX_KERNEL_NEEDS_HOST_LIBELF PACKAGE_BUSYBOX PACKAGE_IFUPDOWN_SCRIPTS PACKAGE_IPROUTE2 PACKAGE_LIBSECCOMP
 PACKAGE_LIBSECCOMP_ARCH_SUPPORTS PACKAGE_NFTABLES_PYTHON PACKAGE_OPENSSL PACKAGE_PYTHON3_PY_ONLY""".split()},
}
# By module that a room imports; what else it imports is in Python or in wgpy.
PACKAGES = {"nacl": "BR2_PACKAGE_PYTHON_PYNACL", "_cffi_backend": "BR2_PACKAGE_PYTHON_CFFI",
            "pyseccomp": "BR2_PACKAGE_PYTHON_PYSECCOMP", "pytun": "BR2_PACKAGE_PYTHON_PYTUN"}
# Modules of Python itself that Buildroot's is made without unless it is asked for them.
OF_PYTHON = {"zlib": "ZLIB", "bz2": "BZIP2", "lzma": "XZ", "ssl": "SSL", "sqlite3": "SQLITE", "curses": "CURSES", "readline": "READLINE",
             "decimal": "DECIMAL", "xml": "PYEXPAT"}
# The kernel's options by module, where the names differ; "" is no option of its own.
KERNEL_OPTIONS = {"virtio_rng": "HW_RANDOM_VIRTIO", "ext4": "EXT4_FS", "nft_chain_nat": "NFT_NAT", "nft_reject_inet": "NFT_REJECT"}
# /init's file systems and script, a room's jail, the way in of wgpy_ring.
ALWAYS = """BINFMT_SCRIPT BLK_DEV_INITRD RD_ZSTD PROC_FS PROC_SYSCTL SYSFS SECURITYFS DEVTMPFS TMPFS MODULES UIO PCI_MSI SERIAL_8250_CONSOLE
 SECCOMP_FILTER SECURITY_LANDLOCK SECURITY_LOCKDOWN_LSM UTS_NS IPC_NS USER_NS PID_NS NET_NS CGROUPS UNIX EPOLL EVENTFD SIGNALFD
 TIMERFD MEMFD_CREATE""".split()


@cache
def options() -> dict[str, dict]:
    """Of the tree's own Config.in files: type, help, and what each selects."""
    found: dict[str, dict] = {}
    for file in sorted(TREE.glob("package/*/Config.in")):
        for text in re.split(r"^(?=config |comment |choice|endchoice|if |endif)", file.read_text(), flags=re.MULTILINE):
            if name := re.match(r"config (\w+)\n", text):
                assert name[1] not in found, name[1]
                found[name[1]] = {"bool": re.search(r'^\tbool "[\w-]+"$', text, re.MULTILINE), "help": "\n\thelp\n\t  " in text,
                                  "select": set(re.findall(r"^\tselect (\w+)", text, re.MULTILINE))}
    return found


def selected(room: str) -> set[str]:
    todo, found = [name for name in defconfig(room) if defconfig(room)[name] == "y"], set()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += options()[name]["select"] if name in options() else BUILDROOT.get(name, ())
    return found


@cache
def defconfig(room: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in (TREE / f"configs/wgpy_{room}_defconfig").read_text().splitlines():
        match = re.fullmatch(r'(BR2_\w+)=(y|\d+|"[^"]*")|# (BR2_\w+) is not set', line)
        assert match, f"{room}: {line}"
        name = match[1] or match[3]
        assert name not in found, f"{room}: {name} twice"
        found[name] = (match[2] or "n").strip('"')
    return found


def kernel(room: str) -> dict[str, str]:
    """What the room's configuration and its fragments ask for; a later line counts."""
    found = {}
    names = (defconfig(room)[f"BR2_LINUX_KERNEL_{n}"] for n in ("CUSTOM_CONFIG_FILE", "CONFIG_FRAGMENT_FILES"))
    for file in " ".join(names).split():
        for line in placed(file).read_text().splitlines():
            match = re.fullmatch(r'CONFIG_(\w+)=(y|"[^"]*")|# CONFIG_(\w+) is not set|# [^=]*|', line)
            assert match, f"{file}: {line}"
            if match[1] or match[3]:
                found[match[1] or match[3]] = match[2] or "n"
    return found


def placed(path: str) -> Path:
    return Path(path.replace("$(BR2_EXTERNAL_WGPY_PATH)", str(TREE)))


def recipe(package: str) -> dict[str, str]:
    text = (TREE / f"package/{package}/{package}.mk").read_text().replace("\\\n", " ")
    return dict(re.findall(rf"^{package.upper().replace('-', '_')}_(\w+) = (.*)$", text, re.MULTILINE))


def test_the_tree_describes_itself():
    described = dict(line.split(": ", 1) for line in (TREE / "external.desc").read_text().splitlines())
    assert described["name"] == "WGPY" and described["desc"]
    sourced = re.findall(r'^source "\$BR2_EXTERNAL_WGPY_PATH/(.*)"$', (TREE / "Config.in").read_text(), re.MULTILINE)
    assert {TREE / name for name in sourced} == set(TREE.glob("package/*/Config.in"))
    assert "$(wildcard $(BR2_EXTERNAL_WGPY_PATH)/package/*/*.mk)" in (TREE / "external.mk").read_text()


def test_options_are_well_formed_and_what_they_name_exists():
    assert set(ROOM_OF) < options().keys()
    assert not [name for name, facts in options().items() if not (facts["bool"] and facts["help"])]
    named = {}
    for file in (*TREE.glob("package/*/*"), *TREE.glob("configs/*"), TREE / "external.mk"):
        named |= dict.fromkeys(re.findall(r"\bBR2_(?!EXTERNAL_WGPY_PATH)\w+", file.read_text()), file.name)
    assert not {name: where for name, where in named.items() if name not in BUILDROOT and name not in options()}
    assert not BUILDROOT.keys() - named.keys()


@pytest.mark.parametrize("room", ROOMS)
def test_a_configuration_is_of_its_room_and_names_files_that_exist(room):
    asked = defconfig(room)
    assert [of for name, of in ROOM_OF.items() if asked.get(name) == "y"] == [room] == [asked["BR2_ROOTFS_POST_SCRIPT_ARGS"]]
    files = [word for value in asked.values() for word in value.split() if word.startswith("$(BR2_EXTERNAL_WGPY_PATH)/")]
    assert len(files) >= 4 and not [f for f in files if not placed(f).exists()]
    assert os.access(placed(asked["BR2_ROOTFS_POST_FAKEROOT_SCRIPT"]), os.X_OK)
    # no shell, no init of another, no password
    assert asked["BR2_INIT_NONE"] == asked["BR2_SYSTEM_BIN_SH_NONE"] == "y"
    assert asked["BR2_PACKAGE_BUSYBOX"] == asked["BR2_TARGET_ENABLE_ROOT_LOGIN"] == "n"


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_imports_is_built_for_it(room):
    installed = Path(sysconfig.get_paths()["purelib"])
    modules = Modules([ROOT, installed], layout.ROOMS[room].without, {})
    reached = modules.reached(list(layout.ROOMS[room].python))
    wanted = {name.partition(".")[0] for name, file in reached.items() if file.is_relative_to(installed)}
    assert {"black": set(), "crypto": {"nacl", "_cffi_backend"}, "red": {"pytun"}}[room] <= wanted
    assert {PACKAGES[name] for name in wanted | {"pyseccomp"}} <= selected(room)  # the jail of every room
    of_python = modules.unknown & OF_PYTHON.keys() - layout.ROOMS[room].without
    assert "zlib" in of_python and {f"BR2_PACKAGE_PYTHON3_{OF_PYTHON[name]}" for name in of_python} <= selected(room)
    assert {f"BR2_PACKAGE_{name}" for name in ("IPROUTE2", "NFTABLES")} <= selected(room) or not layout.ROOMS[room].programs


@pytest.mark.parametrize("room", KEYLESS)
def test_black_and_red_get_no_library_with_ciphers(room):
    """F6; nor the extension module that has them."""
    assert not {"BR2_PACKAGE_LIBSODIUM", "BR2_PACKAGE_OPENSSL", "BR2_PACKAGE_PYTHON_PYNACL", "BR2_PACKAGE_PYTHON3_SSL"} & selected(room)
    text = (TREE / "package/wgpy/wgpy.mk").read_text()
    of_crypto, _, others = re.search(r"ifeq \(\$\(BR2_PACKAGE_WGPY_CRYPTO\),y\)\n(.*?)else\n(.*?)()endif", text, re.DOTALL).group(1, 3, 2)
    assert "WGPY_EXTENSIONS = ports plane\n" in of_crypto and "WGPY_EXTENSIONS = ports\n" in others
    assert "openssl" not in text.replace(of_crypto, "") and "pynacl" not in text.replace(of_crypto, "")


@pytest.mark.parametrize("wanted, built", [("ports", ["wgpy._fast.ports"]), ("ports plane", ["wgpy._fast.ports", "wgpy._fast.plane"])])
def test_setup_builds_the_extension_modules_that_are_named(wanted, built):
    code = ("import json, setuptools; from distutils.core import run_setup; "
            "print(json.dumps([e.name for e in run_setup('setup.py', ['-q'], stop_after='init').ext_modules]))")
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=ROOT, env=dict(os.environ, WGPY_EXTENSIONS=wanted), text=True,
                          capture_output=True)
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1]) == built, done.stderr


@pytest.mark.parametrize("wanted", ["", "plain", "ports plain"])
def test_setup_refuses_extension_modules_that_there_are_not(wanted):
    done = subprocess.run([sys.executable, "-I", "setup.py", "-q", "--name"], cwd=ROOT, env=dict(os.environ, WGPY_EXTENSIONS=wanted),
                          text=True, capture_output=True)
    assert done.returncode == 1 and re.match(r"WGPY_EXTENSIONS: [a-z ]+: name some of ports plane\n", done.stderr)


@pytest.mark.parametrize("package", sorted(p.name for p in TREE.glob("package/*")))
def test_sources_are_the_trees_own_or_have_the_hash_of_the_lock(package):
    facts = recipe(package)
    assert facts["LICENSE"]
    if facts.get("SITE_METHOD") == "local":
        folder = placed(facts["SITE"])
        assert folder.is_dir() and (folder / facts["LICENSE_FILES"]).is_file()
        return
    lines = [line.split("  ") for line in (TREE / f"package/{package}/{package}.hash").read_text().splitlines()
             if not line.startswith("#")]
    assert all(kind == "sha256" and re.fullmatch("[0-9a-f]{64}", value) for kind, value, _ in lines)
    hashes = {file: value for _, value, file in lines}
    name = package if f"\n{package}==" in (ROOT / "requirements.lock").read_text() else package.removeprefix("python-")
    version, known = pinned(name)
    source = facts.get("SOURCE", f"{package}-$({package.upper().replace('-', '_')}_VERSION).tar.gz")
    source = re.sub(r"\$\(\w+_VERSION\)", facts["VERSION"], source)
    assert facts["VERSION"] == version and hashes[source] in known
    assert hashes.keys() == {source, *facts.get("LICENSE_FILES", "").split()}
    assert re.fullmatch(r"\$\(WGPY_PYPI\)[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}", facts["SITE"])


@pytest.mark.parametrize("room", ROOMS)
def test_a_kernel_has_what_init_and_its_room_need(room):
    """All of it built in: there is no module to load but wgpy_ring."""
    asked = kernel(room)
    modules = (name.removesuffix("?") for name in layout.ROOMS[room].modules)
    wanted = [*ALWAYS, *(KERNEL_OPTIONS.get(name, name.upper()) for name in modules)]
    assert not [name for name in wanted if asked.get(name) != "y"]
    if room == "crypto":
        assert asked["INET"] == asked["NETDEVICES"] == "n" and asked["VIRTIO_BLK"] == asked["EXT4_FS"] == "y"
        assert not [name for name in asked if re.match("NF_|NFT_|VIRTIO_NET|TUN", name)]
    assert (asked.get("TUN") == "y") == (room == "red")


def as_buildroot_lays_it_out(built, room: str, root: Path) -> Path:
    """A target folder, of the packages that images are made from: libraries in one folder, /lib and
    the like as links, site-packages; and what an image must not have."""
    system = System("amd64", RELEASE)
    library, home = root / "usr/lib", root / f"usr/lib/python{system.python}"
    shutil.copytree(system.root / f"usr/lib/python{system.python}", home, ignore=shutil.ignore_patterns("test", "config-*"))
    shutil.copytree(system.root / "usr/lib/python3/dist-packages", home / "site-packages")
    shutil.copytree(ROOT / "wgpy", home / "site-packages/wgpy", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyseccomp", "python-pytun"):
        for file in (f for f in system.sources(name).iterdir() if f.suffix in (".py", ".so")):
            shutil.copy(file, home / "site-packages")
    for name, data in built.files(room).items():
        if "/_fast/" in name and name.endswith(".so"):
            (home / "site-packages" / name.partition(f"python{system.python}/")[2]).write_bytes(data)
    for name, data in built.files("red").items():  # compiled of its sources with the image
        if Path(name).name.startswith("pytun.") and name.endswith(".so"):
            (home / "site-packages" / Path(name).name).write_bytes(data)
    for file in (system.root / "usr/lib" / system.triplet).glob("*.so*"):
        if file.is_file():
            shutil.copy(file, library)
    (root / "usr/lib64").symlink_to("lib")
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in (f"usr/bin/python{system.python}", "usr/bin/ip", "usr/sbin/nft", "etc/protocols"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(system.root / name, root / name)
    (root / "usr/bin/sh").write_text("#!")
    (root / "usr/lib/modules/6/extra").mkdir(parents=True)
    (root / "usr/lib/modules/6/extra/wgpy_ring.ko").write_text("module")
    return root


def reduced(root: Path, room: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-I", TREE / "board/room.py", root, room], text=True, capture_output=True)


def of_the_images_python() -> None:
    if "{}.{}".format(*sys.version_info) != layout.PYTHON[RELEASE]:
        pytest.xfail(f"Buildroot runs it with the Python of the image, {layout.PYTHON[RELEASE]} here")


@pytest.mark.netns
@pytest.mark.parametrize("room", ROOMS)
def test_what_is_left_of_a_root_is_what_the_image_of_debians_packages_holds(built, room, tmp_path):
    of_the_images_python()
    root = as_buildroot_lays_it_out(built, room, tmp_path)
    done = reduced(root, room)
    assert done.returncode == 0, done.stderr
    left = {p.name for p in root.rglob("*") if p.is_file() and not p.is_symlink()}
    image = {Path(name).name for name in built.files(room) if not name.endswith(".ko")}
    versioned = re.compile(r"\.so[.\d]*$|-[\d.]+\.so$")  # links of Debian's are files in an image
    assert {n for n in left if not versioned.search(n)} == {n for n in image if not versioned.search(n)} | {"wgpy_ring.ko"}
    assert (root / "etc/wgpy/image").read_text().split() == [room, "wgpy_ring"]
    assert (root / "init").read_bytes() == built.files(room)["init"]
    assert [name for name in layout.FOLDERS if not (root / name).is_dir()] == []
    loaded = run_in(root, "/usr/bin/python3.11", "-ISB", "-c", "import ctypes.util, importlib\n"
                    "ctypes.util.find_library = {'c': 'libc.so.6', 'seccomp': 'libseccomp.so.2'}.get\n"
                    f"importlib.import_module('wgpy.{room}.main')")
    assert loaded.returncode == 0, loaded.stderr


def test_a_root_that_lacks_what_its_room_wants_is_refused(built, tmp_path):
    of_the_images_python()
    root = as_buildroot_lays_it_out(built, "red", tmp_path)
    (root / "usr/sbin/nft").unlink()
    done = reduced(root, "red")
    assert done.returncode == 1 and done.stderr == f"room.py: red wants nft, which {root} has not\n"
    assert (root / "usr/bin/sh").exists()


def test_init_says_which_locks_a_kernel_has_not(monkeypatch, capsys):
    monkeypatch.setattr(pid1, "SYSCTLS", (("kernel/no_such_lock", "1"),))
    pid1.lock_kernel()
    assert capsys.readouterr().out == "init: this kernel has no kernel/no_such_lock, nor what it would lock\n"
