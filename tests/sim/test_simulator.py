"""Two cores and two planes over a bad network, for simulated days, jumping only from
one announced deadline or arrival to the next. F1, F4."""

import random

import pytest
from sim.network import MS, Link, keepalives_by, pair, sent_by
from sim.node import SECOND, ipv4

A_TO_B = ipv4("10.0.0.1", "10.0.0.2")
B_TO_A = ipv4("10.0.0.2", "10.0.0.1")
DAY = 86400
ROUGH = dict(delay=30 * MS, jitter=200 * MS, loss=0.2, duplicates=0.1)


def watch_sessions(net, *nodes):
    """Asserts with every arrival that no packet came through a session of 180 s."""
    oldest = [0]

    def check(node, datagram, source, now):
        for n in nodes:
            for peer in n.plane._peers.values():
                for key in peer.keys.live():
                    oldest[0] = max(oldest[0], net.mono - key.birth)
                    assert net.mono - key.birth <= 180 * SECOND, "a session outlived 180 s"
    net.on_arrival = check
    return oldest


def chatter(net, a, b, seconds, gap, rng):
    """Random traffic both ways: bursts and silences around `gap` seconds."""
    end = net.mono + int(seconds * SECOND)
    sent = {a.name: 0, b.name: 0}
    while net.mono < end:
        node, packet = rng.choice(((a, A_TO_B), (b, B_TO_A)))
        net.send(node, packet)
        sent[node.name] += 1
        net.run(rng.expovariate(1 / gap))
    return sent


@pytest.mark.parametrize("seed", range(2))
def test_a_day_of_random_traffic_over_a_rough_network(seed):
    """No session outlives 180 s, keys are wiped on time, traffic gets through, indices
    are bounded."""
    net, a, b = pair(seed, Link(**ROUGH))
    net.record = False
    oldest = watch_sessions(net, a, b)
    rng = random.Random(seed)
    sent = chatter(net, a, b, DAY, 30, rng)
    net.link.loss = 0
    net.run(400)
    assert oldest[0] > 120 * SECOND
    assert a.plane.live_indices(0) == b.plane.live_indices(0) == []
    assert len(a.device.indices) == len(b.device.indices) == 0
    for node, other in ((a, b), (b, a)):
        assert 0.7 * sent[other.name] < len(node.received) <= sent[other.name]
        assert len(node.births) > 500


def test_under_traffic_a_new_handshake_happens_every_120_s():
    """F1"""
    net, a, b = pair()
    watch_sessions(net, a, b)
    for _ in range(3600):
        net.send(a, A_TO_B)
        net.run(1)
    times = sent_by(net, a, 1)
    gaps = [(y - x) / SECOND for x, y in zip(times, times[1:])]
    assert len(gaps) == 29 and all(120 <= g <= 121.1 for g in gaps)
    assert len(b.received) == 3600 and sent_by(net, b, 1) == []


def test_under_traffic_both_ways_one_side_renews_at_a_time():
    net, a, b = pair(link=Link(delay=40 * MS))
    watch_sessions(net, a, b)
    for _ in range(36_00):
        net.send(a, A_TO_B)
        net.send(b, B_TO_A)
        net.run(1)
    assert len(a.received) == len(b.received) == 3600
    assert len(sent_by(net, a, 1)) + len(sent_by(net, b, 1)) <= 2 * 30


def test_an_idle_tunnel_stays_silent_for_days():
    net, a, b = pair()
    net.run(7 * DAY)
    assert net.datagrams == []
    net.send(a, A_TO_B)
    net.send(b, B_TO_A)
    net.run(600)
    count = len(net.datagrams)
    net.run(7 * DAY)
    assert len(net.datagrams) == count
    assert a.device.deadline() is None and b.device.deadline() is None


def test_no_keepalive_ping_pong():
    """Each data packet and each handshake costs at most one keepalive, and those none."""
    net, a, b = pair()
    rng = random.Random(1)
    data = 0
    for _ in range(500):
        net.send(*rng.choice(((a, A_TO_B), (b, B_TO_A))))
        data += 1
        net.run(rng.uniform(0, 60))
    pings = len(keepalives_by(net, a)) + len(keepalives_by(net, b))
    assert pings <= data + len(a.events("handshake_sent")) + len(b.events("handshake_sent"))


