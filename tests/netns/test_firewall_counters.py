"""Every reason to drop, each by packets of its own and under its own name, in both modes and
both IP versions (F2, F10, I4, I5): a packet takes the one chain of its way, and what is
said there must be all that concerns it."""

from contextlib import contextmanager

import pytest
from netns.firewall_house import (
    FAR,
    FAR6,
    GUEST,
    GUEST6,
    HOST,
    HOST6,
    LARGE,
    LOST,
    LOST6,
    NEAR_FAR,
    NEAR_FAR6,
    PORT,
    SMALL,
    WAN,
    WAN6,
    WEB,
    WEB6,
    built,
    counted,
    counters,
    error,
    house,
    inject,
    segment,
    udp,
)
from site_files import edited

from wgpy.firewall.rules import BLACK_COUNTERS, RED_COUNTERS

__all__ = ["built", "house"]
pytestmark = pytest.mark.netns

# half of the LAN may speak to Cusco; small: some of the Internet is in clear; part: all of
# it, and that half of the LAN is all there is of the site
HALF = ("fd01::/64\"]\nto", "fd01::/65\"]\nto")
SITES = {
    "small": edited(SMALL, HALF) + '[bypass]\nnetworks = ["203.0.113.0/24", "2001:db8:1::/64"]\n',
    "large": edited(LARGE, HALF),
    "part": edited(SMALL, HALF, ("[[site]]", 'networks = ["10.1.0.0/25", "fd01::/65"]\n[[site]]')),
}
BLACK_CLEAR, BLACK_CLEAR6, RED_CLEAR, RED_CLEAR6 = "169.254.77.1", "fd77::1", "169.254.77.2", "fd77::2"
TURNED, TURNED6 = "10.1.0.99", "fd01::99"  # of the LAN, but routed by way of red
RETURNED, RETURNED6 = "10.1.0.77", "fd01::77"  # and by way of black
ELSEWHERE, ELSEWHERE6 = "198.51.100.9", "2001:db8:9::9"
MARTIAN, MARTIAN6 = "169.254.9.9", "::ffff:192.0.2.1"
OUT, OUT6, RED, RED6 = "192.0.2.1", "2001:db8::1", "10.1.0.1", "fd01::1"
# what kernels say of themselves meanwhile
CHATTER = {"output_dropped", "tunnel_spoofed"}

