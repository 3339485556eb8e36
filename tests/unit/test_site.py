"""The site file (I6): every error with its line, all of them at once; what is only odd is a
warning."""

import base64
import time

import pytest
from site_files import KEY, KEY2, KEY3, LIMA, PUNO, edited, site_of

from wgpy.config import networks
from wgpy.config.site import load, parse, parse_bytes
from wgpy.config.site_text import locate
from wgpy.errors import ConfigError

TEXT = edited(LIMA, ('", "fd02', '",\n  "fd02')) + """psk = "cusco"
keepalive = 25
""" + PUNO + """endpoints = ["198.51.100.8:51820"]
[[permit]]
from = ["10.1.0.0/25"]
to = ["cusco", "10.3.0.0/28"]
[bypass]
networks = ["0.0.0.0/0"]
[firewall]
black = ["icmp type echo-request accept"]
red = []
"""


def problems(text: str) -> tuple[list, list[str]]:
    site, errors, warnings = parse(text, "f.toml")
    assert (site is None) == bool(errors)
    return errors, warnings


def test_the_example_is_read_whole():
    site, errors, warnings = parse(TEXT, "f.toml")
    assert errors == [] and warnings == []
    assert (site.node.name, site.small, site.node.listen_port) == ("lima", True, 51820)
    assert [str(a) for a in site.lan.addresses] == ["10.1.0.1/24", "fd01::1/64"]
    assert [str(n) for n in site.lan.networks] == ["10.1.0.0/24", "fd01::/64"]
    cusco, puno = site.peers
    assert cusco.public_key == b"\1" * 32 and cusco.psk == "cusco" and cusco.keepalive == 25
    assert cusco.endpoints == (("198.51.100.7", 51820),) and puno.psk is None
    assert site.permits[0].sites == ("cusco",)
    assert [str(n) for n in site.permits[0].networks] == ["10.3.0.0/28"]
    assert site.mtu == 1420 and site.bypass[0].prefixlen == 0
    assert hash(site) == hash(parse(TEXT, "g.toml")[0])


