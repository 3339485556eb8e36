"""What counts as a move of the node, from rtnetlink messages built by hand (F4). Numbers
are of linux/rtnetlink.h and linux/if_addr.h."""

import socket
import struct

import pytest

from wgpy import netlink
from wgpy.netlink import LOST, Carrier, Whereabouts, events

NEWLINK, NEWADDR, DELADDR, NEWROUTE, DELROUTE, NEWNEIGH = 16, 20, 21, 24, 25, 28
UNIVERSE, LINK, HOST = 0, 253, 254
PERMANENT, TENTATIVE, DEPRECATED = 0x80, 0x40, 0x20


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def address(text: str, *, index=2, scope=UNIVERSE, flags=PERMANENT, lifetime=0) -> memoryview:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return memoryview(struct.pack("=BBBBI", family, 24, flags, scope, index)
                      + attribute(1, socket.inet_pton(family, text))
                      + attribute(6, struct.pack("=IIII", lifetime, lifetime, 0, 0)))


def route(gateway: str, *, bits=0, metric=0, link=2, age=0) -> memoryview:
    return memoryview(struct.pack("=BBBBBBBBI", socket.AF_INET, bits, 0, 0, 254, 3, 0, 1, 0)
                      + attribute(15, struct.pack("=I", 254)) + attribute(6, struct.pack("=I", metric))
                      + attribute(4, struct.pack("=I", link)) + attribute(5, socket.inet_aton(gateway))
                      + attribute(12, struct.pack("=I", age) * 8))


@pytest.mark.parametrize("told, expected", [
    ([(NEWADDR, address("192.0.2.1")), (NEWADDR, address("192.0.2.2"))], [True, True]),
    ([(NEWADDR, address("192.0.2.1")), (DELADDR, address("192.0.2.1")), (NEWADDR, address("192.0.2.1"))],
     [True, True, True]),
    ([(NEWADDR, address("192.0.2.1")), (NEWADDR, address("192.0.2.1", index=3))], [True, True]),
    ([(NEWADDR, address("2001:db8::1", lifetime=9)), (NEWADDR, address("2001:db8::1", lifetime=8))], [True, False]),
    ([(NEWADDR, address("2001:db8::1", flags=TENTATIVE)), (NEWADDR, address("2001:db8::1", flags=0)),
      (NEWADDR, address("2001:db8::1", flags=DEPRECATED))], [True, True, True]),
    ([(NEWADDR, address("fe80::1", scope=LINK)), (NEWADDR, address("127.0.0.1", scope=HOST))], [False, False]),
    ([(NEWROUTE, route("192.0.2.1")), (NEWROUTE, route("192.0.2.1", age=9)), (NEWROUTE, route("192.0.2.9")),
      (NEWROUTE, route("192.0.2.1"))], [True, False, True, True]),
    ([(NEWROUTE, route("192.0.2.1")), (NEWROUTE, route("192.0.2.1", link=3)), (DELROUTE, route("192.0.2.1"))],
     [True, True, True]),
    ([(NEWROUTE, route("192.0.2.1")), (NEWROUTE, route("192.0.2.2", metric=9)), (NEWROUTE, route("192.0.2.1"))],
     [True, True, False]),
    ([(NEWROUTE, memoryview(struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 6, 0)))], [True]),  # blackhole
    ([(NEWROUTE, route("192.0.2.1", bits=24)), (DELROUTE, route("192.0.2.1", bits=24))], [False, False]),
    ([(NEWLINK, memoryview(bytes(16))), (NEWNEIGH, memoryview(bytes(12)))], [False, False]),
    ([(NEWADDR, address("192.0.2.1")), (LOST, memoryview(b"")), (NEWADDR, address("192.0.2.1"))], [True, True, True]),
])
def test_what_is_a_move(told, expected):
    where = Whereabouts()
    assert [where.moved(*event) for event in told] == expected


def test_the_tunnels_own_link_is_no_place():
    where = Whereabouts()
    assert not where.moved(NEWADDR, address("10.0.0.1", index=7), 7)
    assert not where.moved(NEWROUTE, route("10.0.0.1", link=7), 7)
    assert where.moved(NEWADDR, address("10.0.0.1", index=7), 8)


def test_short_messages_are_no_move():
    where = Whereabouts()
    for kind, whole in ((NEWADDR, address("192.0.2.1")), (NEWROUTE, route("192.0.2.1"))):
        for length in range(8 if kind == NEWADDR else 12):
            assert not where.moved(kind, whole[:length])
        for length in range(len(whole)):
            where.moved(kind, whole[:length])  # cut inside an attribute: no error


def test_attributes_end_at_a_malformed_one():
    whole = memoryview(b"head" + attribute(1, b"abc") + attribute(0x8002, b"") + struct.pack("=HH", 3, 3))
    assert netlink.attributes(whole, 4) == {1: b"abc", 2: b""}
    assert netlink.attributes(memoryview(struct.pack("=HH", 9, 1) + b"abcd"), 0) == {}


def test_events_say_where_some_were_lost():
    class Socket:
        def __init__(self, *answers):
            self.answers = list(answers)

        def recvmsg(self, size):
            answer = self.answers.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer, [], 0, None

    message = struct.pack("=IHHII", 20, NEWLINK, 0, 0, 0) + b"data"
    got = [(kind, bytes(payload)) for kind, payload in events(Socket(message, OSError(105, "no buffers")))]
    assert got == [(NEWLINK, b"data"), (LOST, b"")]
    assert list(events(Socket(BlockingIOError()))) == []


def link(name: str, flags: int) -> memoryview:
    return memoryview(struct.pack("=BBHiII", 0, 0, 1, 2, flags, 0) + attribute(3, name.encode() + b"\0"))


UP, RUNNING, DELLINK = 0x1, 0x40, 17


def test_a_carrier_comes_when_the_link_of_that_name_is_up_and_runs():
    carrier = Carrier("no-such-link")
    assert not carrier.runs
    told = [(NEWLINK, link("no-such-link", UP)), (NEWLINK, link("no-such-link", UP | RUNNING)),
            (NEWLINK, link("no-such-link", UP | RUNNING)), (NEWLINK, link("other", 0)), (NEWLINK, link("no-such-link", RUNNING)),
            (NEWLINK, link("no-such-link", UP | RUNNING)), (DELLINK, link("no-such-link", UP | RUNNING)),
            (NEWLINK, link("no-such-link", UP | RUNNING)), (LOST, memoryview(b"")), (NEWADDR, address("192.0.2.1"))]
    assert [carrier.came(*event) for event in told] == [False, True, False, False, False, True, False, True, True, False]


def test_a_short_message_of_a_link_is_none():
    carrier, whole = Carrier("no-such-link"), link("no-such-link", UP | RUNNING)
    assert not any(carrier.came(NEWLINK, whole[:length]) for length in range(len(whole) - 3))  # 3 of padding


def test_the_carrier_of_a_link_that_is_there_is_known_at_once():
    assert Carrier("lo").runs == (int(open("/sys/class/net/lo/flags").read(), 16) & UP != 0)