# counter, sender, packets; of red
ALWAYS_RED = [
    ("lan_spoofed", "lan", [udp("10.9.9.9", FAR), udp(FAR, FAR), udp("2001:db8:9::1", FAR6),
                            udp("10.9.9.9", RED), udp(FAR6, RED6)]),
    ("tunnel_spoofed", "far", [udp(WEB, HOST), udp("10.1.0.7", HOST), udp("10.3.0.1", HOST),
                               udp(WEB6, HOST6), udp("fd01::7", HOST6), udp("fd03::1", HOST6),
                               udp(WEB, RED), udp(WEB6, RED6)]),
    ("not_permitted", "lan", [udp(GUEST, FAR), udp(GUEST6, FAR6), segment(GUEST, FAR, "S")]),
    ("not_permitted", "far", [udp(FAR, GUEST), udp(FAR6, GUEST6), segment(FAR6, GUEST6, "S")]),
    # without connections there, each packet is judged by itself, whatever it says it belongs to
    ("not_permitted", "lan", [segment(GUEST, FAR), segment(GUEST6, FAR6)]),
    ("not_permitted", "far", [segment(FAR, GUEST), segment(FAR6, GUEST6)]),
    # ICMP errors to who may not, and to who may about what may not be
    ("not_permitted", "far", [error(FAR, GUEST, udp(HOST, FAR)), error("10.2.0.200", GUEST, udp(GUEST, FAR)),
                              error(FAR6, GUEST6, udp(GUEST6, FAR6))]),
    ("not_permitted", "lan", [error(GUEST, FAR, udp(FAR, GUEST)), error(GUEST6, FAR6, udp(FAR6, GUEST6)),
                              error(GUEST, FAR, udp("198.51.100.1", HOST))]),
    ("forward_dropped", "far", [segment(FAR, WEB)]),
    ("forward_dropped", "far", [udp(FAR, WEB), udp(FAR6, WEB6), udp(FAR, NEAR_FAR),
                                udp(FAR6, NEAR_FAR6)]),
    ("protected_in_clear", "lan", [udp(HOST, LOST), udp(HOST6, LOST6), segment(HOST, LOST)]),
    ("protected_in_clear", "far", [udp(FAR, LOST), udp(FAR6, LOST6)]),
    ("protected_in_clear", "red", [udp(RED, LOST), udp(RED6, LOST6)]),
    ("input_dropped", "lan", [udp(HOST, RED), udp(HOST6, RED6), segment(HOST, RED, "S")]),
    ("input_dropped", "far", [udp(FAR, RED), udp(FAR6, RED6)]),
    ("input_dropped", "black", [udp(BLACK_CLEAR, RED_CLEAR), udp(BLACK_CLEAR6, RED_CLEAR6)]),
    ("output_dropped", "red", [udp(RED, HOST), udp(RED6, HOST6), udp(RED, FAR), udp(RED6, FAR6),
                               udp(RED_CLEAR, BLACK_CLEAR), udp(RED_CLEAR6, BLACK_CLEAR6)]),
]
SMALL_RED = [
    ("clear_spoofed", "black", [udp(FAR, HOST), udp("10.1.0.9", HOST), udp(FAR6, HOST6),
                                udp("fd01::9", HOST6), udp(FAR, RED), udp(FAR6, RED6)]),
    ("not_bypassed", "lan", [udp(HOST, OUT), udp(HOST6, OUT6), udp(GUEST, OUT)]),
    ("invalid", "lan", [segment(HOST, WEB), segment(HOST6, WEB6)]),
    ("invalid", "black", [segment(OUT, HOST), segment(OUT6, HOST6)]),
    ("forward_dropped", "black", [udp(OUT, HOST), udp(OUT6, HOST6), udp(OUT, NEAR_FAR),
                                  udp(OUT6, NEAR_FAR6)]),
]
LARGE_RED = [
    ("forward_dropped", "lan", [udp(HOST, WEB), udp(HOST6, WEB6)]),
    ("forward_dropped", "lan", [segment(HOST, WEB), segment(HOST6, WEB6)]),
    ("forward_dropped", "black", [udp(OUT, HOST), udp(OUT6, HOST6)]),
]
ALWAYS_BLACK = [
    ("wan_spoofed", "out", [udp(s, t, PORT) for t in (WAN, ELSEWHERE)
                            for s in ("10.1.0.9", FAR, "224.0.0.1", "169.254.9.9", "0.0.0.1")]),
    ("wan_spoofed", "out", [udp(s, t, PORT) for t in (WAN6, ELSEWHERE6)
                            for s in ("fd01::9", FAR6, "fd77::2")]),
    ("input_dropped", "out", [udp(OUT, WAN), udp(OUT6, WAN6), udp(OUT, WAN, 9, PORT),
                              segment(OUT, WAN, "S"), udp(OUT, WAN, 68, 67)]),
    ("input_dropped", "red", [udp(RED_CLEAR, BLACK_CLEAR), udp(RED_CLEAR6, BLACK_CLEAR6),
                              udp(RED_CLEAR, BLACK_CLEAR, PORT)]),
    ("output_dropped", "black", [udp(WAN, OUT, PORT), udp(WAN6, OUT6, PORT), segment(WAN, OUT),
                                 udp(BLACK_CLEAR, RED_CLEAR, 9, PORT),
                                 udp(BLACK_CLEAR6, RED_CLEAR6, 9, PORT)]),
    ("protected_in_clear", "black", [udp(WAN, LOST, 9, PORT), udp(WAN6, LOST6, 9, PORT)]),
    ("protected_in_clear", "out", [udp(OUT, LOST, PORT), udp(OUT6, LOST6)]),
    ("forward_dropped", "out", [udp(OUT, ELSEWHERE), udp(OUT6, ELSEWHERE6)]),
    ("forward_dropped", "out", [udp(OUT, HOST), udp(OUT6, HOST6)]),
]
SMALL_BLACK = [
    ("clear_spoofed", "lan", [udp("10.9.9.9", WEB), udp("198.51.100.9", WEB), udp(FAR, WEB),
                              udp("2001:db8:9::1", WEB6), udp(FAR6, WEB6),
                              udp("10.9.9.9", BLACK_CLEAR), udp(FAR6, BLACK_CLEAR6)]),
    ("protected_in_clear", "lan", [udp(HOST, LOST), udp(HOST6, LOST6), segment(HOST, LOST)]),
    ("protected_in_clear", "red", [udp(RED_CLEAR, RETURNED), udp(RED, RETURNED), udp(RED6, RETURNED6)]),
    ("invalid", "lan", [segment(HOST, WEB), segment(HOST6, WEB6)]),
    ("invalid", "out", [segment(OUT, HOST), segment(OUT6, HOST6), segment(OUT, ELSEWHERE)]),
    ("forward_dropped", "lan", [udp(HOST, OUT), udp(HOST6, OUT6), udp(HOST, MARTIAN),
                                udp(HOST6, MARTIAN6)]),
    ("forward_dropped", "red", [udp(RED_CLEAR, WEB), udp(RED_CLEAR6, WEB6)]),
]
LARGE_BLACK = [
    ("forward_dropped", "lan", [udp(HOST, WEB), udp(HOST6, WEB6), udp("10.9.9.9", WEB)]),
]
PART_RED = [
    ("forward_dropped", "lan", [udp(GUEST, TURNED), udp(GUEST6, TURNED6)]),
    ("not_bypassed", "lan", [udp(GUEST, WEB), udp(GUEST6, WEB6)]),
    ("not_permitted", "lan", [udp(GUEST, FAR), udp(GUEST6, FAR6)]),
    ("not_permitted", "far", [udp(FAR, GUEST), udp(FAR6, GUEST6)]),
]
PART_BLACK = [
    ("clear_spoofed", "lan", [udp(GUEST, WEB), udp(GUEST6, WEB6)]),
    ("forward_dropped", "lan", [udp(HOST, MARTIAN), udp(HOST6, MARTIAN6)]),
]
ROWS = [(mode, room, *row)
        for mode, room, rows in (("small", "red", ALWAYS_RED + SMALL_RED),
                                 ("large", "red", ALWAYS_RED + LARGE_RED),
                                 ("small", "black", ALWAYS_BLACK + SMALL_BLACK),
                                 ("large", "black", ALWAYS_BLACK + LARGE_BLACK),
                                 ("part", "red", PART_RED), ("part", "black", PART_BLACK)) for row in rows]


