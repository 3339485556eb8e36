"""A datagram of ours that the host's routes bring back to the TUN: dropped there when it would
be sealed for the same peer again, in C and in its specification. What only looks like one goes
through: another WireGuard inside the tunnel, and a peer that is reached through a peer."""
import random
import socket
import struct

import pytest
from harness import SECOND, START
from packets import ip4, ip6, packed

from wgpy._fast.plane import Plane
from wgpy._fast.ports import MemoryPort, Pump, TunPort
from wgpy.notices import Endpoint
from wgpy.protocol import plane as specification

THERE = Endpoint("10.0.0.5", 51820)
THERE6 = Endpoint("fd00::5", 51820)
INITIATION, RESPONSE, COOKIE_REPLY, TRANSPORT = 1, 2, 3, 4
LOCAL, REMOTE = 0x1001, 0x2001


class Real:
    def __init__(self):
        self.plane = Plane(max_peers=32)
        self.tun, self.udp, self.back = MemoryPort(), MemoryPort(), MemoryPort()
        self.pump = Pump(self.tun, self.plane.seal_stage(), self.udp)
        self._open = Pump(MemoryPort(), self.plane.open_stage(), self.back)

    def seal(self, *packets: bytes, now: int = START) -> list[tuple[bytes, Endpoint]]:
        for packet in packets:
            assert self.tun.put(packet)
        while self.pump.step(now):
            pass
        while self._open.step(now):
            pass
        return [(datagram, endpoint) for datagram, endpoint, _ in self.udp.take()]

    def drops(self) -> dict[str, int]:
        return {k: n for k, n in self.pump.drops().items() if n}


class Specified:
    def __init__(self):
        self.plane = specification.Plane(entropy=random.Random(1).randbytes, max_peers=32)

    def seal(self, *packets: bytes, now: int = START) -> list[tuple[bytes, Endpoint]]:
        sent = self.plane.pull(now)
        for packet in packets:
            sent += self.plane.seal(packet, now)
        return [(s.datagram, s.endpoint) for s in sent]

    def drops(self) -> dict[str, int]:
        return {k: n for k, n in self.plane.drops().items() if n}


@pytest.fixture(params=[Real, Specified], ids=["c", "specification"])
def ours(request):
    return request.param()


def add(ours, endpoint: Endpoint, *prefixes: str, remote: int = REMOTE) -> int:
    """A peer with a session."""
    slot = ours.plane.add_peer()
    ours.plane.set_endpoint(slot, endpoint)
    for prefix in prefixes:
        address, _, cidr = prefix.partition("/")
        ours.plane.allow(slot, packed(address), int(cidr))
    install(ours, slot, remote=remote, local=LOCAL + slot)
    return slot


def install(ours, slot: int, *, remote: int = REMOTE, local: int = LOCAL, initiator: bool = True) -> None:
    ours.plane.install(slot, local_index=local, remote_index=remote, send_key=bytes(32), receive_key=bytes(32),
                       initiator=initiator, now=START)


def udp(payload: bytes, port: int, source: int = 51820) -> bytes:
    return struct.pack("!HHHH", source, port, 8 + len(payload), 0) + payload


def looped(datagram: bytes, to: Endpoint) -> bytes:
    """The packet that the kernel gives to the TUN for it."""
    make, source = (ip6, "fd00::1") if ":" in to.address else (ip4, "10.0.0.1")
    return make(source, to.address, udp(datagram, to.port))


def message(kind: int, index: int, size: int = 96) -> bytes:
    return struct.pack("<II", kind, index).ljust(size, b"\0")


def data(length: int = 100) -> bytes:
    return ip4("10.0.0.1", "10.0.0.9", bytes(length))