ERRORS = [
    # old, new, line, key, part of the message
    ('"lima"', '"../etc"', 2, "node.name", "not a name"),
    ('"lima"', '"a-name-of-16-chs"', 2, "node.name", "not a name"),
    ('name = "lima"\n', "", 1, "node", "name is missing"),
    ('"small"', '"medium"', 3, "node.mode", '"small" or "large"'),
    ("= 51820\n[wan]", "= 0\n[wan]", 4, "node.listen_port", "from 1 to 65535"),
    ("= 51820\n[wan]", "= true\n[wan]", 4, "node.listen_port", "from 1 to 65535"),
    ("= 51820\n[wan]", '= 51820\nstate = "/var/../etc"\n[wan]', 5, "node.state", "absolute path"),
    ("[wan]", "[wam]", 5, "wam", "did you mean 'wan'"),
    ('"eth0"', '"eth0;"', 6, "wan.interface", "not the name of an interface"),
    ('"eth0"', '"-force"', 6, "wan.interface", "not the name of an interface"),
    ('"eth0"', '"secure0"', 6, "wan.interface", "link of the rooms"),
    ('"eth1"', '"eth0"', 10, "lan.interface", "the WAN has the same"),
    ('"192.0.2.10/24"', '"192.0.2.0/24"', 7, "wan.addresses", "address of the network"),
    ('"192.0.2.10/24"', '"192.0.2.255/24"', 7, "wan.addresses", "broadcast"),
    ('"192.0.2.10/24"', '"224.0.0.1/24"', 7, "wan.addresses", "a host can have"),
    ('"192.0.2.10/24"', '"192.0.2.10"', 7, "wan.addresses", "with prefix length"),
    ('["192.0.2.10/24"]', '[["x"]]', 7, "wan.addresses", "not an address"),
    ('["192.0.2.10/24"]', '[]', 7, "wan.addresses", "empty"),
    ('"192.0.2.1"', '"198.51.100.1"', 8, "wan.gateway", "none of the networks"),
    ('"192.0.2.1"', '"192.0.2.10"', 8, "wan.gateway", "own address"),
    ('"192.0.2.1"', '"2001:db8::1"', 8, "wan.gateway", "none of the networks"),
    ('"192.0.2.1"', '"192.0.2.1"\ngateway_mac = "02:00:5e:10:00"', 9, "wan.gateway_mac", "not a MAC address"),
    ('"192.0.2.1"', '"192.0.2.1"\ngateway_mac = "01:00:5e:10:00:01"', 9, "wan.gateway_mac", "one device"),
    ('"192.0.2.1"', '"192.0.2.1"\ngateway_mac = ["02:00:5e:10:00:01", "02:00:5e:10:00:02"]', 9, "wan.gateway_mac",
     "one for each"),
    ('gateway = "192.0.2.1"', 'gateway_mac = "02:00:5e:10:00:01"', 8, "wan.gateway_mac", "no wan.gateway"),
    ('["0.0.0.0/0"]', '["0.0.0.0/0"]\nconnections = 15', 30, "bypass.connections", "from 16 to 65535"),
    ('"192.0.2.1"', '["192.0.2.1", "192.0.2.2"]', 8, "wan.gateway", "more than one"),
    ('"192.0.2.10/24"', '"10.3.0.7/24"', 7, "wan.addresses", "protected network of site 'puno'"),
    (f'"{KEY}"', f'"{KEY2}"', 22, "site.public_key", "another site has this public key, line 14"),
    (KEY, KEY[:-2] + "==", 14, "site.public_key", "44 characters"),
    (KEY, base64.b64encode(bytes(32)).decode(), 14, "site.public_key", "zeros"),
    ("[wan]", f'public_key = "{KEY}"\n[wan]', 15, "site.public_key", "the node's own key"),
    ('"puno"', '"cusco"', 21, "site.name", "another site has this name, line 13"),
    ('"puno"', '"lima"', 21, "site.name", "this node itself"),
    ('"fd02::/64"', '"fd02::1/64"', 16, "site.networks", "did you mean 'fd02::/64'?"),
    ('"fd02::/64"', '"10.2.0.0/24"', 16, "site.networks", "twice"),
    ('"fd02::/64"', '"::/0"', 16, "site.networks", "name the networks"),
    ('"fd02::/64"', '"10.3.0.0/24"', 23, "site.networks", "belongs to site 'cusco' already"),
    ('"10.3.0.0/24"', '"10.1.0.0/24"', 23, "site.networks", "belongs to this site already"),
    ('"10.3.0.0/24"', '"10.1.0.64/26"', 23, "site.networks", "lies inside 10.1.0.0/24"),
    ('"10.3.0.0/24"', '"fd77::/64"', 23, "site.networks", "link between the rooms"),
    ("198.51.100.7:", "10.3.0.7:", 17, "site.endpoints", "run through itself"),
    ("198.51.100.7:", "10.1.0.7:", 17, "site.endpoints", "network of this site"),
    ("198.51.100.7:", "192.0.2.10:", 17, "site.endpoints", "own address"),
    ("198.51.100.7:", "vpn.example.org:", 17, "site.endpoints", "numeric"),
    ("198.51.100.7:51820", "198.51.100.7", 17, "site.endpoints", "HOST:PORT"),
    ('psk = "cusco"', f'psk = "{KEY3}"', 18, "site.psk", "looks like a key"),
    ('psk = "cusco"', f'private_key = "{KEY3}"', 18, "site.private_key", "key store"),
    ("= 25", "= 65536", 19, "site.keepalive", "65535"),
    ("keepalive", "persistent", 19, "site.persistent", "unknown key"),
    ("keepalive", "keepalife", 19, "site.keepalife", "did you mean 'keepalive'"),
    ('"cusco", "10', '"cuzco", "10', 27, "permit.to", "did you mean 'cusco'"),
    ('from = ["10.1.0.0/25"]\n', "", 25, "permit", "from is missing"),
    ('"small"', '"large"', 28, "bypass", "large mode"),
    ('["0.0.0.0/0"]', '"0.0.0.0/0"', 29, "bypass.networks", "a list"),
    ("[lan]", "mtu = 1300\n[lan]", 9, "wan.mtu", "IPv6 networks need 1280"),
    ("[[site]]", "mtu = 1200\n[[site]]", 12, "lan.mtu", "IPv6 networks need 1280"),
    ("red = []", 'red = ["tcp dport 22 accept; }"]', 32, "firewall.red", "one statement"),
    ("red = []", 'red = ["tcp dport 22 } accept"]', 32, "firewall.red", "braces"),
    ("red = []", 'red = ["tcp dport 22 accept\\n}"]', 32, "firewall.red", "printable"),
    ("red = []", 'red = ["tcp dport 22 accept\\\\"]', 32, "firewall.red", "no quotes"),
    ("red = []", 'red = ["tcp dport 22 reject"]', 32, "firewall.red", "'reject' is not allowed"),
    ("red = []", 'red = ["include x accept"]', 32, "firewall.red", "not allowed"),
    ("red = []", 'red = ["accept"]', 32, "firewall.red", "must match something"),
    ("red = []", "red = [1]", 32, "firewall.red", "string"),
    ('"10.1.0.0/25"', '"10.1.0.0/25"]]', 26, None, "Expected newline"),
]


