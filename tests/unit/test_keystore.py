"""Keys at rest (A2, F6): sealing, its errors, and power failing at every moment."""

import itertools
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wgpy.crypto import keystore, sealed
from wgpy.crypto.keystore import BLOCK, FILE_SIZE, FileSlot, KeyStore
from wgpy.crypto.sealed import AREA_SIZE, Cost, Damaged, Document, KeyStoreError, WrongKey
from wgpy.errors import HostError

CHEAP = Cost(1, 8 << 10)
GOOD, OTHER = b"correct horse", b"battery staple"
PRIVATE = bytes(range(32))


class Disk:
    """Remembers what was written since the last sync, and can lose or tear it."""

    def __init__(self, data=bytes(FILE_SIZE)):
        self.data, self.history = bytearray(data), []

    def read(self):
        return bytes(self.data)

    def write(self, offset, data):
        self.data[offset:offset + len(data)] = data
        self.history.append((offset, bytes(data)))

    def sync(self):
        self.history.append(None)


def document(psk=b"\7", floor=5):
    d = Document()
    d.private_key, d.psks, d.floor = bytearray(PRIVATE), {"cusco": bytearray(psk * 32)}, floor
    return d


def created(passphrase=GOOD, **values):
    disk = Disk()
    KeyStore.create(disk, bytearray(passphrase), document(**values), CHEAP)
    return disk


def opened(disk, passphrase=GOOD):
    return KeyStore.open(disk, bytearray(passphrase))


@pytest.fixture(scope="module")
def image():
    return created().read()


def test_what_was_sealed_comes_back_and_nothing_of_it_is_readable(image):
    store = opened(Disk(image))
    assert store.document.private_key == PRIVATE and store.document.psks == {"cusco": b"\7" * 32}
    assert store.document.floor == 5 and len(image) == FILE_SIZE
    for secret in (PRIVATE, PRIVATE[8:16], b"\7" * 8, b"cusco", GOOD):
        assert secret not in image


def test_the_same_keys_sealed_twice_look_different(image):
    other = created().read()
    body = slice(BLOCK + sealed.HEADER_SIZE, BLOCK + sealed.HEADER_SIZE + 96)
    assert sum(a == b for a, b in zip(image[body], other[body], strict=True)) < 24


def test_a_wrong_passphrase_is_called_that(image):
    for wrong in (OTHER, GOOD + b" ", GOOD[:-1]):
        with pytest.raises(WrongKey, match="passphrase"):
            opened(Disk(image), wrong)
    with pytest.raises(KeyStoreError, match="empty"):
        opened(Disk(image), b"")


def damaged_at(image, position, bit=1):
    out = bytearray(image)
    out[position] ^= bit
    return Disk(out)


def used(image):
    """Positions of both areas as far as they are not padding, and some of the padding."""
    for start in (BLOCK, BLOCK + AREA_SIZE):
        end = start + len(image[start:start + AREA_SIZE].rstrip(b"\0"))
        yield from itertools.chain(range(start, end), (end + 1, start + AREA_SIZE - 1))


def test_every_changed_byte_is_noticed_and_called_damage(image):
    """F7 at rest: also with the right passphrase and with a sound second copy."""
    key = opened(Disk(image)).file_key
    for position in used(image):
        disk = damaged_at(image, position, 1 << random.Random(position).randrange(8))
        with pytest.raises(Damaged):
            KeyStore.open(disk, key=key)


def test_damage_everywhere_is_not_called_a_wrong_passphrase(image):
    for offset in (0, 20, 60, 100):  # the same place in both areas
        disk = damaged_at(damaged_at(image, BLOCK + offset).data, BLOCK + AREA_SIZE + offset)
        with pytest.raises(Damaged):
            opened(disk)
    body = sealed.HEADER_SIZE + 3
    with pytest.raises(Damaged, match="changed"):
        opened(damaged_at(damaged_at(image, BLOCK + body).data, BLOCK + AREA_SIZE + body))


@pytest.mark.parametrize("data, text", [
    (b"", "empty"), (bytes(FILE_SIZE), "empty"), (b"[Interface]\n", "not a key store"),
    (os.urandom(FILE_SIZE), "not a key store")], ids=["nothing", "zeros", "text", "noise"])
def test_foreign_files(data, text):
    with pytest.raises(Damaged, match=text):
        opened(Disk(data))


def test_truncation_and_growth(image):
    for length in (BLOCK + 200, BLOCK + AREA_SIZE, FILE_SIZE - 1):
        with pytest.raises(Damaged, match="truncated"):
            opened(Disk(image[:length]))
    with pytest.raises(Damaged, match="too long"):
        opened(Disk(image + b"\0"))