@pytest.mark.parametrize("there, prefix", [(THERE, "10.0.0.0/24"), (THERE6, "fd00::/64")])
def test_a_data_packet_goes_round_not_even_once(ours, there, prefix):
    add(ours, there, prefix, "10.0.0.9/32")
    ((datagram, to),) = ours.seal(data())
    assert datagram[:8] == struct.pack("<II", TRANSPORT, REMOTE)
    assert ours.seal(looped(datagram, to)) == [] and ours.drops() == {"routing_loop": 1}
    assert ours.plane.stats(0).tx_packets == 1, "and nothing else of it is left"
    assert len(ours.seal(data())) == 1, "what is no datagram of ours goes on"


def test_handshake_messages(ours):
    """They have our index; while there is no session they would be staged and never leave."""
    slot = ours.plane.add_peer()
    ours.plane.set_endpoint(slot, THERE)
    ours.plane.allow(slot, packed("10.0.0.0"), 24)
    for number, (kind, size) in enumerate(((INITIATION, 148), (RESPONSE, 92)), 1):
        if kind == INITIATION:
            ours.plane.await_response(slot, 77)
        else:
            install(ours, slot, local=77, initiator=False)
        ours.plane.send(message(kind, 77, size), slot=slot)
        ((datagram, to),) = ours.seal()
        assert ours.seal(looped(datagram, to)) == []
        assert ours.drops() == {"routing_loop": number} and ours.plane.stats(slot).staged == 0


@pytest.mark.parametrize("what", [
    message(TRANSPORT, REMOTE + 1), message(TRANSPORT, LOCAL), message(INITIATION, REMOTE, 148),
    message(RESPONSE, REMOTE, 92), message(COOKIE_REPLY, REMOTE, 64), message(COOKIE_REPLY, LOCAL, 64),
    message(5, REMOTE), message(TRANSPORT | 1 << 8, REMOTE), message(TRANSPORT, REMOTE, 8)[:7], b"\4", b""])
def test_another_wireguard_to_the_same_peer_is_told_by_its_index(ours, what):
    add(ours, THERE, "10.0.0.0/24")
    assert len(ours.seal(looped(what, THERE))) == 1 and ours.drops() == {}


@pytest.mark.parametrize("to", [Endpoint("10.0.0.6", 51820), Endpoint("10.0.0.5", 51821), Endpoint("fd00::5", 51820)])
def test_another_wireguard_elsewhere_may_have_the_same_index(ours, to):
    """Indices are unique where they were given; also the very same ports mean nothing."""
    add(ours, THERE, "10.0.0.0/24", "fd00::/64")
    assert len(ours.seal(looped(message(TRANSPORT, REMOTE), to))) == 1 and ours.drops() == {}


@pytest.mark.parametrize("proto", [6, 1, 47, 136])
def test_only_udp_is_looked_into(ours, proto):
    add(ours, THERE, "10.0.0.0/24")
    assert len(ours.seal(ip4("10.0.0.1", THERE.address, udp(message(TRANSPORT, REMOTE), THERE.port), proto))) == 1


def test_ip_options_are_passed_over(ours):
    add(ours, THERE, "10.0.0.0/24")
    plain = looped(message(TRANSPORT, REMOTE), THERE)
    long = bytes([0x46, 0]) + struct.pack("!H", len(plain) + 4) + plain[4:20] + b"\1\1\1\0" + plain[20:]
    assert ours.seal(long) == [] and ours.drops() == {"routing_loop": 1}


def test_a_superseded_keypair_is_still_ours(ours):
    """A datagram may be under way while the keypair is replaced; of one that is destroyed too,
    the datagram goes round once."""
    slot = add(ours, THERE, "10.0.0.0/24")
    ((datagram, to),) = ours.seal(data())
    install(ours, slot, remote=REMOTE + 1, local=8)
    assert ours.seal(looped(datagram, to)) == [] and ours.drops() == {"routing_loop": 1}
    install(ours, slot, remote=REMOTE + 2, local=9)
    (again,) = ours.seal(looped(datagram, to))
    assert again[0][4:8] == struct.pack("<I", REMOTE + 2)
    assert ours.seal(looped(*again)) == [] and ours.drops() == {"routing_loop": 2}


