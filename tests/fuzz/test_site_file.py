"""Invariants of the site file:

1. Any text gives a site or at least one error; every error has a line and is one line.
2. Whatever tomllib accepts, the locator knows a line for each of its keys and elements.
3. From every valid site come rules, which nft takes, and an explanation.
4. Sets of networks agree with a naive look at single addresses.
"""

import base64
import ipaddress
import json
import os
import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wgpy.config import networks
from wgpy.config.explain import explain
from wgpy.config.site import parse, parse_bytes
from wgpy.config.site_text import locate
from wgpy.firewall.check import problem
from wgpy.firewall.rules import black_rules, red_rules

settings.register_profile("site", max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
                          deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("site")

KEYS = [base64.b64encode(bytes([n]) * 32).decode() for n in range(1, 6)]
EXAMPLE = f"""
[node]
name = "lima"
mode = "small"
[wan]
interface = "eth0"
addresses = ["192.0.2.10/24", "2001:db8::10/64"]
gateway = ["192.0.2.1", "fe80::1"]
[lan]
interface = "eth1"
addresses = ["10.1.0.1/24", "fd01::1/64"]
networks = ["10.1.0.0/24", "fd01::/64"]
[[site]]
name = "cusco"
public_key = "{KEYS[0]}"
networks = ["10.2.0.0/24", "fd02::/64"]
endpoints = ["198.51.100.7:51820", "[2001:db8:7::1]:51820"]
psk = "cusco"
[[permit]]
from = ["10.1.0.0/25"]
to = ["cusco", "10.2.0.0/28"]
[firewall]
black = ["tcp dport {{ 22, 80 }} accept"]
"""
SPICE = ['"', "'", "[", "]", "{", "}", "=", ".", ",", "\n", "#", "[[", "]]", '"""', "\\", "\r\n",
         "site", "[[site]]", "[node]", "true", "0", "-1", "1e9", "10.1.0.0/24", "::/0", "nan",
         "\x00", "é", "\ud800", "2001-01-01", "psk = 1\n", "fd77::1/64", "small", "large"]


def judged(text: str):
    site, errors, warnings = parse(text, "f.toml")
    assert (site is None) == bool(errors)
    for e in errors:
        assert e.line and 1 <= e.line <= text.count("\n") + 1
        assert "\n" not in str(e) and str(e).startswith(f"f.toml:{e.line}: ")
    assert all("\n" not in w for w in warnings)
    if site is not None:
        assert explain(site).endswith("\n")
        assert black_rules(site).count("{") == black_rules(site).count("}")
        assert red_rules(site).count("{") == red_rules(site).count("}")
    return site


@st.composite
def mutated(draw):
    text = EXAMPLE
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        end = at + draw(st.sampled_from([0, 0, 1, 2, 8, 60]))
        text = text[:at] + draw(st.sampled_from(["", *SPICE]) | st.text(max_size=6)) + text[end:]
    return text


@given(st.text() | mutated())
def test_any_text_is_judged(text):
    judged(text)


@given(st.binary())
def test_any_bytes_are_judged(data):
    site, errors, _ = parse_bytes(data, "f.toml")
    assert site is None and errors and all(e.line for e in errors)


def paths(value, at=()):
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) \
        if isinstance(value, list) else ()
    for key, below in items:
        yield from paths(below, at + (key,))


def test_the_example_is_good_and_located():
    assert judged(EXAMPLE) is not None
    assert set(paths(tomllib.loads(EXAMPLE))) <= set(locate(EXAMPLE))


@given(mutated())
def test_whatever_toml_accepts_has_lines(text):
    try:
        data = tomllib.loads(text)
    except ValueError:
        return
    lines = locate(text)
    assert set(paths(data)) <= set(lines)
    count = text.replace("\r\n", "\n").count("\n") + 1
    assert all(1 <= line <= count for line in lines.values())


leaf = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=4),
                 st.lists(st.integers(), max_size=2), st.sampled_from(SPICE[:30]))
key = st.sampled_from(["name", "mode", "networks", "addresses", "gateway", "from", "to", "interface",
                       "black", "endpoints", "public_key", "psk", "mtu", "state", "private_key"])
shape = st.dictionaries(st.sampled_from(["node", "wan", "lan", "site", "permit", "bypass", "firewall"]),
                        st.recursive(leaf, lambda s: st.lists(s, max_size=3)
                                     | st.dictionaries(key, s, max_size=5), max_leaves=12))


def toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps("".join(c for c in value if c.isprintable() and ord(c) < 0xd800))
    return "1979-05-27" if value is None else json.dumps(value)


@given(shape)
def test_wrong_shapes_are_errors(document):
    assert judged("".join(f"{k} = {toml(v)}\n" for k, v in document.items())) is None