@pytest.mark.parametrize("cost", [Cost(1, 4 << 20), Cost(1 << 31, 8 << 10), Cost(0, 8 << 10), Cost(1, 1)])
def test_a_hostile_file_cannot_demand_memory_or_time(image, cost, monkeypatch):
    """The header's checksum is no secret: whoever wrote the file can make it right."""
    monkeypatch.setattr(keystore, "derive", lambda *a: pytest.fail("the cost was paid"))
    header = sealed.parse_header(image[BLOCK:])._replace(cost=cost)
    area = header.encode() + image[BLOCK + sealed.HEADER_SIZE:BLOCK + AREA_SIZE]
    with pytest.raises(Damaged, match="refused"):
        opened(Disk(image[:BLOCK] + area + area))


def test_an_older_area_put_back_is_noticed():
    disk = created()
    old = disk.read()
    opened(disk).raise_floor(10**18)
    with pytest.raises(Damaged):  # the newer area replaced by the one before it
        opened(Disk(disk.read()[:BLOCK] + old[BLOCK:BLOCK + AREA_SIZE] + old[BLOCK:BLOCK + AREA_SIZE]))


# power


def after_power_failed(before, history, rng):
    """The disk when power failed at some moment: all that was synced, and any part of
    what was written since, in units of sectors."""
    moment = rng.randrange(len(history) + 1)
    synced = max((i for i in range(moment) if history[i] is None), default=0)
    data = bytearray(before)
    for i, entry in enumerate(history[:moment]):
        if entry is None:
            continue
        offset, content = entry
        for at in range(0, len(content), 512):
            if i < synced or rng.random() < 0.5:
                data[offset + at:offset + at + 512][:] = b""
                piece = content[at:at + 512]
                data[offset + at:offset + at + len(piece)] = piece
    return Disk(data)


def survives(before, history, acceptable, secrets, seed):
    disk = after_power_failed(before, history, random.Random(seed))
    for secret in secrets:
        try:
            store = opened(disk, secret)
            break
        except WrongKey:
            continue
    else:
        pytest.fail("the keys are lost")
    assert store.document.private_key == PRIVATE
    assert (store.document.floor, bytes(store.document.psks["cusco"][:1])) in acceptable
    again = opened(Disk(disk.read()), secret)
    assert not again.healed, "it was made good"


def big_disk():
    """A document of many sectors, so that tearing it means something."""
    d = document()
    d.psks |= {f"site-{i}": bytearray(os.urandom(32)) for i in range(100)}
    disk = Disk()
    KeyStore.create(disk, bytearray(GOOD), d, CHEAP)
    return disk


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_power_may_fail_at_any_moment_of_saving_the_floor(seed):
    before, history = _floor_history()
    survives(before, history, {(5, b"\7"), (10**18 + 120 * 10**9, b"\7")}, [GOOD], seed)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_power_may_fail_at_any_moment_of_changing_keys(seed):
    before, history = _save_history()
    survives(before, history, {(5, b"\7"), (5, b"\x09")}, [GOOD], seed)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_power_may_fail_at_any_moment_of_changing_the_passphrase(seed):
    before, history = _passphrase_history()
    survives(before, history, {(5, b"\7")}, [OTHER, GOOD], seed)


_cache: dict = {}


def _history(name, change):
    if name not in _cache:
        disk = big_disk()
        before, store = disk.read(), opened(disk)
        disk.history.clear()
        change(store)
        _cache[name] = before, list(disk.history)
    return _cache[name]


def _floor_history():
    return _history("floor", lambda s: s.raise_floor(10**18))


def _save_history():
    def change(store):
        store.document.psks["cusco"][:] = b"\x09" * 32
        store.save()
    return _history("save", change)


def _passphrase_history():
    return _history("passphrase", lambda s: s.change_passphrase(bytearray(GOOD), bytearray(OTHER), CHEAP))


def test_the_simulated_disk_does_tear():
    before, history = _floor_history()
    seen = {bytes(after_power_failed(before, history, random.Random(i)).data) for i in range(50)}
    assert len(seen) > 10


def test_no_announced_write_no_excuse():
    """What a torn write leaves, without the announcement, is tampering."""
    before, history = _floor_history()
    offset, content = history[2]
    data = bytearray(before)
    data[offset:offset + 1024] = content[:1024]
    with pytest.raises(Damaged):
        opened(Disk(data))


