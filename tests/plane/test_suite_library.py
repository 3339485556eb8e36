"""A suite from a library, as the protocol core and the data plane get it (F8). What makes a library
good or bad is tried in tests/c/test_suite.c."""
import hashlib
import hmac
import os

import pytest
from harness import START, Node, header, outgoing
from toy import SOURCE, build

from wgpy._fast.plane import LoadedSuite, Plane, load_suite
from wgpy.errors import SuiteError

SIZES = {"entropy_size": 30, "private_size": 24, "public_size": 40, "shared_size": 28, "hash_size": 64, "hash_block": 96, "key_size": 20,
         "tag_size": 12, "mac_size": 32, "cookie_key_size": 33, "cookie_nonce_size": 15, "cookie_tag_size": 13}


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """A descriptor of what came of tests/c/toy_library.c, or of `source`, compiled."""
    place, opened = tmp_path_factory.mktemp("suite"), []

    def made(name: str, *flags: str, source: str = SOURCE) -> int:
        build(str(place / name), *flags, source=source)
        opened.append(os.open(place / name, os.O_RDONLY | os.O_CLOEXEC))
        return opened[-1]
    yield made
    for fd in opened:
        os.close(fd)


@pytest.fixture(scope="module")
def toy(libraries) -> LoadedSuite:
    return load_suite(libraries("toy.so"))


def test_sizes_and_names_are_the_librarys(toy):
    assert (toy.name, toy.noise, toy.identifier) == ("toy", b"Noise_IKpsk2_Toy_Toy_Toy", b"a suite for tests, of no worth")
    assert {name: getattr(toy, name) for name in SIZES} == SIZES
    assert toy.lengths == (20 + 2 * 40 + 2 * 12 + 2 * 32, 12 + 40 + 12 + 2 * 32, 8 + 15 + 32 + 13, 16 + 12)
    assert toy.test() is None and toy.measure(64, 8) > 0


def test_what_is_no_suite_is_refused_with_its_reason(libraries, tmp_path):
    (tmp_path / "empty.c").write_text("int nothing;\n")
    (tmp_path / "text").write_text("no library")
    with pytest.raises(SuiteError, match="tag_size is 64, which is not 12 to 32"):
        load_suite(libraries("sly.so", "-DSLY"))
    with pytest.raises(SuiteError, match="does not export wgpy_suite"):
        load_suite(libraries("empty.so", source=str(tmp_path / "empty.c")))
    with open(tmp_path / "text", "rb") as file, pytest.raises(SuiteError, match="cannot be loaded: "):
        load_suite(file.fileno())
    with pytest.raises(SuiteError, match="cannot be loaded: "):
        load_suite(9999)


def test_functions_give_what_the_library_gives(toy):
    alice, bob = bytes(range(0, 48, 2)), bytes(range(100, 148, 2))
    shared = toy.dh(alice, toy.public(bob))
    assert shared == toy.dh(bob, toy.public(alice)) and len(shared) == 28
    assert toy.private(bytes(30)) and toy.private(b"\1" + bytes(29)) is None
    assert toy.public(b"\1" + bytes(23)) is None and toy.dh(alice, bytes(40)) is None
    assert len(toy.hash(b"")) == 64 and toy.hash(b"a") != toy.hash(b"b")
    assert len(toy.mac(bytes(64), b"a")) == len(toy.mac(bytes(32), b"a")) == 32
    sealed = toy.seal(bytes(20), 7, b"text", b"more")
    assert len(sealed) == 4 + 12 and toy.open(bytes(20), 7, sealed, b"more") == b"text"
    assert toy.open(bytes(20), 8, sealed, b"more") is None and toy.open(bytes(20), 7, sealed, b"") is None
    assert toy.open(bytes(20), 7, b"short", b"") is None and toy.open(bytes(20), 7, toy.seal(bytes(20), 7, b"", b""), b"") == b""
    cookie = toy.cookie_seal(bytes(33), bytes(15), bytes(32), bytes(32))
    assert len(cookie) == 32 + 13 and toy.cookie_open(bytes(33), bytes(15), cookie, bytes(32)) == bytes(32)
    assert toy.cookie_open(bytes(33), bytes(14) + b"\1", cookie, bytes(32)) is None