def test_a_wiped_session_and_a_removed_peer_leave_nothing_behind(ours):
    slot = add(ours, THERE, "10.0.0.0/24")
    ((datagram, to),) = ours.seal(data())
    ours.plane.wipe(slot)
    assert ours.seal(looped(datagram, to)) == [] and ours.plane.stats(slot).staged == 1
    ours.plane.remove_peer(slot)
    assert add(ours, THERE, "10.0.0.0/24", remote=REMOTE + 1) == slot
    assert len(ours.seal(looped(datagram, to))) == 1 and "routing_loop" not in ours.drops()


def fragments(packet: bytes, size: int = 1400) -> list[bytes]:
    """As the kernel cuts it when it is larger than the TUN's MTU."""
    out = []
    rest = packet[40 if packet[0] >> 4 == 6 else 20:]
    for at in range(0, len(rest), size):
        more = at + size < len(rest)
        if packet[0] >> 4 == 4:
            out.append(ip4("10.0.0.1", THERE.address, rest[at:at + size], fragment=at // 8 | more << 13))
        else:
            out.append(ip6("fd00::1", THERE6.address, struct.pack("!BBHI", 17, 0, at | more, 7) + rest[at:at + size], 44))
    return out


@pytest.mark.parametrize("there, prefix", [(THERE, "10.0.0.0/24"), (THERE6, "fd00::/64")])
def test_a_large_datagram_that_comes_in_pieces_ends(ours, there, prefix):
    """Outer datagrams may be fragmented. Whole first pieces would go round for ever; a rest,
    which tells nothing, goes round once."""
    add(ours, there, prefix, "10.0.0.9/32")
    ((datagram, to),) = ours.seal(data(1400))
    first, rest = fragments(looped(datagram, to))
    assert ours.seal(first) == [] and ours.drops() == {"routing_loop": 1}
    (again,) = ours.seal(rest)
    assert ours.seal(looped(*again)) == [] and ours.drops() == {"routing_loop": 2}


def test_a_later_fragment_has_no_header_to_look_at(ours):
    """Whatever its bytes say."""
    add(ours, THERE, "10.0.0.0/24", "fd00::/64")
    like = udp(message(TRANSPORT, REMOTE), THERE.port)
    assert len(ours.seal(ip4("10.0.0.1", THERE.address, like, fragment=1 << 13 | 1))) == 1
    ours.plane.set_endpoint(0, THERE6)
    assert len(ours.seal(ip6("fd00::1", THERE6.address, struct.pack("!BBHI", 17, 0, 1 << 3 | 1, 7) + like, 44))) == 1
    assert ours.drops() == {}


def test_a_train_through_the_tun():
    """The kernel may hand over what left as one train as one packet (USO): each segment is
    judged, so that none of a mixed one is lost or passed."""
    ours = Real()
    add(ours, THERE, "10.0.0.0/24")
    (sent, *_) = ours.seal(*[data(96)] * 30)
    kernel, tun = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    tun.setblocking(False)
    size, foreign = len(sent[0]), message(TRANSPORT, REMOTE + 9, len(sent[0]))
    head = struct.pack("=BBHHHH", 1, 5, 28, size, 20, 6)
    with kernel, tun:
        pump = Pump(TunPort(tun.fileno()), ours.plane.seal_stage(), ours.udp)
        for payload in (sent[0] * 30, foreign * 3 + sent[0] * 4 + foreign * 2):
            kernel.send(head + looped(payload, THERE))
        while pump.step(START):
            pass
    assert {k: n for k, n in pump.drops().items() if n} == {"routing_loop": 34}
    assert len(ours.udp.take()) == 5


def test_a_route_into_a_tunnel_that_nobody_owns_is_called_that(ours):
    """Not no_peer, and the ICMP that this would cause does not go to our own socket."""
    add(ours, THERE, "10.9.0.0/16")
    assert ours.seal(looped(message(TRANSPORT, REMOTE), THERE)) == [] and ours.drops() == {"routing_loop": 1}
    assert not isinstance(ours, Real) or ours.back.take() == []


def chain(ours, length: int) -> list[int]:
    """Peers of which each is reached through the next."""
    ends = [Endpoint(f"10.{n}.0.5", 51820) for n in range(length)]
    return [add(ours, ends[n], f"10.{(n - 1) % length}.0.0/16", remote=REMOTE + n) for n in range(length)]


def test_a_peer_behind_a_peer_is_no_loop(ours):
    inner = add(ours, Endpoint("10.1.0.5", 51820), "10.0.0.0/24")
    outer = add(ours, Endpoint("198.51.100.7", 51820), "10.1.0.0/16", remote=REMOTE + 1)
    for turn in range(5):
        ((datagram, to),) = ours.seal(data(), now=START + turn)
        ((datagram, to),) = ours.seal(looped(datagram, to), now=START + turn)
        assert to.address == "198.51.100.7" and datagram[4:8] == struct.pack("<I", REMOTE + 1)
    assert ours.drops() == {} and ours.plane.stats(inner).tx_packets == ours.plane.stats(outer).tx_packets == 5


@pytest.mark.parametrize("length", [2, 3, 7])
def test_a_loop_through_several_peers_is_broken_when_it_closes(ours, length):
    """Each is reached through the next, and the last through the first."""
    chain(ours, length)
    rounds, sent = 0, ours.seal(ip4("10.0.0.1", f"10.{length - 1}.0.9", b"x"))
    while sent:
        (one,) = sent
        sent, rounds = ours.seal(looped(*one)), rounds + 1
    assert rounds == length and ours.drops() == {"routing_loop": 1}


def test_no_chain_is_longer_than_sixteen(ours):
    for n in range(20):
        add(ours, Endpoint(f"10.{n}.0.5", 51820), f"10.{n - 1}.0.0/16" if n else "10.99.0.0/16", remote=REMOTE + n)
    for n in reversed(range(18)):  # who is nearest to the end first, so that each path is known
        one = (message(TRANSPORT, REMOTE + n), Endpoint(f"10.{n}.0.5", 51820))
        assert len(ours.seal(looped(*one))) == (n >= 1), n
    assert ours.drops() == {"routing_loop": 1}


def test_a_path_that_changed_is_forgotten_within_a_second(ours):
    """First a is reached through b, then b through a."""
    a = add(ours, Endpoint("10.1.0.5", 51820), "10.0.0.0/24")
    b = add(ours, Endpoint("10.0.0.5", 51820), "10.1.0.0/16", remote=REMOTE + 1)
    to_a, to_b = (looped(message(TRANSPORT, REMOTE + n), e) for n, e in
                  ((a, Endpoint("10.1.0.5", 51820)), (b, Endpoint("10.0.0.5", 51820))))
    assert len(ours.seal(to_a)) == 1
    assert ours.seal(to_b, now=START + SECOND - 1) == [] and ours.drops() == {"routing_loop": 1}
    assert len(ours.seal(to_b, now=START + SECOND)) == 1
    assert ours.seal(to_a, now=START + SECOND) == [] and ours.drops() == {"routing_loop": 2}


def test_two_peers_that_gave_the_same_index(ours):
    """Peers choose indices, also on purpose."""
    ends = [Endpoint(f"10.0.{n}.5", 51820) for n in range(8)]
    slots = [add(ours, ends[n], f"10.0.{n}.0/24") for n in range(8)]
    for n in range(8):
        assert ours.seal(looped(message(TRANSPORT, REMOTE), ends[n])) == []
        assert ours.drops() == {"routing_loop": n + 1}
    for n in (3, 0, 7):
        ours.plane.remove_peer(slots[n])
    assert ours.seal(*(looped(message(TRANSPORT, REMOTE), end) for end in ends)) == []
    assert ours.drops()["routing_loop"] == 8 + 5
