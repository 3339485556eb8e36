"""What a train shares is looked up once; packets of other trains in the same batch must
not profit from it."""
import pytest
from harness import START, Node, header, outgoing, pair, session
from packets import ip4, packed

from wgpy.notices import Endpoint


@pytest.mark.parametrize("order", ["own other own other", "other own other own", "own own other other own"])
def test_each_source_is_judged_by_itself(order):
    """F7: one allowed source does not open the door to its neighbours in the batch."""
    a, b = pair()
    a.plane.allow(a.slot, packed("10.0.0.9"), 32)
    packets = [ip4("10.0.0.1" if word == "own" else "10.0.0.3", "10.0.0.2", word.encode() + bytes([i]))
               for i, word in enumerate(order.split())]
    opened = b.open(*a.seal(*packets))
    assert opened == [p for p in packets if b"own" in p]
    assert b.dropped() == {"wrong_source": order.split().count("other")}


def test_each_destination_finds_its_own_peer():
    a = Node("10.0.0.2", max_peers=4)
    b = Node("10.0.0.1")
    session(a, b)
    second = a.plane.add_peer()
    a.plane.allow(second, packed("10.0.0.3"), 32)
    sealed = a.seal(*(ip4("10.0.0.1", f"10.0.0.{n}", bytes(8)) for n in (2, 3, 2, 4, 2, 4)))
    assert len(sealed) == 3 and {header(d)[1] for d in sealed} == {0x2001}
    assert a.plane.stats(second).staged == 0 and a.dropped() == {"no_endpoint": 1, "no_peer": 2}


def test_a_moved_prefix_moves_the_next_batch():
    """The owner found for one batch is not remembered for the next."""
    a, b = pair(max_peers=4)
    second = b.plane.add_peer()
    first = a.seal(outgoing(b"one"))
    assert len(b.open(*first)) == 1
    b.plane.allow(second, packed("10.0.0.1"), 32)
    assert b.open(*a.seal(outgoing(b"two"))) == [] and b.dropped() == {"wrong_source": 1}
    b.plane.allow(b.slot, packed("10.0.0.1"), 32)
    assert b.open(*a.seal(outgoing(b"three"))) == [outgoing(b"three")]


def test_each_packet_of_a_scattered_batch_goes_to_its_own_endpoint():
    """Peers whose slots differ by 256 in one batch, twice, in changing order."""
    a = Node("10.0.0.2", max_peers=600)
    slots = [a.slot] + [a.plane.add_peer() for _ in range(514)]
    chosen = [1, 257, 513, 2, 258, 514, 255, 511, 3]
    for slot in chosen:
        a.plane.allow(slots[slot], packed(f"10.1.{slot >> 8}.{slot & 255}"), 32)
        a.plane.set_endpoint(slots[slot], Endpoint("192.0.2.7", 1000 + slot))
        a.plane.install(slots[slot], local_index=slot, remote_index=slot, send_key=bytes(32), receive_key=bytes(32),
                        initiator=True, now=START)
    for order in (chosen * 2, chosen[::-1], chosen[3:] + chosen[:3] * 2):
        for slot in order:
            assert a.tun_in.put(ip4("10.0.0.1", f"10.1.{slot >> 8}.{slot & 255}", b"x"))
        assert a.seal_pump.step(START) == len(order)
        sent = [(endpoint.port - 1000, header(datagram)[1]) for datagram, endpoint, _ in a.udp_out.take()]
        assert sent == [(slot, slot) for slot in order]
