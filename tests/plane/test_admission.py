"""F3. Admission of handshake messages in C against its specification, with WireGuard's suite of
hashlib and libsodium, and with one of a library whose sizes are all others: the same messages at
the same times into both, each with the cookie that it gave out, and after each the same verdict,
queue, load and answers."""
import itertools
import random

import pytest
from harness import HOME, START, Node
from toy import toy

from wgpy.notices import Endpoint
from wgpy.protocol import plane as specification
from wgpy.suite import get

SECOND = 1_000_000_000
PLACES = [HOME, Endpoint("192.0.2.1", 51821), Endpoint("198.51.100.7", 999), Endpoint("::ffff:198.51.100.7", 998),
          Endpoint("2001:db8::7", 5, "2001:db8::1", 2), Endpoint("2001:db8::8", 5), Endpoint("2001:db8:0:1::8", 5)]
REASONS = {"malformed_message", "unawaited", "bad_mac1", "cookie_demanded", "cookie_lane", "handshake_copy",
           "rate_limited", "cookie_replies", "handshake_queue"}


class Messages:
    """To us, with the suite in use."""

    def use(self, suite) -> None:
        self.suite = s = suite
        self.ours = bytes(range(100, 100 + s.public_size))
        self.mac1_key = s.hash(b"mac1----" + self.ours)
        self.cookie_key = s.hash(b"cookie--" + self.ours)[:s.xkey_size]
        self.macs = 2 * s.mac_size
        self.sizes = {1: 20 + 2 * s.public_size + 2 * s.tag_size + self.macs, 2: 12 + s.public_size + s.tag_size + self.macs,
                      3: 8 + s.xnonce_size + s.mac_size + s.xtag_size}

    def __call__(self, kind: int, receiver: int = 0, rest: bytes = b"", cookie: bytes = b"") -> bytes:
        index = receiver.to_bytes(4, "little")
        body = bytes([kind, 0, 0, 0]) + (index if kind == 3 else b"\xaa\xbb\xcc\xdd" + index) + rest
        if kind == 3:
            return body.ljust(self.sizes[3], b"\0")
        body = body.ljust(self.sizes[kind] - self.macs, b"\0")
        signed = body + self.suite.mac(self.mac1_key, body)
        return signed + (self.suite.mac(cookie, signed) if cookie else bytes(self.suite.mac_size))

    def mac1(self, datagram: bytes) -> bytes:
        return datagram[-self.macs:-self.suite.mac_size]


message = Messages()


@pytest.fixture(autouse=True, params=[get, toy], ids=["wireguard", "library"])
def suite(request):
    message.use(request.param())


class Far:
    """Real or specified: hears datagrams, answers, and remembers the cookies it gave."""

    def __init__(self, plane):
        self.plane = plane
        self.cookies: dict[tuple, bytes] = {}
        self.slot = plane.add_peer()
        plane.set_public_key(message.ours)

    def verdict(self, datagram: bytes, source: Endpoint, now: int) -> str:
        before = self.drops()
        self.hear(datagram, source, now)
        new = {k for k, n in self.drops().items() if n != before.get(k, 0)}
        return new.pop() if new else "up"

    def answers(self, now: int) -> list[tuple[Endpoint, int, int]]:
        """Of what has left, without what is random; cookies are opened."""
        return [(to[:2], tos, self._learn(to, datagram)) for datagram, to, tos in self.sent(now)]

    def _learn(self, to: Endpoint, reply: bytes) -> bytes:
        assert len(reply) == message.sizes[3] and reply[:4] == b"\3\0\0\0"
        sealed = 8 + message.suite.xnonce_size
        cookie = message.suite.xopen(message.cookie_key, reply[8:sealed], reply[sealed:], self.demanded[to[:2]])
        assert cookie is not None and len(cookie) == message.suite.mac_size
        self.cookies[to[:2]] = cookie
        return reply[4:8]