def test_a_day_of_persistent_keepalives():
    net, a, b = pair()
    a.device.set_keepalive(b.public, 25, net.now(a))
    a.stop(net.now(a))
    a.start(net.now(a))
    net.carry(a)
    watch_sessions(net, a, b)
    net.run(DAY)
    assert DAY / 26 <= len(keepalives_by(net, a)) <= DAY / 25 + DAY / 120 + 2
    assert keepalives_by(net, b) == [] and sent_by(net, b, 1) == []
    assert DAY / 127 <= len(sent_by(net, a, 1)) <= DAY / 120


@pytest.mark.parametrize("loss", [0.5, 0.8])
def test_convergence_after_heavy_loss(loss):
    """A tunnel that lost most of everything for an hour works at once when the network
    does again."""
    for seed in range(5):
        net, a, b = pair(seed, Link(delay=20 * MS, jitter=300 * MS, loss=loss, duplicates=0.3))
        watch_sessions(net, a, b)
        chatter(net, a, b, 3600, 5, random.Random(seed))
        net.link.loss = 0.0
        net.link.jitter = net.link.duplicates = 0
        for _ in range(8):
            net.send(a, A_TO_B)
            net.send(b, B_TO_A)
            net.run(1)
        a.received.clear(), b.received.clear()
        net.send(a, A_TO_B)
        net.send(b, B_TO_A)
        net.run(1)
        assert a.received == [B_TO_A] and b.received == [A_TO_B]


def test_an_outage_is_survived_whatever_its_length():
    for minutes in (0.1, 0.5, 1, 2, 3, 5, 20, 200):
        net, a, b = pair(int(minutes * 10))
        net.send(a, A_TO_B)
        net.run(30)
        net.link.loss = 1.0
        for _ in range(max(1, int(minutes * 6))):
            net.send(a, A_TO_B)
            net.run(10)
        net.link.loss = 0.0
        net.run(16)                     # at the latest the next retransmission
        b.received.clear()
        net.send(a, A_TO_B)
        net.run(6)
        assert A_TO_B in b.received


def test_clock_steps_in_both_directions_do_no_harm():
    net, a, b = pair(7, Link(delay=10 * MS, loss=0.1))
    watch_sessions(net, a, b)
    rng = random.Random(7)
    for _ in range(60):
        net.clock_error[rng.choice("ab")] = int(rng.uniform(-1e6, 1e6)) * SECOND
        chatter(net, a, b, 400, 20, rng)
    net.link.loss = 0.0
    net.run(200)
    a.received.clear()
    net.send(b, B_TO_A)
    net.run(1)
    assert a.received == [B_TO_A]
    assert a.device.rejects["replay"] == b.device.rejects["replay"] == 0


def test_one_side_restarts_again_and_again():
    net, a, b = pair(3)
    rng = random.Random(3)
    for _ in range(100):
        node = rng.choice((a, b))
        node.stop(net.now(node))
        net.run(rng.uniform(0, 3))
        node.start(net.now(node))
        net.carry(node)
        before = len(b.received)
        for _ in range(25):
            net.send(a, A_TO_B)
            net.run(1)
        assert len(b.received) > before
    assert len(a.device.indices) <= 4 and len(b.device.indices) <= 4


def test_a_node_that_moves_all_the_time_keeps_its_session():
    """F4: no renegotiation beyond the usual one, at most what was in flight is lost."""
    net, a, b = pair(4)
    net.send(a, A_TO_B)
    net.run(1)
    for i in range(100):
        net.move(a, a.where._replace(address=f"203.0.113.{i}", port=2000 + i))
        net.send(a, A_TO_B)
        net.run(0.5)
        net.send(b, B_TO_A)
        net.run(0.5)
    assert len(b.received) == 101 and len(a.received) == 100
    assert len(sent_by(net, a, 1)) == 1


def test_nobody_polls():
    """Over an hour of light traffic a device wakes a bounded number of times."""
    net, a, b = pair()
    ticks = 0
    tick = a.tick

    def counted(now):
        nonlocal ticks
        ticks += 1
        tick(now)
    a.tick = counted
    for _ in range(60):
        net.send(a, A_TO_B)
        net.run(60)
    assert ticks <= 60 * 6