@pytest.mark.parametrize("old, new, line, key, reason", ERRORS)
def test_an_error_names_its_place(old, new, line, key, reason):
    errors, _ = problems(edited(TEXT, (old, new)))
    found = [(e.line, e.key) for e in errors if reason in e.message]
    assert (line, key) in found, [str(e) for e in errors]
    assert all(str(e).startswith(f"f.toml:{e.line}: ") and "\n" not in str(e) for e in errors)


def test_a_gateway_may_be_outside_an_address_of_a_network_of_its_own():
    """As hosters give them; its MAC address may be pinned, each one's if there are two."""
    site = site_of(edited(TEXT, ("192.0.2.10/24", "192.0.2.10/32"), ('"192.0.2.1"', '"198.51.100.99"')))
    (gateway, mac), = site.gateways
    assert str(gateway) == "198.51.100.99" and mac is None and site.wan.off_link(gateway)
    two = site_of(edited(TEXT, ('"192.0.2.10/24"', '"192.0.2.10/24", "2001:db8::10/64"'), (
        'gateway = "192.0.2.1"', 'gateway = ["192.0.2.1", "fe80::1"]\n'
        'gateway_mac = ["02:00:5e:10:00:01", "02:00:5E:10:00:02"]')))
    assert [(str(g), m) for g, m in two.gateways] == [
        ("192.0.2.1", "02:00:5e:10:00:01"), ("fe80::1", "02:00:5e:10:00:02")]
    assert not any(two.wan.off_link(g) for g, _ in two.gateways)


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\n", "\r\n")])
def test_a_byte_order_mark_is_none(text):
    """As editors of Windows write it; lines keep their numbers."""
    site, errors, warnings = parse_bytes(b"\xef\xbb\xbf" + text.encode(), "f.toml")
    assert site == parse(TEXT, "f.toml")[0] and not errors and not warnings
    _, errors, _ = parse_bytes(b"\xef\xbb\xbf" + text.replace('"small"', '"tiny"').encode(), "f.toml")
    assert [e.line for e in errors] == [3]


def test_all_errors_come_at_once_in_order_of_lines():
    errors, _ = problems(edited(TEXT, ('"small"', '"tiny"'), ('"10.2.0.0/24"', '"10.2.0.9/24"'),
                                ("keepalive", "keepalife"), ('"10.3.0.0/24"', '"fd02::/64"')))
    assert [e.line for e in errors] == [3, 15, 19, 23]


WARNINGS = [
    ('endpoints = ["198.51.100.8:51820"]\n', "", 20, "no endpoint"),
    ('gateway = "192.0.2.1"\n', "", 5, "does not reach the Internet"),
    ('gateway = "192.0.2.1"\n', "", 16, "198.51.100.7:51820 cannot be reached"),
    ("198.51.100.8:", "[2001:db8::1]:", 24, "no IPv6 address"),
    ("198.51.100.8:", "198.51.100.7:", 24, "site 'cusco' too"),
    ('"10.3.0.0/24"', '"10.2.0.128/25"', 23, "lies inside 10.2.0.0/24 of site 'cusco'"),
    ('"10.3.0.0/24"', '"10.0.0.0/8"', 23, "the narrower one wins"),
    ('"10.1.0.0/25"', '"10.9.0.0/25"', 26, "outside this site"),
    ('"10.3.0.0/28"', '"10.9.0.0/28"', 27, "in no other site"),
    ('to = ["cusco", "10.3.0.0/28"]', 'to = ["10.9.0.0/28"]', 25, "permits nothing"),
    ("[[site]]", "mtu = 1480\n[[site]]", 12, "above need"),
    ('["0.0.0.0/0"]', "[]", 28, "does not reach the Internet"),
    ('["0.0.0.0/0"]', '["10.2.0.0/25", "0.0.0.0/0"]', 29, "never goes in clear"),
    ('"fd01::1/64"]', '"fd01::1/64"]\nnetworks = ["10.1.0.0/24", "10.8.0.0/24"]', 12,
     "no lan.gateway"),
    ('"192.0.2.10/24"', '"10.5.0.1/8"', 7, "share 10.2.0.0/24"),
]


@pytest.mark.parametrize("old, new, line, reason", WARNINGS)
def test_a_warning_names_its_place(old, new, line, reason):
    _, warnings = problems(edited(TEXT, (old, new)))
    assert any(w.startswith(f"f.toml:{line}: ") and reason in w for w in warnings), warnings