def test_creation_cut_short_between_the_two_copies():
    disk = created()
    data = disk.read()
    half = Disk(bytes(BLOCK + AREA_SIZE) + data[BLOCK + AREA_SIZE:])
    assert sealed.parse_header(half.data[BLOCK + AREA_SIZE:]).generation == 2
    half = Disk(data[:BLOCK + AREA_SIZE] + bytes(AREA_SIZE))
    assert opened(half).healed and not opened(half).healed


# changes


def test_a_changed_passphrase_ends_the_old_one():
    disk = created()
    store = opened(disk)
    with pytest.raises(WrongKey):
        store.change_passphrase(bytearray(OTHER), bytearray(OTHER), CHEAP)
    assert opened(disk), "nothing changed"
    store.change_passphrase(bytearray(GOOD), bytearray(OTHER), CHEAP)
    with pytest.raises(WrongKey):
        opened(disk)
    for number in (0, 1):
        header = sealed.parse_header(disk.read()[BLOCK + number * AREA_SIZE:])
        assert header.fits(store.file_key), "the old one opens neither area"
    assert opened(disk, OTHER).document.private_key == PRIVATE
    store.raise_floor(10**18)
    assert opened(disk, OTHER).document.floor > 10**18


def test_a_removed_key_is_in_neither_area():
    disk = created()
    store = opened(disk)
    del store.document.psks["cusco"]
    store.save()
    for number in (0, 1):
        area = disk.read()[BLOCK + number * AREA_SIZE:][:AREA_SIZE]
        assert not sealed.unseal(area, sealed.parse_header(area), store.file_key).psks


def test_a_floor_that_could_not_be_saved_is_tried_again():
    """Else stamps beyond the saved floor would leave for a minute, and a node that loses
    power in it and has no clock would be refused as a replay."""
    disk = created(floor=0)
    store = opened(disk)
    write, disk.write = disk.write, lambda offset, data: (_ for _ in ()).throw(HostError("key store: no space"))
    for _ in range(2):
        with pytest.raises(HostError):
            store.raise_floor(10**18)
    disk.write = write
    assert store.raise_floor(10**18) and opened(disk).document.floor > 10**18


def test_the_floor_is_always_ahead_of_the_stamps_and_rarely_written():
    """Never a stamp that a restart could use again, and at most one write a minute."""
    disk = created(floor=0)
    store, writes = opened(disk), 0
    for second in range(1000, 1600):
        stamp = second * 10**9
        writes += store.raise_floor(stamp)
        assert opened(disk).document.floor > stamp if second % 97 == 0 else True
        assert store.document.floor > stamp
    assert 9 <= writes <= 11


def test_keys_are_overwritten_in_memory():
    store = opened(created())
    private, psk = store.document.private_key, store.document.psks["cusco"]
    store.close()
    assert not any(private) and not any(psk) and not any(store.file_key)


def test_nothing_secret_in_a_repr():
    store = opened(created())
    assert PRIVATE.hex() not in repr(store.document).lower() and "\\x" not in repr(store.document)


def test_limits_of_a_document():
    d = document()
    d.psks |= {f"{i:064}": bytearray(32) for i in range(1200)}
    assert len(Document.decode(d.encode()).psks) == 1201
    d.psks |= {f"x{i:063}": bytearray(32) for i in range(200)}
    with pytest.raises(KeyStoreError, match="keys"):
        d.encode()
    with pytest.raises(KeyStoreError, match="name"):
        KeyStore.create(Disk(), bytearray(GOOD), _named("é" * 33), CHEAP)


def _named(name):
    d = document()
    d.psks[name] = bytearray(32)
    return d


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_document_is_read_or_refused(data):
    try:
        Document.decode(bytearray(data)).encode()
    except Damaged:
        pass


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 120))
def test_any_header_is_read_or_refused(data, keep):
    head = (sealed.MAGIC * 20)[:keep] + data
    try:
        sealed.parse_header(head)
    except Damaged:
        pass


# a real file


def test_a_file_with_a_descriptor_only(tmp_path):
    path = tmp_path / "keys.sealed"
    path.write_bytes(keystore.blank())
    with open(path, "r+b") as f:
        slot = FileSlot(f.fileno())
        KeyStore.create(slot, bytearray(GOOD), document(), CHEAP)
        opened(slot).raise_floor(10**18)
    with open(path, "rb") as f:
        store = opened(FileSlot(f.fileno()))
        assert store.document.floor > 10**18
        with pytest.raises(HostError, match="key store"):
            store.save()
