"""Files of wg(8) and wg-quick(8)."""

import base64

import pytest

from wgpy.config import ini
from wgpy.config.model import HostPort, Prefix
from wgpy.errors import ConfigError

KEY = base64.b64encode(bytes(range(32))).decode()
PEER = base64.b64encode(bytes([7] * 32)).decode()

FULL = f"""
# a comment
[interface]
PrivateKey = {KEY}
ListenPort=51820   # another
FWMARK = 0xca6c
Address = 10.0.0.1/24, fd00::1/64
Address = 10.9.0.1
DNS = 1.1.1.1, 2606:4700::1111, corp.example
MTU = 1380
Table = 1234
PreUp = echo a = b
PostUp = echo %i; true
PostUp = second
PreDown = down, with comma
PostDown = gone
SaveConfig = true

[Peer]
publickey = {PEER}
PresharedKey = {KEY}
AllowedIPs = 10.1.2.3/8,fd00::/48
AllowedIPs = 0.0.0.0/0
Endpoint = vpn.example.org:51820
PersistentKeepalive = 25
"""


def test_every_key():
    f = ini.parse(FULL, "wg0.conf")
    assert f.request.private_key == bytes(range(32))
    assert (f.request.listen_port, f.request.fwmark, f.request.replace_peers) == (51820, 0xCA6C, True)
    assert f.addresses == ("10.0.0.1/24", "fd00::1/64", "10.9.0.1/32")
    assert f.dns == ("1.1.1.1", "2606:4700::1111") and f.search == ("corp.example",)
    assert (f.mtu, f.table, f.save_config) == (1380, 1234, True)
    assert f.pre_up == ("echo a = b",) and f.post_up == ("echo %i; true", "second")
    assert f.pre_down == ("down, with comma",) and f.post_down == ("gone",)
    (peer,) = f.request.peers
    assert peer.public_key == bytes([7] * 32) and peer.preshared_key == bytes(range(32))
    assert peer.endpoint == HostPort("vpn.example.org", 51820) and peer.keepalive == 25
    assert [c.prefix for c in peer.allowed_ips] == [
        Prefix(bytes([10, 0, 0, 0]), 8), Prefix(b"\xfd" + bytes(15), 48), Prefix(bytes(4), 0)]
    assert peer.replace_allowed_ips and f.endpoint_lines == {0: 24}


def test_what_a_file_leaves_out_is_cleared():
    request = ini.parse(f"[Interface]\n[Peer]\nPublicKey={PEER}\n", "x").request
    assert (request.private_key, request.listen_port, request.fwmark) == (bytes(32), 0, 0)
    assert request.peers[0].preshared_key == bytes(32) and request.peers[0].keepalive == 0


def test_quick_form_round_trip():
    f = ini.parse(FULL, "x")
    assert ini.parse(ini.format_quick(f), "y") == f


def test_showconf_form():
    text = ini.format_wg(ini.parse(FULL, "x").request)
    assert text == (
        f"[Interface]\nListenPort = 51820\nFwMark = 0xca6c\nPrivateKey = {KEY}\n\n[Peer]\n"
        f"PublicKey = {PEER}\nPresharedKey = {KEY}\nAllowedIPs = 10.0.0.0/8, fd00::/48, 0.0.0.0/0\n"
        "Endpoint = vpn.example.org:51820\nPersistentKeepalive = 25\n")


@pytest.mark.parametrize("text, line, key, words", [
    ("PrivateKey = x", 1, "PrivateKey", "before the first section"),
    ("[Nope]", 1, None, "neither [Interface] nor [Peer]"),
    ("[Interface]\nPrivateKey = abc", 2, "PrivateKey", "44 characters"),
    ("[Interface]\nMTU = 12", 2, "MTU", "68 to 65535"),
    ("[Interface]\nSaveConfig = yes", 2, "SaveConfig", "true nor false"),
    ("[Interface]\nAddress = 10.0.0.300/8", 2, "Address", "not an address"),
    ("[Interface]\nWat = 1", 2, "Wat", "unknown key"),
    ("[Interface]\nPublicKey = 1", 2, "PublicKey", "belongs into [Peer]"),
    ("[Interface]\nlonely", 2, None, "no '='"),
    ("[Interface]\n\n[Peer]\nAllowedIPs=", 3, None, "no PublicKey"),
    ("[Interface]\nTable = mai n", 2, "Table", "auto, off"),
    ("[Interface]\nMTU = 01420", 2, "MTU", "octal"),
    ("[Interface]\nAddress = 10.0.0.1/024", 2, "Address", "octal"),
    ("[Interface]\nAddress = 10.0.0.1/255.0.255.0", 2, "Address", "no netmask"),
    ("[Interface]\nAddress = 10.0.0.1/24\u00a0x", 2, "Address", "U+00A0"),
    ("[Interface]\nListenPort = https", 2, "ListenPort", "services are not looked up"),
    ("[Interface]\nListenPort =", 2, "ListenPort", "no value"),
    ("[Interface]\nPostUp = a\0b", 2, "PostUp", "zero byte"),
    (f"[Peer]\nPublicKey={PEER}\nPresharedKey =", 3, "PresharedKey", "no value"),
    (f"[Peer]\nPublicKey={PEER}\nAllowedIPs = 10.0.0.0/255.0.0.0", 3, "AllowedIPs", "number of bits"),
    (f"[Peer]\nPublicKey={PEER}\nAllowedIPs = 10.0.0.0/8 10.0.0.0/16", 3, "AllowedIPs", "not an address"),
    (f"[Peer]\nPublicKey={PEER}\nEndpoint = fe80:x:1", 3, "Endpoint", "not an IPv6"),
    (f"[Peer]\nPublicKey={PEER}\nEndpoint = host", 3, "Endpoint", "HOST:PORT"),
    (f"[Peer]\nPublicKey={PEER}\nEndpoint = a_b..c:1", 3, "Endpoint", "host name"),
    (f"[Peer]\nPublicKey={PEER}\nAllowedIPs = 10.0.0.0/8, wat", 3, "AllowedIPs", "'wat'"),
])
def test_errors_name_file_line_and_key(text, line, key, words):
    with pytest.raises(ConfigError) as e:
        ini.parse(text, "wg0.conf")
    assert (e.value.source, e.value.line, e.value.key) == ("wg0.conf", line, key)
    assert words in str(e.value) and f"wg0.conf:{line}" in str(e.value)


def test_error_never_repeats_a_key():
    for text in (f"[Interface]\nPrivateKey = {KEY[:-2]}", f"[Interface]\n{KEY}",
                 f"[Interface]\nPrivateKey {KEY}"):
        with pytest.raises(ConfigError) as e:
            ini.parse(text, "x")
        assert KEY[:20] not in str(e.value)