def test_no_error_repeats_a_key():
    for change in (('psk = "cusco"', f'psk = "{KEY3}"'), (KEY, KEY3[:-1] + "x"),
                   ("psk =", f'private_key = "{KEY3}"\npsk =')):
        errors, warnings = problems(edited(TEXT, change))
        assert errors and not any(KEY3[:20] in str(e) for e in errors + warnings)


def test_an_empty_list_of_permits_does_not_open_everything():
    text = TEXT[:TEXT.index("[[permit]]")]
    assert problems("permit = []\n" + text)[0][0].key == "permit"
    assert parse(text, "f")[0].permits is None


def test_missing_tables_are_named():
    assert {e.message for e in problems("")[0]} == {
        "[node] is missing", "[wan] is missing", "[lan] is missing"}
    nameless = edited(TEXT, ('name = "lima"\nmode = "small"\nlisten_port = 51820\n', ""))
    assert [e.message for e in problems(nameless)[0]][:2] == ["name is missing", "mode is missing"]


def test_load_raises_one_error(tmp_path):
    path = tmp_path / "lima.toml"
    path.write_text(TEXT)
    assert load(path).node.name == "lima"
    path.write_text(edited(TEXT, ("= 25", "= -1"), ('"puno"', '"no good"')))
    with pytest.raises(ConfigError, match=r"lima.toml:19: site.keepalive: .*and 1 more"):
        load(path)
    path.write_bytes(b"# \n# \xff\n")
    with pytest.raises(ConfigError, match="lima.toml:2: not UTF-8"):
        load(path)


@pytest.mark.parametrize("data", [b"x = " + b"[" * 5000, b"x=" + b"9" * 5000, b"x = 99-99-99",
                                  b"\xef\xbb\xbf[node]", b"a.b = 1\na = 2", b"[[a]]\n[a]\n",
                                  b"x = '''\n'" + b"'" * 9, b" " * (2 << 20), b'"\\uD800" = 1'])
def test_hostile_texts_are_one_error(data):
    site, errors, _ = parse_bytes(data, "f.toml")
    assert site is None and errors and all(e.line and "\n" not in str(e) for e in errors)


def test_lines_of_everything_toml_can_write():
    lines = locate('''a = 1
"b c".d = [ # [x]
  "]", """
x = 1 """,
  [1,
   2], { q = "}", r.s = 3 }]
[t]
e = \'\'\'
\'\'\'\'\'
[[u]]
[u.v]
f = 2001-01-01T00:00:00Z # [w]
[[u]] # second
g = """a\\"""b"""
[[u.w]]
h = "#"\r
i = {}
''')
    expected = {("a",): 1, ("b c", "d"): 2, ("b c", "d", 0): 3, ("b c", "d", 1): 3,
                ("b c", "d", 2): 5, ("b c", "d", 2, 1): 6, ("b c", "d", 3): 6, ("t",): 7,
                ("t", "e"): 8, ("u", 0): 10, ("u", 0, "v", "f"): 12, ("u", 1): 13,
                ("u", 1, "g"): 14, ("u", 1, "w", 0): 15, ("u", 1, "w", 0, "h"): 16,
                ("u", 1, "w", 0, "i"): 17}
    assert {k: lines.get(k) for k in expected} == expected


def test_a_permit_for_a_wide_site_does_not_reach_the_narrow_one_inside():
    site = site_of(edited(TEXT, ('"10.3.0.0/24"', '"10.2.0.64/26"'),
                          ('"cusco", "10.3.0.0/28"', '"cusco"')))
    (_, targets), = networks.permitted(site)
    assert [str(n) for n in targets] == ["10.2.0.0/26", "10.2.0.128/25", "fd02::/64"]
    assert networks.flows(site)["puno"] == []


def test_250_sites_are_checked_at_once():
    """P2"""
    sites = "".join(
        f'[[site]]\nname = "s{i}"\npublic_key = "{base64.b64encode(i.to_bytes(32, "big")).decode()}"'
        f'\nnetworks = ["10.{i}.0.0/17", "10.{i}.128.0/17", "fd00:{i:x}::/48"]\n'
        f'endpoints = ["198.51.100.7:{i}"]\n' for i in range(2, 252))
    text = TEXT[:TEXT.index("[[site]]")].replace("10.1.0.1", "172.16.0.1").replace("fd01", "fdff")
    began = time.process_time()
    site, errors, _ = parse(text + sites + '[[permit]]\nfrom = ["172.16.0.0/24"]\nto = ["s2"]\n', "f")
    assert not errors and len(site.peers) == 250
    assert time.process_time() - began < 5