class Real(Far):
    def __init__(self):
        self.node = Node(suite=message.suite.table)
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
        super().__init__(specification.Plane(entropy=random.Random(seed).randbytes, suite=message.suite))

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
        self.latest: tuple[Endpoint, list[bytes]] | None = None  # an initiation, if the latest message was one

    def both(self, method: str, *args):
        results = [getattr(far.plane, method)(*args) for far in self.pair]
        assert results[0] == results[1], (method, args, results)
        return results[0]

    def hear(self, source: Endpoint, datagrams: list[bytes]) -> str:
        verdicts, self.latest = [], None
        for far, datagram in zip(self.pair, datagrams, strict=True):
            far.demanded = {source[:2]: message.mac1(datagram)}
            verdicts.append((far.verdict(datagram, source, self.now), far.answers(self.now)))
        assert verdicts[0] == verdicts[1]
        assert len({far.plane.handshake_depth for far in self.pair}) == 1
        self.both("under_load", self.now)
        self.seen.add(verdicts[0][0])
        return verdicts[0][0]

    # operations

    def initiation(self):
        source, rest = self.rng.choice(PLACES), self.rng.randbytes(80)
        proven = self.rng.random() < 0.6
        datagrams = [message(1, rest=rest, cookie=far.cookies.get(source[:2], b"") if proven else b"")
                     for far in self.pair]
        self.hear(source, datagrams)
        self.latest = source, datagrams

    def burst(self):
        """More than a source is given, all with a cookie if it has one."""
        source = self.rng.choice(PLACES)
        for _ in range(8):
            rest = self.rng.randbytes(80)
            self.hear(source, [message(1, rest=rest, cookie=far.cookies.get(source[:2], b"")) for far in self.pair])

    def crowd(self):
        """Many ports of one address, each with a cookie of its own."""
        address = self.rng.choice(("198.51.100.7", "2001:db8::9", "2001:db8::a"))
        for port in range(1, self.rng.choice((10, 40))):
            source = Endpoint(address, port)
            for _ in range(2):
                rest = self.rng.randbytes(80)
                self.hear(source, [message(1, rest=rest, cookie=far.cookies.get(source[:2], b"")) for far in self.pair])

    def copy(self):
        """At once: a later message whose MAC2, under another secret in each, has the same place
        in the table makes it forget this one."""
        if self.latest:
            self.hear(*self.latest)

    def response(self):
        index = self.rng.choice((self.awaited, self.awaited, self.awaited - 1, 99))
        self.hear(self.rng.choice(PLACES), [message(2, index, self.rng.randbytes(40))] * 2)

    def reply(self):
        for _ in range(self.rng.choice((1, 5, 100))):
            self.hear(self.rng.choice(PLACES), [message(3, self.rng.choice((self.awaited, 99)), self.rng.randbytes(50))] * 2)

    def garbage(self):
        kind = self.rng.choice((0, 1, 2, 3, 5))
        size = message.sizes.get(kind, 148) + self.rng.choice((0, 0, 1))
        self.hear(self.rng.choice(PLACES), [bytes([kind, 0, 0, 0]) + self.rng.randbytes(size - 4)] * 2)

    def flood(self):
        """Until it is under load, or a few more."""
        source = self.rng.choice(PLACES)
        for i in range(self.rng.choice((60, 600))):
            self.hear(source, [message(1, rest=i.to_bytes(100, "big"))] * 2)

    def take(self):
        limit = self.rng.choice((8, 64, 1024))
        without_mac2 = lambda taken: [(d if d[0] == 3 else d[:-message.suite.mac_size], source) for d, source in taken]
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
            far.plane.install(far.slot, local_index=self.awaited, remote_index=1, send_key=bytes(message.suite.key_size),
                              receive_key=bytes(message.suite.key_size), initiator=True, now=self.now)
        self.awaited += 1


def test_random_messages():
    seen = set().union(*(random_messages(seed) for seed in range(8)))
    assert seen >= REASONS - {"handshake_queue", "cookie_lane"} | {"up"}


def random_messages(seed):
    twin = Twin(seed)
    weights = dict(initiation=60, burst=12, crowd=6, copy=8, response=10, reply=4, garbage=5, flood=2, take=4, wait=12, expect=6, install=1)
    twin.expect()
    for _ in range(500):
        (name,) = twin.rng.choices(list(weights), list(weights.values()))
        getattr(twin, name)()
    return twin.seen


def test_replies_that_wait():
    """A port, a source and four networks ask for more than may wait; where a peer is has its part of
    the queue. So few that no two of them have one place in a table of the core's, as good as always."""
    pair, asked = (Real(), Specified(5)), itertools.count()
    for far in pair:
        for i in range(513):
            far.hear(message(1, rest=i.to_bytes(100, "big")), HOME, START)

    def leave() -> int:
        one, other = ([(e[:2], tos) for _, e, tos in far.sent(START)] for far in pair)
        assert one == other
        return len(one)

    def answered(*sources: Endpoint) -> int:
        verdicts = []
        for source in sources:
            one, other = (far.verdict(message(1, rest=n.to_bytes(100, "big")), source, START)
                          for far, n in zip(pair, [next(asked)] * 2, strict=True))
            assert one == other
            verdicts.append(one)
        assert set(verdicts) <= {"cookie_demanded", "cookie_lane"}
        return verdicts.count("cookie_demanded")

    assert leave() == 1
    assert answered(*[Endpoint("192.0.2.1", 9)] * 6) == leave() == 4
    assert answered(*[Endpoint("192.0.2.1", 10 + i) for i in range(40)]) == leave() == 32
    for net, waiting in (("10.1.%d.1", 64), ("10.2.%d.1", 64), ("2001:db8:0:%d::1", 64), ("192.0.%d.1", 32)):
        assert answered(*[Endpoint(net % (100 + i), i) for i in range(70)]) == waiting
    peer = Endpoint("10.1.0.7", 7)
    assert answered(peer) == 0
    for far in pair:
        far.plane.set_endpoint(far.slot, peer)
        far.plane.set_endpoint(far.slot, HOME)
    assert answered(peer._replace(port=8), peer._replace(address="10.1.0.8")) == 0
    assert answered(peer, peer, HOME, HOME) == 4 and leave() == 224 + 4


def test_every_bit_of_a_message_is_under_its_mac1():
    far = Real()
    good = message(1, rest=b"x" * 80)
    for bit in range(32, 8 * (len(good) - message.suite.mac_size)):
        forged = bytearray(good)
        forged[bit // 8] ^= 1 << bit % 8
        assert far.verdict(bytes(forged), HOME, START) == "bad_mac1", bit
    assert far.verdict(good, HOME, START) == "up" and far.plane.handshakes() == [(good, HOME)]


def test_without_a_public_key_nothing_is_admitted():
    far = Real()
    far.plane.set_public_key(None)
    assert far.verdict(message(1), HOME, START) == "bad_mac1"
    far.plane.set_public_key(message.ours)
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
