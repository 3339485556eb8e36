"""F3. Admission of handshake messages in C against its specification, and against hashlib
and libsodium: the same messages at the same times into both, each with the cookie that it
gave out, and after each the same verdict, queue, load and answers."""
import random
from hashlib import blake2s

import pytest
from harness import HOME, START, Node
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as xopen

from wgpy.notices import Endpoint
from wgpy.protocol import plane as specification

SECOND = 1_000_000_000
OURS = bytes(range(100, 132))
MAC1_KEY, COOKIE_KEY = (blake2s(label + OURS).digest() for label in (b"mac1----", b"cookie--"))
SIZES = {1: 148, 2: 92, 3: 64}
PLACES = [HOME, Endpoint("192.0.2.1", 51821), Endpoint("198.51.100.7", 999), Endpoint("::ffff:198.51.100.7", 998),
          Endpoint("2001:db8::7", 5, "2001:db8::1", 2), Endpoint("2001:db8::8", 5), Endpoint("2001:db8:0:1::8", 5)]
REASONS = {"malformed_message", "unawaited", "bad_mac1", "cookie_demanded", "cookie_lane", "handshake_copy",
           "rate_limited", "cookie_replies", "handshake_queue"}


def mac(key: bytes, data: bytes) -> bytes:
    return blake2s(data, key=key, digest_size=16).digest()


def message(kind: int, receiver: int = 0, rest: bytes = b"", cookie: bytes = b"", mac1: bool = True) -> bytes:
    index = receiver.to_bytes(4, "little")
    body = bytes([kind, 0, 0, 0]) + (index if kind == 3 else b"\xaa\xbb\xcc\xdd" + index) + rest
    if kind == 3:
        return body.ljust(64, b"\0")
    body = body.ljust(SIZES[kind] - 32, b"\0")
    signed = body + (mac(MAC1_KEY, body) if mac1 else bytes(16))
    return signed + (mac(cookie, signed) if cookie else bytes(16))


class Far:
    """Real or specified: hears datagrams, answers, and remembers the cookies it gave."""

    def __init__(self, plane):
        self.plane = plane
        self.cookies: dict[tuple, bytes] = {}
        self.slot = plane.add_peer()
        plane.set_public_key(OURS)

    def verdict(self, datagram: bytes, source: Endpoint, now: int) -> str:
        before = self.drops()
        self.hear(datagram, source, now)
        new = {k for k, n in self.drops().items() if n != before.get(k, 0)}
        return new.pop() if new else "up"

    def answers(self, now: int) -> list[tuple[Endpoint, int, int]]:
        """Of what has left, without what is random; cookies are opened with libsodium."""
        return [(to[:2], tos, self._learn(to, datagram)) for datagram, to, tos in self.sent(now)]

    def _learn(self, to: Endpoint, reply: bytes) -> bytes:
        assert len(reply) == 64 and reply[:4] == b"\3\0\0\0"
        self.cookies[to[:2]] = xopen(reply[32:], self.demanded[to[:2]], reply[8:32], COOKIE_KEY)
        assert len(self.cookies[to[:2]]) == 16
        return reply[4:8]


class Real(Far):
    def __init__(self):
        self.node = Node()
        self.node.plane.remove_peer(self.node.slot)
        super().__init__(self.node.plane)

    def hear(self, datagram, source, now):
        assert self.node.open(datagram, source=source, now=now) == []

    def sent(self, now):
        while self.node.seal_pump.step(now):
            pass
        return self.node.udp_out.take()

    def drops(self):
        return {k: n for k, n in self.node.dropped().items() if k in REASONS}


class Specified(Far):
    def __init__(self, seed):
        super().__init__(specification.Plane(entropy=random.Random(seed).randbytes))

    def hear(self, datagram, source, now):
        assert self.plane.open(datagram, source, now) == []

    def sent(self, now):
        return [(s.datagram, s.endpoint, s.tos) for s in self.plane.pull(now)]

    def drops(self):
        return dict(self.plane.drops())