def inside(base: str, bits: int):
    """Networks with up to `bits` more than a base network."""
    net = ipaddress.ip_network(base)

    def build(extra: int, pick: int):
        length = net.prefixlen + extra
        offset = (pick % (1 << extra)) << (net.max_prefixlen - length)
        return ipaddress.ip_network((int(net.network_address) + offset, length))
    return st.builds(build, st.integers(0, bits), st.integers(0, 1 << bits))


lan_nets = inside("10.1.0.0/16", 16) | inside("fd01::/48", 80)
far_nets = inside("10.2.0.0/15", 17) | inside("fd02::/32", 96)
statements = st.sampled_from(["icmp type echo-request accept", "tcp dport { 22, 443 } accept",
                              "ip saddr 198.51.100.0/24 udp dport 161 accept",
                              "meta l4proto tcp drop", "ct state established accept"])


@st.composite
def valid(draw):
    small = draw(st.booleans())
    count = draw(st.integers(0, 4))
    claims = draw(st.lists(st.lists(far_nets, min_size=1, max_size=4, unique=True),
                           min_size=count, max_size=count))
    lan = draw(st.lists(lan_nets, min_size=1, max_size=3, unique=True))
    lines = ['[node]', 'name = "n"', f'mode = "{"small" if small else "large"}"',
             f"listen_port = {draw(st.integers(1, 65535))}", '[wan]', 'interface = "eth0.5"',
             draw(st.sampled_from(['addresses = "dhcp"', 'addresses = ["192.0.2.1/24"]',
                                   'addresses = ["192.0.2.1/24", "2001:db8::1/64"]'])),
             f"mtu = {draw(st.integers(1360, 9000))}", '[lan]', 'interface = "eth1"',
             'addresses = ["172.16.0.1/24"]', f"networks = {json.dumps(list(map(str, lan)))}"]
    for i, nets in enumerate(claims):
        lines += ["[[site]]", f'name = "s{i}"', f'public_key = "{KEYS[i]}"',
                  f"networks = {json.dumps(list(map(str, nets)))}",
                  f'endpoints = ["198.51.100.{i}:1", "[2001:db8:5::{i + 1}]:2"]']
    for source in draw(st.lists(lan_nets, max_size=3)):
        targets = draw(st.lists(far_nets.map(str), min_size=1, max_size=3, unique=True))
        targets += [f"s{i}" for i in range(count) if draw(st.booleans())]
        lines += ["[[permit]]", f'from = ["{source}"]', f"to = {json.dumps(targets)}"]
    if small and draw(st.booleans()):
        nets = draw(st.lists(st.sampled_from(["0.0.0.0/0", "::/0", "203.0.113.0/24", "10.0.0.0/8",
                                              "2000::/3"]), max_size=3, unique=True))
        lines += ["[bypass]", f"networks = {json.dumps(nets)}"]
    extra = [json.dumps(draw(st.lists(statements, max_size=2, unique=True))) for _ in "br"]
    return "\n".join([*lines, "[firewall]", f"black = {extra[0]}", f"red = {extra[1]}", ""])


def good(text: str):
    """The site, unless two sites happen to claim one network."""
    _, errors, _ = parse(text, "f.toml")
    assert all("already" in e.message for e in errors), [str(e) for e in errors]
    return judged(text)


@given(valid())
def test_a_valid_site_gives_rules_and_words(text):
    if (site := good(text)) is not None:
        assert ("clear0" in black_rules(site) + red_rules(site)) == site.small


@pytest.mark.netns
@settings(max_examples=12)
@given(valid())
def test_nft_takes_the_rules(text):
    if (site := good(text)) is not None:
        assert problem(black_rules(site)) is None
        assert problem(red_rules(site)) is None


@given(valid(), st.lists(lan_nets | far_nets, min_size=1, max_size=8), st.data())
def test_sets_of_networks_agree_with_single_addresses(text, extra, data):
    site = good(text)
    if site is None:
        return
    left, right = list(site.protected), extra
    probe = data.draw(st.sampled_from([n[0] for n in left + right] + [n[-1] for n in left + right]))
    within = lambda nets: any(probe in n for n in nets)  # noqa: E731
    assert within(networks.collapse(left)) == within(left)
    assert within(networks.common(left, right)) == (within(left) and within(right))
    assert within(networks.without(left, right)) == (within(left) and not within(right))
    found = networks.Finder((n, None) for n in left).find(probe)
    assert (found is not None) == within(left) and (found is None or probe in found[0])
    # the site with the longest match owns an address, as in the plane's own table
    claims = [(n.prefixlen, p.name) for p in site.peers for n in p.networks if probe in n]
    owners = [name for name, nets in networks.owned(site).items() if within(nets)]
    assert owners == ([max(claims)[1]] if claims else [])
    naive = {(a, b) for a in set(left) for b in set(left)
             if a != b and a.version == b.version and b.subnet_of(a)}
    assert {(a[0], b[0]) for a, b in networks.nested((n, None) for n in set(left))} == naive
