"""Makes and changes the key store of a node that is down, and says what of it others
need to know. It is the one place outside the crypto room where keys are in memory."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from wgpy.config.model import NO_KEY, TunnelFile
from wgpy.config.site_model import Site
from wgpy.config.values import to_base64
from wgpy.crypto import keystore
from wgpy.crypto.keystore import FileSlot, KeyStore
from wgpy.crypto.sealed import Document, wipe
from wgpy.crypto.unlock import opened
from wgpy.errors import HostError
from wgpy.isolate.library import Library
from wgpy.node.state import KEYS, open_keys
from wgpy.suite.wireguard import clamp, public

PUBLIC = "public.key"  # beside the key store, so that it can be shown without opening it


@dataclass(frozen=True)
class KeyMaker:
    """Makes the keys of a suite; `size` of a private one, bytes."""
    size: int
    new: Callable[[], bytes]
    public: Callable[[bytes], bytes]

    @classmethod
    def of(cls, library: Library | None) -> "KeyMaker":
        """None: of WireGuard's suite."""
        if library is None:
            return cls(32, lambda: clamp(os.urandom(32)), public)
        return cls(library.facts.private_size, library.new_key, library.public)


@dataclass
class Changes:
    """What `seal` is to bring into the store."""
    imported: list[tuple[str, TunnelFile]] = field(default_factory=list)  # (name, wg file)
    psks: dict[str, bytes] = field(default_factory=dict, repr=False)
    replace_key: bool = False
    new_key: bool = False


@dataclass
class Sealed:
    """What seal() has done; of keys only the public one."""
    public_key: bytes
    created: bool
    psks: list[str]
    missing: list[str]  # names that the site file uses and the store lacks
    notes: list[str]


def exists(directory: Path) -> bool:
    """Has the node a key store? Whether it can be opened is another question."""
    return (directory / KEYS).exists()


def seal(site: Site, directory: Path, changes: Changes, secret: Callable[[bool], bytearray],
         maker: KeyMaker | None = None) -> Sealed:
    """`secret(new)` asks for what opens the store, or is to. A private key is made where
    there is none. `maker`: of the site's suite. WgpyError, with the store as it was."""
    maker = maker or KeyMaker.of(None)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    created = not exists(directory)
    with _created(directory, secret(True)) if created else _opened(directory, secret(False)) as store:
        notes = _merge(store.document, site, changes, maker)
        key = maker.public(bytes(store.document.private_key))
        store.save()
        names = sorted(store.document.psks)
    _publish(directory / PUBLIC, key)
    wanted = {p.psk for p in site.peers if p.psk is not None}
    return Sealed(key, created, names, sorted(wanted - set(names)), notes)


def change_passphrase(directory: Path, old: bytearray, new: bytearray) -> None:
    """Of a node that is down. Both secrets are overwritten. WgpyError."""
    try:
        with _opened(directory, bytearray(old)) as store:
            store.change_passphrase(old, new)
    finally:
        wipe(old, new)


def public_key(directory: Path) -> str | None:
    """In base64, as the last seal left it."""
    try:
        return (directory / PUBLIC).read_text().strip() or None
    except FileNotFoundError:
        return None


@contextmanager
def _created(directory: Path, secret: bytearray) -> Iterator[KeyStore]:
    """A new file that takes its name when all went well. The secret is overwritten."""
    fresh = directory / f"{KEYS}.new"
    fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        slot = FileSlot(fd)
        slot.write(0, keystore.blank())
        with closing(KeyStore.create(slot, secret, Document())) as store:
            yield store
        os.rename(fresh, directory / KEYS)
        _sync(directory)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    finally:
        wipe(secret)
        os.close(fd)


@contextmanager
def _opened(directory: Path, secret: bytearray) -> Iterator[KeyStore]:
    fd = open_keys(directory)
    try:
        with closing(opened(FileSlot(fd), secret)) as store:
            yield store
    finally:
        wipe(secret)
        os.close(fd)


def _merge(document: Document, site: Site, changes: Changes, maker: KeyMaker) -> list[str]:
    notes: list[str] = []
    if changes.new_key:
        wipe(document.private_key)
        document.private_key = bytearray()
    for name, file in changes.imported:
        if file.suite != site.suite and file.request.private_key not in (None, NO_KEY):
            raise HostError(f"{name}: its private key belongs to another suite")
        _import(document, site, name, file, changes.replace_key, notes)
    for name, psk in changes.psks.items():
        document.psks[name] = bytearray(psk)
    if document.private_key and len(document.private_key) != maker.size:
        raise HostError(f"the private key in the store has {len(document.private_key)} bytes, those of the suite have "
                        f"{maker.size}: --new-key makes another, for which the other sites need the new public key")
    if not document.private_key:
        document.private_key = bytearray(maker.new())
        notes.append("a new private key was made")
    return notes


def _import(document: Document, site: Site, source: str, file: TunnelFile, replace_key: bool, notes: list[str]) -> None:
    key = file.request.private_key
    if key not in (None, NO_KEY) and key != document.private_key:
        if document.private_key and not replace_key:
            raise HostError(f"{source}: has another private key than the store: --replace-key takes it over")
        document.private_key = bytearray(key)
        notes.append(f"private key from {source}")
    names = {p.public_key: p for p in site.peers}
    for peer in file.request.peers:
        if peer.preshared_key in (None, NO_KEY):
            continue
        known = names.get(peer.public_key)
        if known is None or known.psk is None:
            notes.append(f"{source}: the preshared key of {to_base64(peer.public_key)} is left out: "
                         + ("no such site" if known is None else f"[[site]] {known.name} has no psk"))
        else:
            document.psks[known.psk] = bytearray(peer.preshared_key)
            notes.append(f"preshared key {known.psk} from {source}")


def _publish(path: Path, key: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(to_base64(key) + "\n")
    fresh.replace(path)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def block_for_others(site: Site, key: str) -> str:
    """The [[site]] of this node as the other nodes' site files need it."""
    def quoted(items: Iterable[object]) -> str:
        return "[" + ", ".join(f'"{i}"' for i in items) + "]"
    suite = [f"# of suite {site.suite.library}, sha256 {site.suite.sha256}"] if site.suite else []
    lines = [*suite, "[[site]]", f'name = "{site.node.name}"', f'public_key = "{key}"',
             f"networks = {quoted(site.lan.networks)}"]
    endpoints = [f"[{a.ip}]:{site.node.listen_port}" if a.version == 6 else f"{a.ip}:{site.node.listen_port}"
                 for a in site.wan.addresses]
    return "\n".join(lines + ([f"endpoints = {quoted(endpoints)}"] if endpoints else []))


def named_psks(names: Iterable[str], site: Site) -> None:
    """HostError for a name that no [[site]] uses."""
    used = {p.psk for p in site.peers}
    for name in names:
        if name not in used:
            raise HostError(f"no [[site]] has psk = {name!r}")