class Twin:
    def __init__(self, seed: int):
        self.rng = random.Random(seed)
        self.pair = Real(), Specified(seed)
        assert self.pair[0].slot == self.pair[1].slot
        self.now = START
        self.seen: set[str] = set()
        self.awaited = 7
        self.copies: list[tuple[Endpoint, list[bytes]]] = []

    def both(self, method: str, *args):
        results = [getattr(far.plane, method)(*args) for far in self.pair]
        assert results[0] == results[1], (method, args, results)
        return results[0]

    def hear(self, source: Endpoint, datagrams: list[bytes]) -> str:
        verdicts = []
        for far, datagram in zip(self.pair, datagrams, strict=True):
            far.demanded = {source[:2]: datagram[-32:-16]}
            verdicts.append((far.verdict(datagram, source, self.now), far.answers(self.now)))
        assert verdicts[0] == verdicts[1]
        assert len({far.plane.handshake_depth for far in self.pair}) == 1
        self.both("under_load", self.now)
        self.seen.add(verdicts[0][0])
        return verdicts[0][0]

    # operations

    def initiation(self):
        source, rest = self.rng.choice(PLACES), self.rng.randbytes(100)
        proven = self.rng.random() < 0.6
        datagrams = [message(1, rest=rest, cookie=far.cookies.get(source[:2], b"") if proven else b"")
                     for far in self.pair]
        self.copies = [*self.copies[-3:], (source, datagrams)]
        self.hear(source, datagrams)

    def burst(self):
        """More than a source is given, all with a cookie if it has one."""
        source = self.rng.choice(PLACES)
        for _ in range(8):
            rest = self.rng.randbytes(100)
            self.hear(source, [message(1, rest=rest, cookie=far.cookies.get(source[:2], b"")) for far in self.pair])

    def copy(self):
        if self.copies:
            self.hear(*self.rng.choice(self.copies))

    def response(self):
        index = self.rng.choice((self.awaited, self.awaited, self.awaited - 1, 99))
        self.hear(self.rng.choice(PLACES), [message(2, index, self.rng.randbytes(40))] * 2)

    def reply(self):
        for _ in range(self.rng.choice((1, 5, 100))):
            self.hear(self.rng.choice(PLACES), [message(3, self.rng.choice((self.awaited, 99)), self.rng.randbytes(50))] * 2)

    def garbage(self):
        kind = self.rng.choice((0, 1, 2, 3, 5))
        size = SIZES.get(kind, 148) + self.rng.choice((0, 0, 1))
        self.hear(self.rng.choice(PLACES), [bytes([kind, 0, 0, 0]) + self.rng.randbytes(size - 4)] * 2)

    def flood(self):
        """Until it is under load, or a few more."""
        source = self.rng.choice(PLACES)
        for i in range(self.rng.choice((60, 600))):
            self.hear(source, [message(1, rest=i.to_bytes(100, "big"))] * 2)

    def take(self):
        limit = self.rng.choice((8, 64, 1024))
        without_mac2 = lambda taken: [(d[:132] if d[0] == 1 else d[:76], source) for d, source in taken]
        one, other = (without_mac2(far.plane.handshakes(limit)) for far in self.pair)
        assert one == other

    def wait(self):
        self.now += self.rng.choice((10**6, 10**7, 10**8, 3 * 10**8, SECOND, 3 * SECOND, 130 * SECOND))

    def expect(self):
        self.awaited += self.rng.randrange(2)
        self.both("await_response", self.pair[0].slot, self.rng.choice((self.awaited, self.awaited, None)))

    def install(self):
        """Takes the index over: responses to it are late, cookie replies find it."""
        for far in self.pair:
            far.plane.install(far.slot, local_index=self.awaited, remote_index=1, send_key=bytes(32),
                              receive_key=bytes(32), initiator=True, now=self.now)
        self.awaited += 1


def test_random_messages():
    seen = set().union(*(random_messages(seed) for seed in range(8)))
    assert seen >= REASONS - {"handshake_queue", "cookie_lane"} | {"up"}


def random_messages(seed):
    twin = Twin(seed)
    weights = dict(initiation=60, burst=12, copy=8, response=10, reply=4, garbage=5, flood=2, take=4, wait=12, expect=6, install=1)
    twin.expect()
    for _ in range(500):
        (name,) = twin.rng.choices(list(weights), list(weights.values()))
        getattr(twin, name)()
    return twin.seen


def test_every_bit_of_a_message_is_under_its_mac1():
    far = Real()
    good = message(1, rest=b"x" * 100)
    for bit in range(32, 8 * 132):
        forged = bytearray(good)
        forged[bit // 8] ^= 1 << bit % 8
        assert far.verdict(bytes(forged), HOME, START) == "bad_mac1", bit
    assert far.verdict(good, HOME, START) == "up" and far.plane.handshakes() == [(good, HOME)]


def test_without_a_public_key_nothing_is_admitted():
    far = Real()
    far.plane.set_public_key(None)
    assert far.verdict(message(1), HOME, START) == "bad_mac1"
    far.plane.set_public_key(OURS)
    assert far.verdict(message(1), HOME, START) == "up"
    for bad in (b"short", bytes(33)):
        with pytest.raises(ValueError):
            far.plane.set_public_key(bad)


def test_messages_in_one_batch_are_judged_one_by_one():
    """Load begins in the midst of a batch, and nothing of it is lost uncounted."""
    far = Real()
    for i in range(4):
        far.node.open(*[message(1, rest=(500 * i + j).to_bytes(100, "big")) for j in range(500)])
    assert far.plane.handshake_depth == 512 and far.plane.under_load(START)
    assert sum(far.drops().values()) == 2000 - 512 and set(far.drops()) == {"cookie_demanded", "cookie_lane"}
