"""What each room's image holds, as data: Debian's packages, Python's roots, programs, kernel
modules. All else follows from these (closure.py), and tests/guest looks at what came of it."""

from dataclasses import dataclass

FOLDERS = ("dev", "proc", "sys", "run", "tmp", "state", "etc/wgpy")  # to mount, or for the launcher's files
INIT = "#!/usr/bin/python{python} -IBu\n"  # before pid1.py
KERNEL = "linux-image-cloud-{arch}"
PYTHON = {"bookworm": "3.11", "trixie": "3.13"}
TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
PACKAGES = ["python{python}-minimal", "libpython{python}-stdlib", "libseccomp2", "libgcc-s1", "python3-nacl", "iproute2",
            "nftables", "netbase"]
BUILDING = ["libpython{python}-dev", "libssl-dev", "libc6-dev"]  # to compile our modules against

# Never reached in a room, though something that is imported names them: other systems, debuggers,
# tests, documentation, archives, the web, and the two modules that would bring libssl and libcrypto.
WITHOUT = frozenset("""
 _aix_support _bootsubprocess _hashlib _multiprocessing _osx_support _posixshmem _pydecimal _ssl _testcapi _testinternalcapi
 asyncio bdb bz2 cgitb cmd code codeop compression concurrent csv ctypes._aix ctypes.macholib ctypes.wintypes curses decimal
 distutils doctest email encodings.mbcs fractions ftplib getpass gettext glob gzip html http importlib.metadata importlib.readers
 importlib.resources lzma mimetypes multiprocessing nturl2path numbers optparse pdb pickle pkgutil plistlib pprint
 py_compile pydoc pydoc_data queue quopri readline rlcompleter secrets shlex socketserver ssl statistics
 sysconfig tarfile test tkinter tracemalloc unittest urllib.error urllib.request urllib.response usercustomize
 webbrowser xml xmlrpc zipfile""".split())
# Besides: black and red could not use these, and must not have them (F6, A4).
KEYLESS = frozenset("hashlib hmac nacl wgpy._fast.plane wgpy.crypto wgpy.protocol wgpy.suite".split())

# What CPython looks for by name while it starts, what runs a module as a program, what a room loads
# beforehand (wgpy/rooms/room.py), and the programs of a guest.
ALWAYS = """encodings.utf_8 encodings.utf_8_sig encodings.ascii encodings.latin_1 encodings.idna traceback linecache tokenize
 unicodedata _strptime locale site runpy ctypes.util wgpy.rooms.room wgpy.guest.main""".split()

# What the rules of wgpy/firewall use, and what a site's own lines are likely to. `?`: newer kernels
# have it inside nf_tables.
FIREWALL = """nf_tables nft_ct nft_connlimit nft_limit nft_log nft_masq nft_chain_nat nft_objref? nft_reject_inet
 nf_log_syslog""".split()
# Before all others of virtio: cards are named in the order in which their buses came, and on seL4 the
# first is the machine's own, behind MMIO; what a monitor adds, such as the link in clear, is behind PCI.
MMIO = "virtio_mmio"
GUEST = "virtio_pci virtio_console virtio_rng uio".split()
DISK = "virtio_blk ext4".split()


@dataclass(frozen=True)
class Room:
    """`libraries` are loaded by name at run time, so that no file tells of them."""
    name: str
    python: tuple[str, ...]
    without: frozenset[str]
    modules: tuple[str, ...]
    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ("libseccomp.so.2", "libgcc_s.so.1")
    ceiling: int = 16_000_000  # bytes, compressed


def _keyless(name: str, *more: str, other: str, modules: tuple[str, ...] = ()) -> Room:
    return Room(name, (f"wgpy.{name}.main", *more), WITHOUT | KEYLESS | {f"wgpy.{other}", "wgpy.guest.inner"},
                (MMIO, *GUEST, "virtio_net", *modules, *FIREWALL), programs=("usr/bin/ip", "usr/sbin/nft"),
                files=("etc/protocols",))


ROOMS = {room.name: room for room in (
    _keyless("black", other="red"),
    Room("crypto", ("wgpy.crypto.main", "_cffi_backend"), WITHOUT | {"wgpy.guest.outer"}, (*GUEST, *DISK)),
    _keyless("red", "pytun", other="black", modules=("tun", *DISK)),
)}