class Hash:
    """The library's hash as hashlib has them, for hmac."""
    digest_size, block_size, name = 64, 96, "toy"

    def __init__(self, toy: LoadedSuite, data: bytes = b""):
        self.toy, self.data = toy, data

    def update(self, data: bytes) -> None:
        self.data += data

    def copy(self) -> "Hash":
        return Hash(self.toy, self.data)

    def digest(self) -> bytes:
        return self.toy.hash(self.data)


@pytest.mark.parametrize("size", [0, 64, 96, 97])
def test_hmac_and_hkdf_are_those_of_the_standards(toy, size):
    """RFC 2104 as Python has it; Noise specification, section 4.3."""
    def reference(key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, lambda start=b"": Hash(toy, start)).digest()
    key = hashlib.shake_128(b"key").digest(size)
    assert toy.hmac(key, b"data") == reference(key, b"data")
    secret = reference(key, b"material")
    one = reference(secret, b"\1")
    two = reference(secret, one + b"\2")
    assert toy.kdf(key, b"material", 3) == (one, two, reference(secret, two + b"\3"))
    assert toy.kdf(key, b"material", 1) == (one,)


@pytest.mark.parametrize("call", [
    lambda toy: toy.private(bytes(29)), lambda toy: toy.public(bytes(25)), lambda toy: toy.dh(bytes(24), bytes(41)),
    lambda toy: toy.mac(bytes(20), b""), lambda toy: toy.seal(bytes(32), 0, b"", b""), lambda toy: toy.open(bytes(19), 0, bytes(12), b""),
    lambda toy: toy.cookie_seal(bytes(32), bytes(15), b"", b""), lambda toy: toy.cookie_open(bytes(33), bytes(24), bytes(13), b""),
    lambda toy: toy.measure(65536, 1), lambda toy: toy.measure(1, 257),
    lambda toy: toy.kdf(b"", b"", 0), lambda toy: toy.kdf(b"", b"", 4), lambda toy: toy.seal(bytes(20), 0, bytes(65536), b""),
    lambda toy: Plane(suite=toy, aead="openssl"), lambda toy: Plane(suite=toy).set_public_key(bytes(32))])
def test_other_sizes_are_errors_and_reach_no_function(toy, call):
    with pytest.raises(ValueError):
        call(toy)


def test_one_that_was_not_loaded_does_nothing():
    with pytest.raises(TypeError):
        LoadedSuite().hash(b"")
    with pytest.raises(TypeError):
        Plane(suite=LoadedSuite())


def test_a_plane_seals_and_opens_with_it(toy):
    a, b = Node("10.0.0.2", suite=toy), Node("10.0.0.1", suite=toy)
    assert a.plane.lengths == toy.lengths and a.plane.aead == "toy"
    keys = bytes(range(20)), bytes(range(20, 40))
    with pytest.raises(ValueError):
        a.plane.install(a.slot, local_index=1, remote_index=2, send_key=bytes(32), receive_key=bytes(32), initiator=True, now=START)
    b.plane.install(b.slot, local_index=2, remote_index=1, send_key=keys[1], receive_key=keys[0], initiator=False, now=START)
    a.plane.install(a.slot, local_index=1, remote_index=2, send_key=keys[0], receive_key=keys[1], initiator=True, now=START)
    packets = [outgoing(bytes([n]) * (n % 200)) for n in range(150)]
    sealed = a.seal(*packets)
    assert [len(d) for d in sealed] == [16 + (len(p) + 15) // 16 * 16 + 12 for p in packets]
    kind, receiver, counter = header(sealed[3])
    assert (kind, receiver) == (4, 2)
    padded = packets[3] + bytes(-len(packets[3]) % 16)
    assert sealed[3][16:] == toy.seal(keys[0], counter, padded, b"")
    assert b.open(*sealed) == packets
    forged = a.seal(packets[0])[0]
    assert b.open(forged[:-1] + bytes([forged[-1] ^ 1])) == [] and b.dropped() == {"bad_tag": 1}


def test_a_plane_keeps_its_suite(libraries):
    plane = Plane(suite=load_suite(libraries("kept.so")))
    plane.set_public_key(bytes(40))
    slot = plane.add_peer()
    plane.install(slot, local_index=1, remote_index=2, send_key=bytes(20), receive_key=bytes(20), initiator=True, now=START)
    del plane