@contextmanager
def routed_astray(house):
    """Routing turned against the node: what is protected goes into the clear link and what
    is elsewhere into the node."""
    ways = [(house.red, host, via) for host, via in (
        (LOST, BLACK_CLEAR), (LOST6, BLACK_CLEAR6), (MARTIAN, BLACK_CLEAR), (MARTIAN6, BLACK_CLEAR6),
        (RETURNED, BLACK_CLEAR), (RETURNED6, BLACK_CLEAR6))]
    ways += [(house.black, NEAR_FAR, RED_CLEAR), (house.black, NEAR_FAR6, RED_CLEAR6),
             (house.out, ELSEWHERE, WAN), (house.out, ELSEWHERE6, WAN6), (house.lan, TURNED, RED),
             (house.lan, TURNED6, RED6)]
    for ns, host, via in ways:
        ns.ip("route", "add", host, "via", via)
    try:
        yield
    finally:
        for ns, host, via in ways:
            ns.ip("route", "del", host, "via", via)


@pytest.mark.parametrize("mode, room, counter, sender, packets", ROWS, ids=lambda v: (
    v if isinstance(v, str) else f"{len(v)}"))
def test_each_packet_is_dropped_by_its_own_name(house, mode, room, counter, sender, packets):
    """What another room would drop first is sent with that room taken over."""
    house.load(SITES[mode])
    seen = getattr(house, room)
    if room == "black" and sender in ("lan", "red"):
        house.red.run("nft", "flush", "ruleset")
    elif room == "red" and sender == "black":
        house.black.run("nft", "flush", "ruleset")
    with routed_astray(house):
        before = counters(seen)
        inject(getattr(house, sender), *packets)
        counted(seen, counter, before[counter] + len(packets))
        after = counters(seen)
    rose = {name: n - before[name] for name, n in after.items() if n != before[name]}
    if counter in CHATTER:
        assert rose.pop(counter, 0) >= len(packets)
    else:
        assert rose.pop(counter, 0) == len(packets)
    assert set(rose) <= CHATTER


def test_the_table_above_misses_no_counter():
    """But for those that a rate decides, and a number: test_firewall_full."""
    bounded = {"arp_limited", "nd_limited", "too_many"}
    for mode, absent in (("small", bounded), ("large", bounded | {"clear_spoofed", "not_bypassed"})):
        for room, declared in (("black", BLACK_COUNTERS), ("red", RED_COUNTERS)):
            tried = {row[2] for row in ROWS if row[:2] == (mode, room)}
            missing = set(declared) - tried
            assert missing <= absent | ({"invalid"} if mode == "large" else set())
